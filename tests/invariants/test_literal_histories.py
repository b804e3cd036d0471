"""Each invariant on literal histories: it holds, it is broken, it cannot be decided, and nothing happened at all."""

from __future__ import annotations

from pathlib import Path

import deletion_histories
import progress_histories
import pytest
from literal_history import (
    History,
    Op,
    Process,
    Statement,
    claim,
    clean,
    complete,
    delete,
    fail,
    judge,
    kill,
    ops,
    read,
    submit,
)

from harness.invariants.judging import NAMES

ENQUEUED = Op("setup", "enqueue", 0, 5, jobs=(7, 8), phase="setup")
RECOVERY_CUT = Op("quiet", "recover", 800, 810, outcome="info", error="connection", phase="quiet")
DRAINED = Op("quiet", "claim", 900, 910, requested=1, phase="quiet")


def rounds(*statements_of_size: tuple[int, int], kind: str = "claim", outcome: str = "ok") -> History:
    """One round for each (number obtained, statements): one call and its reads."""
    operations, statements, start = [], [], 1000
    for number, count in statements_of_size:
        jobs = tuple(range(start, start + number)) if kind != "submit_run" else ()
        operations += [
            Op("w0", "round", start, start + 900, requested=number, returned=number),
            Op("w0", kind, start + 10, start + 800, jobs=jobs, requested=number, outcome=outcome),
        ]
        statements += [Statement("w0", start + 20 + n, start + 21 + n, "read") for n in range(count)]
        statements += [
            Statement("w0", start + 15, start + 16, "begin"),
            Statement("w0", start + 790, start + 791, "commit"),
        ]
        start += 1000
    return History(operations, statements)


WRITE = Statement("w0", 11, 12, commits=True)
TWO_WORKERS = (Process("w0", ended=950), Process("w1", ended=950))

# Of two jobs one is done; the other may be in the hands of one that was killed before its claim was answered.
UNANSWERED = ops(
    ENQUEUED,
    claim("w0", 10, None, outcome="info"),
    kill(20, 21, "w0"),
    claim("w1", 30, 40, 8),
    complete("w1", 50, 60, 8),
    DRAINED,
)

LOOP = ["install", "enqueue", "work"]  # of a system that runs a loop of its own

