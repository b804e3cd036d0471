"""The gate of Postgres before the real server, with real clients in threads and the test as the one who explores.

What a client gets must be to the letter what it gets without the gate; what is held must be what others could notice.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from ipaddress import IPv4Address
from selectors import DefaultSelector
from typing import Any
from uuid import UUID

import psutil
import psycopg
import psycopg_pool
import pytest
from psycopg.pq.abc import PGconn, PGresult
from psycopg.types.json import Json, Jsonb
from sqlalchemy import create_engine, text

from harness.databases.postgres import PostgresServer
from harness.gates.on_the_wire import WireGate
from harness.gates.values import bound
from harness.protocols import Effect, Held, Ran, Reach
from harness.witnesses.shapes import unbraced

TABLES = b"""
    DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public;
    CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, words text);
    CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES t DEFERRABLE INITIALLY DEFERRED);
    INSERT INTO t SELECT i FROM generate_series(1, 5) AS i;
    CREATE FUNCTION bump(which int) RETURNS int LANGUAGE sql AS 'UPDATE t SET n = n + 1 WHERE id = which RETURNING n';
    CREATE FUNCTION abs(int, int) RETURNS int LANGUAGE sql AS 'SELECT bump($1)';
    CREATE VIEW bumped AS SELECT bump(id) FROM t;
    CREATE PROCEDURE twice() LANGUAGE plpgsql AS 'BEGIN UPDATE t SET n = 7; COMMIT; UPDATE t SET n = 8; END';
"""
Program = Callable[[str], object]


class Client:
    """A program in a thread: what it gave, or its error, once it is over."""

    def __init__(self, program: Program, url: str) -> None:
        self.outcome: object = None
        self._thread = threading.Thread(target=self._run, args=(program, url), daemon=True)
        self._thread.start()

    def _run(self, program: Program, url: str) -> None:
        self.outcome = outcome(program, url)

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()


def outcome(program: Program, url: str) -> object:
    try:
        return program(url)
    except (psycopg.Error, OSError) as error:
        return type(error).__name__, getattr(error, "sqlstate", None), str(error).split("connection to server at")[0]


@dataclass
class Explorer:
    """Listens to a gate, and lets on whom the test names."""

    gate: Held
    clients: dict[str, Client] = field(default_factory=dict)
    waiting: dict[str, tuple[int, str, str, Effect]] = field(default_factory=dict)
    reach: dict[str, Reach] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.selector = DefaultSelector()
        self.gate.attend(self.selector, self)

    def held(self, process: str, connection: int, kind: str, shape: str, effect: Effect, *, reach: Reach) -> None:
        assert process not in self.waiting
        self.waiting[process] = (connection, kind, shape, effect)
        self.reach[process] = reach

    def moves(self, process: str) -> None:
        pass

    def gone(self, process: str) -> None:
        del self.waiting[process]

    def start(self, process: str, program: Program) -> str | None:
        self.clients[process] = Client(program, self.gate.urls[process])
        return self.until(process)

    def until(self, process: str, also: Callable[[], bool] = lambda: False, within: float = 3) -> str | None:
        """Wait until a process is held, and give the kind of what it wants; None: it is over, or `also` says so."""
        deadline = time.monotonic() + within
        while process not in self.waiting and not self.clients[process].over and not also():
            assert time.monotonic() < deadline, f"{process} neither stops nor ends"
            for key, _ in self.selector.select(0.002):
                key.data()
        return self.waiting[process][1] if process in self.waiting else None

    def let(self, process: str) -> None:
        del self.waiting[process]
        assert self.gate.allow(process)

    def go(self, process: str) -> str | None:
        """Let a process on to its next stop; gives its kind, or None where it is over."""
        self.let(process)
        return self.until(process)

    def go_and_wait(self, process: str) -> list[str]:
        """Let a process on; gives who keeps it waiting."""
        self.let(process)
        who: list[str] = []

        def blocked() -> bool:
            who[:] = self.gate.blocked([process]).get(process, [])
            return bool(who)

        assert self.until(process, blocked) is None
        return who

    def ran(self, process: str) -> list[tuple[str, str, str | None]]:
        return [(ran.kind, ran.effect, ran.error) for ran in self.gate.ran(process)]

    def all_of(self, process: str, program: Program) -> tuple[list[str], object, list[Ran]]:
        """Run a program to its end; gives the kinds of its steps, its outcome and what it ran."""
        steps = []
        stop = self.start(process, program)
        while stop is not None:
            steps.append(stop)
            stop = self.go(process)
        return steps, self.clients[process].outcome, list(self.gate.ran(process))


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> Iterator[str]:
    with postgres_server.fresh() as url:
        yield url


@pytest.fixture
def url(database: str) -> str:
    reset(database)
    return database


def reset(url: str) -> None:
    """Begin anew, whoever is still there."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        connection.execute(TABLES)


@contextlib.contextmanager
def exploring(url: str, *names: str) -> Iterator[Explorer]:
    """An explorer of processes of these names, at a gate that turns."""
    with WireGate().guard(url, names) as gate:
        explorer = Explorer(gate)
        gate.turn(on=True)
        yield explorer
        gate.turn(on=False)
        gate.close()  # type: ignore[attr-defined]  # lets whoever still waits go
        explorer.selector.close()


@pytest.fixture
def explorer(url: str) -> Iterator[Explorer]:
    with exploring(url, "w0", "w1", "w2") as explorer:
        yield explorer


# One client: the same results and errors as without the gate, and the steps there should be.


def autocommit(*statements: str, prepare: int | None = 5, parameters: Any = None) -> Program:
    """Each statement by itself: its rows, what it was, or its error."""

    def program(url: str) -> object:
        with psycopg.connect(url, autocommit=True, prepare_threshold=prepare) as connection:

            def one(statement: str) -> object:
                return outcome(lambda _: results(connection.execute(statement.encode(), parameters)), url)

            found = [one(statement) for statement in statements]
            return found, connection.info.transaction_status.name

    return program


