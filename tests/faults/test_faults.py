"""Each fault by itself, done to real processes and real databases: it takes hold, it heals, and it says where it did not take hold."""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import multiprocess
import psutil
import psycopg
import pytest

from harness import signals
from harness.databases.postgres import Postgres, PostgresServer
from harness.databases.sqlite import Sqlite, SqliteServer
from harness.errors import FaultMissed, UnknownName
from harness.faults import FAULTS, choose
from harness.faults.fill_disk import unmountable
from harness.levers import Levers
from harness.protocols import Fault, Network, Server, Site
from harness.witnesses.wire import Wire

PATIENCE = 20.0
FORK = multiprocess.get_context("fork")


@dataclass
class Arena:
    """Two idle processes for workers, and a database they could use: a `Site`."""

    database: str
    url: str
    server: Server
    network: Network | None = None
    closed: bool = False
    rng: random.Random = field(default_factory=lambda: random.Random(1))  # repeatable, not secret
    _sleepers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _levers: dict[str, Levers] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for worker in ("w0", "w1"):
            self._sleepers[worker] = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
            self._levers[worker] = Levers(*(FORK.RawValue("q", 0) for _ in range(4)))

    def pid(self, worker: str) -> int:
        return self._sleepers[worker].pid

    def kill(self, worker: str) -> None:
        self._sleepers[worker].kill()
        self._sleepers[worker].wait()

    @contextlib.contextmanager
    def stopped(self, worker: str) -> Iterator[None]:
        signals.stop(self.pid(worker))
        try:
            yield
        finally:
            signals.go_on([self.pid(worker)])

    def levers(self, worker: str) -> Levers:
        return self._levers[worker]

    def state(self, worker: str) -> str:
        return psutil.Process(self.pid(worker)).status()

    def close(self) -> None:
        for worker in self._sleepers:
            self.kill(worker)


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server of these tests' own, which may crash and stand still."""
    with Postgres().serve() as server:
        yield server


@pytest.fixture
def arena(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Arena]:
    with contextlib.ExitStack() as stack:
        if getattr(request, "param", "sqlite") == "sqlite":
            server = stack.enter_context(Sqlite().serve())
            arena = Arena("sqlite", stack.enter_context(server.fresh()), server)
        else:
            cluster: PostgresServer = request.getfixturevalue("own_server")
            url = stack.enter_context(cluster.fresh())
            network = stack.enter_context(Wire().watch(url, ["w0", "w1"], tmp_path)).network
            arena = Arena("postgres", url, cluster, network)
        stack.callback(arena.close)
        yield arena


on_both = pytest.mark.parametrize("arena", ["sqlite", "postgres"], indirect=True)
on_postgres = pytest.mark.parametrize("arena", ["postgres"], indirect=True)


def strike(arena: Arena, name: str, workers: Sequence[str] = ("w0", "w1")) -> contextlib.AbstractContextManager[None]:
    return choose(name).strike(arena, workers)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_every_fault_says_what_it_is_and_where_it_cannot_be(fault: Fault) -> None:
    assert FAULTS[fault.name] is fault
    assert fault.story.endswith(".")
    assert fault.kind.isalpha()
    assert fault.workers in (0, 1, 2)
    arena = Arena("sqlite", "sqlite:////nowhere", SqliteServer(Path("/nowhere"), "wal"))
    try:
        site: Site = arena
        reason = fault.missing(site)
        assert reason is None or len(reason.split()) > 3
    finally:
        arena.close()


def test_no_two_faults_are_recorded_as_the_same_kind() -> None:
    assert len({fault.kind for fault in FAULTS.values()}) == len(FAULTS)


def test_an_unknown_fault_is_answered_with_those_there_are() -> None:
    with pytest.raises(UnknownName, match="kill-worker"):
        choose("earthquake")


@on_both
@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_every_fault_that_is_possible_heals_on_the_way_out_of_an_error(fault: Fault, arena: Arena) -> None:
    """As on the way out of Ctrl-C: no process stopped, the database well, levers as they were."""
    needs_connection = fault.name in ("cut-connection", "terminate-backend", "half-open", "crash-server")
    if fault.missing(arena) is not None or needs_connection:
        return
    with pytest.raises(KeyboardInterrupt), fault.strike(arena, ["w0"]):
        raise KeyboardInterrupt
    if fault.name != "kill-worker":
        until(lambda: arena.state("w0") == psutil.STATUS_SLEEPING)
    levers = arena.levers("w0")
    assert (levers.full.value, levers.ahead.value) == (0, 0)
    if arena.database == "sqlite":
        with contextlib.closing(sqlite3.connect(arena.url.removeprefix("sqlite:///"), timeout=0)) as connection:
            connection.execute("CREATE TABLE well (n int)")
    else:
        with psycopg.connect(arena.url, connect_timeout=10) as server:
            server.execute("CREATE TABLE well (n int)")


def test_the_killed_are_dead_and_the_paused_stand_and_go_on(arena: Arena) -> None:
    with strike(arena, "pause-worker", ["w0"]):
        assert arena.state("w0") == psutil.STATUS_STOPPED != arena.state("w1")
    until(lambda: arena.state("w0") == psutil.STATUS_SLEEPING)
    with strike(arena, "kill-worker", ["w0"]):
        assert not psutil.pid_exists(arena.pid("w0"))
        assert psutil.pid_exists(arena.pid("w1"))


