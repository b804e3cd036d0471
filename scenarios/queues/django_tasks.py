"""Django's tasks in its database: a task is read and marked as running in one transaction, by the loop of `manage.py db_worker`.

On Postgres what is read is locked, and what is locked is skipped; on SQLite the transaction takes the write lock as it begins.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ClassVar, Final

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django_tasks import TaskContext, task

from scenarios.queues.aside import run_aside
from scenarios.queues.django_site import database

INTERVAL_SECONDS: Final = 0.1  # that the worker sleeps where there was no task
DATABASES: Final[dict[str, dict[str, Any]]] = {}  # filled once the URL is known, before Django looks

settings.configure(
    DATABASES=DATABASES,
    INSTALLED_APPS=["django_tasks_db"],
    TASKS={"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}},
    USE_TZ=True,
)


class Tasks:
    """Tasks enqueued with their priority, and a worker in each process."""

    idle_seconds = 1.0
    handler: ClassVar[Callable[[str], None]]  # of the worker in this process

    def __init__(self, url: str) -> None:
        DATABASES["default"] = database(url)
        django.setup()

    def install(self) -> None:
        """Run the migrations."""
        call_command("migrate", verbosity=0)

    def enqueue(self, jobs: list[dict[str, Any]]) -> list[str]:
        """Enqueue a task for each job; its id is the result's."""
        return [execute.using(priority=job["priority"]).enqueue(job["payload"]).id for job in jobs]

    def work(self, worker: str, handler: Callable[[str], None], stop: threading.Event) -> None:
        """Run a worker as the command does, but for its signals: it ends once it is said not to be running."""
        from django_tasks_db.management.commands.db_worker import Worker  # noqa: PLC0415  # its models want Django set up

        Tasks.handler = handler
        loop = Worker(
            queue_names=["default"],
            excluded_queue_names=[],
            backend_name="default",
            worker_id=worker,
            interval=INTERVAL_SECONDS,
            startup_delay=False,
            batch=False,
            max_tasks=None,
        )
        run_aside(loop.run, lambda: setattr(loop, "running", False), stop)

    def close(self) -> None:
        """Close the connections of this thread."""
        connections.close_all()


@task(takes_context=True)
def execute(context: TaskContext, _payload: str) -> None:
    """What each task does: it is found by its name in whichever process runs it."""
    Tasks.handler(context.task_result.id)
