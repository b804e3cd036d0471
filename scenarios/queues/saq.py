"""saq's Postgres queue: a dequeue marks rows active that nobody else has locked; a sweep gives back what has been active too long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from saq import Job, Queue, Status

T = TypeVar("T")

EMPTY_SECONDS = 0.05  # that a dequeue waits to be notified, before it says that there is no job
TRIES = 1000


class Saq:
    """`dequeue` and `finish`, as saq's own worker calls them; its loop runs in a thread of its own.

    A job is active until its time-out, a whole number of seconds, is over and somebody sweeps.
    """

    databases = ("postgres",)
    lease_seconds = 10.0

    def __init__(self, url: str, *, lease_seconds: float = 10.0, **_options: Any) -> None:
        if lease_seconds < 1 or lease_seconds != int(lease_seconds):
            raise ValueError(f"saq gives jobs whole seconds, and lease_seconds is {lease_seconds!r}")
        self._timeout = int(lease_seconds)
        self._queue = Queue.from_url(url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="saq", daemon=True)
        self._thread.start()
        self._do(self._queue.connect())

    def install(self) -> None:
        """Nothing is left to do: saq makes its tables as it connects."""

    def enqueue(self, jobs: list[dict[str, Any]]) -> list[str]:
        """Enqueue each job; its id is its key."""
        return self._do(self._enqueue(jobs))

    def claim(self, worker: str, limit: int) -> list[dict[str, Any]]:
        """Dequeue as often as asked for, while there is a job."""
        return self._do(self._claim(worker, limit))

    def complete(self, _worker: str, handles: list[dict[str, Any]]) -> None:
        """Finish each."""
        self._do(self._complete(handles))

    def recover(self) -> int:
        """Sweep, which gives back or aborts what has been active too long; nobody else sweeps as long as this process is connected."""
        return len(self._do(self._queue.sweep()))

    def close(self) -> None:
        """Disconnect."""
        self._do(self._queue.disconnect())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _enqueue(self, jobs: list[dict[str, Any]]) -> list[str]:
        keys: list[str] = []
        for each in jobs:
            job = await self._queue.enqueue("work", job=each["payload"], timeout=self._timeout, retries=TRIES)
            assert job is not None  # noqa: S101  # as its key is new
            keys.append(job.key)
        return keys

    async def _claim(self, worker: str, limit: int) -> list[dict[str, Any]]:
        claimed: list[dict[str, Any]] = []
        while len(claimed) < limit and (job := await self._queue.dequeue(timeout=EMPTY_SECONDS)) is not None:
            job.attempts += 1
            job.worker_id = worker
            await job.update(status=Status.ACTIVE)
            claimed.append({"job": job.key, "attempt": job.attempts, "item": job})
        return claimed

    async def _complete(self, handles: list[dict[str, Any]]) -> None:
        for handle in handles:
            job: Job = handle["item"]
            await job.finish(Status.COMPLETE)

    def _do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
