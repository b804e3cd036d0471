"""Asks what may be claimed after LIMIT: while the first jobs are taken, nobody gets to those behind."""

from __future__ import annotations

from collections.abc import Iterable

from reference_impl.postgres import SkipLockedCte
from reference_impl.queue import Row
from reference_impl.sqlite import UpdateReturning


class SqliteFilterAfterLimit(UpdateReturning):
    """Seen in pg-boss#756, procrastinate#1599. Caught by no-false-empty."""

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        return self._mark("take_of_first", worker, limit=limit)


class PostgresFilterAfterLimit(SkipLockedCte):
    """The same on Postgres."""

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        return self._mark("take_of_first", worker, limit=limit)
