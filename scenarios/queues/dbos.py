"""dbos: each process looks for what is enqueued (on Postgres FOR UPDATE SKIP LOCKED), and marks as its own what still is.

What a dead process held is for the next one of the same executor id, or for a service that watches them.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

from dbos import DBOS, DBOSClient

QUEUE = "work"
AT_ONCE = 5
POLL_SECONDS = 0.02
END_SECONDS = 10


class Dbos:
    """Workflows on a queue, run by the loop that DBOS has in each process; an executor for each."""

    idle_seconds = 3.0  # it launches first, which takes most of a second

    def __init__(self, url: str) -> None:
        self._url = url

    def install(self) -> None:
        """Migrate the system database, and register the queue."""
        DBOS.migrate(self._url)
        client = DBOSClient(system_database_url=self._url)
        client.register_queue(QUEUE, worker_concurrency=AT_ONCE, polling_interval_sec=POLL_SECONDS)
        client.destroy()

    def enqueue(self, jobs: list[dict[str, Any]]) -> list[str]:
        """Enqueue a workflow for each job; its id is the workflow's."""
        client = DBOSClient(system_database_url=self._url)
        ids = [str(uuid.uuid4()) for _ in jobs]
        for workflow, job in zip(ids, jobs, strict=True):
            client.enqueue({"workflow_name": QUEUE, "queue_name": QUEUE, "workflow_id": workflow}, job["payload"])
        client.destroy()
        return ids

    def work(self, worker: str, handler: Callable[[str | None], None], stop: threading.Event) -> None:
        """Launch DBOS, and shut it down when told to."""
        DBOS(
            config={
                "name": "contend",
                "system_database_url": self._url,
                "executor_id": worker,
                "log_level": "WARNING",
            }
        )

        @DBOS.workflow(name=QUEUE)
        def work(_payload: str) -> None:
            handler(DBOS.workflow_id)

        DBOS.launch()
        stop.wait()
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=END_SECONDS)
