"""`contend compare` judged by itself: a system beside itself, and beside one that is 30 % slower, a hundred times each.

At most 5 of the first may be called different, at least 95 of the second must be called slower. Blocks are as short as they may be,
which makes it harder; all of it takes half an hour.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from contend.comparison import Wanted, subject
from contend.comparison import measure as take
from harness.databases import choose

TRIALS = 100
BLOCK_SECONDS = 0.1
BASE = "reference:immediate-batch"
SLOWED = f"{Path(__file__).with_name('slowed.py')}:Slowed"


def measure(trials: int = TRIALS) -> dict[str, Any]:
    """Give how often each verdict was given, and the loads meanwhile."""
    verdicts: dict[str, Counter[str]] = {"itself": Counter(), "slowed": Counter()}
    ratios: dict[str, list[float]] = {"itself": [], "slowed": []}
    loads = []
    with choose("sqlite").serve() as server:
        base = subject(BASE, "sqlite", "sqlite")
        heads = {"itself": base, "slowed": subject(SLOWED, "sqlite", "sqlite")}
        for trial in range(trials):
            for arm, head in heads.items():
                wanted = Wanted(BASE, head.name, seed=trial, block_seconds=BLOCK_SECONDS)
                found = take(wanted, base, head, server)
                verdicts[arm][found["verdict"]] += 1
                ratios[arm].append(found["ratio"])
            loads.append(os.getloadavg()[0])
            told = {arm: dict(counted) for arm, counted in verdicts.items()}
            print(f"{trial + 1}/{trials} {told} load {loads[-1]:.1f}", file=sys.stderr, flush=True)  # noqa: T201  # a command line
    return {
        "trials": trials,
        "block_seconds": BLOCK_SECONDS,
        **{arm: dict(counted) for arm, counted in verdicts.items()},
        "called_different_of_itself": verdicts["itself"]["slower"] + verdicts["itself"]["faster"],
        "found_of_slowed": verdicts["slowed"]["slower"],
        "ratio": {arm: {"median": statistics.median(r), "least": min(r), "most": max(r)} for arm, r in ratios.items()},
        "load": {"median": statistics.median(loads), "most": max(loads)},
    }
