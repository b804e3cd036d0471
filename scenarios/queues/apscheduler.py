"""APScheduler 3's SQLAlchemy job store: a scheduler reads all jobs that are due, and of each starts it and then deletes its row.

Where another scheduler has deleted the row meanwhile, the job has been started all the same, and the loop ends by `JobLookupError`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar
from uuid import uuid4

from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.blocking import BlockingScheduler

from scenarios.queues.alchemy import alchemy
from scenarios.queues.aside import run_aside


class Scheduler:
    """A scheduler in each process, all on one job store. Jobs have no trigger, so each is due at once, and only once."""

    semantics = "at-most-once"
    handler: ClassVar[Callable[[str], None]]  # of the loop in this process

    def __init__(self, url: str) -> None:
        self._url = alchemy(url)
        self._adding = self._scheduler(BackgroundScheduler)

    def install(self) -> None:
        """Start a scheduler, which makes the table; a paused one, which adds jobs and runs none."""
        self._adding.start(paused=True)

    def enqueue(self, jobs: list[dict[str, Any]]) -> list[str]:
        """Add each job; its id is the scheduler's."""
        if not self._adding.running:
            self._adding.start(paused=True)
        ids = [uuid4().hex for _ in jobs]
        for job, name in zip(jobs, ids, strict=True):
            self._adding.add_job(execute, args=[name, job["payload"]], id=name)
        return ids

    def work(self, _worker: str, handler: Callable[[str], None], stop: threading.Event) -> None:
        """Run a scheduler until it is to stop; whatever ends its loop before is raised, once all it has started is done."""
        Scheduler.handler = handler
        scheduler = self._scheduler(BlockingScheduler)

        def end() -> None:
            with suppress(SchedulerNotRunningError):
                scheduler.shutdown()

        run_aside(scheduler.start, end, stop)

    def close(self) -> None:
        """Shut the scheduler that adds jobs down."""
        if self._adding.running:
            self._adding.shutdown()

    def _scheduler(self, kind: Callable[..., Any]) -> Any:
        """A scheduler on the job store, which runs what is due however late it is."""
        return kind(
            jobstores={"default": SQLAlchemyJobStore(url=self._url)},
            job_defaults={"misfire_grace_time": None},
        )


def execute(job: str, _payload: str) -> None:
    """What each job does: it is found by its name in whichever process runs it."""
    Scheduler.handler(job)
