"""Makes every running job ready when it starts, as if nobody else were at work: a worker that joins takes what its peers have."""

from __future__ import annotations

from typing import Any

from reference_impl.postgres import SkipLockedCte
from reference_impl.queue import Queue
from reference_impl.sqlite import ImmediateBatch


class _Starter(Queue):
    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        if self._run("find_jobs_table"):
            self._change("make_all_ready")


class SqliteStartupSteals(_Starter, ImmediateBatch):
    """Seen in persist-queue, GoodJob#90. Caught by single-owner."""


class PostgresStartupSteals(_Starter, SkipLockedCte):
    """The same on Postgres."""
