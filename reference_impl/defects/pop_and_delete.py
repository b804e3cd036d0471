"""Deletes a job when it is claimed, and says that it executes each at least once: who dies takes the job along."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reference_impl.lease import Claim
from reference_impl.postgres import SkipLockedCte
from reference_impl.queue import Queue, Row
from reference_impl.sqlite import UpdateReturning


class _Popping(Queue):
    def _take(self, worker: str, limit: int) -> Iterable[Row]:  # noqa: ARG002  # there is no row left to put it in
        return self._run("pop", limit=limit)

    def complete(self, worker: str, handles: Sequence[Claim]) -> list[Claim]:  # noqa: ARG002  # as above
        """There is nothing left to be done."""
        return list(handles)


class SqlitePopAndDelete(_Popping, UpdateReturning):
    """Seen in huey#253, which declares it. Caught by no-lost-job."""


class PostgresPopAndDelete(_Popping, SkipLockedCte):
    """The same on Postgres."""
