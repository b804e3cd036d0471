"""persist-queue's SQLiteAckQueue: an item is unacked while somebody has it, and acked when it is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from persistqueue import Empty, SQLiteAckQueue

from reference_impl.sqlite import path_of


class Ack:
    """`get` and `ack`. `auto_resume` is off, as it would make every process that starts give back what the others have."""

    databases = ("sqlite",)

    def __init__(self, url: str) -> None:
        file = Path(path_of(url))
        self._queue = SQLiteAckQueue(str(file.parent), db_file_name=file.name, auto_resume=False, multithreading=True)

    def install(self) -> None:
        """Nothing is left to do: persist-queue makes its table as it is built."""

    def enqueue(self, jobs: list[dict[str, Any]]) -> list[int | None]:
        """Put each job; its id is the item's."""
        return [self._queue.put(job["payload"]) for job in jobs]

    def claim(self, _worker: str, limit: int) -> list[dict[str, Any]]:
        """Get as often as asked for, while there is an item."""
        claimed: list[dict[str, Any]] = []
        while len(claimed) < limit:
            try:
                item = self._queue.get(block=False, raw=True)
            except Empty:
                break
            claimed.append({"job": item["pqid"], "item": item})
        return claimed

    def complete(self, _worker: str, handles: list[dict[str, Any]]) -> None:
        """Ack each."""
        for handle in handles:
            self._queue.ack(handle["item"])

    def close(self) -> None:
        """Close the connections."""
        self._queue.close()
