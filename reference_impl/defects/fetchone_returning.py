"""Reads one row of UPDATE … RETURNING and keeps the cursor: the statement is not over, and the write lock stays."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from reference_impl.queue import Row
from reference_impl.sqlite import UpdateReturning


class SqliteFetchoneReturning(UpdateReturning):
    """A shape we reproduced: others find the file locked until this process happens to use the cursor again. Caught by lock-errors."""

    _cursor: sqlite3.Cursor | None = None

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        given = {"worker": worker, "limit": limit, "lease": self._lease}
        with self._acquire() as connection:
            self._cursor = self._patiently(lambda: connection.execute(self._statements["take_best"], given))
            row = self._cursor.fetchone()
        return [] if row is None else [row]
