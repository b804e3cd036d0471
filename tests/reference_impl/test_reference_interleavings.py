"""Claims forced to overlap on real connections: the right ones stay right, the wrong ones go wrong every time."""

from __future__ import annotations

import multiprocessing
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import chain
from typing import Any

import psycopg
import pytest

from reference_impl.lease import Claim
from reference_impl.queue import Queue
from reference_impl.sqlite import DeferredBatch, ImmediateBatch, SqliteQueue, path_of
from reference_impl.strategies import STRATEGIES, system

SQLITE = ["select-then-update", "deferred-batch", "immediate-batch", "compare-and-set", "update-returning"]
CLAIMS = {name: strategy for name, strategy in STRATEGIES.items() if "claim-race" in strategy.about}
POSTGRES = [name for name, strategy in CLAIMS.items() if "postgres" in strategy.systems]
RIGHT = [
    (name, database)
    for name, strategy in CLAIMS.items()
    for database in strategy.systems
    if strategy.right and name != "single-worker"
]
URLS = Callable[[str], str]


def connection_of(queue: SqliteQueue) -> sqlite3.Connection:
    """The connection this thread uses."""
    with queue._acquire() as connection:
        return connection


def shared(claims: Iterable[Claim]) -> set[int]:
    """The jobs handed out more than once in these claims."""
    return {job for job, times in Counter(claim.job for claim in claims).items() if times > 1}


def statements_of_a_claim(name: str, url: str) -> int:
    with closing(system(name, "sqlite")(url)) as queue:
        assert isinstance(queue, SqliteQueue)
        queue.install()
        queue.enqueue([{}] * 3)
        seen: list[str] = []
        connection_of(queue).set_trace_callback(seen.append)
        queue.fail("w", queue.claim("w", 3))
        return len(seen) - 1


def claim_or_none(queue: Queue, worker: str) -> list[Claim] | None:
    """Three jobs, or None where the file was locked."""
    try:
        return queue.claim(worker, 3)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        return None


def claim_inside(outer: SqliteQueue, inner: Queue, place: int) -> tuple[list[Claim] | None, list[Claim] | None]:
    """A claim of `outer` with a whole claim of `inner` before its statement number `place`; their answers."""
    inside: list[list[Claim] | None] = []
    seen: list[str] = []

    def step(sql: str) -> None:
        # The callback comes before the statement takes its locks.
        if len(seen) == place:
            inside.append(claim_or_none(inner, "inner"))
        seen.append(sql)

    connection_of(outer).set_trace_callback(step)
    outside = claim_or_none(outer, "outer")
    connection_of(outer).set_trace_callback(None)
    (answer,) = inside
    return outside, answer


