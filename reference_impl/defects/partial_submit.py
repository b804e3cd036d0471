"""Commits a run before its jobs: who looks in between sees a run without them, and a crash leaves it so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reference_impl.postgres import SkipLockedCte
from reference_impl.queue import Queue, read_tag
from reference_impl.sqlite import ImmediateBatch


class _PartialSubmit(Queue):
    def submit_run(self, tag: str, jobs: Sequence[dict[str, Any]]) -> int:
        """As `Queue.submit_run`, but not all or nothing, and a statement for each job."""
        ((run,),) = self._run("make_run", tag=read_tag(tag))
        for job in jobs:
            self.enqueue([{"tag": tag, **job, "run": run}])
        return int(run)


class SqlitePartialSubmit(_PartialSubmit, ImmediateBatch):
    """Seen in hero_proc #128, radis #276. Caught by submit-atomic."""


class PostgresPartialSubmit(_PartialSubmit, SkipLockedCte):
    """The same on Postgres."""
