"""pgmq's SQL with its Python client: a read locks rows that nobody else has locked, and hides them until their visibility time-out.

It installs its SQL itself, as no server of ours carries the extension.
"""

from __future__ import annotations

from typing import Any

from pgmq import PGMQueue, install_pgmq_from_sql

QUEUE = "jobs"


class Pgmq:
    """`read_batch` and `archive_batch`; a claim ends with the visibility time-out, a whole number of seconds."""

    databases = ("postgres",)
    lease_seconds = 30.0

    def __init__(self, url: str, *, lease_seconds: float = 30.0, **_options: Any) -> None:
        if lease_seconds < 1 or lease_seconds != int(lease_seconds):
            raise ValueError(f"pgmq hides messages for whole seconds, and lease_seconds is {lease_seconds!r}")
        self._url = url
        self._queue = PGMQueue(conn_string=url, vt=int(lease_seconds), init_extension=False)

    def install(self) -> None:
        """Install the SQL, and make one queue."""
        install_pgmq_from_sql(dsn=self._url)
        self._queue.create_queue(QUEUE)

    def enqueue(self, jobs: list[dict[str, Any]]) -> list[int]:
        """Send the jobs at once; the id of each is its message's."""
        return self._queue.send_batch(QUEUE, jobs)

    def claim(self, _worker: str, limit: int) -> list[dict[str, Any]]:
        """Read at most so many messages at once."""
        messages = self._queue.read_batch(QUEUE, batch_size=limit)
        return [{"job": message.msg_id, "attempt": message.read_ct} for message in messages]

    def complete(self, _worker: str, handles: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Archive the messages at once; those that are in the queue no more are not accepted."""
        archived = set(self._queue.archive_batch(QUEUE, [handle["job"] for handle in handles]))
        return [handle for handle in handles if handle["job"] in archived]

    def close(self) -> None:
        """Close the connections."""
        self._queue.close()
