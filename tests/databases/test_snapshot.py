"""Putting a database back as it was, while others are connected: what an exploration does between two schedules."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from harness.databases import DATABASES, for_exploring
from harness.databases.postgres import Postgres, PostgresServer
from harness.databases.sqlite import Sqlite
from harness.errors import DatabaseUnavailable, RunAbandoned

Kept = tuple[sqlite3.Connection, Callable[[], None]]
SCHEMA = """
CREATE TABLE jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, state TEXT);
CREATE TABLE counts (n INT);
INSERT INTO counts VALUES (0);
CREATE TABLE pairs (a INTEGER, b TEXT, PRIMARY KEY (a, b));
INSERT INTO pairs (rowid, a, b) VALUES (7, 1, 'x');
CREATE TABLE bare (a, b AS (a + 1), PRIMARY KEY (a)) WITHOUT ROWID;
INSERT INTO bare VALUES (1);
"""
TRIGGER = "CREATE TRIGGER count AFTER INSERT ON jobs BEGIN UPDATE counts SET n = n + 1; END;"


@pytest.fixture(params=[("wal", TRIGGER), ("wal", ""), ("delete", "")])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The URL and the path of a SQLite file with a table, perhaps a trigger that counts, and a job."""
    mode, trigger = request.param
    with Sqlite(mode, tmp_path / "place").serve() as server, server.fresh() as url:
        path = url.removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(SCHEMA)
            connection.executescript(trigger)
            connection.execute("INSERT INTO jobs (state) VALUES ('ready')")
            connection.commit()
        yield url, path


@pytest.fixture
def kept(file: tuple[str, str], tmp_path: Path) -> Iterator[Kept]:
    """Another connection to the file, and what puts the file back."""
    url, path = file
    with (
        Sqlite(folder=tmp_path / "other").serve() as server,
        contextlib.closing(sqlite3.connect(path)) as other,
        server.snapshot(url) as restore,
    ):
        yield other, restore


def test_a_sqlite_file_is_put_back_under_an_open_connection(kept: Kept) -> None:
    other, restore = kept
    for _ in range(3):
        other.execute("UPDATE jobs SET state = 'done'")
        other.execute("DELETE FROM pairs")
        other.execute("DELETE FROM bare")
        job = other.execute("INSERT INTO jobs (state) VALUES ('new')").lastrowid
        other.commit()
        assert job == 2  # the numbering is put back, too
        restore()
        assert other.execute("SELECT id, state FROM jobs").fetchall() == [(1, "ready")]
        assert other.execute("SELECT n IN (0, 1) FROM counts").fetchall() == [(1,)]
        assert other.execute("SELECT rowid, * FROM pairs").fetchall() == [(7, 1, "x")]
        assert other.execute("SELECT * FROM bare").fetchall() == [(1, 2)]


def test_a_sqlite_file_whose_schema_was_changed_is_put_back_whole(kept: Kept) -> None:
    other, restore = kept
    for _ in range(2):
        other.execute("CREATE TABLE more (x)")
        other.execute("DELETE FROM jobs")
        other.commit()
        restore()
        assert other.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'more'").fetchall() == [(0,)]
        assert other.execute("SELECT id FROM jobs").fetchall() == [(1,)]


def test_a_sqlite_file_somebody_holds_a_lock_on_is_not_waited_for_for_ever(kept: Kept) -> None:
    other, restore = kept
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RunAbandoned, match="leave a transaction open"):
        restore()
    other.rollback()
    restore()


POSTGRES = """
CREATE SCHEMA app;
CREATE TABLE app.runs (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
CREATE TABLE jobs (id bigserial PRIMARY KEY, run int REFERENCES app.runs, state text, loud text GENERATED ALWAYS AS (upper(state)) STORED);
CREATE TABLE counts (n int);
INSERT INTO counts VALUES (0);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE counts SET n = n + 1; RETURN NULL; END $$;
CREATE TRIGGER count AFTER INSERT OR DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION note();
INSERT INTO app.runs DEFAULT VALUES;
INSERT INTO jobs (run, state) VALUES (1, 'ready'), (1, NULL);
"""


def test_a_postgres_database_is_put_back_under_an_open_connection(postgres_server: PostgresServer) -> None:
    with postgres_server.fresh() as url, psycopg.connect(url, autocommit=True) as other:
        other.execute(POSTGRES)
        with postgres_server.snapshot(url) as restore:
            for _ in range(3):
                other.execute("DELETE FROM jobs WHERE id = 1")
                assert other.execute("INSERT INTO jobs (run, state) VALUES (1, 'x') RETURNING id").fetchall() == [(3,)]
                assert other.execute("INSERT INTO app.runs DEFAULT VALUES RETURNING id").fetchall() == [(2,)]
                restore()
                rows = other.execute("SELECT id, run, state, loud FROM jobs").fetchall()
                assert rows == [(1, 1, "ready", "READY"), (2, 1, None, None)]  # and in the same order
                assert other.execute("SELECT id FROM app.runs").fetchall() == [(1,)]
                assert other.execute("SELECT n FROM counts").fetchall() == [(2,)]


def test_a_postgres_table_somebody_holds_rows_of_is_not_waited_for_for_ever(postgres_server: PostgresServer) -> None:
    with postgres_server.fresh() as url, psycopg.connect(url) as other:
        other.execute("CREATE TABLE jobs (id int)")
        other.execute("INSERT INTO jobs VALUES (1)")
        other.commit()
        with postgres_server.snapshot(url) as restore:
            other.execute("UPDATE jobs SET id = 2")
            with pytest.raises(RunAbandoned, match="leave a transaction open"):
                restore()
            other.rollback()
            restore()


def test_a_role_that_may_not_is_told_what_it_needs(postgres_server: PostgresServer) -> None:
    with postgres_server.fresh() as url, psycopg.connect(postgres_server.admin, autocommit=True) as admin:
        admin.execute("CREATE ROLE plain LOGIN PASSWORD 'plain'")
        try:
            mine = psycopg.conninfo.make_conninfo(postgres_server.url, user="plain", password="plain")  # noqa: S106  # of a test
            server = replace(postgres_server, admin=mine)
            with pytest.raises(DatabaseUnavailable, match="GRANT SET ON PARAMETER"), server.snapshot(url):
                pass
        finally:
            admin.execute("DROP ROLE plain")


def test_a_database_for_exploring_waits_for_no_disk_and_is_at_the_level_asked_for() -> None:
    engine = for_exploring(DATABASES["postgres-serializable"])
    assert isinstance(engine, Postgres)
    with engine.serve() as server, server.fresh() as url, psycopg.connect(url) as connection:
        settings = ("default_transaction_isolation", "synchronous_commit")
        found = [connection.execute(f"SHOW {name}").fetchone() for name in settings]
    assert found == [("serializable",), ("off",)]
    assert for_exploring(DATABASES["sqlite"]).name == "sqlite"
