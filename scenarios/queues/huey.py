"""huey on SQLite: a task is taken out of its table by whoever dequeues it, so it is run at most once."""

from __future__ import annotations

from typing import Any

from huey import SqliteHuey
from huey.api import Task

from reference_impl.sqlite import path_of


class Huey:
    """`huey.dequeue` and `huey.execute`, as huey's own consumer calls them."""

    databases = ("sqlite",)
    semantics = "at-most-once"

    def __init__(self, url: str) -> None:
        self._huey = SqliteHuey(filename=path_of(url))

        @self._huey.task()  # type: ignore[untyped-decorator]  # huey ships no types
        def work(payload: str) -> None:
            """Do nothing: how long work takes is for the worker to say."""

        self._work = work

    def install(self) -> None:
        """Nothing is left to do: huey makes its tables as it is built."""

    def enqueue(self, jobs: list[dict[str, Any]]) -> list[str]:
        """Call the task for each job; its id is the task's."""
        return [str(self._work(job["payload"], priority=job["priority"]).id) for job in jobs]

    def claim(self, _worker: str, limit: int) -> list[dict[str, Any]]:
        """Dequeue as often as asked for, while there is a task."""
        claimed: list[dict[str, Any]] = []
        while len(claimed) < limit and (task := self._huey.dequeue()) is not None:
            claimed.append({"job": str(task.id), "task": task})
        return claimed

    def complete(self, _worker: str, handles: list[dict[str, Any]]) -> None:
        """Execute the tasks."""
        for handle in handles:
            task: Task = handle["task"]
            self._huey.execute(task)

    def close(self) -> None:
        """Close the connection of this thread."""
        self._huey.storage.close()
