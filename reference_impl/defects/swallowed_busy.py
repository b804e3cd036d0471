"""“database is locked” is ignored where a job is completed: the worker believes it is done, and the job is done again, or never."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from reference_impl.lease import Claim
from reference_impl.sqlite import ImmediateBatch


class SqliteSwallowedBusy(ImmediateBatch):
    """Seen in Cloacina I-0140, mydia#283. Caught by no-swallowed-error."""

    def complete(self, worker: str, handles: Sequence[Claim]) -> list[Claim]:
        """Say that the jobs are completed, whatever the database said."""
        try:
            return super().complete(worker, handles)
        except sqlite3.OperationalError:
            return list(handles)
