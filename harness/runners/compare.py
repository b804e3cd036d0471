"""BASE, HEAD and a control (BASE once more) timed in turns, in fresh processes on fresh copies of one prepared database.

Every pair is a block of each arm; pairs go through all six orders of the three, each followed by its mirror image, so that a drifting
machine favours none (ABBA, as in criterion's and pyperf's comparisons). Only neighbours are ever compared.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
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
# A pair and its mirror image: where the kernel puts a process, and the memory it gets, stays with it, and would be taken for a difference
# of the systems if all pairs were of the same three processes (Kalibera & Jones, Rigorous Benchmarking in Reasonable Time, 2013).
ROUND_PAIRS: Final = 2
WARM_UP_SHARE: Final = 0.25  # of a block, at the start of a round; discarded
MOST_OPERATIONS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What is timed. `prepare(client)` fills the queue; `block(client, operations, batch, serving)` then gives `Block`s as plain values.

    `serving` are the ids of the processes that work for the timed one, such as its backends in a server.

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

    def system(self, arm: str) -> Source:
        """The system of an arm."""
        return self.head if arm == "head" else self.base


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
    blocks: dict[str, list[Block]] = {arm: [] for arm in ARMS}
    operations = 0
    before = _processor_ticks()
    with ExitStack() as databases:
        prepared = _prepare(plan, server, folder / "prepare", databases)
        for number, first in enumerate(range(0, plan.pairs, ROUND_PAIRS)):
            with (
                ExitStack() as copies,
                Crew(folder / f"round-{number}") as crew,
            ):  # processes end before their copies
                urls = {arm: copies.enter_context(server.clone(prepared[plan.system(arm)])) for arm in ARMS}
                for arm in ARMS:
                    _start(plan, crew, arm, plan.system(arm), urls[arm])
                operations = operations or _calibrate(plan, crew, watch)
                for arm in ARMS:
                    _turn(plan, crew, arm, max(1, round(WARM_UP_SHARE * operations)))
                serving = {arm: server.serving(urls[arm]) for arm in ARMS}
                for pair in range(first, min(first + ROUND_PAIRS, plan.pairs)):
                    for arm in order_of(pair, plan.seed):
                        blocks[arm].append(_turn(plan, crew, arm, operations, serving[arm]))
                crew.end(ARMS)
    quiet = _quiet(blocks, _stolen_share(before, _processor_ticks()), server.flush_seconds())
    return Timed({arm: tuple(taken) for arm, taken in blocks.items()}, quiet)


def _prepare(plan: Plan, server: Server, folder: Path, databases: ExitStack) -> dict[Source, str]:
    """Prepare one database for each different system; nobody is connected to it afterwards."""
    prepared: dict[Source, str] = {}
    with Crew(folder) as crew:
        for source in (plan.base, plan.head):
            if source not in prepared:
                name = f"prepare-{len(prepared)}"
                prepared[source] = databases.enter_context(server.fresh())
                _start(plan, crew, name, source, prepared[source])
                _insist(crew, name, plan.prepare, SETUP_SECONDS)
                crew.end([name])
                server.analyze(prepared[source])
    return prepared


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


def _turn(plan: Plan, crew: Crew, arm: str, operations: int, serving: Sequence[int] = ()) -> Block:
    told = _insist(crew, arm, plan.block, TURN_SECONDS, operations=operations, batch=plan.batch, serving=list(serving))
    return Block(**told)


def _calibrate(plan: Plan, crew: Crew, watch: Callable[[str], None]) -> int:
    """Give the number of operations that makes a block of the length wanted, in the geometric mean of both systems."""
    base, head = (_operation_seconds(plan, crew, arm) for arm in ("base", "head"))
    operations = max(1, round(plan.block_seconds / math.sqrt(base * head)))
    watch(f"{plan.pairs} pairs of blocks of {operations:,}, {operations * base:.2g} s of BASE each")
    return operations


def _operation_seconds(plan: Plan, crew: Crew, arm: str) -> float:
    """The seconds of one operation of an arm: the least of some tries that are long enough, as a busy machine only adds."""
    operations = 1
    while (seconds := _turn(plan, crew, arm, operations).own_seconds) < CALIBRATION_SHARE * plan.block_seconds:
        if operations >= MOST_OPERATIONS:
            break
        operations *= GROWTH
    tries = [seconds, *(_turn(plan, crew, arm, operations).own_seconds for _ in range(MORE_TRIES))]
    return min(tries) / operations


def _quiet(blocks: Mapping[str, list[Block]], stolen: float | None, flush_seconds: float) -> Quiet:
    """What the blocks tell of the machine. A system that asked for less durability than is usual here does not wait for the disk."""
    every = [block for taken in blocks.values() for block in taken]
    base = blocks["base"]
    waited = sum(max(0.0, block.own_seconds - block.working_seconds) for block in base)
    flushed = flush_seconds * sum(block.operations for block in base)
    return Quiet(
        load=os.getloadavg()[0],
        cores=os.cpu_count() or 1,
        stolen=stolen,
        queued=sum(block.queued_seconds for block in every) / sum(block.seconds for block in every),
        flushing=min(waited, flushed) / sum(block.own_seconds for block in base),
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
