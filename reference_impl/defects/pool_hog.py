"""Holds a connection from a job's first report until the job ends, through all the work in between."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack

from reference_impl.postgres import SkipLockedCte
from reference_impl.progress import Change, Direct, ProgressWriter
from reference_impl.queue import Queue
from reference_impl.sqlite import ImmediateBatch


class _Hog(Direct):
    def __init__(self, queue: _PoolHog) -> None:
        super().__init__(queue._write_progress)
        self._queue = queue
        self._holding: dict[int, ExitStack] = {}

    def report(self, job: int, token: int, fraction: float) -> None:
        """Write with the connection this thread took for its job."""
        if job not in self._holding:
            stack = ExitStack()
            stack.enter_context(self._queue._acquire())
            self._holding[job] = stack
        self._write([Change(job, token, fraction)])

    def flush(self, jobs: Iterable[int] | None = None) -> None:
        """Give the connections of these jobs back, as their end is near."""
        for job in list(self._holding) if jobs is None else jobs:
            if job in self._holding:
                self._holding.pop(job).close()


class _PoolHog(Queue):
    def _writer(self) -> ProgressWriter:
        return _Hog(self)


class SqlitePoolHog(_PoolHog, ImmediateBatch):
    """Seen in issue 062, hatchet #4364. Caught by pool-exhausted."""


class PostgresPoolHog(_PoolHog, SkipLockedCte):
    """The same on Postgres."""
