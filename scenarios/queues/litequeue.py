"""litequeue: a message is locked by whoever pops it, and done when told."""

from __future__ import annotations

from typing import Any

from litequeue import LiteQueue

from reference_impl.sqlite import path_of


class Lite:
    """`pop` and `done`."""

    databases = ("sqlite",)

    def __init__(self, url: str) -> None:
        self._queue = LiteQueue(path_of(url))

    def install(self) -> None:
        """Nothing is left to do: litequeue makes its table as it is built."""

    def enqueue(self, jobs: list[dict[str, Any]]) -> list[str]:
        """Put each job."""
        return [str(self._queue.put(job["payload"]).message_id) for job in jobs]

    def claim(self, _worker: str, limit: int) -> list[str]:
        """Pop as often as asked for, while there is a message."""
        claimed: list[str] = []
        while len(claimed) < limit and (message := self._queue.pop()) is not None:
            claimed.append(str(message.message_id))
        return claimed

    def complete(self, _worker: str, handles: list[str]) -> None:
        """Say that each is done."""
        for message in handles:
            self._queue.done(message)

    def close(self) -> None:
        """Close the connection."""
        self._queue.close()
