"""What is explored: the fewest operations that can go wrong together, in every order their statements can have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from harness.protocols import JobId
from harness.scenario import Client, Load, Part, Scenario, Stage
from scenarios.atomic_submit import ATOMIC_SUBMIT, submit
from scenarios.claim_race import CLAIM_RACE
from scenarios.claiming import SETUP_SECONDS, claim_few, enqueue, install
from scenarios.cleanup_churn import CLEANUP_CHURN

# `budget` is in seconds, for one system; `reduced` leaves out schedules that would show nothing new; a worker that was let on stops
# again within `step_seconds`.
OPTIONS: Final[Mapping[str, Any]] = {"budget": 10.0, "reduced": True, "step_seconds": 10.0}
FULL_SECONDS: Final = 60.0
TAG: Final = "contend"  # of the jobs `enqueue` makes


def claim_then_complete(client: Client, batch: int) -> Iterator[None]:
    """Claim once; complete what was claimed when all have done their part."""
    reply = client.claim(batch)
    yield
    if reply.handles:
        client.complete(reply.handles)


def claim_then_look(client: Client, batch: int) -> Iterator[None]:
    """Claim once; look whether what was claimed is still there when all have done their part, and complete it."""
    reply = client.claim(batch)
    yield
    client.status_all()
    if reply.handles:
        client.complete(reply.handles)


def clean(client: Client) -> None:
    """Delete what is not running."""
    client.clean_by_tag(TAG)


def look(client: Client, after: JobId) -> None:
    """Look at the status of all, then for the run after one that is known, where ids are numbers."""
    if client.offers("status_all"):
        client.status_all()
    if isinstance(after, int):
        client.read_run(after + 1)


def drain(client: Client, batch: int, jobs: int) -> None:
    """Claim and complete until nothing is left, or more was handed out than there can be."""
    for _ in range(2 * jobs + 2):
        reply = client.claim(batch)
        if not reply.handles:
            return
        client.complete(reply.handles)


def look_at_all(client: Client) -> None:
    """Read what is left, where it can be read."""
    if client.offers("status_all"):
        client.status_all()


def fill(stage: Stage, setup: str) -> None:
    """Install, then fill the queue, with what the planner knows of it from when it held one job: see `claiming.prepare`."""
    stage.insist(setup, install, within=SETUP_SECONDS, phase="setup")
    stage.insist(setup, enqueue, within=SETUP_SECONDS, phase="setup", jobs=1)
    stage.analyze()
    stage.insist(setup, claim_few, within=SETUP_SECONDS, phase="setup", batch=1)
    stage.insist(setup, enqueue, within=SETUP_SECONDS, phase="setup", jobs=stage.load.jobs)


def claims(stage: Stage, setup: str) -> Sequence[Part]:
    """Workers claim once each, from one queue."""
    fill(stage, setup)
    return [
        Part(f"w{number}", claim_then_complete, {"batch": stage.load.batch}) for number in range(stage.load.workers)
    ]


def clean_up(stage: Stage, setup: str) -> Sequence[Part]:
    """One worker cleans up by tag while the others claim."""
    fill(stage, setup)
    others = range(1, stage.load.workers)
    return [Part("w0", clean), *(Part(f"w{each}", claim_then_look, {"batch": stage.load.batch}) for each in others)]


def submits(stage: Stage, setup: str) -> Sequence[Part]:
    """One worker submits a run while the others look for it."""
    stage.insist(setup, install, within=SETUP_SECONDS, phase="setup")
    known = stage.insist(setup, submit, within=SETUP_SECONDS, phase="setup", size=stage.load.batch)
    others = range(1, stage.load.workers)
    return [
        Part("w0", submit, {"size": stage.load.batch}),
        *(Part(f"w{each}", look, {"after": known}) for each in others),
    ]


def explore(stage: Stage, prepare: Callable[[Stage, str], Sequence[Part]], *, drained: bool) -> None:
    """Have the parts that `prepare` gives carried out in every order; after each, the queue is drained or looked at."""
    jobs, batch = stage.load.jobs, stage.load.batch
    quiet = Part("quiet", drain, {"batch": max(jobs, batch), "jobs": jobs}) if drained else Part("quiet", look_at_all)
    stage.explore(prepare, quiet)


def _exploration(
    raced: Scenario,
    prepare: Callable[[Stage, str], Sequence[Part]],
    *without: str,
    quick: Mapping[str, tuple[str, ...]],
    drained: bool = False,
) -> Scenario:
    """Explore what a scenario is about, judged by its invariants but for those that need more than a few operations."""
    return Scenario(
        name=raced.name,
        claim=raced.claim,
        drive=partial(explore, prepare=prepare, drained=drained),
        invariants=tuple(name for name in raced.invariants if name not in ("witness-agrees", *without)),
        evidence=("processes-ended", "operations-accounted", "control-caught"),
        control=raced.control,
        loads={
            "quick": Load(workers=2, jobs=4, batch=2, options=OPTIONS),
            "full": Load(workers=2, jobs=4, batch=2, options={**OPTIONS, "budget": FULL_SECONDS}),
        },
        needs=raced.needs,
        databases=raced.databases,
        mode="explore",
        witnessed=False,
        applies=raced.applies,
        quick=quick,
    )


# A second or two each, in a run of everything.
QUICK_CLAIMS: Final = {
    "sqlite": ("reference:select-then-update", "reference:immediate-batch"),
    "postgres": ("reference:select-then-update", "reference:scalar-subquery", "reference:skip-locked-cte"),
}
EXPLORATIONS: Final[dict[str, Scenario]] = {
    each.name: each
    for each in (
        _exploration(CLAIM_RACE, claims, "every-worker-served", quick=QUICK_CLAIMS, drained=True),
        _exploration(CLEANUP_CHURN, clean_up, "delete-one-transaction", "submit-atomic", quick={}, drained=True),
        _exploration(ATOMIC_SUBMIT, submits, "statement-budget", quick={}),
    )
}
