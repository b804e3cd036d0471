"""Looks whether a job is there before it adds it: two that look at the same moment both add it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reference_impl.enqueueing import Keyed, key_of
from reference_impl.postgres import SkipLockedCte
from reference_impl.sqlite import ImmediateBatch


class _LooksFirst(Keyed):
    def enqueue(self, jobs: Sequence[dict[str, Any]]) -> list[int]:
        """As `EnqueueOnce.enqueue`, without its index and its transaction; of several jobs with one key the first is given."""
        return [self._get_or_create(job) for job in jobs]

    def _get_or_create(self, job: dict[str, Any]) -> int:
        key = key_of(job)
        if key is None:
            return self._add([job])[0][0]
        if not self._known([key]):
            self._add([job])
        return self._known([key])[key]


class SqliteUniqueCheckThenInsert(_LooksFirst, ImmediateBatch):
    """Seen in django-q#231, River#619. Both are told the id of the first job; the second is done as well, and nobody asked for it.

    Caught by no-phantom-claim.
    """


class PostgresUniqueCheckThenInsert(_LooksFirst, SkipLockedCte):
    """The same on Postgres."""
