"""Literal histories of deleting, submitting and reading; the tables are as those of `progress_histories`."""

from __future__ import annotations

from literal_history import (
    Acquisition,
    History,
    Op,
    Process,
    Statement,
    add_actions,
    claim,
    clean,
    complete,
    delete,
    fail,
    kill,
    ops,
    read,
    read_run,
    status,
    submit,
)
from progress_histories import Broken, Case

MADE = Op("setup", "enqueue", 0, 5, jobs=(1, 2, 3), phase="setup")
RUN = (submit("setup", 0, 5, 1, 2), read_run(6, 8, 1, 4, 5), add_actions(9, 12, 4, 6, 7))
HELD = (MADE, claim("w0", 10, 20, 1))
LISTED = status(900, 910, 1, 2, 3)
FIVE = submit("w0", 10, 20, 1, 5)
ONE_BY_ONE = [Statement("cleaner", at, at + 1, commits=True) for at in (32, 34)]


def transaction(start: int, *kinds: str, process: str = "cleaner", error: str | None = None) -> list[Statement]:
    """Statements of one connection, one every 2 ns; a COMMIT commits, an `error` is the last one's."""
    return [
        Statement(
            process, at, at + 1, kind, error if n == len(kinds) - 1 else None, commits=kind == "commit" and not error
        )
        for n, (at, kind) in enumerate(zip(range(start, start + 2 * len(kinds), 2), kinds, strict=True))
    ]


def deleting(*statements: Statement, lent: tuple[Acquisition, ...] = ()) -> History:
    return History([MADE, delete(30, 90, 3, 1, 2, 3)], statements, acquisitions=lent)


# w0 enqueues a job and deletes it; its id is given to one of w1.
AGAIN = (
    Op("w0", "enqueue", 10, 20, jobs=(1,)),
    delete(30, 40, 1, 1, process="w0"),
    Op("w1", "enqueue", 50, 60, jobs=(1,)),
)


