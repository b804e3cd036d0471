"""Interleaved pairs: two processes take turns, A B B A, so that a drifting machine slows both alike.

After criterion and pyperf: only ratios of neighbours are compared, never two runs at different times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.scenario import Program, Stage


@dataclass(frozen=True, slots=True)
class Paired:
    """Samples of both arms, pair by pair, in the unit the program measures."""

    a: tuple[float, ...]
    b: tuple[float, ...]


def interleave(
    stage: Stage, a: str, b: str, program: Program, *, pairs: int, within: float, **arguments: Any
) -> Paired:
    """Run a timed program alternately in processes `a` and `b`, in ABBA order; it returns one sample a turn.

    Raises `RunAbandoned` where a turn did not come back.
    """
    samples: dict[str, list[float]] = {a: [], b: []}
    for pair in range(pairs):
        for name in (a, b) if pair % 2 == 0 else (b, a):
            samples[name].append(float(stage.insist(name, program, within=within, **arguments)))
    return Paired(tuple(samples[a]), tuple(samples[b]))
