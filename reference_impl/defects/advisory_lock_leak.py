"""Tries a job's lock in WHERE: it is taken of every job that is looked at, and LIMIT gives only some of these.

The others are ready, and nobody but this session can have them. No job gets two owners by it, as nobody is handed what is locked: what is
seen is that claims of the others come back empty while jobs are ready.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from reference_impl.lease import Claim
from reference_impl.postgres import PostgresQueue
from reference_impl.queue import Row


class PostgresAdvisoryLockLeak(PostgresQueue):
    """Seen in GoodJob#1735, Que#298. Caught by no-false-empty."""

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        return self._mark("take_trying_locks", worker, limit=limit)

    def _end(self, statement: str, handles: Sequence[Claim]) -> list[Claim]:
        accepted = super()._end(statement, handles)
        self._run("unlock", jobs=json.dumps([handle.job for handle in handles]))
        return accepted
