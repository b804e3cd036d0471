"""Goes by when a job was claimed, not by its last heartbeat: who works for longer than a lease is taken for dead."""

from __future__ import annotations

from collections.abc import Sequence

from reference_impl.lease import Claim
from reference_impl.postgres import SkipLockedCte
from reference_impl.queue import Queue
from reference_impl.sqlite import ImmediateBatch


class _WrongClock(Queue):
    def heartbeat(self, worker: str, handles: Sequence[Claim]) -> list[Claim]:  # noqa: ARG002  # as in Queue
        """Say that the claims are still held, and extend nothing that the sweep goes by."""
        return self._fenced("touch", handles)


class SqliteWrongClock(_WrongClock, ImmediateBatch):
    """Seen in procrastinate#1300, celery#5935. Caught by single-owner."""


class PostgresWrongClock(_WrongClock, SkipLockedCte):
    """The same on Postgres."""
