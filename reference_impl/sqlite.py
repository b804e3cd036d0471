"""The reference queue on SQLite and its ways of claiming.

The lock rules they turn on, measured and as documented (https://www.sqlite.org/lang_transaction.html): SQLite has one
writer at a time. A connection that begins as a writer waits for its turn for as long as its busy time-out says. One
that has read inside its transaction and then writes gets SQLITE_BUSY at once, whatever the time-out, and can only
roll back.
"""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar, Final, TypeVar

from reference_impl.connections import Connections, PerThread
from reference_impl.guard import WorkerGuard
from reference_impl.queue import Kind, Queue, Row
from reference_impl.statements import statements

T = TypeVar("T")

JOURNAL_MODES: Final = ("wal", "delete", "truncate", "persist")
_FIRST_PAUSE_SECONDS: Final = 0.001
_LONGEST_PAUSE_SECONDS: Final = 0.020


def path_of(url: str) -> str:
    """The absolute path in a URL `sqlite:///abs/path.db` (a fourth slash is welcome); ValueError for any other."""
    path = url.removeprefix("sqlite://")
    if path == url or not path.strip("/") or not path.startswith("/"):
        raise ValueError(
            f"{url!r} names no SQLite file; expected sqlite:/// and an absolute path, as in sqlite:///tmp/jobs.db."
        )
    return "/" + path.lstrip("/")


