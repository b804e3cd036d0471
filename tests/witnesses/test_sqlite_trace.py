"""The SQLite witness, on real connections to real files."""

from __future__ import annotations

import contextlib
import gc
import sqlite3
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy

from harness.errors import UsageError
from harness.witnesses import sqlite_trace
from harness.witnesses.sqlite_trace import SqliteTrace

Seen = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Seen]:
    """Watch this process; gives the statements written since it was last called, without the times."""
    plain = sqlite3.connect
    SqliteTrace().enter("w0", tmp_path / "witness")
    read = 0

    def lines() -> list[dict[str, Any]]:
        nonlocal read
        all_lines = [orjson.loads(x) for x in (tmp_path / "witness" / "w0.ndjson").read_bytes().splitlines()]
        new, read = all_lines[read:], len(all_lines)
        assert all(x["process"] == "w0" and 0 < x["t0"] <= x["t1"] and x["trips"] == 0 for x in new)
        return new

    try:
        yield lines
    finally:
        sqlite3.connect = sqlite3.dbapi2.connect = plain


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = str(tmp_path / "queue.db")
    with _closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT, n INT DEFAULT 0)")
        connection.execute("INSERT INTO jobs (status) VALUES ('ready'), ('ready'), ('ready')")
    return path


class _closing:  # noqa: N801  # reads like contextlib.closing, which mypy cannot infer for a watched connection
    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def __enter__(self) -> sqlite3.Connection:
        return self.connection

    def __exit__(self, *_: object) -> None:
        self.connection.close()


def _brief(lines: list[dict[str, Any]]) -> list[tuple[str, str, bool]]:
    return [(x["kind"], x["shape"], x["commits"]) for x in lines]


def test_legacy_mode_shows_the_begin_and_commit_that_nobody_wrote(file: str, seen: Seen) -> None:
    connection = sqlite3.connect(file)
    connection.execute("UPDATE jobs SET n = n + 1 WHERE id = ?", (1,))
    connection.execute("SELECT * FROM jobs").fetchall()
    connection.commit()
    connection.execute("SELECT 1").fetchall()
    assert _brief(seen()) == [
        ("connect", "", False),
        ("begin", "BEGIN", False),
        ("write", "UPDATE jobs SET n = n + ? WHERE id = ?", False),
        ("read", "SELECT * FROM jobs", False),
        ("commit", "COMMIT", True),
        ("read", "SELECT ?", True),
    ]


def test_explicit_transactions_commit_with_their_commit_only(file: str, seen: Seen) -> None:
    connection = sqlite3.connect(file, isolation_level=None)
    for sql in (
        "BEGIN IMMEDIATE",
        "INSERT INTO jobs (status) VALUES ('ready')",
        "SAVEPOINT s",
        "ROLLBACK TO s",
        "RELEASE s",
        "ROLLBACK",
        "BEGIN",
        "DELETE FROM jobs WHERE id = 1",
        "COMMIT",
        "DELETE FROM jobs WHERE id = 2",
        "PRAGMA busy_timeout = 10",
        "SAVEPOINT alone",
        "RELEASE alone",
        "CREATE TABLE t (a)",
    ):
        connection.execute(sql)
    assert [(x["kind"], x["commits"]) for x in seen()[1:]] == [
        ("begin", False),
        ("write", False),
        ("other", False),
        ("other", False),
        ("other", False),
        ("rollback", False),
        ("begin", False),
        ("write", False),
        ("commit", True),
        ("write", True),
        ("other", False),
        ("other", False),
        ("other", True),
        ("other", True),
    ]


if sys.version_info >= (3, 12):  # the attribute autocommit came with it

    def test_autocommit_false_shows_the_transaction_it_always_holds(file: str, seen: Seen) -> None:
        connection = sqlite3.connect(file, autocommit=False)
        connection.execute("UPDATE jobs SET n = 1")
        connection.commit()
        connection.rollback()
        connection.autocommit = True
        connection.execute("UPDATE jobs SET n = 2")
        connection.close()
        assert [(x["kind"], x["commits"]) for x in seen()] == [
            ("connect", False),
            ("begin", False),
            ("write", False),
            ("commit", True),
            ("begin", False),
            ("rollback", False),
            ("begin", False),
            ("commit", True),
            ("write", True),
        ]


