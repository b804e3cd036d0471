"""Completes by the job's id alone: a worker whose lease ran out finishes what another is at work on."""

from __future__ import annotations

from collections.abc import Sequence

from reference_impl.lease import Claim
from reference_impl.postgres import SkipLockedCte
from reference_impl.queue import Queue
from reference_impl.sqlite import ImmediateBatch


class _Unfenced(Queue):
    def _fenced(self, statement: str, handles: Sequence[Claim]) -> list[Claim]:
        return super()._fenced("complete_unfenced" if statement == "complete" else statement, handles)


class SqliteUnfencedCompletion(_Unfenced, ImmediateBatch):
    """Seen in Cloacina T-0481, dbos#773. Caught by fenced-completion."""


class PostgresUnfencedCompletion(_Unfenced, SkipLockedCte):
    """The same on Postgres."""
