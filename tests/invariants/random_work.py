"""Random histories of work, of deleting and of submitting: many small schedules, nothing in them any better than chance.

They are made by `random`, not drawn by hypothesis, as drawing one takes ten times as long; a failing test shows the one schedule concerned.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

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
    read,
    read_run,
    report,
    status,
    submit,
)

TICK = 100_000_000  # half a second for a busy machine is 5 of them
INTERVAL_NS = 2 * TICK
JOBS = (1, 2, "1")
FRACTIONS = (0.2, 0.5, 0.9)
ERRORS = ("lock", "connection", "pool", "constraint")
Make = Callable[[random.Random, str, int, int], Op]


def some(rng: random.Random, things: Sequence[Any], most: int) -> tuple[Any, ...]:
    """A few different ones of them."""
    return tuple(rng.sample(things, rng.randint(0, min(most, len(things)))))


def scan(_rng: random.Random, process: str, start: int, done: int) -> Op:
    return Op(process, "scan", start, done, jobs=(_rng.choice(JOBS),))


def plain(kind: str) -> Make:
    return lambda _rng, process, start, done: Op(process, kind, start, done)


def usual(rng: random.Random) -> Any:
    """The first job, mostly."""
    return JOBS[0] if rng.random() < 0.7 else rng.choice(JOBS)


def claims(rng: random.Random, process: str, start: int, done: int) -> Op:
    return claim(process, start, done, *some(rng, JOBS, 2), requested=2)


def ends(rng: random.Random, process: str, start: int, done: int) -> Op:
    jobs = (usual(rng),) if rng.random() < 0.8 else JOBS[:2]
    accepted = tuple(n for n in range(len(jobs)) if rng.random() < 0.7) if rng.random() < 0.3 else None
    return rng.choice((complete, complete, fail))(process, start, done, *jobs, accepted=accepted)


def reports(rng: random.Random, process: str, start: int, done: int) -> Op:
    return report(process, start, done, usual(rng), rng.choice(FRACTIONS))


def reads(rng: random.Random, process: str, start: int, done: int) -> Op:
    return read(start, done, usual(rng), rng.choice((None, *FRACTIONS)), process)


def enqueues(rng: random.Random, process: str, start: int, done: int) -> Op:
    return Op(process, "enqueue", start, done, jobs=some(rng, JOBS, 2))


def submits(rng: random.Random, process: str, start: int, done: int) -> Op:
    return submit(process, start, done, rng.choice((1, 2)), rng.choice((1, 2, 2)))


def run_reads(rng: random.Random, process: str, start: int, done: int) -> Op:
    missing = rng.random() < 0.2
    return read_run(
        start, done, rng.choice((1, 2)), *(() if missing else some(rng, JOBS, 2)), missing=missing, process=process
    )


def actions(rng: random.Random, process: str, start: int, done: int) -> Op:
    return add_actions(start, done, rng.choice(JOBS), *some(rng, (1, 2), 2), process=process)


def deletes(rng: random.Random, process: str, start: int, done: int) -> Op:
    kind = rng.choice(("jobs", "jobs", "runs", "actions"))
    ids = some(rng, JOBS if kind == "jobs" else (1, 2), 3)
    number = rng.randint(0, len(ids)) if rng.random() < 0.3 else len(ids)
    return delete(start, done, number, *ids, kind=kind, process=process)


def cut_off(_rng: random.Random, process: str, start: int, done: int) -> Op:
    return delete(start, done, 0, *JOBS, process=process, outcome="info")


def refused(_rng: random.Random, process: str, start: int, done: int) -> Op:
    return complete(process, start, done, JOBS[0], accepted=())


def cleans(rng: random.Random, process: str, start: int, done: int) -> Op:
    return clean(start, done, rng.randint(0, 2), process=process)


def statuses(rng: random.Random, process: str, start: int, done: int) -> Op:
    runs = [(run, rng.randint(0, 2), rng.random() < 0.7) for run in some(rng, (1, 2), 2)]
    jobs = tuple(job for job in JOBS if rng.random() < 0.7)
    return status(start, done, *jobs, runs=runs, process=process)


# theme → for each process what it may do, some of it more often
WORKER: tuple[Make, ...] = (claims, ends, reports, reports, reports, plain("close"), plain("flush_progress"))
THEMES: dict[str, dict[str, tuple[Make, ...]]] = {
    "progress": {
        "w0": WORKER,
        "w0.0": (scan, reports, reports, ends),
        "w1": (claims, ends, reports, scan),
        "s1": (reads,),
        "s2": (reads, reads, reads, cleans),
    },
    "ending": {
        "w0": (reports, reports, ends, plain("close")),
        "w0.0": (scan, scan, reports),
        "s1": (reads,),
        "s2": (reads,),
    },
    "deleting": {
        "w0": (claims, ends, enqueues),
        "w0.1": (ends,),
        "w1": (claims, ends, submits, run_reads, actions),
        "cleaner": (deletes, deletes, deletes, deletes, cleans),
        "s1": (statuses,),
    },
    "told": {
        "w0": (enqueues, deletes, deletes, claims),
        "w0.1": (deletes, enqueues),
        "w1": (enqueues, enqueues, deletes),
        "s1": (statuses, deletes),
    },
    "cut off": {
        "cleaner": (cut_off, cut_off, deletes),
        "w0.0": (refused, refused, ends),
        "s1": (statuses,),
    },
    "submitting": {
        "w0": (submits,),
        "w1": (submits, submits, claims, enqueues),
        "s1": (run_reads, statuses),
        "s2": (statuses, run_reads, cleans),
    },
}
READERS = ("s1", "s2")


def random_work(seed: int, schedules: int) -> History:
    """So many schedules, of one theme after the other."""
    rng = random.Random(seed)
    ops: list[Op] = []
    statements: list[Statement] = []
    processes: list[Process] = []
    acquisitions: list[Acquisition] = []
    themes = list(THEMES.values())
    for schedule in range(schedules):
        mine = _operations(rng, themes[schedule % len(themes)], schedule)
        ops += mine
        workers = sorted({op.process.partition(".")[0] for op in mine})
        for worker in workers:
            statements += _statements(rng, worker, mine, schedule)
            acquisitions += _acquisitions(rng, worker, schedule)
            if rng.random() < 0.3:
                ended = rng.choice((None, 15 * TICK, 40 * TICK))
                processes.append(Process(worker, "worker", 0, ended, rng.choice(("done", "error")), schedule))
    return History(ops, statements, processes, acquisitions)


def _operations(rng: random.Random, theme: dict[str, tuple[Make, ...]], schedule: int) -> list[Op]:
    ops: list[Op] = []
    if rng.random() < 0.8:
        ops.append(Op("setup", "enqueue", 0, TICK, jobs=some(rng, JOBS, 3), phase="setup", schedule=schedule))
    if rng.random() < 0.7:
        ops.append(claim("w0", TICK, 2 * TICK, *JOBS[: rng.randint(1, 2)], requested=2, schedule=schedule))
    for process, makes in theme.items():
        now = rng.randint(2, 20 if process in READERS else 8)
        for _ in range(rng.randint(0, 5)):
            start, now = now, now + rng.randint(1, 6)
            op = rng.choice(makes)(
                rng, process, start * TICK, now * TICK + (len(ops) + 1)
            )  # no two claims return at once
            ops.append(replace(_spoilt(rng, op), schedule=schedule))
            now += rng.randint(0, 4)
    if rng.random() < 0.2:
        at = rng.randint(1, 20) * TICK
        ops.append(replace(kill(at, at + TICK, rng.choice(("w0", "w1"))), schedule=schedule))
    return ops


def _spoilt(rng: random.Random, op: Op) -> Op:
    """One in seven fails or ends unknown, and more of the deletions."""
    if op.kind == "scan" or rng.random() < (0.6 if op.kind == "delete_many" else 0.86):
        return op
    if rng.random() < 0.2:
        return replace(op, outcome="info", done=None)
    return replace(op, outcome=rng.choice(("fail", "info")), error=rng.choice((*ERRORS, None)))


def _statements(rng: random.Random, worker: str, ops: Sequence[Op], schedule: int) -> list[Statement]:
    """Now and then a burst of writes, mostly inside an operation; other kinds in between; no two end at once."""
    found: dict[int, Statement] = {}
    mine = [op for op in ops if op.process == worker]
    for _ in range(rng.randint(0, 3)):
        start = rng.choice(mine).start + rng.randint(0, 9) if mine and rng.random() < 0.7 else rng.randint(0, 30 * TICK)
        writes_only = rng.random() < 0.4
        connection = rng.randint(1, 2)
        for at in range(start, start + 10 * rng.choice((1, 2, 14, 25)), 10):
            kind = "write" if writes_only else rng.choice(("begin", "read", "write", "commit", "commit", "rollback"))
            error = rng.choice(("lock", "connection")) if rng.random() < 0.1 else None
            commits = error is None and (kind == "commit" or (kind == "write" and rng.random() < 0.3))
            found[at + 5] = Statement(worker, at, at + 5, kind, error, commits, connection, schedule)
    return list(found.values())


def _acquisitions(rng: random.Random, worker: str, schedule: int) -> list[Acquisition]:
    """A few, no two of which waited equally long."""
    found = []
    for number in range(rng.choice((0, 0, 1, 3))):
        asked = rng.randint(0, 20) * TICK + 1
        ended = asked + rng.randint(0, 3) * TICK + schedule * 10 + number
        error = rng.choice((None, None, "timeout", "other"))
        found.append(Acquisition(worker, asked, ended, None, error, schedule=schedule))
    return found
