"""Figures of deep scans, pools, clean-ups and submits on literal histories with known answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from literal_history import (
    MS,
    Acquisition,
    History,
    Op,
    Process,
    Statement,
    claim,
    clean,
    complete,
    delete,
    fail,
    kill,
    read,
    report,
    seconds,
    status,
    submit,
)

from harness import coverage

SCANS = (Process("w0", ended=900 * MS), Process("w0.0", "thread", ended=900 * MS), Process("w1"))


def figures(history: History, folder: Path) -> tuple[dict[str, float], dict[str, list[dict[str, Any]]]]:
    with coverage.open_history(history.save(folder / "literal")) as opened:
        measured = {name: row["value"] for name, row in coverage.measurements(opened).items()}
        return measured, coverage.series(opened)


def scan(process: str, start: int, done: int | None, job: object) -> Op:
    return Op(process, "scan", start, done, jobs=(job,))


def told(start: int, fraction: float, process: str = "w0.0", job: int = 7) -> Op:
    return Op(process, "report_progress", start * MS, (start + 1) * MS, jobs=(job,), value=fraction)


def shown(start: int, fraction: float | None, job: int = 7) -> Op:
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
        told(10, 0.1),
        told(20, 0.2),
        shown(31, 0.0),  # 0.1 was there since 11: 20 ms behind
        shown(41, 0.1),  # 0.2 was there since 21: 20 ms
        shown(61, 0.2),  # nothing is missing
        shown(71, 0.3),
        told(10, 0.5, "w1", 8),
        Op("nemesis", "kill", 30 * MS, 31 * MS, jobs=("w1",)),
        shown(500, None, 8),  # after its worker was killed
        Op("w0.0", "complete", 600 * MS, 601 * MS, jobs=(7,)),
        shown(700, 0.1),  # after the end
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


def test_a_history_of_claims_has_none_of_these_figures(tmp_path: Path) -> None:
    measured, series = figures(
        History([Op("w0", "claim", 0, 10, jobs=(7,), requested=1)], [Statement("w0", 1, 2)]), tmp_path
    )
    new = ("writes", "staleness", "pool", "reader", "deletion", "submit")
    assert not [name for name in measured if name.startswith(new)]
    assert series == {"counts": []}


def test_the_writes_for_a_job_are_counted_as_the_invariant_counts_them(tmp_path: Path) -> None:
    """Two workers with 2 jobs and 1: 7 writes that tell of progress, and 3 that end a job or are no telling at all."""
    operations = [
        claim("w0", 0, 10, 7),
        scan("w0.0", 20, 100, 7),
        scan("w0.1", 30, 100, 8),
        complete("w0", 110, 120, 7, 8),
        claim("w0", 130, 140, 7),
        scan("w1", 20, 100, 9),
        fail("w1", 110, 120, 9, outcome="info"),
        Op("w1", "close", 130, 140),
    ]
    statements = [
        Statement("w0", 5, 6),  # the claim's, before the work
        *(Statement("w0", at, at + 1) for at in (40, 42, 44, 105)),
        *(Statement("w0", at, at + 1) for at in (111, 113, 115)),  # one more than it takes to end 2 jobs
        Statement("w0", 133, 134),  # a claim's
        Statement("w0", 50, 51, error="lock"),
        Statement("w0", 52, 53, "read"),
        Statement("w1", 60, 61),
        Statement("w1", 111, 112),  # the end's
        Statement("w1", 131, 132),
        Statement("w2", 60, 61),  # of one who does no such work
    ]
    measured, _ = figures(History(operations, statements), tmp_path)
    assert measured["writes_per_job"] == pytest.approx(7 / 3)


def test_how_far_the_screen_was_behind(tmp_path: Path) -> None:
    """Five reads of a job in work, 0 to 300 ms behind; what was read after its end or its worker's death does not count."""
    history = seconds(
        claim("w0", 0, 10, 7),
        read(15, 16, 7, None),  # nothing told yet: 0
        report("w0", 90, 100, 7, 0.2),
        read(200, 201, 7, None),  # 100 behind
        report("w0", 240, 250, 7, 0.5),
        read(400, 401, 7, None),  # 300, behind the first
        read(410, 411, 7, 0.2),  # 160, behind the second
        read(420, 421, 7, 0.5),  # 0
        read(600, 601, 7, 0.2, outcome="fail", error="lock"),
        complete("w0", 700, 710, 7),
        read(705, 706, 7, None),
        read(900, 901, 7, 0.2, phase="quiet"),
        report("w1", 90, 100, 8, 0.5),
        kill(150, 160, "w1"),
        read(400, 401, 8, None),
    )
    with coverage.open_history(history.save(tmp_path / "h")) as opened:
        measured = {name: row["value"] for name, row in coverage.measurements(opened).items()}
        shares = {row["share"]: row["ms"] for row in coverage.series(opened)["staleness"]}
    assert (measured["staleness_ms_p50"], measured["staleness_ms_worst"]) == (pytest.approx(100), pytest.approx(300))
    assert measured["staleness_ms_p99"] == pytest.approx(160 + 0.96 * 140)
    assert (shares[0.0], shares[0.5], shares[1.0], len(shares)) == (0, pytest.approx(100), pytest.approx(300), 16)


