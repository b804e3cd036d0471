"""pgqueuer: `dequeue` picks in one statement (FOR UPDATE SKIP LOCKED) what is queued, and what was picked by who shows no sign of life."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import psycopg
from pgqueuer.models import Job
from pgqueuer.queries import EntrypointExecutionParameter, Queries
from pgqueuer.types import QueueEntrypoint, QueueManagerId

WORK = QueueEntrypoint("work")


class PgQueuer:
    """`Queries`: what its QueueManager asks of the database, as it asks it. A heartbeat is a job's own."""

    databases = ("postgres",)
    ordered = True
    lease_seconds = 30.0

    def __init__(self, url: str, lease_seconds: float = lease_seconds) -> None:
        self._url = url
        self._timeout = timedelta(seconds=lease_seconds)
        self._manager = QueueManagerId(uuid.uuid4())
        self._runner = asyncio.Runner()
        self._connection: psycopg.AsyncConnection[Any] | None = None

    def install(self) -> None:
        """Have pgqueuer make its tables."""
        self._runner.run(self._install())

    def enqueue(self, jobs: list[dict[str, Any]]) -> list[int]:
        """Enqueue all jobs in one statement."""
        return list(self._runner.run(self._enqueue(jobs)))

    def claim(self, _worker: str, limit: int) -> list[dict[str, Any]]:
        """Dequeue as many as asked for."""
        return [{"job": job.id, "picked": job} for job in self._runner.run(self._dequeue(limit))]

    def complete(self, _worker: str, handles: list[dict[str, Any]]) -> None:
        """Log all as successful, which takes them out of the queue."""
        self._runner.run(self._log([handle["picked"] for handle in handles]))

    def heartbeat(self, _worker: str, handles: list[dict[str, Any]]) -> None:
        """Update the heartbeats."""
        self._runner.run(self._update_heartbeat([handle["picked"] for handle in handles]))

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._runner.run(self._connection.close())
        self._runner.close()

    async def _queries(self) -> Queries:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True)
        return Queries.from_psycopg_connection(self._connection)

    async def _install(self) -> None:
        await (await self._queries()).install()

    async def _enqueue(self, jobs: list[dict[str, Any]]) -> list[Any]:
        queries = await self._queries()
        payloads: list[bytes | None] = [job["payload"].encode() for job in jobs]
        return await queries.enqueue([WORK] * len(jobs), payloads, [job["priority"] for job in jobs])

    async def _dequeue(self, limit: int) -> list[Job]:
        queries = await self._queries()
        unlimited = {WORK: EntrypointExecutionParameter(concurrency_limit=0)}
        return await queries.dequeue(limit, unlimited, self._manager, None, self._timeout)

    async def _log(self, jobs: list[Job]) -> None:
        await (await self._queries()).log_jobs([(job, "successful", None) for job in jobs])

    async def _update_heartbeat(self, jobs: list[Job]) -> None:
        await (await self._queries()).update_heartbeat([job.id for job in jobs])
