"""Histories written as Python lists: saved as the NDJSON a run leaves, merged for real, judged for real."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.invariants import judging
from harness.merging import merge
from harness.verdict import Judgement

MS = 1_000_000  # nanoseconds
CONTEXT: dict[str, object] = {
    "scenario": "literal",
    "system": "literal",
    "database": "sqlite",
    "semantics": "exactly-once-claim",
    "ordered": True,
    "lease_ns": None,
    "capabilities": ["install", "enqueue", "claim", "complete", "fail", "heartbeat"],
    "workers": 2,
    "jobs": 2,
    "batch": 1,
    "faults": False,
    "witness": "sqlite-trace",
    "flush_interval_ns": None,
    "most_running": None,
    "max_attempts": None,
}
# Whose jobs are the answer; all others were asked with theirs.
ANSWERED = ("claim", "enqueue", "status_all", "read_run", "add_actions")
# What is asked with no list at all.
UNLISTED = ("clean_by_tag", "wipe_all")
# What of a `value` is known before the answer: all of it, or the one key that says what was asked for.
KNOWN_BEFORE: dict[str, str | None] = {"report_progress": None, "read_run": "run", "delete_many": "kind"}
# What has a `value` even where that is null.
ALWAYS_VALUED = ("read_progress",)


@dataclass(frozen=True)
class Op:
    """An operation of a literal history; `done` None means that the process never came back.

    A process named `w0.0` is a thread of `w0`. `value` and `returned` are recorded where `harness.recorder` records them.
    """

    process: str
    kind: str
    start: int
    done: int | None
    jobs: tuple[Any, ...] = ()
    outcome: str = "ok"
    requested: int | None = None
    tokens: tuple[Any, ...] = ()
    attempts: tuple[int | None, ...] = ()
    priorities: tuple[int | None, ...] = ()
    accepted: tuple[int, ...] | None = None
    error: str | None = None
    phase: str = "main"
    schedule: int = 0
    value: Any = None
    returned: int | None = None
    code: str | None = None

    @property
    def answers(self) -> bool:
        """Whether the jobs are the answer or what was asked with."""
        return self.kind in ANSWERED


@dataclass(frozen=True)
class Statement:
    """A statement of a literal history."""

    process: str
    start: int
    done: int
    kind: str = "write"
    error: str | None = None
    commits: bool = False
    connection: int = 1
    schedule: int = 0


@dataclass(frozen=True)
class Acquisition:
    """A connection asked of a pool: `ended` is when it was got or, with an `error`, refused; `returned` None means never."""

    process: str
    asked: int
    ended: int
    returned: int | None = None
    error: str | None = None
    pool: int = 1
    size: int | None = 2
    schedule: int = 0


@dataclass(frozen=True)
class Process:
    """A process of a literal history; `ended` None means that it never said."""

    name: str
    role: str = "worker"
    started: int = 0
    ended: int | None = None
    how: str = "done"
    schedule: int = 0


@dataclass(frozen=True, repr=False)  # a random one is too long to print; a failing test shows its schedule
class History:
    """All of it; `save` gives a folder that can be judged."""

    ops: Sequence[Op] = ()
    statements: Sequence[Statement] = ()
    processes: Sequence[Process] = field(default=())
    acquisitions: Sequence[Acquisition] = field(default=())

    def save(self, folder: Path) -> Path:
        """Write the files a run would have left, and merge them."""
        (folder / "events").mkdir(parents=True)
        (folder / "witness").mkdir()
        lines: dict[str, list[dict[str, Any]]] = {}
        for process in self.processes:
            alive = {"e": "process", "process": process.name, "role": process.role, "pid": 1, "t": process.started}
            lines.setdefault(process.name, []).append(alive | {"schedule": process.schedule})
        for number, op in enumerate(self.ops, 1):
            lines.setdefault(op.process, []).extend(_events(number, op))
        for process in self.processes:
            if process.ended is not None:
                end = {"e": "end", "t": process.ended, "how": process.how, "schedule": process.schedule}
                lines[process.name].append(end)
        for name, events in lines.items():
            write_lines(folder / "events" / f"{name}.ndjson", events)
        write_lines(folder / "witness" / "all.ndjson", (_statement(statement) for statement in self.statements))
        if self.acquisitions:
            (folder / "pools").mkdir()
            lent = (line for n, each in enumerate(self.acquisitions, 1) for line in _acquisition(n, each))
            write_lines(folder / "pools" / "all.ndjson", lent)
        merge(folder)
        return folder


def _events(number: int, op: Op) -> list[dict[str, Any]]:
    invoke: dict[str, Any] = {"e": "invoke", "op": number, "kind": op.kind, "phase": op.phase, "t": op.start}
    invoke |= {"schedule": op.schedule}
    given: dict[str, Any] = {"jobs": op.jobs, "tokens": op.tokens}
    if op.requested is not None:
        invoke["requested"] = op.requested
    if op.priorities:
        invoke["priorities"] = op.priorities
    if not op.answers and op.kind not in UNLISTED:
        invoke |= given
    if op.process == "nemesis" and op.value is not None:
        invoke["value"] = op.value
    elif op.value is not None and op.kind in KNOWN_BEFORE:
        known = KNOWN_BEFORE[op.kind]
        invoke["value"] = op.value if known is None else {known: op.value[known]}
    if op.done is None:
        return [invoke]
    done: dict[str, Any] = {"e": op.outcome, "op": number, "t": op.done, "schedule": op.schedule}
    if op.answers and op.outcome == "ok":
        done |= given | {"attempts": op.attempts}
    if op.accepted is not None and op.outcome == "ok":
        done["accepted"] = op.accepted
    if op.outcome == "ok" and KNOWN_BEFORE.get(op.kind, "") is not None:
        done |= {"value": op.value} if op.value is not None or op.kind in ALWAYS_VALUED else {}
    if op.returned is not None and op.outcome == "ok":
        done["returned"] = op.returned
    if op.error:
        done["error"] = {"kind": op.error, "class": "Error", "code": op.code, "message": "literal"}
    return [invoke, done]


def _statement(statement: Statement) -> dict[str, Any]:
    line: dict[str, Any] = {"process": statement.process, "connection": statement.connection, "kind": statement.kind}
    line |= {"t0": statement.start, "t1": statement.done, "shape": "…", "trips": 0, "commits": statement.commits}
    line |= {"schedule": statement.schedule}
    return line | ({"error": {"kind": statement.error, "code": None}} if statement.error else {})


def _acquisition(number: int, lent: Acquisition) -> list[dict[str, Any]]:
    """Give the line of its end and, where there was one, that of its return."""
    by = {"process": lent.process, "n": number, "schedule": lent.schedule}
    got = lent.ended if lent.error is None else None
    end = {
        "pool": lent.pool,
        "size": lent.size,
        "asked": lent.asked,
        "got": got,
        "ended": lent.ended,
        "error": lent.error,
    }
    return [by | end] + ([by | {"returned": lent.returned}] if lent.returned is not None else [])


def ops(*operations: Op) -> History:
    """Make a history of operations alone."""
    return History(operations)


def seconds(*operations: Op) -> History:
    """Make a history of operations whose times are given in ms."""
    times = [(op, op.start * MS, None if op.done is None else op.done * MS) for op in operations]
    return History([replace(op, start=start, done=done) for op, start, done in times])


def claim(process: str, start: int, done: int | None, *jobs: object, **more: object) -> Op:
    """Claim one job, or as many as `requested` says."""
    return Op(process, "claim", start, done, jobs=jobs, requested=more.pop("requested", 1), **more)  # type: ignore[arg-type] # a literal's keywords are Op's


def complete(process: str, start: int, done: int | None, *jobs: object, **more: object) -> Op:
    """Complete jobs."""
    return Op(process, "complete", start, done, jobs=jobs, **more)  # type: ignore[arg-type] # as above


def fail(process: str, start: int, done: int | None, *jobs: object, **more: object) -> Op:
    """Give jobs back."""
    return Op(process, "fail", start, done, jobs=jobs, **more)  # type: ignore[arg-type] # as above


def kill(start: int, done: int, process: str) -> Op:
    """Kill a process."""
    return Op("nemesis", "kill", start, done, jobs=(process,))


def fault(name: str, start: int, done: int | None, *workers: str, kind: str = "nothing") -> Op:
    """Do harm to workers, or to everybody's database; with no end it did not take hold, or was not healed."""
    return Op("nemesis", kind, start, done, jobs=workers, requested=len(workers), value={"fault": name})


