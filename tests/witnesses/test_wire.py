"""The Postgres witness before a real server, with real clients."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from struct import pack
from typing import Any

import orjson
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import pq

from harness.databases.postgres import PostgresServer
from harness.errors import DatabaseUnavailable, RunAbandoned, UsageError
from harness.witnesses import wire
from harness.witnesses.conversation import Conversation
from harness.witnesses.shapes import shape
from harness.witnesses.statement import Statement
from harness.witnesses.wire import Address, Wire

PATIENCE = 20.0


@pytest.fixture(scope="module")
def url(postgres_server: PostgresServer) -> Iterator[str]:
    with postgres_server.fresh() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE jobs (id int PRIMARY KEY, n int NOT NULL DEFAULT 0)")
            connection.execute("INSERT INTO jobs SELECT generate_series(1, 100)")
        yield url


class Watched:
    """One process behind the proxy, and what was seen of it."""

    def __init__(self, url: str, file: Path) -> None:
        self.url = url
        self.file = file
        self.read = 0

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url, **{"autocommit": True, **options})

    def lines(self, until: Callable[[list[dict[str, Any]]], bool] = bool) -> list[dict[str, Any]]:
        """Give the lines written since the last call, connects left out, once `until` holds for them."""
        deadline = time.monotonic() + PATIENCE
        while True:
            every = [orjson.loads(x) for x in self.file.read_bytes().splitlines(keepends=True) if x.endswith(b"\n")]
            new = [x for x in every[self.read :] if x["kind"] != "connect"]
            if until(new):
                self.read = len(every)
                return new
            assert time.monotonic() < deadline, f"the witness never saw what was expected, only {new}"
            select.select([], [], [], 0.002)

    def seen(self, ends_with: str) -> list[tuple[str, int, bool, str | None]]:
        """Give shape, trips, commits and error code of the lines up to one of this shape."""
        lines = self.lines(lambda new: bool(new) and new[-1]["shape"] == ends_with)
        return [(x["shape"], x["trips"], x["commits"], x.get("error", {}).get("code")) for x in lines]


@pytest.fixture
def watched(url: str, tmp_path: Path) -> Iterator[Watched]:
    with Wire().watch(url, ["w0"], tmp_path) as urls:
        yield Watched(urls["w0"], tmp_path / "w0.ndjson")


def test_each_process_has_a_port_and_a_file_of_its_own(url: str, tmp_path: Path) -> None:
    began = time.monotonic_ns()
    with Wire().watch(url, ["w0", "w1"], tmp_path / "witness") as urls:
        for number, name in enumerate(("w0", "w1")):
            for _ in range(number + 1):
                with psycopg.connect(urls[name]) as connection:
                    connection.execute("SELECT 1")
    ended = time.monotonic_ns()
    for number, name in enumerate(("w0", "w1")):
        lines = [orjson.loads(x) for x in (tmp_path / "witness" / f"{name}.ndjson").read_bytes().splitlines()]
        assert {x["process"] for x in lines} == {name}
        assert [x["connection"] for x in lines if x["kind"] == "connect"] == list(range(1, number + 2))
        assert [x["kind"] for x in lines[:4]] == ["connect", "begin", "read", "commit"]
        assert all(began < x["t0"] <= x["t1"] < ended for x in lines)


def test_transactions_are_seen_as_the_server_saw_them(watched: Watched) -> None:
    with watched.connect() as connection:
        connection.execute("UPDATE jobs SET n = 1 WHERE id = %s", (7,))
        with connection.transaction():
            connection.execute("UPDATE jobs SET n = n + 1 WHERE id = 7")
        with contextlib.suppress(psycopg.Error), connection.transaction():
            connection.execute("INSERT INTO jobs (id) VALUES (7)")
        connection.execute("SELECT 1")
    assert watched.seen("SELECT ?") == [
        ("UPDATE jobs SET n = ? WHERE id = ?", 1, True, None),
        ("BEGIN", 1, False, None),
        ("UPDATE jobs SET n = n + ? WHERE id = ?", 1, False, None),
        ("COMMIT", 1, True, None),
        ("BEGIN", 1, False, None),
        ("INSERT INTO jobs (id) VALUES (…)", 1, False, "23505"),
        ("ROLLBACK", 1, False, None),
        ("SELECT ?", 1, True, None),
    ]


@pytest.mark.parametrize("threshold", [0, 2, None])
def test_preparing_statements_changes_no_count(watched: Watched, threshold: int | None) -> None:
    with watched.connect(prepare_threshold=threshold) as connection:
        for n in range(10):
            connection.execute("SELECT n FROM jobs WHERE id = %s", (n,))
        connection.execute("SELECT 'end'")
    assert watched.seen("SELECT ?")[:-1] == [("SELECT n FROM jobs WHERE id = ?", 1, True, None)] * 10


def test_executemany_and_pipelines_are_one_trip_each(watched: Watched) -> None:
    update = "UPDATE jobs SET n = n + ? WHERE id = ?"
    with watched.connect() as connection:
        connection.cursor().executemany("UPDATE jobs SET n = n + 1 WHERE id = %s", [(n,) for n in range(1, 101)])
        connection.execute("SELECT 1")
        seen = watched.seen("SELECT ?")[:-1]
        assert [x[0] for x in seen if x[0] not in ("BEGIN", "COMMIT")] == [update] * 100
        assert sum(trips for shape, trips, _, _ in seen if shape == update) == 1
        with connection.pipeline():
            for n in range(1, 51):
                connection.execute("UPDATE jobs SET n = n + 1 WHERE id = %s", (n,))
        connection.execute("SELECT 1")
        seen = watched.seen("SELECT ?")[:-1]
        assert [x[0] for x in seen] == [update] * 50
        assert (sum(x[1] for x in seen), [x[2] for x in seen]) == (1, [False] * 49 + [True])


def test_an_error_in_the_middle_of_a_pipeline_stops_what_follows(watched: Watched) -> None:
    with watched.connect() as connection:
        with contextlib.suppress(psycopg.errors.UniqueViolation), connection.pipeline():
            connection.execute("UPDATE jobs SET n = 0 WHERE id = 1")
            connection.execute("INSERT INTO jobs (id) VALUES (1)")
            connection.execute("UPDATE jobs SET n = 99 WHERE id = 1")
        connection.execute("SELECT 1")
    seen = watched.seen("SELECT ?")[:-1]
    assert [(shape, committed, code) for shape, _, committed, code in seen] == [
        ("UPDATE jobs SET n = ? WHERE id = ?", False, None),
        ("INSERT INTO jobs (id) VALUES (…)", False, "23505"),
    ]


def test_a_hundred_groups_sent_in_one_write_are_one_trip(watched: Watched) -> None:
    with watched.connect() as connection, contextlib.closing(_raw(connection)) as raw:
        body = b"\0SELECT 1\0\0\0"
        parse = b"P" + pack("!I", len(body) + 4) + body
        rest = b"B" + pack("!I", 12) + b"\0\0\0\0\0\0\0\0" + b"E" + pack("!I", 9) + b"\0\0\0\0\0" + b"S" + pack("!I", 4)
        raw.sendall((parse + rest) * 100)
        got = b""
        while got.count(b"Z\0\0\0\5I") < 100:
            got += raw.recv(65536)
    seen = watched.lines(lambda new: len(new) == 100)
    assert [x["trips"] for x in seen] == [1] + [0] * 99
    assert all(x["commits"] for x in seen)


def _raw(connection: psycopg.Connection[Any]) -> socket.socket:
    raw = socket.socket(fileno=os.dup(connection.fileno()))
    raw.settimeout(PATIENCE)
    return raw


def test_several_statements_in_one_query_are_seen_one_by_one(watched: Watched) -> None:
    with watched.connect() as connection:
        connection.execute("SELECT ';'; UPDATE jobs SET n = 2 WHERE id = 2; SELECT 1 -- ;")
        connection.execute("")
        assert watched.seen("") == [
            ("SELECT ?", 1, False, None),
            ("UPDATE jobs SET n = ? WHERE id = ?", 0, False, None),
            ("SELECT ?", 0, True, None),
            ("", 1, False, None),
        ]


def test_server_side_cursors_are_seen_as_the_statements_they_are(watched: Watched) -> None:
    with watched.connect() as connection, connection.transaction(), connection.cursor("named") as cursor:
        cursor.execute("SELECT id FROM jobs WHERE id > %s ORDER BY id", (0,))
        assert len(cursor.fetchmany(10)) == 10
        assert len(cursor.fetchall()) == 90
    lines = watched.lines(lambda new: bool(new) and new[-1]["kind"] == "commit")
    assert [(x["kind"], x["trips"]) for x in lines] == [
        ("begin", 1),
        ("other", 1),
        ("read", 1),
        ("read", 1),
        ("other", 1),
        ("commit", 1),
    ]


def test_copy_in_and_out_of_megabytes_passes_and_counts_once(watched: Watched) -> None:
    with watched.connect() as connection:
        connection.execute("CREATE TABLE blobs (id int, data text)")
        big = "x" * 3_000_000
        with connection.cursor() as cursor:
            with cursor.copy("COPY blobs FROM STDIN") as copy:
                for n in range(4):
                    copy.write_row((n, big))
            with cursor.copy("COPY blobs TO STDOUT") as copy_out:
                assert sum(len(block) for block in copy_out) > 12_000_000
            with pytest.raises(psycopg.errors.InvalidTextRepresentation), cursor.copy("COPY blobs FROM STDIN") as copy:
                copy.write(b"no number\t1\n")
            with pytest.raises(ZeroDivisionError), cursor.copy("COPY blobs FROM STDIN") as copy:
                raise ZeroDivisionError
            assert cursor.execute("SELECT length(data) FROM blobs WHERE id = %s", (2,)).fetchall() == [(len(big),)]
            cursor.execute("UPDATE blobs SET data = %s WHERE id = 1", (big,))
            cursor.execute(f"SELECT length('{big}')")
        connection.execute("DROP TABLE blobs")
    seen = watched.seen("DROP TABLE blobs")
    assert seen[1:] == [
        ("COPY blobs FROM STDIN", 1, True, None),
        ("COPY blobs TO STDOUT", 1, True, None),
        ("COPY blobs FROM STDIN", 1, False, "22P02"),
        ("COPY blobs FROM STDIN", 1, False, "57014"),
        ("SELECT length(data) FROM blobs WHERE id = ?", 1, True, None),
        ("UPDATE blobs SET data = ? WHERE id = ?", 1, True, None),
        ("SELECT length(…)", 1, True, None),
        ("DROP TABLE blobs", 1, True, None),
    ]


def test_notifications_arrive_and_are_no_statements(watched: Watched, url: str) -> None:
    with watched.connect() as connection, psycopg.connect(url, autocommit=True) as other:
        connection.execute("LISTEN jobs")
        other.execute("NOTIFY jobs, 'hello'")
        (notification,) = connection.notifies(timeout=PATIENCE, stop_after=1)
        assert notification.payload == "hello"
        connection.execute("SELECT 1")
    assert [x[:2] for x in watched.seen("SELECT ?")] == [("LISTEN jobs", 1), ("SELECT ?", 1)]


def test_a_cancel_reaches_the_server(watched: Watched, url: str) -> None:
    with watched.connect() as connection:
        canceller = threading.Thread(target=_cancel_when_busy, args=(connection, url))
        canceller.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(60)")
        canceller.join()
        connection.execute("SELECT 1")
    assert watched.seen("SELECT ?") == [("SELECT pg_sleep(…)", 1, False, "57014"), ("SELECT ?", 1, True, None)]
    assert watched.file.read_bytes().count(b'"connect"') == 1, (
        "the connection that carries a cancel is none of the system's"
    )


def _cancel_when_busy(connection: psycopg.Connection[Any], url: str) -> None:
    _wait_until(url, "SELECT state = 'active' FROM pg_stat_activity WHERE pid = %s", connection.info.backend_pid)
    connection.cancel_safe(timeout=PATIENCE)


def _wait_until(url: str, question: str, *parameters: Any) -> None:
    """Wait until the server's answer to a question is true."""
    deadline = time.monotonic() + PATIENCE
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute(question.encode(), parameters).fetchone() != (True,):
            assert time.monotonic() < deadline, question
            select.select([], [], [], 0.002)


