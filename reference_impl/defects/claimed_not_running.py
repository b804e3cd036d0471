"""Claims a job and gives it a lease in two transactions: between them no sweep sees it."""

from __future__ import annotations

from collections.abc import Iterable

from reference_impl.postgres import SkipLockedCte
from reference_impl.queue import Queue, Row
from reference_impl.sqlite import UpdateReturning


class _Late(Queue):
    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        rows = self._run("take_without_lease", worker=worker, limit=limit)
        for _, job, _, _ in rows:
            self._change("start_lease", job=job, lease=self._lease)
        return rows


class SqliteClaimedNotRunning(_Late, UpdateReturning):
    """Seen in Cloacina T-0914, aegra#547: who dies there has its job for ever. Caught by no-lost-job."""


class PostgresClaimedNotRunning(_Late, SkipLockedCte):
    """The same on Postgres."""
