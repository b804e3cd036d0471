"""claim-batch: the price of N+1. What does claiming B jobs cost, as B grows: statements, transactions, round trips, time."""

from __future__ import annotations

import time

from harness.measurement import paired_ratio, quantile
from harness.runners.pairs import interleave
from harness.scenario import Client, Load, Scenario, Stage
from scenarios.claiming import SETUP_SECONDS, enqueue, install

SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
LATENCIES_MS = {"sqlite": (0.0,), "postgres": (0.0, 1.0, 5.0, 20.0)}
PAIRS = {"quick": 4, "full": 16}
LONGEST_TURN_SECONDS = {"quick": 0.15, "full": 25.0}  # an N+1 claim longer than this is left out, and the page says so
STATEMENT_SECONDS = 0.0004  # what one statement takes here without added latency, to plan with, never to report
ROUND_SECONDS = 120.0
BASELINE = "reference:select-then-update"
WORKER = "w0"


def claim_round(client: Client, size: int) -> None:
    """Claim `size` jobs in as many claims as it takes, as one round; then complete them outside of it."""
    enqueue(client, size)
    with client.round(size) as obtained:
        while len(obtained) < size:
            reply = client.claim(size - len(obtained))
            if not reply.handles:
                break
            obtained.extend(reply.handles)
    if obtained:
        client.complete(obtained)


def timed_claim(client: Client, size: int) -> float:
    """Claim `size` jobs and give the milliseconds it took; the queue already holds them."""
    obtained = 0
    started = time.perf_counter_ns()
    while obtained < size:
        reply = client.claim(size - obtained)
        if not reply.handles:
            raise RuntimeError(f"claimed {obtained} of {size} jobs, then: {reply.problem or 'nothing left'}")
        obtained += len(reply.handles)
    return (time.perf_counter_ns() - started) / 1e6


def stock(client: Client, jobs: int) -> None:
    """Fill the queue with what all turns together will claim."""
    install(client)
    enqueue(client, jobs)


def count(stage: Stage) -> None:
    """One worker claims each size once; the witness counts what it took."""
    stage.start({WORKER: "worker"})
    stage.insist(WORKER, install, within=SETUP_SECONDS, phase="setup")
    for size in SIZES:
        stage.insist(WORKER, claim_round, within=ROUND_SECONDS, size=size)
    stage.end([WORKER])


def compare(stage: Stage, database: str, profile: str) -> None:
    """Time the system beside the N+1 form, in interleaved pairs, for each size and each added latency."""
    times = []
    left_out = []
    pairs = PAIRS[profile]
    for latency_ms in LATENCIES_MS[database]:
        cost = {size: (size + 1) * (latency_ms / 1000 + STATEMENT_SECONDS) for size in SIZES}
        sizes = [size for size in SIZES if cost[size] <= LONGEST_TURN_SECONDS[profile]]
        left_out += [
            {"latency_ms": latency_ms, "batch": size, "reason": f"one N+1 claim would take about {cost[size]:.1f} s"}
            for size in SIZES
            if size not in sizes
        ]
        with stage.timing(latency_ms) as timing:
            timing.start({"baseline": "worker", "system": "worker"}, systems={"baseline": BASELINE}, apart=True)
            for name in ("baseline", "system"):
                timing.insist(name, stock, within=SETUP_SECONDS, phase="setup", jobs=sum(sizes) * (pairs + 1) + 1)
            for size in sizes:
                interleave(
                    timing, "baseline", "system", timed_claim, pairs=1, within=ROUND_SECONDS, size=size
                )  # warm-up
                paired = interleave(
                    timing, "baseline", "system", timed_claim, pairs=pairs, within=ROUND_SECONDS, size=size
                )
                ratio = paired_ratio(paired.a, paired.b, seed=stage.load.seed)
                times.append(
                    {
                        "latency_ms": latency_ms,
                        "batch": size,
                        "baseline": BASELINE,
                        "baseline_ms": list(paired.a),
                        "system_ms": list(paired.b),
                        "ratio": {"median": ratio.median, "low": ratio.low, "high": ratio.high, "pairs": ratio.pairs},
                    }
                )
            timing.end(["baseline", "system"])
        if times:
            last = times[-1]
            stage.say(
                f"{latency_ms:g} ms added: a batch of {last['batch']} took {quantile(paired.a, 0.5):.1f} ms as N+1, "
                f"{quantile(paired.b, 0.5):.1f} ms here"
            )
    stage.save("times", times)
    stage.save("left_out", left_out)


def drive(stage: Stage) -> None:
    """Count in one pass; time in another, untraced, as tracing costs a tenth."""
    count(stage)
    if stage.load.timed:
        compare(stage, stage.database, stage.profile)


CLAIM_BATCH = Scenario(
    name="claim-batch",
    claim="Claiming a batch costs the same few statements whatever its size.",
    drive=drive,
    invariants=(
        "no-double-claim",
        "no-phantom-claim",
        "batch-limit",
        "no-false-empty",
        "claim-order",
        "no-swallowed-error",
        "statement-budget",
        "witness-agrees",
    ),
    evidence=("processes-ended", "operations-accounted", "rounds-completed", "control-caught"),
    control={"sqlite": BASELINE, "postgres": BASELINE},
    loads={
        "quick": Load(workers=1, jobs=sum(SIZES), batch=max(SIZES)),
        "full": Load(workers=1, jobs=sum(SIZES), batch=max(SIZES)),
    },
    needs=("install", "enqueue", "claim", "complete"),
    timed={"sqlite": ("reference:immediate-batch",), "postgres": ("reference:skip-locked-cte",)},
)
