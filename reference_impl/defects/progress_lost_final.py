"""Flushes when a job is done, but not when it fails or its process closes: the last value is lost."""

from __future__ import annotations

from collections.abc import Sequence

from reference_impl.lease import Claim
from reference_impl.postgres import SkipLockedCte
from reference_impl.queue import Queue
from reference_impl.sqlite import ImmediateBatch


class _LostFinal(Queue):
    def fail(self, worker: str, handles: Sequence[Claim]) -> list[Claim]:  # noqa: ARG002  # as in Queue
        """As `Queue.fail`, without writing what was reported."""
        return self._fenced("fail", handles)


class SqliteLostFinal(_LostFinal, ImmediateBatch):
    """Shape of issue 061's example, whose final flush stands after the loop and not in a `finally`. Caught by progress-final."""


class PostgresLostFinal(_LostFinal, SkipLockedCte):
    """The same on Postgres."""
