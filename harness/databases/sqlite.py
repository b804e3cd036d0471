"""SQLite: a file per run, through the standard library's own SQLite."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from harness.databases.filesystem import file_system_type
from harness.databases.reaper import reap_abandoned
from harness.databases.workspace import open_workspace
from harness.errors import DatabaseUnavailable, RunAbandoned
from harness.scratch import scratch

JournalMode = Literal["wal", "delete"]
HOLD_RETRY_SECONDS: Final = 0.0003
HOLD_SECONDS: Final = 30.0
FLUSHES: Final = 21
RESTORE_TRIES: Final = 200
SEQUENCE: Final = "sqlite_sequence"  # where AUTOINCREMENT keeps its numbers: https://www.sqlite.org/autoinc.html
RESTORE_SLEEP_SECONDS: Final = 0.005
# PRAGMA synchronous answers with a number: https://www.sqlite.org/pragma.html#pragma_synchronous
SYNCHRONOUS: Final = ("off", "normal", "full", "extra")


@dataclass(frozen=True, slots=True)
class Sqlite:
    """The engine `sqlite`. Files lie in `folder`, by default in the same cache as our Postgres clusters.

    WAL is a property of the file, so every connection has it. The rollback journal (`delete`) is what a connection has
    that asks for nothing: a system that asks for WAL gets it. Files that need not outlive us can be in `memory`, a place without a disk.
    """

    journal_mode: JournalMode = "wal"
    folder: Path | None = None
    memory: Path | None = None
    name: str = field(default="sqlite", init=False)

    @contextlib.contextmanager
    def serve(self) -> Iterator[SqliteServer]:
        """Make a private folder for the files, removed on leaving; raises `DatabaseUnavailable` without one."""
        if self.memory is not None:
            with scratch("files", self.memory) as folder:
                yield SqliteServer(folder, self.journal_mode)
            return
        space = open_workspace(self.folder)
        reap_abandoned(space)
        run = space.claim()
        try:
            yield SqliteServer(run.folder, self.journal_mode)
        finally:
            shutil.rmtree(run.folder, ignore_errors=True)
            os.close(run.lock)


@dataclass(frozen=True, slots=True)
class SqliteServer:
    """The maker of files in `folder`."""

    folder: Path
    journal_mode: JournalMode

    def conditions(self) -> Mapping[str, str]:
        """Version, journal mode, durability and limits as a new connection finds them, file system of the files."""
        with self.fresh() as url, contextlib.closing(sqlite3.connect(_path(url))) as connection:
            (journal_mode,) = connection.execute("PRAGMA journal_mode").fetchone()
            (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
            (page_size,) = connection.execute("PRAGMA page_size").fetchone()
            return {
                "version": sqlite3.sqlite_version,
                "journal_mode": str(journal_mode),
                "synchronous": SYNCHRONOUS[synchronous],
                "page_size": str(page_size),
                "variable_limit_of_the_build": str(connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)),
                "file_system": file_system_type(self.folder),
            }

    @contextlib.contextmanager
    def fresh(self) -> Iterator[str]:
        """Give the URL (`sqlite:///` and an absolute path) of an empty file, removed on leaving with all beside it."""
        folder = Path(tempfile.mkdtemp(prefix="", dir=self.folder))
        file = folder / "queue.db"
        try:
            with contextlib.closing(sqlite3.connect(file)) as connection:
                (mode,) = connection.execute(f"PRAGMA journal_mode = {self.journal_mode}").fetchone()
            if mode != self.journal_mode:
                raise DatabaseUnavailable(
                    f"SQLite gave the journal mode {mode!r} where {self.journal_mode!r} was asked for: WAL needs "
                    f"shared memory, and the files are on {file_system_type(folder)}. Use a folder on a local disk."
                )
            file.touch()  # the rollback journal alone writes nothing yet
            yield f"sqlite:///{file}"
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def clone(self, url: str) -> Iterator[str]:
        """Give the URL of a copy of the file at `url`, which nobody has open; removed on leaving with all beside it."""
        folder = Path(tempfile.mkdtemp(prefix="", dir=self.folder))
        try:
            with contextlib.closing(sqlite3.connect(_path(url), isolation_level=None)) as connection:
                connection.execute(
                    "PRAGMA wal_checkpoint(TRUNCATE)"
                )  # what a killed process left beside the file goes into it
            shutil.copyfile(_path(url), folder / "queue.db")
            yield f"sqlite:///{folder / 'queue.db'}"
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def serving(self, url: str) -> Sequence[int]:  # noqa: ARG002  # SQLite works in the process that calls it
        """Nobody."""
        return ()

    def processes(self) -> Sequence[int]:
        """None: there is no server."""
        return ()

    def flush_seconds(self) -> float:
        """Give the median time of a small write with fsync in the files' folder."""
        times = []
        with tempfile.TemporaryFile(dir=self.folder) as file:
            for _ in range(FLUSHES):
                started = time.perf_counter()
                file.write(bytes(4096))
                file.flush()
                os.fsync(file.fileno())
                times.append(time.perf_counter() - started)
        return statistics.median(times)

    @contextlib.contextmanager
    def hold(self, url: str) -> Iterator[None]:
        """Hold the file's write lock; readers go on, in WAL mode.

        Asked for every third of a millisecond: SQLite's own busy handler pauses for up to 100 ms, and others would always be quicker.
        Raises `RunAbandoned` where somebody else never lets go of it.
        """
        until = time.monotonic() + HOLD_SECONDS
        with contextlib.closing(sqlite3.connect(_path(url), timeout=0, isolation_level=None)) as connection:
            while not connection.in_transaction:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                        raise
                    if time.monotonic() > until:
                        raise RunAbandoned(
                            f"The write lock of the SQLite file was not free within {HOLD_SECONDS:g} s: somebody never lets go of it."
                        ) from None
                    time.sleep(HOLD_RETRY_SECONDS)
            yield
            connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def snapshot(self, url: str) -> Iterator[Callable[[], None]]:
        """Keep a copy of the file in memory; give a function that puts it back.

        Rows are put back table by table, which leaves the schema alone: others would have to read it and prepare every statement
        again, 0.2 ms each. Where that cannot be (triggers, virtual tables, a schema that was changed) the whole file is written back
        (SQLite's online backup).
        """
        with (
            contextlib.closing(sqlite3.connect(_path(url), timeout=0, isolation_level=None)) as live,
            contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as saved,
        ):
            live.backup(saved)
            yield _Snapshot(live, saved).restore

    def dump(self, url: str) -> None:
        """Tell nothing: what dumps are for here, PostgreSQL's isolationtester, does not run SQLite."""

    def analyze(self, url: str) -> None:
        """Gather the planner's statistics of every table of the file at `url`, now (ANALYZE)."""
        with contextlib.closing(sqlite3.connect(_path(url), timeout=30, isolation_level=None)) as connection:
            connection.execute("ANALYZE")


