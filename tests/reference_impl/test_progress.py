"""Progress: what is reported lands once, in time, never backward, and is never dropped; on a clock of our own, without waiting."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest

from harness.databases import redis_server
from reference_impl.progress import Batched, Buffered, Change, Debounced, ProgressUnwritten, Rule
from reference_impl.queue import NotHeld, Queue
from reference_impl.sqlite import path_of
from reference_impl.strategies import system
from reference_impl.ways import PostgresRedis, SqliteRedis

WRITERS = [(name, database) for name in ("direct", "batched", "debounced") for database in ("sqlite", "postgres")]
BATCHED = Batched(5.0, 10)


@dataclass
class Ledger:
    """A database that remembers every write, and refuses some."""

    writes: list[list[tuple[int, float]]] = field(default_factory=list)
    refuse: int = 0

    def write(self, changes: Sequence[Change]) -> None:
        if self.refuse:
            self.refuse -= 1
            raise ConnectionError("it is away")
        self.writes.append([(change.job, change.fraction) for change in changes])


@dataclass
class HandClock:
    """A clock that moves when told to."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def still(ledger: Ledger, clock: HandClock, rule: Rule = BATCHED, patience: float = 0.0) -> Buffered:
    """A buffer without a thread, on a clock of ours."""
    return Buffered(ledger.write, rule, clock=clock, patience_seconds=patience, threaded=False)


def test_a_change_is_written_when_it_is_five_seconds_old_and_not_before() -> None:
    ledger, clock = Ledger(), HandClock()
    buffer = still(ledger, clock)
    buffer.report(7, 1, 0.25)
    clock.now += 3
    buffer.report(8, 1, 0.5)
    clock.now += 1.99
    assert not buffer.poll()
    clock.now += 0.01
    assert buffer.poll()
    assert ledger.writes == [[(7, 0.25), (8, 0.5)]]
    clock.now += 100
    assert not buffer.poll()


def test_the_tenth_change_is_written_at_once_and_all_jobs_with_one_statement() -> None:
    ledger, clock = Ledger(), HandClock()
    buffer = still(ledger, clock)
    for step in range(9):
        buffer.report(step % 3, 1, step / 10)
        assert not buffer.poll()
    buffer.report(9, 1, 0.5)
    assert buffer.poll()
    assert ledger.writes == [[(0, 0.6), (1, 0.7), (2, 0.8), (9, 0.5)]]


def test_44_changes_of_a_job_are_five_writes_batched_and_one_debounced() -> None:
    for rule, expected in ((Batched(5.0, 10), 5), (Debounced(1.25, 5.0), 1)):
        ledger, clock = Ledger(), HandClock()
        buffer = still(ledger, clock, rule)
        for step in range(1, 45):
            clock.now += 0.1
            buffer.report(7, 1, step / 44)
            buffer.poll()
        buffer.flush([7])
        assert len(ledger.writes) == expected
        assert ledger.writes[-1] == [(7, 1.0)]


def test_debounced_waits_for_quiet_but_a_steady_stream_lands_after_the_longest_wait() -> None:
    ledger, clock = Ledger(), HandClock()
    buffer = still(ledger, clock, Debounced(quiet=1.0, max_wait=5.0))
    buffer.report(7, 1, 0.1)
    clock.now += 0.99
    assert not buffer.poll()
    clock.now += 0.01
    assert buffer.poll()
    started = clock.now
    for step in range(100):
        buffer.report(7, 1, 0.2 + step / 1000)
        if buffer.poll():
            break
        clock.now += 0.1
    assert clock.now - started == pytest.approx(5.0, abs=0.11)


def test_progress_never_goes_back_within_a_claim_and_starts_anew_with_the_next() -> None:
    ledger, clock = Ledger(), HandClock()
    buffer = still(ledger, clock)
    for fraction in (0.4, 0.3):
        buffer.report(7, 1, fraction)
    buffer.report(8, 1, 0.9)
    buffer.report(8, 2, 0.1)
    buffer.flush()
    assert ledger.writes == [[(7, 0.4), (8, 0.1)]]


def test_a_failed_write_is_kept_and_tried_again_behind_no_later_change() -> None:
    ledger, clock = Ledger(refuse=3), HandClock()
    buffer = still(ledger, clock)
    buffer.report(7, 1, 0.5)
    buffer.report(8, 1, 0.5)
    clock.now += 5
    assert not buffer.poll()
    buffer.report(7, 1, 0.6)
    tries = 0
    while not buffer.poll():
        clock.now += 0.01
        tries += 1
        assert tries < 1000
    assert ledger.writes == [[(7, 0.6), (8, 0.5)]]


