"""Literal histories of work that tells of its progress: what it writes, what a screen shows, and who waits for a connection.

Each table gives, for an invariant, named histories with the context they are judged in; a broken one, the operations and the facts of
its finding as well.
"""

from __future__ import annotations

from collections.abc import Sequence

from literal_history import (
    Acquisition,
    History,
    Op,
    Process,
    Statement,
    claim,
    complete,
    fail,
    kill,
    ops,
    read,
    report,
)

MS = 1_000_000
S = 1000 * MS
IN_A_SECOND: dict[str, object] = {"flush_interval_ns": S}  # and half a second for a busy machine
NEARLY = 0.699999988079071  # 0.7, kept in four bytes

Case = tuple[str, History, dict[str, object]]
Broken = tuple[str, History, dict[str, object], tuple[int, ...], dict[str, object]]


def scan(process: str, start: int, done: int | None, job: object) -> Op:
    return Op(process, "scan", start, done, jobs=(job,))


def writes(start: int, number: int, process: str = "w0") -> list[Statement]:
    """So many writes, one every 2 ns."""
    return [Statement(process, at, at + 1, commits=True) for at in range(start, start + 2 * number, 2)]


def worked(operations: Sequence[Op], *statements: Sequence[Statement]) -> History:
    return History(operations, [each for some in statements for each in some])


def seconds(*operations: Op) -> History:
    """A history whose times are given in ms."""
    times = [(op, op.start * MS, None if op.done is None else op.done * MS) for op in operations]
    return History([Op(**{**vars(op), "start": start, "done": done}) for op, start, done in times])


ONE_SCAN = (claim("w0", 0, 10, 7), scan("w0", 20, 500, 7), report("w0", 30, 40, 7, 0.5), complete("w0", 600, 610, 7))
TWO_SCANS = (
    claim("w0", 0, 10, 7, 8, requested=2),
    scan("w0.0", 20, 500, 7),
    scan("w0.1", 30, 400, 8),
    report("w0.0", 35, 40, 7, 0.5),
)
TOLD = (claim("w0", 0, 10, 7), report("w0", 90, 100, 7, 0.5))
SHOWN = (claim("w0", 0, 10, 7), read(20, 30, 7, 0.5))
GIVEN_BACK = fail("w0", 2000, 2010, 7)
LANDED = (claim("w9", 0, 10, 9), report("w9", 20, 30, 9, 0.5), complete("w9", 40, 50, 9), read(60, 70, 9, 0.5))

