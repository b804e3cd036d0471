"""The sweep lists what is due, then makes it ready without looking again: what was finished meanwhile is done a second time."""

from __future__ import annotations

from reference_impl.postgres import SkipLockedCte
from reference_impl.queue import Queue
from reference_impl.sqlite import ImmediateBatch


class _Rescuer(Queue):
    def recover(self) -> int:
        """As `Queue.recover`, in two looks."""
        due = self._run("find_due")
        return sum(self._change("make_ready", job=job) for (job,) in due)


class SqliteRescueFinished(_Rescuer, ImmediateBatch):
    """Seen in River#1302, solid_queue#589, rq#2424. Caught by terminal-once."""


class PostgresRescueFinished(_Rescuer, SkipLockedCte):
    """The same on Postgres."""
