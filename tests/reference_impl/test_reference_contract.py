"""Every strategy, on every database it exists on, is the same queue when it is alone."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from reference_impl.defects import DEFECTS
from reference_impl.lease import Claim
from reference_impl.queue import Queue
from reference_impl.sqlite import ImmediateBatch, SqliteQueue, path_of
from reference_impl.statements import parse, statements
from reference_impl.strategies import STRATEGIES, system

MEMBERS = [
    (name, database)
    for name, strategy in STRATEGIES.items()
    for database, system_ in strategy.systems.items()
    if not getattr(system_, "services", ())  # a queue that needs Redis is tested beside it, in test_progress.py
]


@pytest.fixture(params=MEMBERS, ids=lambda member: f"{member[0]}-{member[1]}")
def member(request: pytest.FixtureRequest) -> tuple[str, str]:
    name, database = request.param
    return name, database


@pytest.fixture
def url(member: tuple[str, str], new_database: Callable[[str], str]) -> str:
    return new_database(member[1])


@pytest.fixture
def queue(member: tuple[str, str], url: str) -> Iterator[Queue]:
    """An installed, empty queue, made with options that belong to other systems."""
    with closing(system(*member)(url, lease_seconds=5, flush_interval=1)) as made:
        made.install()
        yield made


def test_ids_come_in_the_order_of_the_jobs(queue: Queue) -> None:
    ids = queue.enqueue([{"payload": {"n": n}, "priority": -n, "tag": f"t{n}", "run": None} for n in range(300)])
    assert [row["tag"] for row in sorted(queue.status_all(), key=lambda row: ids.index(row["job"]))] == [
        f"t{n}" for n in range(300)
    ]


def test_a_claim_gives_the_larger_priority_first_and_then_the_older_job(queue: Queue) -> None:
    priorities = [0, 5, -3, 5, 0, 9, 0, -3]
    ids = queue.enqueue([{"priority": priority} for priority in priorities])
    wanted = [job for _, job in sorted(zip([-p for p in priorities], ids, strict=True))]
    assert [claim.job for claim in queue.claim("w0", 5)] == wanted[:5]
    assert [claim.job for claim in queue.claim("w0", 5)] == wanted[5:]
    assert queue.claim("w0", 5) == []


def test_every_claim_of_a_job_has_a_larger_token_and_the_next_attempt(queue: Queue) -> None:
    (job,) = queue.enqueue([{}])
    for turn in (1, 2, 3):
        (claim,) = queue.claim("w0", 10)
        assert (claim.job, claim.token, claim.attempt) == (job, turn, turn)
        assert queue.fail("w0", [claim]) == [claim]


def test_a_stale_claim_is_refused_and_the_others_of_its_batch_accepted(queue: Queue) -> None:
    queue.enqueue([{}, {}, {}])
    stale, kept, finished = queue.claim("w0", 3)
    queue.fail("w0", [stale])
    (current,) = queue.claim("w1", 3)
    assert current.job == stale.job
    assert queue.complete("w0", [finished]) == [finished]
    assert queue.complete("w0", [stale, kept, finished, kept, Claim(10**9, 1, 1)]) == [kept]
    assert queue.fail("w0", [stale, kept]) == []
    assert [row["status"] for row in queue.status_all()] == ["running", "done", "done"]
    assert queue.complete("w1", [current]) == [current]


def test_failing_gives_the_job_back_and_finishing_does_not(queue: Queue) -> None:
    queue.enqueue([{}, {}])
    first, second = queue.claim("w0", 2)
    assert [(row["status"], row["worker"]) for row in queue.status_all()] == [("running", "w0")] * 2
    queue.complete("w0", [first])
    queue.fail("w0", [second])
    assert [(row["status"], row["worker"]) for row in queue.status_all()] == [("done", "w0"), ("ready", None)]
    assert [claim.job for claim in queue.claim("w1", 2)] == [second.job]


def test_a_payload_is_kept_as_json_whatever_it_holds(queue: Queue, url: str) -> None:
    payload = {"text": "é\x00'%s:name?", "deep": [1, None, {"a": 2.5}], "big": 2**60}
    run = queue.submit_run("nobody's %s", [])
    queue.enqueue([{"payload": payload, "tag": "it's %s", "run": run}, {"payload": "plain"}, {}])
    rows = rows_of(url, "SELECT payload, priority, tag, run FROM jobs ORDER BY id")
    assert [json.loads(row[0]) for row in rows] == [payload, "plain", None]
    assert rows[0][1:] == (0, "it's %s", run)


def test_nothing_asked_for_costs_nothing_and_a_claim_of_no_jobs_is_refused(queue: Queue) -> None:
    queue.close()  # the next statement would have to open a connection
    assert queue.enqueue([]) == []
    assert queue.complete("w0", []) == []
    assert queue.fail("w0", []) == []
    with pytest.raises(ValueError, match="at least 1"):
        queue.claim("w0", 0)


def test_statements_of_a_claim_are_constant_unless_declared_n_plus_one(
    member: tuple[str, str], queue: Queue, url: str
) -> None:
    queue.enqueue([{}] * 400)
    few = count_statements(queue, url, lambda: queue.claim("w0", 10))
    many = count_statements(queue, url, lambda: queue.claim("w0", 110))
    assert many - few == (100 if STRATEGIES[member[0]].n_plus_one else 0)
    assert many <= (111 if STRATEGIES[member[0]].n_plus_one else 4)


def test_one_statement_finishes_gives_back_or_adds_any_number_of_jobs(
    member: tuple[str, str], queue: Queue, url: str
) -> None:
    added = count_statements(queue, url, lambda: queue.enqueue([{}] * 300))
    assert added == (3 if member[0] == "enqueue-once" else 1)  # of which two are its transaction
    claims = queue.claim("w0", 300)
    assert count_statements(queue, url, lambda: queue.complete("w0", claims[:150])) == 1
    assert count_statements(queue, url, lambda: queue.fail("w0", claims[150:])) == 1
    assert [row["status"] for row in queue.status_all()].count("done") == 150


def rows_of(url: str, sql: str) -> list[tuple[Any, ...]]:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(path_of(url))) as connection:
            return connection.execute(sql).fetchall()
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(sql.encode()).fetchall()


def count_statements(queue: Queue, url: str, act: Callable[[], object]) -> int:
    """What the database itself counts: SQLite's trace callback, Postgres' pg_stat_statements."""
    if isinstance(queue, SqliteQueue):
        seen: list[str] = []
        with queue._acquire() as own:
            own.set_trace_callback(seen.append)
            act()
            own.set_trace_callback(None)
        return len(seen)
    calls = (
        "SELECT sum(calls) FROM pg_stat_statements"
        " JOIN pg_database ON dbid = pg_database.oid WHERE datname = current_database()"
    )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")

        def total() -> int:
            row = connection.execute(calls.encode()).fetchone()
            return int(row[0] or 0) if row else 0

        before = total()
        itself = total() - before  # the counting
        before = total()
        act()
        return total() - before - itself


def test_sqlite_lists_far_beyond_the_variable_limit_are_one_statement_each(new_database: Callable[[str], str]) -> None:
    """Debian's SQLite allows 250,000 variables; many others 999."""
    for name in ("select-then-update", "deferred-batch", "immediate-batch", "compare-and-set", "update-returning"):
        url = new_database("sqlite").replace("jobs.db", f"{name}.db")
        with closing(system(name, "sqlite")(url)) as queue:
            assert isinstance(queue, SqliteQueue)
            with queue._acquire() as connection:
                connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
            queue.install()
            assert len(queue.enqueue([{}] * 1010)) == 1010
            claims = queue.claim("w0", 1010)
            assert len(claims) == 1010
            assert queue.fail("w0", claims) == claims
            claims = queue.claim("w0", 1010)
            assert queue.complete("w0", claims) == claims