HOLDS: dict[str, list[tuple[str, History, dict[str, object]]]] = {
    "no-double-claim": [
        ("two jobs, two workers", ops(claim("w0", 10, 20, 7), claim("w1", 10, 20, 8)), {}),
        ("given back in between", ops(claim("w0", 10, 20, 7), fail("w0", 30, 40, 7), claim("w1", 35, 60, 7)), {}),
        (
            "perhaps given back in between",
            ops(claim("w0", 10, 20, 7), fail("w0", 30, 40, 7, outcome="info"), claim("w1", 35, 60, 7)),
            {},
        ),
        ("its lease could have run out", ops(claim("w0", 10, 20, 7), claim("w1", 100, 110, 7)), {"lease_ns": 100}),
        (
            "done by a system's own loop, which may have been told that it came too late",
            ops(claim("w0", 10, 20, 7), complete("w0", 105, 108, 7), claim("w1", 110, 120, 7)),
            {"lease_ns": 100, "capabilities": LOOP},
        ),
        (
            "a heartbeat that was refused extends nothing",
            ops(
                claim("w0", 10, 20, 7), Op("w0", "heartbeat", 50, 60, jobs=(7,), accepted=()), claim("w1", 100, 110, 7)
            ),
            {"lease_ns": 100},
        ),
        (
            "a heartbeat of another worker extends nothing",
            ops(claim("w0", 10, 20, 7), Op("w2", "heartbeat", 50, 60, jobs=(7,)), claim("w1", 105, 120, 7)),
            {"lease_ns": 100},
        ),
        ("unknown claims name no job", ops(claim("w0", 10, 20, 7), claim("w1", 30, 40, outcome="info")), {}),
        (
            "its holder was killed before",
            ops(claim("w0", 10, 20, 7), Op("nemesis", "kill", 30, 31, jobs=("w0",)), claim("w1", 40, 50, 7)),
            {},
        ),
        (
            "its holder had ended",
            History([claim("w0", 10, 20, 7), claim("w1", 40, 50, 7)], processes=[Process("w0", ended=30)]),
            {},
        ),
        ("7 and '7' are two jobs", ops(claim("w0", 10, 20, 7), claim("w1", 40, 50, "7")), {}),
        ("two schedules", ops(claim("w0", 10, 20, 7), claim("w1", 40, 50, 7, schedule=1)), {}),
        ("given back by a thread", ops(claim("w0", 10, 20, 7), fail("w0.1", 30, 40, 7), claim("w1", 50, 60, 7)), {}),
        (
            "the process of the thread that held it was killed",
            ops(claim("w0.1", 10, 20, 7), kill(30, 31, "w0"), claim("w1", 50, 60, 7)),
            {},
        ),
    ],
    "single-owner": [
        ("its lease could have run out", ops(claim("w0", 10, 20, 7), claim("w1", 100, 110, 7)), {"lease_ns": 100}),
        (
            "its last heartbeat was long ago",
            ops(claim("w0", 10, 20, 7), Op("w0", "heartbeat", 50, 60, jobs=(7,)), claim("w1", 140, 150, 7)),
            {"lease_ns": 100},
        ),
        ("given back", ops(claim("w0", 10, 20, 7), fail("w0", 30, 40, 7), claim("w1", 50, 60, 7)), {"lease_ns": 100}),
        ("finished", ops(claim("w0", 10, 20, 7), complete("w0", 30, 40, 7), claim("w1", 50, 60, 7)), {"lease_ns": 100}),
        ("killed", ops(claim("w0", 10, 20, 7), kill(30, 31, "w0"), claim("w1", 50, 60, 7)), {"lease_ns": 100}),
    ],
    "no-lost-job": [
        ("all finished", ops(ENQUEUED, claim("w0", 10, 20, 7, 8), complete("w0", 30, 40, 7, 8), DRAINED), {}),
        (
            "a completion of unknown outcome",
            ops(ENQUEUED, claim("w0", 10, 20, 7, 8), complete("w0", 30, None, 7, 8), DRAINED),
            {},
        ),
        ("given back for good", ops(ENQUEUED, claim("w0", 10, 20, 7, 8), fail("w0", 30, 40, 7, 8), DRAINED), {}),
        (
            "finished by its former holder while it was handed out again",
            ops(ENQUEUED, claim("w0", 10, 20, 7, 8), claim("w1", 25, 40, 7, 8), complete("w0", 30, 35, 7, 8), DRAINED),
            {"semantics": "at-least-once"},
        ),
        (
            "at most once, and the holder died",
            History([ENQUEUED, claim("w0", 10, 20, 7, 8), DRAINED], processes=[Process("w0")]),
            {"semantics": "at-most-once"},
        ),
        (
            "at most once, and who died may have claimed it",
            UNANSWERED,
            {"semantics": "at-most-once"},
        ),
        (
            "handed out as often as it may be, so it may be dead",
            ops(ENQUEUED, claim("w0", 10, 20, 7, 8), complete("w0", 30, 40, 7), claim("w1", 50, 60, 8), DRAINED),
            {"max_attempts": 2},
        ),
    ],
    "no-phantom-claim": [
        ("enqueued", ops(ENQUEUED, claim("w0", 10, 20, 7)), {}),
        (
            "claimed while it was being enqueued",
            ops(Op("setup", "enqueue", 10, 50, jobs=(7,)), claim("w0", 12, 20, 7)),
            {},
        ),
    ],
    "batch-limit": [
        ("as many as asked", ops(claim("w0", 10, 20, 7, 8, requested=2)), {}),
        ("as many at once as there are", ops(claim("w0", 10, 20, 7), claim("w1", 30, 40, 8)), {}),
        ("as many at once as may be", ops(claim("w0", 10, 20, 7), claim("w1", 30, 40, 8)), {"most_running": 2}),
        (
            "one after the other, as far as anybody can tell",
            ops(claim("w0", 10, 20, 7), complete("w0", 30, 50, 7), claim("w1", 25, 40, 8)),
            {"most_running": 1},
        ),
        (
            "the one before may be dead, its lease over, or its job given back",
            ops(
                claim("w0", 10, 20, 7),
                kill(30, 31, "w0"),
                claim("w1", 32, 40, 8),
                claim("w2", 110, 140, 9),
                fail("w2", 150, 160, 9),
                claim("w1", 155, 170, 10),
            ),
            {"most_running": 1, "lease_ns": 100},
        ),
    ],
    "no-false-empty": [
        ("nothing left", ops(ENQUEUED, claim("w0", 10, 20, 7, 8), claim("w1", 30, 40)), {}),
        (
            "claimed by another meanwhile",
            ops(ENQUEUED, claim("w0", 10, 20, 7), claim("w0", 30, 40, 8), claim("w1", 15, 35)),
            {},
        ),
        ("still being enqueued", ops(Op("setup", "enqueue", 0, 50, jobs=(7,)), claim("w0", 10, 20)), {}),
        (
            "a claim rolled back at the same time",
            ops(ENQUEUED, claim("w0", 15, 25, outcome="fail", error="lock"), claim("w1", 10, 20)),
            {},
        ),
        (
            "an unknown claim may have taken it",
            ops(ENQUEUED, claim("w0", 6, 8, outcome="info"), claim("w1", 10, 20)),
            {},
        ),
        (
            "given back and never seen again: it may be dead",
            ops(
                Op("setup", "enqueue", 0, 5, jobs=(7,)),
                claim("w0", 10, 20, 7),
                fail("w0", 30, 40, 7),
                claim("w1", 50, 60),
            ),
            {},
        ),
        ("it may have been deleted", ops(ENQUEUED, clean(6, 9), claim("w1", 50, 60)), {}),
        (
            "an unknown claim may have taken it before its enqueue had returned",
            ops(Op("setup", "enqueue", 0, 8, jobs=(7,)), claim("w0", 2, 6, outcome="info"), claim("w1", 10, 20)),
            {},
        ),
    ],
    "claim-order": [
        ("in the order enqueued", ops(ENQUEUED, claim("w0", 10, 20, 7), claim("w1", 30, 40, 8)), {}),
        ("at the same time", ops(ENQUEUED, claim("w0", 10, 20, 8), claim("w1", 15, 40, 7)), {}),
        (
            "an id that was enqueued only after it had been handed out",
            ops(
                Op("setup", "enqueue", 0, 5, jobs=(8, 9)),
                claim("w0", 10, 20, 7, 8, requested=2),
                Op("w0", "enqueue", 30, 35, jobs=(7,)),
                claim("w0", 40, 50, 9),
            ),
            {},
        ),
        (
            "an id that may have been of another job when it was handed out first",
            ops(
                Op("w0", "enqueue", 0, 5, jobs=(7,)),
                claim("w0", 6, 8, 7),
                claim("w0", 10, 20, 9),
                complete("w0", 22, 25, 9),
                Op("w0", "enqueue", 15, 26, jobs=(8, 9)),
                claim("w0", 30, 40, 9),
                claim("w0", 50, 60, 8),
            ),
            {},
        ),
        (
            "enqueues that overlap have no order",
            ops(
                Op("setup", "enqueue", 0, 5, jobs=(7,)),
                Op("w1", "enqueue", 3, 6, jobs=(8,)),
                claim("w0", 10, 20, 8),
                claim("w0", 30, 40, 7),
            ),
            {},
        ),
        (
            "what was given back may queue at the end",
            ops(
                ENQUEUED, claim("w0", 10, 20, 7), fail("w0", 22, 24, 7), claim("w0", 30, 40, 8), claim("w0", 50, 60, 7)
            ),
            {},
        ),
    ],
    "terminal-once": [
        ("once each", ops(complete("w0", 10, 20, 7), complete("w1", 10, 20, 8)), {}),
        ("the second was refused", ops(complete("w0", 10, 20, 7), complete("w1", 30, 40, 7, accepted=())), {}),
        ("the second is unknown", ops(complete("w0", 10, 20, 7), complete("w1", 30, 40, 7, outcome="info")), {}),
    ],
    "attempts-counted": [
        ("1, then 2", ops(claim("w0", 10, 20, 7, attempts=(1,)), claim("w1", 30, 40, 7, attempts=(2,))), {}),
        (
            "a claim of unknown outcome may have been the second",
            ops(
                claim("w0", 10, 20, 7, attempts=(1,)),
                claim("w1", 22, 24, outcome="info"),
                claim("w1", 30, 40, 7, attempts=(3,)),
            ),
            {},
        ),
        (
            "two at the same time, the first to return was the second",
            ops(claim("w0", 10, 40, 7, attempts=(1,)), claim("w1", 20, 30, 7, attempts=(2,))),
            {},
        ),
        (
            "two at the same time, whichever was first",
            ops(claim("w0", 10, 40, 7, attempts=(2,)), claim("w1", 20, 30, 7, attempts=(1,))),
            {},
        ),
        (
            "as often as it may be",
            ops(claim("w0", 10, 20, 7, attempts=(1,)), claim("w1", 30, 40, 7, attempts=(2,))),
            {"max_attempts": 2},
        ),
    ],
    "fenced-completion": [
        (
            "the stale one was refused",
            ops(
                claim("w0", 10, 20, 7, tokens=(1,)),
                claim("w1", 30, 40, 7, tokens=(2,)),
                complete("w0", 50, 60, 7, tokens=(1,), accepted=()),
                complete("w1", 50, 60, 7, tokens=(2,)),
            ),
            {},
        ),
        (
            "it was completed before the other claim returned",
            ops(
                claim("w0", 10, 20, 7, tokens=(1,)),
                claim("w1", 30, 40, 7, tokens=(2,)),
                complete("w0", 35, 60, 7, tokens=(1,)),
            ),
            {},
        ),
    ],
    "no-swallowed-error": [
        (
            "it tried again and won",
            History(
                [claim("w0", 10, 50, 7)],
                [Statement("w0", 11, 12, error="lock"), Statement("w0", 13, 14, "rollback"), Statement("w0", 20, 21)],
            ),
            {},
        ),
        ("it said so", History([claim("w0", 10, 50, outcome="fail")], [Statement("w0", 11, 12, error="lock")]), {}),
    ],
    "lock-errors": [
        (
            "1 in 100",
            ops(
                *(claim("w0", n, n + 1, n) for n in range(100)),
                claim("w1", 5, 6, outcome="fail", error="lock"),
                claim("w1", 7, 8, outcome="fail", error="constraint"),
            ),
            {},
        ),
    ],
    "every-worker-served": [
        ("both served", History([claim("w0", 10, 20, 7), claim("w1", 10, 20, 8)], processes=TWO_WORKERS), {}),
        ("nobody served", History([claim("w0", 10, 20), claim("w1", 10, 20)], processes=TWO_WORKERS), {}),
    ],
    "statement-budget": [
        ("2 whatever the batch", rounds((1, 2), (10, 2), (100, 2)), {}),
        ("2 whatever is deleted", rounds((1, 2), (10, 2), (100, 2), kind="delete_many"), {}),
    ],
    "witness-agrees": [
        ("it wrote before it had jobs", History([claim("w0", 10, 20, 7)], [WRITE]), {}),
        ("it had fetched ahead", History([claim("w0", 10, 20, 7), claim("w0", 30, 40, 8)], [WRITE]), {}),
        ("it was a thread", History([claim("w0.1", 10, 20, 7)], [WRITE], TWO_WORKERS), {}),
        (
            "on Postgres a read may call a function that writes",
            History([claim("w0", 10, 20, 7)], [Statement("w0", 11, 12, "read")]),
            {"database": "postgres"},
        ),
    ],
    "worker-guard": [
        ("the second was refused", ops(Op("w0", "open", 10, 20), Op("w1", "open", 30, 40, outcome="fail")), {}),
        (
            "one after the other",
            ops(Op("w0", "open", 10, 20), Op("w0", "close", 30, 40), Op("w1", "open", 35, 50)),
            {},
        ),
        (
            "the first was killed",
            ops(Op("w0", "open", 10, 20), Op("nemesis", "kill", 30, 31, jobs=("w0",)), Op("w1", "open", 40, 50)),
            {},
        ),
        (
            "the first had ended",
            History([Op("w0", "open", 10, 20), Op("w1", "open", 40, 50)], processes=[Process("w0", ended=30)]),
            {},
        ),
    ],
    "guard-released": [
        (
            "the next one within a second",
            ops(
                Op("nemesis", "kill", 30, 31, jobs=("w0",)),
                Op("w1", "open", 40, 50, outcome="fail"),
                Op("w1", "open", 10**9, 10**9 + 1),
            ),
            {},
        ),
        (
            "slow to ask, but admitted at once",
            ops(Op("nemesis", "kill", 30, 31, jobs=("w0",)), Op("w1", "open", 5 * 10**9, 6 * 10**9)),
            {},
        ),
        (
            "refused late, when another had been admitted",
            ops(
                Op("nemesis", "kill", 30, 31, jobs=("w0",)),
                Op("w1", "open", 40, 2 * 10**9),
                Op("w2", "open", 10**9 + 100, 10**9 + 200, outcome="fail"),
            ),
            {},
        ),
    ],
}