def test_a_backend_that_is_terminated_ends_the_client_with_its_error(watched: Watched, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as other, contextlib.closing(watched.connect()) as connection:
        pid = connection.info.backend_pid
        killer = threading.Thread(target=_terminate_when_busy, args=(url, pid))
        killer.start()
        with pytest.raises(psycopg.errors.AdminShutdown):
            connection.execute("SELECT pg_sleep(60)")
        killer.join()
        assert watched.seen("SELECT pg_sleep(…)") == [("SELECT pg_sleep(…)", 1, False, "57P01")]
        with contextlib.closing(watched.connect()) as idle:
            other.execute("SELECT pg_terminate_backend(%s, 20000)", (idle.info.backend_pid,))
            with pytest.raises(psycopg.OperationalError):
                idle.execute("SELECT 1")


def _terminate_when_busy(url: str, pid: int) -> None:
    _wait_until(url, "SELECT state = 'active' FROM pg_stat_activity WHERE pid = %s", pid)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s)", (pid,))


def test_a_client_killed_in_its_statement_is_followed_until_the_server_is_done(watched: Watched, url: str) -> None:
    """The server goes on and commits, as it does without a proxy; the witness says that it did."""
    with psycopg.connect(url, autocommit=True) as holder:
        holder.execute("UPDATE jobs SET n = 0 WHERE id = 50")
        program = (
            "import psycopg, sys; c = psycopg.connect(sys.argv[1], autocommit=True);"
            "print(c.info.backend_pid, flush=True); c.execute('UPDATE jobs SET n = 5 WHERE id = 50')"
        )
        with holder.transaction():
            holder.execute("SELECT 1 FROM jobs WHERE id = 50 FOR UPDATE")
            with subprocess.Popen([sys.executable, "-c", program, watched.url], stdout=subprocess.PIPE) as client:
                assert client.stdout is not None
                pid = int(client.stdout.readline())
                _wait_until(url, "SELECT cardinality(pg_blocking_pids(%s)) > 0", pid)
                client.send_signal(signal.SIGKILL)
        assert watched.seen("UPDATE jobs SET n = ? WHERE id = ?") == [
            ("UPDATE jobs SET n = ? WHERE id = ?", 1, True, None)
        ]
        assert holder.execute("SELECT n FROM jobs WHERE id = 50").fetchone() == (5,)
        _wait_until(url, "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = %s", pid)


