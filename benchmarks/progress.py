"""What telling progress costs: microseconds a report on the caller's side, and writes for a job of 44 changes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from harness.databases import choose
from harness.measurement import quantile
from reference_impl.progress import Batched, Buffered, Change, Debounced
from reference_impl.strategies import system

REPORTS = 200_000
JOBS = 10
CHANGES = 44
JOB_SECONDS = 20.0  # of a pretended clock


def _report_us() -> list[float]:
    with choose("sqlite").serve() as server, server.fresh() as url, closing(system("batched", "sqlite")(url)) as queue:
        queue.install()
        queue.enqueue([{}] * JOBS)
        jobs = [claim.job for claim in queue.claim("bench", JOBS)]
        taken = []
        for turn in range(5):
            started = time.perf_counter_ns()
            for step in range(REPORTS):
                queue.report_progress(jobs[step % JOBS], (turn + step / REPORTS) / 5)
            taken.append((time.perf_counter_ns() - started) / 1000 / REPORTS)
        return taken


def _writes(rule: Batched | Debounced) -> int:
    """Writes of one job whose changes come evenly over 20 s, under the same bound of 5 s to the screen."""
    writes = 0
    now = 0.0

    def write(_: Sequence[Change]) -> None:
        nonlocal writes
        writes += 1

    buffer = Buffered(write, rule, clock=lambda: now, threaded=False)
    for step in range(1, CHANGES + 1):
        now = step * JOB_SECONDS / CHANGES
        buffer.report(1, 1, step / CHANGES)
        buffer.poll()
    buffer.flush()
    return writes


def measure() -> dict[str, Any]:
    """Give µs a report (median of 5 turns), and the writes of one job by writer at a bound of 5 s."""
    taken = _report_us()
    return {
        "report_us": {"median": round(quantile(taken, 0.5), 3), "turns": [round(us, 3) for us in taken]},
        "writes_of_a_job": {
            "direct": CHANGES,
            "batched": _writes(Batched()),
            "debounced": _writes(Debounced(1.25, 5.0)),
        },
    }