def test_a_change_that_comes_while_a_write_fails_is_not_overwritten_by_it() -> None:
    clock, written = HandClock(), Ledger()

    def write(changes: Sequence[Change]) -> None:
        if not written.refuse:
            written.refuse = 1
            buffer.report(7, 1, 0.9)  # while the write of 0.5 is under way
            buffer.report(8, 2, 0.1)  # the next claim of a job whose last one's 0.5 is under way
            raise ConnectionError("it is away")
        written.writes.append([(change.job, change.fraction) for change in changes])

    buffer = still(Ledger(), clock)
    buffer._write = write
    buffer.report(7, 1, 0.5)
    buffer.report(8, 1, 0.5)
    clock.now += 5
    assert not buffer.poll()
    clock.now += 5
    assert buffer.poll()
    assert written.writes == [[(7, 0.9), (8, 0.1)]]


def test_what_can_never_be_written_is_an_error_that_names_the_job_and_stays_to_be_written() -> None:
    ledger, clock = Ledger(refuse=10**9), HandClock()
    buffer = still(ledger, clock)
    buffer.report(7, 1, 0.5)
    with pytest.raises(ProgressUnwritten, match=r"job 7 could not be written .* it is away\. See that") as caught:
        buffer.flush([7])
    assert isinstance(caught.value.__cause__, ConnectionError)
    buffer.flush([8])  # nothing of it waits
    ledger.refuse = 0
    buffer.flush()
    assert ledger.writes == [[(7, 0.5)]]


def test_a_flush_waits_for_a_write_under_way_that_holds_its_change() -> None:
    inside, go, written = threading.Event(), threading.Event(), Ledger()

    def write(changes: Sequence[Change]) -> None:
        inside.set()
        assert go.wait(20)
        written.write(changes)

    buffer = Buffered(write, Batched(0.001, 10))
    buffer.report(7, 1, 0.5)
    assert inside.wait(20)
    with ThreadPoolExecutor(1) as pool:
        flushed = pool.submit(buffer.flush, [7])
        assert not flushed.done()
        go.set()
        flushed.result(20)
    assert written.writes == [[(7, 0.5)]]
    buffer.close()


def test_ten_threads_lose_nothing_and_memory_is_one_change_a_job() -> None:
    ledger = Ledger()
    buffer = Buffered(ledger.write, Batched(0.002, 10))

    def work(job: int) -> None:
        for step in range(1, 501):
            buffer.report(job, 1, step / 500)

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(work, range(10)))
    assert len(buffer._waiting) <= 10
    buffer.close()
    last: dict[int, float] = {}
    for job, fraction in (change for write in ledger.writes for change in write):
        assert fraction > last.get(job, -1)
        last[job] = fraction
    assert last == dict.fromkeys(range(10), 1.0)


# --- the queue ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=WRITERS, ids=lambda writer: f"{writer[0]}-{writer[1]}")
def queue(request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> Iterator[Queue]:
    name, database = request.param
    with closing(system(name, database)(new_database(database), flush_interval=60, max_batch_size=1000)) as made:
        made.install()
        yield made


def test_the_last_value_lands_when_a_job_is_completed_and_when_it_fails(queue: Queue) -> None:
    queue.enqueue([{}, {}])
    done, failed = queue.claim("w0", 2)
    for step in range(1, 45):
        queue.report_progress(done.job, step / 44)
        queue.report_progress(failed.job, step / 88)
    queue.complete("w0", [done])
    queue.fail("w0", [failed])
    assert (queue.read_progress(done.job), queue.read_progress(failed.job)) == (1.0, 0.5)
    (again,) = queue.claim("w1", 2)
    assert queue.read_progress(again.job) is None
    queue.report_progress(again.job, 0.1)
    queue.flush_progress(again.job)
    assert queue.read_progress(again.job) == 0.1


def test_a_finished_or_handed_on_job_is_not_touched(queue: Queue) -> None:
    queue.enqueue([{}])
    (claim,) = queue.claim("w0", 1)
    queue.report_progress(claim.job, 0.5)
    queue.complete("w0", [claim])
    with pytest.raises(NotHeld, match="not in this process's hands"):
        queue.report_progress(claim.job, 0.7)
    queue._write_progress([Change(claim.job, claim.token, 0.7)])
    assert queue.read_progress(claim.job) == 0.5
    queue.enqueue([{}])
    (old,) = queue.claim("w0", 1)
    queue.fail("w0", [old])
    (new,) = queue.claim("w1", 1)
    queue._write_progress([Change(new.job, new.token, 0.2)])
    queue._write_progress([Change(old.job, old.token, 0.9)])
    assert queue.read_progress(new.job) == 0.2
    queue._write_progress([Change(new.job, new.token, 0.1)])
    assert queue.read_progress(new.job) == 0.2


def test_closing_lands_what_waits(queue: Queue) -> None:
    queue.enqueue([{}])
    (claim,) = queue.claim("w0", 1)
    queue.report_progress(claim.job, 0.5)
    queue.close()
    assert queue.read_progress(claim.job) == 0.5  # a closed queue opens again when it is used
    queue.close()


@pytest.mark.parametrize("wrong", [-0.01, 1.01, float("nan"), float("inf"), "half", None])
def test_a_fraction_that_is_none_is_refused_by_name(wrong: Any, queue: Queue) -> None:
    queue.enqueue([{}])
    (claim,) = queue.claim("w0", 1)
    with pytest.raises(ValueError, match=r"expected a number from 0 to 1"):
        queue.report_progress(claim.job, wrong)
    with pytest.raises(NotHeld, match="12345"):
        queue.report_progress(12345, 0.5)
    assert queue.read_progress(claim.job) is None
    assert queue.read_progress(12345) is None


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        ("flush_interval", -5),
        ("flush_interval", 0),
        ("flush_interval", float("nan")),
        ("max_batch_size", -1),
        ("max_batch_size", 2.5),
        ("pool_size", 0),
        ("pool_timeout", -1),
        ("patience_seconds", -1),
    ],
)
def test_an_interval_or_size_that_is_none_is_refused_by_name(option: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=rf"{option} is .*; expected a"):
        system("batched", "sqlite")("sqlite:////tmp/unused.db", **{option: wrong})


