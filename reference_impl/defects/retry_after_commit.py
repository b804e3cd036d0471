"""Takes a lost answer for a failure: enqueues again on a new connection what may have been committed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from reference_impl.enqueueing import insist
from reference_impl.postgres import SkipLockedCte


class PostgresRetryAfterCommit(SkipLockedCte):
    """Seen in murmur#122: what was committed before its answer was lost is done twice, once under an id nobody knows.

    Caught by no-phantom-claim. Not by no-double-claim: the two jobs have ids of their own, and each is handed out once. A claim that is
    repeated so takes further jobs, and those of the first are recovered when their lease is over.
    """

    def enqueue(self, jobs: Sequence[dict[str, Any]]) -> list[int]:
        """As `Queue.enqueue`, and again where no answer came."""
        return insist(partial(super().enqueue, jobs))
