"""Chooses in a common table expression that locks nothing, and does not look again at what it chose."""

from __future__ import annotations

from collections.abc import Iterable

from reference_impl.postgres import SkipLockedCte
from reference_impl.queue import Row


class PostgresStaleCandidate(SkipLockedCte):
    """Seen in awa#134. Who waited for a row updates its new version all the same, as the candidate is only an id.

    Caught by no-double-claim.
    """

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        return self._mark("take_candidates", worker, limit=limit)
