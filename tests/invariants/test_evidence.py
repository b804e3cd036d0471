"""Evidence and figures on literal histories: what must have happened for a pass is seen when it did, and missed when it did not."""

from __future__ import annotations

from dataclasses import replace
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
    fail,
    fault,
    kill,
    ops,
    read,
    read_run,
    report,
    seconds,
    status,
    submit,
)

from harness import coverage


def claim(process: str, start: int, done: int | None, *jobs: object, **more: object) -> Op:
    return Op(process, "claim", start, done, jobs=jobs, requested=1, **more)  # type: ignore[arg-type]  # keywords of Op


def scan(process: str, start: int, done: int | None, job: object, **more: object) -> Op:
    return Op(process, "scan", start, done, jobs=(job,), **more)  # type: ignore[arg-type]  # as above


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
    "faults-landed": (  # w1 is in no operation while it is paused, of which w0 knows nothing
        History(
            [claim("w0", 1, 9, 7), claim("w1", 15, 19, 8), fault("pause-worker", 5, 16, "w0", "w1")], processes=TWO
        ),
        History(
            [claim("w0", 1, 9, 7), claim("w1", 17, 19, 8), fault("pause-worker", 5, 16, "w0", "w1")], processes=TWO
        ),
    ),
    "jobs-handed-on": (
        ops(claim("w0", 1, 9, 7), fault("pause-worker", 15, 40, "w0"), claim("w1", 30, 35, 7)),
        ops(
            claim("setup", 1, 2, 9, phase="setup"),
            claim("w0", 3, 9, 7, 8, 9),
            complete("w0", 10, 12, 7),
            fault("pause-worker", 11, 40, "w1"),
            claim("w1", 30, 35, 7, 8),
            claim("w0", 50, 55, 9),
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
        ("faults-landed", ops(claim("w0", 10, 20, 7)), "No fault was done."),
        (
            "faults-landed",
            History(
                [
                    claim("w0", 10, 20, 7),
                    fault("freeze-server", 12, 15),
                    fault("latency", 25, 30),
                    fault("swizzle", 31, 32, "w1"),
                ],
                processes=TWO,
            ),
            "Of 3 faults these did not land inside an operation: latency, swizzle.",
        ),
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


FULL = claim("w0.1", 10, 20, outcome="fail", error="other", code="SQLITE_FULL")
# The name of a fault, done in ms 15 to 30 to these workers, what went on beside it, and whether it landed.
HARM: list[tuple[str, tuple[str, ...], list[Op], bool]] = [
    ("in one", ("w0",), [claim("w0", 10, 20, 7)], True),
    ("in one begun after it", ("w0",), [claim("w0", 16, 40, 7)], True),
    ("in one before it", ("w0",), [claim("w0", 10, 14, 7)], False),
    ("in one after it", ("w0",), [claim("w0", 31, 40, 7)], False),
    ("in one of another", ("w0",), [claim("w1", 10, 20, 7)], False),
    ("in one of a thread", ("w0",), [claim("w0.1", 10, 20, 7)], True),
    ("of all, in one of anybody", (), [claim("w1", 10, 20, 7)], True),
    ("of all, in none", (), [claim("w1", 10, 14, 7)], False),
    ("of all, in one of no worker", (), [claim("quiet", 10, 20, 7, phase="quiet")], False),
    ("of two, in one of each", ("w0", "w1"), [claim("w0", 10, 20, 7), claim("w1", 29, 31, 8)], True),
    ("of two, in one of one", ("w0", "w1"), [claim("w0", 10, 20, 7), claim("w1", 31, 32, 8)], False),
    ("fill-disk", ("w0",), [replace(FULL, code="SQLITE_BUSY"), replace(FULL, code=None)], False),
    ("fill-disk", ("w1",), [FULL, claim("w1", 10, 20, 7)], False),
    ("fill-disk", (), [FULL], True),
    ("in one that never came back", ("w2",), [claim("w2", 10, None)], True),
]


def test_a_fault_landed_where_all_it_was_done_to_were_inside_an_operation_while_it_lasted(tmp_path: Path) -> None:
    operations = []
    for number, (name, workers, beside, _) in enumerate(HARM):
        done = [*beside, fault(name, 15, 30, *workers)]
        shift = 100 * number
        operations += [replace(o, start=o.start + shift, done=None if o.done is None else o.done + shift) for o in done]
    operations += [claim("w0", 9000, 9010, 7), fault("never healed", 9005, None, "w0")]
    operations += [kill(9500, 9501, "w1")]  # part of another scenario, and no such fault
    processes = (*TWO, Process("w2"), Process("quiet", "quiet"), Process("w0.1", "thread", ended=900))
    with coverage.open_history(History(operations, processes=processes).save(tmp_path / "harm")) as opened:
        (found,) = coverage.evidence(opened, ["faults-landed"])
    missed = [name for name, _, _, landed in HARM if not landed] + ["never healed"]
    assert found.reason == f"Of {len(HARM) + 1} faults these did not land inside an operation: {', '.join(missed)}."


def test_a_fault_that_never_ended_did_not_take_hold_wherever_it_began(tmp_path: Path) -> None:
    history = History([claim("w0", 1, 9, 7), fault("pause-worker", 5, None, "w0")], processes=TWO)
    with coverage.open_history(history.save(tmp_path / "h")) as opened:
        (found,) = coverage.evidence(opened, ["faults-landed"])
    assert not found.present


@pytest.mark.parametrize(
    ("aim", "completed", "landed"), [("holding", 20, True), ("holding", 10, False), ("any", 20, False)]
)
def test_a_fault_aimed_at_who_has_a_job_in_hand_landed_where_it_had_one(
    tmp_path: Path, aim: str, completed: int, *, landed: bool
) -> None:
    aimed = replace(fault("kill-worker", 15, 16, "w0"), value={"fault": "kill-worker", "inside": aim})
    history = History([claim("w0", 1, 9, 7), aimed, complete("w0", completed, completed + 2, 7)], processes=TWO)
    with coverage.open_history(history.save(tmp_path / "h")) as opened:
        (found,) = coverage.evidence(opened, ["faults-landed"])
    assert found.present is landed


FIRST, PAUSED, NEXT = claim("w0", 1, 9, 7), fault("pause-worker", 15, 40, "w0"), claim("w1", 30, 35, 7)


@pytest.mark.parametrize(
    "operations",
    [
        (FIRST, fault("crash-server", 15, 25), NEXT),  # a fault of everybody's database
        (FIRST, PAUSED, NEXT, complete("w0", 41, 42, 7, accepted=())),  # it came too late, and was refused
        (FIRST, PAUSED, complete("w0", 20, 22, 7, accepted=()), NEXT),  # it was refused before
        (FIRST, PAUSED, complete("w0", 20, 22, 7, outcome="info", error="lost"), NEXT),  # it did not happen after all
        (claim("w0.1", 1, 9, 7), PAUSED, claim("w1.0", 30, 35, 7)),  # threads
    ],
)
def test_a_job_is_handed_on_by_one_that_had_it_when_the_fault_began_and_did_not_end_it(
    operations: tuple[Op, ...], tmp_path: Path
) -> None:
    with coverage.open_history(ops(*operations).save(tmp_path / "on")) as opened:
        (found,) = coverage.evidence(opened, ["jobs-handed-on"])
    assert found.present


def test_a_job_is_not_handed_on_to_oneself_or_by_one_unharmed_or_where_it_was_given_back(tmp_path: Path) -> None:
    operations = [
        *(claim("w0", job, 9, job) for job in range(1, 6)),
        claim("w2", 1, 9, 6),
        PAUSED,
        claim("w0", 30, 35, 1),
        claim("w0.1", 30, 35, 2),
        fail("w0", 20, 22, 3),
        claim("w1", 30, 35, 3),
        claim("w1", 30, 35, 4, outcome="fail", error="lock"),
        claim("w1", 11, 14, 5),  # before it was harmed
        claim("w1", 30, 35, 6),
    ]
    with coverage.open_history(ops(*operations).save(tmp_path / "on")) as opened:
        (found,) = coverage.evidence(opened, ["jobs-handed-on"])
    assert not found.present


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
