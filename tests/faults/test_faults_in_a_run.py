"""A whole run of claim-recovery on each database, with every fault there is: what each did to whom, by the history and by the witness."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from conftest import Once

from harness import coverage
from harness.faults import FAULTS
from harness.faults.fill_disk import unmountable
from harness.faults.latency import MS
from scenarios.claim_recovery import PLANS

SYSTEMS = {"sqlite": "reference:immediate-batch", "postgres": "reference:skip-locked-cte"}
ONLY_SQLITE = {"hold-lock", *(["fill-disk"] if unmountable() else [])}
ONLY_POSTGRES = {
    "cut-connection",
    "terminate-backend",
    "lose-commit",
    "latency",
    "half-open",
    "freeze-server",
    "crash-server",
}
TOUCHING = "o.invoked_ns <= f.until_ns AND coalesce(o.completed_ns, 9223372036854775807) >= f.from_ns"


def run(database: str, once: Once) -> Path:
    """The bundle of the one run of a database."""

    def make(folder: Path) -> None:
        command = [
            "run",
            "claim-recovery",
            "--system",
            SYSTEMS[database],
            "--database",
            database,
            "--json",
            "--seed",
            "1",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "contend", *command],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        (folder / "status").write_text(str(done.returncode))
        (folder / "document.json").write_text(done.stdout)
        (folder / "said.txt").write_text(done.stderr)

    return once(f"faults-{database}", make)


def result_of(database: str, once: Once) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((run(database, once) / "document.json").read_text())
    (result,) = document["results"]
    return dict(result)


@pytest.fixture
def history(request: pytest.FixtureRequest, once: Once) -> Iterator[duckdb.DuckDBPyConnection]:
    """The history of the subject, with the table `faults`: one row for each fault and worker it named."""
    (place,) = (run(request.param, once) / "runs" / "latest" / "results").glob("01-*")
    with coverage.open_history(place) as opened:
        opened.execute("""
            CREATE TABLE faults AS
            SELECT o.value ->> '$.fault' AS fault, h.job ->> '$' AS worker, o.invoked_ns AS from_ns, o.completed_ns AS until_ns
            FROM operations o LEFT JOIN handles h USING (operation) WHERE o.process = 'nemesis'
        """)
        yield opened


on_postgres = pytest.mark.parametrize("history", ["postgres"], indirect=True)
on_both = pytest.mark.parametrize("history", ["sqlite", "postgres"], indirect=True)


def count(history: duckdb.DuckDBPyConnection, query: str) -> int:
    row = history.execute(query).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_the_reference_passes_with_every_fault_landed_and_its_control_caught(database: str, once: Once) -> None:
    folder = run(database, once)
    assert (folder / "status").read_text() == "0", (folder / "said.txt").read_text()
    result = result_of(database, once)
    assert (result["verdict"], result["findings"], result["coverage"]["control"]) == ("pass", [], "caught")
    elsewhere = ONLY_POSTGRES if database == "sqlite" else ONLY_SQLITE
    assert [each["fault"] for each in result["series"]["faults"]] == [name for name in PLANS if name not in elsewhere]
    assert {each["fault"] for each in result["series"]["not_planned"]} == elsewhere
    assert all(each["reason"] for each in result["series"]["not_planned"])
    assert result["coverage"]["faults"] == len(PLANS) - len(elsewhere)
    measured = result["measurements"]
    assert measured["recovered_jobs"]["value"] >= 2
    assert 0 < measured["recovery_ms_p50"]["value"] <= measured["recovery_ms_max"]["value"]


def test_every_fault_but_none_at_all_is_planned() -> None:
    assert set(PLANS) == set(FAULTS) - {"nothing"}


@on_both
def test_the_killed_say_nothing_more_and_the_paused_nothing_meanwhile(history: duckdb.DuckDBPyConnection) -> None:
    assert (
        count(
            history,
            "SELECT count(*) FROM faults JOIN processes USING (worker) ".replace(
                "USING (worker)", "ON process = worker"
            ),
        )
        > 0
    )
    ended = "SELECT count(*) FROM faults f JOIN processes p ON p.process = f.worker AND p.ended_ns IS NULL WHERE f.fault = 'kill-worker'"
    assert count(history, ended) == 1
    later = "SELECT count(*) FROM faults f JOIN operations o ON o.process = f.worker AND o.invoked_ns > f.until_ns WHERE f.fault = {!r}"
    assert count(history, later.format("kill-worker")) == 0
    for fault in ("pause-worker", "swizzle"):
        during = f"""
            SELECT count(*) FROM faults f JOIN operations o ON o.process = f.worker
            WHERE f.fault = '{fault}' AND o.invoked_ns BETWEEN f.from_ns + 500000000 AND f.until_ns - 500000000"""  # noqa: S608  # a name of ours
        assert count(history, during) == 0
        assert count(history, later.format(fault)) > 0


@on_both
def test_the_paused_worker_comes_back_as_a_zombie_whose_completion_is_refused(
    history: duckdb.DuckDBPyConnection,
) -> None:
    refused = """
        SELECT count(*) FROM faults f JOIN handles h ON h.process = f.worker
        WHERE f.fault = 'pause-worker' AND h.kind = 'complete' AND h.outcome = 'ok' AND NOT h.accepted
            AND h.invoked_ns > f.until_ns - 100000000"""
    assert count(history, refused) > 0


@on_both
def test_each_fault_struck_inside_the_operation_it_was_aimed_at(history: duckdb.DuckDBPyConnection) -> None:
    for name, plan in PLANS.items():
        if plan.inside == "any":
            continue
        struck = f"""
            SELECT count(*) FROM faults f WHERE fault = '{name}'"""  # noqa: S608  # a name of ours
        hit = f"""
            SELECT count(*) FROM faults f WHERE fault = '{name}' AND EXISTS (
                SELECT 1 FROM operations o WHERE (o.process = f.worker OR f.worker IS NULL) AND o.kind = '{plan.inside}'
                AND o.invoked_ns <= f.from_ns AND coalesce(o.completed_ns, 9223372036854775807) >= f.from_ns)"""  # noqa: S608  # as above
        assert count(history, hit) == count(history, struck), name


@on_postgres
@pytest.mark.parametrize(
    ("fault", "code"), [("terminate-backend", "57P01"), ("cut-connection", None), ("half-open", None)]
)
def test_a_connection_that_ends_is_an_error_of_the_operation_it_was_in(
    fault: str, code: str | None, history: duckdb.DuckDBPyConnection
) -> None:
    met = history.execute(f"""
        SELECT DISTINCT o.outcome, o.error_kind, o.error_code FROM faults f JOIN operations o ON o.process = f.worker AND {TOUCHING}
        WHERE f.fault = '{fault}' AND o.outcome <> 'ok'""").fetchall()  # noqa: S608  # a name of ours
    assert ("connection", code) in [(kind, found) for _, kind, found in met]
    assert {outcome for outcome, _, _ in met} <= {"info", "fail"}


@on_postgres
def test_a_commit_whose_answer_was_lost_happened_and_nobody_was_told(history: duckdb.DuckDBPyConnection) -> None:
    lost = """
        SELECT o.outcome, o.error_kind, s.commits, s.error_code
        FROM faults f JOIN operations o ON o.process = f.worker AND o.kind = 'claim' AND o.outcome = 'info' AND o.invoked_ns <= f.until_ns
            AND o.completed_ns >= f.from_ns
        JOIN statements s ON s.operation = o.operation AND s.kind = 'write' WHERE f.fault = 'lose-commit'"""
    assert history.execute(lost).fetchall() == [("info", "connection", True, None)]


@on_postgres
def test_a_slow_network_makes_each_round_trip_take_that_long(history: duckdb.DuckDBPyConnection) -> None:
    quickest = """
        SELECT count(*), min(s.ended_ns - s.started_ns) FROM faults f JOIN statements s ON s.process = f.worker AND s.trips = 1
        AND s.started_ns > f.from_ns + 1000000 AND s.ended_ns < f.until_ns WHERE f.fault = 'latency' AND s.kind <> 'connect'"""
    row = history.execute(quickest).fetchone()
    assert row is not None
    assert row[0] > 0
    assert row[1] >= MS * 0.9e6


@on_postgres
def test_nothing_is_answered_while_the_server_stands_still_and_all_lose_it_when_it_crashes(
    history: duckdb.DuckDBPyConnection,
) -> None:
    stood = """
        SELECT max(next_ns - ended_ns) FROM (
            SELECT s.ended_ns, lead(s.ended_ns) OVER (ORDER BY s.ended_ns) AS next_ns FROM faults f JOIN statements s
            ON s.ended_ns BETWEEN f.from_ns - 1000000000 AND f.until_ns + 1000000000 WHERE f.fault = 'freeze-server')"""
    assert count(history, stood) > PLANS["freeze-server"].seconds * 1e9
    lost = """
        SELECT count(DISTINCT s.process) FROM faults f JOIN statements s ON s.ended_ns BETWEEN f.from_ns - 500000000 AND f.until_ns
        WHERE f.fault = 'crash-server' AND s.error_kind = 'connection'"""
    assert count(history, lost) >= 1


@pytest.mark.parametrize(
    ("history", "fault", "code"),
    [
        ("sqlite", "hold-lock", "SQLITE_BUSY"),
        ("sqlite", "fill-disk", "SQLITE_FULL"),
        pytest.param(
            "postgres",
            "fill-disk",
            "53100",
            marks=pytest.mark.skipif(unmountable() is not None, reason=str(unmountable())),
        ),
    ],
    indirect=["history"],
)
def test_a_database_refuses_what_cannot_be_and_takes_it_again_later(
    fault: str, code: str, history: duckdb.DuckDBPyConnection
) -> None:
    refused = f"""
        SELECT count(*) FROM faults f JOIN statements s ON s.started_ns <= f.until_ns AND s.ended_ns >= f.from_ns
        WHERE f.fault = '{fault}' AND s.error_code LIKE '{code}%'"""  # noqa: S608  # names of ours
    assert count(history, refused) > 0
    again = f"""
        SELECT count(*) FROM faults f JOIN operations o ON o.kind = 'enqueue' AND o.outcome = 'ok' AND o.invoked_ns > f.until_ns
        WHERE f.fault = '{fault}'"""  # noqa: S608  # as above
    assert count(history, again) > 0
