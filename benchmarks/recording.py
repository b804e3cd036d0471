"""What recording costs: microseconds an event, and the share of claim throughput it takes at batch 10."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from harness.databases import choose
from harness.measurement import paired_ratio, quantile
from harness.recorder import RecordedSystem, Recorder
from reference_impl.strategies import system

EVENTS = 20_000
BATCH = 10
CLAIMS = 60
PAIRS = 16


def _event_us(folder: Path) -> float:
    recorder = Recorder(folder / "events.ndjson", "w0", "worker")
    jobs = list(range(1, BATCH + 1))
    started = time.perf_counter_ns()
    for _ in range(EVENTS):
        op = recorder.invoke("claim", "main", requested=BATCH)
        recorder.ok(op, jobs=jobs, tokens=jobs, attempts=jobs)
    return (time.perf_counter_ns() - started) / 1000 / (2 * EVENTS)


def _claims_s(queue: Any, recorded: RecordedSystem | None) -> float:
    """Claim CLAIMS batches; the seconds it took. The queue is filled before and completed after, outside the time."""
    queue.enqueue([{"payload": number} for number in range(CLAIMS * BATCH)])
    handles: list[Any] = []
    started = time.perf_counter()
    for _ in range(CLAIMS):
        handles += [handle.given for handle in recorded.claim(BATCH).handles] if recorded else queue.claim("w0", BATCH)
    seconds = time.perf_counter() - started
    assert len(handles) == CLAIMS * BATCH  # noqa: S101  # a benchmark of claims that were not made would be nonsense
    queue.complete("w0", handles)
    return seconds


def measure() -> dict[str, Any]:
    """Give µs an event (median of 5) and, for each database, the ratio of recorded to bare claim time in ABBA pairs."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        found["event_us"] = quantile([_event_us(Path(folder)) for _ in range(5)], 0.5)
        for database, name in (("sqlite", "immediate-batch"), ("postgres", "skip-locked-cte")):
            with choose(database).serve() as server, server.fresh() as url:
                queue = system(name, database)(url)
                queue.install()
                recorded = RecordedSystem(Recorder(Path(folder) / database, "w0", "worker"), "w0", lambda: queue)  # noqa: B023  # built at once
                recorded.build()
                with_us: list[float] = []
                bare: list[float] = []
                _claims_s(queue, None)
                for pair in range(PAIRS):
                    for arm in (0, 1) if pair % 2 == 0 else (1, 0):
                        (with_us if arm else bare).append(_claims_s(queue, recorded if arm else None))
                ratio = paired_ratio(with_us, bare, seed=1)
                found[f"{database}_recorded_to_bare_claim_time"] = {
                    "system": name, "batch": BATCH, "median": ratio.median, "low": ratio.low, "high": ratio.high, "pairs": ratio.pairs,
                }  # fmt: skip  # one row
                recorded.close()
    return found
