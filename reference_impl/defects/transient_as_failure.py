"""Takes an error of the moment, met while claiming, for a failure of the job, then tries the next: an attempt counts that nobody began."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from reference_impl.postgres import PostgresQueue
from reference_impl.queue import Row
from reference_impl.sqlite import SqliteQueue


class SqliteTransientAsFailure(SqliteQueue):
    """Seen in laravel#59199. The error is BUSY: another wrote between the look and the UPDATE. Caught by attempts-counted."""

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        while True:
            jobs = "[]"
            try:
                with self._transaction("BEGIN"):
                    jobs = json.dumps([job for job, _ in self._run("select_ready", limit=limit)])
                    return self._mark("take_batch", worker, jobs=jobs)
            except sqlite3.OperationalError:
                self._change("charge_attempt", jobs=jobs)


class PostgresTransientAsFailure(PostgresQueue):
    """The same on Postgres, at REPEATABLE READ: of two that claim jobs of their own and count them in one row, one is undone."""

    def install(self) -> None:
        """Make the tables, and the one that counts."""
        super().install()
        self._run("make_tally")

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        import psycopg  # noqa: PLC0415  # only who opens Postgres needs its driver

        while True:
            jobs: list[int] = []
            try:
                with self._writing():
                    self._run("set_repeatable_read")
                    jobs = [job for (job,) in self._run("lock_ready_skipping", limit=limit)]
                    self._change("raise_tally", jobs=len(jobs))
                    return self._mark("take_batch", worker, jobs=jobs)
            except psycopg.errors.SerializationFailure:
                self._change("charge_attempt", jobs=jobs)
