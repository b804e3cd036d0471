"""delete_many of 10,000 ids beside the loop: on SQLite with full durability, on Postgres with 1 ms of network; memory by chunks."""

from __future__ import annotations

import tempfile
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.pairs import compare, seconds
from harness.databases import choose
from harness.witnesses import choose as choose_witness
from reference_impl.defects import DEFECTS
from reference_impl.queue import Queue
from reference_impl.strategies import system

IDS = 10_000
PAIRS = 4


def _turn(queue: Queue) -> float:
    ids = queue.enqueue([{}] * IDS)
    return seconds(lambda: queue.delete_many("jobs", ids))


def _peak_mib(queue: Queue, ids: int) -> float:
    tracemalloc.start()
    queue.delete_many("jobs", (each for each in range(1, ids + 1)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return round(peak / 2**20, 3)


def measure() -> dict[str, Any]:
    """Give times and the ratio loop/delete_many for each database, and the peak memory of the chunked form by ids."""
    found: dict[str, Any] = {"ids": IDS}
    for database, latency_ms in (("sqlite", 0.0), ("postgres", 1.0)):
        found[database] = {"latency_ms": latency_ms, **_compare(database, latency_ms)}
    with (
        choose("sqlite").serve() as server,
        server.fresh() as url,
        closing(system("delete-chunked", "sqlite")(url)) as chunked,
    ):
        chunked.install()
        sizes = (1_000, 10_000, 100_000, 1_000_000)
        found["chunked_peak_mib_by_ids"] = {ids: _peak_mib(chunked, ids) for ids in sizes}
    return found


def _compare(database: str, latency_ms: float) -> dict[str, Any]:
    witness = choose_witness("none" if database == "sqlite" else "wire")
    with (
        tempfile.TemporaryDirectory() as folder,
        choose(database).serve() as server,
        server.fresh() as url,
        witness.watch(url, ["bench"], Path(folder), latency_ms=latency_ms, record=False) as seen,
        closing(DEFECTS["loop-delete"].systems[database](seen["bench"])) as loop,
        closing(system("delete-many", database)(seen["bench"])) as many,
    ):
        many.install()
        return {
            "conditions": dict(server.conditions()),
            **compare(lambda: _turn(loop), lambda: _turn(many), PAIRS),
        }
