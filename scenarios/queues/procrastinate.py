"""procrastinate: a function in the database takes the first job (FOR UPDATE SKIP LOCKED) and notes which worker has it.

A job comes back when somebody asks for the jobs of workers that have not beaten for a while, and has them tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import psycopg
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job, Status

ONE_AT_A_TIME = "SELECT pg_try_advisory_xact_lock(hashtext('retry_stalled_jobs'))"


class Procrastinate:
    """The JobManager of an App, as its own worker asks it: for one job at a time. A heartbeat is a worker's, for all it has."""

    databases = ("postgres",)
    ordered = True
    lease_seconds = 30.0

    def __init__(self, url: str, lease_seconds: float | None = None) -> None:
        self._url = url
        self._stalled_seconds = lease_seconds or self.lease_seconds
        self._beats_with_claims = lease_seconds is not None  # else as rarely as its worker: not within a race
        self._app = App(connector=PsycopgConnector(conninfo=url, min_size=1, max_size=1))
        self._jobs = self._app.job_manager
        self._registered: int | None = None
        self._runner = asyncio.Runner()
        self._runner.run(self._open())

        @self._app.task(name="work")
        async def work(payload: str) -> None:
            """Do nothing: how long work takes is for the worker to say."""

        self._work = work

    def install(self) -> None:
        """Apply its schema."""
        self._runner.run(self._app.schema_manager.apply_schema_async())

    def enqueue(self, jobs: list[dict[str, Any]]) -> list[int | None]:
        """Defer all jobs in one statement."""
        new = [self._work.configure(priority=job["priority"]).make_new_job(payload=job["payload"]) for job in jobs]
        return [job.id for job in self._runner.run(self._jobs.batch_defer_jobs_async(new))]

    def claim(self, _worker: str, limit: int) -> list[int | None]:
        """Fetch as often as asked for, while there is a job."""
        return self._runner.run(self._fetch(limit))

    def complete(self, _worker: str, handles: list[int]) -> list[int]:
        """Finish each; one that is not to be finished any more is refused."""
        return self._runner.run(self._finish(handles))

    def heartbeat(self, _worker: str, _handles: list[int]) -> None:
        """Beat as a worker."""
        self._runner.run(self._beat())

    def recover(self) -> int:
        """Have stalled jobs tried again, as its documentation has a periodic task do: no two of those are at it at once."""
        return self._runner.run(self._retry_stalled())

    def close(self) -> None:
        """Close the connection. The worker stays registered, as of one that died: what it has not finished comes back."""
        self._runner.run(self._app.close_async())
        self._runner.close()

    async def _open(self) -> None:
        await self._app.open_async()

    async def _worker(self) -> int:
        if self._registered is None:
            self._registered = await self._jobs.register_worker()
        return self._registered

    async def _beat(self) -> None:
        await self._jobs.update_heartbeat(await self._worker())

    async def _fetch(self, limit: int) -> list[int | None]:
        if self._beats_with_claims:
            await self._beat()
        fetched: list[int | None] = []
        while len(fetched) < limit and (job := await self._fetch_one()) is not None:
            fetched.append(job.id)
        return fetched

    async def _fetch_one(self) -> Job | None:
        try:
            return await self._jobs.fetch_job(queues=None, worker_id=await self._worker())
        except ConnectorException as error:
            if not isinstance(error.__cause__, psycopg.errors.ForeignKeyViolation):
                raise
        self._registered = None  # it is not known any more, as stalled workers are pruned
        return await self._jobs.fetch_job(queues=None, worker_id=await self._worker())

    async def _finish(self, jobs: list[int]) -> list[int]:
        return [
            job
            for job in jobs
            if await accepted(self._jobs.finish_job_by_id_async(job, Status.SUCCEEDED, delete_job=False))
        ]

    async def _retry_stalled(self) -> int:
        async with await psycopg.AsyncConnection.connect(self._url) as turn:
            if await (await turn.execute(ONE_AT_A_TIME)).fetchone() != (True,):
                return 0
            stalled = list(await self._jobs.get_stalled_jobs(seconds_since_heartbeat=self._stalled_seconds))
            return sum([await accepted(self._jobs.retry_job(job)) for job in stalled])


async def accepted(call: Coroutine[Any, Any, None]) -> bool:
    """Await a call; whether its function in the database did it, or raised as the job is not in a state for that any more."""
    try:
        await call
    except ConnectorException as error:
        if isinstance(error.__cause__, psycopg.errors.RaiseException):
            return False
        raise
    return True
