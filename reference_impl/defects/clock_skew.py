"""Leases end by the clock of whoever sweeps: a worker whose clock is ahead takes the jobs of those that are alive and well."""

from __future__ import annotations

import time

from reference_impl.postgres import SkipLockedCte
from reference_impl.queue import Queue
from reference_impl.sqlite import ImmediateBatch


class _OwnClock(Queue):
    def _sweep(self, job: int | None) -> int:  # noqa: ARG002  # all at once
        return len(self._run("sweep_by_own_clock", now=time.time()))


class SqliteClockSkew(_OwnClock, ImmediateBatch):
    """Seen in django-q#236. Caught by single-owner."""


class PostgresClockSkew(_OwnClock, SkipLockedCte):
    """The same on Postgres."""
