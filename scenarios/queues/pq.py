"""pq: a get takes a row that nobody else has locked, for good once its transaction commits; work is done inside that transaction."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from pq import PQ
from psycopg2.pool import ThreadedConnectionPool

MOST_CONNECTIONS = 4


class Transactional:
    """`with queue`: what is got inside is given back, as the transaction ends, should the work on it not come to its end."""

    databases = ("postgres",)

    def __init__(self, url: str) -> None:
        self._pool = ThreadedConnectionPool(1, MOST_CONNECTIONS, url)
        self._pq = PQ(pool=self._pool)
        self._queue = self._pq["jobs"]
        self._transaction: ExitStack | None = None

    def install(self) -> None:
        """Create the table."""
        self._pq.create()

    def enqueue(self, jobs: list[dict[str, Any]]) -> list[int]:
        """Put the jobs, in one transaction."""
        with self._queue:
            return [self._queue.put(job) for job in jobs]

    def claim(self, _worker: str, limit: int) -> list[int]:
        """Begin a transaction and get as often as asked for, while there is a job."""
        claimed: list[int] = []
        with ExitStack() as transaction:
            transaction.enter_context(self._queue)
            while len(claimed) < limit and (job := self._queue.get(block=False)) is not None:
                claimed.append(job.id)
            if claimed:
                self._transaction = transaction.pop_all()
        return claimed

    def complete(self, _worker: str, _handles: list[int]) -> None:
        """Commit the transaction. It is over then, even if it could not be committed: its jobs are given back."""
        transaction, self._transaction = self._transaction, None
        if transaction is None:
            raise RuntimeError("pq has given back what was claimed, as its transaction could not be committed")
        transaction.close()

    def recover(self) -> int:
        """Nothing is left to do: the database rolls the transactions of the dead back."""
        return 0

    def close(self) -> None:
        """Close the connections."""
        self._pool.closeall()