HOLDS: dict[str, list[Case]] = {
    "write-budget": [
        ("10 writes, and the one that ends the job", worked(ONE_SCAN, writes(50, 10), writes(605, 1)), {}),
        ("2 jobs at the same time share 20", worked(TWO_SCANS, writes(50, 20)), {}),
        (
            "one stretch after another, each with its 10",
            worked([*ONE_SCAN, scan("w0", 700, 800, 8)], writes(50, 8), writes(510, 3), writes(750, 10)),
            {},
        ),
        (
            "two workers have 10 each",
            worked([*ONE_SCAN, scan("w1", 20, 500, 8)], writes(50, 10), writes(50, 10, "w1")),
            {},
        ),
        (
            "a long job beside short ones is one stretch with all of them",
            worked(
                [
                    scan("w0.0", 20, 500, 7),
                    scan("w0.1", 30, 40, 8),
                    scan("w0.1", 100, 200, 9),
                    report("w0.0", 35, 40, 7, 0.5),
                ],
                writes(42, 5),
                writes(150, 25),
            ),
            {},
        ),
        (
            "two workers, each with stretches of its own",
            worked(
                [
                    scan("w0", 20, 900, 7),
                    report("w0", 30, 40, 7, 0.5),
                    complete("w0", 950, 960, 7),
                    scan("w1", 25, 100, 8),
                    scan("w1", 700, 800, 9),
                ],
                writes(750, 10),
                writes(952, 1),
                writes(30, 10, "w1"),
                writes(710, 10, "w1"),
            ),
            {},
        ),
        (
            "a claim writes, or something in the background during it",
            worked([*ONE_SCAN, claim("w0", 700, 800, 8)], writes(50, 10), writes(605, 1), writes(710, 9)),
            {},
        ),
        (
            "what else the worker did is not telling of progress",
            worked(
                [*ONE_SCAN, Op("w0", "submit_run", 510, 550, requested=2, value={"run": 1})],
                writes(50, 10),
                writes(520, 3),
                writes(605, 1),
            ),
            {},
        ),
        ("complete writes the progress and the end", worked(ONE_SCAN, writes(50, 9), writes(602, 2)), {}),
        (
            "several jobs are ended by one call with a write for each",
            worked([*TWO_SCANS, complete("w0", 600, 610, 7, 8)], writes(50, 20), writes(602, 2)),
            {},
        ),
        (
            "an end of unknown outcome may have written",
            worked([*ONE_SCAN[:3], complete("w0", 600, None, 7)], writes(50, 10), writes(602, 1)),
            {},
        ),
        (
            "what was not written is not counted",
            worked(ONE_SCAN, writes(50, 10), [Statement("w0", 80, 81, error="lock"), Statement("w0", 82, 83, "read")]),
            {},
        ),
        ("nothing is counted before the work", worked(ONE_SCAN, writes(12, 3), writes(50, 10)), {}),
    ],
    "progress-fresh": [
        ("shown at once", seconds(*TOLD, read(110, 120, 7, 0.5), read(9000, 9001, 7, 0.5)), IN_A_SECOND),
        ("not yet shown after the interval and half a second", seconds(*TOLD, read(1600, 9000, 7, None)), IN_A_SECOND),
        (
            "a report that overlaps the read",
            seconds(TOLD[0], report("w0", 90, 5000, 7, 0.5), read(4999, 9000, 7, None)),
            IN_A_SECOND,
        ),
        (
            "the longest of all writes took a second",
            worked(seconds(*TOLD, read(2600, 2601, 7, None)).ops, [Statement("w0", 0, S), Statement("w0", S, S + MS)]),
            IN_A_SECOND,
        ),
        (
            "another job, another report, another worker's death",
            seconds(
                claim("w0", 0, 10, 7, 8, requested=2),
                claim("w1", 0, 10, 9),
                report("w0", 90, 100, 7, 0.2),
                report("w0", 90, 100, 8, 0.9),
                report("w1", 90, 100, 9, 0.9),
                kill(5000, 5010, "w1"),
                read(9000, 9001, 7, 0.2),
                read(9000, 9001, 8, 0.9),
                read(9000, 9001, 9, 0.9),
            ),
            IN_A_SECOND,
        ),
        (
            "claimed again by the same worker",
            seconds(*TOLD, GIVEN_BACK, claim("w0", 3000, 3010, 7), read(9000, 9001, 7, None)),
            IN_A_SECOND,
        ),
        (
            "the longest write took a second",
            worked(seconds(*TOLD, read(2600, 2601, 7, None)).ops, [Statement("w0", 0, S)]),
            IN_A_SECOND,
        ),
        (
            "a write waited a second for its lock when it began",
            worked(seconds(*TOLD, read(2600, 2601, 7, None)).ops, [Statement("w0", 0, S, "begin")]),
            IN_A_SECOND,
        ),
        (
            "killed within an interval: it may take with it what it had not written",
            seconds(*TOLD, kill(1600, 1610, "w0"), read(9000, 9001, 7, None)),
            IN_A_SECOND,
        ),
        (
            "ended within an interval",
            History(seconds(*TOLD, read(9000, 9001, 7, None)).ops, processes=[Process("w0", ended=1600 * MS)]),
            IN_A_SECOND,
        ),
        (
            "given back and claimed again: it starts anew",
            seconds(*TOLD, GIVEN_BACK, claim("w1", 3000, 3010, 7), read(9000, 9001, 7, None)),
            IN_A_SECOND,
        ),
        (
            "a read while it is claimed again",
            seconds(*TOLD, fail("w0", 200, 210, 7), claim("w1", 5000, 5100, 7), read(5050, 5060, 7, None)),
            IN_A_SECOND,
        ),
        (
            "a claim of unknown outcome may have taken what was given back",
            seconds(*TOLD, GIVEN_BACK, claim("w1", 3000, 3010, outcome="info"), read(9000, 9001, 7, None)),
            IN_A_SECOND,
        ),
        (
            "a callback that came after the end was swallowed",
            seconds(*TOLD, complete("w0", 200, 210, 7), report("w0", 300, 310, 7, 1.0), read(9000, 9001, 7, 0.5)),
            IN_A_SECOND,
        ),
        (
            "a callback that came while the job was being completed",
            seconds(*TOLD, complete("w0", 200, 400, 7), report("w0.1", 190, 310, 7, 1.0), read(9000, 9001, 7, 0.5)),
            IN_A_SECOND,
        ),
        (
            "somebody told of a job that another had by then",
            seconds(
                *TOLD,
                fail("w0", 200, 210, 7),
                claim("w1", 300, 310, 7),
                report("w1", 320, 330, 7, 0.2),
                report("w0", 340, 350, 7, 0.9),
                read(9000, 9001, 7, 0.2),
            ),
            IN_A_SECOND,
        ),
        ("less was told later", seconds(*TOLD, report("w0", 200, 210, 7, 0.4), read(9000, 9001, 7, 0.5)), IN_A_SECOND),
        (
            "kept in four bytes",
            seconds(TOLD[0], report("w0", 90, 100, 7, 0.7), read(9000, 9001, 7, NEARLY)),
            IN_A_SECOND,
        ),
        (
            "it may have been deleted",
            seconds(
                *TOLD,
                complete("w0", 200, 210, 7),
                Op("w1", "clean_by_tag", 300, 310, returned=1),
                read(9000, 9001, 7, None),
            ),
            IN_A_SECOND,
        ),
        (
            "its lease could have run out before it told",
            seconds(TOLD[0], report("w0", 2000, 2010, 7, 0.5), read(9000, 9001, 7, None)),
            IN_A_SECOND | {"lease_ns": S},
        ),
        (
            "its lease could have run out within an interval",
            seconds(*TOLD, read(9000, 9001, 7, None)),
            IN_A_SECOND | {"lease_ns": S},
        ),
        (
            "another finished it within an interval",
            seconds(*TOLD, complete("w1", 150, 160, 7), read(9000, 9001, 7, None)),
            IN_A_SECOND | {"semantics": "at-least-once"},
        ),
        ("reported by nobody who had claimed it", seconds(TOLD[1], read(9000, 9001, 7, None)), IN_A_SECOND),
        (
            "not certainly reported",
            seconds(TOLD[0], report("w0", 90, 100, 7, 0.5, outcome="info"), read(9000, 9001, 7, None)),
            IN_A_SECOND,
        ),
        ("two schedules", seconds(*TOLD, read(9000, 9001, 7, None, schedule=1)), IN_A_SECOND),
    ],
    "progress-monotonic": [
        ("it rises", ops(claim("w0", 0, 10, 7), read(20, 30, 7, None), read(40, 50, 7, 0.5), read(60, 70, 7, 0.5)), {}),
        ("two reads at the same time", ops(*SHOWN, read(25, 40, 7, 0.4)), {}),
        (
            "two screens, of which the later to end had begun earlier",
            ops(claim("w0", 0, 10, 7), read(20, 30, 7, 0.5, "s1"), read(15, 60, 7, 0.2, "s2")),
            {},
        ),
        (
            "two jobs, of which one is finished",
            ops(
                claim("w0", 0, 10, 7, 8, requested=2),
                read(20, 30, 7, 0.5),
                read(31, 32, 8, 0.1),
                complete("w0", 33, 34, 8),
                read(35, 40, 8, 0.1),
                read(41, 45, 7, 0.6),
                read(46, 50, 7, 0.9),
            ),
            {},
        ),
        (
            "finished twice, with more the second time",
            ops(
                claim("w0", 0, 10, 7),
                complete("w0", 12, 14, 7),
                read(15, 16, 7, 0.1),
                claim("w1", 20, 25, 7),
                complete("w1", 26, 28, 7),
                read(30, 40, 7, 0.4),
                read(41, 45, 7, 0.4),
            ),
            {},
        ),
        (
            "claimed again, it starts anew",
            ops(*SHOWN, fail("w0", 40, 50, 7), claim("w1", 60, 70, 7), read(80, 90, 7, 0.1)),
            {},
        ),
        (
            "a read while it is claimed again",
            ops(*SHOWN, fail("w0", 40, 50, 7), claim("w1", 60, 100, 7), read(80, 90, 7, 0.1)),
            {},
        ),
        (
            "a claim of unknown outcome may have taken what was given back",
            ops(*SHOWN, fail("w0", 40, 50, 7), claim("w1", 60, 70, outcome="info"), read(80, 90, 7, 0.1)),
            {},
        ),
        (
            "a claim of unknown outcome may have taken it from a dead worker",
            ops(*SHOWN, kill(40, 50, "w0"), claim("w1", 60, None), read(80, 90, 7, None)),
            {},
        ),
        (
            "it may have been deleted",
            ops(*SHOWN, complete("w0", 40, 50, 7), Op("w1", "wipe_all", 60, 70, returned=1), read(80, 90, 7, None)),
            {},
        ),
        (
            "finished before, when the id was perhaps another job's",
            ops(
                claim("w0", 0, 10, 7),
                complete("w0", 12, 14, 7),
                claim("w1", 20, 25, 7),
                read(26, 28, 7, 0.1),
                read(30, 40, 7, 0.4),
            ),
            {},
        ),
        (
            "the last of it landed while it was being completed",
            ops(*SHOWN, complete("w0", 40, 50, 7), read(45, 55, 7, 0.5), read(60, 70, 7, 1.0), read(80, 90, 7, 1.0)),
            {},
        ),
        (
            "nobody can tell whether it was finished",
            ops(*SHOWN, complete("w0", 40, 50, 7, outcome="info"), read(60, 70, 7, 0.5), read(80, 90, 7, 1.0)),
            {},
        ),
        (
            "its completion was refused",
            ops(*SHOWN, complete("w0", 40, 50, 7, accepted=()), read(60, 70, 7, 0.5), read(80, 90, 7, 1.0)),
            {},
        ),
        ("kept in four bytes", ops(claim("w0", 0, 10, 7), read(20, 30, 7, 0.7), read(40, 50, 7, NEARLY)), {}),
        ("two schedules", ops(*SHOWN, read(40, 50, 7, 0.1, schedule=1)), {}),
    ],
    "progress-final": [
        ("landed when it was completed", ops(*LANDED), {}),
        (
            "landed when it was given back",
            ops(
                *TOLD,
                fail("w0", 200, 210, 7),
                read(220, 230, 7, 0.5),
                claim("w1", 300, 310, 7),
                read(320, 330, 7, None),
            ),
            {},
        ),
        (
            "landed when the worker closed the queue",
            ops(*TOLD, Op("w0", "close", 200, 210), read(220, 230, 7, 0.5)),
            {},
        ),
        (
            "a read that began before the end had returned",
            ops(*TOLD, complete("w0", 200, 210, 7), read(209, 230, 7, None), read(240, 250, 7, 0.5)),
            {},
        ),
        (
            "what the worker did beside closing is no end",
            ops(
                *LANDED,
                *TOLD,
                claim("w0", 110, 120, 8),
                Op("w0", "close", 130, 140, outcome="fail", error="lock"),
                Op("w0", "close", 150, 160, outcome="info", error="connection"),
                read(220, 230, 7, None),
            ),
            {},
        ),
        (
            "it was closed before, and by somebody else",
            ops(
                Op("w0", "close", -20, -10),
                *LANDED,
                *TOLD,
                Op("w1", "close", 130, 140),
                read(220, 230, 7, None),
            ),
            {},
        ),
        (
            "another job",
            ops(
                claim("w0", 0, 10, 7, 8, requested=2),
                report("w0", 90, 100, 7, 0.5),
                report("w0", 90, 100, 8, 0.9),
                complete("w0", 200, 210, 7, 8),
                read(220, 230, 7, 0.5),
                read(220, 230, 8, 0.9),
            ),
            {},
        ),
        (
            "what was told while it was being completed",
            ops(*TOLD, report("w0.1", 190, 205, 7, 0.9), complete("w0", 200, 210, 7), read(220, 230, 7, 0.5)),
            {},
        ),
        (
            "a callback that came after the end",
            ops(*TOLD, complete("w0", 200, 210, 7), report("w0", 211, 215, 7, 1.0), read(220, 230, 7, 0.5)),
            {},
        ),
        (
            "what was told between an end of unknown outcome and one that was accepted",
            ops(
                *TOLD,
                complete("w0", 200, 210, 7, outcome="info"),
                report("w0", 220, 230, 7, 1.0),
                complete("w0", 240, 250, 7),
                read(260, 270, 7, 0.5),
            ),
            {},
        ),
        ("killed, not ended", ops(*LANDED, *TOLD, kill(200, 210, "w0"), read(220, 230, 7, None)), {}),
        (
            "nobody can tell whether it was ended",
            ops(*LANDED, *TOLD, complete("w0", 200, 210, 7, outcome="info"), read(220, 230, 7, None)),
            {},
        ),
        (
            "the end was refused",
            ops(*LANDED, *TOLD, complete("w0", 200, 210, 7, accepted=()), read(220, 230, 7, None)),
            {},
        ),
        (
            "told in an attempt before",
            ops(
                *TOLD,
                fail("w0", 200, 210, 7),
                read(220, 230, 7, 0.5),
                claim("w0", 300, 310, 7),
                report("w0", 320, 330, 7, 0.1),
                complete("w0", 340, 350, 7),
                read(360, 370, 7, 0.1),
            ),
            {},
        ),
        (
            "told by somebody else",
            ops(*TOLD, report("w1", 110, 120, 7, 0.9), complete("w0", 200, 210, 7), read(220, 230, 7, 0.5)),
            {},
        ),
        (
            "another finished it first, and both were accepted",
            ops(*LANDED, *TOLD, complete("w1", 110, 120, 7), complete("w0", 200, 210, 7), read(220, 230, 7, 0.1)),
            {"semantics": "at-least-once"},
        ),
        (
            "its lease could have run out before it was ended",
            ops(*TOLD, complete("w0", 200, 210, 7), read(220, 230, 7, 0.1), *LANDED),
            {"lease_ns": 100},
        ),
        (
            "less was told last",
            ops(*TOLD, report("w0", 110, 120, 7, 0.4), complete("w0", 200, 210, 7), read(220, 230, 7, 0.5)),
            {},
        ),
        (
            "kept in four bytes",
            ops(TOLD[0], report("w0", 90, 100, 7, 0.7), complete("w0", 200, 210, 7), read(220, 230, 7, NEARLY)),
            {},
        ),
    ],
    "pool-exhausted": [
        ("waited, and got one", History(ONE_SCAN, acquisitions=[Acquisition("w0", 30, 400, 410)]), {}),
        ("never gave it back", History(ONE_SCAN, acquisitions=[Acquisition("w0", 30, 400)]), {}),
        ("another error", History(ONE_SCAN, acquisitions=[Acquisition("w0", 30, 400, error="other")]), {}),
    ],
}

