"""Databases by name, SQLite's files, and the folders our servers live in."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from harness.databases import DATABASES, choose, workspace
from harness.databases.filesystem import file_system_type
from harness.databases.postgres import Postgres
from harness.databases.sqlite import JournalMode, Sqlite
from harness.databases.workspace import Workspace, open_workspace
from harness.errors import DatabaseUnavailable, UnknownName


@pytest.mark.parametrize("name", DATABASES)
def test_every_database_of_the_table_serves_empty_databases_and_tells_its_version(name: str) -> None:
    """The conformance of every engine: `sqlite` or `postgres` by name, fresh URLs, conditions of strings."""
    database = choose(name)
    with database.serve() as server:
        conditions = server.conditions()
        assert all(value and "/" not in value for value in conditions.values())
        assert {"version", "file_system"} <= set(conditions)
        with server.fresh() as one, server.fresh() as two:
            assert one != two
            assert one.startswith({"sqlite": "sqlite:////", "postgres": "postgresql://"}[database.name])
            server.analyze(one)
            with server.clone(one) as copy:
                assert copy not in (one, two)
        assert 0 <= server.flush_seconds() < 10


@pytest.mark.parametrize("url", ["postgresql://me@here/jobs", "postgres://me@here/jobs"])
def test_a_postgres_url_is_a_database(url: str) -> None:
    assert choose(url) == Postgres(url)


@pytest.mark.parametrize("spec", ["mysql", "", "Sqlite", "mysql://me:sesame@here/jobs"])
def test_any_other_name_is_refused_with_those_that_are_known(spec: str) -> None:
    with pytest.raises(
        UnknownName, match=r"Known: sqlite, sqlite-rollback, postgres, postgres-\S+, postgres-\S+, postgresql://"
    ) as refused:
        choose(spec)
    assert "sesame" not in str(refused.value)


def test_choosing_sqlite_does_not_import_the_postgres_driver() -> None:
    code = "import sys; from harness.databases import choose; choose('sqlite'); sys.exit('psycopg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_copy_of_a_file_holds_what_a_killed_process_committed_and_goes_its_own_way(
    tmp_path: Path, mode: JournalMode
) -> None:
    with Sqlite(mode, tmp_path).serve() as server, server.fresh() as url:
        path = url.removeprefix("sqlite:///")
        code = (
            "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); "
            "c.execute('CREATE TABLE jobs (id)'); c.execute('INSERT INTO jobs VALUES (1)'); os.kill(os.getpid(), 9)"
        )
        subprocess.run([sys.executable, "-c", code, path], check=False)
        with server.clone(url) as copy:
            with contextlib.closing(sqlite3.connect(copy.removeprefix("sqlite:///"), isolation_level=None)) as ours:
                assert ours.execute("SELECT id FROM jobs").fetchall() == [(1,)]
                assert ours.execute("PRAGMA journal_mode").fetchone() == (mode,)
                ours.execute("DELETE FROM jobs")
            with contextlib.closing(sqlite3.connect(path)) as original:
                assert original.execute("SELECT id FROM jobs").fetchall() == [(1,)]
        assert not Path(copy.removeprefix("sqlite:///")).exists()


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_every_connection_to_a_sqlite_file_finds_the_journal_mode_asked_for(tmp_path: Path, mode: JournalMode) -> None:
    with Sqlite(mode, tmp_path).serve() as server, server.fresh() as url:
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == (mode,)
        assert server.conditions()["journal_mode"] == mode
        assert server.conditions()["synchronous"] == "full"


def test_a_sqlite_file_goes_with_all_that_lies_beside_it(tmp_path: Path) -> None:
    with Sqlite(folder=tmp_path).serve() as server:
        with server.fresh() as url:
            file = Path(url.removeprefix("sqlite:///"))
            stays = sqlite3.connect(file)
            stays.execute("CREATE TABLE jobs (id)")
            assert {path.name for path in file.parent.iterdir()} >= {"queue.db", "queue.db-wal", "queue.db-shm"}
        assert not file.parent.exists()
        stays.close()
    assert list((tmp_path / "runs").iterdir()) == []


def test_analyze_gives_sqlites_planner_its_statistics(tmp_path: Path) -> None:
    with Sqlite(folder=tmp_path).serve() as server, server.fresh() as url:
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
            connection.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY, state)")
            connection.execute("CREATE INDEX by_state ON jobs (state)")
            connection.execute("INSERT INTO jobs (state) VALUES ('ready'), ('ready')")
        server.analyze(url)
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            assert connection.execute("SELECT stat FROM sqlite_stat1").fetchone() == ("2 2",)


def test_a_folder_others_may_write_to_or_own_is_not_trusted(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    theirs.chmod(0o777)
    with pytest.raises(DatabaseUnavailable, match=r"others may write to it.*XDG_CACHE_HOME"):
        open_workspace(theirs)
    assert theirs.stat().st_mode & 0o777 == 0o777
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    with pytest.raises(DatabaseUnavailable, match="not a folder"):
        open_workspace(link)
    if os.geteuid() == 0:
        theirs.chmod(0o700)
        os.chown(theirs, 65534, 65534)
        with pytest.raises(DatabaseUnavailable, match="belongs to user 65534"):
            open_workspace(theirs)


def test_a_place_the_server_user_cannot_get_to_is_told_so(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(DatabaseUnavailable, match=f"cannot pass through {closed}"):
        open_workspace(closed / "place", passed_by_server=True)


def test_where_the_cache_cannot_be_used_the_temporary_directory_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(workspace, "ROOT_CACHE", tmp_path / "file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert open_workspace().root == tmp_path / f"contend-{os.geteuid()}"


def test_a_run_is_abandoned_when_its_lock_is_let_go_and_not_before(tmp_path: Path) -> None:
    space = open_workspace(tmp_path / "place")
    run = space.claim()
    assert list(space.abandoned()) == []
    os.close(run.lock)
    assert list(space.abandoned()) == [run.folder]


def test_a_run_claimed_in_the_moment_it_is_reaped_is_given_up_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reaper may take the folder between its making and its locking."""
    space = open_workspace(tmp_path / "place")
    reaped: list[Path] = []
    real_open = os.open

    def open_late(path: Path, flags: int, mode: int = 0o777) -> int:
        lock = real_open(path, flags, mode)
        if not reaped:
            reaped.append(Path(path).parent)
            Path(path).unlink()
            Path(path).parent.rmdir()
        return lock

    monkeypatch.setattr("os.open", open_late)
    run = space.claim()
    assert run.folder.exists()
    assert run.folder != reaped[0]
    os.close(run.lock)


def test_what_was_kept_first_stays(tmp_path: Path) -> None:
    space: Workspace = open_workspace(tmp_path / "place")
    for text in ("first", "second"):
        made = tmp_path / text
        made.mkdir()
        (made / "file").write_text(text)
        assert (space.keep(made, "thing") / "file").read_text() == "first"


def test_the_file_system_of_a_folder_is_named_by_its_longest_mount() -> None:
    assert file_system_type(Path("/proc/self")) == "proc"
    assert file_system_type(Path("/dev/shm")) == "tmpfs"
    assert file_system_type(Path("/")) not in {"proc", "unknown"}
