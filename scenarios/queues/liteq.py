"""liteq: a worker marks the next task running in a transaction that began immediate, and one task every half second."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable
from typing import Any

from reference_impl.sqlite import path_of


class Liteq:
    """`delay` and `Worker.run`. A task knows its arguments and not its id, so that ours is one of them."""

    databases = ("sqlite",)
    idle_seconds = 2.5

    def __init__(self, url: str) -> None:
        os.environ["LITEQ_DB"] = path_of(url)  # is read as liteq is imported
        from liteq import db, task, worker  # noqa: PLC0415  # as above

        self._db, self._worker = db, worker
        self._handler: Callable[[str], None] | None = None

        @task()  # type: ignore[untyped-decorator]  # liteq ships no types
        def work(job: str, payload: str) -> None:  # noqa: ARG001  # liteq gives it
            assert self._handler is not None  # noqa: S101  # it is called by a worker of ours
            self._handler(job)

        self._work = work

    def install(self) -> None:
        """Make the tables."""
        self._db.init_db()

    def enqueue(self, jobs: list[dict[str, Any]]) -> list[str]:
        """Call the task for each job, with an id."""
        ids = [uuid.uuid4().hex for _ in jobs]
        for job, each in zip(ids, jobs, strict=True):
            self._work.delay(job, each["payload"])
        return ids

    def work(self, _worker: str, handler: Callable[[str], None], stop: threading.Event) -> None:
        """Run a worker until it is told to stop; it ends once its tasks are done."""
        self._handler = handler
        worker = self._worker.Worker(queues=["default"], concurrency=1)

        def shut_down() -> None:
            stop.wait()
            worker.shutdown = True

        threading.Thread(target=shut_down, name="stop", daemon=True).start()
        worker.run()

    def close(self) -> None:
        """Nothing is left to do: liteq connects for each statement."""
