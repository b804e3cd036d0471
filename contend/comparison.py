"""`contend compare`: one system timed beside another, and the document a gate reads."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Final

from contend.campaign import MISSING, OPTIONS, SERVICES, label_of, machine
from harness import databases
from harness.errors import RunAbandoned, UnknownName, UsageError
from harness.measurement import (
    GATE_LIMIT,
    Change,
    Ratio,
    doubts_about_change,
    judge_change,
    paired_ratio,
)
from harness.protocols import Server
from harness.run import Subject
from harness.runners.compare import Plan, Timed, take_turns
from harness.scratch import scratch
from scenarios import blocks, systems

PAIRS: Final = 18  # each of the six orders three times
BLOCK_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be compared: names of systems, a database, an operation; a `seed` of None is chosen and recorded."""

    base: str
    head: str
    database: str = "sqlite"
    operation: str = "claim"
    batch: int = 10
    pairs: int = PAIRS
    seed: int | None = None
    block_seconds: float = BLOCK_SECONDS


def compare(wanted: Wanted, watch: Callable[[str], None] = lambda _line: None) -> dict[str, Any]:
    """Time HEAD beside BASE and give the document. Where HEAD is slower by more than a gate allows, all is done once more.

    Raises `UsageError` where it cannot be done as asked, `RunAbandoned` where no times were taken.
    """
    if wanted.operation not in blocks.OPERATIONS:
        raise UnknownName("operation to be timed", wanted.operation, list(blocks.OPERATIONS))
    engine = databases.choose(wanted.database)
    base, head = (subject(name, engine.name, wanted.database) for name in (wanted.base, wanted.head))
    seed = random.SystemRandom().randrange(1_000_000) if wanted.seed is None else wanted.seed
    wanted = replace(wanted, seed=seed)
    try:
        with engine.serve() as server:
            found = measure(wanted, base, head, server, watch)
            if found["low"] > GATE_LIMIT:
                watch(f"{found['words']}: measured once more")
                again = measure(replace(wanted, seed=seed + 1), base, head, server, watch)
                found["repeated"] = again
                if again["verdict"] != found["verdict"]:
                    found["doubts"].append(f"Measured once more it was otherwise: {again['words']}.")
    except KeyboardInterrupt:
        raise RunAbandoned(
            "Interrupted before all blocks were timed, so nothing can be said and nothing is kept."
        ) from None
    return {"schema": 1, "comparisons": [found], "machine": machine()}


def subject(name: str, database: str, spec: str) -> Subject:
    """Find a system to be timed on an engine, named by `spec`. Raises `UsageError` where it does not run there or lacks what it needs."""
    found = systems.find(name, [spec])
    if database not in found:
        raise UsageError(f"{name} does not run on {database}, but on {', '.join(found)}. Choose with --database.")
    for service in found[database].promise.services:
        if reason := MISSING[service]():
            raise UsageError(f"{name} cannot be timed here: {reason}")
    return found[database]


def measure(
    wanted: Wanted, base: Subject, head: Subject, server: Server, watch: Callable[[str], None] = lambda _line: None
) -> dict[str, Any]:
    """Time HEAD beside BASE once, on a server at hand, and give the comparison as it stands in the document."""
    seed = wanted.seed or 0
    with ExitStack() as stack:
        folder = stack.enter_context(scratch("compare"))
        needed = dict.fromkeys((*base.promise.services, *head.promise.services))
        services = {f"{name}_url": stack.enter_context(SERVICES[name]()) for name in needed}
        plan = Plan(
            base=base.source,
            head=head.source,
            prepare=blocks.prepare,
            block=blocks.OPERATIONS[wanted.operation],
            batch=wanted.batch,
            pairs=wanted.pairs,
            seed=seed,
            block_seconds=wanted.block_seconds,
            options={**OPTIONS.get(wanted.database, {}), **services},
        )
        timed = take_turns(plan, server, folder, watch)
    change = judge_change(*(timed.seconds(arm) for arm in ("base", "head", "control")), seed=seed)
    return _document(wanted, timed, change, server.conditions())


def _document(wanted: Wanted, timed: Timed, change: Change, conditions: Mapping[str, str]) -> dict[str, Any]:
    what = f"{wanted.operation}-batch" if wanted.batch > 1 else wanted.operation
    database = label_of(wanted.database)
    operations = timed.blocks["base"][0].operations
    return {
        "name": f"{what} {wanted.head} {database}",
        "verdict": change.verdict,
        **_ratio(change.ratio),
        "words": change.words,
        "control": _ratio(change.control),
        "pairs": change.ratio.pairs,
        "doubts": doubts_about_change(change, timed.seconds("base"), timed.quiet),
        "repeated": None,
        "base": wanted.base,
        "head": wanted.head,
        "operation": wanted.operation,
        "batch": wanted.batch,
        "database": database,
        "seed": wanted.seed,
        "missed_under": round(change.missed_under, 4),
        "p99": _p99(timed, wanted),
        "operations_in_a_block": operations,
        "median_ms": {arm: round(statistics.median(timed.seconds(arm)) / operations * 1000, 5) for arm in timed.blocks},
        "block_seconds": {arm: [round(s, 6) for s in timed.seconds(arm)] for arm in timed.blocks},
        "load": round(timed.quiet.load, 2),
        "conditions": dict(conditions),
    }


def _p99(timed: Timed, wanted: Wanted) -> dict[str, float] | None:
    """HEAD's 99th percentile over BASE's, pair by pair; None where the blocks were too small to have one."""
    base, head = ([block.p99_ms for block in timed.blocks[arm] if block.p99_ms is not None] for arm in ("base", "head"))
    if len(base) != wanted.pairs or len(head) != wanted.pairs:
        return None
    return _ratio(paired_ratio(head, base, seed=wanted.seed or 0))


def _ratio(ratio: Ratio) -> dict[str, float]:
    return {"ratio": round(ratio.median, 4), "low": round(ratio.low, 4), "high": round(ratio.high, 4)}