BROKEN: dict[str, list[Broken]] = {
    "write-budget": [
        (
            "a write for every change",
            worked(ONE_SCAN, writes(50, 44), writes(605, 1)),
            {},
            (2,),
            {"process": "w0", "jobs": 1, "writes": 44, "writes_per_job": 44.0},
        ),
        ("one too many", worked(ONE_SCAN, writes(50, 11), writes(605, 1)), {}, (2,), {"writes": 11}),
        (
            "2 jobs at the same time",
            worked(TWO_SCANS, writes(50, 21)),
            {},
            (2, 3),
            {"process": "w0", "jobs": 2, "writes": 21, "writes_per_job": 10.5},
        ),
        (
            "one end of 2 jobs is one write",
            worked([*TWO_SCANS, complete("w0", 600, 610, 7, 8)], writes(50, 21), writes(602, 1)),
            {},
            (2, 3),
            {"writes": 21},
        ),
        (
            "in the long stretch of one worker beside two of another",
            worked(
                [scan("w0", 20, 900, 7), report("w0", 30, 40, 7, 0.5), scan("w1", 25, 100, 8), scan("w1", 700, 800, 9)],
                writes(750, 11),
            ),
            {},
            (1,),
            {"process": "w0", "writes": 11},
        ),
        (
            "an end that certainly did not happen wrote nothing",
            worked([*ONE_SCAN[:3], complete("w0", 600, 610, 7, outcome="fail", error="lock")], writes(50, 11)),
            {},
            (2,),
            {"writes": 11},
        ),
        (
            "one stretch of two",
            worked([*ONE_SCAN, scan("w0", 700, 800, 8)], writes(50, 11), writes(605, 1), writes(750, 10)),
            {},
            (2,),
            {"jobs": 1},
        ),
        (
            "the last of it after the work",
            worked([*ONE_SCAN, scan("w0", 700, 800, 8)], writes(50, 5), writes(605, 1), writes(620, 6)),
            {},
            (2,),
            {"writes": 11},
        ),
        (
            "the last of it when the queue was closed",
            worked([*ONE_SCAN, Op("w0", "close", 620, 650)], writes(50, 5), writes(605, 1), writes(622, 6)),
            {},
            (2,),
            {"writes": 11},
        ),
        (
            "when it was told to write",
            worked([*ONE_SCAN[:3], Op("w0", "flush_progress", 510, 550)], writes(50, 5), writes(512, 6)),
            {},
            (2,),
            {"writes": 11},
        ),
        (
            "killed in its work",
            worked([ONE_SCAN[0], scan("w0", 20, None, 7), ONE_SCAN[2], kill(300, 310, "w0")], writes(50, 11)),
            {},
            (2,),
            {"writes": 11},
        ),
        (
            "of two that touch, the second had begun before the first was over",
            worked([*ONE_SCAN, scan("w0", 500, 550, 8)], writes(50, 21), writes(605, 1)),
            {},
            (2, 4),
            {"jobs": 2},
        ),
    ],
    "progress-fresh": [
        (
            "never shown",
            seconds(*TOLD, read(1601, 1602, 7, None)),
            IN_A_SECOND,
            (2, 3),
            {
                "job": 7,
                "process": "screen",
                "worker": "w0",
                "told": 0.5,
                "shown": None,
                "behind_ns": 1501 * MS,
                "allowed_ns": 1500 * MS,
            },
        ),
        (
            "the first change it did not show counts",
            seconds(
                *TOLD,
                report("w0", 200, 210, 7, 0.6),
                report("w0", 300, 310, 7, 0.7),
                read(3000, 3001, 7, 0.5),
            ),
            IN_A_SECOND,
            (3, 5),
            {"told": 0.6, "shown": 0.5, "behind_ns": 2790 * MS},
        ),
        (
            "told long before the worker was killed",
            seconds(*TOLD, kill(5000, 5010, "w0"), read(9000, 9001, 7, None)),
            IN_A_SECOND,
            (2, 4),
            {"behind_ns": 4900 * MS},
        ),
        (
            "told long before its lease could have run out",
            seconds(*TOLD, read(9000, 9001, 7, None)),
            IN_A_SECOND | {"lease_ns": 3 * S},
            (2, 3),
            {"behind_ns": 2900 * MS},
        ),
        (
            "somebody else was killed",
            seconds(*TOLD, kill(200, 210, "w1"), read(9000, 9001, 7, None)),
            IN_A_SECOND,
            (2, 4),
            {"behind_ns": 8900 * MS},
        ),
        (
            "a later claim of another job",
            seconds(*TOLD, claim("w0", 200, 210, 8), read(9000, 9001, 7, None)),
            IN_A_SECOND,
            (2, 4),
            {"job": 7},
        ),
        (
            "told by a thread",
            seconds(TOLD[0], report("w0.1", 90, 100, 7, 0.5), read(9000, 9001, 7, None)),
            IN_A_SECOND,
            (2, 3),
            {"worker": "w0"},
        ),
        (
            "told in the second attempt",
            seconds(
                *TOLD,
                fail("w0", 200, 210, 7),
                claim("w1", 300, 310, 7),
                report("w1", 320, 330, 7, 0.2),
                read(9000, 9001, 7, None),
            ),
            IN_A_SECOND,
            (5, 6),
            {"worker": "w1", "told": 0.2},
        ),
        (
            "told before it was completed",
            seconds(*TOLD, complete("w0", 200, 210, 7), read(9000, 9001, 7, None)),
            IN_A_SECOND,
            (2, 4),
            {"told": 0.5},
        ),
        (
            "nobody can have taken it from its holder",
            seconds(*TOLD, claim("w1", 3000, 3010, outcome="info"), read(9000, 9001, 7, None)),
            IN_A_SECOND,
            (2, 4),
            {"told": 0.5},
        ),
        (
            "a complete that certainly did not happen ends nothing",
            seconds(
                TOLD[0],
                complete("w0", 20, 30, 7, outcome="fail", error="lock"),
                TOLD[1],
                read(9000, 9001, 7, None),
            ),
            IN_A_SECOND,
            (3, 4),
            {"told": 0.5},
        ),
    ],
    "progress-monotonic": [
        (
            "it went back",
            ops(*SHOWN, read(40, 50, 7, 0.4)),
            {},
            (2, 3),
            {"job": 7, "process": "screen", "before": 0.5, "after": 0.4, "wrong": "went back"},
        ),
        ("on another screen", ops(*SHOWN, read(31, 50, 7, 0.4, "s2")), {}, (2, 3), {"process": "s2", "before": 0.5}),
        ("to nothing", ops(*SHOWN, read(40, 50, 7, None)), {}, (2, 3), {"before": 0.5, "after": 0.0}),
        (
            "behind the most of all before",
            ops(
                claim("w0", 0, 10, 7),
                read(20, 30, 7, 0.3),
                read(31, 35, 7, 0.6),
                read(32, 45, 7, 0.4),
                read(50, 60, 7, 0.5),
            ),
            {},
            (3, 5),
            {"before": 0.6, "after": 0.5},
        ),
        (
            "changed after its end",
            ops(*SHOWN, complete("w0", 40, 50, 7), read(60, 70, 7, 0.5), read(80, 90, 7, 1.0)),
            {},
            (4, 5),
            {"before": 0.5, "after": 1.0, "wrong": "changed after its end"},
        ),
        (
            "changed after its end, from nothing",
            ops(claim("w0", 0, 10, 7), complete("w0", 40, 50, 7), read(60, 70, 7, None), read(80, 90, 7, 1.0)),
            {},
            (3, 4),
            {"before": None, "after": 1.0},
        ),
        (
            "nobody can have taken it from its holder",
            ops(*SHOWN, claim("w1", 35, 38, outcome="info"), read(40, 50, 7, 0.4)),
            {},
            (2, 4),
            {"after": 0.4},
        ),
        (
            "nobody can have taken what was finished",
            ops(*SHOWN, complete("w0", 31, 33, 7), claim("w1", 35, 38, outcome="info"), read(40, 50, 7, 0.4)),
            {},
            (2, 5),
            {"after": 0.4},
        ),
        (
            "what is gone cannot show something else",
            ops(*SHOWN, Op("w1", "wipe_all", 35, 38, returned=0), read(40, 50, 7, 0.4)),
            {},
            (2, 4),
            {"after": 0.4},
        ),
    ],
    "progress-final": [
        (
            "lost when it was completed",
            ops(*TOLD, report("w0", 110, 120, 7, 1.0), complete("w0", 200, 210, 7), read(220, 230, 7, 0.5)),
            {},
            (3, 4, 5),
            {"job": 7, "worker": "w0", "kind": "complete", "told": 1.0, "shown": 0.5},
        ),
        (
            "nothing of it at first",
            ops(*TOLD, complete("w0", 200, 210, 7), read(220, 230, 7, None), read(240, 250, 7, 0.4)),
            {},
            (2, 3, 4),
            {"told": 0.5, "shown": None},
        ),
        (
            "lost when it was given back",
            ops(*TOLD, fail("w0", 200, 210, 7), read(220, 230, 7, 0.4), claim("w1", 300, 310, 7)),
            {},
            (2, 3, 4),
            {"kind": "fail", "shown": 0.4},
        ),
        (
            "lost when the queue was closed",
            ops(*TOLD, Op("w0", "close", 200, 210), read(220, 230, 7, None)),
            {},
            (2, 3, 4),
            {"kind": "close", "worker": "w0", "shown": None},
        ),
        (
            "lost when the queue was closed, as it could not be completed",
            ops(
                *TOLD,
                complete("w0", 110, 120, 7, outcome="fail", error="lock"),
                Op("w0", "close", 200, 210),
                read(220, 230, 7, None),
            ),
            {},
            (2, 4, 5),
            {"kind": "close"},
        ),
        (
            "though another job was claimed since",
            ops(*TOLD, claim("w0", 110, 120, 8), complete("w0", 200, 210, 7), read(220, 230, 7, 0.1)),
            {},
            (2, 4, 5),
            {"job": 7},
        ),
        (
            "told and ended by threads",
            ops(
                claim("w0", 0, 10, 7),
                report("w0.1", 90, 100, 7, 0.5),
                complete("w0.0", 200, 210, 7),
                read(220, 230, 7, 0.1),
            ),
            {},
            (2, 3, 4),
            {"worker": "w0", "told": 0.5},
        ),
    ],
    "pool-exhausted": [
        (
            "a thread that told of progress",
            History(
                [*TWO_SCANS[:3], report("w0.0", 35, 90, 7, 0.5, outcome="fail", error="pool")],
                acquisitions=[Acquisition("w0", 30, 60, 70), Acquisition("w0", 40, 85, error="timeout")],
            ),
            {},
            (4,),
            {"process": "w0", "pool": 1, "size": 2, "waited_ns": 45},
        ),
        (
            "nobody else's operation, none that ended otherwise, and none of another time",
            History(
                [
                    report("w0.2", 10, 20, 7, 0.5, outcome="fail", error="pool"),
                    report("w0.2", 41, 90, 7, 0.5, outcome="fail", error="pool"),
                    report("w0.2", 30, 84, 7, 0.5, outcome="fail", error="pool"),
                    *TWO_SCANS,
                    report("w1.0", 35, 90, 8, 0.5, outcome="fail", error="pool"),
                    report("w0.1", 36, 90, 8, 0.5),
                ],
                acquisitions=[Acquisition("w0", 40, 85, error="timeout", size=None)],
            ),
            {},
            (),
            {"process": "w0", "size": None},
        ),
    ],
}

