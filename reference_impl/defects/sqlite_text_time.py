"""Writes when a job is due as ISO 8601, and compares it as text with SQLite's own format: a T comes after a space."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import Any

from reference_impl.queue import Row, read_jobs
from reference_impl.sqlite import UpdateReturning


class SqliteTextTime(UpdateReturning):
    """Seen in Oban#1391: '2025-12-17T08:00:00+00:00' is not due at '2025-12-17 23:59:59', but at midnight.

    Caught by no-false-empty, unless midnight comes between the enqueue and the claim.
    """

    def install(self) -> None:
        """As `Queue.install`, with a column for the time."""
        super().install()
        self._run("add_run_at")

    def enqueue(self, jobs: Sequence[dict[str, Any]]) -> list[int]:
        """As `Queue.enqueue`, of jobs that are due at once."""
        now = datetime.datetime.now(datetime.UTC).isoformat()
        return sorted(job for (job,) in self._run("enqueue_at", jobs=read_jobs(jobs), run_at=now))

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        return self._mark("take_due", worker, limit=limit)