@pytest.mark.parametrize("mode", ["wal", "delete"])
@pytest.mark.parametrize("name", SQLITE)
def test_a_whole_claim_put_before_each_statement_of_another_on_sqlite(
    name: str, mode: str, new_database: URLS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every place: only select-then-update hands a job out twice, only deferred-batch lets a lock error decide.

    Without patience the inner claim may be locked out while the outer one writes. A right outer claim never is, and
    takes three jobs, of which compare-and-set may lose some, never all, to the inner one.
    """
    monkeypatch.setattr(
        DeferredBatch, "busy_timeout_seconds", 0.01
    )  # two claims of one thread cannot wait for each other
    url = new_database("sqlite")
    doubles, locked = 0, 0
    for place in range(statements_of_a_claim(name, url.replace("jobs.db", "count.db"))):
        here = url.replace("jobs.db", f"{place}.db")
        outer, inner = (system(name, "sqlite")(here, journal_mode=mode, patience_seconds=0) for _ in range(2))
        assert isinstance(outer, SqliteQueue)
        with closing(outer), closing(inner):
            outer.install()
            jobs = outer.enqueue([{}] * 9)
            outside, inside = claim_inside(outer, inner, place)
            if name == "deferred-batch":
                locked += (outside is None) + (inside is None)
            elif name == "compare-and-set":
                assert outside
            else:
                assert len(outside or []) == 3
            held = (outside or []) + (inside or [])
            doubles += len(shared(held))
            assert sorted({claim.job for claim in held + inner.claim("inner", 9)}) == jobs
    assert (doubles > 0) == (name == "select-then-update")
    assert (locked > 0) == (name == "deferred-batch")


def test_compare_and_set_that_lost_every_job_reads_again_instead_of_saying_that_there_is_none(
    new_database: URLS,
) -> None:
    url = new_database("sqlite")
    outer, inner = (system("compare-and-set", "sqlite")(url) for _ in range(2))
    assert isinstance(outer, SqliteQueue)
    with closing(outer), closing(inner):
        outer.install()
        outer.enqueue([{}] * 7)
        taken: list[int] = []

        def step(sql: str) -> None:
            if sql.startswith("UPDATE") and len(taken) < 2:
                taken.append(len(inner.claim("inner", 3)))

        connection_of(outer).set_trace_callback(step)
        assert len(outer.claim("outer", 3)) == 1
        assert taken == [3, 3]


def test_a_deferred_claim_that_was_locked_out_raises_at_once_and_leaves_nothing_open(new_database: URLS) -> None:
    """However long the busy time-out: the connection has read, so SQLite does not let it wait."""
    url = new_database("sqlite")
    queue, writer = DeferredBatch(url), ImmediateBatch(url)
    with closing(queue), closing(writer):
        queue.install()
        jobs = queue.enqueue([{}, {}])

        def step(sql: str) -> None:
            if sql.startswith("UPDATE"):
                writer.enqueue([{}])

        connection_of(queue).set_trace_callback(step)
        began = time.monotonic()
        with pytest.raises(sqlite3.OperationalError, match="database is locked") as caught:
            queue.claim("w0", 2)
        assert caught.value.sqlite_errorcode == sqlite3.SQLITE_BUSY_SNAPSHOT
        assert time.monotonic() - began < queue.busy_timeout_seconds / 2
        assert not connection_of(queue).in_transaction
        connection_of(queue).set_trace_callback(None)
        assert [claim.job for claim in queue.claim("w0", 2)] == jobs
        assert {row["attempt"] for row in queue.status_all()} == {0, 1}


@pytest.mark.parametrize("mode", ["wal", "delete"])
@pytest.mark.parametrize("act", ["claim", "complete", "fail", "enqueue"])
@pytest.mark.parametrize("name", ["immediate-batch", "update-returning", "compare-and-set"])
def test_a_locked_file_is_waited_for_and_then_worked_on(name: str, act: str, mode: str, new_database: URLS) -> None:
    """The holder lets go at the third try, so the first two met a lock."""
    url = new_database("sqlite")
    queue = system(name, "sqlite")(url, journal_mode=mode)
    assert isinstance(queue, SqliteQueue)
    with closing(queue), closing(sqlite3.connect(path_of(url), isolation_level=None)) as holder:
        queue.install()
        queue.enqueue([{}] * 4)
        held = queue.claim("w0", 2)
        holder.execute("BEGIN IMMEDIATE")
        tries = 0

        def step(sql: str) -> None:
            nonlocal tries
            tries += sql.startswith(("BEGIN IMMEDIATE", "UPDATE", "INSERT"))
            if tries == 3 and holder.in_transaction:
                holder.execute("ROLLBACK")

        connection_of(queue).set_trace_callback(step)
        acts: dict[str, Callable[[], Any]] = {
            "claim": lambda: queue.claim("w0", 2),
            "complete": lambda: queue.complete("w0", held),
            "fail": lambda: queue.fail("w0", held),
            "enqueue": lambda: queue.enqueue([{}, {}]),
        }
        assert len(acts[act]()) == 2
        assert tries >= 3


@pytest.mark.parametrize("name", ["immediate-batch", "update-returning", "compare-and-set", "select-then-update"])
def test_out_of_patience_the_lock_error_is_raised_and_nothing_has_changed(name: str, new_database: URLS) -> None:
    """A reader of a rollback journal lets a writer write but not commit, so the error comes at the very end."""
    url = new_database("sqlite")
    with (
        closing(system(name, "sqlite")(url, journal_mode="delete", patience_seconds=0.05)) as queue,
        closing(sqlite3.connect(path_of(url), isolation_level=None)) as reader,
    ):
        queue.install()
        queue.enqueue([{}] * 3)
        (first,) = queue.claim("w0", 1)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM jobs").fetchall()
        acts: tuple[Callable[[], Any], ...] = (
            lambda: queue.claim("w0", 2),
            lambda: queue.complete("w0", [first]),
            lambda: queue.fail("w0", [first]),
            lambda: queue.enqueue([{}]),
        )
        for act in acts:
            with pytest.raises(sqlite3.OperationalError, match="database is locked"):
                act()
        reader.execute("ROLLBACK")
        assert [row["status"] for row in queue.status_all()] == ["running", "ready", "ready"]
        assert len(queue.claim("w0", 3)) == 2
        assert queue.complete("w0", [first]) == [first]


GATE = """
CREATE FUNCTION pass_gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END $$;
CREATE TRIGGER gate BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION pass_gate();
"""


@contextmanager
def closed_gate(url: str) -> Iterator[Callable[[int], None]]:
    """Hold every UPDATE of jobs back until the end; the function given waits until so many connections wait."""
    with psycopg.connect(url, autocommit=True) as keeper:
        keeper.execute(GATE.encode())
        keeper.execute(b"SELECT pg_advisory_lock(1)")

        def await_waiting(number: int) -> None:
            deadline = time.monotonic() + 20
            counting = (
                b"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            while (row := keeper.execute(counting).fetchone()) != (number,):
                assert time.monotonic() < deadline, f"{row} of {number} connections wait"

        try:
            yield await_waiting
        finally:
            keeper.execute(b"SELECT pg_advisory_unlock(1)")


@pytest.mark.parametrize("name", POSTGRES)
def test_claims_that_overlap_on_postgres(name: str, new_database: URLS) -> None:
    """Three claims have begun before the first commits; only the two declared ones hand a job out twice."""
    url = new_database("postgres")
    queues = [system(name, "postgres")(url) for _ in range(3)]
    queues[0].install()
    queues[0].enqueue([{}] * 20)
    with ThreadPoolExecutor(3) as pool:
        with closed_gate(url) as await_waiting:
            claims = []
            for number, queue in enumerate(queues, start=1):
                claims.append(pool.submit(queue.claim, f"w{number}", 3))
                await_waiting(number)
        answers = [claim.result(timeout=20) for claim in claims]
    for queue in queues:
        queue.close()
    assert [len(answer) for answer in answers] == [3, 3, 3]
    if STRATEGIES[name].caught_by.get("claim-race") == "no-double-claim":
        assert len(shared(chain(*answers))) == 3
    else:
        assert shared(chain(*answers)) == set()


@pytest.mark.parametrize("name", POSTGRES)
def test_a_table_analysed_while_it_held_one_job_and_then_filled(
    name: str, new_database: URLS, postgres_server: Any
) -> None:
    """A plan made for one row is used on fifty: only in-subquery-limit gives more than was asked for."""
    url = new_database("postgres")
    with closing(system(name, "postgres")(url)) as queue:
        queue.install()
        queue.enqueue([{}])
        postgres_server.analyze(url)
        queue.enqueue([{}] * 50)
        given = len(queue.claim("w0", 5))
    assert given > 5 if name == "in-subquery-limit" else given == 5


def test_a_claim_that_waited_and_a_completion_never_wait_for_each_other_in_a_circle(new_database: URLS) -> None:
    """A waiting claim holds for a moment the lock of a job it must go on without; a race of contend's found this deadlock.

    The older job has the smaller priority, so that locking by id alone would lock in the other order than claims do.
    """
    url = new_database("postgres")
    waiter, holder = (system("for-update", "postgres")(url) for _ in range(2))
    waiter.install()
    last, middle, first = waiter.enqueue([{"priority": priority} for priority in range(3)])
    with (
        closing(psycopg.connect(url)) as blocker,
        closing(psycopg.connect(url)) as taker,
        psycopg.connect(url, autocommit=True) as keeper,
        ThreadPoolExecutor(2) as pool,
    ):
        blocking = b"SELECT count(*) FROM pg_stat_activity WHERE pg_blocking_pids(pid) @> ARRAY[%d]"

        def await_blocked(by: int) -> None:
            deadline = time.monotonic() + 20
            while keeper.execute(blocking % by).fetchone() == (0,):
                assert time.monotonic() < deadline

        blocker.execute(b"SELECT id FROM jobs WHERE id = %d FOR UPDATE" % middle)
        taken = b"UPDATE jobs SET status = 'running', token = 1, worker = 'w0' WHERE id IN (%d, %d)"
        taker.execute(taken % (first, last))
        claiming = pool.submit(waiter.claim, "w1", 3)
        await_blocked(taker.info.backend_pid)
        taker.commit()
        await_blocked(blocker.info.backend_pid)
        completing = pool.submit(holder.complete, "w0", [Claim(last, 1, 1), Claim(first, 1, 1)])
        row = keeper.execute(
            b"SELECT pid FROM pg_stat_activity WHERE pg_blocking_pids(pid) @> ARRAY[%d]" % blocker.info.backend_pid
        )
        (waiting,) = row.fetchone() or (0,)
        await_blocked(waiting)
        blocker.rollback()
        assert [claim.job for claim in claiming.result(timeout=20)] == [middle]
        assert {claim.job for claim in completing.result(timeout=20)} == {first, last}
    waiter.close()
    holder.close()


def test_two_batches_that_share_jobs_in_opposite_order_never_lock_each_other_out(new_database: URLS) -> None:
    """Both finish the same claims at once, each in its own order: one of them does, and neither dies of a deadlock."""
    url = new_database("postgres")
    queues = [system("skip-locked-cte", "postgres")(url) for _ in range(2)]
    queues[0].install()
    queues[0].enqueue([{}] * 40)
    claims = queues[0].claim("w0", 40)
    with ThreadPoolExecutor(2) as pool:
        with closed_gate(url) as await_waiting:
            forward = pool.submit(queues[0].complete, "w0", claims)
            backward = pool.submit(queues[1].complete, "w0", claims[::-1])
            await_waiting(2)
        answers = [forward.result(timeout=20), backward.result(timeout=20)]
    for queue in queues:
        queue.close()
    assert sorted(map(len, answers)) == [0, 40]


def test_a_connection_that_was_cut_raises_and_the_next_call_opens_another(new_database: URLS) -> None:
    url = new_database("postgres")
    with closing(system("skip-locked", "postgres")(url)) as queue:
        queue.install()
        queue.enqueue([{}])
        with psycopg.connect(url, autocommit=True) as other:
            other.execute(
                b"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                b" WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        with pytest.raises(psycopg.OperationalError):
            queue.claim("w0", 1)
        assert len(queue.claim("w0", 1)) == 1


def work(made: type[Queue], url: str, worker: str) -> list[tuple[int, int, bool]]:
    """Claim and finish until nothing is left: (job, attempt, whether it was accepted as finished) of each."""
    answers: list[tuple[int, int, bool]] = []
    with closing(made(url)) as queue:
        while claims := queue.claim(worker, 5):
            accepted = queue.complete(worker, claims)
            answers += [(claim.job, claim.attempt, claim in accepted) for claim in claims]
    return answers


@pytest.mark.parametrize(("name", "database"), RIGHT)
def test_real_processes_share_the_work_without_a_double_or_a_loss(name: str, database: str, new_database: URLS) -> None:
    url = new_database(database)
    made = system(name, database)
    with closing(made(url)) as queue:
        queue.install()
        jobs = queue.enqueue([{"priority": n % 4} for n in range(200)])
        context = multiprocessing.get_context("spawn")
        together = context.Barrier(3)
        with ProcessPoolExecutor(3, mp_context=context, initializer=together.wait, initargs=(30,)) as pool:
            shares = [pool.submit(work, made, url, f"w{n}") for n in range(3)]
            handed = [answer for share in shares for answer in share.result(timeout=60)]
        assert sorted(handed) == [(job, 1, True) for job in jobs]
        assert {row["status"] for row in queue.status_all()} == {"done"}
