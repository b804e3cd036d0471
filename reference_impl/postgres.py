"""The reference queue on Postgres and its ways of claiming, all at READ COMMITTED."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from reference_impl.queue import Queue, Row
from reference_impl.statements import statements

if TYPE_CHECKING:
    import psycopg


class PostgresQueue(Queue):
    """The queue in a Postgres database; how it claims is for the subclass to say.

    Connected from the start, so that the first claim does not pay for it. A connection that was lost is opened again by the
    next call; the call that lost it raises.
    """

    databases = ("postgres",)

    def __init__(self, url: str, **_options: object) -> None:
        if not url.startswith(("postgresql://", "postgres://")):
            raise ValueError(
                "The URL names no Postgres database; expected postgresql://user:password@host:port/database."
            )
        self._url = url
        self._statements = {name: sql.encode() for name, sql in statements("postgres").items()}
        self._connection: psycopg.Connection | None = None
        self._connected()

    def install(self) -> None:
        """Make the table in an empty database."""
        with self._connected().transaction():
            self._run("create_jobs")
            self._run("create_jobs_ready")

    def close(self) -> None:
        """Close the connection. Closing twice is harmless."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            import psycopg  # noqa: PLC0415  # only who opens Postgres needs its driver

            self._connection = psycopg.connect(self._url, autocommit=True)
        return self._connection

    def _run(self, statement: str, **parameters: object) -> list[Row]:
        cursor = self._connected().execute(self._statements[statement], parameters or None)
        return cursor.fetchall() if cursor.description else []

    def _lock_then_update(self, lock: str, worker: str, limit: int) -> list[Row]:
        """Lock ready jobs with the statement named `lock`, then mark them with one UPDATE, in one transaction."""
        with self._connected().transaction():
            jobs = [job for (job,) in self._run(lock, limit=limit)]
            return self._run("take_batch", worker=worker, jobs=jobs) if jobs else []


class SelectThenUpdate(PostgresQueue):
    """WRONG: reads ready jobs, then updates each by its id alone. Two that read before either wrote share the jobs.

    One SELECT and N UPDATEs, no transaction (Cloacina T-0049 and T-0055, django-q #213, payload #13549).
    """

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        for (job,) in self._run("select_ready", limit=limit):
            yield from self._run("take_by_id", worker=worker, job=job)


class ScalarSubquery(PostgresQueue):
    """WRONG: an UPDATE guarded only inside an unlocked sub-select; who waited for a row is given it all the same.

    Seen in goqite and rtcstats #336. Rare in a race, certain once two claims overlap.
    """

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        return self._run("take_scalar_subquery", worker=worker, limit=limit)


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
        return self._run("take_skipping", worker=worker, limit=limit)


class InSubqueryLimit(PostgresQueue):
    """WRONG: `IN (SELECT … LIMIT n FOR UPDATE SKIP LOCKED)`, which may be run once a row: a claim exceeds its limit.

    Needs statistics taken while the table was nearly empty, as any queue's are. Seen in delayed_job_active_record
    #177, odd-jobs #115.
    """

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        return self._run("take_in_subquery", worker=worker, limit=limit)
