"""Whether a claim costs the same however many jobs wait: a system timed beside itself, few waiting and many, in interleaved pairs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from harness.measurement import paired_ratio
from harness.runners.pairs import interleave
from harness.scenario import Client, Profile, Stage
from scenarios.claiming import SETUP_SECONDS, enqueue, install

FEW: Final = 1_000
MANY: Final = 100_000
BATCH: Final = 10
CLAIMS: Final = 5  # in a turn
PAIRS: Final[Mapping[Profile, int]] = {"quick": 8, "full": 16}
CHUNK: Final = 10_000  # jobs enqueued in one call
FILL_SECONDS: Final = 15.0  # a system that cannot enqueue MANY in this time is not measured, and the result says so
TURN_SECONDS: Final = 30.0


def fill(client: Client, jobs: int, seconds: float) -> int:
    """Enqueue jobs in chunks for as long as `seconds` last; give how many there are."""
    install(client)
    started, filled = time.monotonic(), 0
    while filled < jobs:
        size = min(CHUNK, jobs - filled) if filled else min(CHUNK // 10, jobs)
        enqueue(client, size)
        filled += size
        if (time.monotonic() - started) / filled * jobs > seconds:
            break
    return filled


def timed_claims(client: Client, claims: int, batch: int) -> float:
    """Claim that often and give the milliseconds it took; the queue holds more than is claimed."""
    started = time.perf_counter_ns()
    for _ in range(claims):
        reply = client.claim(batch)
        if not reply.handles:
            raise RuntimeError(f"claimed nothing though jobs were waiting: {reply.problem or 'nothing left'}")
    return (time.perf_counter_ns() - started) / 1e6


def compare_depths(stage: Stage) -> None:
    """Time the system's claims beside few and beside many waiting jobs; keeps the series `flatness`.

    Its ratio is the time beside few over that beside many: 1 is flat, 0.1 says that claims take ten times as long.
    """
    pairs = PAIRS[stage.profile]
    claimed = BATCH * CLAIMS * (pairs + 1)
    row: dict[str, Any] = {"few": FEW, "many": MANY, "batch": BATCH, "claims": CLAIMS}
    with stage.timing(0.0) as timing:
        timing.start({"few": "worker", "many": "worker"}, apart=True)
        for name, waiting in (("few", FEW), ("many", MANY)):
            jobs = waiting + claimed
            filled = timing.insist(name, fill, within=SETUP_SECONDS, phase="setup", jobs=jobs, seconds=FILL_SECONDS)
            if filled < jobs:
                stage.save(
                    "flatness", [{**row, "left_out": f"enqueueing {jobs:,} jobs would take over {FILL_SECONDS:g} s"}]
                )
                return
        work = {"claims": CLAIMS, "batch": BATCH}
        for count in (1, pairs):  # the first to warm up
            paired = interleave(timing, "few", "many", timed_claims, pairs=count, within=TURN_SECONDS, **work)
        timing.end(["few", "many"])
    ratio = paired_ratio(paired.a, paired.b, seed=stage.load.seed)
    told = {"median": ratio.median, "low": ratio.low, "high": ratio.high, "pairs": ratio.pairs}
    stage.save("flatness", [{**row, "few_ms": list(paired.a), "many_ms": list(paired.b), "ratio": told}])
    stage.say(f"claims take {1 / ratio.median:.1f} times as long beside {MANY:,} waiting jobs as beside {FEW:,}")
