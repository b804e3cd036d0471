"""django-background-tasks: all that is available is read, and of its first five one is locked by an UPDATE that it is still unlocked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ClassVar, Final
from uuid import uuid4

from django.core.management import call_command
from django.db import connections

from scenarios.queues.django_site import set_up

SLEEP_SECONDS: Final = 0.1  # where there was no task


class Background:
    """Tasks scheduled with their priority, and `run_next_task` again and again, as `manage.py process_tasks` does."""

    idle_seconds = 1.0
    lease_seconds = 3600.0
    handler: ClassVar[Callable[[str], None]]  # of the loop in this process

    def __init__(self, url: str, *, lease_seconds: float = 3600.0) -> None:
        apps = ["django.contrib.contenttypes", "background_task"]
        set_up(url, apps, MAX_RUN_TIME=lease_seconds, DEFAULT_AUTO_FIELD="django.db.models.AutoField")
        from background_task.tasks import tasks  # noqa: PLC0415  # its models want Django set up

        self._tasks = tasks
        self._schedule = tasks.background()(execute)

    def install(self) -> None:
        """Run the migrations."""
        call_command("migrate", verbosity=0)

    def enqueue(self, jobs: list[dict[str, Any]]) -> list[str]:
        """Schedule a task for each job, whose id is an argument, as a task is not told its own."""
        ids = [uuid4().hex for _ in jobs]
        for job, name in zip(jobs, ids, strict=True):
            self._schedule(name, job["payload"], priority=job["priority"])
        return ids

    def work(self, _worker: str, handler: Callable[[str], None], stop: threading.Event) -> None:
        """Run one task after another until it is to stop, and sleep where there was none."""
        Background.handler = handler
        while not stop.is_set():
            if not self._tasks.run_next_task():
                connections.close_all()
                stop.wait(SLEEP_SECONDS)

    def close(self) -> None:
        """Close the connections of this thread."""
        connections.close_all()


def execute(job: str, _payload: str) -> None:
    """What each task does."""
    Background.handler(job)