class _Snapshot:
    """What is in `saved`, to be put back into `live`."""

    def __init__(self, live: sqlite3.Connection, saved: sqlite3.Connection) -> None:
        self._live, self._saved = live, saved
        self._version = self._schema_version()
        self._deletes, self._inserts = self._rows()

    def restore(self) -> None:
        """Put it back. Raises `RunAbandoned` where somebody holds a lock."""
        if self._deletes and self._schema_version() == self._version:
            self._patiently(self._put_rows_back)
        else:
            self._patiently(self._put_file_back)
            self._version = self._schema_version()

    def _schema_version(self) -> int:
        (version,) = self._live.execute("PRAGMA schema_version").fetchone()
        return int(version)

    def _rows(self) -> tuple[list[str], list[tuple[str, list[tuple[object, ...]]]]]:
        """How rows are deleted and inserted; nothing where they cannot be."""
        schema = self._saved.execute("SELECT type, name, sql FROM sqlite_schema").fetchall()
        if any(what == "trigger" or str(sql).upper().startswith("CREATE VIRTUAL") for what, _, sql in schema):
            return [], []
        deletes: list[str] = []
        inserts: list[tuple[str, list[tuple[object, ...]]]] = []
        tables = [(name, sql) for what, name, sql in schema if what == "table"]
        for name, sql in sorted(tables, key=lambda table: table[0] == SEQUENCE):  # which inserts into others change
            table = _quoted(name)
            columns = self._saved.execute(f"PRAGMA table_xinfo({table})").fetchall()
            names = [_quoted(column) for _, column, *_, hidden in columns if not hidden]
            keys = [kind.upper() for _, _, kind, _, _, key, _ in columns if key]
            if keys != ["INTEGER"] and not _without_rowid(str(sql)):  # then the key is the rowid
                names.insert(0, "rowid")
            rows = self._saved.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall()  # noqa: S608  # names, quoted
            if name == SEQUENCE:
                inserts.append((f"DELETE FROM {table}", [()]))  # noqa: S608  # as above
            else:
                deletes.append(f"DELETE FROM {table}")  # noqa: S608  # as above
            marks = ", ".join("?" * len(names))
            inserts.append((f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", rows))  # noqa: S608  # as above
        return deletes, inserts

    def _put_rows_back(self) -> None:
        self._live.execute("BEGIN IMMEDIATE")
        try:
            for delete in self._deletes:
                self._live.execute(delete)
            for insert, rows in self._inserts:
                self._live.executemany(insert, rows)
            self._live.execute("COMMIT")
        finally:
            if self._live.in_transaction:
                self._live.execute("ROLLBACK")

    def _put_file_back(self) -> None:
        def refuse(status: int, _remaining: int, _total: int) -> None:
            if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise _Busy

        self._saved.backup(self._live, progress=refuse, sleep=0)

    def _patiently(self, put_back: Callable[[], None]) -> None:
        for _ in range(RESTORE_TRIES):
            try:
                put_back()
            except _Busy:
                pass
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
            else:
                return
            time.sleep(RESTORE_SLEEP_SECONDS)
        raise RunAbandoned(
            "The database could not be put back between two schedules, as somebody still holds a lock: "
            "does an operation of the system leave a transaction open?"
        )


class _Busy(Exception):
    """Somebody holds a lock."""


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _without_rowid(sql: str) -> bool:
    return sql.upper().rpartition(")")[2].find("WITHOUT") >= 0


def _path(url: str) -> str:
    return url.removeprefix("sqlite:///")