def results(cursor: psycopg.Cursor[Any]) -> list[object]:
    """All results of what was executed."""
    found: list[object] = []
    while True:
        rows = cursor.fetchall() if cursor.description else None
        columns = [(column.name, column.type_code) for column in cursor.description or []]
        found.append((cursor.statusmessage, cursor.rowcount, columns, rows))
        if not cursor.nextset():
            return found


def in_block(*statements: str, parameters: Any = None) -> Program:
    def program(url: str) -> object:
        with contextlib.closing(psycopg.connect(url)) as closing, closing as connection:
            return [results(connection.execute(s.encode(), parameters)) for s in statements]

    return program


def pipeline(url: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection, connection.pipeline():
        one = connection.execute("UPDATE t SET n = 1 WHERE id = %s RETURNING id", [1])
        two = connection.execute("UPDATE t SET n = 1 WHERE id = %s RETURNING id", [2])
        three = connection.execute("SELECT n FROM t WHERE id = %s", [2])
        return [one.fetchall(), two.fetchall(), three.fetchall()]


def pipeline_in_block(url: str) -> object:
    with psycopg.connect(url) as connection, connection.pipeline():
        one = connection.execute("UPDATE t SET n = 1 WHERE id = %s RETURNING id", [1])
        two = connection.execute("SELECT n FROM t WHERE id = %s", [1])
        return [one.fetchall(), two.fetchall()]


def pipeline_with_error(url: str) -> object:
    found: list[object] = []
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            with connection.pipeline():
                connection.execute("UPDATE t SET n = 1 WHERE id = %s", [1])
                connection.execute("INSERT INTO t VALUES (%s)", [1])
                connection.execute("UPDATE t SET n = 1 WHERE id = %s", [2])
        except psycopg.Error as error:
            found.append((error.sqlstate, str(error)))
        return found + connection.execute("SELECT id, n FROM t ORDER BY id").fetchall()


def many(url: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.cursor()
        cursor.executemany("UPDATE t SET n = 5 WHERE id = %s RETURNING id", [(2,), (1,)], returning=True)
        return results(cursor)


def cursor_of_the_server(url: str) -> object:
    with psycopg.connect(url) as connection, connection.cursor("c") as cursor:
        cursor.execute("SELECT id FROM t ORDER BY id FOR UPDATE")
        return cursor.fetchmany(2), cursor.fetchone()


def copies(*, block: bool) -> Program:
    def program(url: str) -> object:
        with psycopg.connect(url, autocommit=not block) as connection:
            with connection.cursor().copy("COPY t (id, words) FROM STDIN") as copy:
                for number in range(100, 400):
                    copy.write_row((number, "x" * 5_000))
            with connection.cursor().copy("COPY (SELECT id FROM t ORDER BY id) TO STDOUT") as out:
                return list(out.rows())

    return program


def copy_that_fails(url: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        found = []
        try:
            with connection.cursor().copy("COPY t (id) FROM STDIN") as copy:
                copy.write_row((1,))
        except psycopg.Error as error:
            found.append((error.sqlstate, str(error)))
        with pytest.raises(ZeroDivisionError), connection.cursor().copy("COPY t (id) FROM STDIN"):
            _ = 1 // 0  # the client gives up: CopyFail
        found.append(connection.execute("SELECT count(*) FROM t").fetchone())  # type: ignore[arg-type]
        return found


def result_of(pgconn: PGconn) -> PGresult | None:
    """Give the next result; `get_result` alone would wait with the interpreter's lock held, and we are the server."""
    pgconn.flush()
    while pgconn.is_busy():
        select.select([pgconn.socket], [], [], 5)
        pgconn.consume_input()
    return pgconn.get_result()


def copy_extended(url: str) -> object:
    """As libpq copies with parameters: its Sync comes twice, and the server reads over the first."""
    with psycopg.connect(url, autocommit=True) as connection:
        pgconn = connection.pgconn
        notices: list[PGresult] = []
        pgconn.notice_handler = notices.append  # libpq's, too, of a ReadyForQuery too many
        pgconn.send_query_params(b"COPY t (id) FROM STDIN", [])
        first = result_of(pgconn)
        assert first is not None
        pgconn.put_copy_data(b"77\n")
        pgconn.put_copy_end()
        found = []
        while (result := result_of(pgconn)) is not None:
            found.append((result.status, result.command_status))
        return first.status, found, len(notices), connection.execute("SELECT max(id) FROM t").fetchone()


def each_result(url: str) -> object:
    """A Query that fails at its commit, which is before its result is given."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.pgconn.send_query(b"INSERT INTO child VALUES (1, 99)")
        found = []
        while (result := result_of(connection.pgconn)) is not None:
            found.append(result.status)
        return found, connection.execute("SELECT 1").fetchone()


def described_with_flush(url: str) -> object:
    """As asyncpg prepares: Parse, Describe, Flush, and the answer before anything else."""
    with psycopg.connect(url, autocommit=True) as connection:
        pgconn = connection.pgconn
        pgconn.enter_pipeline_mode()
        pgconn.send_prepare(b"p", b"UPDATE t SET n = 3 WHERE id = $1")
        pgconn.send_flush_request()
        pgconn.flush()
        prepared = result_of(pgconn)
        assert prepared is not None
        pgconn.send_query_prepared(b"p", [b"1"])
        pgconn.pipeline_sync()
        pgconn.flush()
        found = [prepared.status]
        while len(found) < 3:
            result = result_of(pgconn)
            if result is not None:
                found.append(result.status)
        pgconn.exit_pipeline_mode()
        return found


def notified(url: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("LISTEN news")
        connection.execute("NOTIFY news, 'a'")
        connection.execute("SELECT pg_notify('news', %s)", ["b"])
        return [(note.channel, note.payload) for note in connection.notifies(timeout=5, stop_after=2)]


def two_connections(url: str) -> object:
    with psycopg.connect(url) as one, psycopg.connect(url, autocommit=True) as two:
        one.execute("UPDATE t SET n = 1 WHERE id = 1")
        two.execute("UPDATE t SET n = 1 WHERE id = %s", [2])
        return two.execute("SELECT sum(n) FROM t").fetchone()


def large(url: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        sent = "é" * 3_000_000
        row = connection.execute("UPDATE t SET words = %s WHERE id = 1 RETURNING words", [sent]).fetchone()
        again = connection.execute("SELECT words FROM t WHERE id = 1").fetchone()
        return row == again == (sent,)


def other_encoding(url: str) -> object:
    with psycopg.connect(url, autocommit=True, client_encoding="latin1") as connection:
        connection.execute("UPDATE t SET words = 'é' WHERE id = 1; SELECT 1")
        found = connection.execute("SELECT 'é', words, length(words) FROM t WHERE id = 1").fetchall()
        return found, outcome(lambda _: connection.execute('UPDATE "é" SET a = 1'), url)


def pooled(url: str) -> object:
    with psycopg_pool.ConnectionPool(url, min_size=2, max_size=2, open=True) as pool:
        pool.wait()
        found = []
        for job in (1, 2, 3):
            with pool.connection() as connection:
                found.append(results(connection.execute("UPDATE t SET n = 1 WHERE id = %s RETURNING id", [job])))
        return found


def alchemy(url: str) -> object:
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        found = connection.execute(text("UPDATE t SET n = 1 WHERE id = :id RETURNING id"), {"id": 1}).all()
    engine.dispose()
    return [tuple(row) for row in found]


WRITE = ["write", "commit"]  # a statement outside a block and its end
ONE_CLIENT: dict[str, tuple[Program, list[str]]] = {
    "a write without parameters": (autocommit("UPDATE t SET n = 1 RETURNING id, n"), WRITE),
    "a write with parameters": (autocommit("UPDATE t SET n = 1 WHERE id = %s RETURNING id", parameters=[1]), WRITE),
    "prepared at once": (autocommit(*["UPDATE t SET n = 1 WHERE id = %s"] * 2, prepare=0, parameters=[1]), WRITE * 2),
    "prepared later": (autocommit(*["UPDATE t SET n = 1 WHERE id = %s"] * 7, parameters=[1]), WRITE * 7),
    "a read": (autocommit("SELECT id FROM t ORDER BY id"), ["read"]),
    "a read with parameters": (autocommit("SELECT n FROM t WHERE id = %s", parameters=[1]), ["read"]),
    "nothing": (autocommit("", " ; ", "-- only this"), []),
    "its own": (autocommit("SET default_transaction_isolation TO 'serializable'", "SHOW work_mem"), []),
    "a block": (in_block("SELECT n FROM t FOR UPDATE", "UPDATE t SET n = 2"), ["read", "write", "commit"]),
    "a block with parameters": (in_block("UPDATE t SET n = 2 WHERE id = %s", parameters=[1]), WRITE),
    "a block that reads": (in_block("SELECT 1", "SELECT n FROM t"), ["read", "read", "commit"]),
    "a block given up": (in_block("UPDATE t SET n = 2", "SELECT nothing"), ["write", "read", "rollback"]),
    "a savepoint": (
        in_block("SAVEPOINT a", "UPDATE t SET n = 2", "ROLLBACK TO a", "SELECT n FROM t"),
        ["write", "other", "read", "commit"],
    ),
    "a function that writes": (autocommit("SELECT bump(1)", "SELECT * FROM public.bump(2)"), ["read", "commit"] * 2),
    "a procedure that commits": (autocommit("CALL twice()", "SELECT max(n) FROM t"), [*WRITE, "read"]),
    "DO": (autocommit("DO $$ BEGIN UPDATE t SET n = 1; RAISE NOTICE 'x'; END $$"), WRITE),
    "a text of many": (
        autocommit("BEGIN; SELECT n FROM t; UPDATE t SET n = 1 RETURNING id; COMMIT"),
        ["read", "write", "commit"],
    ),
    "a text of two": (
        autocommit("UPDATE t SET n = 3 WHERE id = 1 RETURNING id; SELECT n FROM t WHERE id = 1"),
        ["write", "read", "commit"],
    ),
    "a text of two reads": (autocommit("SELECT 1; SELECT 2;"), ["read", "read"]),
    "a text in a block": (in_block("UPDATE t SET n = 3; SELECT max(n) FROM t"), ["write", "read", "commit"]),
    "a text with an error": (
        autocommit("UPDATE t SET n = 3;\n INSERT INTO t VALUES (1); SELECT 1", "SELECT max(n) FROM t"),
        ["write", "write", "read"],
    ),
    "a text with an error at a place": (
        autocommit("BEGIN; UPDATE t SET n = 3;\n SELECT é FROM t; COMMIT", "ROLLBACK", "SELECT max(n) FROM t"),
        ["write", "read", "rollback", "read"],
    ),
    "a text that begins late": (
        autocommit("UPDATE t SET n = 3; BEGIN; UPDATE t SET n = 4", "ROLLBACK", "SELECT max(n) FROM t"),
        ["write", "write", "rollback", "read"],
    ),
    "a text that commits midway": (
        autocommit("BEGIN; UPDATE t SET n = 3; COMMIT; UPDATE t SET n = 4; SELECT n FROM t"),
        ["write", "commit", "write", "read", "commit"],
    ),
    "a text with settings": (
        autocommit("SET LOCAL work_mem TO '1MB'; SHOW work_mem", "SHOW work_mem"),
        [],
    ),
    "a body with semicolons": (
        autocommit("SELECT 1; CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END", "SELECT f()"),
        ["read", "read", "commit"],
    ),
    "unique violation": (autocommit("INSERT INTO t VALUES (1)", "SELECT 1"), ["write", "read"]),
    "unique violation with parameters": (autocommit("INSERT INTO t VALUES (%s)", parameters=[1]), ["write"]),
    "syntax error": (autocommit("UPDATE t SET", "SELEC 1", "SELECT 1"), ["write", "other", "read"]),
    "an unknown column": (autocommit("UPDATE t\n SET x = 1 -- é\n", "SELECT 1"), ["write", "read"]),
    "a deferred constraint": (autocommit("INSERT INTO child VALUES (1, 99)", "SELECT 1"), [*WRITE, "read"]),
    "a deferred constraint with parameters": (autocommit("INSERT INTO child VALUES (%s, 99)", parameters=[1]), WRITE),
    "a deferred constraint in a block": (in_block("INSERT INTO child VALUES (1, 99)"), WRITE),
    "a deferred constraint in a text": (
        autocommit("INSERT INTO child VALUES (1, 99); SELECT 1"),
        ["write", "read", "commit"],
    ),
    "a deferred constraint, result by result": (each_result, [*WRITE, "read"]),
    "VACUUM": (autocommit("VACUUM t"), ["other", "commit"]),
    "VACUUM with parameters": (autocommit("VACUUM t", parameters=[]), ["other", "commit"]),
    "VACUUM in a block": (in_block("VACUUM t"), ["other", "rollback"]),
    "databases": (autocommit("CREATE DATABASE other TEMPLATE template0", "DROP DATABASE other"), ["other", "commit"] * 2),
    "an index concurrently": (autocommit("CREATE INDEX CONCURRENTLY i ON t (n)"), ["other", "commit"]),
    "a table": (autocommit("CREATE TABLE u (a int); INSERT INTO u VALUES (1)", "TABLE u"), ["other", *WRITE, "read"]),
    "prepared in SQL": (
        autocommit("PREPARE p (int) AS UPDATE t SET n = 1 WHERE id = $1 RETURNING id", "EXECUTE p(1)", "DEALLOCATE p"),
        WRITE,
    ),
    "EXPLAIN": (autocommit("EXPLAIN (COSTS OFF, ANALYZE, TIMING OFF, SUMMARY OFF, BUFFERS OFF) UPDATE t SET n = 1"), ["other", "commit"]),
    "nothing to end": (autocommit("COMMIT", "ROLLBACK"), []),
    "a pipeline": (pipeline, ["write", "write", "read", "commit"]),
    "a pipeline in a block": (pipeline_in_block, ["write", "read", "commit"]),
    "a pipeline with an error": (pipeline_with_error, ["write", "write", "read"]),
    "executemany": (many, ["write", "write", "commit"]),
    "a cursor of the server": (cursor_of_the_server, ["other", "read", "read", "commit"]),
    "COPY": (copies(block=False), ["write", "commit", "read"]),
    "COPY in a block": (copies(block=True), ["write", "read", "commit"]),
    "COPY that fails": (copy_that_fails, ["write", "write", "read"]),
    "COPY extended": (copy_extended, ["write", "commit", "read"]),
    "described with a Flush": (described_with_flush, WRITE),
    "LISTEN and NOTIFY": (notified, ["other", "commit", "other", "commit", "read", "commit"]),
    "two connections": (two_connections, ["write", "write", "commit", "read", "commit"]),
    "large rows": (large, [*WRITE, "read"]),
    "another encoding": (other_encoding, ["write", "read", "commit", "read", "write"]),
    "a pool": (pooled, WRITE * 3),
    "SQLAlchemy": (alchemy, ["read", "read", "read", "rollback", "write", "commit"]),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_CLIENT)
def test_a_client_gets_what_it_gets_without_the_gate(name: str, url: str, explorer: Explorer) -> None:
    program, expected = ONE_CLIENT[name]
    without = outcome(program, url)
    reset(url)
    steps, got, ran = explorer.all_of("w0", program)
    assert got == without
    assert steps == expected
    assert [each.kind for each in ran if each.effect != "local"] == expected


def test_a_statement_outside_a_block_is_held_before_it_and_before_its_end(url: str, explorer: Explorer) -> None:
    explorer.start("w0", autocommit("UPDATE t SET n = 9 WHERE id = 1"))
    assert explorer.waiting["w0"] == (1, "write", "UPDATE t SET n = ? WHERE id = ?", "write")
    assert explorer.ran("w0") == []
    explorer.go("w0")
    assert explorer.waiting["w0"] == (1, "commit", "COMMIT (of the statement before)", "write")
    assert explorer.ran("w0") == [("write", "write", None)]
    assert look(url) == 0
    assert explorer.go("w0") is None
    assert explorer.ran("w0") == [("commit", "write", None)]
    assert explorer.ran("w0") == []
    assert look(url) == 9


def look(url: str, job: int = 1) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("SELECT n FROM t WHERE id = %s", [job]).fetchone()
        assert row is not None
        return int(row[0])


def test_an_error_is_told_with_its_statement(explorer: Explorer) -> None:
    _, _, ran = explorer.all_of("w0", autocommit("INSERT INTO t VALUES (1)", "INSERT INTO child VALUES (1, 99)"))
    assert [(each.kind, each.error) for each in ran] == [("write", "23505"), ("write", None), ("commit", "23503")]


@pytest.mark.parametrize(
    ("statement", "effect"),
    [
        ("SELECT n FROM t", "read"),
        ("SELECT count(*), coalesce(max(n), 0) FROM t WHERE id IN (1, 2)", "read"),
        ("SELECT pg_catalog.now()", "read"),
        ("SELECT n FROM t /* all */ FOR NO KEY UPDATE", "write"),
        ("SELECT bump(1)", "write"),
        ("SELECT mine.count(1)", "write"),
        ("SELECT abs(1, 2)", "write"),
        ("SELECT * FROM bumped", "write"),
        ("SELECT n FROM t WHERE id = " + "+ id" * 1000 + " FOR UPDATE", "write"),
        ("SET CONSTRAINTS ALL IMMEDIATE", "write"),
        ("LISTEN news", "write"),
        ("FETCH 1 FROM c", "write"),
        ("COMMIT PREPARED 'a'", "write"),
        ("PREPARE TRANSACTION 'a'", "write"),
    ],
)
def test_what_another_could_notice(statement: str, effect: Effect, explorer: Explorer) -> None:
    explorer.start("w0", autocommit(statement))
    assert explorer.waiting["w0"][3] == effect


@pytest.mark.parametrize(
    "statement", ["SET search_path TO public", "SHOW search_path", "BEGIN", "PREPARE p AS SELECT 1", "DEALLOCATE ALL"]
)
def test_what_nobody_could_notice_is_not_held(statement: str, explorer: Explorer) -> None:
    assert explorer.start("w0", autocommit(statement)) is None


def test_nothing_is_held_while_it_does_not_turn_and_what_ran_is_told(url: str, explorer: Explorer) -> None:
    explorer.gate.turn(on=False)
    program = autocommit("UPDATE t SET n = 1", "SELECT n FROM t; UPDATE t SET n = 2", "UPDATE t SET n = 3")
    assert explorer.start("w0", program) is None
    assert [(effect, error) for _, effect, error in explorer.ran("w0")] == [("write", None)] * 3
    assert explorer.ran("w0") == []


def test_what_is_still_held_at_the_end_goes_on(url: str, explorer: Explorer) -> None:
    explorer.start("w0", autocommit("UPDATE t SET n = 9"))
    explorer.waiting.clear()
    explorer.gate.turn(on=False)
    assert explorer.until("w0") is None
    assert look(url) == 9


def test_connections_are_numbered_in_the_order_of_their_use(url: str, explorer: Explorer) -> None:
    def program(url: str) -> object:
        with psycopg.connect(url, autocommit=True), psycopg.connect(url, autocommit=True) as second:
            second.execute("SELECT 1")
        with psycopg.connect(url, autocommit=True) as third:
            third.execute("SELECT 1")
        return None

    _, _, ran = explorer.all_of("w0", program)
    assert [each.connection for each in ran] == [1, 2]


# Who waits for whom.


def test_two_wait_for_one_and_then_for_each_other(url: str, explorer: Explorer) -> None:
    add = autocommit("UPDATE t SET n = n + 1 WHERE id = 1 RETURNING n")
    for process in ("w0", "w1", "w2"):
        explorer.start(process, add)
    explorer.go("w0")
    assert explorer.go_and_wait("w1") == ["w0"]
    assert explorer.go_and_wait("w2") == ["w1"]
    assert set(explorer.gate.blocked(["w1", "w2"])) == {"w1", "w2"}
    assert explorer.go("w0") is None
    explorer.until("w1", lambda: "w2" in explorer.waiting)
    (first,) = (
        explorer.waiting
    )  # both wake up and look for the row's new version: which is first is the server's business
    other = "w2" if first == "w1" else "w1"
    assert explorer.waiting[first][1] == "commit"
    while explorer.gate.blocked(["w1", "w2"]) != {other: [first]}:
        assert list(explorer.waiting) == [first]
    assert explorer.go(first) is None
    assert explorer.until(other) == "commit"
    assert explorer.go(other) is None
    assert look(url) == 3


def test_who_waits_for_a_stranger_is_told_so(url: str, explorer: Explorer) -> None:
    with psycopg.connect(url) as stranger:
        stranger.execute("UPDATE t SET n = 1 WHERE id = 1")
        explorer.start("w0", autocommit("UPDATE t SET n = 2"))
        assert explorer.go_and_wait("w0") == [f"another connection (pid {stranger.info.backend_pid})"]
        stranger.rollback()
    assert explorer.until("w0") == "commit"


@pytest.mark.parametrize(("first", "second"), [("w0", "w1"), ("w1", "w0")])
def test_a_deadlock_is_ended_by_the_server_soon_and_its_victim_is_always_the_same(
    first: str, second: str, url: str, explorer: Explorer
) -> None:
    lock = "UPDATE t SET n = n + 1 WHERE id = {}"
    explorer.start("w0", in_block(lock.format(1), lock.format(2)))
    explorer.start("w1", in_block(lock.format(2), lock.format(1)))
    explorer.go("w0")
    explorer.go("w1")
    assert explorer.go_and_wait(first) == [second]
    began = time.monotonic()
    explorer.let(second)
    assert explorer.until("w0") == "rollback"
    assert time.monotonic() - began < 0.9
    assert explorer.until("w1") == "commit"
    explorer.go("w0")
    assert explorer.clients["w0"].outcome[1] == "40P01"  # type: ignore[index]
    assert ("write", "write", "40P01") in explorer.ran("w0")
    explorer.go("w1")
    assert (look(url, 1), look(url, 2)) == (1, 1)


def test_a_pipeline_is_held_between_its_statements(url: str, explorer: Explorer) -> None:
    explorer.start("w0", pipeline)
    explorer.go("w0")
    explorer.start("w1", autocommit("UPDATE t SET n = 5 WHERE id = 2"))
    explorer.go("w1")
    assert explorer.go_and_wait("w0") == ["w1"]


# Connections that end.


def victim(url: str) -> object:
    with psycopg.connect(url, autocommit=True, application_name="victim") as connection:
        connection.execute("UPDATE t SET n = 4 WHERE id = 1")
    return None


def kill(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'victim'"
        )


@pytest.mark.parametrize("steps", [0, 1])
def test_a_connection_that_is_killed_while_held(steps: int, url: str, explorer: Explorer) -> None:
    explorer.start("w0", victim)
    for _ in range(steps):
        explorer.go("w0")
    kill(url)
    while explorer.waiting:
        for key, _ in explorer.selector.select(0.01):
            key.data()
    assert explorer.until("w0") is None
    assert explorer.clients["w0"].outcome[1] in ("57P01", None)  # type: ignore[index]
    assert look(url) == 0
    assert explorer.all_of("w0", victim)[0] == WRITE


def test_a_connection_that_is_killed_while_it_waits(url: str, explorer: Explorer) -> None:
    with psycopg.connect(url) as stranger:
        stranger.execute("UPDATE t SET n = 1 WHERE id = 1")
        explorer.start("w0", victim)
        explorer.go_and_wait("w0")
        kill(url)
        assert explorer.until("w0") is None
    assert explorer.clients["w0"].outcome[1] == "57P01"  # type: ignore[index]
    assert explorer.ran("w0") == [("write", "write", "57P01")]


def test_a_connection_that_is_closed_lets_go_of_its_locks_at_once(url: str, explorer: Explorer) -> None:
    def program(url: str) -> object:
        found: list[object] = []
        with psycopg.connect(url, autocommit=True) as another:
            for _ in range(20):
                connection = psycopg.connect(url)
                connection.execute("UPDATE t SET n = 1 WHERE id = 1")
                connection.close()
                found += another.execute(
                    "SELECT pid FROM pg_locks WHERE locktype = 'relation' AND mode = 'RowExclusiveLock'"
                )
        return found

    assert explorer.all_of("w0", program)[1] == []


@pytest.mark.parametrize("killed", [False, True])
def test_a_client_that_goes_while_it_is_held(url: str, explorer: Explorer, *, killed: bool) -> None:
    leave = threading.Event()

    def program(url: str) -> object:
        connection = psycopg.connect(url, autocommit=True, application_name="victim")
        connection.pgconn.send_query(b"UPDATE t SET n = 4")
        connection.pgconn.flush()
        leave.wait(5)
        connection.close()
        return None

    assert explorer.start("w0", program) == "write"
    if killed:  # then both ends have come to their end when we look
        kill(url)
    leave.set()
    while not explorer.clients["w0"].over:
        time.sleep(0.01)
    while explorer.waiting:
        for key, _ in explorer.selector.select(0.01):
            key.data()
    assert look(url) == 0


def test_encryption_is_declined_and_a_query_can_be_cancelled(url: str, explorer: Explorer) -> None:
    def program(url: str) -> object:
        address = psycopg.conninfo.conninfo_to_dict(url)
        with socket.create_connection((str(address["host"]), int(str(address["port"])))) as raw:
            raw.sendall(struct.pack("!ii", 8, 80877104))
            first = raw.recv(1)
            raw.sendall(struct.pack("!ii", 8, 80877103))
            declined = first + raw.recv(1)
        with psycopg.connect(url, autocommit=True) as connection:
            stop = threading.Timer(0.2, connection.cancel_safe)
            stop.start()
            return declined, outcome(lambda _: connection.execute("SELECT pg_sleep(20)"), url)

    _, got, _ = explorer.all_of("w0", program)
    assert got[0] == b"NN"  # type: ignore[index]
    assert got[1][1] == "57014"  # type: ignore[index]


def test_a_role_that_may_not_say_how_soon_a_deadlock_is_looked_for_is_held_all_the_same(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS humble")
        connection.execute("CREATE ROLE humble LOGIN PASSWORD 'p'")
        connection.execute("GRANT ALL ON t TO humble; GRANT ALL ON SCHEMA public TO humble")
    humble = psycopg.conninfo.conninfo_to_dict(url)
    with WireGate().guard(f"postgresql://humble:p@127.0.0.1:{humble['port']}/{humble['dbname']}", ["w0"]) as gate:
        explorer = Explorer(gate)
        gate.turn(on=True)
        assert explorer.all_of("w0", autocommit("UPDATE t SET n = 1"))[0] == WRITE


# What is told of a statement, for people to read.

VALUES: tuple[object, ...] = (
    1,
    -70000,
    2**40,
    True,
    None,
    "it's $1, \\ and \u202e",
    "",
    1.5,
    -0.25,
    [1, 2],
    [2**40, None],
    [],
    ["a'b", "c"],
    [True],
    float("nan"),
    float("-inf"),
    b"\x00\xff}",
    Decimal("-1.50"),
    Decimal("123456789012345678901234567890.00001"),
    Decimal(0),
    Decimal("NaN"),
    datetime.datetime(2026, 11, 25, 1, 2, 3, 4, tzinfo=datetime.UTC),
    datetime.datetime(1999, 12, 31, 23, 59, 59),  # without time zone
    datetime.date(1970, 1, 1),
    datetime.timedelta(days=-3, microseconds=5),
    UUID(int=77),
    Jsonb({"a": ["}", "it's"]}),
    Json([1]),
)


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("binary", [False, True])
def test_a_statement_is_told_with_its_values_and_says_the_same_again(
    value: object,
    binary: bool,  # noqa: FBT001  # a parameter of the test
    explorer: Explorer,
    url: str,
) -> None:
    sql = """SELECT id, $tag$ $1 $tag$ AS said, %s AS value -- $1 '$2
        FROM t WHERE id = %s::int FOR UPDATE"""
    sql = sql.replace("%s", "%b") if binary else sql

    def program(url: str) -> object:
        with psycopg.connect(url, autocommit=True) as connection:
            return connection.execute(sql.encode(), [value, 3]).fetchall()

    _, given, ran = explorer.all_of("w0", program)
    assert isinstance(given, list), given
    with psycopg.connect(url, autocommit=True) as connection:
        for told in (ran[0].sql, ran[0].text, unbraced(ran[0].text)):
            ((job, said, again),) = connection.execute(told.encode()).fetchall()
            assert [(job, said)] == [row[:2] for row in given] == [(3, " $1 ")]
            assert str(again) == str(given[0][2])


TRANSACTIONS: dict[str, tuple[Program, list[tuple[str, bool]]]] = {
    "a write": (
        autocommit("UPDATE t SET n = %s", parameters=[-1]),
        [("UPDATE t SET n = (-1)", True), ("COMMIT", False)],
    ),
    "a read": (autocommit("SELECT n FROM t"), [("SELECT n FROM t", False)]),
    "an error": (autocommit("UPDATE t SET n = NULL"), [("UPDATE t SET n = NULL", False)]),
    "a block": (
        in_block("UPDATE t SET n = 2 -- two", "UPDATE t SET n = NULL"),
        [
            ("BEGIN", True),
            ("UPDATE t SET n = 2 -- two", True),
            ("UPDATE t SET n = NULL", True),
            ("ROLLBACK", False),
        ],
    ),
    "a text of two": (
        autocommit("UPDATE t SET n = 1; UPDATE t SET n = 2"),
        [("UPDATE t SET n = 1", True), (" UPDATE t SET n = 2", True), ("COMMIT", False)],
    ),
    "a pipeline": (
        pipeline,
        [
            ("UPDATE t SET n = 1 WHERE id = 1 RETURNING id", True),
            ("UPDATE t SET n = 1 WHERE id = 2 RETURNING id", True),
            ("SELECT n FROM t WHERE id = 2", True),
            ("COMMIT", False),
        ],
    ),
}


@pytest.mark.parametrize("name", TRANSACTIONS)
def test_it_is_told_where_a_transaction_ends(name: str, explorer: Explorer) -> None:
    program, expected = TRANSACTIONS[name]
    _, _, ran = explorer.all_of("w0", program)
    assert [(each.text, each.open) for each in ran] == expected


def test_a_value_of_another_type_stays_a_placeholder_and_nothing_disturbs(explorer: Explorer) -> None:
    program = in_block("UPDATE t SET words = %s WHERE id = %s", parameters=[IPv4Address("127.0.0.1"), 1])
    _, _, ran = explorer.all_of("w0", program)
    assert [each.sql for each in ran if each.kind == "write"] == ["UPDATE t SET words = $1 WHERE id = 1"]


def test_bytes_that_are_no_bind_message_leave_the_statement_as_it_is() -> None:
    for bind in (b"", b"\0\1", b"\0\0\0\2\0\0\0\1a", b"\xff\xff"):
        assert bound("SELECT $1", bind, [23]) == "SELECT $1"


# Who goes first of several that wait.


@dataclass(frozen=True, slots=True)
class Waiting:
    """Of `w0` in a transaction block, and others that wait for what it has changed or locked."""

    explorer: Explorer
    url: str

    def write(self, process: str, row: int = 1) -> None:
        """Have a process append its name to a row, in a block of its own, as far as it gets."""
        sql = f"UPDATE t SET words = concat(words, '{process}') WHERE id = {row}"  # noqa: S608  # no stranger's
        assert self.explorer.start(process, in_block(sql)) == "write"
        self.explorer.go_and_wait(process)

    def ends(self, process: str) -> None:
        """Have a process end its transaction while the others are held still."""
        others = [name for name in self.explorer.clients if name != process]
        assert self.explorer.gate.hold(others), self.explorer.gate.unheld
        assert self.explorer.waiting[process][1] == "commit"
        self.explorer.let(process)
        assert self.explorer.until(process) is None

    def finish(self, *order: str) -> str:
        """Have all that wait go on in an order, and commit; gives what they wrote, by the rows' numbers."""
        gate = self.explorer.gate
        for process in order:
            assert process in gate.could_wake()
            assert gate.wake(process)
            assert self.explorer.until(process) == "commit"
            self.explorer.let(process)
            assert self.explorer.until(process) is None
        gate.let_go()
        with psycopg.connect(self.url) as connection:
            rows = connection.execute("SELECT words FROM t WHERE words IS NOT NULL ORDER BY id").fetchall()
        return " ".join(words for (words,) in rows)


@pytest.fixture
def waiting(postgres_server: PostgresServer, url: str) -> Iterator[Waiting]:
    with WireGate().guard(url, ["w0", "w1", "w2", "w3"], lambda: postgres_server.serving(url)) as gate:
        explorer = Explorer(gate)
        gate.turn(on=True)
        yield Waiting(explorer, url)
        gate.turn(on=False)
        gate.close()  # type: ignore[attr-defined]  # lets whoever still waits go
        explorer.selector.close()


@pytest.mark.parametrize("order", [*itertools.permutations(["w1", "w2", "w3"])])
def test_of_those_that_wait_for_one_row_any_can_be_the_next_to_have_it(
    waiting: Waiting, order: tuple[str, ...]
) -> None:
    assert waiting.explorer.start("w0", in_block("UPDATE t SET words = 'w0' WHERE id = 1")) == "write"
    assert waiting.explorer.go("w0") == "commit"
    for process in ("w1", "w2", "w3"):
        waiting.write(process)
    waiting.ends("w0")
    assert waiting.finish(*order) == "w0" + "".join(order)


@pytest.mark.parametrize("order", [("w1", "w2"), ("w2", "w1")])
def test_of_those_that_wait_for_two_rows_either_can_be_the_first_to_go_on(
    waiting: Waiting, order: tuple[str, ...]
) -> None:
    assert waiting.explorer.start("w0", in_block("UPDATE t SET words = 'w0' WHERE id < 3")) == "write"
    assert waiting.explorer.go("w0") == "commit"
    waiting.write("w1", 1)
    waiting.write("w2", 2)
    waiting.ends("w0")
    assert waiting.finish(*order) == "w0w1 w0w2"


def test_nobody_is_let_past_one_that_keeps_its_place_for_a_row(waiting: Waiting) -> None:
    """Of a row that was locked and not changed, the first in the queue has the lock before it gives up its place."""
    assert waiting.explorer.start("w0", in_block("SELECT FROM t WHERE id = 1 FOR UPDATE")) == "read"
    assert waiting.explorer.go("w0") == "commit"
    for process in ("w1", "w2", "w3"):
        waiting.write(process)
    waiting.ends("w0")
    gate = waiting.explorer.gate
    assert gate.could_wake() == ["w1", "w2", "w3"]
    assert gate.wake("w3") is False
    assert gate.wake("w1")
    assert waiting.explorer.until("w1") == "commit"
    assert gate.could_wake() == []
    gate.let_go()


def test_only_a_server_of_our_own_is_held_still(explorer: Explorer) -> None:
    assert explorer.gate.hold(["w1", "w2"]) is False
    assert explorer.gate.unheld == "the server is not one that contend has started"


HOLDER = "import os, signal, sys; from harness.gates.stillness import Still; Still(int(sys.argv[1])); print(flush=True); signal.pause()"


def test_a_process_that_is_held_still_goes_on_when_its_holder_is_killed() -> None:
    def state() -> str:
        return psutil.Process(held.pid).status()

    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as held:
        with subprocess.Popen([sys.executable, "-c", HOLDER, str(held.pid)], stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            holder.stdout.readline()
            assert state() == psutil.STATUS_TRACING_STOP
            holder.kill()
        deadline = time.monotonic() + 5
        while state() == psutil.STATUS_TRACING_STOP:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        held.kill()


# Which tables a statement touches.

PLAIN = b"""
    DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public;
    CREATE TABLE jobs (id serial PRIMARY KEY, state text); CREATE TABLE notes (id serial PRIMARY KEY, words text);
    CREATE TABLE actions (job int REFERENCES jobs ON DELETE CASCADE);
    INSERT INTO jobs (state) VALUES ('ready');
"""
ANY = None
JOBS, NOTES = frozenset(("jobs", "actions")), frozenset(("notes",))


@pytest.fixture
def plain(database: str) -> Iterator[Explorer]:
    reset(database)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(PLAIN)
    with exploring(database, "w0") as explorer:
        yield explorer


@pytest.mark.parametrize(
    ("statement", "reach"),
    [
        ("UPDATE jobs SET state = 'running' WHERE id = 1", JOBS),
        ("INSERT INTO notes (words) VALUES ('jobs') ON CONFLICT (id) DO NOTHING RETURNING id", JOBS | NOTES),
        ("INSERT INTO notes (words) SELECT count(*)::text FROM notes", NOTES),
        ("DELETE FROM actions WHERE job IN (SELECT id FROM jobs FOR UPDATE SKIP LOCKED)", JOBS),
        (
            "WITH new AS (INSERT INTO notes (words) VALUES ('') RETURNING id) SELECT new.id, state FROM new, jobs",
            JOBS | NOTES,
        ),
        ("SELECT words FROM notes", NOTES),
        ("SELECT pg_advisory_xact_lock(1) FROM notes", ANY),
        ("SELECT txid_current(), words FROM notes", ANY),
        ("SELECT xmin FROM notes", ANY),
        ("SELECT words INTO TEMP others FROM notes", ANY),
        ("SELECT mode FROM pg_locks, notes", ANY),
        ("LOCK TABLE notes", ANY),
        ("NOTIFY notes", ANY),
    ],
)
def test_the_tables_of_a_statement_are_known_or_any(statement: str, reach: Reach, plain: Explorer) -> None:
    together = None if reach is None else NOTES | reach
    plain.start("w0", in_block("UPDATE notes SET words = 'w0'", statement))
    assert plain.reach["w0"] == NOTES
    plain.go("w0")
    assert plain.reach["w0"] == reach
    assert plain.go("w0") == "commit"
    assert plain.reach["w0"] == together


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE VIEW v AS SELECT * FROM jobs",
        "CREATE RULE r AS ON INSERT TO notes DO ALSO INSERT INTO jobs DEFAULT VALUES",
        "CREATE TRIGGER t BEFORE UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "ALTER TABLE notes ENABLE ROW LEVEL SECURITY",
        "CREATE TABLE more () INHERITS (notes)",
        "ALTER TABLE notes ALTER id SET DEFAULT nextval('jobs_id_seq')",
        'CREATE TABLE "Other jobs" ()',
    ],
)
def test_where_something_else_runs_at_a_statement_its_tables_are_any(sql: str, plain: Explorer, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(sql.encode())
    with WireGate().guard(database, ["w0"]) as gate:
        explorer = Explorer(gate)
        gate.turn(on=True)
        explorer.start("w0", autocommit("UPDATE notes SET words = 'w0'"))
        assert explorer.reach["w0"] is None
        gate.turn(on=False)
        gate.close()  # type: ignore[attr-defined]  # as above
        explorer.selector.close()


@pytest.mark.parametrize(
    "begin", ["BEGIN ISOLATION LEVEL REPEATABLE READ", "SET default_transaction_isolation = 'serializable'"]
)
def test_with_a_snapshot_of_a_whole_transaction_the_tables_of_a_statement_are_any(begin: str, plain: Explorer) -> None:
    plain.start("w0", autocommit(begin, "UPDATE notes SET words = 'w0'"))
    assert plain.reach["w0"] is None
