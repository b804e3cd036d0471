"""claim-batch: the price of N+1. What does claiming B jobs cost, as B grows: statements, transactions, round trips, time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from harness.scenario import Client, Load, Scenario, Stage
from scenarios.claiming import SETUP_SECONDS, enqueue, install
from scenarios.flatness import compare_depths
from scenarios.price import ROUND_SECONDS, Comparison, compare

SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
TIMED: Final[Mapping[str, tuple[int, ...]]] = {"quick": (1, 5, 20, 100, 200, 1000), "full": SIZES}
LATENCIES_MS = {"sqlite": (0.0,), "postgres": (0.0, 1.0, 5.0, 20.0)}
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


def check_options(load: Load) -> str | None:
    """The option `flatness` asks for the timing beside many waiting jobs, or against it."""
    asked = load.options.get("flatness", True)
    return None if isinstance(asked, bool) else f"flatness is {asked!r}; expected true or false."


def drive(stage: Stage) -> None:
    """Count in one pass; time in another, untraced, as tracing costs a tenth.

    Beside many waiting jobs it is timed on SQLite and in the full profile: filling a Postgres queue takes too long for the quick one.
    """
    count(stage)
    if stage.load.timed:
        compare(
            stage,
            Comparison(BASELINE, stock, timed_claim, TIMED[stage.profile], LATENCIES_MS[stage.database], "a batch of"),
            stage.profile,
        )
        if stage.load.options.get("flatness", stage.database == "sqlite" or stage.profile == "full"):
            compare_depths(stage)


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
    check=check_options,
    timed={"sqlite": ("reference:immediate-batch",), "postgres": ("reference:skip-locked-cte",)},
)
