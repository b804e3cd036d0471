"""kombu's SQLAlchemy transport: a message is made invisible by whoever gets it, in a transaction that has locked its row, or the file.

Only the process that got a message knows that it is not acknowledged yet, and puts it back as it ends in good order.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from kombu import Connection

from scenarios.queues.alchemy import alchemy


class Simple:
    """kombu's simple interface: `put`, `get_nowait`, `message.ack`, and `message.requeue` of what failed."""

    def __init__(self, url: str) -> None:
        self._connection = Connection(f"sqla+{alchemy(url)}")
        self._queue = self._connection.SimpleQueue("contend")

    def install(self) -> None:
        """Nothing is left to do: kombu makes its tables as it declares the queue."""

    def enqueue(self, jobs: list[dict[str, Any]]) -> list[str]:
        """Put each job; its id is the message's, which is the publisher's to give."""
        ids = [uuid4().hex for _ in jobs]
        for job, message_id in zip(jobs, ids, strict=True):
            self._queue.put(job["payload"], message_id=message_id)
        return ids

    def claim(self, _worker: str, limit: int) -> list[dict[str, Any]]:
        """Get as often as asked for, while there is a message."""
        claimed: list[dict[str, Any]] = []
        while len(claimed) < limit:
            try:
                message = self._queue.get_nowait()
            except self._queue.Empty:
                break
            claimed.append({"job": message.properties["message_id"], "message": message})
        return claimed

    def complete(self, _worker: str, handles: list[dict[str, Any]]) -> None:
        """Acknowledge each."""
        for handle in handles:
            handle["message"].ack()

    def fail(self, _worker: str, handles: list[dict[str, Any]]) -> None:
        """Put each back on the queue."""
        for handle in handles:
            handle["message"].requeue()

    def close(self) -> None:
        """Close the queue and the connection."""
        self._queue.close()
        self._connection.close()
