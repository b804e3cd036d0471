"""Evidence and figures on literal histories: what must have happened for a pass is seen when it did, and missed when it did not."""

from __future__ import annotations

from pathlib import Path

import pytest
from literal_history import Acquisition, History, Op, Process, Statement

from harness import coverage


def claim(process: str, start: int, done: int | None, *jobs: object, **more: object) -> Op:
    return Op(process, "claim", start, done, jobs=jobs, requested=1, **more)  # type: ignore[arg-type]  # keywords of Op


TWO = (Process("w0", ended=900), Process("w1", ended=900))
OPEN = Op("w0", "open", 10, 20)
KILL = Op("nemesis", "kill", 30, 40, jobs=("w0",))


def scan(process: str, start: int, done: int | None) -> Op:
    return Op(process, "scan", start, done, jobs=(process,))


def told(start: int, fraction: float) -> Op:
    return Op("w0", "report_progress", start, start + 1, jobs=(7,), value=fraction)


def shown(start: int, done: int) -> Op:
    return Op("screen", "read_progress", start, done, jobs=(7,), value=0.1)


def cleaned(start: int, done: int, rows: int) -> Op:
    return Op("cleaner", "clean_by_tag", start, done, value={"jobs": rows}, returned=rows)


def status(process: str, start: int, done: int) -> Op:
    return Op(process, "status_all", start, done, value={"runs": []})


# evidence → history with it, history without it
CASES: dict[str, tuple[History, History]] = {
    "processes-ended": (
        History([claim("w0", 1, 2)], processes=TWO),
        History([claim("w0", 1, 2)], processes=[Process("w0")]),
    ),
    "operations-accounted": (
        History([claim("w0", 1, 2)], processes=TWO),
        History([claim("w0", 1, None)], processes=TWO),
    ),
    "every-worker-took-part": (
        History([claim("w0", 1, 9, 7), claim("w1", 5, 12, 8)], processes=TWO),
        History([claim("w0", 1, 9, 7), claim("w0", 10, 20, 8), claim("w1", 30, 40)], processes=TWO),
    ),
    "claims-overlapped": (
        History([claim("w0", 1, 9, 7), claim("w1", 5, 12, 8)], processes=TWO),
        History([claim("w0", 1, 9, 7), claim("w1", 9, 12, 8)], processes=TWO),
    ),
    "rounds-completed": (
        History([Op("w0", "round", 1, 9, jobs=(1,), requested=1), Op("w0", "round", 10, 19, jobs=(2, 3), requested=2)]),
        History([Op("w0", "round", 1, 9, jobs=(1,), requested=1), Op("w0", "round", 10, 19, jobs=(2,), requested=2)]),
    ),
    "opens-overlapped": (History([OPEN, Op("w1", "open", 15, 25)]), History([OPEN, Op("w1", "open", 20, 25)])),
    "holder-killed": (History([OPEN, KILL]), History([OPEN])),
    "jobs-at-once": (
        History([scan("w0.0", 1, 9), scan("w0.1", 5, 12)]),
        History([scan("w0", 1, 9), scan("w1", 9, 12)]),
    ),
    "killed-inside": (
        History([scan("w0.1", 1, None), Op("nemesis", "kill", 30, 40, jobs=("w0",))]),
        History([scan("w0.1", 1, 20), Op("nemesis", "kill", 30, 40, jobs=("w0",))]),
    ),
    "change-stood": (
        History([told(0, 0.1), told(10**9, 0.2), shown(10, 20)]),
        History([told(0, 0.1), told(10**8, 0.2), told(2 * 10**8, 0.3), shown(10, 20)]),
    ),
    "more-jobs-than-connections": (
        History([scan(f"w0.{n}", n, 90) for n in range(3)], acquisitions=[Acquisition("w0", 5, 6, 7)]),
        History([scan("w0.0", 1, 9), scan("w0.1", 2, 9)], acquisitions=[Acquisition("w0", 5, 6, 7)]),
    ),
    "cleaned-beside-work": (
        History([claim("w0", 1, 2, 7), cleaned(3, 5, 1), Op("w0", "complete", 8, 9, jobs=(7,))]),
        History([claim("w0", 1, 2, 7), cleaned(3, 5, 0), Op("w0", "complete", 8, 9, jobs=(7,)), cleaned(10, 12, 4)]),
    ),
    "readers-overlapped": (
        History([status("r0", 1, 9), status("r1", 5, 12), cleaned(6, 8, 1)]),
        History([status("r0", 1, 9), status("r1", 5, 12), cleaned(20, 28, 1)]),
    ),
    "submits-read": (
        History([Op("w0", "submit_run", 1, 9, requested=2, value={"run": 1}), status("r0", 5, 6)]),
        History([Op("w0", "submit_run", 1, 9, requested=2, value={"run": 1}), status("r0", 9, 12)]),
    ),
}


