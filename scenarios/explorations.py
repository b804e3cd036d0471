"""What is explored: the fewest operations that can go wrong together, in every order their statements can have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from harness.processes import opens
from harness.protocols import JobId, Promise
from harness.scenario import Cast, Client, Load, Part, Scenario, Stage
from scenarios import programs
from scenarios.atomic_submit import ATOMIC_SUBMIT, submit
from scenarios.claim_race import CLAIM_RACE
from scenarios.claiming import SETUP_SECONDS, claim_few, enqueue, install, must
from scenarios.cleanup_churn import CLEANUP_CHURN
from scenarios.progress_updates import PROGRESS_UPDATES
from scenarios.scanning import enqueue_scans, read_all
from scenarios.worker_guard import WORKER_GUARD

# `budget` is in seconds, for one system; `reduced` leaves out schedules that would show nothing new; a worker that was let on stops
# again within `step_seconds`.
OPTIONS: Final[Mapping[str, Any]] = {"budget": 10.0, "reduced": True, "step_seconds": 10.0}
FULL_SECONDS: Final = 60.0
FEW: Final = Load(workers=2, jobs=4, batch=2)
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


def tell(client: Client) -> Iterator[None]:
    """Claim a job, tell of it, read what a screen shows, and give it back. When all have done their part, write what still waits."""
    handles = client.claim(1).handles
    for handle in handles:
        client.report_progress(handle.job, 0.5)
        flush(client, handle.job)
        client.read_progress(handle.job)
        if client.offers("fail"):
            client.fail([handle])
        else:
            client.complete([handle])
    yield
    for handle in handles:
        client.read_progress(handle.job)
        flush(client, handle.job)
        client.read_progress(handle.job)


def tell_more(client: Client) -> Iterator[None]:
    """Claim a job and tell of it. When all have done their part, tell less, as a result that comes late does, and complete it."""
    handles = client.claim(1).handles
    for handle in handles:
        client.report_progress(handle.job, 0.75)
        flush(client, handle.job)
    yield
    for handle in handles:
        client.read_progress(handle.job)
        client.report_progress(handle.job, 0.25)
        flush(client, handle.job)
        client.read_progress(handle.job)
        client.complete([handle])


def flush(client: Client, job: JobId) -> None:
    """Have what was told of a job written, where that can be asked for."""
    if client.offers("flush_progress"):
        client.flush_progress(job)


@opens
def fill_alone(client: Client, jobs: int) -> None:
    """Open the system as the only process there is, make its tables, fill the queue, and let go of it."""
    must(client.open(), "open")
    install(client)
    enqueue(client, jobs)
    client.close()


@opens
def enter(client: Client) -> None:
    """Open the system, claim where that was allowed, and let go of it."""
    if client.open().outcome == "ok":
        client.claim(1)
        client.close()


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


def _drained(stage: Stage) -> Part:
    jobs = stage.load.jobs
    return Part("quiet", drain, {"batch": max(jobs, stage.load.batch), "jobs": jobs})


def claims(stage: Stage, setup: str) -> Cast:
    """Workers claim once each, from one queue."""
    fill(stage, setup)
    each = range(stage.load.workers)
    return [Part(f"w{n}", claim_then_complete, {"batch": stage.load.batch}) for n in each], _drained(stage)


def clean_up(stage: Stage, setup: str) -> Cast:
    """One worker cleans up by tag while the others claim."""
    fill(stage, setup)
    others = [Part(f"w{n}", claim_then_look, {"batch": stage.load.batch}) for n in range(1, stage.load.workers)]
    return [Part("w0", clean), *others], _drained(stage)


def submits(stage: Stage, setup: str) -> Cast:
    """One worker submits a run while the others look for it."""
    stage.insist(setup, install, within=SETUP_SECONDS, phase="setup")
    known = stage.insist(setup, submit, within=SETUP_SECONDS, phase="setup", size=stage.load.batch)
    others = [Part(f"w{n}", look, {"after": known}) for n in range(1, stage.load.workers)]
    return [Part("w0", submit, {"size": stage.load.batch}), *others], Part("quiet", look_at_all)


def tellings(stage: Stage, setup: str) -> Cast:
    """Workers tell of a job each; the last gives its job back, so that another may get it. In the end all is read twice."""
    stage.insist(setup, install, within=SETUP_SECONDS, phase="setup")
    jobs = stage.insist(setup, enqueue_scans, within=SETUP_SECONDS, phase="setup", jobs=stage.load.jobs)
    last = stage.load.workers - 1
    others = [Part(f"w{n}", tell_more) for n in range(last)]
    return [*others, Part(f"w{last}", tell)], Part("quiet", read_all, {"jobs": jobs})


def entries(stage: Stage, setup: str) -> Cast:
    """Workers open one file at the same moment."""
    stage.insist(setup, fill_alone, within=SETUP_SECONDS, phase="setup", jobs=stage.load.jobs)
    return [Part(f"w{n}", enter) for n in range(stage.load.workers)], Part("quiet", enter)


def _without_services(promise: Promise) -> str | None:
    if promise.services:
        return (
            f"it keeps things in {' and '.join(promise.services)}, where nobody can put them back between two schedules"
        )
    return None


def _exploration(
    raced: Scenario,
    prepare: Callable[[Stage, str], Cast],
    *without: str,
    load: Load = FEW,
    quick: Mapping[str, tuple[str, ...]],
    control: Mapping[str, str] | None = None,
    needs: Sequence[str] = (),
) -> Scenario:
    """Explore what a scenario is about, judged by its invariants but for those that need more than a few operations."""
    options = {**OPTIONS, **load.options}
    return Scenario(
        name=raced.name,
        claim=raced.claim,
        drive=partial(explore, prepare=prepare),
        invariants=tuple(name for name in raced.invariants if name not in ("witness-agrees", *without)),
        evidence=("processes-ended", "operations-accounted", "control-caught"),
        control=control or raced.control,
        loads={
            "quick": replace(load, options=options),
            "full": replace(load, options={**options, "budget": FULL_SECONDS}),
        },
        needs=(*raced.needs, *needs),
        databases=raced.databases,
        mode="explore",
        witnessed=False,
        applies=lambda promise: _without_services(promise) or raced.applies(promise),
        quick=quick,
    )


def explore(stage: Stage, prepare: Callable[[Stage, str], Cast]) -> None:
    """Have the parts that `prepare` gives carried out in every order."""
    stage.explore(prepare)


def explore_programs(stage: Stage) -> None:
    """Have workers do what is made up."""
    stage.explore(programs.workers, programs.programs(stage.load, stage.promise.capabilities))


# A second or two each, in a run of everything.
QUICK_CLAIMS: Final = {
    "sqlite": ("reference:select-then-update", "reference:immediate-batch"),
    "postgres": ("reference:select-then-update", "reference:scalar-subquery", "reference:skip-locked-cte"),
}
# Nothing is written because time has passed, or a thread of the system's own would write.
PATIENT: Final[Mapping[str, Any]] = {"flush_interval": 3600.0, "max_batch_size": 1_000_000}
STALE: Final = "defect:progress-stale-overwrite"
PROGRAMS: Final = replace(
    _exploration(
        CLAIM_RACE,
        programs.workers,
        "every-worker-served",
        load=Load(workers=3, jobs=6, batch=2, options=PATIENT),
        quick={},
    ),
    name="programs",
    claim="Whatever workers do, and in whatever order, no job is handed to two of them, lost, or passed over.",
)
EXPLORATIONS: Final[dict[str, Scenario]] = {
    each.name: each
    for each in (
        _exploration(CLAIM_RACE, claims, "every-worker-served", quick=QUICK_CLAIMS),
        _exploration(CLEANUP_CHURN, clean_up, "delete-one-transaction", "submit-atomic", quick={}),
        _exploration(ATOMIC_SUBMIT, submits, "statement-budget", quick={}),
        _exploration(
            PROGRESS_UPDATES,
            tellings,
            "write-budget",
            "progress-fresh",
            "progress-final",  # a job that was handed on at once is never read after its end
            load=Load(workers=2, jobs=2, batch=1, options=PATIENT),
            quick={},
            control={"sqlite": STALE, "postgres": STALE},
        ),
        _exploration(
            WORKER_GUARD,
            entries,
            "guard-released",
            load=Load(workers=2, jobs=1, batch=1),
            quick={"sqlite": ("reference:single-worker", "defect:silent-single-worker")},
            needs=("close",),
        ),
        replace(
            PROGRAMS,
            drive=explore_programs,
            sampled=True,
            invariants=(*PROGRAMS.invariants, "progress-monotonic", "delete-exact", "delete-spares-running"),
        ),
    )
}
