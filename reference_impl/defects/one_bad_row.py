"""Sweeps with one statement and nothing else: a row that cannot be changed stops it for every job, now and ever after.

The queues here, right and wrong, begin with such a row: a job that is to be there once, running and long due, whose twin is done, so that
it can be made neither ready nor dead.
"""

from __future__ import annotations

from reference_impl.postgres import SkipLockedCte
from reference_impl.queue import Queue
from reference_impl.sqlite import ImmediateBatch


class SqliteBadRow(ImmediateBatch):
    """Right: the sweep sees to each of the other jobs, and names the one it cannot."""

    def install(self) -> None:
        """Make the tables, and leave the row."""
        super().install()
        _leave_bad_row(self)


class PostgresBadRow(SkipLockedCte):
    """The same on Postgres."""

    def install(self) -> None:
        """Make the tables, and leave the row."""
        super().install()
        _leave_bad_row(self)


def _leave_bad_row(queue: Queue) -> None:
    queue._run("leave_bad_row")
    queue._run("refuse_bad_row")


class _Stopped(Queue):
    def recover(self) -> int:
        """As `Queue.recover`, all or nothing."""
        return self._sweep(None)


class SqliteOneBadRow(_Stopped, SqliteBadRow):
    """Seen in awa#388, River#1318. Caught by no-lost-job."""


class PostgresOneBadRow(_Stopped, PostgresBadRow):
    """The same on Postgres."""
