"""Reads the runs, then the jobs, as two statements of two moments: what was submitted in between are jobs without their run."""

from __future__ import annotations

from typing import Any

from reference_impl.postgres import SkipLockedCte
from reference_impl.queue import Queue, read_status
from reference_impl.sqlite import ImmediateBatch


class _TornStatus(Queue):
    def status_all(self) -> list[dict[str, Any]]:
        """As `Queue.status_all`, but of two moments."""
        return read_status([*self._run("status_runs"), *self._run("status_jobs")])


class SqliteTornStatus(_TornStatus, ImmediateBatch):
    """Shape of the status handlers that hero_proc #129 was found beside. Caught by submit-atomic."""


class PostgresTornStatus(_TornStatus, SkipLockedCte):
    """The same on Postgres."""
