"""Runs, actions and deleting many: exactly what is there and not running, whatever the list looks like, all or nothing."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import psycopg
import pytest

from reference_impl.deletion import CHUNK
from reference_impl.queue import Queue
from reference_impl.sqlite import SqliteQueue
from reference_impl.strategies import system

RIGHT = [(name, db) for name in ("delete-many", "delete-chunked") for db in ("sqlite", "postgres")]
ENGINES = ["sqlite", "postgres"]
TAGS = ["plain", 'it\'s 100% "q"', "%", "ünï\U0001f600", "x" * 1_000_000, ""]


@pytest.fixture(params=RIGHT, ids=lambda member: f"{member[0]}-{member[1]}")
def queue(request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> Iterator[Queue]:
    name, database = request.param
    with closing(system(name, database)(new_database(database))) as made:
        made.install()
        yield made


def statuses(queue: Queue) -> dict[int, str]:
    return {row["job"]: row["status"] for row in queue.status_all() if "job" in row}


def runs(queue: Queue) -> set[int]:
    return {row["run"] for row in queue.status_all() if "job" not in row}


def actions(queue: Queue) -> int:
    with queue._acquire() as connection:
        row = connection.execute("SELECT count(*) FROM actions").fetchone()
    return int(row[0])


# --- delete_many ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, CHUNK, CHUNK + 1, 40_000])
def test_any_number_of_ids_is_deleted_and_counted(size: int, queue: Queue) -> None:
    kept = queue.enqueue([{}])
    ids = queue.enqueue([{}] * size)
    assert queue.delete_many("jobs", ids) == size
    assert list(statuses(queue)) == kept
    assert queue.delete_many("jobs", ids) == 0


def test_unknown_repeated_and_impossible_ids_are_harmless_and_a_generator_will_do(queue: Queue) -> None:
    first, second, third, kept = queue.enqueue([{}] * 4)
    strange = [0, -1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**70]
    assert queue.delete_many("jobs", [first, first, *strange, first, second]) == 2
    assert queue.delete_many("jobs", (each for each in (third, third))) == 1
    assert list(statuses(queue)) == [kept]


def test_an_empty_list_costs_not_even_a_connection(queue: Queue) -> None:
    queue.close()
    queue.url = "nowhere"
    if isinstance(queue, SqliteQueue):
        queue.path = "/nowhere/at/all.db"
    for kind in ("jobs", "runs", "actions"):
        assert queue.delete_many(kind, []) == 0
        assert queue.delete_many(kind, iter(())) == 0


def test_an_unknown_kind_or_an_id_that_is_none_is_refused_by_name_and_nothing_is_deleted(queue: Queue) -> None:
    (job,) = queue.enqueue([{}])
    with pytest.raises(ValueError, match=r"kind 'workers' to delete; known are jobs, runs, actions"):
        queue.delete_many("workers", [job])
    for wrong in ("1", 1.0, None, True):
        with pytest.raises(TypeError, match="is no id; expected whole numbers"):
            queue.delete_many("jobs", [job, wrong])  # type: ignore[list-item]  # wrong on purpose
    assert list(statuses(queue)) == [job]


def test_what_is_running_is_spared_with_its_actions_and_its_run(queue: Queue) -> None:
    idle, busy = queue.submit_run("t", [{}] * 2), queue.submit_run("t", [{"priority": 9}, {}])
    (claim,) = queue.claim("w0", 1)
    spared = queue.add_actions(claim.job, ["a", "b"])
    (other,) = [job for job in read(queue, busy) if job != claim.job]
    assert queue.delete_many("actions", spared) == 0
    assert queue.delete_many("jobs", [claim.job, other]) == 1
    assert queue.delete_many("runs", [idle, busy, busy]) == 1
    assert (statuses(queue), runs(queue), actions(queue)) == ({claim.job: "running"}, {busy}, 2)
    assert queue.complete("w0", [claim]) == [claim]
    assert queue.delete_many("runs", [busy]) == 1
    assert (statuses(queue), runs(queue), actions(queue)) == ({}, set(), 0)


def read(queue: Queue, run: int) -> list[int]:
    found = queue.read_run(run)
    assert found is not None
    assert found["run"] == run
    return list(found["jobs"])


def test_a_run_takes_its_jobs_along_and_a_job_its_actions(queue: Queue) -> None:
    run, kept = queue.submit_run("t", [{}] * 3), queue.submit_run("t", [{}])
    jobs = read(queue, run)
    mine = [action for job in jobs for action in queue.add_actions(job, ["a", "b"])]
    other = queue.add_actions(read(queue, kept)[0], ["c"])
    assert queue.delete_many("actions", [mine[0], mine[0]]) == 1
    assert queue.delete_many("jobs", jobs[:1]) == 1
    assert actions(queue) == 5
    assert queue.delete_many("runs", [run]) == 1
    assert queue.delete_many("jobs", jobs) == queue.delete_many("actions", mine) == 0
    assert queue.read_run(run) is None
    assert (read(queue, kept), actions(queue)) == (list(statuses(queue)), 1)
    assert queue.delete_many("actions", other) == 1


@pytest.mark.parametrize("limit", [999, 32_766])
@pytest.mark.parametrize("name", ["delete-many", "delete-chunked"])
def test_more_ids_than_sqlite_takes_variables(name: str, limit: int, new_database: Callable[[str], str]) -> None:
    """Debian's build takes 250,000 and would hide it."""
    with closing(system(name, "sqlite")(new_database("sqlite"))) as queue:
        queue.install()
        with queue._acquire() as connection:
            connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, limit)
            with pytest.raises(sqlite3.OperationalError, match="too many SQL variables"):
                queue._delete_listed("jobs", range(1, limit + 2))
        for kind in ("jobs", "runs", "actions"):
            assert queue.delete_many(kind, range(1, 3 * limit)) == 0
        ids = queue.enqueue([{}] * (limit + 5))
        assert queue.delete_many("jobs", ids) == limit + 5


