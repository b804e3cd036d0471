"""Takes an attempt back when its lease runs out: attempts are not the executions begun."""

from __future__ import annotations

from reference_impl.postgres import SkipLockedCte
from reference_impl.queue import Queue
from reference_impl.sqlite import ImmediateBatch


class _Miscounting(Queue):
    def recover(self) -> int:
        """As `Queue.recover`, as if what was not finished had never been begun."""
        return self._change("sweep_miscounting")


class SqliteAttemptMiscount(_Miscounting, ImmediateBatch):
    """Seen in pg-boss, Oban#652. Caught by attempts-counted."""


class PostgresAttemptMiscount(_Miscounting, SkipLockedCte):
    """The same on Postgres."""