class _Pool:
    """At most `size` connections that all threads share: SQLAlchemy's QueuePool, without its engine."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], size: int, timeout_seconds: float) -> None:
        from sqlalchemy.pool import QueuePool  # noqa: PLC0415  # only who shares connections needs it

        self._pool = QueuePool(
            connect,  # type: ignore[arg-type]  # SQLAlchemy's protocol of a connection is narrower than the module's own class
            pool_size=size,
            max_overflow=0,
            timeout=timeout_seconds,
            reset_on_return=None,
        )

    def take(self) -> tuple[sqlite3.Connection, Callable[[], object]]:
        """Wait for a connection. Raises sqlalchemy.exc.TimeoutError."""
        lent = self._pool.connect()
        connection = lent.driver_connection
        assert isinstance(connection, sqlite3.Connection)  # noqa: S101  # as `connect` made it
        return connection, lent.close

    def close(self) -> None:
        """Close every connection that is not lent."""
        self._pool.dispose()


class SqliteQueue(Queue):
    """The queue in a SQLite file; how it claims is for the subclass to say.

    Whatever else holds the write lock is waited for: each try waits `busy_timeout_seconds` inside SQLite, and tries
    are repeated, with a random pause that grows, for `patience_seconds` in all; then SQLite's own error is raised.
    Short tries with random pauses let every worker through; one long time-out lets some starve.

    Options besides: `journal_mode` (wal; set by `install`, kept in the file).
    """

    databases = ("sqlite",)
    busy_timeout_seconds: ClassVar[float] = 0.010

    def __init__(self, url: str, *, journal_mode: str = "wal", **options: Any) -> None:
        super().__init__(url, **options)
        if journal_mode not in JOURNAL_MODES:
            raise ValueError(
                f"There is no journal mode {journal_mode!r} here; choose one of {', '.join(JOURNAL_MODES)}."
            )
        self.path = path_of(url)
        self.journal_mode = journal_mode
        self._statements = statements("sqlite")
        self._connections: Connections[sqlite3.Connection] = Connections(
            PerThread(self._connect, lost=lambda _: False)
            if self.pool_size is None
            else _Pool(self._connect, self.pool_size, self.pool_timeout)
        )

    def install(self) -> None:
        """Make the tables in an empty database, and set the journal mode, which stays with the file."""
        with self._acquire() as connection:
            pragma = f"PRAGMA journal_mode = {self.journal_mode}"
            (mode,) = self._patiently(lambda: connection.execute(pragma).fetchone())
        if mode != self.journal_mode:
            raise RuntimeError(
                f"{self.path} stays in journal mode {mode}, not {self.journal_mode}; choose another file system."
            )
        for name in self._statements:
            if name.startswith("create_"):
                self._run(name)

    def _connect(self) -> sqlite3.Connection:
        # isolation_level=None: no implicit BEGIN, so what is written here is what the database sees. Closed by whichever thread closes
        # the queue, and used by one at a time.
        connection = sqlite3.connect(
            self.path, timeout=self.busy_timeout_seconds, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    @contextmanager
    def _acquire(self) -> Iterator[sqlite3.Connection]:
        with self._connections.acquire() as connection:
            yield connection

    def _apart(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._connections.apart(self._connect)

    @property
    def _bad_row(self) -> tuple[type[Exception], ...]:
        return (sqlite3.IntegrityError, sqlite3.DataError)

    def _disconnect(self) -> None:
        self._connections.close()

    def _run(self, statement: str, **parameters: object) -> list[Row]:
        # fetchall: an UPDATE … RETURNING that is not read to its end keeps the write lock.
        return self._each(lambda connection: connection.execute(self._statements[statement], parameters).fetchall())

    def _change(self, statement: str, **parameters: object) -> int:
        return self._each(lambda connection: connection.execute(self._statements[statement], parameters).rowcount)

    def _each(self, execute: Callable[[sqlite3.Connection], T]) -> T:
        """Run one statement: again while the file is locked, unless a transaction is open, which has the lock or must be rolled back."""
        with self._acquire() as connection:
            if connection.in_transaction:
                return execute(connection)
            return self._patiently(lambda: execute(connection))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._acquire() as connection:
            self._patiently(lambda: connection.execute("BEGIN IMMEDIATE"))
            try:
                yield
                self._patiently(lambda: connection.execute("COMMIT"))  # with a rollback journal it too may be refused
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _submit(self, tag: str, jobs: str) -> int:
        with self._writing():
            ((run,),) = self._run("make_run", tag=tag)
            self._change("submit_jobs", run=run, tag=tag, jobs=jobs)
        return int(run)

    def _delete(self, kind: Kind, ids: Sequence[int]) -> int:
        return self._change(f"delete_{kind}", ids=json.dumps(ids))

    def _delete_listed(self, kind: Kind, ids: Sequence[int]) -> int:
        sql = self._statements[f"delete_{kind}_listed"].format(ids=", ".join("?" * len(ids)))
        return self._each(lambda connection: connection.execute(sql, ids).rowcount)

    def _most_variables(self) -> int:
        with self._acquire() as connection:
            return connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)

    def _clean(self, tag: str | None) -> dict[str, int]:
        with (
            self._writing()
        ):  # what is deletable stays so until the end, so the actions can go before what they belong to
            counts = {kind: self._change(f"clean_{kind}", tag=tag) for kind in ("actions", "jobs", "runs")}
        return {kind: counts[kind] for kind in ("jobs", "runs", "actions")}

    def _patiently(self, attempt: Callable[[], T]) -> T:
        """Repeat `attempt`, which leaves nothing behind when it raises, while the file is locked and patience lasts."""
        deadline = time.monotonic() + self.patience_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return attempt()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise
            time.sleep(random.uniform(0, pause))  # noqa: S311  # spreads waiting workers; no secret
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        """Commit what is done inside, or nothing of it. In rollback-journal mode COMMIT too may find the file busy."""
        with self._acquire() as connection:
            connection.execute(begin)
            try:
                yield
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _select_then_update_batch(self, begin: str, worker: str, limit: int) -> list[Row]:
        """Two statements for any number of jobs, in one transaction of the kind `begin` opens."""
        with self._transaction(begin):
            jobs = [job for job, _ in self._run("select_ready", limit=limit)]
            return self._mark("take_batch", worker, jobs=json.dumps(jobs)) if jobs else []


class SelectThenUpdate(SqliteQueue):
    """WRONG: reads ready jobs, then updates each by its id alone. Two that read before either wrote share the jobs.

    One SELECT and N UPDATEs, no transaction: generation 1 of Cloacina's claim (T-0049, T-0055).
    """

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        for job, _ in self._run("select_ready", limit=limit):
            yield from self._mark("take_by_id", worker, job=job)


class DeferredBatch(SqliteQueue):
    """WRONG: SELECT and one UPDATE inside a plain BEGIN. No job twice, but a storm of "database is locked".

    Generation 2, the fix of Cloacina T-0049: the transaction becomes a writer only at its UPDATE, and from there on
    waiting is not possible, so the busy time-out, generous here, is not used. The error is raised out of `claim`,
    whose transaction is rolled back.
    """

    busy_timeout_seconds = 5.0

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        return self._select_then_update_batch("BEGIN", worker, limit)


class ImmediateBatch(SqliteQueue):
    """Right: SELECT and one UPDATE inside BEGIN IMMEDIATE, which waits for the write lock before it reads.

    Generation 3. Two statements between BEGIN and COMMIT for any number of jobs.
    """

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        return self._patiently(lambda: self._select_then_update_batch("BEGIN IMMEDIATE", worker, limit))


class CompareAndSet(SqliteQueue):
    """Right: reads ready jobs without a lock, then updates each only where it is still as it was read.

    Generation 4; N+1 by nature. Losing every job to quicker workers says nothing of the rest, so it reads again: an
    empty answer means that none was ready.
    """

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        taken: list[Row] = []
        while not taken and (candidates := self._run("select_ready", limit=limit)):
            for job, token in candidates:
                taken += self._mark("take_if_unchanged", worker, job=job, token=token)
        return taken


class UpdateReturning(SqliteQueue):
    """Right: the whole claim is one UPDATE … RETURNING, read to its end."""

    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        return self._mark("take_best", worker, limit=limit)


class SingleWorker(ImmediateBatch):
    """Right: a queue for one process, which refuses a second one instead of hoping that there is none.

    Making one takes the file's `WorkerGuard`, and so may raise `WorkerRefused` or `NetworkFileSystem`; `close` gives
    it back. In a process forked from the holder, or once closed, every method raises `WorkerRefused`.
    """

    max_workers = 1

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._guard = WorkerGuard(self.path)
        self._guard.acquire()

    def close(self) -> None:
        """Close the connection and let another process in. Closing twice is harmless."""
        super().close()
        self._guard.release()

    @contextmanager
    def _acquire(self) -> Iterator[sqlite3.Connection]:
        self._guard.require()
        with super()._acquire() as connection:
            yield connection