BROKEN: dict[str, list[tuple[str, History, dict[str, object], tuple[int, ...], dict[str, object]]]] = {
    "no-double-claim": [
        ("two workers", ops(claim("w0", 10, 20, 7), claim("w1", 30, 40, 7)), {}, (1, 2), {"job": 7, "holder": "w0"}),
        ("twice in one answer", ops(claim("w0", 10, 20, "a", "a")), {"lease_ns": 1}, (1,), {"job": "a"}),
        (
            "finished, then handed out again",
            ops(claim("w0", 10, 20, 7), complete("w0", 30, 40, 7), claim("w1", 900, 950, 7)),
            {"lease_ns": 100},
            (1, 3),
            {"finished_before": True},
        ),
        (
            "done by a system's own loop, and handed out again while its lease was still running",
            ops(claim("w0", 10, 20, 7), complete("w0", 30, 40, 7), claim("w1", 50, 60, 7)),
            {"lease_ns": 100, "capabilities": LOOP},
            (1, 3),
            {"finished_before": False},
        ),
        (
            "its lease was still running",
            ops(claim("w0", 10, 20, 7), Op("w0", "heartbeat", 50, 60, jobs=(7,)), claim("w1", 100, 110, 7)),
            {"lease_ns": 100},
            (1, 3),
            {"taker": "w1"},
        ),
        (
            "still held, whatever is deleted and made meanwhile",
            ops(claim("w0", 10, 20, 7), clean(22, 24), submit("w0", 25, 28, 1, 1), claim("w1", 30, 40, 7)),
            {},
            (1, 4),
            {"finished_before": False},
        ),
        (
            "finished and handed out again, and deleted or made only before or after",
            ops(
                submit("w0", 0, 5, 1, 1),
                claim("w0", 10, 20, 7),
                complete("w0", 22, 24, 7),
                clean(25, 28),
                claim("w1", 30, 40, 7),
                submit("w0", 45, 50, 2, 1),
            ),
            {},
            (2, 5),
            {"finished_before": True},
        ),
        (
            "somebody else gave it back",
            ops(claim("w0", 10, 20, 7), fail("w1", 30, 40, 7), claim("w1", 50, 60, 7)),
            {},
            (1, 3),
            {},
        ),
        (
            "the giving back was refused",
            ops(claim("w0", 10, 20, 7), fail("w0", 30, 40, 7, accepted=()), claim("w1", 50, 60, 7)),
            {},
            (1, 3),
            {},
        ),
    ],
    "single-owner": [
        (
            "claimed in the middle of another's lease",
            ops(claim("w0", 10, 20, 7), claim("w1", 50, 60, 7)),
            {"lease_ns": 100},
            (1, 2),
            {"job": 7, "owner": "w0", "taker": "w1", "left_ns": 50},
        ),
        (
            "claimed by the start of the lease, which a heartbeat had extended, of a system that may hand a job out twice",
            ops(claim("w0", 10, 20, 7), Op("w0", "heartbeat", 90, 95, jobs=(7,)), claim("w1", 120, 130, 7)),
            {"lease_ns": 100, "semantics": "at-least-once"},
            (1, 3),
            {"job": 7, "left_ns": 60},
        ),
        (
            "somebody else gave it back",
            ops(claim("w0", 10, 20, 7), fail("w2", 30, 40, 7), claim("w1", 50, 60, 7)),
            {"lease_ns": 100},
            (1, 3),
            {"job": 7},
        ),
    ],
    "no-lost-job": [
        (
            "its recovery is stopped by a bad row, each time",
            ops(
                ENQUEUED,
                claim("w0", 10, 20, 7),
                complete("w0", 30, 40, 7),
                Op("quiet", "recover", 820, 830, outcome="fail", error="constraint", phase="quiet"),
                DRAINED,
            ),
            {"lease_ns": 100},
            (1, 5),
            {"job": 8},
        ),
        (
            "nobody recovered it, though it was asked for again once the connection was back",
            ops(
                ENQUEUED,
                claim("w0", 10, 20, 7),
                complete("w0", 30, 40, 7),
                RECOVERY_CUT,
                Op("quiet", "recover", 820, 830, phase="quiet"),
                DRAINED,
            ),
            {"lease_ns": 100},
            (1, 6),
            {"job": 8},
        ),
        (
            "never handed out",
            ops(ENQUEUED, claim("w0", 10, 20, 7), complete("w0", 30, 40, 7), DRAINED),
            {},
            (1, 4),
            {"job": 8},
        ),
        (
            "taken perhaps by one who died, and no lease is to end",
            UNANSWERED,
            {},
            (1, 6),
            {"job": 7},
        ),
        (
            "taken perhaps by an unknown claim, whose lease is long over",
            ops(
                ENQUEUED,
                claim("w0", 10, 20, outcome="info"),
                claim("w1", 30, 40, 8),
                complete("w1", 50, 60, 8),
                DRAINED,
            ),
            {"lease_ns": 100},
            (1, 5),
            {"job": 7},
        ),
        (
            "never finished",
            ops(ENQUEUED, claim("w0", 10, 20, 7, 8), complete("w0", 30, 40, 7), DRAINED),
            {},
            (1, 2, 4),
            {"job": 8, "fate": "never finished", "holder": "w0"},
        ),
        (
            "at most once, and the holder lived",
            History(
                [Op("setup", "enqueue", 0, 5, jobs=(7,)), claim("w0", 10, 20, 7), DRAINED],
                processes=[Process("w0", ended=800)],
            ),
            {"semantics": "at-most-once"},
            (1, 2, 3),
            {"job": 7},
        ),
        (
            "the right holder was refused",
            ops(ENQUEUED, claim("w0", 10, 20, 7, 8), complete("w0", 30, 40, 7, 8, accepted=(0,)), DRAINED),
            {},
            (1, 2, 4),
            {"job": 8},
        ),
        (
            "it had attempts left",
            ops(ENQUEUED, claim("w0", 10, 20, 7, 8), complete("w0", 30, 40, 7), DRAINED),
            {"max_attempts": 2},
            (1, 2, 4),
            {"job": 8},
        ),
    ],
    "no-phantom-claim": [
        ("nobody enqueued it", ops(ENQUEUED, claim("w0", 10, 20, 9)), {}, (2,), {"job": 9, "enqueued_as_job": None}),
        ("another type", ops(ENQUEUED, claim("w0", 10, 20, "7")), {}, (2,), {"job": "7", "enqueued_as_job": 7}),
        (
            "before it was enqueued",
            ops(claim("w0", 10, 20, 7), Op("setup", "enqueue", 30, 40, jobs=(7,))),
            {},
            (1, 2),
            {"enqueued_later": True},
        ),
    ],
    "batch-limit": [
        ("one too many", ops(claim("w0", 10, 20, 7, 8)), {}, (1,), {"requested": 1, "returned": 2}),
        (
            "one more than may be running",
            ops(
                claim("w0", 10, 20, 7),
                claim("w1", 12, 21, 8),
                claim("w2", 25, 40, 9),
                kill(30, 31, "w2"),
                complete("w0", 50, 60, 7),
            ),
            {"most_running": 1},
            (1, 2),
            {"process": "w1", "most_running": 1, "held": 2},
        ),
        (
            "two in one claim, where one may be running",
            ops(claim("w0", 10, 20, 7, 8, requested=2)),
            {"most_running": 1},
            (1,),
            {"process": "w0", "held": 2},
        ),
    ],
    "no-false-empty": [
        (
            "a job was waiting",
            ops(ENQUEUED, claim("w0", 10, 20, 7), claim("w1", 30, 40), claim("w0", 50, 60, 8)),
            {},
            (1, 3),
            {"job": 8},
        ),
        ("a job nobody ever got", ops(ENQUEUED, claim("w0", 10, 20, 7), claim("w1", 30, 40)), {}, (1, 3), {"job": 8}),
        (
            "a job given back",
            ops(
                Op("setup", "enqueue", 0, 5, jobs=(7,)),
                claim("w0", 10, 20, 7),
                fail("w0", 30, 40, 7),
                claim("w1", 50, 60),
                claim("w1", 70, 80, 7),
            ),
            {},
            (3, 4),
            {"job": 7},
        ),
        (
            "a job given back, of which somebody read while it waited",
            ops(
                Op("setup", "enqueue", 0, 5, jobs=(7,)),
                claim("w0", 10, 20, 7),
                fail("w0", 30, 40, 7),
                read(41, 45, 7, None),
                claim("w1", 50, 60),
                claim("w1", 70, 80, 7),
            ),
            {},
            (3, 5),
            {"job": 7},
        ),
    ],
    "claim-order": [
        (
            "one that had been claimed before it was enqueued",
            ops(
                claim("w1", 0, 1, 7),
                Op("setup", "enqueue", 3, 5, jobs=(7, 8)),
                claim("w0", 10, 20, 8),
            ),
            {},
            (2, 3),
            {"job": 8, "better_job": 7},
        ),
        (
            "the later first",
            ops(ENQUEUED, claim("w0", 10, 20, 8), claim("w1", 30, 40, 7)),
            {},
            (1, 2),
            {"job": 8, "better_job": 7},
        ),
        (
            "the greater priority passed over",
            ops(
                Op("setup", "enqueue", 0, 2, jobs=(7,), priorities=(0,)),
                Op("setup", "enqueue", 3, 5, jobs=(8,), priorities=(5,)),
                claim("w0", 10, 20, 7),
            ),
            {},
            (1, 2, 3),
            {"better_priority": 5},
        ),
        (
            "the earlier enqueue passed over",
            ops(
                Op("setup", "enqueue", 0, 2, jobs=(7,)),
                Op("setup", "enqueue", 3, 5, jobs=(8,)),
                claim("w0", 10, 20, 8),
                claim("w0", 30, 40, 7),
            ),
            {},
            (1, 2, 3),
            {"better_job": 7},
        ),
        (
            "within one answer",
            ops(ENQUEUED, claim("w0", 10, 20, 8, 7, requested=2)),
            {},
            (1, 2),
            {"wrong": "the answer is out of order"},
        ),
    ],
    "terminal-once": [
        ("twice", ops(complete("w0", 10, 20, 7), complete("w1", 30, 40, 7)), {}, (1, 2), {"job": 7}),
        (
            "twice, though something is deleted and submitted meanwhile",
            ops(
                claim("w0", 5, 8, 7),
                complete("w0", 10, 20, 7),
                clean(21, 23),
                submit("w1", 24, 26, 1, 1),
                complete("w1", 30, 40, 7),
            ),
            {},
            (2, 5),
            {"job": 7},
        ),
    ],
    "attempts-counted": [
        ("starts at 2", ops(claim("w0", 10, 20, 7, attempts=(2,))), {}, (1,), {"attempt": 2, "expected_at_most": 1}),
        (
            "both the first",
            ops(claim("w0", 10, 40, 7, attempts=(1,)), claim("w1", 20, 30, 7, attempts=(1,))),
            {},
            (1, 2),
            {"attempt": 1},
        ),
        (
            "1 again",
            ops(claim("w0", 10, 20, 7, attempts=(1,)), claim("w1", 30, 40, 7, attempts=(1,))),
            {},
            (1, 2),
            {"expected_at_least": 2},
        ),
        (
            "once more than it may be",
            ops(
                claim("w0", 10, 20, 7, attempts=(1,)),
                claim("w1", 30, 40, 7, attempts=(2,)),
                claim("w0", 50, 60, 7, attempts=(3,)),
            ),
            {"max_attempts": 2},
            (2, 3),
            {"attempt": 3, "allowed": 2},
        ),
        (
            "once more than it may be, by its own account: one of unknown outcome may have been the first",
            ops(claim("w0", 10, 20, outcome="info"), claim("w1", 30, 40, 7, attempts=(2,))),
            {"max_attempts": 1},
            (2,),
            {"attempt": 2, "allowed": 1},
        ),
    ],
    "fenced-completion": [
        (
            "a stale token of the same worker was accepted",
            ops(
                claim("w0", 10, 20, 7, tokens=(1,)),
                claim("w0", 30, 40, 7, tokens=(2,)),
                complete("w0", 50, 60, 7, tokens=(1,)),
            ),
            {},
            (2, 3),
            {"token": 1, "later_token": 2, "later_process": "w0"},
        ),
        (
            "a stale token was accepted",
            ops(
                claim("w0", 10, 20, 7, tokens=(1,)),
                claim("w1", 30, 40, 7, tokens=(2,)),
                complete("w0", 50, 60, 7, tokens=(1,)),
            ),
            {},
            (2, 3),
            {"job": 7, "token": 1, "later_token": 2, "later_process": "w1"},
        ),
        (
            "a stale token was accepted from a thread",
            ops(
                claim("w0", 10, 20, 7, tokens=(1,)),
                claim("w1", 30, 40, 7, tokens=(2,)),
                complete("w0.3", 50, 60, 7, tokens=(1,)),
            ),
            {},
            (2, 3),
            {"token": 1, "later_token": 2, "later_process": "w1"},
        ),
    ],
    "no-swallowed-error": [
        (
            "empty because of a lock",
            History(
                [claim("w0", 10, 50)], [Statement("w0", 11, 12, error="lock"), Statement("w0", 13, 14, "rollback")]
            ),
            {},
            (1,),
            {"error_kind": "lock"},
        ),
    ],
    "lock-errors": [
        (
            "2 in 100",
            ops(
                *(claim("w0", n, n + 1, n) for n in range(100)),
                claim("w1", 205, 206, outcome="fail", error="lock"),
                complete("w1", 207, 208, 7, outcome="info", error="deadlock"),
            ),
            {},
            (101,),
            {"errors": 2, "claims_with_jobs": 100},
        ),
    ],
    "every-worker-served": [
        (
            "one got nothing",
            History([claim("w0", 10, 20, 7), claim("w1", 10, 20)], processes=TWO_WORKERS),
            {},
            (2,),
            {"process": "w1"},
        ),
        ("one never claimed", History([claim("w0", 10, 20, 7)], processes=TWO_WORKERS), {}, (), {"process": "w1"}),
    ],
    "statement-budget": [
        (
            "one a job",
            rounds((1, 2), (10, 11), (100, 101)),
            {},
            (1, 3, 5),
            {"statements_per_job": 1.0, "statements_per_claim": 1.0},
        ),
        (
            "one for each that is submitted",
            rounds((1, 2), (10, 11), (100, 101), kind="submit_run"),
            {},
            (1, 3, 5),
            {"statements_per_job": 1.0},
        ),
    ],
    "witness-agrees": [
        (
            "no write on SQLite",
            History([claim("w0", 10, 20, 7)], [Statement("w0", 11, 12, "read")]),
            {},
            (1,),
            {"process": "w0"},
        ),
        ("the write came later", History([claim("w0", 5, 9, 7)], [WRITE]), {}, (1,), {"process": "w0"}),
        (
            "a stranger's statements",
            History([claim("w0", 10, 20, 7)], [WRITE, Statement("x", 1, 2)]),
            {},
            (),
            {"process": "x", "contradiction": "unknown process"},
        ),
    ],
    "worker-guard": [
        (
            "both admitted",
            ops(
                Op("w0", "open", 10, 20), Op("w1", "open", 30, 40), Op("w0", "close", 50, 60), Op("w1", "claim", 70, 80)
            ),
            {},
            (1, 2),
            {"process": "w0", "other_process": "w1"},
        ),
    ],
    "guard-released": [
        (
            "refused for more than a second",
            ops(
                Op("nemesis", "kill", 30, 31, jobs=("w0",)),
                Op("w1", "open", 40, 50, outcome="fail"),
                Op("w1", "open", 10**9 + 40, 10**9 + 50, outcome="fail"),
            ),
            {},
            (3,),
            {"after_death_ns": 10**9 + 9},
        ),
    ],
}