def report(process: str, start: int, done: int | None, job: object, fraction: float, **more: object) -> Op:
    """Tell that `fraction` of a job is done."""
    return Op(process, "report_progress", start, done, jobs=(job,), value=fraction, **more)  # type: ignore[arg-type] # as above


def read(start: int, done: int, job: object, fraction: float | None, process: str = "screen", **more: object) -> Op:
    """Look at the progress of a job, and see `fraction`."""
    return Op(process, "read_progress", start, done, jobs=(job,), value=fraction, **more)  # type: ignore[arg-type] # as above


def submit(process: str, start: int, done: int | None, run: object, requested: int, **more: object) -> Op:
    """Submit a run of so many jobs."""
    return Op(process, "submit_run", start, done, requested=requested, value={"run": run}, **more)  # type: ignore[arg-type] # as above


def read_run(start: int, done: int, run: object, *jobs: object, missing: bool = False, **more: object) -> Op:
    """Read a run; with `missing` there is none."""
    told = {"run": run, "jobs": None if missing else len(jobs)}
    return Op(str(more.pop("process", "reader")), "read_run", start, done, jobs=jobs, value=told, **more)  # type: ignore[arg-type] # as above


def add_actions(start: int, done: int, job: object, *actions: object, process: str = "w0") -> Op:
    """Add actions to a job."""
    named = tuple({"action": each} for each in actions)
    return Op(process, "add_actions", start, done, named, requested=len(actions), value={"job": job})