def test_a_server_process_that_crashes_leaves_its_statement_unknown(watched: Watched) -> None:
    """The proxy sees the end of the connection without a word, as a client does: only a dead upstream can show that."""
    listener = socket.create_server(("127.0.0.1", 0))
    conversation_url = f"postgresql://u@127.0.0.1:{listener.getsockname()[1]}/db"
    folder = watched.file.parent / "crash"
    with Wire().watch(conversation_url, ["w0"], folder) as urls:
        crash = threading.Thread(target=_serve_one_query_then_vanish, args=(listener,))
        crash.start()
        connection = psycopg.connect(urls["w0"], autocommit=True)
        with contextlib.closing(connection), pytest.raises(psycopg.OperationalError):
            connection.execute(b"COMMIT")
        crash.join()
        listener.close()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(urls["w0"])
    lines = [orjson.loads(x) for x in (folder / "w0.ndjson").read_bytes().splitlines()]
    unknown = {"kind": "connection", "code": None}
    assert [(x["kind"], x.get("error")) for x in lines] == [
        ("connect", None),
        ("commit", unknown),
        ("connect", unknown),
    ]


def _serve_one_query_then_vanish(listener: socket.socket) -> None:
    server, _ = listener.accept()
    with server:
        server.recv(4096)
        server.sendall(b"R" + pack("!II", 8, 0) + b"K" + pack("!III", 12, 1, 2) + b"Z" + pack("!I", 5) + b"I")
        server.recv(4096)