UNDECIDABLE: dict[str, list[tuple[str, History, dict[str, object]]]] = {
    "single-owner": [
        (
            "the id was given to two jobs",
            ops(
                Op("setup", "enqueue", 0, 5, jobs=(7,)),
                claim("w0", 10, 20, 7),
                Op("setup", "enqueue", 30, 35, jobs=(7,)),
                claim("w1", 40, 50, 7),
            ),
            {"lease_ns": 100},
        ),
    ],
    "no-double-claim": [
        (
            "the id was given to two jobs",
            ops(
                Op("setup", "enqueue", 0, 5, jobs=(7,)),
                claim("w0", 10, 20, 7),
                Op("setup", "enqueue", 30, 35, jobs=(7,)),
                claim("w1", 40, 50, 7),
            ),
            {},
        ),
        (
            "finished, deleted, and the id may have been given to a job of a run",
            ops(
                claim("w0", 10, 20, 7),
                complete("w0", 22, 24, 7),
                clean(23, 30),
                submit("w0", 29, 35, 2, 1),
                claim("w1", 34, 50, 7),
            ),
            {},
        ),
        (
            "finished and removed by the system, and the id may have been given to a job of a run",
            ops(
                claim("w0", 10, 20, 7),
                complete("w0", 22, 24, 7),
                submit("w0", 23, 35, 2, 1),
                claim("w1", 34, 50, 7),
            ),
            {},
        ),
        (
            "finished, deleted, and the id may have been given by an enqueue of unknown outcome",
            ops(
                claim("w0", 10, 20, 7),
                complete("w0", 22, None, 7),
                delete(26, None, 0, 7),
                Op("w2", "enqueue", 29, None, outcome="info", requested=1),
                claim("w1", 40, 50, 7),
            ),
            {},
        ),
        (
            "a job of a run that was finished and deleted, and enqueued since",
            ops(
                claim("w0", 10, 20, 7),
                complete("w0", 22, 24, 7),
                clean(26, 28),
                Op("w2", "enqueue", 29, 32, jobs=(7,)),
                claim("w1", 40, 50, 7),
            ),
            {},
        ),
    ],
    "no-lost-job": [
        (
            "its id was given to two jobs",
            ops(
                Op("setup", "enqueue", 0, 2, jobs=(7,)),
                Op("setup", "enqueue", 3, 5, jobs=(7,)),
                claim("w0", 10, 20, 7),
                DRAINED,
            ),
            {},
        ),
        (
            "whoever was to recover lost its connection",
            ops(ENQUEUED, claim("w0", 10, 20, 7, 8), RECOVERY_CUT, DRAINED),
            {"lease_ns": 100},
        ),
        ("never drained", ops(ENQUEUED, claim("w0", 10, 20, 7)), {}),
        ("it may have been deleted", ops(ENQUEUED, clean(6, 9), DRAINED), {}),
        (
            "an unknown claim may have taken it before its enqueue had returned",
            ops(Op("setup", "enqueue", 0, 8, jobs=(7,)), claim("w0", 2, 6, outcome="info"), DRAINED),
            {},
        ),
        ("drained before it was enqueued", ops(DRAINED, Op("w0", "enqueue", 920, 930, jobs=(7,))), {}),
        ("an unknown claim may have taken it", ops(ENQUEUED, claim("w0", 10, 20, outcome="info"), DRAINED), {}),
        (
            "an unknown claim may have taken it, for longer than it was waited",
            ops(ENQUEUED, claim("w0", 10, None, outcome="info"), kill(20, 21, "w0"), DRAINED),
            {"lease_ns": 10**9},
        ),
        (
            "its lease was extended and may still run",
            ops(ENQUEUED, claim("w0", 10, 20, 7, 8), Op("w0", "heartbeat", 800, 810, jobs=(7, 8)), DRAINED),
            {"lease_ns": 200},
        ),
        ("its lease may still run", ops(ENQUEUED, claim("w0", 10, 20, 7, 8), DRAINED), {"lease_ns": 5000}),
        (
            "a claim of unknown outcome may have been its last attempt",
            ops(
                ENQUEUED,
                claim("w0", 10, 20, 7, 8),
                claim("w1", 22, 24, outcome="info"),
                complete("w0", 30, 40, 7),
                DRAINED,
            ),
            {"max_attempts": 2},
        ),
    ],
    "no-phantom-claim": [
        (
            "an unknown enqueue may have made it",
            ops(Op("setup", "enqueue", 0, 5, outcome="info", requested=1), claim("w0", 10, 20, 7)),
            {},
        ),
        ("a submit may have made it", ops(ENQUEUED, submit("w1", 6, 9, 1, 1), claim("w0", 10, 20, 3)), {}),
    ],
    "batch-limit": [("no claim", ops(ENQUEUED), {})],
    "no-false-empty": [("no enqueue", ops(claim("w0", 10, 20)), {})],
    "claim-order": [("no claim", ops(ENQUEUED), {})],
    "terminal-once": [
        ("no complete", ops(ENQUEUED), {}),
        (
            "deleted, and the id may have been given to a job of a run",
            ops(
                claim("w0", 10, 20, 7),
                complete("w0", 22, 24, 7),
                clean(26, 28),
                submit("w0", 29, 35, 2, 1),
                claim("w1", 40, 50, 7),
                complete("w1", 52, 54, 7),
            ),
            {},
        ),
    ],
    "attempts-counted": [("no job was handed out", ops(claim("w0", 10, 20)), {})],
    "fenced-completion": [("no job was handed out", ops(claim("w0", 10, 20), complete("w0", 30, 40)), {})],
    "no-swallowed-error": [("the witness saw nothing", ops(claim("w0", 10, 20, 7)), {})],
    "lock-errors": [("no claim", ops(ENQUEUED), {})],
    "every-worker-served": [("no claim", History([ENQUEUED], processes=TWO_WORKERS), {})],
    "statement-budget": [
        ("one size only", rounds((10, 11), (10, 11)), {}),
        ("claims that failed obtained nothing, whatever the rounds say", rounds((1, 2), (10, 11), outcome="fail"), {}),
    ],
    "witness-agrees": [("the witness saw nothing", ops(claim("w0", 10, 20, 7)), {})],
    "worker-guard": [("nobody was admitted", ops(Op("w0", "open", 10, 20, outcome="fail")), {})],
    "guard-released": [
        ("nobody asked", ops(Op("w0", "open", 10, 20), Op("nemesis", "kill", 30, 31, jobs=("w0",))), {}),
        (
            "refused, and given up within the second",
            ops(Op("nemesis", "kill", 30, 31, jobs=("w0",)), Op("w1", "open", 40, 50, outcome="fail")),
            {},
        ),
    ],
}