HOLDS: dict[str, list[Case]] = {
    "delete-exact": [
        (
            "an id given again, deleted by who has it now",
            ops(*AGAIN, delete(70, 80, 1, 1, process="w1"), status(90, 99)),
            {},
        ),
        (
            "an id given again, deleted by who has read of it",
            ops(*AGAIN, status(62, 65, 1, process="w0.1"), delete(70, 80, 1, 1, process="w0"), status(90, 99)),
            {},
        ),
        (
            "an id given again, deleted by who may have been told of it",
            ops(*AGAIN, delete(70, 80, 1, 1), status(90, 99)),
            {},
        ),
        (
            "an id given again is not deleted by who knows it from before",
            ops(*AGAIN, delete(70, 80, 0, 1, process="w0"), status(90, 99, 1)),
            {},
        ),
        (
            "one job enqueued by two",
            ops(
                Op("w0", "enqueue", 10, 20, jobs=(1,)),
                Op("w1", "enqueue", 30, 40, jobs=(1,)),
                delete(50, 60, 1, 1, process="w0"),
                status(90, 99),
            ),
            {},
        ),
        ("what was there", ops(MADE, delete(30, 40, 2, 1, 3), status(50, 60, 2)), {}),
        (
            "twice in the list, unknown, and below zero",
            ops(MADE, delete(30, 40, 2, 1, 3, 1, 99, -1, 1), status(50, 60, 2)),
            {},
        ),
        (
            "ids that are text",
            ops(
                Op("setup", "enqueue", 0, 5, jobs=("a", "{b", "1")),
                delete(30, 40, 2, "a", "{b", 1),
                status(50, 60, "1"),
            ),
            {},
        ),
        ("nothing asked for", ops(MADE, delete(30, 40, 0), LISTED), {}),
        ("deleted again", ops(MADE, delete(30, 40, 2, 1, 2), delete(50, 60, 1, 1, 3, 2), status(70, 80)), {}),
        ("a running job is spared", ops(*HELD, delete(30, 40, 1, 1, 2), status(50, 60, 1, 3)), {}),
        (
            "a running job may go once it has ended",
            ops(*HELD, delete(30, 40, 0, 1), complete("w0", 50, 60, 1), delete(70, 80, 1, 1), status(90, 100, 2, 3)),
            {},
        ),
        (
            "its run and its actions are spared as well",
            ops(
                *RUN,
                claim("w0", 20, 25, 4),
                delete(30, 40, 0, 1, kind="runs"),
                delete(50, 60, 0, 6, 7, kind="actions"),
                status(70, 80, 4, 5),
            ),
            {},
        ),
        ("its sibling is not", ops(*RUN, claim("w0", 20, 25, 4), delete(30, 40, 1, 4, 5), status(70, 80, 4)), {}),
        (
            "a run goes with its jobs and their actions",
            ops(
                *RUN,
                delete(30, 40, 1, 1, 99, kind="runs"),
                delete(50, 60, 0, 4, 5),
                delete(70, 80, 0, 6, 7, kind="actions"),
                status(90, 100),
            ),
            {},
        ),
        (
            "a job goes with its actions, and the run stays",
            ops(
                *RUN,
                delete(30, 40, 1, 4),
                delete(50, 60, 0, 6, kind="actions"),
                status(90, 100, 5),
                delete(110, 120, 1, 1, kind="runs"),
            ),
            {},
        ),
        ("an action goes alone", ops(*RUN, delete(30, 40, 1, 6, 6, 99, kind="actions"), status(90, 100, 4, 5)), {}),
        ("a job 6 is not an action 6", ops(*RUN, delete(30, 40, 0, 6, 7), status(90, 100, 4, 5)), {}),
        (
            "two at the same time share it",
            ops(MADE, delete(30, 50, 1, 1, 2), delete(40, 60, 1, 1, 2), status(70, 80, 3)),
            {},
        ),
        (
            "at the same time as its enqueue: it came too early",
            ops(Op("w0", "enqueue", 20, 35, jobs=(1,)), delete(30, 40, 0, 1), status(70, 80, 1)),
            {},
        ),
        (
            "at the same time as its enqueue: it came in time",
            ops(Op("w0", "enqueue", 20, 35, jobs=(1,)), delete(30, 40, 1, 1), status(70, 80)),
            {},
        ),
        (
            "while it was being claimed: before",
            ops(MADE, claim("w0", 35, 45, 1), delete(30, 40, 1, 1), status(70, 80, 2, 3)),
            {},
        ),
        (
            "while it was being claimed: after",
            ops(MADE, claim("w0", 35, 45, 1), delete(30, 40, 0, 1), status(70, 80, 1, 2, 3)),
            {},
        ),
        (
            "while it was being completed: before",
            ops(*HELD, complete("w0", 35, 45, 1), delete(30, 40, 0, 1), LISTED),
            {},
        ),
        (
            "while it was being completed: after",
            ops(*HELD, complete("w0", 35, 45, 1), delete(30, 40, 1, 1), status(70, 80, 2, 3)),
            {},
        ),
        (
            "nobody can tell whether it had ended",
            ops(*HELD, complete("w0", 25, 28, 1, outcome="info"), delete(30, 40, 0, 1), LISTED),
            {},
        ),
        (
            "a completion that certainly did not happen ends nothing",
            ops(*HELD, complete("w0", 25, 28, 1, outcome="fail", error="lock"), delete(30, 40, 0, 1), LISTED),
            {},
        ),
        (
            "its holder was killed, and it is still running",
            ops(*HELD, kill(22, 24, "w0"), delete(30, 40, 0, 1), LISTED),
            {},
        ),
        (
            "its holder was killed, and it was taken back",
            ops(*HELD, kill(22, 24, "w0"), delete(30, 40, 1, 1), status(70, 80, 2, 3)),
            {},
        ),
        ("its lease may have run out", ops(*HELD, delete(30, 40, 1, 1), status(70, 80, 2, 3)), {"lease_ns": 15}),
        ("its lease may run on", ops(*HELD, delete(30, 40, 0, 1), LISTED), {"lease_ns": 15}),
        (
            "finished jobs are removed by the system",
            ops(*HELD, complete("w0", 22, 24, 1), delete(30, 40, 0, 1), status(70, 80, 2, 3)),
            {},
        ),
        (
            "a finished job was removed, with its actions",
            ops(
                *RUN,
                claim("w0", 20, 25, 4),
                complete("w0", 26, 28, 4),
                delete(30, 40, 0, 6, 7, kind="actions"),
                status(70, 80, 5),
            ),
            {},
        ),
        (
            "an at-most-once system removes what it hands out",
            ops(*HELD, delete(30, 40, 0, 1), status(70, 80, 2, 3)),
            {"semantics": "at-most-once"},
        ),
        (
            "an id that became free is given again",
            ops(
                MADE,
                delete(30, 40, 3, 1, 2, 3),
                Op("w0", "enqueue", 50, 60, jobs=(1, 2, 3, 4)),
                delete(70, 80, 3, 1, 2, 4),
                Op("w0", "enqueue", 90, 95, jobs=(4,)),
                status(100, 110, 3, 4),
            ),
            {},
        ),
        (
            "a run's id that became free is given again, and other jobs to it",
            ops(
                *RUN[:2],
                delete(30, 40, 1, 1, kind="runs"),
                submit("setup", 50, 60, 1, 1),
                read_run(61, 65, 1, 9),
                delete(70, 80, 1, 4, 5, 9),
                delete(90, 95, 1, 1, kind="runs"),
                status(100, 110),
            ),
            {},
        ),
        (
            "a job enqueued into a run",
            ops(
                submit("setup", 0, 5, 1, 0),
                Op("w0", "enqueue", 10, 15, jobs=(1,)),
                read_run(16, 18, 1, 1),
                delete(30, 40, 1, 1),
                delete(50, 60, 1, 1, kind="runs"),
                status(100, 110),
            ),
            {},
        ),
        (
            "a job enqueued into a run goes with it",
            ops(
                submit("setup", 0, 5, 1, 0),
                Op("w0", "enqueue", 10, 15, jobs=(1,)),
                read_run(16, 18, 1, 1),
                delete(50, 60, 1, 1, kind="runs"),
                delete(70, 80, 0, 1),
                status(100, 110),
            ),
            {},
        ),
        ("a deletion of unknown outcome took all", ops(MADE, delete(30, None, 0, 1, 2), status(50, 60, 3)), {}),
        ("a deletion of unknown outcome took nothing", ops(MADE, delete(30, None, 0, 1, 2), LISTED), {}),
        (
            "nobody can tell what is left to another after a deletion of unknown outcome: all",
            ops(MADE, delete(30, 35, 0, 1, 2, outcome="info"), delete(40, 45, 3, 1, 2, 3), status(50, 60)),
            {},
        ),
        (
            "nobody can tell what is left to another after a deletion of unknown outcome: little",
            ops(MADE, delete(30, 35, 0, 1, 2, outcome="info"), delete(40, 45, 1, 1, 2, 3), status(50, 60)),
            {},
        ),
        (
            "half of what an unfinished deletion named had gone before",
            ops(MADE, delete(20, 25, 1, 1), delete(30, None, 0, 1, 2), status(50, 60, 2, 3)),
            {},
        ),
        (
            "half of what an unfinished deletion named went later",
            ops(MADE, delete(30, 32, 0, 1, 2, outcome="info"), delete(35, 40, 1, 1), status(50, 60, 2, 3)),
            {},
        ),
        (
            "half of what an unfinished deletion named was running",
            ops(*HELD, delete(30, None, 0, 1, 2), status(50, 60, 1, 3)),
            {},
        ),
        (
            "half of what an unfinished deletion named was made again",
            ops(
                MADE,
                delete(30, 32, 0, 1, 2, outcome="info"),
                Op("w0", "enqueue", 35, 40, jobs=(1,)),
                status(50, 60, 1, 3),
            ),
            {},
        ),
        ("a clean-up took some", ops(MADE, clean(20, 25, 2), delete(30, 40, 1, 1, 2, 3), status(50, 60)), {}),
        ("a lock is no refusal", ops(MADE, delete(30, 40, 0, 1, outcome="fail", error="lock"), LISTED), {}),
        (
            "nor is a pool without a free connection",
            ops(MADE, delete(30, 40, 0, 1, outcome="fail", error="pool"), LISTED),
            {},
        ),
        ("a status that was taken while it was deleted", ops(MADE, status(35, 50, 1, 2, 3), delete(30, 40, 1, 1)), {}),
        ("two schedules", ops(MADE, delete(30, 40, 0, 1, schedule=1), status(50, 60, schedule=1)), {}),
    ],
    "delete-spares-running": [
        ("listed while it was held", ops(*HELD, delete(22, 24, 0, 1), status(30, 40, 1, 2)), {}),
        ("gone once it was completed", ops(*HELD, status(30, 40, 1), complete("w0", 50, 60, 1), status(70, 80)), {}),
        (
            "gone while a status was taken that began before",
            ops(*HELD, status(22, 24, 1), status(45, 60), complete("w0", 50, 60, 1)),
            {},
        ),
        ("a status that began before it was handed out", ops(*HELD, status(15, 24), status(25, 30, 1)), {}),
        ("its holder was killed", ops(*HELD, status(22, 24, 1), kill(30, 40, "w0"), status(50, 60)), {}),
        (
            "its holder had ended",
            History([*HELD, status(22, 24, 1), status(50, 60)], processes=[Process("w0", ended=40)]),
            {},
        ),
        ("its lease could have run out", ops(*HELD, status(22, 24, 1), status(50, 60)), {"lease_ns": 35}),
        (
            "its lease could have run out when complete was refused",
            ops(*HELD, status(22, 24, 1), clean(30, 35), complete("w0", 40, 50, 1, accepted=())),
            {"lease_ns": 35},
        ),
        (
            "a holder before it completed it, so it was finished",
            ops(
                *HELD,
                status(22, 24, 1),
                claim("w1", 30, 35, 1),
                complete("w0", 40, 45, 1),
                clean(46, 48),
                status(50, 60),
            ),
            {"semantics": "at-least-once"},
        ),
        (
            "refused as another had been handed it",
            ops(
                *HELD, status(22, 24, 1), clean(30, 35), claim("w1", 36, 38, 1), complete("w0", 40, 50, 1, accepted=())
            ),
            {},
        ),
        (
            "refused as another may have been handed it",
            ops(
                *HELD,
                status(22, 24, 1),
                clean(30, 35),
                claim("w1", 36, 38, outcome="info"),
                complete("w0", 40, 50, 1, accepted=()),
            ),
            {"semantics": "at-least-once"},
        ),
        (
            "refused as another had given it back",
            ops(*HELD, status(22, 24, 1), clean(30, 35), fail("w1", 36, 38, 1), complete("w0", 40, 50, 1, accepted=())),
            {},
        ),
        (
            "refused the second time, as the first may have been accepted",
            ops(
                *HELD,
                status(22, 24, 1),
                clean(30, 35),
                complete("w0", 36, 38, 1, outcome="info"),
                complete("w0", 40, 50, 1, accepted=()),
            ),
            {},
        ),
        ("refused, but nothing deletes", ops(*HELD, status(22, 24, 1), complete("w0", 40, 50, 1, accepted=())), {}),
        (
            "refused, but what deletes was over before",
            ops(*HELD, clean(6, 9), status(22, 24, 1), complete("w0", 40, 50, 1, accepted=())),
            {},
        ),
        (
            "refused, but what deletes certainly did not happen",
            ops(
                *HELD,
                clean(30, 35, outcome="fail", error="lock"),
                status(22, 24, 1),
                complete("w0", 40, 50, 1, accepted=()),
            ),
            {},
        ),
        ("two schedules", ops(*HELD, status(22, 24, 1), status(22, 24, schedule=1)), {}),
    ],
    "delete-one-transaction": [
        ("one statement", deleting(Statement("cleaner", 32, 33, commits=True)), {}),
        ("many in one transaction", deleting(*transaction(32, "begin", "write", "write", "write", "commit")), {}),
        (
            "it read first, in a transaction of its own",
            deleting(*transaction(32, "begin", "read", "commit"), *transaction(42, "begin", "write", "commit")),
            {},
        ),
        (
            "rolled back, and tried again",
            deleting(*transaction(32, "begin", "write", "rollback"), *transaction(42, "begin", "write", "commit")),
            {},
        ),
        (
            "one connection of the pool",
            deleting(Statement("cleaner", 32, 33, commits=True), lent=(Acquisition("cleaner", 31, 32, 40),)),
            {},
        ),
        (
            "another one after a lock error",
            deleting(
                *transaction(32, "begin", "write", error="lock"),
                *transaction(42, "begin", "write", "commit"),
                lent=(Acquisition("cleaner", 31, 32, 40), Acquisition("cleaner", 41, 42, 50)),
            ),
            {},
        ),
        (
            "the first wait was given up",
            deleting(
                Statement("cleaner", 60, 61, commits=True),
                lent=(Acquisition("cleaner", 31, 50, error="timeout"), Acquisition("cleaner", 51, 52, 70)),
            ),
            {},
        ),
        ("of nothing, for nothing", History([delete(30, 90, 0)], [Statement("cleaner", 10, 11, commits=True)]), {}),
        (
            "what others do meanwhile, and what was done before and after",
            deleting(
                Statement("w0", 32, 33, commits=True),
                Statement("cleaner", 10, 11, commits=True),
                Statement("cleaner", 40, 41, commits=True),
                Statement("cleaner", 100, 101, commits=True),
                lent=(
                    Acquisition("w0", 31, 32, 40),
                    Acquisition("cleaner", 9, 10, 12),
                    Acquisition("cleaner", 35, 40, 42),
                    Acquisition("cleaner", 95, 100, 102),
                ),
            ),
            {},
        ),
    ],
    "submit-atomic": [
        ("all of it", ops(FIVE, read_run(30, 40, 1, 1, 2, 3, 4, 5), status(50, 60, runs=[(1, 5, True)])), {}),
        ("not there yet", ops(FIVE, read_run(15, 19, 1, missing=True), read_run(19, 25, 1, missing=True)), {}),
        ("all of it before the submit had returned", ops(FIVE, read_run(12, 15, 1, 1, 2, 3, 4, 5)), {}),
        ("no such run", ops(FIVE, read_run(30, 40, 2, missing=True)), {}),
        (
            "an unfinished submit, all of it",
            ops(FIVE, submit("w1", 10, None, None, 2), read_run(30, 40, 2, 6, 7), read_run(50, 60, 3, missing=True)),
            {},
        ),
        (
            "unfinished submits of different sizes",
            ops(FIVE, submit("w1", 10, None, None, 2), submit("w2", 10, None, None, 3), read_run(30, 40, 2, 6)),
            {},
        ),
        ("some of it, read when a clean-up had begun", ops(FIVE, read_run(30, 40, 1, 1, 2), clean(35, 60)), {}),
        ("gone, as it was cleaned up", ops(FIVE, clean(25, 29), read_run(30, 40, 1, missing=True)), {}),
        (
            "some of it, as a clean-up of unknown outcome went before",
            ops(FIVE, clean(25, None), read_run(30, 40, 1, 1)),
            {},
        ),
        (
            "some of it, as the system removes what is finished",
            ops(FIVE, claim("w1", 21, 22, 1), complete("w1", 23, 24, 1), status(50, 60, runs=[(1, 4, True)])),
            {},
        ),
        (
            "some of it, as an at-most-once system removes what it hands out",
            ops(FIVE, claim("w1", 21, 22, 1), status(50, 60, runs=[(1, 4, True)])),
            {"semantics": "at-most-once"},
        ),
        (
            "a run's id that became free is given again, to a smaller one",
            ops(FIVE, read_run(22, 24, 1, 1, 2, 3, 4, 5), clean(25, 29), submit("w0", 40, 50, 1, 2)),
            {},
        ),
        ("a status that lists no runs at all", ops(FIVE, status(50, 60, 1, 2, 3, 4, 5, runs=[(1, 5, True)])), {}),
        (
            "a status that does not say of which run a job is",
            ops(FIVE, status(50, 60, 1, 2, 3, 4, 5, runs=[(1, 0, True)]), read_run(70, 80, 1, 1, 2, 3, 4, 5)),
            {},
        ),
        (
            "a status that lists only runs without jobs",
            ops(FIVE, submit("w0", 21, 22, 2, 0), status(50, 60, 1, 2, 3, 4, 5, runs=[(1, 5, False), (2, 0, True)])),
            {},
        ),
        (
            "a status that says of no job of which run it is, but for one outside",
            ops(FIVE, status(25, 26, 9), read_run(30, 40, 1, 1, 2, 3, 4, 5)),
            {},
        ),
        ("two schedules", ops(FIVE, read_run(30, 40, 1, 1, schedule=1)), {}),
    ],
    "reads-answered": [
        (
            "answered",
            ops(read(10, 20, 7, None), read_run(10, 20, 7, missing=True, process="r2"), status(10, 20, process="r3")),
            {},
        ),
        ("an answer against the contract", ops(Op("r1", "status_all", 10, 20, outcome="info", error="malformed")), {}),
        ("whoever read was killed", ops(Op("r1", "status_all", 10, None), kill(15, 16, "r1")), {}),
        (
            "the reader's connection was cut",
            ops(
                Op("nemesis", "cut", 5, 6, jobs=("r1",)),
                Op("r1", "status_all", 10, 20, outcome="info", error="connection"),
            ),
            {},
        ),
        ("others fail", ops(read(10, 20, 7, None), delete(10, 20, 0, 7, outcome="fail", error="lock")), {}),
    ],
}