def test_with_connection_commits_and_rolls_back_under_watch(file: str, seen: Seen) -> None:
    connection = sqlite3.connect(file)
    with connection:
        connection.execute("UPDATE jobs SET n = 5")
    with contextlib.suppress(KeyError), connection:
        connection.execute("UPDATE jobs SET n = 6")
        raise KeyError
    assert [(x["kind"], x["commits"]) for x in seen()[1:]] == [
        ("begin", False),
        ("write", False),
        ("commit", True),
        ("begin", False),
        ("write", False),
        ("rollback", False),
    ]
    assert connection.execute("SELECT DISTINCT n FROM jobs").fetchall() == [(5,)]


def test_each_execution_of_executemany_is_a_statement(file: str, seen: Seen) -> None:
    connection = sqlite3.connect(file)
    cursor = connection.executemany("INSERT INTO jobs (status) VALUES (?)", ((x,) for x in "aabb"))
    assert cursor.rowcount == 4
    cursor.executemany("INSERT INTO jobs (status) VALUES (:status)", [{"status": "c"}])
    connection.commit()
    assert [x["kind"] for x in seen()[1:]] == ["begin", "write", "write", "write", "write", "write", "commit"]
    assert connection.execute("SELECT count(*) FROM jobs WHERE status IN ('a', 'b', 'c')").fetchone() == (5,)