@pytest.mark.parametrize("name", ["kill-worker", "pause-worker", "swizzle"])
def test_harm_to_who_was_not_well_before_is_missed(name: str, arena: Arena) -> None:
    if name == "kill-worker":
        arena.kill("w0")
    else:
        signals.stop(arena.pid("w0"))
    with pytest.raises(FaultMissed, match="not running"), strike(arena, name, ["w0"]):
        pass


def test_a_swizzle_stops_all_of_them_and_lets_them_go_on_in_another_order(arena: Arena) -> None:
    with strike(arena, "swizzle"):
        assert {arena.state("w0"), arena.state("w1")} == {psutil.STATUS_STOPPED}
    until(lambda: {arena.state("w0"), arena.state("w1")} == {psutil.STATUS_SLEEPING})


def test_a_held_lock_refuses_every_other_writer(arena: Arena) -> None:
    file = arena.url.removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as connection:
        with strike(arena, "hold-lock"), pytest.raises(sqlite3.OperationalError, match="locked"):
            connection.execute("CREATE TABLE jobs (n int)")
        connection.execute("CREATE TABLE jobs (n int)")


def test_an_idle_transaction_keeps_a_checkpoint_from_its_end(arena: Arena) -> None:
    file = arena.url.removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE jobs (n int)")
        with strike(arena, "idle-transaction"):
            connection.execute("INSERT INTO jobs VALUES (1)")
            assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 1
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0


@on_postgres
def test_an_idle_transaction_keeps_dead_rows(arena: Arena) -> None:
    with psycopg.connect(arena.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE jobs (n int)")
        connection.execute("INSERT INTO jobs VALUES (1)")
        oldest = "SELECT max(age(backend_xmin)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        with strike(arena, "idle-transaction"):
            for _ in range(3):
                connection.execute("UPDATE jobs SET n = n + 1")
            row = connection.execute(oldest).fetchone()
            assert row is not None
            assert row[0] >= 3
        assert connection.execute(oldest).fetchone() == (None,)


def _is_busy(connection: psycopg.Connection) -> bool:
    connection.pgconn.consume_input()
    return bool(connection.pgconn.is_busy())


@on_postgres
def test_a_frozen_server_answers_nobody_and_a_crashed_one_has_lost_everybody(arena: Arena) -> None:
    assert isinstance(arena.server, PostgresServer)
    with psycopg.connect(arena.url, autocommit=True) as connection:
        with strike(arena, "freeze-server"):
            assert {psutil.Process(pid).status() for pid in arena.server.processes()} == {psutil.STATUS_STOPPED}
            connection.pgconn.send_query(b"SELECT 1")
            time.sleep(0.1)  # nothing can be waited for: nothing happens
            assert _is_busy(connection)
        until(lambda: not _is_busy(connection))
        while connection.pgconn.get_result():
            pass
    with psycopg.connect(arena.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE jobs (n int)")
        with strike(arena, "crash-server"), pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with psycopg.connect(arena.url) as connection:
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (0,)


@on_postgres
@pytest.mark.parametrize("name", ["cut-connection", "terminate-backend", "half-open"])
def test_harm_to_a_connection_there_is_not_is_missed(name: str, arena: Arena) -> None:
    with pytest.raises(FaultMissed, match="no connection"), strike(arena, name, ["w0"]):
        pass


@on_postgres
def test_a_crash_that_would_harm_nobody_is_missed(arena: Arena) -> None:
    with pytest.raises(FaultMissed, match="Nobody was connected"), strike(arena, "crash-server"):
        pass


@on_postgres
def test_a_server_that_is_given_is_not_ours_to_crash_or_to_stop(arena: Arena) -> None:
    with Postgres(url=arena.url).serve() as given:
        arena.server = given
        assert given.processes() == ()
        for name in ("crash-server", "freeze-server"):
            assert choose(name).missing(arena) == "there is no server of our own"


HARMED = """
import sys, time
from harness.databases.postgres import Postgres
from harness.faults import choose
class Site: pass
with Postgres().serve() as server, server.fresh() as url:
    Site.server, Site.url, Site.database = server, url, "postgres"
    with choose(sys.argv[1]).strike(Site, []):
        print(*server.processes(), flush=True)
        time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("fault", ["freeze-server", "fill-disk"])
def test_a_server_that_was_harmed_is_gone_when_contend_is(fault: str, number: signal.Signals) -> None:
    """A stopped process takes no signal but SIGKILL and SIGCONT, and a folder with a file system in it does not go: both are healed."""
    if fault == "fill-disk" and unmountable() is not None:
        pytest.skip(str(unmountable()))
    harmed = subprocess.Popen([sys.executable, "-c", HARMED, fault], stdout=subprocess.PIPE, text=True)
    assert harmed.stdout is not None
    pids = [int(pid) for pid in harmed.stdout.readline().split()]
    assert len(pids) > 3
    run = Path(f"/proc/{pids[0]}/cwd").readlink().parent
    assert ("small" in [entry.name for entry in run.iterdir()]) is (fault == "fill-disk")
    harmed.send_signal(number)
    harmed.wait(60)
    harmed.stdout.close()
    deadline = time.monotonic() + 60
    while run.exists() or any(psutil.pid_exists(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert str(run) not in Path("/proc/mounts").read_text()