def test_a_finished_id_is_never_given_again_even_when_its_row_is_gone(new_database: Callable[[str], str]) -> None:
    url = new_database("sqlite")
    with closing(ImmediateBatch(url)) as queue, closing(sqlite3.connect(path_of(url))) as other:
        queue.install()
        (old,) = queue.enqueue([{}])
        other.execute("DELETE FROM jobs")
        other.commit()
        assert queue.enqueue([{}]) > [old]


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_the_journal_mode_is_set_once_and_stays_with_the_file(mode: str, new_database: Callable[[str], str]) -> None:
    url = new_database("sqlite")
    with closing(ImmediateBatch(url, journal_mode=mode)) as queue:
        queue.install()
    assert rows_of(url, "PRAGMA journal_mode") == [(mode,)]


def test_a_sqlite_url_has_three_or_four_slashes_and_an_absolute_path() -> None:
    assert path_of("sqlite:///tmp/x.db") == path_of("sqlite:////tmp/x.db") == "/tmp/x.db"
    for wrong in ("sqlite://x.db", "sqlite:///", "postgresql://h/d", "/tmp/x.db"):
        with pytest.raises(ValueError, match="expected sqlite:///"):
            path_of(wrong)


def test_an_unknown_journal_mode_or_a_url_of_another_engine_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'memory'.*wal, delete"):
        ImmediateBatch("sqlite:///tmp/x.db", journal_mode="memory")
    with pytest.raises(ValueError, match="expected postgresql://"):
        system("skip-locked", "postgres")("sqlite:///tmp/x.db")


def test_the_tables_name_every_strategy_with_its_databases_and_the_invariant_that_catches_it() -> None:
    caught = {name: strategy.caught_by["claim-race"] for name, strategy in STRATEGIES.items() if not strategy.right}
    assert caught == {
        "select-then-update": "no-double-claim",
        "deferred-batch": "lock-errors",
        "scalar-subquery": "no-double-claim",
        "in-subquery-limit": "batch-limit",
    }
    assert {name for name, s in STRATEGIES.items() if s.n_plus_one} == {"select-then-update", "compare-and-set"}
    assert set(STRATEGIES["select-then-update"].systems) == {"sqlite", "postgres"}
    for systems in (*(s.systems for s in STRATEGIES.values()), *(d.systems for d in DEFECTS.values())):
        for database, found in systems.items():
            assert found.databases == (database,)
            assert found.ordered
            assert found.semantics == "exactly-once-claim"
    assert DEFECTS["silent-single-worker"].caught_by == {"worker-guard": "worker-guard"}


def test_looking_up_a_strategy_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(LookupError, match=r"'skiplocked'\. Known: select-then-update, "):
        system("skiplocked", "postgres")
    with pytest.raises(LookupError, match="skip-locked does not exist on 'sqlite', only on postgres"):
        system("skip-locked", "sqlite")


def test_sql_is_sent_without_its_comments_and_a_torn_file_is_refused() -> None:
    for engine in ("sqlite", "postgres"):
        assert all("--" not in sql and sql.strip() for sql in statements(engine).values())
    assert parse("-- about\n-- name: a\n-- why\nSELECT 1\n  -- inner\nFROM t\n\n-- name: b\nSELECT 2\n") == {
        "a": "SELECT 1\nFROM t",
        "b": "SELECT 2",
    }
    for torn, says in (
        ("SELECT 1", "belongs to no statement"),
        ("-- name: a\n-- name: b\nSELECT 1", "The names a have no"),
        ("-- name: a\nSELECT 1\n-- name: a\nSELECT 2", "twice"),
    ):
        with pytest.raises(ValueError, match=says):
            parse(torn)
