"""Figures of deep scans, pools, clean-ups and submits on literal histories with known answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from literal_history import Acquisition, History, Op, Process, Statement

from harness import coverage

MS = 1_000_000
SCANS = (Process("w0", ended=900 * MS), Process("w0.0", "thread", ended=900 * MS), Process("w1"))


def figures(history: History, folder: Path) -> tuple[dict[str, float], dict[str, list[dict[str, Any]]]]:
    with coverage.open_history(history.save(folder / "literal")) as opened:
        measured = {name: row["value"] for name, row in coverage.measurements(opened).items()}
        return measured, coverage.series(opened)


def report(start: int, fraction: float, process: str = "w0.0", job: int = 7) -> Op:
    return Op(process, "report_progress", start * MS, (start + 1) * MS, jobs=(job,), value=fraction)


def read(start: int, fraction: float | None, job: int = 7) -> Op:
    return Op("screen", "read_progress", start * MS, (start + 1) * MS, jobs=(job,), value=fraction)


def test_writes_a_job_are_those_of_workers_that_lived_less_the_write_that_ends_a_job(tmp_path: Path) -> None:
    operations = [
        Op("w0", "claim", 0, 1 * MS, jobs=(7,), requested=1),
        Op("w0.0", "scan", 2 * MS, 50 * MS, jobs=(7,)),
        Op("w0.0", "complete", 51 * MS, 53 * MS, jobs=(7,)),
        Op("w1", "scan", 2 * MS, None, jobs=(8,)),
        Op("nemesis", "kill", 40 * MS, 41 * MS, jobs=("w1",)),
    ]
    statements = [
        Statement("w0", MS // 2, MS // 2 + 1, commits=True),  # the claim's
        *(Statement("w0", t * MS, t * MS + 1, commits=True) for t in (10, 20, 30, 52)),
        Statement("w0", 33 * MS, 33 * MS + 1, error="lock"),
        *(Statement("w1", t * MS, t * MS + 1, commits=True) for t in range(10, 35)),
    ]
    measured, _ = figures(History(operations, statements, SCANS), tmp_path)
    assert measured["writes_per_job"] == 3


def test_the_screen_is_as_far_behind_as_the_first_change_it_does_not_show_is_old(tmp_path: Path) -> None:
    operations = [
        report(10, 0.1),
        report(20, 0.2),
        read(31, 0.0),  # 0.1 was there since 11: 20 ms behind
        read(41, 0.1),  # 0.2 was there since 21: 20 ms
        read(61, 0.2),  # nothing is missing
        read(71, 0.3),
        report(10, 0.5, "w1", 8),
        Op("nemesis", "kill", 30 * MS, 31 * MS, jobs=("w1",)),
        read(500, None, 8),  # after its worker was killed
        Op("w0.0", "complete", 600 * MS, 601 * MS, jobs=(7,)),
        read(700, 0.1),  # after the end
    ]
    measured, series = figures(History(operations, processes=SCANS), tmp_path)
    assert measured["staleness_ms_worst"] == pytest.approx(20)
    assert measured["staleness_ms_p50"] == pytest.approx(10)
    assert [row["ms"] for row in series["staleness"]] == sorted(row["ms"] for row in series["staleness"])
    assert (series["staleness"][0]["share"], series["staleness"][-1]["share"]) == (0.0, 1.0)


def test_waits_for_a_connection_are_measured_and_drawn_over_time(tmp_path: Path) -> None:
    lent = [
        Acquisition("w0", 100 * MS, 100 * MS + 10, 200 * MS),  # at once: nobody waited
        Acquisition("w0", 110 * MS, 110 * MS + 10, 150 * MS),
        Acquisition("w0", 120 * MS, 150 * MS + 10, 180 * MS),
        Acquisition("w0", 130 * MS, 180 * MS, error="timeout"),
        Acquisition("quiet", 110 * MS, 190 * MS, 195 * MS),  # no worker on a job
    ]
    scans = [Op(f"w0.{n}", "scan", 90 * MS, 300 * MS, jobs=(n,)) for n in range(4)]
    measured, series = figures(History(scans, processes=SCANS, acquisitions=lent), tmp_path)
    assert (measured["pool_acquisitions"], measured["pool_timeouts"], measured["pool_peak"]) == (4, 1, 2)
    assert measured["pool_wait_ms_max"] == pytest.approx(50)
    drawn = series["pool_waiting"]
    assert max(row["waiting"] for row in drawn) == 2
    assert max(row["in_use"] for row in drawn) == 2
    assert (drawn[-1]["waiting"], drawn[-1]["in_use"]) == (0, 0)
    assert [row["ms"] for row in drawn] == sorted(row["ms"] for row in drawn)
    early = [row["waiting"] for row in drawn if row["ms"] < 19]
    assert set(early) == {0}


def test_readers_deletions_and_submits_are_timed(tmp_path: Path) -> None:
    operations = [
        *(Op("r0", "status_all", n * 100 * MS, (n * 100 + n + 1) * MS, value={"runs": []}) for n in range(3)),
        Op("r0", "status_all", 900 * MS, 999 * MS, phase="quiet", value={"runs": []}),
        Op("cleaner", "clean_by_tag", 10 * MS, 14 * MS, value={"jobs": 1}, returned=1),
        Op("w0", "submit_run", 20 * MS, 26 * MS, requested=4, value={"run": 1}),
    ]
    measured, series = figures(History(operations, processes=SCANS), tmp_path)
    assert measured["reader_ms_p50"] == pytest.approx(2)
    assert measured["reader_ms_max"] == pytest.approx(3)
    assert measured["deletion_ms_p50"] == pytest.approx(4)
    assert measured["submit_ms_p50"] == pytest.approx(6)
    assert series["reader_latency"][-1]["ms"] == pytest.approx(3)


def test_a_round_counts_the_acquisitions_made_in_it(tmp_path: Path) -> None:
    rounds = [Op("w0", "round", n * 1000, n * 1000 + 900, requested=n, returned=n) for n in (1, 2)]
    lent = [
        Acquisition("w0", n * 1000 + k, n * 1000 + k + 1, n * 1000 + k + 2) for n in (1, 2) for k in range(10, 10 + n)
    ]
    _, series = figures(History(rounds, acquisitions=[*lent, Acquisition("w0", 5000, 5001)]), tmp_path)
    assert [(row["batch"], row["jobs"], row["acquisitions"]) for row in series["counts"]] == [(1, 1, 1), (2, 2, 2)]


def test_a_history_of_claims_has_none_of_these_figures(tmp_path: Path) -> None:
    measured, series = figures(
        History([Op("w0", "claim", 0, 10, jobs=(7,), requested=1)], [Statement("w0", 1, 2)]), tmp_path
    )
    new = ("writes", "staleness", "pool", "reader", "deletion", "submit")
    assert not [name for name in measured if name.startswith(new)]
    assert series == {"counts": []}