def test_reporting_does_not_wait_for_a_locked_database_so_an_event_loop_goes_on(tmp_path: Any) -> None:
    """The file is locked for as long as the loop runs: a report that wrote would wait for it."""
    import sqlite3  # noqa: PLC0415  # the neighbour's only

    url = f"sqlite:///{tmp_path}/jobs.db"
    queue = system("batched", "sqlite")(url, flush_interval=0.01, max_batch_size=10)
    queue.install()
    queue.enqueue([{}])
    (claim,) = queue.claim("w0", 1)

    async def work() -> int:
        turns = 0
        for step in range(1, 101):
            queue.report_progress(claim.job, step / 100)
            await asyncio.sleep(0)
            turns += 1
        flushing = asyncio.create_task(asyncio.to_thread(queue.flush_progress, claim.job))
        await asyncio.sleep(0)
        assert not flushing.done()
        neighbour.execute("ROLLBACK")
        await flushing
        return turns

    with closing(sqlite3.connect(path_of(url), isolation_level=None)) as neighbour:
        neighbour.execute("BEGIN IMMEDIATE")
        assert asyncio.run(work()) == 100
    assert queue.read_progress(claim.job) == 1.0
    queue.close()


def test_a_job_ends_with_an_error_where_its_progress_can_never_be_written(tmp_path: Any) -> None:
    import sqlite3  # noqa: PLC0415  # as above

    url = f"sqlite:///{tmp_path}/jobs.db"
    queue = system("batched", "sqlite")(url, flush_interval=60, patience_seconds=0.05)
    queue.install()
    queue.enqueue([{}])
    (claim,) = queue.claim("w0", 1)
    queue.report_progress(claim.job, 0.5)
    with closing(sqlite3.connect(path_of(url), isolation_level=None)) as neighbour:
        neighbour.execute("BEGIN IMMEDIATE")
        with pytest.raises(ProgressUnwritten, match="database is locked"):
            queue.complete("w0", [claim])
        neighbour.execute("ROLLBACK")
    assert [row["status"] for row in queue.status_all()] == ["running"]
    assert queue.complete("w0", [claim]) == [claim]
    assert queue.read_progress(claim.job) == 0.5
    queue.close()