def test_more_ids_than_the_protocol_takes_parameters(new_database: Callable[[str], str]) -> None:
    for name in ("delete-many", "delete-chunked"):
        with closing(system(name, "postgres")(new_database("postgres"))) as queue:
            queue.install()
            ids = queue.enqueue([{}] * 66_000)
            assert queue.delete_many("jobs", ids) == 66_000


def test_memory_of_the_chunked_form_does_not_grow_with_the_number_of_ids(new_database: Callable[[str], str]) -> None:
    """Ids are taken as they come: never more of them than one chunk and its statement hold."""
    with closing(system("delete-chunked", "sqlite")(new_database("sqlite"))) as queue:
        queue.install()
        taken = 0

        def ids() -> Iterator[int]:
            nonlocal taken
            for each in range(1, 100_001):
                taken = each
                yield each

        most = 0
        delete = queue._delete_listed

        def watched(kind: Any, chunk: Any) -> int:
            nonlocal most
            most = max(most, taken - chunk[0])
            return delete(kind, chunk)

        queue._delete_listed = watched  # type: ignore[method-assign, assignment]  # to look on
        assert queue.delete_many("jobs", ids()) == 0
        assert most < CHUNK
        assert taken == 100_000


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("name", "acquisitions"), [("delete-many", 1), ("delete-chunked", 1), ("loop-delete", 1_200)], ids=str
)
def test_a_deletion_acquires_one_connection_of_a_pool_and_the_loop_one_for_each_id(
    name: str, acquisitions: int, engine: str, new_database: Callable[[str], str]
) -> None:
    from reference_impl.defects import DEFECTS  # noqa: PLC0415  # for the loop

    made = DEFECTS[name].systems[engine] if name in DEFECTS else system(name, engine)
    with closing(made(new_database(engine), pool_size=2)) as queue:
        queue.install()
        ids = queue.enqueue([{}] * 1_200)
        lender = queue._connections._lender  # type: ignore[attr-defined]  # each engine has one
        take, taken = lender.take, []

        def watched() -> Any:
            taken.append(1)
            return take()

        lender.take = watched
        assert queue.delete_many("jobs", ids) == 1_200
        assert len(taken) == acquisitions


