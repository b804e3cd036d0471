"""Reads one row of UPDATE … RETURNING and keeps the cursor: the statement is not over, and the write lock stays."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import TypeVar

from reference_impl.queue import Row
from reference_impl.sqlite import UpdateReturning

T = TypeVar("T")


class SqliteFetchoneReturning(UpdateReturning):
    """A shape we reproduced: others find the file locked until this process happens to use the cursor again, when its work is done.

    Of claims of several jobs only, as Python's sqlite3 looks ahead and ends a statement with its last row; so all but the first job of
    such a claim are handed to nobody besides. Caught by lock-errors.
    """

    _cursor: sqlite3.Cursor | None = None

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        given = {"worker": worker, "limit": limit, "lease": self._lease}
        cursor = self._each(lambda connection: connection.execute(self._statements["take_best"], given))
        row = cursor.fetchone()
        self._cursor = cursor
        return [] if row is None else [row]

    def _each(self, execute: Callable[[sqlite3.Connection], T]) -> T:
        self._cursor = None  # what uses the cursor next resets the statement
        return super()._each(execute)
