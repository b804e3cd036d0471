"""The deep scan of report C: a job in which experts take turns, each telling of progress several times; and the screen that shows it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from harness.protocols import Handle, JobId
from harness.scenario import Client, Load
from scenarios.claiming import COMPLETE_TRIES, POLL_SECONDS

EXPERTS: Final = 11
CHANGES: Final = 4  # of progress, in the turn of each expert
ENDS: Final = (
    "complete",
    "fail",
    "flush",
    "close",
)  # how a job ends; flush: told to write before it is completed; close: left to that
SCREEN_SECONDS: Final = 0.01  # between two looks of the screen


def check(load: Load) -> str | None:
    """Say what is wrong with the numbers of a deep scan."""
    for name in ("experts", "changes"):
        number = load.options.get(name, 1)
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= 10_000:
            return f"{name} is {number!r}; expected a whole number from 1 to 10,000."
    for name in ("pause_seconds", "think_seconds"):
        seconds = load.options.get(name, 0)
        if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not 0 <= seconds <= 600:
            return f"{name} is {seconds!r}; expected a number of seconds from 0 to 600."
    return None


def scan(client: Client, job: JobId, *, experts: int, changes: int, pause_seconds: float, think_seconds: float) -> None:
    """Work on one job: every change of every expert is told, after a pretended pause. Half-way an expert thinks for long.

    While it thinks, a colleague's earlier result comes in late, with less progress than the job has reached by then.
    """
    total = experts * changes
    step = 0
    with client.work_on(job):
        for expert in range(experts):
            for _ in range(changes):
                client.pause(client.rng.uniform(0.5, 1.5) * pause_seconds)
                step += 1
                client.report_progress(job, 0.99 * step / total)  # all of it is told by whoever completes it
            if think_seconds and expert == experts // 2:
                client.pause(think_seconds / 2)
                client.report_progress(job, 0.99 * max(0, step - 2) / total)
                client.pause(think_seconds / 2)


def end(client: Client, handle: Handle, how: str) -> None:
    """End a job as `how` says; try again where it certainly did not happen."""
    if how == "flush" and client.offers("flush_progress"):
        client.report_progress(handle.job, 1.0)
        client.flush_progress(handle.job)
    for _ in range(COMPLETE_TRIES if how != "close" else 0):
        reply = client.fail([handle]) if how == "fail" and client.offers("fail") else client.complete([handle])
        if reply.outcome != "fail":
            break
        client.pause(client.rng.uniform(0, POLL_SECONDS))
    if how == "complete":
        client.report_progress(handle.job, 1.0)  # a callback that comes too late
    client.advance(1)


def scan_jobs(
    client: Client,
    batch: int,
    ends: Sequence[str],
    *,
    experts: int,
    changes: int,
    pause_seconds: float,
    think_seconds: float,
    together: bool = False,
) -> int:
    """Claim a batch and work on all its jobs at once, a thread each; end each by its entry in `ends`. Gives how many there were.

    With `together` all of them are completed with one call, once every one is done.
    """
    handles = client.claim(batch).handles
    threads = client.threads(len(handles))

    def work(mine: Client, handle: Handle, how: str) -> None:
        scan(
            mine, handle.job, experts=experts, changes=changes, pause_seconds=pause_seconds, think_seconds=think_seconds
        )
        if not together:
            end(mine, handle, how)

    with ThreadPoolExecutor(max(1, len(handles))) as pool:
        for done in [pool.submit(work, *each) for each in zip(threads, handles, ends, strict=False)]:
            done.result()
    if together and handles:
        client.complete(handles)
        client.advance(len(handles))
    return len(handles)


def watch_screen(client: Client, jobs: Sequence[JobId], until: int, seconds: float) -> None:
    """Read the progress of every job, again and again, until so many jobs are finished or `seconds` have passed."""
    deadline = time.monotonic() + seconds
    while client.finished() < until and time.monotonic() < deadline:
        for job in jobs:
            client.read_progress(job)
        client.pause(SCREEN_SECONDS)


def read_all(client: Client, jobs: Sequence[JobId]) -> None:
    """Read the progress of every job twice, with nobody else about."""
    for _ in range(2):
        for job in jobs:
            client.read_progress(job)


def enqueue_scans(client: Client, jobs: int) -> list[JobId]:
    """Enqueue jobs for scanning; gives their ids."""
    reply = client.enqueue([{"payload": f"scan {number}", "priority": 0, "tag": "scan"} for number in range(jobs)])
    return [handle.job for handle in reply.handles]
