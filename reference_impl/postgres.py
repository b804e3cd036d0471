"""The reference queue on Postgres and its ways of claiming, all at READ COMMITTED."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from reference_impl.connections import Connections, PerThread
from reference_impl.lease import Claim
from reference_impl.queue import Kind, Queue, Row
from reference_impl.statements import statements

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")

MOST_VARIABLES: Final = 65_535  # of the protocol's 16-bit count
TRIES: Final = 20  # of a statement that met another and was undone
_FIRST_PAUSE_SECONDS: Final = 0.001
_LONGEST_PAUSE_SECONDS: Final = 0.1


class _Pool:
    """At most `size` connections that all threads share: psycopg's own pool."""

    def __init__(self, url: str, size: int, timeout_seconds: float) -> None:
        from psycopg_pool import ConnectionPool  # noqa: PLC0415  # only who shares connections needs it

        self._pool = ConnectionPool(
            url, min_size=size, max_size=size, timeout=timeout_seconds, kwargs={"autocommit": True}, open=False
        )
        self._pool.open(wait=True)

    def take(self) -> tuple[psycopg.Connection, Callable[[], object]]:
        """Wait for a connection. Raises psycopg_pool.PoolTimeout."""
        connection = self._pool.getconn()
        return connection, partial(self._pool.putconn, connection)

    def close(self) -> None:
        """Close every connection, and the pool's threads."""
        self._pool.close()


class PostgresQueue(Queue):
    """The queue in a Postgres database; how it claims is for the subclass to say.

    Connected from the start, so that the first claim does not pay for it. A connection that was lost is opened again by the
    next call; the call that lost it raises.
    """

    databases = ("postgres",)

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        if not url.startswith(("postgresql://", "postgres://")):
            raise ValueError(
                "The URL names no Postgres database; expected postgresql://user:password@host:port/database."
            )
        self._statements = {name: sql.encode() for name, sql in statements("postgres").items()}
        self._connections: Connections[psycopg.Connection] = Connections(
            PerThread(self._connect, lost=lambda connection: connection.closed)
            if self.pool_size is None
            else _Pool(url, self.pool_size, self.pool_timeout)
        )
        with self._acquire():
            pass

    def install(self) -> None:
        """Make the tables in an empty database."""
        with self._writing():
            for name in self._statements:
                if name.startswith("create_"):
                    self._run(name)

    def _connect(self) -> psycopg.Connection:
        import psycopg  # noqa: PLC0415  # only who opens Postgres needs its driver

        return psycopg.connect(self.url, autocommit=True)

    @contextmanager
    def _acquire(self) -> Iterator[psycopg.Connection]:
        with self._connections.acquire() as connection:
            yield connection

    def _apart(self) -> AbstractContextManager[psycopg.Connection]:
        return self._connections.apart(self._connect)

    @property
    def _bad_row(self) -> tuple[type[Exception], ...]:
        import psycopg  # noqa: PLC0415  # only who opens Postgres needs its driver

        return (psycopg.IntegrityError, psycopg.DataError, psycopg.errors.RaiseException)

    def _disconnect(self) -> None:
        self._connections.close()

    def _run(self, statement: str, **parameters: object) -> list[Row]:
        with self._acquire() as connection:
            cursor = connection.execute(self._statements[statement], parameters or None)
            return cursor.fetchall() if cursor.description else []

    def _change(self, statement: str, **parameters: object) -> int:
        with self._acquire() as connection:
            return connection.execute(self._statements[statement], parameters or None).rowcount

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._acquire() as connection, connection.transaction():
            yield

    def _submit(self, tag: str, jobs: str) -> int:
        ((run,),) = self._run("submit_run", tag=tag, jobs=jobs)
        return int(run)

    def _delete(self, kind: Kind, ids: Sequence[int]) -> int:
        return self._again(lambda: self._change(f"delete_{kind}", ids=ids))

    def _delete_listed(self, kind: Kind, ids: Sequence[int]) -> int:
        sql = self._statements[f"delete_{kind}_listed"].replace(b"{ids}", b", ".join([b"%s::bigint"] * len(ids)))
        with self._acquire() as connection:
            return connection.execute(sql, ids).rowcount

    def _most_variables(self) -> int:
        return MOST_VARIABLES

    def _clean(self, tag: str | None) -> dict[str, int]:
        ((jobs, runs, actions),) = self._again(lambda: self._run("clean", tag=tag))
        return {"jobs": jobs, "runs": runs, "actions": actions}

    def _fenced(self, statement: str, handles: Sequence[Claim]) -> list[Claim]:
        return self._again(lambda: super(PostgresQueue, self)._fenced(statement, handles))

    def _again(self, statement: Callable[[], T]) -> T:
        """Run a statement that ends or deletes; again, after a random pause that grows, where it met another and was undone.

        That is: a deadlock, a change its snapshot did not have (at REPEATABLE READ and above), or a job that came to its run after it had
        looked.
        """
        import psycopg  # noqa: PLC0415  # as above

        undone = (
            psycopg.errors.ForeignKeyViolation,
            psycopg.errors.DeadlockDetected,
            psycopg.errors.SerializationFailure,
        )
        for number in range(TRIES - 1):
            try:
                return statement()
            except undone:
                time.sleep(random.uniform(0, min(2**number * _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)))  # noqa: S311  # spreads those who wait; no secret
        return statement()

    def _lock_then_update(self, lock: str, worker: str, limit: int) -> list[Row]:
        """Lock ready jobs with the statement named `lock`, then mark them with one UPDATE, in one transaction."""
        with self._writing():
            jobs = [job for (job,) in self._run(lock, limit=limit)]
            return self._mark("take_batch", worker, jobs=jobs) if jobs else []


class SelectThenUpdate(PostgresQueue):
    """WRONG: reads ready jobs, then updates each by its id alone. Two that read before either wrote share the jobs.

    One SELECT and N UPDATEs, no transaction (Cloacina T-0049 and T-0055, django-q #213, payload #13549).
    """

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        for (job,) in self._run("select_ready", limit=limit):
            yield from self._mark("take_by_id", worker, job=job)


class ScalarSubquery(PostgresQueue):
    """WRONG: an UPDATE guarded only inside an unlocked sub-select; who waited for a row is given it all the same.

    Seen in goqite and rtcstats #336. Rare in a race, certain once two claims overlap.
    """

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        return self._mark("take_scalar_subquery", worker, limit=limit)


class ForUpdate(PostgresQueue):
    """Right, but one at a time: SELECT … FOR UPDATE waits for the worker before it, then one UPDATE."""

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        return self._lock_then_update("lock_ready", worker, limit)


class SkipLocked(PostgresQueue):
    """Right: SELECT … FOR UPDATE SKIP LOCKED, then one UPDATE, in one transaction."""

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        return self._lock_then_update("lock_ready_skipping", worker, limit)


class SkipLockedCte(PostgresQueue):
    """Right: SKIP LOCKED in a common table expression and the UPDATE, in one statement and one round trip."""

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        return self._mark("take_skipping", worker, limit=limit)


class InSubqueryLimit(PostgresQueue):
    """WRONG: `IN (SELECT … LIMIT n FOR UPDATE SKIP LOCKED)`, which may be run once a row: a claim exceeds its limit.

    Needs statistics taken while the table was nearly empty, as any queue's are. Seen in delayed_job_active_record
    #177, odd-jobs #115.
    """

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        return self._mark("take_in_subquery", worker, limit=limit)
