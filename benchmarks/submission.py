"""A run of 1,000 jobs in one transaction beside the run-then-jobs form, row by row."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from benchmarks.pairs import compare, seconds
from harness.databases import choose
from reference_impl.defects import DEFECTS
from reference_impl.strategies import system

JOBS = 1000
PAIRS = 12


def measure() -> dict[str, Any]:
    """Give times and the ratio row-by-row/submit_run for each database."""
    found: dict[str, Any] = {"jobs": JOBS}
    jobs = [{"payload": f"job {number}", "priority": number % 3} for number in range(JOBS)]
    for database in ("sqlite", "postgres"):
        with choose(database).serve() as server, server.fresh() as url:
            rows = DEFECTS["partial-submit"].systems[database](url)
            once = system("submit-run", database)(url)
            with closing(rows), closing(once):
                once.install()
                found[database] = compare(
                    lambda: seconds(lambda: rows.submit_run("t", jobs)),  # noqa: B023  # used at once
                    lambda: seconds(lambda: once.submit_run("t", jobs)),  # noqa: B023  # as above
                    PAIRS,
                )
    return found
