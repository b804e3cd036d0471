"""chancy: a worker fetches in one statement (FOR UPDATE SKIP LOCKED), with a claim id that is asked for again when the job is updated.

What a worker has that is not announced any more is given back by who leads, and its updates come too late.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from chancy import Chancy as App
from chancy import Job, Queue, QueuedJob, Worker
from chancy.plugin import Plugin
from chancy.plugins.recovery import Recovery
from psycopg.rows import dict_row

QUEUE = Queue(name="default")
LEAD = "SELECT pg_try_advisory_xact_lock(hashtext('leader')) AS leads"


def work(payload: str) -> None:
    """Stands for the work: how long it takes is for the worker to say."""


class Updated(Plugin):  # type: ignore[misc]  # chancy ships no types
    """Is told which updates were accepted."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[str] = []

    @staticmethod
    def get_identifier() -> str:
        """Its name."""
        return "contend.updated"

    async def on_job_updated(self, *, job: QueuedJob, worker: Worker) -> None:  # noqa: ARG002  # as chancy calls it
        """Take note of a job."""
        self.jobs.append(str(job.id))


class Chancy:
    """A Worker's `fetch_jobs`, `queue_update` and `flush`, without its loop. A heartbeat is a worker's, for all it has."""

    databases = ("postgres",)
    lease_seconds = 90.0

    def __init__(self, url: str, lease_seconds: float | None = None) -> None:
        self._announces_each_claim = lease_seconds is not None  # else as rarely as a worker does: once, within a race
        self._announced = False
        self._updated = Updated()
        self._app = App(url, plugins=[self._updated], no_default_plugins=True, max_connection_pool_size=1)
        self._worker = Worker(self._app, heartbeat_timeout=lease_seconds or self.lease_seconds)
        self._runner = asyncio.Runner()
        self._runner.run(self._open())

    def install(self) -> None:
        """Migrate, and declare the queue."""
        self._runner.run(self._install())

    def enqueue(self, jobs: list[dict[str, Any]]) -> list[str]:
        """Push all jobs in one transaction."""
        return self._runner.run(self._push(jobs))

    def claim(self, _worker: str, limit: int) -> list[dict[str, Any]]:
        """Fetch as many as asked for."""
        return [
            {"job": str(job.id), "token": str(job.claim_id), "fetched": job}
            for job in self._runner.run(self._fetch(limit))
        ]

    def complete(self, _worker: str, handles: list[dict[str, Any]]) -> list[str]:
        """Update all as succeeded; give those that were accepted."""
        self._runner.run(self._succeed([handle["fetched"] for handle in handles]))
        return [handle["job"] for handle in handles if handle["job"] in self._updated.jobs]

    def heartbeat(self, _worker: str, _handles: list[dict[str, Any]]) -> None:
        """Announce the worker."""
        self._runner.run(self._announce())

    def recover(self) -> int:
        """Recover what unannounced workers have, as the leader among those that are asked to: there is but one."""
        return self._runner.run(self._recover())

    def close(self) -> None:
        """Close the connection."""
        self._runner.run(self._close())
        self._runner.close()

    async def _open(self) -> None:
        await self._app.pool.open()

    async def _close(self) -> None:
        await self._app.pool.close()

    async def _install(self) -> None:
        await self._app.migrate()
        await self._app.declare(QUEUE)

    async def _push(self, jobs: list[dict[str, Any]]) -> list[str]:
        new = [Job.from_func(work, kwargs={"payload": job["payload"]}, priority=job["priority"]) for job in jobs]
        return [str(each.identifier) async for batch in self._app.push_many(new, batch_size=len(new)) for each in batch]

    async def _announce(self) -> None:
        async with self._app.pool.connection() as connection:
            await self._worker.announce_worker(connection)
        self._announced = True

    async def _fetch(self, limit: int) -> list[QueuedJob]:
        if self._announces_each_claim or not self._announced:
            await self._announce()
        async with self._app.pool.connection() as connection:
            fetched: list[QueuedJob] = await self._worker.fetch_jobs(QUEUE, connection, up_to=limit)
            return fetched

    async def _succeed(self, jobs: list[QueuedJob]) -> None:
        self._updated.jobs.clear()
        for job in jobs:
            await self._worker.queue_update(replace(job, state=QueuedJob.State.SUCCEEDED, attempts=job.attempts + 1))
        await self._worker.flush()

    async def _recover(self) -> int:
        async with self._app.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(LEAD)
            if await cursor.fetchone() != {"leads": True}:
                return 0
            return int(await Recovery.recover(self._worker, self._app, cursor))
