"""The price of N+1: a system timed beside the N+1 form, in interleaved pairs, over sizes and added network latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.measurement import paired_ratio, quantile
from harness.runners.pairs import interleave
from harness.scenario import Profile, Program, Stage
from scenarios.claiming import SETUP_SECONDS

PAIRS: Final[Mapping[str, int]] = {"quick": 4, "full": 16}
# An N+1 turn longer than this is left out, and the page says so.
LONGEST_TURN_SECONDS: Final[Mapping[str, float]] = {"quick": 0.15, "full": 25.0}
STATEMENT_SECONDS: Final = 0.0004  # what one statement takes here without added latency, to plan with, never to report
ROUND_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is timed: `turn(client, size)` gives the milliseconds of one turn, after `prepare(client, jobs)` once for all turns.

    `what` names a turn of a size, for whoever watches: "a batch of", "deleting".
    """

    baseline: str
    prepare: Program
    turn: Program
    sizes: Sequence[int]
    latencies_ms: Sequence[float]
    what: str


def compare(stage: Stage, wanted: Comparison, profile: Profile) -> None:
    """Time the system beside the baseline for each size and latency; keeps the series `times` and `left_out`."""
    times: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    pairs = PAIRS[profile]
    for latency_ms in wanted.latencies_ms:
        cost = {size: (size + 1) * (latency_ms / 1000 + STATEMENT_SECONDS) for size in wanted.sizes}
        sizes = [size for size in wanted.sizes if cost[size] <= LONGEST_TURN_SECONDS[profile]]
        left_out += [
            {"latency_ms": latency_ms, "batch": size, "reason": f"one N+1 turn would take about {cost[size]:.1f} s"}
            for size in wanted.sizes
            if size not in sizes
        ]
        with stage.timing(latency_ms) as timing:
            timing.start({"baseline": "worker", "system": "worker"}, systems={"baseline": wanted.baseline}, apart=True)
            for name in ("baseline", "system"):
                jobs = sum(sizes) * (pairs + 1) + 1
                timing.insist(name, wanted.prepare, within=SETUP_SECONDS, phase="setup", jobs=jobs)
            for size in sizes:
                for count in (1, pairs):  # the first to warm up
                    paired = interleave(
                        timing, "baseline", "system", wanted.turn, pairs=count, within=ROUND_SECONDS, size=size
                    )
                ratio = paired_ratio(paired.a, paired.b, seed=stage.load.seed)
                times.append(
                    {
                        "latency_ms": latency_ms,
                        "batch": size,
                        "baseline": wanted.baseline,
                        "baseline_ms": list(paired.a),
                        "system_ms": list(paired.b),
                        "ratio": {"median": ratio.median, "low": ratio.low, "high": ratio.high, "pairs": ratio.pairs},
                    }
                )
            timing.end(["baseline", "system"])
        if times:
            last = times[-1]
            stage.say(
                f"{latency_ms:g} ms added: {wanted.what} {last['batch']} took {quantile(paired.a, 0.5):.1f} ms as N+1, "
                f"{quantile(paired.b, 0.5):.1f} ms here"
            )
    stage.save("times", times)
    stage.save("left_out", left_out)
