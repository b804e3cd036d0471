"""Leaves a heartbeat to the connection that is busy with the work, and says that all is still held before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reference_impl.lease import Claim
from reference_impl.postgres import SkipLockedCte
from reference_impl.queue import Queue
from reference_impl.sqlite import ImmediateBatch


class _Starved(Queue):
    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._owed: list[Claim] = []

    def heartbeat(self, worker: str, handles: Sequence[Claim]) -> list[Claim]:  # noqa: ARG002  # as in Queue
        """Have the leases extended once the work lets its connection go."""
        self._owed += handles
        return list(handles)

    def _end(self, statement: str, handles: Sequence[Claim]) -> list[Claim]:
        self._fenced("heartbeat", self._owed)
        self._owed.clear()
        return super()._end(statement, handles)


class SqliteStarvedHeartbeat(_Starved, ImmediateBatch):
    """Seen in Prefect#21276, pgqueuer#430. Caught by single-owner."""


class PostgresStarvedHeartbeat(_Starved, SkipLockedCte):
    """The same on Postgres."""
