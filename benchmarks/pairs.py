"""Two arms timed in interleaved pairs, ABBA, and the ratio of their times with its interval."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from harness.measurement import paired_ratio, quantile


def seconds(act: Callable[[], object]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def compare(slow: Callable[[], float], quick: Callable[[], float], pairs: int) -> dict[str, Any]:
    """Times of both arms and slow/quick. Each arm gives the seconds of one turn; the first turn of each warms up."""
    slow(), quick()
    a: list[float] = []
    b: list[float] = []
    for pair in range(pairs):
        for arm in (0, 1) if pair % 2 == 0 else (1, 0):
            (b if arm else a).append(quick() if arm else slow())
    ratio = paired_ratio(a, b, seed=1)
    return {
        "loop_ms": round(1000 * quantile(a, 0.5), 3),
        "here_ms": round(1000 * quantile(b, 0.5), 3),
        "times_quicker": round(ratio.median, 2),
        "low": round(ratio.low, 2),
        "high": round(ratio.high, 2),
        "pairs": ratio.pairs,
    }