@pytest.mark.parametrize("name", list(coverage.EVIDENCE))
def test_evidence_is_seen_where_it_is_and_missed_with_reason_and_remedy_where_it_is_not(
    name: str, tmp_path: Path
) -> None:
    present, absent = CASES[name]
    with coverage.open_history(present.save(tmp_path / "present")) as history:
        (found,) = coverage.evidence(history, [name])
    assert (found.present, found.reason, found.remedy) == (True, "", "")
    with coverage.open_history(absent.save(tmp_path / "absent")) as history:
        (found,) = coverage.evidence(history, [name])
    assert not found.present
    assert found.reason.endswith(".")
    assert found.remedy.endswith(".")
    with coverage.open_history(History().save(tmp_path / "empty")) as history:
        (found,) = coverage.evidence(history, [name])
    assert found.present == (name in ("processes-ended", "operations-accounted"))


def test_a_process_killed_on_purpose_owes_neither_an_end_nor_an_outcome(tmp_path: Path) -> None:
    history = History([claim("w0", 1, None), KILL], processes=[Process("w0")])
    with coverage.open_history(history.save(tmp_path / "killed")) as opened:
        found = coverage.evidence(opened, ["processes-ended", "operations-accounted"])
    assert [evidence.present for evidence in found] == [True, True]


def test_one_kill_outside_of_any_operation_is_one_too_many(tmp_path: Path) -> None:
    kills = [Op("nemesis", "kill", 30, 40, jobs=(name,)) for name in ("w0", "w1")]
    with coverage.open_history(
        History([scan("w0", 1, None), scan("w1", 1, 20), *kills]).save(tmp_path / "k")
    ) as opened:
        (found,) = coverage.evidence(opened, ["killed-inside"])
    assert not found.present
    assert found.reason == "1 of 2 processes were killed outside of any operation."


def test_changes_that_none_succeeded_are_said_with_the_first_error(tmp_path: Path) -> None:
    failed = Op("w0", "report_progress", 0, 1, jobs=(7,), value=0.1, outcome="info", error="other")
    with coverage.open_history(History([failed, shown(10, 20)]).save(tmp_path / "f")) as opened:
        (found,) = coverage.evidence(opened, ["change-stood"])
    assert found.reason == "Of 1 reports of progress none succeeded; the first said: Error: literal."


def test_an_overlap_with_a_claim_of_the_setup_or_the_quiet_phase_does_not_count(tmp_path: Path) -> None:
    history = History([claim("setup", 1, 9, 7, phase="setup"), claim("w0", 5, 12, 8)], processes=TWO)
    with coverage.open_history(history.save(tmp_path / "phases")) as opened:
        (found,) = coverage.evidence(opened, ["claims-overlapped"])
    assert not found.present


def test_the_figures_are_those_of_the_history(tmp_path: Path) -> None:
    """Two claims of 2 and 4 ms for three jobs in 5 ms, one statement and two, a lock error beside them."""
    ms = 1_000_000
    operations = [
        Op("setup", "enqueue", 0, 1, jobs=(7, 8, 9), phase="setup"),
        claim("w0", 10 * ms, 12 * ms, 7),
        claim("w1", 11 * ms, 15 * ms, 8, 9),
        claim("w0", 13 * ms, 14 * ms, outcome="fail", error="lock"),
    ]
    statements = [
        Statement("w0", 10 * ms + 1, 10 * ms + 2, commits=True),
        Statement("w1", 11 * ms + 1, 11 * ms + 2, "begin"),
        Statement("w1", 11 * ms + 3, 11 * ms + 4, "read"),
        Statement("w1", 11 * ms + 5, 11 * ms + 6),
        Statement("w1", 11 * ms + 7, 11 * ms + 8, "commit", commits=True),
    ]
    with coverage.open_history(History(operations, statements, TWO).save(tmp_path / "figures")) as opened:
        measured = {name: row["value"] for name, row in coverage.measurements(opened).items()}
        covered = coverage.covered(opened)
        workers = coverage.workers(opened)
    assert measured["claims_per_second"] == pytest.approx(400)
    assert measured["jobs_per_second"] == pytest.approx(600)
    assert measured["claim_ms_p50"] == pytest.approx(3)
    assert measured["slowest_claim_ms"] == pytest.approx(4)
    assert measured["statements_per_claim"] == pytest.approx(1.5)
    assert measured["transactions_per_claim"] == pytest.approx(1)
    assert measured["lock_errors"] == 1
    assert "round_trips_per_claim" not in measured
    assert (covered["operations"], covered["claims"], covered["overlapping_claims"], covered["jobs"]) == (4, 2, 1, 3)
    assert [(row["process"], row["claims"], row["jobs"], row["errors"]) for row in workers] == [
        ("w0", 2, 1, 1),
        ("w1", 1, 2, 0),
    ]


def test_the_cost_of_one_more_job_is_a_slope_over_rounds(tmp_path: Path) -> None:
    operations, statements, start = [], [], 0
    for size in (1, 10, 100):
        operations.append(Op("w0", "round", start, start + 900, jobs=tuple(range(size)), requested=size))
        statements += [Statement("w0", start + n + 1, start + n + 1) for n in range(size + 1)]
        start += 1000
    with coverage.open_history(History(operations, statements).save(tmp_path / "rounds")) as opened:
        assert coverage.measurements(opened)["statements_per_job"]["value"] == pytest.approx(1.0)
        assert [row["statements"] for row in coverage.rounds(opened)] == [2, 11, 101]
