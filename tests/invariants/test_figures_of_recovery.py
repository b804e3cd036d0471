"""Figures of runs with faults on a literal history worked out by hand: who held what, what a fault took, who had it how long after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from literal_history import History, Op, claim, complete, fail, fault, kill, seconds

from harness import coverage

RUN = seconds(  # in ms; the run begins at 100
    Op("setup", "enqueue", 0, 50, jobs=(1, 2, 3, 4, 5, 6, 7, 8, 9), phase="setup"),
    claim("w0", 100, 110, 1, 2),
    claim("w1", 100, 120, 3),
    claim("w2.0", 100, 130, 4),
    complete("w0", 200, 210, 1),
    fault("pause-worker", 300, 900, "w3", "w0", kind="pause"),
    complete("w1", 400, 410, 3),
    claim("w2.1", 600, 610, 2),  # 310 after the pause began
    complete("w2.1", 700, 705, 2),
    complete("w0", 950, 960, 2, accepted=()),  # the zombie's
    claim("w1", 950, 990, 5, 6),
    fault("freeze-server", 1000, 1200, kind="freeze"),
    complete("w1", 1050, 1150, 5, outcome="info", error="lost"),  # did not happen, as will be seen
    complete("w2.0", 1100, 1250, 4, outcome="info", error="lost"),  # nobody will ever know
    fault("lose-commit", 1270, 1280, "w1", kind="lose"),  # of whom holds 5 no more, as far as it knows
    claim("w0", 1300, 1350, 5),  # 350 after the server froze
    complete("w0", 1400, 1410, 5),
    claim("w0", 1415, 1418, 9),
    claim("w0", 1420, 1430, 7),
    fault("latency", 1435, None, "w0", kind="slow"),  # healed by nobody
    fail("w0", 1440, 1445, 7),
    complete("w0", 1460, 1462, 9, outcome="fail", error="lock"),
    complete("w0", 1470, 1475, 9),
    fault("kill-worker", 1500, 1505, "w1", kind="kill"),  # and nobody gets 6 again
    claim("w2.0", 1600, 1610, 7),
    claim("w2.0", 1620, 1630, 8),
    fault("lose-commit", 1640, 1660, "w2", kind="lose"),
    complete("w2.0", 1700, 1705, 7),
    claim("w2.1", 1900, 1905, 8),  # 265 after; to the same worker
    complete("w2.1", 1950, 1960, 8),
    claim("quiet", 2100, 2110, phase="quiet"),
)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with coverage.open_history(RUN.save(tmp_path / "literal")) as history:
        yield history


def test_a_fault_is_told_with_whom_it_was_done_to_and_its_time_in_the_run(run: duckdb.DuckDBPyConnection) -> None:
    assert [tuple(row.values()) for row in coverage.series(run)["faults"]] == [
        ("pause-worker", ["w3", "w0"], 0.2, 0.8),
        ("freeze-server", None, 0.9, 1.1),
        ("lose-commit", ["w1"], 1.17, 1.18),
        ("latency", ["w0"], 1.335, None),
        ("kill-worker", ["w1"], 1.4, 1.405),
        ("lose-commit", ["w2"], 1.54, 1.56),
    ]
    covered = coverage.covered(run)
    assert (covered["faults"], covered["kills"]) == (5, 1), "one of six never ended"


def test_a_job_is_held_from_the_claims_return_until_its_holder_sets_out_to_end_it_or_has_lost_it(
    run: duckdb.DuckDBPyConnection,
) -> None:
    """An end that certainly failed is none, a thread is its process, and an end is that of the last claim before it."""
    held = {(row["job"], row["worker"], row["from_seconds"]): row for row in coverage.series(run)["holds"]}
    assert {key: (row["until_seconds"], row["how"]) for key, row in held.items()} == {
        ("1", "w0", 0.01): (0.1, "complete"),
        ("2", "w0", 0.01): (0.85, "refused"),
        ("3", "w1", 0.02): (0.3, "complete"),
        ("4", "w2", 0.03): (1.0, "unknown"),
        ("2", "w2", 0.51): (0.6, "complete"),
        ("5", "w1", 0.89): (0.95, "unknown"),
        ("6", "w1", 0.89): (2.01, "lost"),
        ("5", "w0", 1.25): (1.3, "complete"),
        ("9", "w0", 1.318): (1.37, "complete"),
        ("7", "w0", 1.33): (1.34, "fail"),
        ("7", "w2", 1.51): (1.6, "complete"),
        ("8", "w2", 1.53): (1.805, "lost"),
        ("8", "w2", 1.805): (1.85, "complete"),
    }
    assert len(held) == len(coverage.series(run)["holds"])


def test_a_job_that_a_fault_took_is_told_once_with_the_last_fault_of_its_holder_and_who_had_it_next(
    run: duckdb.DuckDBPyConnection,
) -> None:
    rows = coverage.series(run)["recoveries"]
    assert [tuple(row.values()) for row in rows] == [
        ("2", "w0", "pause-worker", "w2", 0.2, 0.51, 310.0),
        ("5", "w1", "freeze-server", "w0", 0.9, 1.25, 350.0),
        ("6", "w1", "kill-worker", None, 1.4, None, None),
        ("8", "w2", "lose-commit", "w2", 1.54, 1.805, 265.0),
    ]
    measured = coverage.measurements(run)
    assert {name: tuple(measured[name].values()) for name in measured if name.startswith("recover")} == {
        "recovered_jobs": (3, "jobs"),
        "recovery_ms_p50": (310, "ms"),
        "recovery_ms_max": (350, "ms"),
    }


@pytest.mark.parametrize("beside", [[], [kill(5, 7, "w0")]])
def test_a_run_without_faults_has_no_figures_of_them(beside: list[Op], tmp_path: Path) -> None:
    history = History([claim("w0", 1, 2, 7), *beside, claim("w1", 10, 12, 7)])
    with coverage.open_history(history.save(tmp_path / "literal")) as opened:
        series, measured, covered = coverage.series(opened), coverage.measurements(opened), coverage.covered(opened)
    assert not {"faults", "holds", "recoveries"} & set(series)
    assert not {"recovered_jobs", "recovery_ms_p50", "recovery_ms_max"} & set(measured)
    assert "faults" not in covered


def test_of_a_fault_that_took_nothing_there_is_no_time_to_recovery(tmp_path: Path) -> None:
    history = History([claim("w0", 1, 2, 7), fault("latency", 3, 4, "w0"), complete("w0", 5, 6, 7)])
    with coverage.open_history(history.save(tmp_path / "literal")) as opened:
        assert "recoveries" not in coverage.series(opened)
        assert len(coverage.series(opened)["faults"]) == 1
        assert "recovered_jobs" not in coverage.measurements(opened)
