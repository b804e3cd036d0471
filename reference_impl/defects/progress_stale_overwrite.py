"""Writes the change that was reported last, whatever the job has reached since: progress goes backward."""

from __future__ import annotations

import json
from collections.abc import Sequence

from reference_impl.postgres import SkipLockedCte
from reference_impl.progress import Batched, Buffered, Change, ProgressWriter
from reference_impl.queue import Queue
from reference_impl.sqlite import ImmediateBatch


class _Last(Buffered):
    def report(self, job: int, token: int, fraction: float) -> None:
        """Keep the last change, not the largest."""
        with self._changed:
            self._waiting.pop(job, None)
        super().report(job, token, fraction)


class _StaleOverwrite(Queue):
    def _writer(self) -> ProgressWriter:
        return _Last(self._write_progress, Batched(self.flush_interval, self.max_batch_size))

    def _write_progress(self, changes: Sequence[Change]) -> None:
        triples = [(change.job, change.token, change.fraction) for change in changes]
        self._change("write_progress_unguarded", changes=json.dumps(triples))


class SqliteStaleOverwrite(_StaleOverwrite, ImmediateBatch):
    """Seen in antenna #1338, bull #850. Caught by progress-monotonic."""


class PostgresStaleOverwrite(_StaleOverwrite, SkipLockedCte):
    """The same on Postgres."""
