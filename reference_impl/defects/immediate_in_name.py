"""Sets `isolation_level="IMMEDIATE"` and believes that its SELECT is in the transaction: only the UPDATE is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from reference_impl.queue import Row
from reference_impl.sqlite import ImmediateBatch


class SqliteImmediateInName(ImmediateBatch):
    """Seen in huey#123, dbos#564: Python's sqlite3 begins a transaction before what writes, not before a SELECT.

    (https://docs.python.org/3/library/sqlite3.html#sqlite3.Connection.isolation_level.) Caught by no-double-claim.
    """

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        return self._patiently(lambda: self._in_name(worker, limit))

    def _in_name(self, worker: str, limit: int) -> list[Row]:
        with self._acquire() as connection:
            connection.isolation_level = "IMMEDIATE"
            try:
                with connection:
                    ready = connection.execute(self._statements["select_ready"], {"limit": limit}).fetchall()
                    given: dict[str, Any] = {
                        "jobs": json.dumps([job for job, _ in ready]),
                        "worker": worker,
                        "lease": self._lease,
                    }
                    return connection.execute(self._statements["take_batch"], given).fetchall()
            finally:
                connection.isolation_level = None
