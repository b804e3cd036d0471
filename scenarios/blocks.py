"""Timed blocks: an operation so many times in a row, alone with the queue, which holds as much afterwards as before.

Only the calls are timed, on the system itself: recording them would hide a part of what changed.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from harness.measurement import P99_SAMPLES, Block, quantile
from harness.scenario import Client, Program
from scenarios import claiming

WAITING: Final = 1000  # jobs that wait all the while: a queue is not empty where its speed matters
CHUNK: Final = 500  # jobs enqueued or completed with one call, outside of the time taken


def prepare(client: Client) -> None:
    """Make the queue that all blocks begin with."""
    claiming.install(client)
    claiming.enqueue(client, WAITING)


def claim_block(client: Client, operations: int, batch: int, serving: Sequence[int] = ()) -> dict[str, Any]:
    """Time `operations` claims of `batch` jobs each."""
    system = client.unrecorded()
    _fill(system, operations * batch)
    claims, block = _time(serving, operations, lambda _number: system.claim(client.process, batch))
    _check(claims, batch)
    handles = [handle for claim in claims for handle in claim]
    for start in range(0, len(handles), CHUNK):
        system.complete(client.process, handles[start : start + CHUNK])
    return block


def complete_block(client: Client, operations: int, batch: int, serving: Sequence[int] = ()) -> dict[str, Any]:
    """Time the completing of `operations` claims of `batch` jobs each."""
    system = client.unrecorded()
    _fill(system, operations * batch)
    claims = [system.claim(client.process, batch) for _ in range(operations)]
    _check(claims, batch)
    _, block = _time(serving, operations, lambda number: system.complete(client.process, claims[number]))
    return block


def enqueue_block(client: Client, operations: int, batch: int, serving: Sequence[int] = ()) -> dict[str, Any]:
    """Time `operations` times enqueuing `batch` jobs."""
    system = client.unrecorded()
    jobs = _jobs(batch)
    _, block = _time(serving, operations, lambda _number: system.enqueue([dict(job) for job in jobs]))
    left = operations * batch
    while left:
        claim = system.claim(client.process, min(left, CHUNK))
        _check([claim], min(left, CHUNK))
        system.complete(client.process, claim)
        left -= len(claim)
    return block


OPERATIONS: Final[Mapping[str, Program]] = {
    "claim": claim_block,
    "complete": complete_block,
    "enqueue": enqueue_block,
}


def _jobs(number: int) -> list[dict[str, Any]]:
    return [
        {"payload": f"job {place}", "priority": place % 3, "tag": "contend", "run": None} for place in range(number)
    ]


def _fill(system: Any, jobs: int) -> None:
    for start in range(0, jobs, CHUNK):
        system.enqueue(_jobs(min(CHUNK, jobs - start)))


def _check(claims: list[Any], batch: int) -> None:
    for claim in claims:
        if not isinstance(claim, list):
            raise TypeError(f"claim returned {str(claim)[:80]}, expected a list of {batch} handles")
        if len(claim) != batch:
            raise RuntimeError(
                f"a claim of {batch} jobs gave {len(claim)} with {WAITING:,} more waiting, so its time says nothing"
            )


def _time(serving: Sequence[int], operations: int, call: Callable[[int], Any]) -> tuple[list[Any], dict[str, Any]]:
    """Call `operations` times; give the answers and the `Block` as plain values."""
    answers: list[Any] = []
    took: list[int] = []
    gc.collect()
    (worked, queued), begun = _scheduled_ns(serving), time.perf_counter_ns()
    for number in range(operations):
        started = time.perf_counter_ns()
        answers.append(call(number))
        took.append(time.perf_counter_ns() - started)
    ended = time.perf_counter_ns()
    worked_then, queued_then = _scheduled_ns(serving)
    block = Block(
        operations=operations,
        seconds=(ended - begun) / 1e9,
        working_seconds=(worked_then - worked) / 1e9,
        queued_seconds=(queued_then - queued) / 1e9,
        p99_ms=quantile(took, 0.99) / 1e6 if operations >= P99_SAMPLES else None,
    )
    return answers, asdict(block)


def _scheduled_ns(serving: Sequence[int]) -> tuple[int, int]:
    """How long we, and those who work for us, have run so far, and how long been ready to run and had no core.

    Read from /proc/<pid>/schedstat (Linux); elsewhere only our own running is known. We wait while the others work, so the times add up.
    """
    ran, queued = time.thread_time_ns(), 0
    for process in ("self", *serving):
        with contextlib.suppress(OSError, ValueError):
            told = Path(f"/proc/{process}/schedstat").read_text(encoding="ascii").split()
            ran += 0 if process == "self" else int(told[0])
            queued += int(told[1])
    return ran, queued
