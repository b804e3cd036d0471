"""Evidence and figures on literal histories: what must have happened for a pass is seen when it did, and missed when it did not."""

from __future__ import annotations

from pathlib import Path

import pytest
from literal_history import (
    Acquisition,
    History,
    Op,
    Process,
    Statement,
    clean,
    complete,
    delete,
    kill,
    ops,
    read,
    read_run,
    report,
    status,
    submit,
)

from harness import coverage


def claim(process: str, start: int, done: int | None, *jobs: object, **more: object) -> Op:
    return Op(process, "claim", start, done, jobs=jobs, requested=1, **more)  # type: ignore[arg-type]  # keywords of Op


def scan(process: str, start: int, done: int | None, job: object, **more: object) -> Op:
    return Op(process, "scan", start, done, jobs=(job,), **more)  # type: ignore[arg-type]  # as above


def seconds(*operations: Op) -> History:
    """A history whose times are given in ms."""
    times = [(op, op.start * MS, None if op.done is None else op.done * MS) for op in operations]
    return History([Op(**{**vars(op), "start": start, "done": done}) for op, start, done in times])


MS = 1_000_000
TWO = (Process("w0", ended=900), Process("w1", ended=900))
OPEN = Op("w0", "open", 10, 20)
KILL = Op("nemesis", "kill", 30, 40, jobs=("w0",))


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
    "jobs-at-once": (
        ops(scan("w0.0", 10, 20, 7), scan("w0.1", 19, 30, 8)),
        ops(scan("w0.0", 10, 20, 7), scan("w0.1", 20, 30, 8), scan("setup", 5, 40, 9, phase="setup")),
    ),
    "killed-inside": (
        ops(claim("w0", 1, 9, 7), scan("w0.0", 10, None, 7), kill(20, 25, "w0")),
        ops(
            scan("w0", 10, None, 7),
            kill(20, 25, "w0"),
            delete(12, 19, 0, 1, process="w1"),
            delete(26, None, 0, 1, process="w1"),
            kill(20, 25, "w1"),
        ),
    ),
    "change-stood": (
        seconds(report("w0", 10, 20, 7, 0.1), read(100, 110, 7, None), report("w0", 520, 530, 7, 0.2)),
        seconds(
            report(
                "w0", 10, 20, 7, 0.1
            ),  # looked for only while it had not stood for so long, of another job, or in vain
            read(15, 25, 7, None),
            read(510, 525, 7, None),
            read(100, 110, 8, None),
            read(100, 110, 7, None, outcome="fail", error="lock"),
            report("w0", 520, 530, 7, 0.2),
            read(600, 610, 7, None),
            report("w0", 1029, 1030, 7, 0.3),
            read(1100, 1110, 7, None),
        ),
    ),
    "more-jobs-than-connections": (
        History([scan("w0.0", 10, 30, 7), scan("w0.1", 20, 40, 8)], acquisitions=[Acquisition("w0", 1, 2, size=1)]),
        History(
            [scan("w0.0", 10, 30, 7), scan("w0.1", 20, 40, 8), scan("w0.0", 30, 50, 9), scan("w1", 10, 50, 9)],
            acquisitions=[Acquisition("w0", 1, 2, size=2), Acquisition("w1", 1, 2), Acquisition("w2", 1, 2, size=None)],
        ),
    ),
    "cleaned-beside-work": (
        ops(claim("w0", 1, 9, 7), clean(12, 20), complete("w0.0", 15, 25, 7)),
        ops(
            claim("w0", 10, 20, 7),
            clean(12, 19),
            clean(22, 24, 0),
            clean(22, 24, outcome="fail", error="lock"),
            complete("w0", 30, 35, 7),
            clean(31, 40),
        ),
    ),
    "readers-overlapped": (
        ops(status(10, 20, process="r1"), clean(15, 18, 0), status(14, 25, process="r2")),
        ops(status(10, 20, process="r1"), clean(21, 28), status(14, 21, process="r2"), status(25, 35, process="r1")),
    ),
    "submits-read": (
        ops(submit("w0", 10, 20, 1, 5), read_run(15, 16, 1, missing=True)),
        ops(
            submit("w0", 10, 20, 1, 5, phase="setup"),
            submit("w1", 12, None, None, 5),
            status(15, 30),
            submit("w0", 30, 40, 2, 5),
            read_run(31, 32, 2, outcome="fail", error="lock"),
        ),
    ),
    "opens-overlapped": (History([OPEN, Op("w1", "open", 15, 25)]), History([OPEN, Op("w1", "open", 20, 25)])),
    "holder-killed": (History([OPEN, KILL]), History([OPEN])),
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


