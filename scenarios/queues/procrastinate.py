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
from procrastinate.jobs import Status

ONE_AT_A_TIME = "SELECT pg_try_advisory_xact_lock(hashtext('retry_stalled_jobs'))"


class Procrastinate:
    """The JobManager of an App, as its own worker asks it: for one job at a time.

    A heartbeat is a worker's and answers nothing about a job, so none is offered: each claim is made by a newly registered worker, whose
    first heartbeat is that of its job.
    """

    databases = ("postgres",)
    ordered = True
    lease_seconds = 30.0

    def __init__(self, url: str, lease_seconds: float = lease_seconds) -> None:
        self._url = url
        self._stalled_seconds = lease_seconds
        self._app = App(connector=PsycopgConnector(conninfo=url, min_size=1, max_size=1))
        self._jobs = self._app.job_manager
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

    def claim(self, _worker: str, _limit: int) -> list[int | None]:
        """Register a worker, and fetch a job."""
        return self._runner.run(self._fetch())

    def complete(self, _worker: str, handles: list[int]) -> list[int]:
        """Finish each; one that is not to be finished any more is refused."""
        return self._runner.run(self._finish(handles))

    def recover(self) -> int:
        """Have stalled jobs tried again, as its documentation has a periodic task do: no two of those are at it at once."""
        return self._runner.run(self._retry_stalled())

    def close(self) -> None:
        """Close the connection."""
        self._runner.run(self._app.close_async())
        self._runner.close()

    async def _open(self) -> None:
        await self._app.open_async()

    async def _fetch(self) -> list[int | None]:
        job = await self._jobs.fetch_job(queues=None, worker_id=await self._jobs.register_worker())
        return [] if job is None else [job.id]

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
