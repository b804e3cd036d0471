"""Takes a serialization failure for "there is no job"."""

from __future__ import annotations

from collections.abc import Iterable

from reference_impl.postgres import SkipLocked
from reference_impl.queue import Row


class PostgresSkipLockedSerializable(SkipLocked):
    """Seen in Couchers#9439: at REPEATABLE READ, SKIP LOCKED fails with 40001 at a row that was changed since the first look.

    Caught by no-false-empty.
    """

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        import psycopg  # noqa: PLC0415  # only who opens Postgres needs its driver

        try:
            with self._writing():
                self._run("set_repeatable_read")
                if not self._run("select_ready", limit=1):
                    return []
                jobs = [job for (job,) in self._run("lock_ready_skipping", limit=limit)]
                return self._mark("take_batch", worker, jobs=jobs) if jobs else []
        except psycopg.errors.SerializationFailure:
            return []
