"""What is explored: the fewest operations that can go wrong together, in every order their statements can have."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from harness.errors import RunAbandoned
from harness.processes import opens
from harness.protocols import JobId, Promise
from harness.scenario import Cast, Client, Load, Part, Program, Scenario, Stage, lease_of
from scenarios import programs
from scenarios.atomic_submit import ATOMIC_SUBMIT, submit, try_to_submit
from scenarios.bulk_delete import BULK_DELETE
from scenarios.claim_race import CLAIM_RACE
from scenarios.claiming import SETUP_SECONDS, claim_few, enqueue, install, must
from scenarios.cleanup_churn import CLEANUP_CHURN
from scenarios.progress_updates import PROGRESS_UPDATES
from scenarios.scanning import enqueue_scans, read_all
from scenarios.worker_guard import WORKER_GUARD

# `budget` is in seconds, for one system; `reduced` leaves out schedules that would show nothing new; a worker that was let on stops
# again within `step_seconds`; with `crash`, something befalls one worker in each schedule, at every boundary of its statements in turn.
# With `tries`, nothing is searched: so many times all workers are let loose at once, to see what a race of the same operations shows.
OPTIONS: Final[Mapping[str, Any]] = {"budget": 10.0, "reduced": True, "step_seconds": 10.0, "crash": False, "tries": 0}
MOST_TRIES: Final = 100_000
LONGEST_WAIT_SECONDS: Final = 2.0  # for a lease, after each schedule, where its clock cannot be moved
LONGEST_TRIAL_SECONDS: Final = 60.0  # for a lease, once, to see whether it is ever over
BEYOND_SECONDS: Final = 1.0  # a lease's end
WAITED: Final = 1.1  # leases
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


def enqueue_alike(client: Client) -> None:
    """Enqueue one job, the same as everybody else does, with a key for who adds such a job once."""
    client.enqueue([{"payload": {"key": "alike"}, "priority": 0, "tag": TAG, "run": None}])


def enqueue_and_delete(client: Client, times: int) -> None:
    """Enqueue a job and delete it so many times, as who was not told that it is gone."""
    reply = client.enqueue([{"payload": "deleted" if times else "kept", "priority": 0, "tag": TAG, "run": None}])
    for _ in range(times if reply.handles else 0):
        client.delete_many("jobs", [handle.job for handle in reply.handles])


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


@opens
def join(client: Client, batch: int) -> None:
    """Start when others are at work; claim, complete, and let go of the system."""
    if client.open().outcome == "ok":
        reply = client.claim(batch)
        if reply.handles:
            client.complete(reply.handles)
        client.close()


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


def after_recovery(client: Client, wait: Wait | None, program: Program, arguments: Mapping[str, Any]) -> None:
    """Recover what was in the hands of those who died, then go on with a program."""
    recover(client, wait)
    program(client, **arguments)


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
    with client.ahead(0):
        pass  # what it takes to move the clock is there by now
    system.enqueue([{"payload": "lease", "priority": 0, "tag": None, "run": None}])
    began, held = time.monotonic(), system.claim("setup", 1)
    with client.ahead(wait.seconds) if wait.moved else nullcontext():
        client.pause(0 if wait.moved else wait.seconds)
        if client.offers("recover"):
            with suppress(Exception):  # if it raises, the schedules will show what that means
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


def _drained(stage: Stage) -> Part:
    jobs = stage.load.jobs
    return Part("quiet", drain, {"batch": max(jobs, stage.load.batch), "jobs": jobs})


def claims(stage: Stage, setup: str) -> Cast:
    """Workers claim once each, from one queue."""
    fill(stage, setup)
    each = range(stage.load.workers)
    return [Part(f"w{n}", claim_then_complete, {"batch": stage.load.batch}) for n in each], _drained(stage)


def rescues(stage: Stage, setup: str) -> Cast:
    """Workers claim and complete, and the last recovers what they hold, as if they had been away for longer than a lease."""
    fill(stage, setup)
    batch, last = stage.load.batch, stage.load.workers - 1
    holders = [Part(f"w{n}", hold, {"batch": batch}) for n in range(last)]
    return [*holders, Part(f"w{last}", rescue, {"batch": batch, "wait": None})], _drained(stage)


def enqueues(stage: Stage, setup: str) -> Cast:  # noqa: ARG001  # the queue is empty
    """Workers enqueue the same job."""
    each = range(stage.load.workers)
    return [Part(f"w{n}", enqueue_alike) for n in each], _drained(stage)


def deletions(stage: Stage, setup: str) -> Cast:  # noqa: ARG001  # as above
    """One worker enqueues a job and deletes it twice while the others enqueue."""
    others = [Part(f"w{n}", enqueue_and_delete, {"times": 0}) for n in range(1, stage.load.workers)]
    return [Part("w0", enqueue_and_delete, {"times": 2}), *others], Part("quiet", look_at_all)


def late_starts(stage: Stage, setup: str) -> Cast:
    """Workers claim, show a sign of life and complete, and the last starts meanwhile and does the same."""
    fill(stage, setup)
    batch, last = stage.load.batch, stage.load.workers - 1
    holders = [Part(f"w{n}", hold, {"batch": batch}) for n in range(last)]
    return [*holders, Part(f"w{last}", join, {"batch": batch})], _drained(stage)


def clean_up(stage: Stage, setup: str) -> Cast:
    """One worker cleans up by tag while the others claim."""
    fill(stage, setup)
    others = [Part(f"w{n}", claim_then_look, {"batch": stage.load.batch}) for n in range(1, stage.load.workers)]
    return [Part("w0", clean), *others], _drained(stage)


def submits(stage: Stage, setup: str) -> Cast:
    """One worker submits a run while the others look for it."""
    known = stage.insist(setup, submit, within=SETUP_SECONDS, phase="setup", size=stage.load.batch)
    others = [Part(f"w{n}", look, {"after": known}) for n in range(1, stage.load.workers)]
    return [Part("w0", try_to_submit, {"size": stage.load.batch}), *others], Part("quiet", look_at_all)


def lease_over(stage: Stage, setup: str) -> Wait | None:
    """How every lease comes to its end: None where the system has none. Raises `RunAbandoned` where nobody can wait for that."""
    seconds = lease_of(stage.promise, stage.load)
    if seconds is None or stage.promise.semantics == "at-most-once":
        return None
    moved = Wait(seconds + BEYOND_SECONDS, moved=True)
    if stage.load.options.get("max_attempts") == 1:
        return moved  # nobody is given a job again, whatever the time
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


def tellings(stage: Stage, setup: str) -> Cast:
    """Workers tell of a job each; the last gives its job back, so that another may get it. In the end all is read twice."""
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


def check(load: Load) -> str | None:
    """What is wrong with a load, or None."""
    tries = load.options["tries"]
    if not isinstance(tries, int) or isinstance(tries, bool) or not 0 <= tries <= MOST_TRIES:
        return f"tries is how many times workers are let loose: give a whole number up to {MOST_TRIES:,}, or 0 to put them in order"
    if tries and load.options["crash"]:
        return "a crash befalls whoever is held, and with tries nobody is: give one or the other"
    return None


def _check_programs(load: Load) -> str | None:
    if load.options["tries"]:
        return "what is made up is made up with its schedule: explore another scenario with tries, or leave it out"
    return check(load)


def _exploration(
    raced: Scenario,
    prepare: Callable[[Stage, str], Cast],
    *without: str,
    load: Load = FEW,
    quick: Mapping[str, tuple[str, ...]],
    control: Mapping[str, str] | None = None,
    needs: Sequence[str] = (),
    leased: bool = False,
    opened: bool = False,
) -> Scenario:
    """Explore what a scenario is about, judged by its invariants but for those that need more than a few operations."""
    options = {**OPTIONS, **load.options}
    return Scenario(
        name=raced.name,
        claim=raced.claim,
        drive=partial(explore, prepare=prepare, leased=leased, opened=opened),
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
        check=check,
        applies=lambda promise: _without_services(promise) or raced.applies(promise),
        quick=quick,
    )


def explore(stage: Stage, prepare: Callable[[Stage, str], Cast], *, leased: bool, opened: bool) -> None:
    """Have the parts that `prepare` gives carried out in every order; where somebody may die or be away, recover after each.

    What is `leased` lets time pass. What is `opened` builds the system in its parts, and installs it itself.
    """
    timed = leased or stage.load.options["crash"]

    def cast(stage: Stage, setup: str) -> Cast:
        if not opened:
            stage.insist(setup, install, within=SETUP_SECONDS, phase="setup")
        if opened or not timed:
            return prepare(stage, setup)
        wait = lease_over(stage, setup)
        parts, quiet = prepare(stage, setup)
        assert quiet.program is not None  # noqa: S101  # as every preparation has it
        after = {"wait": wait, "program": quiet.program, "arguments": dict(quiet.arguments)}
        waiting = [
            replace(part, arguments={**part.arguments, "wait": wait}) if "wait" in part.arguments else part
            for part in parts
        ]
        return waiting, replace(quiet, program=after_recovery, arguments=after)

    stage.explore(cast, moves_time=timed)


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
FENCELESS: Final = "defect:unfenced-completion"
THIEF: Final = "defect:startup-steals"
STALE: Final = "defect:progress-stale-overwrite"
TWICE: Final = "defect:unique-check-then-insert"
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
        replace(
            _exploration(
                CLAIM_RACE,
                rescues,
                "every-worker-served",
                quick={},
                control={"sqlite": FENCELESS, "postgres": FENCELESS},
                needs=("recover",),
                leased=True,
            ),
            name="claim-recovery",
            invariants=(*PROGRAMS.invariants, "single-owner"),
            claim="What a worker held that died, or was away for longer than its lease, is done by another, and by no two at once.",
        ),
        replace(
            _exploration(
                CLAIM_RACE,
                late_starts,
                "every-worker-served",
                load=Load(workers=2, jobs=2, batch=1),
                quick={},
                control={"sqlite": THIEF, "postgres": THIEF},
                needs=("close",),
            ),
            name="late-start",
            invariants=(*PROGRAMS.invariants, "single-owner"),
            claim="Who starts while others are at work takes nothing of what they hold.",
        ),
        _exploration(CLEANUP_CHURN, clean_up, "delete-one-transaction", "submit-atomic", quick={}),
        replace(
            _exploration(
                CLAIM_RACE,
                enqueues,
                "every-worker-served",
                quick={},
                control={"sqlite": TWICE, "postgres": TWICE},
            ),
            name="enqueue-race",
            claim="However many enqueue a job at once, or again, every job that is handed out has an id that an enqueue returned.",
            sampled=True,
        ),
        _exploration(
            BULK_DELETE,
            deletions,
            "delete-one-transaction",
            "delete-spares-running",
            "statement-budget",
            quick={},
            control={"sqlite": "defect:rowid-reuse", "postgres": "defect:id-watermark-delete"},
        ),
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
            opened=True,
            quick={"sqlite": ("reference:single-worker", "defect:silent-single-worker")},
            needs=("close",),
        ),
        replace(
            PROGRAMS,
            drive=explore_programs,
            check=_check_programs,
            sampled=True,
            invariants=(*PROGRAMS.invariants, "progress-monotonic", "delete-exact", "delete-spares-running"),
        ),
    )
}