@pytest.mark.parametrize(("name", "engine"), RIGHT)
def test_a_process_killed_in_a_deletion_has_deleted_all_or_nothing(
    name: str, engine: str, new_database: Callable[[str], str]
) -> None:
    url = new_database(engine)
    script = f"""
        import sys
        from reference_impl.strategies import system
        queue = system({name!r}, {engine!r})(sys.argv[1])
        print("ready", flush=True)
        sys.stdin.readline()
        print("deleting", flush=True)
        queue.delete_many("jobs", range(1, 30_001))
        sys.stdin.readline()
    """
    for pause in (0.0, 0.004, 0.02):
        with closing(system(name, engine)(url)) as queue:
            if pause == 0.0:
                queue.install()
            before = set(queue.enqueue([{}] * 30_000))
            first = min(before)
            code = textwrap.dedent(script).replace("range(1, 30_001)", f"range({first}, {first + 30_000})")
            with subprocess.Popen(
                [sys.executable, "-c", code, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            ) as victim:
                assert victim.stdin is not None
                assert victim.stdout is not None
                assert victim.stdout.readline() == "ready\n"
                victim.stdin.write("\n")
                victim.stdin.flush()
                assert victim.stdout.readline() == "deleting\n"
                threading.Event().wait(pause)
                os.kill(victim.pid, signal.SIGKILL)
            left = before & set(statuses(queue))
            if engine == "postgres":  # the server may still be at it
                while _others(url):
                    threading.Event().wait(0.01)
                left = before & set(statuses(queue))
            assert left in (set(), before)
            queue.delete_many("jobs", before)


def _others(url: str) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()"
        ).fetchone()
    return int(row[0]) if row else 0


# --- clean_by_tag ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", TAGS, ids=lambda tag: tag[:12] or "empty")
def test_a_tag_is_any_text_and_takes_only_its_own(tag: str, queue: Queue) -> None:
    mine, other = queue.submit_run(tag, [{}] * 3), queue.submit_run(tag + "?", [{}] * 2)
    loose, kept = queue.enqueue([{"tag": tag}, {"tag": tag + "?"}])
    queue.add_actions(loose, ["a"])
    assert queue.clean_by_tag(tag) == {"jobs": 4, "runs": 1, "actions": 1}
    assert (runs(queue), set(statuses(queue))) == ({other}, {kept, *read(queue, other)})
    assert queue.read_run(mine) is None
    assert queue.clean_by_tag(tag) == {"jobs": 0, "runs": 0, "actions": 0}


def test_a_clean_up_takes_whole_runs_and_spares_those_with_a_running_job(queue: Queue) -> None:
    busy, idle = queue.submit_run("t", [{"priority": 9}, {}]), queue.submit_run("t", [{}])
    loose, untagged = queue.enqueue([{"tag": "t", "priority": 8}, {}])
    held = queue.claim("w0", 2)
    assert {claim.job for claim in held} == {read(queue, busy)[0], loose}
    assert queue.clean_by_tag("t") == {"jobs": 1, "runs": 1, "actions": 0}
    assert (runs(queue), set(statuses(queue))) == ({busy}, {*read(queue, busy), loose, untagged})
    assert len(read(queue, busy)) == 2
    assert queue.wipe_all() == {"jobs": 1, "runs": 0, "actions": 0}
    queue.complete("w0", held)
    assert queue.wipe_all() == {"jobs": 3, "runs": 1, "actions": 0}
    assert queue.status_all() == []
    assert queue.read_run(idle) is None


def test_a_tag_that_is_no_text_is_refused(queue: Queue) -> None:
    for wrong in (None, 7, b"t"):
        with pytest.raises(TypeError, match="expected a text"):
            queue.clean_by_tag(wrong)  # type: ignore[arg-type]  # wrong on purpose
        with pytest.raises(TypeError, match="expected a text"):
            queue.submit_run(wrong, [])  # type: ignore[arg-type]  # as above


# --- on Postgres, between two statements of others ---------------------------------------------------------------------


def waiting(url: str) -> bool:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
    return bool(row and row[0])


