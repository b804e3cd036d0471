"""What is explored: the fewest operations that can go wrong together, in every order their statements can have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from harness.scenario import Client, Load, Part, Scenario, Stage
from scenarios.claim_race import CLAIM_RACE
from scenarios.claiming import SETUP_SECONDS, claim_few, enqueue, install

# `budget` is in seconds, for one system; `reduced` leaves out schedules that would show nothing new; a worker that was
# let on stops again within `step_seconds`.
OPTIONS: Final[Mapping[str, Any]] = {"budget": 60.0, "reduced": True, "step_seconds": 10.0}


def claim_then_complete(client: Client, batch: int) -> Iterator[None]:
    """Claim once; complete what was claimed when all have claimed."""
    reply = client.claim(batch)
    yield
    if reply.handles:
        client.complete(reply.handles)


def drain(client: Client, batch: int, jobs: int) -> None:
    """Claim and complete until nothing is left, or more was handed out than there can be."""
    for _ in range(2 * jobs + 2):
        reply = client.claim(batch)
        if not reply.handles:
            return
        client.complete(reply.handles)


def prepare(stage: Stage, setup: str) -> None:
    """Install, then fill the queue, with what the planner knows of it from when it held one job: see `claiming.prepare`."""
    stage.insist(setup, install, within=SETUP_SECONDS, phase="setup")
    stage.insist(setup, enqueue, within=SETUP_SECONDS, phase="setup", jobs=1)
    stage.analyze()
    stage.insist(setup, claim_few, within=SETUP_SECONDS, phase="setup", batch=1)
    stage.insist(setup, enqueue, within=SETUP_SECONDS, phase="setup", jobs=stage.load.jobs)


def explore_claims(stage: Stage) -> None:
    """Workers claim once each, from one queue."""
    load = stage.load
    stage.explore(
        prepare,
        [Part(f"w{number}", claim_then_complete, {"batch": load.batch}) for number in range(load.workers)],
        Part("quiet", drain, {"batch": max(load.jobs, load.batch), "jobs": load.jobs}),
    )


CLAIM_EXPLORATION = Scenario(
    name=CLAIM_RACE.name,
    claim=CLAIM_RACE.claim,
    drive=explore_claims,
    invariants=tuple(name for name in CLAIM_RACE.invariants if name not in ("witness-agrees", "every-worker-served")),
    evidence=("processes-ended", "operations-accounted", "control-caught"),
    control=CLAIM_RACE.control,
    loads={
        "quick": Load(workers=2, jobs=4, batch=2, options=OPTIONS),
        "full": Load(workers=3, jobs=6, batch=2, options=OPTIONS),
    },
    needs=CLAIM_RACE.needs,
    mode="explore",
    witnessed=False,
    applies=CLAIM_RACE.applies,
)
EXPLORATIONS: Final[dict[str, Scenario]] = {each.name: each for each in (CLAIM_EXPLORATION,)}
