"""Completes whatever is running: the state of the job is asked, not whose claim it is, and the successor's passes."""

from __future__ import annotations

from collections.abc import Sequence

from reference_impl.lease import Claim
from reference_impl.postgres import SkipLockedCte
from reference_impl.queue import Queue
from reference_impl.sqlite import ImmediateBatch


class _StateOnly(Queue):
    def _fenced(self, statement: str, handles: Sequence[Claim]) -> list[Claim]:
        return super()._fenced("complete_running" if statement == "complete" else statement, handles)


class SqliteStateOnlyFence(_StateOnly, ImmediateBatch):
    """Found in River and pg-boss by reading. Caught by fenced-completion."""


class PostgresStateOnlyFence(_StateOnly, SkipLockedCte):
    """The same on Postgres."""
