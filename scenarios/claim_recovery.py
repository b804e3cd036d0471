"""claim-recovery: workers die, sleep, lose their connection or their server; others do what they held, and no two at once."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from harness import faults
from harness.errors import RunAbandoned, UsageError
from harness.scenario import ANY, HOLDING, Client, Load, Part, Scenario, Stage, lease_of
from scenarios.claim_race import applies
from scenarios.claiming import SETUP_SECONDS, complete, enqueue, install

QUIET: Final = "quiet"
ADDER: Final = "adder"
ALL: Final = "all"
STATEMENT, MOMENT = AIMS = (
    "statement",
    "moment",
)  # how harm is aimed: before a statement, or at a random moment in an operation
MOMENT_SECONDS: Final = 0.002  # after it was first seen in one, at most
HUNG_SECONDS: Final = 60.0  # that a worker may take to end, once it is told
LONGEST_LEASE_SECONDS: Final = 5.0  # that is waited for; `contend explore claim-recovery` moves the clock instead
BEATS_A_LEASE: Final = 5
WORK_LEASES: Final = (0.1, 0.5)  # how long the work on one claim takes, at least and at most
POLL_SECONDS: Final = 0.02
RECOVER_TRIES: Final = 10
AWAY_LEASES: Final = 2.5  # that a paused worker is away at most; less, once another has a job of its own
BEYOND: Final = 1.2  # leases, after which every one that ran at the end is over
PAYLOAD_BYTES: Final = 2000  # of noise, as hex, so that a file that may not grow is soon full


@dataclass(frozen=True, slots=True)
class Plan:
    """How a fault is done here: inside which operation, for how long (in seconds), and to how many workers."""

    inside: str = ANY
    seconds: float = 0.0
    workers: int = 1
    until_handed_on: bool = False  # or for AWAY_LEASES
    adds: bool = False  # jobs are added meanwhile


# In this order. A worker that is killed is not replaced, so that comes late; what it held is handed on while another is away.
PLANS: Final[Mapping[str, Plan]] = {
    "cut-connection": Plan("complete"),
    "terminate-backend": Plan("claim"),
    "lose-commit": Plan("claim"),
    "latency": Plan(seconds=0.4),
    "half-open": Plan("claim", seconds=0.4),
    "hold-lock": Plan("complete", seconds=0.4),
    "fill-disk": Plan(seconds=1.0, adds=True),
    "skew-clock": Plan(seconds=1.0),
    "idle-transaction": Plan(seconds=0.4),
    "freeze-server": Plan("complete", seconds=0.4),
    "crash-server": Plan("complete"),
    "swizzle": Plan(workers=2, seconds=0.3),
    "kill-worker": Plan("heartbeat"),
    "pause-worker": Plan("heartbeat", until_handed_on=True),
}


def live(client: Client, batch: int, lease_seconds: float) -> None:
    """Until told to end: recover what others left, claim, work on what came while showing signs of life, complete it.

    What a worker is told by its heartbeats does not keep it from completing: that is for the system to refuse.
    """
    while not client.over():
        if client.offers("recover"):
            client.recover()
        reply = client.claim(batch)
        if not reply.handles:
            client.pause(client.rng.uniform(0, POLL_SECONDS))
            continue
        until = time.monotonic() + lease_seconds * client.rng.uniform(*WORK_LEASES)
        while (left := until - time.monotonic()) > 0:
            if client.offers("heartbeat"):
                client.heartbeat(reply.handles)
            client.pause(min(left, lease_seconds / BEATS_A_LEASE))
        complete(client, reply)
    client.halt()


def add(client: Client, batch: int, seconds: float) -> None:
    """Add jobs that take room, once and again for so long. Only while no answer can get lost: who could tell what is a job then?"""
    until = time.monotonic() + seconds
    while True:
        noise = client.rng.randbytes(PAYLOAD_BYTES).hex()
        client.enqueue([{"payload": noise, "priority": 1, "tag": "contend", "run": None}] * batch)
        if time.monotonic() >= until:
            return
        client.pause(POLL_SECONDS)


def rest(client: Client, batch: int, wait_seconds: float) -> None:
    """When every lease there was is over: recover, then claim and complete until nothing is left."""
    client.pause(wait_seconds)
    if client.offers("recover"):
        tries = 0  # a connection made before the faults may be a dead one
        while client.recover().outcome != "ok" and tries < RECOVER_TRIES:
            tries += 1
            client.pause(POLL_SECONDS)
    while (reply := client.claim(batch)).handles:
        complete(client, reply)
    client.halt()


def drive(stage: Stage) -> None:
    """Have workers live while one fault after the other befalls them; then heal all, and have one process do what is left."""
    load = stage.load
    lease = lease_of(stage.promise, load)
    if lease is not None and lease > LONGEST_LEASE_SECONDS:
        raise RunAbandoned(
            f"The system's lease of {lease:g} s would have to be waited for after each fault, and it takes no option lease_seconds. "
            "`contend explore claim-recovery` moves its clock instead."
        )
    tick = lease or 1.0
    workers = [f"w{number}" for number in range(load.workers)]
    stage.start({"setup": "setup", **dict.fromkeys(workers, "worker"), ADDER: ADDER, QUIET: QUIET})
    stage.insist("setup", install, within=SETUP_SECONDS, phase="setup")
    stage.insist("setup", enqueue, within=SETUP_SECONDS, phase="setup", jobs=load.jobs)
    stage.ready([*workers, ADDER])  # the quiet one connects when the faults are over
    stage.begin([Part(name, live, {"batch": load.batch, "lease_seconds": tick}) for name in workers])
    alive, left_out = list(workers), []
    spared: list[str] = []
    leased = 0.0  # since when every lease that nobody ends has been running, at the latest
    names = planned(load.options["faults"])
    rng = random.Random(f"{load.seed}/faults")  # noqa: S311  # repeatable, not secret
    try:
        for name in names:
            reason = stage.missing(name)
            if reason is None:
                began = time.monotonic()
                spared = befall(stage, name, alive, tick, rng, spared=spared, last=name == names[-1])
                leased = began if PLANS[name].until_handed_on else time.monotonic()
            else:
                left_out.append({"fault": name, "reason": reason})
    finally:
        stage.save("not_planned", left_out)
        stage.stop()
        stage.gather(workers, within=HUNG_SECONDS + tick)
    wait_seconds = max(0.0, leased + BEYOND * tick - time.monotonic())
    stage.insist(QUIET, rest, within=SETUP_SECONDS + tick, phase="quiet", batch=100, wait_seconds=wait_seconds)
    stage.end(["setup", *alive, ADDER, QUIET])


def befall(
    stage: Stage,
    name: str,
    alive: list[str],
    tick: float,
    rng: random.Random,
    *,
    spared: list[str],
    last: bool,
) -> list[str]:
    """Do one fault to workers chosen by the seed, and give them; who is killed is not among the living any more.

    Whom the fault before befell is spared: what it does late, with jobs that others have by now, must reach the database to be judged.
    """
    plan = PLANS[name]
    if len(alive) <= plan.workers:
        raise RunAbandoned(
            f"{name} takes {plan.workers} of {len(alive)} workers, and somebody must be left. Raise --workers."
        )
    victims = rng.sample([worker for worker in alive if worker not in spared], plan.workers)
    stage.say(f"{name}: {', '.join(victims)}")
    moment = MOMENT_SECONDS if stage.load.options["aim"] == MOMENT else None
    lively = plan.inside != "heartbeat" or "heartbeat" in stage.promise.capabilities
    with stage.strike(name, victims, inside=plan.inside if lively else HOLDING, within_seconds=moment):
        if plan.until_handed_on:
            stage.handed_on(victims[0], within=AWAY_LEASES * tick)
        if plan.adds:
            stage.tell([ADDER], add, within=HUNG_SECONDS, batch=stage.load.batch, seconds=plan.seconds)
        else:
            time.sleep(plan.seconds)
    if plan.adds:  # there is room again
        stage.tell([ADDER], add, within=HUNG_SECONDS, batch=stage.load.batch, seconds=0.0)
    if name == "kill-worker":
        alive[:] = [worker for worker in alive if worker not in victims]
        if last:  # else what follows, a worker that is away, takes as long
            stage.handed_on(victims[0], within=AWAY_LEASES * tick)
    return victims


def planned(asked: str) -> list[str]:
    """Read the option `faults`: `all`, or names with commas between. Raises `UsageError`."""
    names = list(PLANS) if asked == ALL else [name.strip() for name in str(asked).split(",") if name.strip()]
    for name in names:
        faults.choose(name)
    unplanned = [name for name in names if name not in PLANS]
    if unplanned or not names:
        raise UsageError(
            f"claim-recovery plans no fault {', '.join(unplanned) or 'at all'}. Give faults=all, or some of {', '.join(PLANS)}."
        )
    return [name for name in PLANS if name in names]


def check(load: Load) -> str | None:
    """What is wrong with a load, or None. Raises `UsageError` for faults there are not."""
    planned(load.options["faults"])
    if load.options["aim"] not in AIMS:
        return f"aim is {load.options['aim']!r}; expected {' or '.join(AIMS)}"
    return "of two workers one may be away and another dead: give at least 3" if load.workers < 3 else None


def control_under(load: Load) -> str | None:
    """The control where nobody is away and comes back too late, so that no completion could be refused, but somebody dies."""
    names = planned(load.options["faults"])
    return CARELESS if "kill-worker" in names and "pause-worker" not in names else None


FENCELESS: Final = "defect:unfenced-completion"
CARELESS: Final = "defect:no-recovery"
OPTIONS: Final[Mapping[str, Any]] = {"lease_seconds": 1.0, "faults": ALL, "aim": STATEMENT}
CLAIM_RECOVERY = Scenario(
    name="claim-recovery",
    claim="What a worker held that died, slept or lost its connection is done by another, and by no two at once.",
    drive=drive,
    invariants=(
        "no-double-claim",
        "no-lost-job",
        "no-phantom-claim",
        "batch-limit",
        "single-owner",
        "fenced-completion",
        "terminal-once",
        "attempts-counted",
        "no-swallowed-error",
        "witness-agrees",
    ),
    evidence=(
        "processes-ended",
        "operations-accounted",
        "faults-landed",
        "jobs-handed-on",
        "control-caught",
    ),
    control={"sqlite": FENCELESS, "postgres": FENCELESS},
    control_under=control_under,
    loads={
        "quick": Load(workers=4, jobs=400, batch=2, options=OPTIONS),
        "full": Load(workers=6, jobs=2000, batch=3, options={**OPTIONS, "lease_seconds": 2.0}),
    },
    needs=("install", "enqueue", "claim", "complete"),
    faults=True,
    applies=applies,
    loops=True,
    check=check,
    quick={"sqlite": ("reference:immediate-batch",), "postgres": ("reference:skip-locked-cte",)},
    brief={"faults": "pause-worker,lose-commit,hold-lock,kill-worker"},
)
