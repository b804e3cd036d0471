"""What is explored: the fewest operations that can go wrong together, in every order their statements can have."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from harness.errors import RunAbandoned
from harness.protocols import JobId
from harness.scenario import Client, Load, Part, Scenario, Stage
from scenarios.atomic_submit import ATOMIC_SUBMIT, submit
from scenarios.claim_race import CLAIM_RACE
from scenarios.claiming import SETUP_SECONDS, claim_few, enqueue, install
from scenarios.cleanup_churn import CLEANUP_CHURN

# `budget` is in seconds, for one system; `reduced` leaves out schedules that would show nothing new; a worker that was let on stops
# again within `step_seconds`; with `crash`, something befalls one worker in each schedule, at every boundary of its statements in turn.
OPTIONS: Final[Mapping[str, Any]] = {"budget": 10.0, "reduced": True, "step_seconds": 10.0, "crash": False}
LONGEST_WAIT_SECONDS: Final = 2.0  # for a lease, after each schedule, where its clock cannot be moved
LONGEST_TRIAL_SECONDS: Final = 60.0  # for a lease, once, to see whether it is ever over
BEYOND_SECONDS: Final = 1.0  # a lease's end
WAITED: Final = 1.1  # leases
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


@dataclass(frozen=True, slots=True)
class Wait:
    """For how long every lease has run out, and whether the run's clock can be moved so far or must be waited for."""

    seconds: float
    moved: bool


def recover(client: Client, wait: Wait | None) -> None:
    """Let every lease run out, and have what they held recovered."""
    if wait is not None:
        client.let_pass(wait.seconds, moved=wait.moved)
    if client.offers("recover"):
        client.recover()


def recover_then_drain(client: Client, batch: int, jobs: int, wait: Wait | None) -> None:
    """Recover what was in the hands of those who died, then drain."""
    recover(client, wait)
    drain(client, batch, jobs)


def recover_then_look(client: Client, wait: Wait | None) -> None:
    """Recover what was in the hands of those who died, then read what is left."""
    recover(client, wait)
    look_at_all(client)


def hold(client: Client, batch: int) -> None:
    """Claim; show a sign of life, where that can be; complete."""
    reply = client.claim(batch)
    if not reply.handles:
        return
    if client.offers("heartbeat"):
        client.heartbeat(reply.handles)
    client.complete(reply.handles)


def rescue(client: Client, batch: int, wait: Wait | None) -> None:
    """Once every lease so far has run out: recover, claim, complete."""
    recover(client, wait)
    reply = client.claim(batch)
    if reply.handles:
        client.complete(reply.handles)


def over(client: Client, lease_seconds: float, wait: Wait) -> bool:
    """Whether a job that was claimed is given to another once so much time has passed, and for no other reason: tried unrecorded."""
    system = client.unrecorded()
    system.enqueue([{"payload": "lease", "priority": 0, "tag": None, "run": None}])
    began, held = time.monotonic(), system.claim("setup", 1)
    with client.ahead(wait.seconds) if wait.moved else nullcontext():
        client.pause(0 if wait.moved else wait.seconds)
        if client.offers("recover"):
            system.recover()
        again = system.claim("setup", 1)
    system.complete("setup", again or held)
    return bool(again) and not (wait.moved and time.monotonic() - began >= lease_seconds)


def look_at_all(client: Client) -> None:
    """Read what is left, where it can be read."""
    if client.offers("status_all"):
        client.status_all()


def fill(stage: Stage, setup: str) -> None:
    """Fill the queue, with what the planner knows of it from when it held one job: see `claiming.prepare`."""
    stage.insist(setup, enqueue, within=SETUP_SECONDS, phase="setup", jobs=1)
    stage.analyze()
    stage.insist(setup, claim_few, within=SETUP_SECONDS, phase="setup", batch=1)
    stage.insist(setup, enqueue, within=SETUP_SECONDS, phase="setup", jobs=stage.load.jobs)


def claims(stage: Stage, setup: str, wait: Wait | None) -> Sequence[Part]:  # noqa: ARG001  # as every preparation
    """Workers claim once each, from one queue."""
    fill(stage, setup)
    return [
        Part(f"w{number}", claim_then_complete, {"batch": stage.load.batch}) for number in range(stage.load.workers)
    ]


def rescues(stage: Stage, setup: str, wait: Wait | None) -> Sequence[Part]:
    """Workers claim and complete, and the last recovers what they hold, as if they had been away for longer than a lease."""
    fill(stage, setup)
    batch, last = stage.load.batch, stage.load.workers - 1
    holders = [Part(f"w{number}", hold, {"batch": batch}) for number in range(last)]
    return [*holders, Part(f"w{last}", rescue, {"batch": batch, "wait": wait})]


