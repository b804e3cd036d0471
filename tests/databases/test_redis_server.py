"""Our own Redis: who gets in, what a restart loses, and that nothing of it is left however contend ends."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.databases import redis_server
from harness.databases.redis_server import RedisServer, find_redis, missing, serve_redis
from harness.errors import DatabaseUnavailable

redis = pytest.importorskip("redis", reason="needs the Python package `redis`: pip install 'contend[redis]'")
pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")

ROOT = Path(__file__).parents[2]
LONG = "a long name " * 9
SERVE = """
import sys
from pathlib import Path
from harness.databases.redis_server import serve_redis
place, state = sys.argv[1:]
with serve_redis(Path(place)) as server:
    if state == "restarted":
        server.restart()
    if state == "stopped":
        server.stop()
    print(server.pid, server.socket, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def server(cold_place: Path) -> Iterator[RedisServer]:
    with serve_redis(cold_place) as server:
        yield server


def connected(url: str) -> Any:
    """A client that does not try again; its connections are closed on leaving."""
    return contextlib.closing(redis.Redis.from_url(url, retry=None, decode_responses=True))


def running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_for_end(pid: int) -> None:
    """Wait until a process, of whatever parent, has ended."""
    limit = time.monotonic() + 20
    while running(pid):
        assert time.monotonic() < limit, f"process {pid} still runs after 20 s"
        time.sleep(0.01)


def keeper_of(pid: int) -> int:
    return psutil.Process(pid).ppid()


@contextlib.contextmanager
def serving(place: Path, state: str = "started") -> Iterator[tuple[subprocess.Popen[str], int, Path]]:
    """A contend in a process of its own that serves a Redis and waits, with the pid and socket of that; killed at the end."""
    command = [sys.executable, "-c", SERVE, str(place), state]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as contend:
        try:
            assert contend.stdout is not None
            pid, _, socket = contend.stdout.readline().strip().partition(" ")
            assert pid, "it ended instead of serving"
            yield contend, int(pid), Path(socket)
        finally:
            contend.kill()


def test_what_a_client_sets_it_gets(server: RedisServer) -> None:
    with connected(server.url) as client:
        client.set("job", "claimed")
        assert client.get("job") == "claimed"
        facts = client.info("server")
    assert (facts["process_id"], facts["redis_version"]) == (server.pid, server.version)


def test_a_client_without_the_password_is_refused(server: RedisServer) -> None:
    with (
        connected(server.url.replace(f":{server.password}@", "")) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.get("job")
    with (
        connected(server.url.replace(server.password, "wrong")) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.get("job")


def test_it_listens_on_its_socket_and_on_no_port(server: RedisServer) -> None:
    listening = [each.laddr for each in psutil.net_connections("all") if each.pid == server.pid and each.laddr]
    assert [str(address) for address in listening] == [str(server.socket)]


def test_nobody_else_reads_the_password_or_reaches_the_socket(server: RedisServer) -> None:
    for pid in (server.pid, keeper_of(server.pid)):
        process = psutil.Process(pid)
        assert server.password not in " ".join([*process.cmdline(), *process.environ().values()])
    assert server.password not in repr(server)
    assert server.run.folder.stat().st_mode & 0o777 == 0o700
    assert server.socket.parent.stat().st_mode & 0o777 == 0o700
    assert (server.socket.parent / "redis.conf").stat().st_mode & 0o777 == 0o600


def test_nothing_it_holds_is_written_to_disk(server: RedisServer) -> None:
    with connected(server.url) as client:
        client.set("job", "claimed")
        assert client.config_get("save", "appendonly") == {"save": "", "appendonly": "no"}
    server.stop()
    names = {str(file.relative_to(server.run.folder)) for file in server.run.folder.rglob("*")}
    assert names == {"lock", "log", "socket", "socket/redis.conf", "socket/redis.sock"}


@pytest.mark.parametrize("name", ["short", LONG])
def test_afterwards_neither_process_nor_folder_is_left(cold_place: Path, name: str) -> None:
    with serve_redis(cold_place / name) as server:
        server.restart()
        pid, keeper = server.pid, keeper_of(server.pid)
        assert server.socket.exists()
    assert not running(pid)
    assert not running(keeper)
    assert not server.socket.parent.exists()
    assert list((cold_place / name / "runs").iterdir()) == []


def test_a_server_that_was_stopped_or_killed_leaves_nothing_either(cold_place: Path) -> None:
    with serve_redis(cold_place) as server:
        keeper = keeper_of(server.pid)
        server.stop()
        server.stop()
    assert not running(keeper)
    with serve_redis(cold_place) as server:
        keeper = keeper_of(server.pid)
        os.kill(keeper, signal.SIGKILL)
    wait_for_end(server.pid)
    assert list((cold_place / "runs").iterdir()) == []


@pytest.mark.parametrize("state", ["started", "restarted", "stopped"])
@pytest.mark.parametrize("name", ["short", LONG])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_when_contend_is_ended_by_a_signal_its_server_and_folders_are_gone(
    cold_place: Path, number: signal.Signals, name: str, state: str
) -> None:
    with serving(cold_place / name, state) as (contend, pid, socket):
        (keeper,) = psutil.Process(contend.pid).children()
        assert socket.exists()
        os.killpg(contend.pid, number)  # as a terminal does
        contend.wait(60)
        wait_for_end(keeper.pid)
        assert not running(pid)
        assert not socket.parent.exists()
        assert list((cold_place / name / "runs").iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_the_server_ends_with_its_keeper_also_where_contend_is_a_background_job(cold_place: Path) -> None:
    """A shell without job control has its background jobs ignore SIGQUIT, which is how the server is told."""
    before = signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    try:
        with serve_redis(cold_place) as server:
            os.kill(keeper_of(server.pid), signal.SIGKILL)
            wait_for_end(server.pid)
    finally:
        signal.signal(signal.SIGQUIT, before)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
@pytest.mark.parametrize("name", ["short", LONG])
def test_when_the_keeper_is_killed_too_the_server_ends_and_the_next_start_removes_the_folders(
    cold_place: Path, name: str
) -> None:
    with serving(cold_place / name) as (contend, pid, socket):
        keeper = os.pidfd_open(keeper_of(pid))
        signal.pidfd_send_signal(keeper, signal.SIGKILL)
        contend.kill()
        contend.wait(60)
        wait_for_end(pid)
        # Its main thread's end stops the server; the run is abandoned when its last thread lets go of the lock.
        assert select.select([keeper], [], [], 60)[0]
        os.close(keeper)
        assert socket.exists()
        with serve_redis(cold_place / name) as server:
            assert not socket.parent.exists()
            assert list((cold_place / name / "runs").iterdir()) == [server.run.folder]


def test_a_restart_loses_what_it_held_and_the_url_stays_good(server: RedisServer) -> None:
    url, pid, keeper = server.url, server.pid, keeper_of(server.pid)
    with connected(url) as client:
        client.set("job", "claimed")
        server.restart()
        assert not running(pid)
        assert not running(keeper), "the keeper of the last one would stay for as long as contend"
        assert server.url == url
        assert client.get("job") is None
        assert client.info("server")["process_id"] == server.pid != pid


def test_a_stopped_server_refuses_clients_until_it_is_started(server: RedisServer) -> None:
    server.stop()
    with connected(server.url) as client:
        with pytest.raises(redis.ConnectionError):
            client.ping()
        server.start()
        assert client.ping()
        pid = server.pid
        server.start()
        assert server.pid == pid, "it ran already"


def test_a_server_that_died_by_itself_can_be_started_again(server: RedisServer) -> None:
    os.kill(server.pid, signal.SIGKILL)
    wait_for_end(server.pid)
    server.restart()
    with connected(server.url) as client:
        assert client.ping()


def test_after_a_start_that_failed_it_can_be_started_again(server: RedisServer) -> None:
    file = server.socket.parent / "redis.conf"
    settings = file.read_text()
    server.stop()
    file.write_text("nonsense\n")
    with pytest.raises(DatabaseUnavailable, match="nonsense"):
        server.start()
    file.write_text(settings)
    server.start()
    with connected(server.url) as client:
        assert client.ping()


@pytest.mark.parametrize("name", ["a-long-name-" * 20, LONG + "/" + LONG, "a b", "*", "[x]", "?", "ö", 'q"\\#%\n'])
def test_a_place_with_a_long_or_odd_path_gets_its_socket_elsewhere(cold_place: Path, name: str) -> None:
    with serve_redis(cold_place / name) as server, connected(server.url) as client:
        assert client.ping()
        assert not server.socket.is_relative_to(cold_place)
        assert server.socket.parent.stat().st_mode & 0o777 == 0o700
    assert not server.socket.parent.exists()


def test_a_place_with_an_ordinary_path_has_its_socket_inside(server: RedisServer, cold_place: Path) -> None:
    assert server.socket.is_relative_to(cold_place)


def test_without_its_settings_it_does_not_serve_rather_than_serve_everybody(
    cold_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_server, "_write_settings", lambda folder, _: (folder / "redis.conf").touch())
    with pytest.raises(DatabaseUnavailable, match="not listen anywhere"), serve_redis(cold_place):
        pass


def test_several_at_once_share_nothing(cold_place: Path) -> None:
    with serve_redis(cold_place) as one, serve_redis(cold_place) as two:
        assert one.password != two.password
        with connected(one.url) as first, connected(two.url) as second:
            first.set("job", "claimed")
            assert second.get("job") is None


def test_where_the_program_is_missing_the_message_names_it_and_what_to_do(
    cold_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_server, "ALSO_IN", (str(cold_place),))
    monkeypatch.setenv("PATH", "")
    assert find_redis() is None
    assert "redis-server" in str(missing())
    assert "apt-get install" in str(missing())
    with pytest.raises(DatabaseUnavailable, match="redis-server"), serve_redis(cold_place):
        pass
    assert list(cold_place.iterdir()) == []


def test_a_program_is_never_taken_from_the_working_folder(cold_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trap = cold_place / "redis-server"
    trap.touch(mode=0o755)
    monkeypatch.chdir(cold_place)
    monkeypatch.setenv("PATH", "")
    assert find_redis() != trap


def test_where_the_package_is_missing_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", {}.get)
    assert "contend[redis]" in str(missing())


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo no such luck; exit 3", r"ended with status 3.*no such luck.*redis-server"),
        ("exec sleep 60", r"did not answer within.*log: empty"),
    ],
)
def test_a_program_that_does_not_serve_is_quoted_and_nothing_is_left(
    cold_place: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    program = cold_place / "redis-server"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(redis_server, "START_SECONDS", 1.0)
    monkeypatch.setenv("PATH", f"{cold_place}:{os.environ['PATH']}")
    before = psutil.Process().children(recursive=True)
    with pytest.raises(DatabaseUnavailable, match=said), serve_redis(cold_place / "place"):
        pass
    assert psutil.Process().children(recursive=True) == before
    assert list((cold_place / "place" / "runs").iterdir()) == []