BROKEN: dict[str, list[Broken]] = {
    "delete-exact": [
        (
            "it hit a job that has the id of one that was gone",
            ops(*AGAIN, delete(70, 80, 1, 1, process="w0"), status(90, 99)),
            {},
            (4,),
            {"process": "w0", "requested": 1, "expected": 0, "deleted": 1, "wrong": "the count is wrong"},
        ),
        (
            "it hit a job that has the id of one that was read of",
            ops(
                MADE,
                status(10, 15, 1, 2, 3, process="w0"),
                delete(20, 30, 1, 1),
                Op("w1", "enqueue", 40, 50, jobs=(1,)),
                delete(60, 70, 1, 1, process="w0"),
                status(90, 99, 2, 3),
            ),
            {},
            (5,),
            {"process": "w0", "expected": 0, "deleted": 1},
        ),
        (
            "one too few",
            ops(MADE, delete(30, 40, 1, 1, 3)),
            {},
            (2,),
            {"process": "cleaner", "requested": 2, "expected": 2, "deleted": 1, "wrong": "the count is wrong"},
        ),
        (
            "one that is unknown was counted",
            ops(MADE, delete(30, 40, 2, 1, 99)),
            {},
            (2,),
            {"expected": 1, "deleted": 2},
        ),
        (
            "one that came twice was counted twice",
            ops(MADE, delete(30, 40, 3, 1, 2, 1)),
            {},
            (2,),
            {"requested": 3, "expected": 2},
        ),
        (
            "one that was gone was counted",
            ops(MADE, delete(20, 25, 1, 1), delete(30, 40, 2, 1, 2)),
            {},
            (3,),
            {"expected": 1},
        ),
        ("a running job", ops(*HELD, delete(30, 40, 1, 1)), {}, (3,), {"expected": 0, "deleted": 1}),
        (
            "a running job's action",
            ops(*RUN, claim("w0", 20, 25, 4), delete(30, 40, 1, 6, kind="actions")),
            {},
            (5,),
            {"expected": 0, "deleted": 1},
        ),
        (
            "a running job's run",
            ops(*RUN, claim("w0", 20, 25, 4), delete(30, 40, 1, 1, kind="runs")),
            {},
            (5,),
            {"expected": 0, "deleted": 1},
        ),
        (
            "what goes along was counted",
            ops(*RUN, delete(30, 40, 3, 1, kind="runs")),
            {},
            (4,),
            {"requested": 1, "expected": 1, "deleted": 3},
        ),
        (
            "what had gone along was counted again",
            ops(*RUN, delete(30, 40, 1, 1, kind="runs"), delete(50, 60, 2, 4, 5)),
            {},
            (5,),
            {"expected": 0, "deleted": 2},
        ),
        (
            "a running job once it had ended: there or not, it is no more than one",
            ops(*HELD, complete("w0", 22, 24, 1), delete(30, 40, 2, 1)),
            {},
            (4,),
            {"expected": 1, "deleted": 2},
        ),
        (
            "two at the same time had it both",
            ops(MADE, delete(30, 50, 1, 1), delete(40, 60, 1, 1), delete(70, 80, 1, 1)),
            {},
            (4,),
            {"expected": 0, "deleted": 1},
        ),
        (
            "an id that was given again",
            ops(MADE, delete(20, 25, 1, 1), Op("w0", "enqueue", 26, 28, jobs=(1,)), delete(30, 40, 0, 1)),
            {},
            (4,),
            {"expected": 1, "deleted": 0},
        ),
        (
            "too long a list was refused",
            ops(MADE, delete(30, 40, 0, 1, 2, outcome="fail", error="constraint")),
            {},
            (2,),
            {"wrong": "it was refused", "requested": 2, "error": "Error: literal"},
        ),
        (
            "half of it",
            ops(MADE, delete(30, None, 0, 1, 2, 3, 99), kill(35, 36, "cleaner"), status(50, 60, 3)),
            {},
            (2, 4),
            {"wrong": "half of it was deleted", "requested": 3, "deleted": 2, "process": "cleaner"},
        ),
        (
            "half of a run",
            ops(*RUN, delete(30, None, 0, 1, kind="runs"), status(50, 60, 5)),
            {},
            (4, 5),
            {"wrong": "half of it was deleted", "requested": 2, "deleted": 1},
        ),
        (
            "its neighbour is gone",
            ops(MADE, delete(30, 40, 1, 1), status(50, 60, 3)),
            {},
            (3,),
            {"job": 2, "wrong": "nobody deleted it, and it is gone"},
        ),
        (
            "gone after a deletion that certainly did not happen",
            ops(MADE, delete(30, 40, 0, 1, outcome="fail", error="lock"), status(50, 60, 2, 3)),
            {},
            (3,),
            {"job": 1, "wrong": "nobody deleted it, and it is gone"},
        ),
        (
            "gone with a run that was spared",
            ops(*RUN, claim("w0", 20, 25, 4), delete(30, 40, 0, 1, kind="runs"), status(50, 60, 4)),
            {},
            (6,),
            {"job": 5, "wrong": "nobody deleted it, and it is gone"},
        ),
        (
            "it is still there",
            ops(MADE, delete(30, 40, 1, 1), LISTED),
            {},
            (3,),
            {"job": 1, "wrong": "it was deleted, and is still there"},
        ),
        (
            "a run's job is still there",
            ops(*RUN, delete(30, 40, 1, 1, kind="runs"), status(50, 60, 4)),
            {},
            (5,),
            {"job": 4, "wrong": "it was deleted, and is still there"},
        ),
        (
            "the last status counts",
            ops(MADE, status(10, 20, 1), delete(30, 40, 1, 1), status(50, 60, 2)),
            {},
            (4,),
            {"job": 3},
        ),
    ],
    "delete-spares-running": [
        (
            "not listed while it was held",
            ops(*HELD, clean(25, 28), status(30, 40, 2, 3)),
            {},
            (2, 4),
            {"job": 1, "process": "w0", "reader": "reader", "wrong": "not listed while it was held"},
        ),
        (
            "the first status that did not list it",
            ops(
                *HELD, status(21, 22, 1), status(30, 40, 2, process="r2"), status(32, 45, 2), complete("w0", 50, 60, 1)
            ),
            {},
            (2, 4),
            {"reader": "r2"},
        ),
        (
            "its holder set out to complete it in vain",
            ops(*HELD, complete("w0", 25, 28, 1, outcome="fail", error="lock"), status(30, 40, 2)),
            {},
            (2, 4),
            {"wrong": "not listed while it was held"},
        ),
        (
            "complete was refused",
            ops(*HELD, status(22, 24, 1), clean(30, 35), complete("w0", 40, 50, 1, accepted=())),
            {},
            (2, 4, 5),
            {"job": 1, "process": "w0", "reader": None, "wrong": "complete was refused"},
        ),
        (
            "complete was refused at the second try",
            ops(
                *HELD,
                status(22, 24, 1),
                clean(30, 35),
                complete("w0", 36, 38, 1, outcome="fail", error="lock"),
                complete("w0", 40, 50, 1, accepted=()),
            ),
            {},
            (2, 4, 6),
            {"wrong": "complete was refused"},
        ),
        (
            "complete was refused, and a deletion began before the claim had returned",
            ops(
                MADE, claim("w0", 10, 20, 1), clean(12, 18), status(22, 24, 1), complete("w0.0", 40, 50, 1, accepted=())
            ),
            {},
            (2, 3, 5),
            {"wrong": "complete was refused"},
        ),
        (
            "complete was refused, and a deletion never came back",
            ops(*HELD, status(22, 24, 1), delete(30, None, 0, 1), complete("w0", 40, 50, 1, accepted=())),
            {"lease_ns": 100},
            (2, 4, 5),
            {"wrong": "complete was refused"},
        ),
    ],
    "delete-one-transaction": [
        (
            "one by one",
            deleting(*ONE_BY_ONE),
            {},
            (2,),
            {
                "process": "cleaner",
                "kind": "delete_many",
                "requested": 3,
                "deleted": 3,
                "transactions": 2,
                "acquisitions": 0,
            },
        ),
        (
            "in pieces",
            deleting(*transaction(32, "begin", "write", "commit"), *transaction(42, "begin", "write", "commit")),
            {},
            (2,),
            {"transactions": 2},
        ),
        (
            "in pieces, on several connections",
            deleting(
                *(Statement("cleaner", at, at + 1, commits=True, connection=at) for at in (32, 34)),
                lent=(Acquisition("cleaner", 31, 32, 33), Acquisition("cleaner", 33, 34, 35)),
            ),
            {},
            (2,),
            {"transactions": 2, "acquisitions": 2},
        ),
        (
            "a second connection for no reason",
            deleting(
                Statement("cleaner", 60, 61, commits=True),
                lent=(Acquisition("cleaner", 31, 50, 51), Acquisition("cleaner", 51, 52, 70)),
            ),
            {},
            (2,),
            {"transactions": 1, "acquisitions": 2},
        ),
        (
            "a clean-up",
            History([clean(30, 90, 5)], ONE_BY_ONE),
            {},
            (1,),
            {"kind": "clean_by_tag", "requested": None, "deleted": 5, "transactions": 2},
        ),
        (
            "cut off in the middle",
            History([delete(30, None, 3, 1, 2, 3), kill(80, 81, "cleaner")], ONE_BY_ONE),
            {},
            (1,),
            {"deleted": None, "transactions": 2},
        ),
        (
            "of nothing, and the database was asked",
            History([delete(30, 90, 0)], [Statement("cleaner", 32, 33, "read")]),
            {},
            (1,),
            {"requested": 0, "transactions": 0},
        ),
        (
            "of nothing, and the pool was asked",
            History(
                [delete(30, 90, 0)],
                [Statement("cleaner", 10, 11)],
                acquisitions=[Acquisition("cleaner", 31, 32, 40)],
            ),
            {},
            (1,),
            {"requested": 0, "acquisitions": 1},
        ),
    ],
    "submit-atomic": [
        (
            "some of it",
            ops(FIVE, read_run(15, 18, 1, 1, 2), read_run(30, 40, 1, 1, 2, 3, 4, 5)),
            {},
            (1, 2),
            {
                "process": "reader",
                "run": "1",
                "jobs": 2,
                "submitted": 5,
                "times": 1,
                "wrong": "it had some of its jobs only",
            },
        ),
        (
            "some of it, in a status, twice",
            ops(
                FIVE,
                status(15, 16, runs=[(1, 4, True)]),
                status(17, 18, runs=[(1, 3, True)]),
                status(50, 60, runs=[(1, 5, True)]),
            ),
            {},
            (1, 2),
            {"jobs": 4, "times": 2},
        ),
        (
            "some of it, in a read that was over when a clean-up began",
            ops(FIVE, read_run(30, 40, 1, 1, 2), clean(41, 50)),
            {},
            (1, 2),
            {"jobs": 2},
        ),
        (
            "without any job, in a status that says of which run a job is",
            ops(FIVE, status(15, 18, runs=[(1, 0, True)]), status(50, 60, runs=[(1, 5, True)])),
            {},
            (1, 2),
            {"jobs": 0, "wrong": "it had some of its jobs only"},
        ),
        (
            "some of what an unfinished submit made",
            ops(FIVE, submit("w1", 22, None, None, 3), read_run(30, 40, 2, 6, 7)),
            {},
            (2, 3),
            {"run": "2", "jobs": 2, "submitted": 3},
        ),
        (
            "some of what a failed submit made",
            ops(FIVE, submit("w1", 22, 25, None, 3, outcome="fail", error="constraint"), read_run(30, 40, 2, 6, 7)),
            {},
            (2, 3),
            {"submitted": 3},
        ),
        (
            "it is not there",
            ops(FIVE, read_run(21, 22, 1, missing=True)),
            {},
            (1, 2),
            {"jobs": None, "wrong": "it was not there"},
        ),
        (
            "it is not in a status, which shows another",
            ops(FIVE, submit("w0", 21, 22, "b", 1), status(50, 60, runs=[(1, 5, True)])),
            {},
            (2, 3),
            {"run": '"b"', "jobs": None, "wrong": "it was not there"},
        ),
        (
            "its jobs without it, though a clean-up goes on",
            ops(FIVE, submit("w0", 21, 22, 2, 1), clean(25, 70), status(50, 60, runs=[(1, 5, False), (2, 1, True)])),
            {},
            (1, 4),
            {"run": "1", "wrong": "its jobs were listed without it"},
        ),
    ],
    "reads-answered": [
        (
            "a read long after its connection was cut, and one of somebody else",
            ops(
                Op("nemesis", "cut", 5, 6, jobs=("r1",)),
                status(10, 20, process="r1"),
                Op("r1", "status_all", 30, 40, outcome="info", error="connection"),
            ),
            {},
            (3,),
            {"process": "r1"},
        ),
        (
            "a read while another's connection was cut",
            ops(
                Op("nemesis", "cut", 5, 6, jobs=("r2",)),
                Op("r1", "status_all", 10, 20, outcome="info", error="connection"),
            ),
            {},
            (2,),
            {"process": "r1"},
        ),
        (
            "a status that found the database locked",
            ops(Op("r1", "status_all", 10, 20, outcome="fail", error="lock")),
            {},
            (1,),
            {
                "process": "r1",
                "kind": "status_all",
                "outcome": "fail",
                "error_class": "Error",
                "error_message": "literal",
            },
        ),
        (
            "a run",
            ops(read_run(10, 20, 7, outcome="info", error="connection", process="r1"), read(10, 20, 7, None)),
            {},
            (1,),
            {"kind": "read_run"},
        ),
        ("progress", ops(read(10, 20, 7, None, outcome="fail", error="pool")), {}, (1,), {"kind": "read_progress"}),
    ],
}

