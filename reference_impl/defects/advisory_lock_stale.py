"""Locks a job by its id once it has chosen it, and does not look whether it was finished meanwhile."""

from __future__ import annotations

from collections.abc import Iterable

from reference_impl.postgres import SkipLockedCte
from reference_impl.queue import Row


class PostgresAdvisoryLockStale(SkipLockedCte):
    """Seen in Que and GoodJob#1113: who had the job finished it and let go of the lock between the look and the lock.

    Caught by terminal-once.
    """

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        taken: list[Row] = []
        for (job,) in self._run("select_ready", limit=limit):
            with self._writing():
                ((locked,),) = self._run("try_advisory_lock", job=job)
                if locked:
                    taken += self._mark("take_if_not_running", worker, job=job)
        return taken
