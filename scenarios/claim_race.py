"""claim-race: processes claim from one queue until it is empty; each job must be handed to exactly one of them."""

from __future__ import annotations

from harness.protocols import Promise
from harness.runners.race import race
from harness.scenario import Load, Scenario, Stage
from scenarios.claiming import claim_until_drained, drain, prepare

SECONDS = 20.0


def drive(stage: Stage) -> None:
    """Race all workers, then drain."""
    race(stage, prepare=prepare, worker=claim_until_drained, quiet=drain, seconds=SECONDS)


def applies(promise: Promise) -> str | None:
    """A system that admits only one worker cannot be raced."""
    if promise.max_workers == 1:
        return "it declares max_workers = 1, so no two workers can contend; worker-guard judges that it holds to it"
    return None


CLAIM_RACE = Scenario(
    name="claim-race",
    claim="However many workers claim at once, each job is handed to exactly one of them, and none is lost.",
    drive=drive,
    invariants=(
        "no-double-claim",
        "no-lost-job",
        "no-phantom-claim",
        "batch-limit",
        "no-false-empty",
        "claim-order",
        "terminal-once",
        "attempts-counted",
        "fenced-completion",
        "no-swallowed-error",
        "lock-errors",
        "every-worker-served",
        "witness-agrees",
    ),
    evidence=(
        "processes-ended",
        "operations-accounted",
        "every-worker-took-part",
        "claims-overlapped",
        "control-caught",
    ),
    control={"sqlite": "reference:select-then-update", "postgres": "reference:select-then-update"},
    loads={"quick": Load(workers=6, jobs=500, batch=5), "full": Load(workers=8, jobs=4000, batch=10)},
    needs=("install", "enqueue", "claim", "complete"),
    applies=applies,
    loops=True,
)