UNDECIDABLE: dict[str, list[Case]] = {
    "delete-exact": [
        (
            "an enqueue of unknown outcome went before",
            ops(MADE, Op("w0", "enqueue", 6, 8, outcome="info"), delete(30, 40, 2, 1, 9)),
            {},
        ),
        (
            "a submit of unknown outcome went before",
            ops(MADE, submit("w0", 6, None, None, 2), delete(30, 40, 2, 1, 9)),
            {},
        ),
        (
            "a claim of unknown outcome may hold it",
            ops(MADE, claim("w0", 6, 8, outcome="info"), delete(30, 40, 0, 1)),
            {},
        ),
        (
            "a claim of unknown outcome may have begun to hold it meanwhile",
            ops(MADE, claim("w0", 35, None), delete(30, 40, 0, 1)),
            {},
        ),
        (
            "a claim of unknown outcome may hold it, and it was spared",
            ops(MADE, claim("w0", 25, 28, outcome="info"), delete(30, 40, 1, 1), status(50, 60, 1, 2, 3)),
            {},
        ),
        (
            "a submit whose jobs nobody read may have been given an id that became free",
            ops(MADE, delete(10, 15, 1, 1), submit("w0", 20, 25, 1, 1), delete(30, 40, 1, 1)),
            {},
        ),
        (
            "a submit of whose jobs some were read only",
            ops(MADE, delete(10, 15, 1, 1), submit("w0", 20, 25, 1, 2), read_run(26, 28, 1, 9), delete(30, 40, 1, 1)),
            {},
        ),
        ("nobody is known to have made what was handed out", ops(MADE, claim("w0", 6, 8, 9), delete(30, 40, 1, 9)), {}),
        ("nobody is known to have made what is listed", ops(MADE, status(6, 8, 1, 2, 3, 9), delete(30, 40, 1, 9)), {}),
        ("nothing was ever made", ops(delete(30, 40, 0)), {}),
    ],
    "delete-spares-running": [
        ("no status was taken while it was held", ops(*HELD, complete("w0", 30, 40, 1), status(50, 60, 1)), {}),
        (
            "every status was taken in part only",
            ops(*HELD, complete("w0", 30, 40, 1), status(15, 25, 1), status(26, 35)),
            {},
        ),
        ("nobody held anything", ops(MADE, claim("w0", 10, 20), status(50, 60, 1)), {}),
    ],
    "delete-one-transaction": [
        ("there was no call that deletes", History([MADE], ONE_BY_ONE), {}),
        ("the witness saw nothing", ops(MADE, delete(30, 90, 3, 1, 2, 3)), {}),
    ],
    "submit-atomic": [
        ("no run was read", ops(FIVE, read(30, 40, 1, None)), {}),
        ("no status showed a run", ops(FIVE, status(30, 40, 1, 2)), {}),
        ("every read of a run failed", ops(FIVE, read_run(30, 40, 1, outcome="fail", error="lock")), {}),
    ],
    "reads-answered": [("nothing was read", ops(MADE), {})],
}

NOT_APPLICABLE: list[tuple[str, History, dict[str, object]]] = [
    ("delete-spares-running", ops(*HELD, status(30, 40, 2, 3)), {"capabilities": ["install", "enqueue", "claim"]}),
    ("delete-spares-running", ops(*HELD, status(30, 40, 2, 3)), {"semantics": "at-most-once"}),
    ("delete-one-transaction", deleting(*ONE_BY_ONE), {"witness": "none"}),
]