NOT_APPLICABLE: list[tuple[str, History, dict[str, object]]] = [
    ("no-double-claim", ops(claim("w0", 10, 20, 7), claim("w1", 30, 40, 7)), {"semantics": "at-least-once"}),
    ("single-owner", ops(claim("w0", 10, 20, 7), claim("w1", 30, 40, 7)), {}),
    ("no-false-empty", ops(ENQUEUED, claim("w0", 10, 20, 7), claim("w1", 30, 40)), {"most_running": 1}),
    ("claim-order", ops(ENQUEUED, claim("w0", 10, 20, 8), claim("w1", 30, 40, 7)), {"ordered": False}),
    ("attempts-counted", ops(claim("w0", 10, 20, 7)), {}),
    ("fenced-completion", ops(claim("w0", 10, 20, 7), complete("w0", 30, 40, 7)), {}),
    ("no-swallowed-error", History([claim("w0", 10, 20)], [WRITE]), {"witness": "none"}),
    ("witness-agrees", ops(claim("w0", 10, 20, 7)), {"witness": "none"}),
    ("statement-budget", rounds((1, 2), (10, 11)), {"witness": "none"}),
    ("lock-errors", ops(claim("w0", 10, 20, outcome="fail", error="lock")), {"faults": True}),
]

for more in (progress_histories, deletion_histories):
    HOLDS |= more.HOLDS
    BROKEN |= more.BROKEN
    UNDECIDABLE |= more.UNDECIDABLE
    NOT_APPLICABLE += more.NOT_APPLICABLE


