"""Takes the order in which RETURNING gives rows for that of the sub-select that chose them."""

from __future__ import annotations

from collections.abc import Iterable

from reference_impl.lease import Claim
from reference_impl.postgres import SkipLocked
from reference_impl.queue import Queue, Row
from reference_impl.sqlite import UpdateReturning


class _Unordered(Queue):
    def _in_order(self, rows: Iterable[Row]) -> list[Claim]:
        return [Claim(job, token, attempt) for _, job, token, attempt in rows]


class SqliteUnorderedReturning(_Unordered, UpdateReturning):
    """Found in pgmq and Oban by reading: neither engine promises an order. Caught by claim-order."""


class PostgresUnorderedReturning(_Unordered, SkipLocked):
    """The same on Postgres, whose UPDATE goes through the table as it lies."""
