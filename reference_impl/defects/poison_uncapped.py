"""Sweeps without a cap: a job that kills whoever has it is handed out for ever."""

from __future__ import annotations

from reference_impl.postgres import SkipLockedCte
from reference_impl.queue import Queue
from reference_impl.sqlite import ImmediateBatch

UNLIMITED = 2**31 - 1


class _Uncapped(Queue):
    def _sweep(self, job: int | None) -> int:
        return len(self._run("sweep", job=job, most=UNLIMITED))


class SqlitePoisonUncapped(_Uncapped, ImmediateBatch):
    """Seen in sidekiq#4633, Cloacina T-0926: only what fails is counted, not what dies. Caught by attempts-counted."""


class PostgresPoisonUncapped(_Uncapped, SkipLockedCte):
    """The same on Postgres."""
