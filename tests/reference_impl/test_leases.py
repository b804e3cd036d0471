"""Leases, heartbeats and the sweep, on every engine and on the engine's own clock."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from reference_impl.defects import DEFECTS
from reference_impl.lease import Claim, SweepIncomplete
from reference_impl.postgres import SkipLocked
from reference_impl.queue import Queue
from reference_impl.sqlite import ImmediateBatch, path_of

ENGINES: dict[str, type[Queue]] = {"sqlite": ImmediateBatch, "postgres": SkipLocked}
Make = Callable[..., Queue]


@pytest.fixture(params=ENGINES)
def make(request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> Iterator[Make]:
    """Makes queues of one new database, installed by the first."""
    url = new_database(request.param)
    made: list[Queue] = []

    def queue(**options: Any) -> Queue:
        made.append(ENGINES[request.param](url, **options))
        if len(made) == 1:
            made[0].install()
        return made[-1]

    yield queue
    for each in made:
        each.close()


def _run(queue: Queue, sql: str) -> None:
    if isinstance(queue, ImmediateBatch):
        with closing(sqlite3.connect(path_of(queue.url), isolation_level=None)) as connection:
            connection.executescript(sql)
    else:
        with psycopg.connect(queue.url, autocommit=True) as server:
            server.execute(sql.encode())


def _expire(queue: Queue) -> None:
    """Have every lease and pause run out now, as if time had gone by."""
    sqlite = isinstance(queue, ImmediateBatch)
    _run(queue, "UPDATE jobs SET due_at = 0" if sqlite else "UPDATE jobs SET due_at = 'epoch'")


def _row(queue: Queue, job: int) -> dict[str, Any]:
    return next(row for row in queue.status_all() if row["job"] == job)


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _one(queue: Queue) -> Claim:
    queue.enqueue([{}])
    (claim,) = queue.claim("w0", 1)
    return claim


def test_a_lease_that_holds_is_left_alone(make: Make) -> None:
    queue = make()
    claim = _one(queue)
    assert queue.recover() == 0
    assert _row(queue, claim.job)["status"] == "running"
    assert queue.claim("w1", 1) == []


def test_a_lease_ends_when_it_was_said_to(make: Make) -> None:
    queue = make(lease_seconds=0.15)
    claimed_at = time.monotonic()
    claim = _one(queue)
    while queue.recover() == 0:
        assert time.monotonic() - claimed_at < 5
    assert time.monotonic() - claimed_at >= 0.15
    assert _row(queue, claim.job)["status"] == "ready"


def test_what_the_one_before_says_is_refused(make: Make) -> None:
    zombie, queue = make(), make()
    stale = _one(zombie)
    zombie.report_progress(stale.job, 0.5)
    _expire(queue)
    assert queue.recover() == 1
    (claim,) = queue.claim("w1", 1)
    assert (claim.token, claim.attempt) == (stale.token + 1, 2)
    zombie.flush_progress()
    assert zombie.heartbeat("w0", [stale]) == zombie.fail("w0", [stale]) == zombie.complete("w0", [stale]) == []
    assert {key: _row(queue, claim.job)[key] for key in ("status", "worker", "progress")} == {
        "status": "running",
        "worker": "w1",
        "progress": None,
    }
    assert queue.complete("w1", [claim]) == [claim]


def test_a_job_that_was_only_made_ready_is_nobody_s(make: Make) -> None:
    queue = make()
    claim = _one(queue)
    _expire(queue)
    queue.recover()
    assert queue.complete("w0", [claim]) == []
    assert _row(queue, claim.job)["worker"] is None


def test_a_lease_that_ran_out_unnoticed_is_still_its_holder_s(make: Make) -> None:
    queue = make()
    claim = _one(queue)
    _expire(queue)
    assert queue.heartbeat("w0", [claim]) == [claim]
    assert queue.recover() == 0
    _expire(queue)
    assert queue.complete("w0", [claim]) == [claim]
    assert queue.recover() == 0


def test_a_heartbeat_never_shortens_a_lease(make: Make) -> None:
    queue = make(lease_seconds=60)
    claim = _one(queue)
    with closing(type(queue)(queue.url, lease_seconds=0.001)) as hasty:
        assert hasty.heartbeat("w0", [claim]) == [claim]
    time.sleep(0.01)
    assert queue.recover() == 0


def test_a_lost_job_takes_no_more_progress(make: Make) -> None:
    queue = make()
    claim = _one(queue)
    _expire(queue)
    queue.recover()
    assert queue.heartbeat("w0", [claim]) == []
    with pytest.raises(Exception, match="not in this process's hands"):
        queue.report_progress(claim.job, 0.5)


def test_a_poison_job_ends_dead_with_the_reason(make: Make) -> None:
    queue = make(max_attempts=2)
    queue.enqueue([{}, {}])
    for _ in range(2):
        (claim, other) = queue.claim("w0", 2)
        assert queue.fail("w0", [other]) == [other]
        _expire(queue)
        recovered = queue.recover()
    assert recovered == 0
    assert queue.claim("w0", 2) == []
    assert [(_row(queue, each.job)["status"], _row(queue, each.job)["reason"]) for each in (claim, other)] == [
        ("dead", "its lease ran out in attempt 2 of at most 2"),
        ("dead", "failed in attempt 2 of at most 2"),
    ]
    assert queue.wipe_all()["jobs"] == 2


def test_a_failed_job_waits_ever_longer_and_not_as_long_as_its_neighbour(make: Make) -> None:
    queue = make(retry_seconds=60)
    queue.enqueue([{}] * 20)
    pauses = []
    for attempt in (1, 2):
        claims = queue.claim("w0", 20)
        assert {claim.attempt for claim in claims} == {attempt}
        queue.fail("w0", claims)
        assert queue.claim("w0", 20) == []
        assert queue.recover() == 0
        pauses.append(_pauses(queue))
        _expire(queue)
        assert queue.recover() == 20
    assert all(25 <= pause <= 60 for pause in pauses[0])
    assert all(55 <= pause <= 120 for pause in pauses[1])
    assert (
        max(pauses[0]) - min(pauses[0]) > 3
    )  # of 20 even draws from 30 seconds: less comes in fewer than one of 10^15 runs


def _pauses(queue: Queue) -> list[float]:
    if isinstance(queue, ImmediateBatch):
        with closing(sqlite3.connect(path_of(queue.url))) as connection:
            rows = connection.execute("SELECT (due_at - julianday('now')) * 86400 FROM jobs").fetchall()
    else:
        with psycopg.connect(queue.url) as server:
            rows = server.execute("SELECT extract(epoch FROM due_at - now())::float FROM jobs").fetchall()
    return [pause for (pause,) in rows]


def _refuse(queue: Queue, condition: str) -> None:
    """Have the database refuse every update of a job after which the condition is true."""
    if isinstance(queue, ImmediateBatch):
        _run(
            queue,
            f"CREATE TRIGGER bad BEFORE UPDATE ON jobs WHEN {condition} BEGIN SELECT RAISE(ABORT, 'a bad row'); END",
        )
    else:
        _run(
            queue,
            f"""CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                $$BEGIN IF {condition} THEN RAISE EXCEPTION 'a bad row'; END IF; RETURN NEW; END$$;
                CREATE TRIGGER bad BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION refuse()""",
        )


def test_one_bad_row_does_not_stop_the_sweep(make: Make) -> None:
    queue = make()
    jobs = queue.enqueue([{}] * 3)
    queue.claim("w0", 3)
    _expire(queue)
    _refuse(queue, f"NEW.id = {jobs[1]} AND NEW.status = 'ready'")
    assert queue.recover() == 2
    assert [_row(queue, job)["status"] for job in jobs] == ["ready", "dead", "ready"]
    assert "a bad row" in _row(queue, jobs[1])["reason"]


def test_a_row_that_can_be_changed_by_no_means_is_named(make: Make) -> None:
    queue = make()
    jobs = queue.enqueue([{}] * 3)
    queue.claim("w0", 3)
    _expire(queue)
    _refuse(queue, f"NEW.id = {jobs[1]}")
    with pytest.raises(SweepIncomplete, match=f"2 jobs were made ready; .*job {jobs[1]}: .*a bad row") as caught:
        queue.recover()
    assert (caught.value.recovered, list(caught.value.errors)) == (2, [jobs[1]])
    assert [_row(queue, job)["status"] for job in jobs] == ["ready", "running", "ready"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("right", "status"), [(True, "ready"), (False, "running")])
def test_a_row_left_from_before_stops_only_a_sweep_that_is_all_or_nothing(
    engine: str,
    right: bool,  # noqa: FBT001  # a case of the table
    status: str,
    new_database: Callable[[str], str],
) -> None:
    defect = DEFECTS["one-bad-row"]
    systems = defect.right if right else defect.systems
    with closing(systems[engine](new_database(engine))) as queue:
        queue.install()
        claim = _one(queue)
        _expire(queue)
        with pytest.raises(SweepIncomplete if right else (sqlite3.IntegrityError, psycopg.IntegrityError)):
            queue.recover()
        assert _row(queue, claim.job)["status"] == status


def test_a_heartbeat_goes_on_while_the_work_does(make: Make) -> None:
    queue = make(lease_seconds=0.2)
    claim = _one(queue)
    with queue.keep_alive("w0", [claim]) as alive:
        until = time.monotonic() + 0.8
        while time.monotonic() < until:
            assert queue.recover() == 0
    assert (alive.held, alive.lost, alive.error) == ((claim,), (), None)
    assert queue.complete("w0", [claim]) == [claim]


def test_the_heartbeat_does_not_wait_for_the_pool(make: Make) -> None:
    queue = make(lease_seconds=0.2, pool_size=1, pool_timeout=5)
    claim = _one(queue)
    with queue._acquire(), queue.keep_alive("w0", [claim]):  # the pool's one connection is at work
        time.sleep(0.6)
        with closing(type(queue)(queue.url)) as other:
            assert other.recover() == 0


def test_the_heartbeat_notices_what_was_lost_and_outlives_an_error(make: Make) -> None:
    queue, other = make(lease_seconds=0.09), make()
    claim, kept = _one(queue), _one(queue)
    with queue.keep_alive("w0", [claim, kept]) as alive:
        assert other.fail("w1", [claim]) == [claim]
        _until(lambda: bool(alive.lost))
        _run(other, "ALTER TABLE jobs RENAME TO hidden")
        _until(lambda: alive.error is not None)
        _run(other, "ALTER TABLE hidden RENAME TO jobs")
        _until(lambda: alive.error is None)
    assert (alive.held, alive.lost) == ((kept,), (claim,))


def test_two_sweeps_at_once_give_each_job_back_once(make: Make) -> None:
    queue = make()
    queue.enqueue([{}] * 200)
    queue.claim("w0", 200)
    _expire(queue)
    others = [make() for _ in range(3)]
    counts: list[int] = []
    threads = [threading.Thread(target=lambda other=other: counts.append(other.recover())) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 200