def clean_up(stage: Stage, setup: str, wait: Wait | None) -> Sequence[Part]:  # noqa: ARG001  # as every preparation
    """One worker cleans up by tag while the others claim."""
    fill(stage, setup)
    others = range(1, stage.load.workers)
    return [Part("w0", clean), *(Part(f"w{each}", claim_then_look, {"batch": stage.load.batch}) for each in others)]


def submits(stage: Stage, setup: str, wait: Wait | None) -> Sequence[Part]:  # noqa: ARG001  # as every preparation
    """One worker submits a run while the others look for it."""
    known = stage.insist(setup, submit, within=SETUP_SECONDS, phase="setup", size=stage.load.batch)
    others = range(1, stage.load.workers)
    return [
        Part("w0", submit, {"size": stage.load.batch}),
        *(Part(f"w{each}", look, {"after": known}) for each in others),
    ]


Preparation = Callable[[Stage, str, Wait | None], Sequence[Part]]


def explore(stage: Stage, prepare: Preparation, *, drained: bool, leased: bool = False) -> None:
    """Have the parts that `prepare` gives carried out in every order; after each, the queue is recovered, and drained or looked at."""
    jobs, batch = stage.load.jobs, stage.load.batch
    timed = leased or stage.load.options["crash"]

    def parts(stage: Stage, setup: str) -> Sequence[Part]:
        stage.insist(setup, install, within=SETUP_SECONDS, phase="setup")
        wait = lease_over(stage, setup) if timed else None
        drain_all = {"batch": max(jobs, batch), "jobs": jobs}
        if not timed:
            quiet = Part("quiet", drain, drain_all) if drained else Part("quiet", look_at_all)
        elif drained:
            quiet = Part("quiet", recover_then_drain, {**drain_all, "wait": wait})
        else:
            quiet = Part("quiet", recover_then_look, {"wait": wait})
        return [*prepare(stage, setup, wait), quiet]

    stage.explore(parts, moves_time=timed)


def lease_over(stage: Stage, setup: str) -> Wait | None:
    """How every lease comes to its end: None where the system has none. Raises `RunAbandoned` where nobody can wait for that."""
    declared = stage.promise.lease_seconds
    if declared is None or stage.promise.semantics == "at-most-once":
        return None
    seconds = stage.load.options.get("lease_seconds", declared)
    moved = Wait(seconds + BEYOND_SECONDS, moved=True)
    ends = partial(stage.insist, setup, over, within=SETUP_SECONDS + seconds, phase="setup", lease_seconds=seconds)
    if ends(wait=moved):
        return moved
    waited = Wait(WAITED * seconds, moved=False)
    if seconds <= LONGEST_TRIAL_SECONDS and not ends(wait=waited):
        return moved  # it is never over: what that means for jobs is for the invariants to say
    if seconds <= LONGEST_WAIT_SECONDS:
        return waited
    raise RunAbandoned(
        f"The system's lease of {seconds:g} s is not over when the clocks of Python and of the database are moved ahead by as much: it "
        "goes by another (CURRENT_TIMESTAMP on Postgres, pg_catalog.now(), a monotonic clock, a server of its own). It would have to "
        f"be waited for after each schedule: give --option lease_seconds=1 (at most {LONGEST_WAIT_SECONDS:g})."
    )


def _exploration(
    raced: Scenario,
    prepare: Preparation,
    *without: str,
    quick: Mapping[str, tuple[str, ...]],
    drained: bool = False,
    leased: bool = False,
    **otherwise: Any,
) -> Scenario:
    """Explore what a scenario is about, judged by its invariants but for those that need more than a few operations."""
    exploration = Scenario(
        name=raced.name,
        claim=raced.claim,
        drive=partial(explore, prepare=prepare, drained=drained, leased=leased),
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
    return replace(exploration, **otherwise)


# A second or two each, in a run of everything.
QUICK_CLAIMS: Final = {
    "sqlite": ("reference:select-then-update", "reference:immediate-batch"),
    "postgres": ("reference:select-then-update", "reference:scalar-subquery", "reference:skip-locked-cte"),
}
EXPLORATIONS: Final[dict[str, Scenario]] = {
    each.name: each
    for each in (
        _exploration(CLAIM_RACE, claims, "every-worker-served", quick=QUICK_CLAIMS, drained=True),
        _exploration(
            CLAIM_RACE,
            rescues,
            "every-worker-served",
            quick={},
            drained=True,
            leased=True,
            name="claim-recovery",
            claim="What a worker held when it died or was away for longer than its lease is done by another, and by no two at once.",
            needs=(*CLAIM_RACE.needs, "recover"),
            control={"sqlite": "defect:unfenced-completion", "postgres": "defect:unfenced-completion"},
        ),
        _exploration(CLEANUP_CHURN, clean_up, "delete-one-transaction", "submit-atomic", quick={}, drained=True),
        _exploration(ATOMIC_SUBMIT, submits, "statement-budget", quick={}),
    )
}
