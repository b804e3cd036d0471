"""Nothing of our own servers is left, however contend ends."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
import pytest

from harness.databases.postgres import Postgres, PostgresServer
from harness.databases.reaper import reap
from harness.databases.sqlite import Sqlite

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc to see what is left")

ROOT = Path(__file__).parents[2]
SERVE = """
import sys
from pathlib import Path
from harness.databases.postgres import Postgres
from harness.databases.sqlite import Sqlite
engine, place, url = sys.argv[1:]
database = Sqlite(folder=Path(place)) if engine == "sqlite" else Postgres(url or None, folder=Path(place))
with database.serve() as server, server.fresh() as fresh:
    print(fresh, flush=True)
    sys.stdin.read()
"""


def wait_for_end(pid: int, seconds: float = 30) -> None:
    """Wait until a process, of whatever parent, has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], seconds)[0], f"process {pid} still runs after {seconds} s"
    finally:
        os.close(descriptor)


def segments() -> set[tuple[str, ...]]:
    """The System V shared memory of the machine, each segment as its key and id."""
    return {tuple(line.split()[:2]) for line in Path("/proc/sysvipc/shm").read_text().splitlines()}


def makers() -> set[int]:
    """The processes that made the System V shared memory of the machine."""
    return {int(line.split()[4]) for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}


@dataclass
class Contend:
    """A contend in a process of its own that serves a database and waits; `url` is of the fresh one it has."""

    process: subprocess.Popen[str]
    place: Path
    url: str = ""
    folder: Path = field(default_factory=Path)
    postmaster: int = 0
    keeper: int = 0
    segment: tuple[str, ...] = ()

    def ready(self) -> Contend:
        """Wait until it serves."""
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url, "it ended instead of serving"
        for pid in self.place.glob("runs/*/data/postmaster.pid"):
            lines = pid.read_text().splitlines()
            if f":{lines[3]}/" in self.url:  # the port
                self.folder, self.postmaster, self.segment = pid.parents[1], int(lines[0]), tuple(lines[6].split())
                stat = Path(f"/proc/{self.postmaster}/stat").read_text()
                self.keeper = int(stat.rpartition(")")[2].split()[1])
        return self

    def end(self, number: signal.Signals | None = None) -> None:
        """End it, by a signal or as it means to, and wait until it and the keeper of its server are gone."""
        assert self.process.stdin is not None
        if number is None:
            self.process.stdin.close()
        else:
            self.process.send_signal(number)
        self.process.wait(60)
        if self.keeper:
            wait_for_end(self.keeper)


