"""BASE, HEAD and a control (BASE once more) timed in turns: fresh processes on copies of one prepared database.

Every pair is a block of each arm; pairs go through all six orders of the three, each followed by its mirror image, so that a drifting
machine favours none (ABBA, as in criterion's and pyperf's comparisons). Only neighbours are ever compared.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from harness.errors import RunAbandoned, SystemUnusable
from harness.measurement import Block, Quiet
from harness.processes import CONTEXT, Birth, Crew, Source
from harness.protocols import Server
from harness.scenario import Program

ARMS: Final = ("base", "head", "control")
# Each order is followed by its mirror image; six pairs hold each order once.
ORDERS: Final = (
    ("base", "head", "control"),
    ("control", "head", "base"),
    ("head", "control", "base"),
    ("base", "control", "head"),
    ("control", "base", "head"),
    ("head", "base", "control"),
)
SETUP_SECONDS: Final = 60.0
TURN_SECONDS: Final = 120.0
CALIBRATION_SHARE: Final = 0.25  # of a block: so long a try tells the time of one operation well enough
GROWTH: Final = 4
MORE_TRIES: Final = 3
MOST_OPERATIONS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What is timed. `block(client, operations, batch)` gives a `Block` as plain values; `prepare(client)` fills the queue before.

    `block_seconds` is what a block of the geometric mean of both systems takes; its number of operations is the same for all arms.
    """

    base: Source
    head: Source
    prepare: Program
    block: Program
    batch: int
    pairs: int
    seed: int
    block_seconds: float
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Timed:
    """The blocks of each arm in order, pair by pair, and how quiet the machine was meanwhile."""

    blocks: Mapping[str, tuple[Block, ...]]
    quiet: Quiet

    def seconds(self, arm: str) -> list[float]:
        """The times of an arm's blocks, without those they waited for a core."""
        return [block.own_seconds for block in self.blocks[arm]]


def order_of(pair: int, seed: int) -> tuple[str, str, str]:
    """The order in which the arms take their turns in a pair; the seed says where it all begins."""
    start = seed % len(ORDERS)
    step = 1 if start % 2 == 0 else -1  # whichever way, its mirror image comes next
    return ORDERS[(start + step * pair) % len(ORDERS)]


def take_turns(plan: Plan, server: Server, folder: Path, watch: Callable[[str], None] = lambda _line: None) -> Timed:
    """Time a plan. On leaving, every process is gone and every database removed.

    Raises `SystemUnusable` where a system cannot be built, `RunAbandoned` where a turn did not come back.
    """
    with ExitStack() as databases, Crew(folder, watch) as crew:  # processes end before their databases
        urls = _clones(plan, server, crew, databases)
        for arm in ARMS:
            _start(plan, crew, arm, plan.head if arm == "head" else plan.base, urls[arm])
        each = {arm: _calibrate(plan, crew, arm) for arm in ("base", "head")}
        operations = max(1, round(plan.block_seconds / math.sqrt(each["base"] * each["head"])))
        watch(f"{plan.pairs} pairs of blocks of {operations:,}: about {operations * each['base']:.2g} s each of BASE")
        for arm in ARMS:  # the first of each warms up and is discarded
            _turn(plan, crew, arm, operations)
        blocks: dict[str, list[Block]] = {arm: [] for arm in ARMS}
        before = _processor_ticks()
        for pair in range(plan.pairs):
            for arm in order_of(pair, plan.seed):
                blocks[arm].append(_turn(plan, crew, arm, operations))
        stolen = _stolen_share(before, _processor_ticks())
        crew.end(ARMS)
        return Timed(
            {arm: tuple(taken) for arm, taken in blocks.items()},
            _quiet(blocks, stolen, server.flush_seconds(), inside=urls["base"].startswith("sqlite:")),
        )


def _clones(plan: Plan, server: Server, crew: Crew, stack: ExitStack) -> dict[str, str]:
    """Prepare one database for each different system, and copy it for each arm that runs it."""
    prepared: dict[Source, str] = {}
    for source in (plan.base, plan.head):
        if source not in prepared:
            name = f"prepare-{len(prepared)}"
            prepared[source] = stack.enter_context(server.fresh())
            _start(plan, crew, name, source, prepared[source])
            _insist(crew, name, plan.prepare, SETUP_SECONDS)
            crew.end([name])
            server.analyze(prepared[source])
    sources = {"base": plan.base, "head": plan.head, "control": plan.base}
    return {arm: stack.enter_context(server.clone(prepared[source])) for arm, source in sources.items()}


def _start(plan: Plan, crew: Crew, name: str, source: Source, url: str) -> None:
    tally = CONTEXT.RawArray("q", 1)
    crew.start(Birth(name, "worker", source, url, plan.options, crew.folder, None, plan.seed, tally, 0))


def _insist(crew: Crew, name: str, program: Program, within: float, **arguments: Any) -> Any:
    (answer,) = crew.tell([name], program, within=within, **arguments)
    if answer.unusable:
        raise SystemUnusable(answer.problem)
    if answer.problem:
        raise RunAbandoned(f"Nothing can be said of the times: {answer.problem}")
    return answer.value


def _turn(plan: Plan, crew: Crew, arm: str, operations: int) -> Block:
    return Block(**_insist(crew, arm, plan.block, TURN_SECONDS, operations=operations, batch=plan.batch))


def _calibrate(plan: Plan, crew: Crew, arm: str) -> float:
    """The seconds of one operation of an arm: the least of some tries that are long enough, as a busy machine only adds."""
    operations = 1
    while (seconds := _turn(plan, crew, arm, operations).own_seconds) < CALIBRATION_SHARE * plan.block_seconds:
        if operations >= MOST_OPERATIONS:
            break
        operations *= GROWTH
    tries = [seconds, *(_turn(plan, crew, arm, operations).own_seconds for _ in range(MORE_TRIES))]
    return min(tries) / operations


def _quiet(blocks: Mapping[str, list[Block]], stolen: float | None, flush_seconds: float, *, inside: bool) -> Quiet:
    """What the blocks tell of the machine. `inside`: the database works in the timed process, so what it waits for is the disk."""
    every = [block for taken in blocks.values() for block in taken]
    total = sum(block.seconds for block in every)
    base = blocks["base"]
    seconds = sum(block.own_seconds for block in base)
    flushing = min(1.0, flush_seconds * sum(block.operations for block in base) / seconds)
    if inside:  # a system may have asked for less durability than a new connection has: then it does not wait
        waited = sum(b.seconds - b.working_seconds - b.queued_seconds for b in base)
        flushing = min(flushing, max(0.0, waited / seconds))
    return Quiet(
        load=os.getloadavg()[0],
        cores=os.cpu_count() or 1,
        stolen=stolen,
        queued=sum(block.queued_seconds for block in every) / total,
        flushing=flushing,
    )


def _processor_ticks() -> tuple[int, int] | None:
    """Ticks of all processors so far, stolen by the host and altogether (Linux, proc_stat(5)); None elsewhere."""
    try:
        ticks = [int(word) for word in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    return ticks[7], sum(ticks)


def _stolen_share(before: tuple[int, int] | None, after: tuple[int, int] | None) -> float | None:
    if before is None or after is None or after[1] == before[1]:
        return None
    return (after[0] - before[0]) / (after[1] - before[1])