@pytest.mark.parametrize("kind", ["jobs", "runs", "tag", "actions"])
@pytest.mark.parametrize("name", ["delete-many", "delete-chunked"])
def test_a_job_that_begins_to_run_while_a_deletion_waits_for_it_is_spared(
    name: str, kind: str, new_database: Callable[[str], str]
) -> None:
    """A claim holds the job's lock, the deletion waits for it, the claim commits: READ COMMITTED looks again."""
    url = new_database("postgres")
    with ExitStack() as stack:
        deleter, claimer = (stack.enter_context(closing(system(name, "postgres")(url))) for _ in range(2))
        deleter.install()
        run = deleter.submit_run("t", [{}, {}])
        job, other = read(deleter, run)
        (action,) = deleter.add_actions(job, ["a"])
        delete: dict[str, Callable[[], object]] = {
            "jobs": lambda: deleter.delete_many("jobs", [job, other]),
            "runs": lambda: deleter.delete_many("runs", [run]),
            "actions": lambda: deleter.delete_many("actions", [action]),
            "tag": lambda: deleter.clean_by_tag("t"),
        }
        answer: list[object] = []
        with claimer._writing():
            (claim,) = claimer.claim("w0", 1)
            assert claim.job == job
            thread = threading.Thread(target=lambda: answer.append(delete[kind]()))
            thread.start()
            while not waiting(url):
                threading.Event().wait(0.005)
        thread.join(20)
        expected = {"jobs": 1, "runs": 0, "actions": 0, "tag": {"jobs": 0, "runs": 0, "actions": 0}}[kind]
        assert answer == [expected]
        assert statuses(deleter)[job] == "running"
        assert actions(deleter) == 1
        assert claimer.complete("w0", [claim]) == [claim]


def test_a_job_that_comes_to_its_run_while_the_run_is_deleted_goes_with_it(new_database: Callable[[str], str]) -> None:
    """The deletion has its snapshot, waits for the run's lock, and finds a job it has not seen: it does it again."""
    url = new_database("postgres")
    with ExitStack() as stack:
        deleter, other = (stack.enter_context(closing(system("delete-many", "postgres")(url))) for _ in range(2))
        deleter.install()
        run = deleter.submit_run("t", [{}])
        answer: list[int] = []
        with other._writing():
            other.enqueue([{"run": run}])
            thread = threading.Thread(target=lambda: answer.append(deleter.delete_many("runs", [run])))
            thread.start()
            while not waiting(url):
                threading.Event().wait(0.005)
        thread.join(20)
        assert answer == [1]
        assert deleter.status_all() == []


# --- submit_run ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_and_its_jobs_are_one_transaction_in_the_order_given(
    engine: str, new_database: Callable[[str], str]
) -> None:
    with closing(system("submit-run", engine)(new_database(engine))) as queue:
        queue.install()
        run = queue.submit_run("t", [{"payload": n, "tag": None if n else "own"} for n in range(1000)])
        jobs = read(queue, run)
        assert jobs == sorted(jobs)
        rows = [row for row in queue.status_all() if "job" in row]
        assert [row["tag"] for row in rows[:2]] == ["own", "t"]
        assert {row["run"] for row in rows} == {run}
        assert read(queue, queue.submit_run("empty", [])) == []
        assert queue.read_run(10**9) is None
        with pytest.raises(Exception, match=r"(?i)foreign key"):
            queue.enqueue([{"run": 10**9}])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_submit_that_fails_half_way_leaves_nothing(engine: str, new_database: Callable[[str], str]) -> None:
    with closing(system("submit-run", engine)(new_database(engine))) as queue:
        queue.install()
        if engine == "sqlite":
            refuse = "CREATE TRIGGER refuse BEFORE INSERT ON jobs WHEN NEW.priority = 13 BEGIN SELECT RAISE(ABORT, 'unlucky'); END"
        else:
            refuse = "ALTER TABLE jobs ADD CONSTRAINT unlucky CHECK (priority <> 13)"
        with queue._acquire() as connection:
            connection.execute(refuse)
        with pytest.raises(Exception, match="unlucky"):
            queue.submit_run("t", [{"priority": 0}, {"priority": 13}])
        assert queue.status_all() == []