UNDECIDABLE: dict[str, list[Case]] = {
    "write-budget": [
        ("the witness saw nothing", ops(*ONE_SCAN), {}),
        ("nothing was told", worked([ONE_SCAN[1]], writes(50, 11)), {}),
    ],
    "progress-fresh": [("no read", ops(*TOLD), IN_A_SECOND)],
    "progress-monotonic": [("no read", ops(*TOLD), {})],
    "progress-final": [
        ("never read after its end", ops(*TOLD, complete("w0", 200, 210, 7), read(110, 190, 7, 0.5)), {}),
        ("only read when it was about to end", ops(*TOLD, complete("w0", 200, 210, 7), read(205, 230, 7, None)), {}),
        ("nothing was ended", ops(*TOLD, read(220, 230, 7, None)), {}),
        (
            "handed out again before the giving back had returned",
            ops(*TOLD, fail("w0", 200, 250, 7), claim("w1", 210, 220, 7), read(260, 270, 7, None)),
            {},
        ),
        (
            "a claim of unknown outcome may have taken what was given back",
            ops(*TOLD, fail("w0", 200, 210, 7), claim("w1", 205, None), read(260, 270, 7, None)),
            {},
        ),
        (
            "it may have been deleted",
            ops(
                *TOLD, complete("w0", 200, 210, 7), Op("w1", "wipe_all", 215, 218, returned=1), read(220, 230, 7, None)
            ),
            {},
        ),
    ],
    "pool-exhausted": [("no pool was seen", ops(*ONE_SCAN), {})],
}

NOT_APPLICABLE: list[tuple[str, History, dict[str, object]]] = [
    ("write-budget", worked(ONE_SCAN, writes(50, 44)), {"witness": "none"}),
    ("progress-fresh", seconds(*TOLD, read(9000, 9001, 7, None)), {}),
    (
        "pool-exhausted",
        History(ONE_SCAN, acquisitions=[Acquisition("w0", 30, 400, error="timeout")]),
        {"witness": "none"},
    ),
]
