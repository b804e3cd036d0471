"""Histories written as Python lists: saved as the NDJSON a run leaves, merged for real, judged for real."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.invariants import judging
from harness.merging import merge
from harness.verdict import Judgement

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
}


@dataclass(frozen=True)
class Op:
    """An operation of a literal history; `done` None means that the process never came back."""

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

    @property
    def answers(self) -> bool:
        """Whether the jobs are the answer (claim, enqueue) or what was asked with (all others)."""
        return self.kind in ("claim", "enqueue")


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
    if not op.answers:
        invoke |= given
    if op.done is None:
        return [invoke]
    done: dict[str, Any] = {"e": op.outcome, "op": number, "t": op.done, "schedule": op.schedule}
    if op.answers and op.outcome == "ok":
        done |= given | {"attempts": op.attempts}
    if op.accepted is not None and op.outcome == "ok":
        done["accepted"] = op.accepted
    if op.error:
        done["error"] = {"kind": op.error, "class": "Error", "code": None, "message": "literal"}
    return [invoke, done]


def _statement(statement: Statement) -> dict[str, Any]:
    line: dict[str, Any] = {"process": statement.process, "connection": statement.connection, "kind": statement.kind}
    line |= {"t0": statement.start, "t1": statement.done, "shape": "…", "trips": 0, "commits": statement.commits}
    line |= {"schedule": statement.schedule}
    return line | ({"error": {"kind": statement.error, "code": None}} if statement.error else {})


def write_lines(path: Path, lines: Iterable[object]) -> None:
    """Write one JSON document a line."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def judge(folder: Path, name: str, history: History, **context: object) -> Judgement:
    """Judge one literal history by one invariant."""
    (judgement,) = judging.judge(history.save(folder / "literal"), [name], CONTEXT | context)
    return judgement
