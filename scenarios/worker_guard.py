"""worker-guard: a queue that is right with one worker only must refuse the second process, and admit the next once the first is dead."""

from __future__ import annotations

import time

from harness.errors import RunAbandoned
from harness.processes import opens
from harness.protocols import Promise
from harness.scenario import Client, Load, Scenario, Stage
from scenarios.claiming import SETUP_SECONDS, install

TRY_SECONDS = 60.0
ADMIT_SECONDS = 5.0  # how long the next process keeps trying; the invariant `guard-released` asks for one second
RETRY_SECONDS = 0.01


@opens
def install_alone(client: Client) -> None:
    """Open the system as the only process there is, make its tables, and let go of it."""
    reply = client.open()
    if reply.outcome != "ok":
        raise RunAbandoned(f"the only process there was could not open the system: {reply.problem}")
    install(client)
    client.close()


@opens
def try_to_open(client: Client) -> dict[str, str]:
    """Try once to open the system; keep it open when admitted."""
    reply = client.open()
    return {"outcome": reply.outcome, "problem": reply.problem}


@opens
def open_until_admitted(client: Client, seconds: float) -> dict[str, str]:
    """Try again and again until admitted, at most `seconds`."""
    deadline = time.monotonic() + seconds
    reply = client.open()
    while reply.outcome != "ok" and time.monotonic() < deadline:
        client.pause(RETRY_SECONDS)
        reply = client.open()
    return {"outcome": reply.outcome, "problem": reply.problem}


def drive(stage: Stage) -> None:
    """Let all processes try at once; SIGKILL the one admitted; let one that was refused try again."""
    workers = [f"w{number}" for number in range(stage.load.workers)]
    stage.start({"setup": "setup", **dict.fromkeys(workers, "worker")})
    stage.insist("setup", install_alone, within=SETUP_SECONDS, phase="setup")
    stage.end(["setup"])
    answers = stage.tell(workers, try_to_open, within=TRY_SECONDS)
    if all(answer.problem for answer in answers):
        raise RunAbandoned(answers[0].problem)
    admitted = [answer.process for answer in answers if answer.value and answer.value["outcome"] == "ok"]
    refused = [answer.process for answer in answers if answer.value and answer.value["outcome"] != "ok"]
    for name in admitted:
        stage.kill(name)
    if refused:
        stage.tell(refused[:1], open_until_admitted, within=TRY_SECONDS + ADMIT_SECONDS, seconds=ADMIT_SECONDS)
    stage.end([name for name in workers if name not in admitted])


def applies(promise: Promise) -> str | None:
    """Only a system that says it is right with one worker has something to guard."""
    if promise.max_workers != 1:
        return "it does not declare max_workers = 1, so there is no second process to refuse"
    return None


WORKER_GUARD = Scenario(
    name="worker-guard",
    claim="A second process on a single-worker SQLite file is refused, and the next is admitted once the holder is dead.",
    drive=drive,
    invariants=("worker-guard", "guard-released"),
    evidence=("processes-ended", "opens-overlapped", "holder-killed", "control-caught"),
    control={"sqlite": "defect:silent-single-worker"},
    loads={"quick": Load(workers=20, jobs=0, batch=1), "full": Load(workers=60, jobs=0, batch=1)},
    databases=("sqlite",),
    needs=("install",),
    applies=applies,
)
