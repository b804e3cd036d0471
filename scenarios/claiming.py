"""The programs a worker runs to claim: prepare a queue, claim it empty, drain what is left."""

from __future__ import annotations

import time

from harness.errors import RunAbandoned
from harness.protocols import LOOP
from harness.scenario import Client, Reply, Stage

POLL_SECONDS = 0.002
IDLE_SECONDS = (
    0.4  # with the queue empty and nothing finished for so long, what is left is stuck: the invariants say so
)
WORK_SECONDS = (
    0.0015  # the longest pretended work: long enough that every worker gets a turn, short enough to keep contending
)
COMPLETE_TRIES = 20
SETUP_SECONDS = 60.0
RUNAWAY = (
    10,
    1000,
)  # a queue that handed out more than 10 times its jobs and 1,000 will never be drained: enough is recorded
OPENING = 40  # jobs that fit one page of 8 KiB: a larger table has the planner think again
FEW = 5


def must(reply: Reply, what: str) -> Reply:
    """Give the reply on; raises `RunAbandoned` unless it was ok."""
    if reply.outcome != "ok":
        raise RunAbandoned(f"{what} did not succeed, so there was nothing to judge: {reply.problem}")
    return reply


def install(client: Client) -> None:
    """Make the system's tables."""
    must(client.install(), "install")


def enqueue(client: Client, jobs: int) -> None:
    """Enqueue jobs with priorities 0 to 2 in a fixed pattern."""
    payloads = [
        {"payload": f"job {number}", "priority": number % 3, "tag": "contend", "run": None} for number in range(jobs)
    ]
    must(client.enqueue(payloads), "enqueue")


def claim_few(client: Client, batch: int) -> None:
    """Claim once and complete, alone, from a queue the planner believes to hold one row."""
    reply = client.claim(min(batch, FEW))
    if reply.handles:
        complete(client, reply)


def prepare(stage: Stage, setup: str) -> None:
    """Install and fill the queue, with one claim on the way while the planner's statistics are those of a queue of one row.

    A queue is often nearly empty when its table is analysed. The planner may then choose a plan that runs a sub-select again for
    each row, and a claim of `IN (… LIMIT n)` exceeds its limit; but only while the table is small, so the claim comes early.
    """
    jobs = stage.load.jobs
    opening = min(jobs, OPENING)
    stage.insist(setup, install, within=SETUP_SECONDS, phase="setup")
    stage.insist(setup, enqueue, within=SETUP_SECONDS, phase="setup", jobs=1)
    stage.analyze()
    if opening > 1:
        stage.insist(setup, enqueue, within=SETUP_SECONDS, phase="setup", jobs=opening - 1)
    if opening > 1 and LOOP not in stage.promise.capabilities:  # a loop would not stop at a few
        stage.insist(setup, claim_few, within=SETUP_SECONDS, phase="setup", batch=stage.load.batch)
    if jobs > opening:
        stage.insist(setup, enqueue, within=SETUP_SECONDS, phase="setup", jobs=jobs - opening)


def complete(client: Client, reply: Reply) -> None:
    """Complete what was claimed; try again where it certainly did not happen."""
    for _ in range(COMPLETE_TRIES):
        outcome = client.complete(reply.handles).outcome
        if outcome != "fail":
            client.advance(len(reply.handles))
            return
        client.pause(client.rng.uniform(0, POLL_SECONDS))


def most(jobs: int) -> int:
    """How many hand-outs of `jobs` jobs are enough to judge a queue by."""
    return RUNAWAY[0] * jobs + RUNAWAY[1]


def claim_until_drained(client: Client, jobs: int, batch: int, seconds: float) -> None:
    """Claim, work for a tiny seeded time, complete; until every job is finished, or nothing moves any more."""
    _claim_until_drained(client, jobs, batch, seconds)
    client.halt()


def _claim_until_drained(client: Client, jobs: int, batch: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    finished, moved_at = -1, time.monotonic()
    while (now := time.monotonic()) < deadline:
        reply = client.claim(batch)
        if reply.handles:
            client.pause(client.rng.uniform(0, WORK_SECONDS))
            complete(client, reply)
            if client.finished() > most(jobs):
                return
            continue
        if client.finished() != finished:
            finished, moved_at = client.finished(), now
        if reply.outcome == "ok" and (finished >= jobs or now - moved_at > IDLE_SECONDS):
            return
        if reply.outcome != "ok" and now - moved_at > seconds / 2:
            return
        client.pause(client.rng.uniform(0, POLL_SECONDS))


def drain(client: Client, jobs: int, batch: int, seconds: float) -> None:
    """Claim and complete alone, with nobody else about, until a claim comes back empty."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and client.finished() <= most(jobs):
        reply = client.claim(max(batch, 100))
        if reply.handles:
            complete(client, reply)
        elif reply.outcome == "ok":
            break
    client.halt()
