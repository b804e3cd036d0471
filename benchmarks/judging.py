"""How long judging takes: every invariant over a generated, correct history; prints one JSON document with its conditions.

    python -m benchmarks.judging [--operations 5000000] [--defects]

The history: half of the operations are claims of one job by 8 workers, half are completions, beside enqueues of 1,000 jobs; two
statements a claim and two a completion. Made by DuckDB straight to Parquet, as it is the judging that is measured.
As every claim gets one job, the two rounds cost two statements a job, and `statement-budget` says so; all else holds.
`--defects` hands every 50th job out twice, adds false empties and reuses ids, so that suspects and findings are many.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb

from harness.history import TABLES
from harness.invariants.judging import NAMES, judge

CONTEXT = {
    "scenario": "claim-race",
    "system": "generated",
    "database": "sqlite",
    "semantics": "exactly-once-claim",
    "ordered": True,
    "lease_ns": None,
    "capabilities": ["complete", "fail"],
    "workers": 8,
    "jobs": 0,
    "batch": 1,
    "faults": False,
    "witness": "sqlite-trace",
}


def generate(folder: Path, operations: int, *, defects: bool) -> None:
    """Write the five tables of a history of about that many operations into `folder/history`."""
    history = folder / "history"
    history.mkdir()
    with duckdb.connect() as connection:
        connection.execute("SET memory_limit = '1400MB'")
        connection.execute("SET enable_progress_bar = false")
        connection.execute("SET VARIABLE jobs = ?", [operations // 2])
        connection.execute("SET VARIABLE defects = ?", [defects])
        connection.execute(resources.files(__package__).joinpath("judging.sql").read_text(encoding="utf-8"))
        for table, columns in TABLES.items():
            typed = ", ".join(f"{name}::{kind} AS {name}" for name, kind in columns.items())
            connection.table(table).project(typed).write_parquet(str(history / f"{table}.parquet"))


def measure() -> dict[str, Any]:
    """Run this benchmark in a process of its own, as its memory is part of the figure; give what it printed."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.judging"], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Generate in a process of its own, so that this one's memory is that of judging, then judge and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=5_000_000)
    parser.add_argument("--defects", action="store_true")
    parser.add_argument("--each", action="store_true", help="also judge by each invariant alone, and time it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="contend-bench-") as scratch:
        folder = Path(scratch)
        generator = multiprocessing.get_context("spawn").Process(
            target=generate, args=(folder, options.operations), kwargs={"defects": options.defects}
        )
        generator.start()
        generator.join()
        if generator.exitcode != 0:
            sys.exit("The history could not be generated.")
        started = time.perf_counter()
        used = time.process_time()
        judgements = judge(folder, NAMES, CONTEXT)
        seconds = time.perf_counter() - started
        used = time.process_time() - used
        document = {
            "benchmark": "judging",
            "operations": options.operations,
            "seconds": round(seconds, 2),
            "cpu_seconds": round(used, 2),
            "memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
            "judgements": {j.invariant: [j.state, j.count, j.reason] for j in judgements},
            "conditions": {
                "cores": os.cpu_count(),
                "load": os.getloadavg()[0],
                "python": platform.python_version(),
                "duckdb": duckdb.__version__,
            },
        }
        if options.each:
            document["seconds_alone"] = {name: _seconds(folder, name) for name in NAMES}
    json.dump(document, sys.stdout, indent=1)
    sys.stdout.write("\n")


def _seconds(folder: Path, name: str) -> float:
    started = time.perf_counter()
    judge(folder, [name], CONTEXT)
    return round(time.perf_counter() - started, 2)


if __name__ == "__main__":
    main()