POOL = [
    Acquisition("w0", 0, 2 * MS, 10 * MS),
    Acquisition("w0", 1 * MS, 5 * MS, 6 * MS),
    Acquisition("w0", 3 * MS, 8 * MS, error="timeout"),
    Acquisition("w0", 7 * MS, 7 * MS + 1000),
    Acquisition("w1", 0, 900 * MS),  # of one who does not work on jobs
]


def test_the_figures_of_a_pool(tmp_path: Path) -> None:
    measured, _ = figures(History([scan("w0.0", 0, 10, 7)], acquisitions=POOL), tmp_path)
    assert {name: value for name, value in measured.items() if name.startswith("pool_")} == {
        "pool_acquisitions": 4,
        "pool_wait_ms_p50": pytest.approx(3),  # of 0.001, 2, 4 and 5 ms
        "pool_wait_ms_p99": pytest.approx(4.97),
        "pool_wait_ms_max": pytest.approx(5),
        "pool_timeouts": 1,
        "pool_peak": 2,
    }


def test_who_waits_for_a_connection_over_time(tmp_path: Path) -> None:
    history = History([scan("w0.0", 0, 10, 7)], acquisitions=POOL)
    with coverage.open_history(history.save(tmp_path / "h")) as opened:
        waiting = coverage.series(opened)["pool_waiting"]
    assert [(round(row["ms"]), row["waiting"], row["in_use"]) for row in waiting] == [
        (0, 1, 0),
        (1, 2, 0),
        (2, 1, 1),
        (3, 2, 1),
        (5, 1, 2),
        (6, 1, 1),
        (7, 1, 2),  # who waited for a thousandth of a millisecond did not wait
        (8, 0, 2),
        (10, 0, 1),
    ]


def test_the_figures_of_readers_deletions_and_submits(tmp_path: Path) -> None:
    history = seconds(
        status(0, 2, process="r1"),
        status(0, 4, process="r2"),
        status(10, 20, process="r1"),
        status(10, 500, process="r2", outcome="fail", error="lock"),
        status(900, 1900, phase="quiet"),
        clean(0, 3),
        delete(10, 15, 0, 1),
        Op("c2", "wipe_all", 0, 7, returned=0),
        clean(20, 400, outcome="info", error="lock"),
        submit("w0", 0, 6, 1, 5),
        submit("w0", 10, 12, 2, 5),
        submit("w0", 20, 400, None, 5, outcome="fail", error="lock"),
    )
    with coverage.open_history(history.save(tmp_path / "h")) as opened:
        measured = {name: row["value"] for name, row in coverage.measurements(opened).items()}
        latency = {row["share"]: row["ms"] for row in coverage.series(opened)["reader_latency"]}
        covered = coverage.covered(opened)
    assert {
        name: value for name, value in measured.items() if name.startswith(("reader_", "deletion_", "submit_"))
    } == {
        "reader_ms_p50": pytest.approx(4),
        "reader_ms_p99": pytest.approx(9.88),
        "reader_ms_max": pytest.approx(10),
        "deletion_ms_p50": pytest.approx(5),
        "deletion_ms_max": pytest.approx(7),
        "submit_ms_p50": pytest.approx(4),
    }
    assert (latency[0.0], latency[0.5], latency[1.0]) == (pytest.approx(2), pytest.approx(4), pytest.approx(10))
    assert (covered["reads"], covered["deletions"], covered["submits"]) == (4, 4, 3)


def test_how_long_readers_take_is_drawn_only_beside_clean_ups(tmp_path: Path) -> None:
    with coverage.open_history(seconds(status(0, 2), delete(0, 3, 0, 1)).save(tmp_path / "h")) as opened:
        assert "reader_latency" not in coverage.series(opened)


def test_a_round_counts_the_acquisitions_in_it(tmp_path: Path) -> None:
    operations = [
        Op("w0", "round", 10, 50, requested=1, returned=1),
        delete(20, 40, 1, 1, process="w0"),
        Op("w0", "round", 60, 90, requested=10, returned=10),
    ]
    lent = [Acquisition("w0", at, at + 1, at + 2) for at in (5, 21, 30, 55, 60)] + [Acquisition("w1", 25, 26)]
    statements = [Statement("w0", 22, 23, commits=True), Statement("w0", 70, 71), Statement("w0", 55, 56)]
    with coverage.open_history(History(operations, statements, acquisitions=lent).save(tmp_path / "h")) as opened:
        counts = coverage.series(opened)["counts"]
        covered = coverage.covered(opened)
    columns = ("batch", "jobs", "statements", "transactions", "acquisitions", "claims")
    assert [tuple(row[name] for name in columns) for row in counts] == [(1, 1, 1, 1, 2, 0), (10, 10, 1, 0, 1, 0)]
    assert (covered["acquisitions"], "kills" in covered) == (6, False)