def test_a_cascade_is_not_listened_to_and_the_next_statement_is(
    file: str, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite says the outer statement again for each row a cascade touches, each time with its parameters written out."""
    said: list[str] = []
    started = sqlite_trace._Watch.started

    def listen(watch: Any, text: str) -> None:
        said.append(text)
        started(watch, text)

    monkeypatch.setattr(sqlite_trace._Watch, "started", listen)
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("CREATE TABLE actions (job INTEGER REFERENCES jobs (id) ON DELETE CASCADE)")
    connection.executemany("INSERT INTO jobs (id) VALUES (?)", [(n,) for n in range(100, 600)])
    connection.executemany("INSERT INTO actions VALUES (?)", [(n,) for n in range(100, 600)])
    seen()
    said.clear()
    delete = "DELETE FROM jobs WHERE id IN (SELECT value FROM json_each(?))"
    connection.execute(delete, (f"[{','.join(map(str, range(100, 300)))}]",))
    assert len(said) == 2  # the statement, and the first of its repetitions
    connection.executemany("DELETE FROM jobs WHERE id BETWEEN ? AND ?", [(300, 399), (400, 499)])
    connection.execute("SELECT count(*) FROM actions").fetchall()
    own: list[str] = []
    connection.set_trace_callback(own.append)
    connection.execute("DELETE FROM jobs WHERE id >= 500")
    assert len(own) > 100  # a callback of the user's gets all that it would have got
    assert [(x["kind"], x["commits"]) for x in seen()] == [("write", True)] * 3 + [("read", True), ("write", True)]


def test_a_watched_connection_takes_as_many_variables_as_sqlite_does_by_itself(file: str, seen: Seen) -> None:
    connection = sqlite3.connect(file)
    connection.execute(f"SELECT {','.join('?' * 2000)}", range(2000)).fetchall()
    with pytest.raises(sqlite3.OperationalError, match="too many SQL variables"):
        connection.execute(f"SELECT 1 WHERE 1 IN ({','.join('?' * 32_767)})", range(32_767))
    seen()


def test_statements_inside_triggers_do_not_count(file: str, seen: Seen) -> None:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.executescript(
        "CREATE TABLE log (x); CREATE TRIGGER t AFTER INSERT ON jobs BEGIN"
        " INSERT INTO log VALUES (new.id); UPDATE log SET x = x + 1; END;"
    )
    seen()
    connection.execute("INSERT INTO jobs (status) VALUES ('a')")
    connection.executemany("INSERT INTO jobs (status) VALUES (?)", [("a",), ("a",)])
    connection.executescript("INSERT INTO jobs (status) VALUES ('a');" * 2 + "-- the end\nSELECT 1;")
    connection.execute("-- name: claim\nUPDATE jobs SET n = 1")
    assert [x["kind"] for x in seen()] == ["write"] * 5 + ["read", "write"]


def test_a_script_is_seen_statement_by_statement_with_the_commit_it_begins_with(file: str, seen: Seen) -> None:
    connection = sqlite3.connect(file)
    connection.execute("UPDATE jobs SET n = 1")
    connection.executescript("BEGIN; UPDATE jobs SET n = 2; ;\n/* ; */ COMMIT; SELECT ';'")
    with pytest.raises(sqlite3.IntegrityError):
        connection.executescript("UPDATE jobs SET n = 3; INSERT INTO jobs (id) VALUES (1); UPDATE jobs SET n = 4")
    lines = seen()[1:]
    assert [(x["kind"], x["commits"]) for x in lines] == [
        ("begin", False),
        ("write", False),
        ("commit", True),
        ("begin", False),
        ("write", False),
        ("commit", True),
        ("read", True),
        ("write", True),
        ("write", False),
    ]
    assert lines[-1]["error"] == {"kind": "constraint", "code": "SQLITE_CONSTRAINT"}


def test_a_statement_refused_with_busy_is_written_with_its_error(file: str, seen: Seen) -> None:
    holder, other = (sqlite3.connect(file, isolation_level=None, timeout=0) for _ in range(2))
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked") as caught:
        other.execute("BEGIN IMMEDIATE")
    assert caught.value.sqlite_errorcode == sqlite3.SQLITE_BUSY
    legacy = sqlite3.connect(file, timeout=0)
    with pytest.raises(sqlite3.OperationalError):
        legacy.execute("UPDATE jobs SET n = 1")
    *_, busy, _, begin, write = seen()
    error = {"kind": "lock", "code": "SQLITE_BUSY"}
    assert (busy["shape"], busy["connection"], busy["error"], busy["commits"]) == ("BEGIN IMMEDIATE", 2, error, False)
    assert (begin["kind"], begin.get("error"), write["kind"], write["error"]) == ("begin", None, "write", error)


def test_a_stale_snapshot_is_written_as_busy_snapshot(file: str, seen: Seen) -> None:
    reader, writer = (sqlite3.connect(file, isolation_level=None, timeout=0) for _ in range(2))
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM jobs").fetchall()
    writer.execute("UPDATE jobs SET n = n + 1")
    with pytest.raises(sqlite3.OperationalError):
        reader.execute("UPDATE jobs SET n = n + 1")
    assert seen()[-1]["error"] == {"kind": "lock", "code": "SQLITE_BUSY_SNAPSHOT"}


def test_a_statement_that_could_not_be_prepared_is_written_too(tmp_path: Path, seen: Seen) -> None:
    file = str(tmp_path / "rollback.db")
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("CREATE TABLE jobs (id)")
    holder.execute("BEGIN EXCLUSIVE")
    other = sqlite3.connect(file, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("SELECT * FROM jobs WHERE id = 7")
    with pytest.raises(sqlite3.OperationalError, match="syntax"):
        holder.execute("SELEC 1")
    with pytest.raises(sqlite3.ProgrammingError, match="bindings"):
        holder.execute("SELECT ?", ())
    busy, syntax = seen()[-2:]
    assert (busy["shape"], busy["error"]["code"]) == ("SELECT * FROM jobs WHERE id = ?", "SQLITE_BUSY")
    assert (syntax["shape"], syntax["error"]) == ("SELEC ?", {"kind": "other", "code": "SQLITE_1"})


def test_a_commit_refused_with_busy_did_not_commit(tmp_path: Path, seen: Seen) -> None:
    file = str(tmp_path / "rollback.db")
    writer, reader = (sqlite3.connect(file, isolation_level=None, timeout=0) for _ in range(2))
    writer.executescript("CREATE TABLE jobs (id); INSERT INTO jobs VALUES (1), (2)")
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM jobs").fetchone()
    writer.execute("BEGIN")
    writer.execute("UPDATE jobs SET id = 3")
    with pytest.raises(sqlite3.OperationalError):
        writer.commit()
    assert (seen()[-1]["error"]["code"], writer.in_transaction) == ("SQLITE_BUSY", True)
    with pytest.raises(sqlite3.OperationalError), writer:  # which rolls back, as its COMMIT was refused
        writer.execute("UPDATE jobs SET id = 4")
    lines = [(x["kind"], x["commits"], x.get("error", {}).get("code")) for x in seen()]
    assert lines == [("write", False, None), ("commit", False, "SQLITE_BUSY"), ("rollback", False, None)]
    writer.execute("BEGIN")
    writer.execute("UPDATE jobs SET id = 5")
    reader.execute("ROLLBACK")
    writer.commit()
    assert seen()[-1]["commits"] is True


def test_update_returning_commits_when_its_last_row_was_read_or_its_cursor_let_go(file: str, seen: Seen) -> None:
    connection, other = (sqlite3.connect(file, isolation_level=None, timeout=0) for _ in range(2))
    sql = "UPDATE jobs SET n = n + 1 RETURNING id"
    assert connection.execute(sql).fetchall() == [(1,), (2,), (3,)]
    assert _brief(seen()[2:]) == [("write", "UPDATE jobs SET n = n + ? RETURNING id", True)]
    cursor = connection.execute(sql)
    assert cursor.fetchone() == (1,)
    with pytest.raises(sqlite3.OperationalError):
        other.execute("UPDATE jobs SET n = 0")  # the write lock is still held
    assert [x.get("error", {}).get("code") for x in seen()] == ["SQLITE_BUSY"]
    del cursor
    assert [(x["kind"], x["commits"]) for x in seen()] == [("write", True)]
    assert [row for (row,) in connection.execute(sql)] == [1, 2, 3]
    connection.cursor().execute(sql).close()
    connection.execute("BEGIN")
    connection.execute(sql)
    assert [(x["kind"], x["commits"]) for x in seen()] == [
        ("write", True),
        ("write", True),
        ("begin", False),
        ("write", False),
    ]


def test_an_error_while_rows_are_read_is_written(file: str, seen: Seen) -> None:
    connection = sqlite3.connect(file)

    def boom(n: int) -> int:
        return n if n < 3 else 1 // 0

    connection.create_function("boom", 1, boom)
    with pytest.raises(sqlite3.OperationalError):
        connection.execute("SELECT boom(id) FROM jobs").fetchall()
    assert [x.get("error", {}).get("code") for x in seen()[1:]] == [None, "SQLITE_1"]


def test_a_connection_that_cannot_be_made_is_written_with_its_error(tmp_path: Path, seen: Seen) -> None:
    with pytest.raises(sqlite3.OperationalError):
        sqlite3.connect(tmp_path / "no" / "such.db")
    (line,) = seen()
    assert (line["kind"], line["connection"], line["error"]["code"]) == ("connect", 1, "SQLITE_CANTOPEN")


@pytest.mark.filterwarnings(
    "ignore:Passing more than 1 positional argument:DeprecationWarning"
)  # the caller's, from 3.12 on
def test_a_users_own_classes_keep_working_and_are_watched(file: str, seen: Seen) -> None:
    class Cursor(sqlite3.Cursor):
        executed = 0

        def execute(self, *args: Any) -> Any:
            self.executed += 1
            return super().execute(*args)

    class Connection(sqlite3.Connection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.execute("PRAGMA busy_timeout = 7")

        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

        def commit(self) -> None:
            super().execute("UPDATE jobs SET n = 9 WHERE id = 1")
            super().commit()

    for by_position in (False, True):
        connection = (
            sqlite3.connect(file, 5.0, 0, "DEFERRED", True, Connection)  # noqa: FBT003  # sqlite3's own signature
            if by_position
            else sqlite3.connect(file, factory=Connection)
        )
        assert isinstance(connection, Connection)
        assert repr(connection).startswith(f"<{__name__}.")
        cursor = connection.cursor()
        assert isinstance(cursor, Cursor)
        assert cursor.execute("UPDATE jobs SET n = 8") is cursor
        assert cursor.executed == 1
        assert cursor.connection is connection
        connection.commit()
        assert type(connection.cursor(sqlite3.Cursor)).__name__ == "Cursor"
        kinds = [x["kind"] for x in seen()]
        assert kinds == ["connect", "other", "begin", "write", "write", "commit"]
        connection.close()


def test_nothing_a_system_relies_on_changes(file: str, seen: Seen) -> None:
    connection = sqlite3.connect(file)
    assert isinstance(connection, sqlite3.Connection)
    assert type(connection).__name__ == "Connection"
    assert isinstance(connection.cursor(), sqlite3.Cursor)
    connection.row_factory = sqlite3.Row
    row = connection.execute("SELECT id, status FROM jobs ORDER BY id").fetchone()
    assert (row["id"], tuple(row)) == (1, (1, "ready"))
    assert [r["id"] for r in connection.execute("SELECT id FROM jobs ORDER BY id")] == [1, 2, 3]
    assert len(connection.cursor().execute("SELECT id FROM jobs").fetchmany(size=2)) == 2
    cursor = connection.execute("INSERT INTO jobs (status) VALUES (?)", ("x",))
    assert (cursor.lastrowid, cursor.rowcount, cursor.description) == (4, 1, None)
    with pytest.raises(TypeError):
        connection.execute()  # type: ignore[call-arg]  # the error is the point
    with pytest.raises(TypeError):
        connection.executemany("INSERT INTO jobs (status) VALUES (?)", 7)  # type: ignore[arg-type]  # as above
    with pytest.raises(sqlite3.ProgrammingError):
        connection.executemany("SELECT ?", [(1,)])
    with pytest.raises(RuntimeError, match="from the generator"):
        connection.executemany("INSERT INTO jobs (status) VALUES (?)", _failing())
    texts: list[str] = []
    connection.set_trace_callback(texts.append)
    connection.execute("SELECT 1")
    connection.set_trace_callback(None)
    connection.execute("SELECT 2")
    assert texts == ["SELECT 1"]
    assert seen()[-1]["shape"] == "SELECT ?"
    connection.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")
    gone = weakref.ref(connection)
    del connection, cursor
    gc.collect()
    assert gone() is None


def _failing() -> Iterator[tuple[str]]:
    yield ("a",)
    raise RuntimeError("from the generator")


def test_threads_that_share_a_connection_lose_no_statement(file: str, seen: Seen) -> None:
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    own = [sqlite3.connect(file, isolation_level=None, check_same_thread=False) for _ in range(3)]

    def run(name: str, mine: sqlite3.Connection) -> None:
        for _ in range(200):
            connection.execute(f"SELECT 1 AS {name}").fetchall()
            mine.execute(f"SELECT 1 AS mine_{name}").fetchall()

    threads = [threading.Thread(target=run, args=x, daemon=True) for x in zip("abc", own, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads), "the trace callback and SQLite's mutex wait for each other"
    lines = [x for x in seen() if x["kind"] == "read"]
    counts = {
        n: sum(x["shape"] == f"SELECT ? AS {n}" for x in lines) for n in ("a", "b", "c", "mine_a", "mine_b", "mine_c")
    }
    assert (len(lines), set(counts.values())) == (1200, {200})


def test_sqlalchemy_is_watched_without_knowing_it(file: str, seen: Seen) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.execute(
            sqlalchemy.text("UPDATE jobs SET n = :n WHERE id = :id"), [{"n": 1, "id": 1}, {"n": 2, "id": 2}]
        )
        assert connection.execute(sqlalchemy.text("SELECT count(*) FROM jobs")).scalar() == 3
    with pytest.raises(sqlalchemy.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sqlalchemy.text("INSERT INTO jobs (id) VALUES (1)"))
    engine.dispose()
    assert [(x["kind"], x["commits"], x.get("error", {}).get("kind")) for x in seen() if x["kind"] != "other"] == [
        ("connect", False, None),
        ("begin", False, None),
        ("write", False, None),
        ("write", False, None),
        ("read", False, None),
        ("commit", True, None),
        ("begin", False, None),
        ("write", False, "constraint"),
        ("rollback", False, None),
    ]


def test_a_factory_that_is_no_class_is_refused_with_the_remedy(file: str, seen: Seen) -> None:
    with pytest.raises(UsageError, match="Give such a class"):
        sqlite3.connect(file, factory=print)  # type: ignore[call-overload]  # the error is the point


def test_watch_gives_everyone_the_same_url_and_refuses_latency(tmp_path: Path) -> None:
    with SqliteTrace().watch("sqlite:///a.db", ["w0", "w1"], tmp_path / "witness") as urls:
        assert urls.urls == {"w0": "sqlite:///a.db", "w1": "sqlite:///a.db"}
    with pytest.raises(UsageError, match="latency"), SqliteTrace().watch("sqlite:///a.db", [], tmp_path, latency_ms=1):
        pass