@pytest.mark.parametrize(
    ("name", "history", "words"),
    [
        ("killed-inside", ops(scan("w0", 10, 20, 7)), "Nobody was killed."),
        ("killed-inside", CASES["killed-inside"][1], "1 of 2 processes were killed outside of any operation."),
        ("more-jobs-than-connections", ops(scan("w0", 10, 20, 7)), "No connection was taken from a bounded pool."),
        (
            "more-jobs-than-connections",
            CASES["more-jobs-than-connections"][1],
            "2 jobs were worked on at once, on a pool of 2.",
        ),
        ("cleaned-beside-work", CASES["cleaned-beside-work"][1], "Of 2 clean-ups that deleted something none went on"),
        (
            "readers-overlapped",
            CASES["readers-overlapped"][1],
            "Of 3 reads none overlapped both another and a clean-up.",
        ),
        ("submits-read", CASES["submits-read"][1], "Of 1 submits none was going on while somebody read."),
        ("jobs-at-once", CASES["jobs-at-once"][1], "Of 2 jobs none was worked on while another was."),
    ],
)
def test_what_is_missing_is_said_with_the_numbers_of_the_history(
    name: str, history: History, words: str, tmp_path: Path
) -> None:
    with coverage.open_history(history.save(tmp_path / "missing")) as opened:
        (found,) = coverage.evidence(opened, [name])
    assert not found.present
    assert words in found.reason


def test_a_process_killed_on_purpose_owes_neither_an_end_nor_an_outcome(tmp_path: Path) -> None:
    threads = [Process("w0"), Process("w0.0", "thread")]
    history = History([claim("w0", 1, None), scan("w0.0", 2, None, 7), KILL], processes=threads)
    with coverage.open_history(history.save(tmp_path / "killed")) as opened:
        found = coverage.evidence(opened, ["processes-ended", "operations-accounted"])
    assert [evidence.present for evidence in found] == [True, True]


def test_one_kill_outside_of_any_operation_is_one_too_many(tmp_path: Path) -> None:
    kills = [Op("nemesis", "kill", 30, 40, jobs=(name,)) for name in ("w0", "w1")]
    with coverage.open_history(
        History([scan("w0", 1, None, 7), scan("w1", 1, 20, 8), *kills]).save(tmp_path / "k")
    ) as opened:
        (found,) = coverage.evidence(opened, ["killed-inside"])
    assert not found.present
    assert found.reason == "1 of 2 processes were killed outside of any operation."


def test_changes_that_none_succeeded_are_said_with_the_first_error(tmp_path: Path) -> None:
    failed = Op("w0", "report_progress", 0, 1, jobs=(7,), value=0.1, outcome="info", error="other")
    with coverage.open_history(ops(failed, read(10, 20, 7, 0.1)).save(tmp_path / "f")) as opened:
        (found,) = coverage.evidence(opened, ["change-stood"])
    assert found.reason == "Of 1 reports of progress none succeeded; the first said: Error: literal."


def test_an_overlap_with_a_claim_of_the_setup_or_the_quiet_phase_does_not_count(tmp_path: Path) -> None:
    history = History([claim("setup", 1, 9, 7, phase="setup"), claim("w0", 5, 12, 8)], processes=TWO)
    with coverage.open_history(history.save(tmp_path / "phases")) as opened:
        (found,) = coverage.evidence(opened, ["claims-overlapped"])
    assert not found.present


@pytest.mark.parametrize(("unsure_ns", "overlaps"), [(1, 1), (2, 0)])
def test_an_overlap_on_unsure_clocks_must_be_longer_than_twice_what_is_unknown(
    unsure_ns: int, overlaps: int, tmp_path: Path
) -> None:
    claims = [claim("m1w0", 1, 9, 7), claim("m2w0", 5, 12, 8)]  # 4 ns together
    history = History([*claims, Op("clocks", "clock", 20, 21, value=unsure_ns)], processes=TWO)
    with coverage.open_history(history.save(tmp_path / "clocks")) as opened:
        (found,) = coverage.evidence(opened, ["claims-overlapped"])
        covered = coverage.covered(opened)
    assert (found.present, covered["overlapping_claims"]) == (overlaps > 0, overlaps)


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