def test_an_interpreter_that_ends_without_closing_still_writes_what_waits(tmp_path: Any) -> None:
    script = f"""
        from reference_impl.strategies import system
        queue = system("batched", "sqlite")("sqlite:///{tmp_path}/jobs.db", flush_interval=60)
        queue.install()
        queue.enqueue([{{}}])
        (claim,) = queue.claim("w0", 1)
        queue.report_progress(claim.job, 0.5)
        raise SystemExit(3)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    with closing(system("batched", "sqlite")(f"sqlite:///{tmp_path}/jobs.db")) as queue:
        assert queue.read_progress(1) == 0.5


def test_a_lost_connection_is_survived_and_the_change_lands(new_database: Callable[[str], str]) -> None:
    import psycopg  # noqa: PLC0415  # to end the others' connections

    url = new_database("postgres")
    with closing(system("batched", "postgres")(url, flush_interval=60, patience_seconds=20)) as queue:
        queue.install()
        queue.enqueue([{}])
        (claim,) = queue.claim("w0", 1)
        queue.report_progress(claim.job, 0.5)
        with psycopg.connect(url, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        queue.flush_progress(claim.job)
        assert queue.read_progress(claim.job) == 0.5


# --- by way of Redis ------------------------------------------------------------------------------------------------

needs_redis = pytest.mark.skipif(redis_server.missing() is not None, reason=redis_server.missing() or "")


@pytest.fixture(scope="module")
def redis_at_hand() -> Iterator[redis_server.RedisServer]:
    with redis_server.serve_redis() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def via_redis(
    request: pytest.FixtureRequest, new_database: Callable[[str], str], redis_at_hand: redis_server.RedisServer
) -> Iterator[tuple[Queue, Queue]]:
    """A worker's queue that writes to the database once a minute, and a screen's."""
    made = {"sqlite": SqliteRedis, "postgres": PostgresRedis}[request.param]
    url = new_database(request.param)
    options: dict[str, Any] = {"redis_url": redis_at_hand.url, "flush_interval": 60, "patience_seconds": 5}
    redis_at_hand.start()
    with closing(made(url, **options)) as worker, closing(made(url, **options)) as screen:
        worker.install()
        worker.enqueue([{}])
        yield worker, screen


def shown(screen: Queue, job: int, wanted: float | None, seconds: float = 20.0) -> float | None:
    """What the screen shows once it shows what is wanted, or after so many seconds."""
    until = time.monotonic() + seconds
    while (fraction := screen.read_progress(job)) != wanted and time.monotonic() < until:
        time.sleep(0.005)
    return fraction


@needs_redis
def test_the_screen_sees_redis_at_once_and_the_database_gets_it_at_the_end(via_redis: tuple[Queue, Queue]) -> None:
    worker, screen = via_redis
    (claim,) = worker.claim("w0", 1)
    worker.report_progress(claim.job, 0.5)
    assert shown(screen, claim.job, 0.5) == 0.5
    assert [row["progress"] for row in screen.status_all()] == [None]
    worker.report_progress(claim.job, 0.75)
    worker.fail("w0", [claim])
    assert [row["progress"] for row in screen.status_all()] == [0.75]
    worker.claim("w0", 1)
    assert screen.read_progress(claim.job) is None  # the next attempt, though Redis still has the last one's


@needs_redis
def test_a_restart_of_redis_loses_nothing_shows_nothing_less_and_the_next_change_is_seen_again(
    via_redis: tuple[Queue, Queue], redis_at_hand: redis_server.RedisServer
) -> None:
    worker, screen = via_redis
    (claim,) = worker.claim("w0", 1)
    worker.report_progress(claim.job, 0.5)
    assert shown(screen, claim.job, 0.5) == 0.5
    redis_at_hand.restart()
    assert screen.read_progress(claim.job) == 0.5  # it does not go back
    worker.report_progress(claim.job, 0.6)
    assert shown(screen, claim.job, 0.6) == 0.6
    worker.complete("w0", [claim])
    assert [row["progress"] for row in screen.status_all()] == [0.6]


@needs_redis
def test_redis_may_be_dead_when_a_job_ends_and_when_the_queue_is_closed(
    via_redis: tuple[Queue, Queue], redis_at_hand: redis_server.RedisServer
) -> None:
    worker, screen = via_redis
    (claim,) = worker.claim("w0", 1)
    redis_at_hand.stop()
    worker.report_progress(claim.job, 0.5)
    assert screen.read_progress(claim.job) is None
    assert worker.complete("w0", [claim]) == [claim]
    worker.close()
    assert screen.read_progress(claim.job) == 0.5


@needs_redis
def test_two_queues_share_one_redis_though_their_jobs_have_the_same_ids(
    via_redis: tuple[Queue, Queue], redis_at_hand: redis_server.RedisServer, tmp_path: Any
) -> None:
    worker, screen = via_redis
    with closing(
        SqliteRedis(f"sqlite:///{tmp_path}/other.db", redis_url=redis_at_hand.url, flush_interval=60)
    ) as other:
        other.install()
        other.enqueue([{}])
        (theirs,) = other.claim("w0", 1)
        other.report_progress(theirs.job, 0.9)
        assert shown(other, theirs.job, 0.9) == 0.9
        (claim,) = worker.claim("w0", 1)
        assert (claim.job, claim.token) == (theirs.job, theirs.token)
        assert screen.read_progress(claim.job) is None


@needs_redis
def test_closing_lands_what_only_redis_had(via_redis: tuple[Queue, Queue]) -> None:
    worker, screen = via_redis
    (claim,) = worker.claim("w0", 1)
    worker.report_progress(claim.job, 0.5)
    assert shown(screen, claim.job, 0.5) == 0.5
    worker.close()
    assert [row["progress"] for row in screen.status_all()] == [0.5]


def test_without_the_url_of_a_redis_the_queue_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="redis_url is missing"):
        SqliteRedis("sqlite:////tmp/unused.db")
