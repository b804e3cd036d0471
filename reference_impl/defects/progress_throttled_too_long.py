"""Throttles without a trailing write: a change that comes too soon after a write is not shown until the job tells of the next, or ends."""

from __future__ import annotations

import time
from collections.abc import Iterable

from reference_impl.postgres import SkipLockedCte
from reference_impl.progress import Change, Direct, ProgressWriter, Write
from reference_impl.queue import Queue
from reference_impl.sqlite import ImmediateBatch


class _Throttled(Direct):
    def __init__(self, write: Write, seconds: float) -> None:
        super().__init__(write)
        self._seconds = seconds
        self._last: dict[int, float] = {}
        self._unwritten: dict[int, Change] = {}

    def report(self, job: int, token: int, fraction: float) -> None:
        """Write, unless this job's last write was a moment ago."""
        now = time.monotonic()
        if now - self._last.get(job, -self._seconds) >= self._seconds:
            self._last[job] = now
            self._unwritten.pop(job, None)
            super().report(job, token, fraction)
        else:
            self._unwritten[job] = Change(job, token, max([fraction, *(c.fraction for c in self._kept(job))]))

    def flush(self, jobs: Iterable[int] | None = None) -> None:
        """Write what was held back."""
        for job in list(self._unwritten) if jobs is None else jobs:
            for change in self._kept(job):
                self._write([change])
            self._unwritten.pop(job, None)

    def close(self) -> None:
        """Write what was held back."""
        self.flush()

    def _kept(self, job: int) -> list[Change]:
        return [self._unwritten[job]] if job in self._unwritten else []


class _ThrottledTooLong(Queue):
    def _writer(self) -> ProgressWriter:
        return _Throttled(self._write_progress, self.flush_interval)


class SqliteThrottledTooLong(_ThrottledTooLong, ImmediateBatch):
    """Seen in open-mercato #4537. Caught by progress-fresh."""


class PostgresThrottledTooLong(_ThrottledTooLong, SkipLockedCte):
    """The same on Postgres."""