def delete(start: int, done: int | None, deleted: int, *ids: object, kind: str = "jobs", **more: object) -> Op:
    """Delete jobs, runs or actions by their ids, of which so many are said to have gone."""
    named = ids if kind == "jobs" else tuple({kind.removesuffix("s"): each} for each in ids)
    told = {"kind": kind, "deleted": deleted}
    process = str(more.pop("process", "cleaner"))
    return Op(process, "delete_many", start, done, named, requested=len(ids), value=told, **more)  # type: ignore[arg-type] # as above


def clean(start: int, done: int | None, deleted: int = 1, **more: object) -> Op:
    """Clean up by tag; `deleted` rows went."""
    process = str(more.pop("process", "cleaner"))
    return Op(process, "clean_by_tag", start, done, value={"jobs": deleted}, returned=deleted, **more)  # type: ignore[arg-type] # as above


def status(start: int, done: int, *jobs: object, runs: Sequence[tuple[object, int, bool]] = (), **more: object) -> Op:
    """Read the status: these jobs were listed, and these runs, with so many jobs each and whether listed themselves."""
    told = {"runs": [{"run": run, "jobs": number, "listed": listed} for run, number, listed in runs]}
    process = str(more.pop("process", "reader"))
    return Op(process, "status_all", start, done, jobs, value=told, **more)  # type: ignore[arg-type] # as above


def write_lines(path: Path, lines: Iterable[object]) -> None:
    """Write one JSON document a line."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def judge(folder: Path, name: str, history: History, **context: object) -> Judgement:
    """Judge one literal history by one invariant."""
    (judgement,) = judging.judge(history.save(folder / "literal"), [name], CONTEXT | context)
    return judgement
