"""Ways of enqueueing what may be enqueued twice: by two at the same moment, or again by one who got no answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from reference_impl.postgres import SkipLockedCte
from reference_impl.queue import Queue, read_jobs
from reference_impl.sqlite import ImmediateBatch

T = TypeVar("T")

TRIES: Final = 3
_LOST: Final = ("08", "57")  # classes of SQLSTATE: the connection failed, or somebody ended it


def insist(enqueue: Callable[[], T]) -> T:
    """Enqueue again, on a new connection, where that of a Postgres queue was lost before the answer came; up to three times.

    What was tried before may have been committed: right only where enqueueing twice does what enqueueing once does.
    """
    import psycopg  # noqa: PLC0415  # only who opens Postgres needs its driver

    for _ in range(TRIES - 1):
        try:
            return enqueue()
        except psycopg.OperationalError as error:
            if error.sqlstate is not None and not error.sqlstate.startswith(_LOST):
                raise
    return enqueue()


def key_of(job: Mapping[str, Any]) -> str | None:
    """The key of a job, a text in its payload that is not empty; None where it has none."""
    payload = job.get("payload")
    key = payload.get("key") if isinstance(payload, Mapping) else None
    return key if isinstance(key, str) and key else None


class Keyed(Queue):
    """Jobs with keys: two parts to enqueue them with, for who sees to it that there is one of each."""

    def install(self) -> None:
        """As `Queue.install`, with a column for the key."""
        super().install()  # type: ignore[safe-super]  # an engine's queue comes between
        self._run("add_key")

    def _add(self, jobs: Sequence[dict[str, Any]]) -> list[tuple[int, str | None]]:
        """Add jobs, but for those that a unique index refuses; the ids and keys of those added, in their order."""
        added = self._run("enqueue_keyed", jobs=read_jobs(jobs), keys=json.dumps([key_of(job) for job in jobs]))
        return sorted((job, key) for job, key in added)

    def _known(self, keys: Sequence[str | None]) -> dict[str, int]:
        """The oldest job of each key that has one."""
        return dict(self._run("find_by_key", keys=json.dumps(keys)))


class EnqueueOnce(Keyed):
    """Right: of the jobs whose payload has one `key` there is one, finished or not, which a unique index sees to."""

    def install(self) -> None:
        """As `Keyed.install`, with the index."""
        super().install()
        self._run("make_keys_unique")

    def enqueue(self, jobs: Sequence[dict[str, Any]]) -> list[int]:
        """As `Queue.enqueue`, in one transaction; of a job whose key is there the id is given, and nothing is added."""
        if not jobs:
            return []
        keys = [key_of(job) for job in jobs]
        with self._writing():
            added = self._add(jobs)
            known = self._known(keys) if any(keys) else {}
        new = iter([job for job, key in added if key is None])
        return [next(new) if key is None else known[key] for key in keys]


class SqliteEnqueueOnce(EnqueueOnce, ImmediateBatch):
    """`EnqueueOnce` on SQLite, where no answer is lost between the database and its user."""


class PostgresEnqueueOnce(EnqueueOnce, SkipLockedCte):
    """`EnqueueOnce` on Postgres, which insists where every job has a key."""

    def enqueue(self, jobs: Sequence[dict[str, Any]]) -> list[int]:
        """As `EnqueueOnce.enqueue`; again where it met another that adds the same keys in another order, and was undone."""
        enqueue = partial(self._again, partial(super().enqueue, jobs))
        return insist(enqueue) if all(key_of(job) is not None for job in jobs) else enqueue()