Start = Callable[..., Contend]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a contend; whatever still runs at the end of the test is killed."""
    with contextlib.ExitStack() as stack:

        def launch(engine: str, place: Path, url: str = "") -> Contend:
            process = subprocess.Popen(
                [sys.executable, "-c", SERVE, engine, str(place), url],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            contend = Contend(process, place)
            stack.callback(stack.enter_context, process)
            stack.callback(contend.end, signal.SIGKILL)
            return contend

        yield launch


def running(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cwd").readlink() != Path("/nowhere")
    return False


@pytest.mark.parametrize("number", [None, signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_when_contend_ends_its_server_and_folder_are_gone(
    warm_place: Path, start: Start, number: signal.Signals | None
) -> None:
    contend = start("postgres", warm_place).ready()
    assert contend.folder.exists()
    assert contend.segment in segments()
    assert running(contend.postmaster)
    contend.end(number)
    assert not running(contend.postmaster)
    assert not contend.folder.exists()
    assert contend.segment not in segments()


def test_of_a_postmaster_that_was_killed_no_shared_memory_is_left(warm_place: Path, start: Start) -> None:
    """As the kernel does when memory runs out: it leaves its interlock, which nobody else would remove."""
    contend = start("postgres", warm_place).ready()
    os.kill(contend.postmaster, signal.SIGKILL)
    wait_for_end(contend.postmaster)
    assert contend.segment in segments()
    contend.end(signal.SIGINT)
    assert contend.segment not in segments()
    assert not contend.folder.exists()


def test_a_contend_interrupted_during_initdb_lets_it_clear_its_shared_memory_away(
    cold_place: Path, start: Start
) -> None:
    contend = start("postgres", cold_place)
    server = None
    while server is None:
        assert contend.process.poll() is None, "it should have been caught in initdb"
        for process in psutil.Process(contend.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # initdb starts several, for a moment each
                if process.pid in makers():
                    process.suspend()  # so that it is at work when contend is interrupted
                    server = process
                    break
    assert not list((cold_place / "kept").glob("cluster-*"))
    threading.Timer(1.0, server.resume).start()
    contend.end(signal.SIGINT)
    assert not running(server.pid)  # it was waited for
    assert server.pid not in makers()
    assert list((cold_place / "runs").iterdir()) == []


def test_when_the_keeper_is_killed_the_kernel_stops_the_server_and_the_next_start_removes_the_folder(
    warm_place: Path, start: Start
) -> None:
    contend = start("postgres", warm_place).ready()
    os.kill(contend.keeper, signal.SIGKILL)
    wait_for_end(contend.postmaster)
    assert contend.folder.exists()
    with Sqlite(folder=warm_place).serve():
        assert not contend.folder.exists()


def test_when_everything_is_killed_at_once_the_next_start_removes_folder_and_shared_memory(
    warm_place: Path, start: Start
) -> None:
    contend = start("postgres", warm_place).ready()
    assert "/dev/shm" not in Path(f"/proc/{contend.postmaster}/maps").read_text(), "what is there would stay"
    os.kill(contend.postmaster, signal.SIGSTOP)  # so that it cannot clean up when its keeper dies
    os.kill(contend.keeper, signal.SIGKILL)
    contend.end(signal.SIGKILL)
    os.kill(contend.postmaster, signal.SIGKILL)
    wait_for_end(contend.postmaster)
    assert contend.folder.exists()
    assert contend.segment in segments()
    with Postgres(folder=warm_place).serve():
        assert not contend.folder.exists()
        assert contend.segment not in segments()


def test_reaping_stops_a_server_that_outlived_its_keeper(warm_place: Path) -> None:
    with Postgres(folder=warm_place).serve():
        (folder,) = (warm_place / "runs").iterdir()
        postmaster = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        reap(folder)
        assert not running(postmaster)
        assert not folder.exists()


def test_reaping_never_kills_a_process_that_was_given_the_number_of_a_dead_postmaster(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as innocent:
        data = tmp_path / "run" / "data"
        data.mkdir(parents=True)
        (data / "postmaster.pid").write_text(f"{innocent.pid}\n{data}\n")
        reap(tmp_path / "run")
        assert not data.exists()
        assert innocent.poll() is None
        innocent.kill()


def test_a_live_run_is_never_reaped(warm_place: Path, start: Start) -> None:
    contend = start("postgres", warm_place).ready()
    with Postgres(folder=warm_place).serve() as server, psycopg.connect(contend.url) as theirs:
        assert theirs.execute("SELECT 1").fetchone() == (1,)
        with server.fresh() as url, psycopg.connect(url) as ours:
            assert ours.execute("SELECT 2").fetchone() == (2,)


def test_two_cold_starts_at_once_both_serve_and_keep_one_cluster(cold_place: Path, start: Start) -> None:
    both = [start("postgres", cold_place), start("postgres", cold_place)]
    for contend in both:
        assert contend.ready().url.startswith("postgresql://contend:")
    assert len(list((cold_place / "kept").glob("cluster-*"))) == 1
    for contend in both:
        contend.end()
    assert list((cold_place / "runs").iterdir()) == []


def test_a_contend_killed_during_initdb_leaves_nothing_that_is_mistaken_for_a_cluster(
    cold_place: Path, start: Start
) -> None:
    contend = start("postgres", cold_place)
    while not list(cold_place.glob("runs/*/template/base")):
        assert contend.process.poll() is None, "it should have been caught in initdb"
    contend.process.kill()
    contend.process.wait()
    assert list(cold_place.glob("kept/cluster-*")) == []
    assert len(list((cold_place / "runs").iterdir())) == 1
    with Postgres(folder=cold_place).serve() as server, server.fresh() as url, psycopg.connect(url):
        assert len(list((cold_place / "runs").iterdir())) == 1
    assert list((cold_place / "runs").iterdir()) == []


def test_a_kept_cluster_torn_by_a_crash_of_the_machine_is_made_anew(cold_place: Path) -> None:
    with Postgres(folder=cold_place).serve():
        pass
    (control,) = cold_place.glob("kept/cluster-*/global/pg_control")
    os.truncate(control, 100)
    with Postgres(folder=cold_place).serve() as server, server.fresh() as url, psycopg.connect(url):
        pass
    (control,) = cold_place.glob("kept/cluster-*/global/pg_control")
    assert control.stat().st_size > 100


@pytest.mark.parametrize("number", [None, signal.SIGTERM, signal.SIGKILL])
def test_a_sqlite_file_is_gone_after_contend_ends_or_at_the_next_start(
    tmp_path: Path, start: Start, number: signal.Signals | None
) -> None:
    contend = start("sqlite", tmp_path).ready()
    file = Path(contend.url.removeprefix("sqlite:///"))
    assert file.exists()
    contend.end(number)
    with Sqlite(folder=tmp_path).serve():
        assert not file.exists()
        assert len(list((tmp_path / "runs").iterdir())) == 1
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_database_left_on_a_given_server_is_dropped_by_the_next_run_and_a_live_one_is_not(
    postgres_server: PostgresServer, tmp_path: Path, start: Start
) -> None:
    killed = start("postgres", tmp_path, postgres_server.url).ready()
    alive = start("postgres", tmp_path, postgres_server.url).ready()
    killed.end(signal.SIGKILL)

    def names() -> set[str]:
        with psycopg.connect(postgres_server.url) as connection:
            return {f"/{name}" for (name,) in connection.execute("SELECT datname FROM pg_database")}

    def database(contend: Contend) -> str:
        return contend.url[contend.url.rindex("/") :]

    assert {database(killed), database(alive)} <= names()
    session = int(database(killed).split("_")[1])
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        while connection.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [session]).fetchone():
            pass  # the server is about to notice that its client is dead
    with Postgres(postgres_server.url).serve():
        assert database(killed) not in names()
        assert database(alive) in names()
    alive.end()
    assert database(alive) not in names()
