"""Nobody looks after the jobs of a worker that was killed."""

from __future__ import annotations

from reference_impl.postgres import SkipLockedCte
from reference_impl.queue import Queue
from reference_impl.sqlite import ImmediateBatch


class _Careless(Queue):
    def recover(self) -> int:
        """Do nothing."""
        return 0


class SqliteNoRecovery(_Careless, ImmediateBatch):
    """Seen in django-tasks#46, kombu. Caught by no-lost-job."""


class PostgresNoRecovery(_Careless, SkipLockedCte):
    """The same on Postgres."""
