"""The loser of a race for a job gives an empty answer, though other jobs are ready."""

from __future__ import annotations

import json
from collections.abc import Iterable

from reference_impl.postgres import SkipLockedCte
from reference_impl.queue import Row
from reference_impl.sqlite import UpdateReturning


class SqliteGuardedSubquery(UpdateReturning):
    """Seen in huey#253, nanoclaw#3329: it reads, then updates what is still ready of that, once. Caught by no-false-empty."""

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        ready = self._run("select_ready", limit=limit)
        return self._mark("take_of", worker, jobs=json.dumps([job for job, _ in ready]))


class PostgresGuardedSubquery(SkipLockedCte):
    """The same in one statement: who had to wait finds that its job is gone, and looks for no other."""

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        return self._mark("take_guarded_subquery", worker, limit=limit)
