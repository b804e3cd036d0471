"""A limit of how many jobs may be running at once, whoever runs them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from reference_impl.postgres import SkipLockedCte
from reference_impl.queue import Queue, Row, read_whole
from reference_impl.sqlite import UpdateReturning


class Limited(Queue):
    """Counts what is running, and claims no more than there is room for; right while nobody else claims in between.

    Options besides: `most_running` (None; how many jobs may be running at once).
    """

    def __init__(self, url: str, *, most_running: int | None = None, **options: Any) -> None:
        super().__init__(url, **options)
        self.most_running = None if most_running is None else read_whole("most_running", most_running)

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        with self._alone():
            room = limit
            if self.most_running is not None:
                ((running,),) = self._run("count_running")
                room = min(limit, self.most_running - running)
            return super()._take(worker, room) if room > 0 else []  # type: ignore[safe-super]  # a strategy comes between

    @abstractmethod
    def _alone(self) -> AbstractContextManager[None]:
        """Hold a transaction beside which nobody claims."""


class SqliteLimited(Limited, UpdateReturning):
    """Right: BEGIN IMMEDIATE, so that who counts is the only one to write until it has claimed."""

    def _alone(self) -> AbstractContextManager[None]:
        return self._writing()


class PostgresLimited(Limited, SkipLockedCte):
    """Right: locks the queue's own row, so that one claims after the other and counts what the one before has committed."""

    def _alone(self) -> AbstractContextManager[None]:
        return self._locked()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._writing():
            self._run("lock_queue")
            yield
