"""Locks the jobs of a batch in an order of each worker's own, so that two claims may wait for each other in a circle."""

from __future__ import annotations

from collections.abc import Iterable

from reference_impl.postgres import SkipLockedCte
from reference_impl.queue import Row


class PostgresBatchDeadlock(SkipLockedCte):
    """Every other worker begins at the far end of a batch, meaning to stay out of the others' way.

    The shape of hatchet #2201 and airflow #27473, where two statements updated the same rows in different order. Postgres ends the
    circle by failing one claim (40P01), all of whose work is rolled back. Caught by lock-errors.
    """

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        taken: list[Row] = []
        with self._writing():
            while not taken and (ready := self._run("select_ready", limit=limit)):
                for (job,) in ready if sum(worker.encode()) % 2 else reversed(ready):
                    taken += self._mark("take_if_ready", worker, job=job)
        return taken