def cases(table: dict[str, list[tuple[object, ...]]]) -> list[object]:  # pragma: no branch
    return [pytest.param(name, *case[1:], id=f"{name}: {case[0]}") for name, listed in table.items() for case in listed]


def test_every_invariant_has_histories_of_each_sort() -> None:
    """A new invariant is not finished before its literal histories are."""
    assert set(HOLDS) == set(BROKEN) == set(UNDECIDABLE) == set(NAMES)


@pytest.mark.parametrize(("name", "history", "context"), cases(HOLDS))  # type: ignore[arg-type] # tables differ in width
def test_a_right_history_holds(tmp_path: Path, name: str, history: History, context: dict[str, object]) -> None:
    judgement = judge(tmp_path, name, history, **context)
    assert (judgement.state, judgement.findings) == ("holds", ())


@pytest.mark.parametrize(("name", "history", "context", "operations", "facts"), cases(BROKEN))  # type: ignore[arg-type] # as above
def test_a_wrong_history_is_broken_and_says_by_what(
    tmp_path: Path,
    *,
    name: str,
    history: History,
    context: dict[str, object],
    operations: tuple[int, ...],
    facts: dict[str, object],
) -> None:
    judgement = judge(tmp_path, name, history, **context)
    assert judgement.state == "broken"
    finding = judgement.findings[0]
    assert finding.operations == operations
    assert {key: finding.facts[key] for key in facts} == facts
    if name not in ("lock-errors",):  # a row an operation
        assert judgement.count == 1


@pytest.mark.parametrize(("name", "history", "context"), cases(UNDECIDABLE))  # type: ignore[arg-type] # as above
def test_what_nobody_can_tell_is_undecidable_with_a_reason(
    tmp_path: Path, name: str, history: History, context: dict[str, object]
) -> None:
    judgement = judge(tmp_path, name, history, **context)
    assert (judgement.state, judgement.count, judgement.findings) == ("undecidable", 0, ())
    assert judgement.reason


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_history_is_undecidable(tmp_path: Path, name: str) -> None:
    judgement = judge(tmp_path, name, History(), flush_interval_ns=1, lease_ns=1)
    assert judgement.state == "undecidable"
    if name == "reads-answered":  # any one of several kinds would do
        assert judgement.reason == "nothing was read"
    else:
        assert judgement.reason.startswith("The history has no ")


@pytest.mark.parametrize(("name", "history", "context"), NOT_APPLICABLE)
def test_what_the_system_does_not_offer_is_not_applicable(
    tmp_path: Path, name: str, history: History, context: dict[str, object]
) -> None:
    judgement = judge(tmp_path, name, history, **context)
    assert judgement.state == "not applicable"
    assert judgement.reason
