"""Deletes up to the last id it has seen: a job with a lower id that was committed since goes with the others."""

from __future__ import annotations

from collections.abc import Sequence

from reference_impl.enqueueing import PostgresEnqueueOnce
from reference_impl.queue import Kind


class PostgresIdWatermarkDelete(PostgresEnqueueOnce):
    """Seen in brandur/sorg#159: an id is given out when a job is inserted, and the job is seen when its transaction commits.

    Caught by delete-exact. SQLite has one writer at a time, so that there ids are committed in their order.
    """

    def _delete(self, kind: Kind, ids: Sequence[int]) -> int:
        if kind != "jobs" or self._run("find_others_up_to", ids=ids):
            return super()._delete(kind, ids)
        return self._change("delete_jobs_up_to", last=max(ids))