def test_passwords_and_scram_pass_and_nothing_secret_is_written(watched: Watched, url: str, tmp_path: Path) -> None:
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("CREATE ROLE guest LOGIN PASSWORD 'correct horse'")
        try:
            guest = {"user": "guest", "password": "correct horse", "autocommit": True}
            with psycopg.connect(watched.url, **guest) as connection:  # type: ignore[arg-type]  # keywords of libpq
                assert connection.pgconn.used_password
                connection.execute("SELECT %s", ("battery staple",))
                connection.execute("SELECT 'battery staple'")
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(watched.url, user="guest", password="wrong horse")  # noqa: S106  # made up
        finally:
            owner.execute("DROP ROLE guest")
    with contextlib.closing(watched.connect()) as connection:
        connection.execute("SELECT 1 AS last")  # a shape of its own: the guest's SELECT may be all that is written yet
        watched.seen("SELECT ? AS last")
    text = (tmp_path / "w0.ndjson").read_text()
    assert '"code":"28P01"' in text
    assert not [secret for secret in ("horse", "staple", "guest") if secret in text]


def test_counts_by_shape_are_those_of_pg_stat_statements(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """Both count executions. pg_stat_statements tracks transaction control as utility statements, so it takes part as it is."""
    with postgres_server.fresh() as url, psycopg.connect(url, autocommit=True) as owner:
        try:
            owner.execute("CREATE EXTENSION pg_stat_statements")
            owner.execute("SELECT pg_stat_statements_reset()")
        except psycopg.Error as error:
            pytest.skip(f"this server has no pg_stat_statements: {error}")
        with Wire().watch(url, ["w0"], tmp_path) as urls, psycopg.connect(urls["w0"]) as connection:
            connection.execute("CREATE TABLE t (id int, n int)")
            connection.cursor().executemany("INSERT INTO t VALUES (%s, %s)", [(n, n) for n in range(20)])
            for n in range(12):
                connection.execute("UPDATE t SET n = n + 1 WHERE id = %s", (n,))
                connection.commit()
            connection.execute("SELECT count(*) FROM t; SELECT max(n) FROM t", prepare=False)
            connection.rollback()
        counted = {
            shape(query): int(calls)
            for query, calls in owner.execute(
                "SELECT query, calls FROM pg_stat_statements JOIN pg_database d ON d.oid = dbid"
                " WHERE datname = current_database() AND query NOT LIKE '%pg_stat_statements%'"
            )
        }
    seen: dict[str, int] = {}
    for line in (tmp_path / "w0.ndjson").read_bytes().splitlines():
        statement = orjson.loads(line)
        if statement["kind"] != "connect":
            seen[statement["shape"]] = seen.get(statement["shape"], 0) + 1
    assert seen == counted
    assert seen["UPDATE t SET n = n + ? WHERE id = ?"] == 12


@pytest.mark.parametrize("latency_ms", [1.0, 0.4])
def test_latency_is_added_once_a_round_trip_to_a_fraction_of_a_millisecond(
    url: str, tmp_path: Path, latency_ms: float
) -> None:
    with (
        Wire().watch(url, ["w0"], tmp_path, latency_ms=latency_ms) as urls,
        psycopg.connect(urls["w0"], autocommit=True) as slow,
        psycopg.connect(url, autocommit=True) as quick,
    ):
        pairs = [(_time(slow), _time(quick)) for _ in range(200)]
    quickest = min(a for a, _ in pairs) * 1e3
    assert latency_ms <= quickest < latency_ms + min(b for _, b in pairs) * 1e3 + 0.5
    lines = [orjson.loads(x) for x in (tmp_path / "w0.ndjson").read_bytes().splitlines()]
    selects = [x for x in lines if x["kind"] == "read"]
    assert [x["trips"] for x in selects] == [1] * 200
    assert all(x["t1"] - x["t0"] >= latency_ms * 1e6 for x in selects)


def test_latency_does_not_hold_back_what_is_pipelined(url: str, tmp_path: Path) -> None:
    with (
        Wire().watch(url, ["w0"], tmp_path, latency_ms=20) as urls,
        psycopg.connect(urls["w0"], autocommit=True) as connection,
    ):
        began = time.perf_counter()
        with connection.pipeline():
            for n in range(200):
                connection.execute("UPDATE jobs SET n = %s WHERE id = 1", (n,))
        assert time.perf_counter() - began < 200 * 0.02 / 2
        big = "x" * 20_000_000
        assert connection.execute("SELECT %s", (big,)).fetchone() == (big,)
    lines = [orjson.loads(x) for x in (tmp_path / "w0.ndjson").read_bytes().splitlines()]
    assert sum(x["trips"] for x in lines if x["kind"] == "write") == 1


def _time(connection: psycopg.Connection[Any]) -> float:
    began = time.perf_counter()
    connection.execute("SELECT 1")
    return time.perf_counter() - began


def test_without_recording_nothing_is_written_and_only_latency_needs_a_proxy(url: str, tmp_path: Path) -> None:
    with Wire().watch(url, ["w0"], tmp_path, record=False) as urls:
        assert urls.urls == {"w0": url}
    with Wire().watch(url, ["w0"], tmp_path, record=False, latency_ms=0.1) as urls:
        assert urls["w0"] != url
        with psycopg.connect(urls["w0"]) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    assert list(tmp_path.iterdir()) == []


def test_a_proxy_that_dies_makes_the_run_inconclusive(url: str, tmp_path: Path) -> None:
    order = wire._Order(Address.of(url).upstream, ["w0"], str(tmp_path), 0)
    with pytest.raises(RunAbandoned, match="died while it was in use") as caught:
        _use_and_kill(order, None)
    assert caught.value.exit_status == 2
    with pytest.raises(KeyError) as body:
        _use_and_kill(order, KeyError("the run's own error comes first"))
    assert "died while it was in use" in body.value.__notes__[0]


def test_a_proxy_that_does_not_start_says_its_last_words(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "_PROGRAM", "raise SystemExit('no more sockets')")
    with pytest.raises(RunAbandoned, match=r"did not start \(exit status 1\).*no more sockets"):
        Wire().watch(url, ["w0"], tmp_path).__enter__()


def _use_and_kill(order: wire._Order, error: Exception | None) -> None:
    proxy = wire._Proxy(order)
    with proxy:
        proxy._process.kill()
        proxy._process.wait()
        if error is not None:
            raise error


def test_the_proxy_ends_when_its_parent_is_killed(url: str, tmp_path: Path) -> None:
    program = (
        "import sys, signal; from pathlib import Path; from harness.witnesses.wire import Wire\n"
        "with Wire().watch(sys.argv[1], ['w0'], Path(sys.argv[2])) as urls: print(urls['w0'], flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", program, url, str(tmp_path)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        proxied = parent.stdout.readline().decode().strip()
        with psycopg.connect(proxied, autocommit=True) as connection:
            connection.execute("SELECT 1")
            parent.send_signal(signal.SIGKILL)
            with contextlib.closing(_raw(connection)) as raw, contextlib.suppress(ConnectionResetError):
                assert raw.recv(1) == b""
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(proxied)
    assert b'"SELECT ?"' in (tmp_path / "w0.ndjson").read_bytes()


@pytest.mark.parametrize(
    ("url", "upstream", "through"),
    [
        ("postgresql://u:p%40@h:1/db", ("h", 1), "postgresql://u:p%40@127.0.0.1:9/db"),
        ("postgres://h/db?application_name=a%20b", ("h", 5432), "postgres://127.0.0.1:9/db?application_name=a%20b"),
        ("postgresql://u@/db?host=/run/pg&port=7", "/run/pg/.s.PGSQL.7", "postgresql://u@127.0.0.1:9/db"),
        ("postgresql://u@/db?host=%2Frun%2Fpg", "/run/pg/.s.PGSQL.5432", "postgresql://u@127.0.0.1:9/db"),
        ("postgresql:///db", ("localhost", 5432), "postgresql://127.0.0.1:9/db"),
    ],
)
def test_only_the_address_of_a_url_changes(url: str, upstream: object, through: str) -> None:
    address = Address.of(url)
    assert (address.upstream, address.through(9)) == (upstream, through)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:///a.db", "needs a URL such as"),
        ("postgresql://h:many/db", "needs a URL such as"),
        ("postgresql://u:secret@h/db?sslmode=require", "Take out sslmode"),
        ("postgresql://u:secret@h/db?channel_binding=require", "Take out sslmode"),
        ("postgresql://u:secret@/db?host=a,b", "one server"),
    ],
)
def test_a_url_the_proxy_cannot_serve_is_refused_without_its_password(url: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        Address.of(url)
    assert "secret" not in str(caught.value)


def test_an_unknown_host_is_said_before_anything_runs(tmp_path: Path) -> None:
    with (
        pytest.raises(DatabaseUnavailable, match="Correct the host"),
        Wire().watch("postgresql://u@no-such-host.invalid/db", ["w0"], tmp_path),
    ):
        pass


@pytest.fixture(scope="module")
def recording(url: str) -> list[tuple[bool, bytes]]:
    """What went over the wire in a real session, from after the login: (whether the client spoke, bytes), in order."""
    address = Address.of(url)
    assert isinstance(address.upstream, tuple)
    script: list[tuple[bool, bytes]] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tee = threading.Thread(target=_tee, args=(listener, address.upstream, script))
        tee.start()
        with psycopg.connect(address.through(listener.getsockname()[1]), autocommit=True, prepare_threshold=2) as c:
            for n in range(4):
                c.execute("SELECT n FROM jobs WHERE id = %s", (n,))
            c.cursor().executemany("UPDATE jobs SET n = %s WHERE id = 1", [(n,) for n in range(30)])
            with contextlib.suppress(psycopg.Error), c.pipeline():
                c.execute("UPDATE jobs SET n = 1 WHERE id = 2")
                c.execute("SELECT 1/0")
                c.execute("SELECT 2")
            with c.transaction(), c.cursor("named") as cursor:
                cursor.execute("SELECT * FROM jobs").fetchall()
            with c.cursor().copy("COPY (SELECT repeat('x', 50000)) TO STDOUT") as copy:
                assert len(b"".join(copy)) > 50_000
            c.pgconn.send_query_params(b"COPY jobs FROM STDIN", [])
            result = _next_result(c)
            assert result is not None
            assert result.status == pq.ExecStatus.COPY_IN
            c.pgconn.put_copy_end(None)
            while _next_result(c):
                pass
            c.execute("BEGIN; SELECT 1; COMMIT")
        tee.join()
    return script


def _next_result(connection: psycopg.Connection[Any]) -> pq.abc.PGresult | None:
    """Wait without holding the interpreter, as psycopg's own blocking call would: the tee is a thread of this process."""
    connection.pgconn.flush()
    while connection.pgconn.is_busy():
        select.select([connection.fileno()], [], [], PATIENCE)
        connection.pgconn.consume_input()
    return connection.pgconn.get_result()


def _tee(listener: socket.socket, upstream: tuple[str, int], script: list[tuple[bool, bytes]]) -> None:
    client, _ = listener.accept()
    with client, socket.create_connection(upstream) as server:
        logged_in = False
        while True:
            for side in select.select([client, server], [], [])[0]:
                data = side.recv(65536)
                if not data:
                    return
                if side is client and data[:8] in (pack("!II", 8, 80877103), pack("!II", 8, 80877104)):
                    client.sendall(b"N")
                    continue
                (server if side is client else client).sendall(data)
                if logged_in:
                    script.append((side is client, data))
                elif side is server and data.endswith(b"Z\0\0\0\5I"):
                    logged_in = True


def _replay(script: list[tuple[bool, bytes]], cuts: Iterable[int]) -> list[tuple[object, ...]]:
    seen: list[Statement] = []
    conversation = Conversation(1, 0, seen.extend)
    conversation.answered(b"Z\0\0\0\5I", 1)
    sizes = iter(cuts)
    for now, (asks, data) in enumerate(script):
        place = 0
        while place < len(data):
            size = next(sizes, len(data))
            (conversation.asked if asks else conversation.answered)(data[place : place + size], now)
            place += size
    conversation.lost(len(script))
    return [(x.kind, x.shape, x.trips, x.commits, x.error) for x in seen]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(cuts=st.lists(st.integers(1, 30) | st.integers(1, 3000), max_size=500))
def test_however_a_real_session_is_cut_its_statements_are_the_same(
    recording: list[tuple[bool, bytes]], cuts: list[int]
) -> None:
    whole = _replay(recording, [])
    assert len(whole) > 45
    assert ("write", "COPY jobs FROM STDIN", 1, True, None) in whole
    assert ("read", "SELECT ?/?", 0, False, ("constraint", "22012")) in whole
    assert _replay(recording, cuts) == whole
