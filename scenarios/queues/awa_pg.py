"""awa: its runtime, in Rust, claims for a process of Python, shows signs of life for it, and rescues what the dead held.

It claims along a queue's lanes, with a cursor that is locked for each claim, and writes a receipt for each job.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from awa import AsyncClient, Client, Job

QUEUE = "jobs"
CONCURRENCY = 5
SHUTDOWN_MS = 15_000
BEATS_A_LEASE = 4


@dataclass
class Work:
    """What a job is asked to do."""

    payload: str


class Awa:
    """`AsyncClient.task` and `start`. A claim is stale once its runtime has shown no sign of life for `lease_seconds`."""

    databases = ("postgres",)
    lease_seconds = 90.0
    idle_seconds = 2.0

    def __init__(self, url: str, *, lease_seconds: float = 90.0, **_options: Any) -> None:
        self._url = url
        self._lease_ms = int(lease_seconds * 1000)

    def install(self) -> None:
        """Migrate an empty database and start the runtime once, as it stays with its older storage where its first start finds jobs."""
        with Client(self._url) as client:
            client.migrate()
        told = threading.Event()
        told.set()
        self.work("", lambda _: None, told)

    def enqueue(self, jobs: list[dict[str, Any]]) -> list[int]:
        """Insert the jobs; the id of each is its job's."""
        with Client(self._url) as client:
            return [job.id for job in client.insert_many_copy([Work(job["payload"]) for job in jobs], queue=QUEUE)]

    def work(self, _worker: str, handler: Callable[[int], None], stop: threading.Event) -> None:
        """Run the runtime until it is told to stop."""
        asyncio.run(self._work(handler, stop))

    async def _work(self, handler: Callable[[int], None], stop: threading.Event) -> None:
        async with AsyncClient(self._url) as client:

            @client.task(Work, queue=QUEUE)
            async def work(job: Job[Work]) -> None:
                await asyncio.to_thread(handler, job.id)

            await client.start(
                [(QUEUE, CONCURRENCY)],
                heartbeat_interval_ms=self._lease_ms // BEATS_A_LEASE,
                heartbeat_rescue_interval_ms=self._lease_ms // BEATS_A_LEASE,
                heartbeat_staleness_ms=self._lease_ms,
            )
            await asyncio.to_thread(stop.wait)
            await client.shutdown(SHUTDOWN_MS)

    def close(self) -> None:
        """Nothing is left to do: every call closes its own connections."""
