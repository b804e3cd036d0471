"""The single-worker guard against real processes, real signals and real forks."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from harness.outcome import classify
from reference_impl import guard
from reference_impl.defects import DEFECTS
from reference_impl.guard import (
    GuardError,
    GuardUnavailable,
    NetworkFileSystem,
    WorkerGuard,
    WorkerRefused,
    file_system_of,
)
from reference_impl.sqlite import SingleWorker

ROOT = Path(__file__).parents[2]
Start = Callable[..., "subprocess.Popen[str]"]

# Says "in <pid>" or "out <pid of the holder>", then stays until its standard input closes.
CONTENDER = """
import os, sys
from reference_impl.guard import WorkerGuard, WorkerRefused
sys.stdin.readline()
try:
    WorkerGuard(sys.argv[1]).acquire()
    print("in", os.getpid(), flush=True)
except WorkerRefused as refusal:
    print("out", refusal.pid, flush=True)
sys.stdin.read()
"""

# The holder forks a child that outlives it; the child says what it thinks of the place it saw its parent take.
FORKER = """
import os, sys
from reference_impl.guard import WorkerGuard, WorkerRefused
from reference_impl.sqlite import SingleWorker
queue = SingleWorker("sqlite://" + sys.argv[1])
queue.install()
guard = WorkerGuard(sys.argv[1])
guard.acquire()
child = os.fork()
if child == 0:
    said = [os.getpid(), guard.held]
    for claims_it in (WorkerGuard(sys.argv[1]).acquire, lambda: queue.claim("w0", 1)):
        try:
            claims_it()
            said.append("admitted")
        except WorkerRefused as refusal:
            said.append(refusal.pid)
    guard.release()
    queue._guard.release()
    print(*said, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a script on a database in a process of its own; all are gone at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str, database: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(database)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def ask(start: Start, database: Path) -> list[str]:
    process = start(CONTENDER, database)
    go(process)
    return answer(process)


def test_of_twenty_processes_at_once_one_is_admitted_and_the_others_are_told_its_pid(
    start: Start, tmp_path: Path
) -> None:
    contenders = [start(CONTENDER, tmp_path / "jobs.db") for _ in range(20)]
    for contender in contenders:
        go(contender)
    answers = [answer(contender) for contender in contenders]
    (admitted,) = [pid for word, pid in answers if word == "in"]
    assert sorted(answers) == [["in", admitted]] + [["out", admitted]] * 19


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSEGV, signal.SIGHUP])
def test_the_place_of_a_holder_that_dies_of_any_signal_is_free_at_once(
    death: signal.Signals, start: Start, tmp_path: Path
) -> None:
    database = tmp_path / "jobs.db"
    holder = start(CONTENDER, database)
    go(holder)
    assert answer(holder) == ["in", str(holder.pid)]
    holder.send_signal(death)
    assert holder.wait(10) != 0
    with WorkerGuard(database) as taken:
        assert taken.held


def test_a_refusal_names_the_file_and_the_holder_and_says_what_to_do(start: Start, tmp_path: Path) -> None:
    database = tmp_path / "jobs.db"
    holder = start(CONTENDER, database)
    go(holder)
    answer(holder)
    with pytest.raises(WorkerRefused) as caught:
        SingleWorker(f"sqlite://{database}")
    assert caught.value.pid == holder.pid
    for part in (str(database), f"process {holder.pid}", "Stop that one first"):
        assert part in str(caught.value)
    failure = classify(caught.value)
    assert (failure.outcome, failure.kind) == ("fail", "refused")


def test_a_forked_child_holds_nothing_and_does_not_outlive_the_holder_s_death(start: Start, tmp_path: Path) -> None:
    database = tmp_path / "jobs.db"
    parent = start(FORKER, database)
    child, held, refused_by, inherited = answer(parent)
    try:
        assert held == "False"
        assert refused_by == str(parent.pid)  # a guard of its own
        assert inherited == "None"  # the queue it inherited: refused, as it was never its own
        assert ask(start, database) == ["out", str(parent.pid)]  # and its letting go let nobody in
        parent.kill()
        parent.wait(10)
        os.kill(int(child), 0)  # the child lives on
        with WorkerGuard(database) as taken:
            assert taken.held
    finally:
        os.kill(int(child), signal.SIGKILL)


def test_threads_and_guards_of_one_process_share_the_place_until_the_last_lets_go(start: Start, tmp_path: Path) -> None:
    database = tmp_path / "jobs.db"
    guards = [WorkerGuard(database) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(WorkerGuard.acquire, guards))
        guards[0].acquire()  # again: still one
        list(pool.map(WorkerGuard.release, guards[:7]))
    guards[0].release()  # again: nothing more to let go
    assert [one.held for one in guards] == [False] * 7 + [True]
    assert ask(start, database) == ["out", str(os.getpid())]
    guards[7].release()
    assert ask(start, database)[0] == "in"


def test_connections_of_the_holder_may_come_and_go(start: Start, tmp_path: Path) -> None:
    """Closing any descriptor of the database file drops POSIX locks on it; the guard's are on another."""
    database = tmp_path / "jobs.db"
    first = SingleWorker(f"sqlite://{database}")
    first.install()
    second = SingleWorker(f"sqlite://{database}")
    second.enqueue([{}])
    second.close()
    sqlite3.connect(database).close()
    assert ask(start, database) == ["out", str(os.getpid())]
    assert len(first.claim("w0", 1)) == 1
    first.close()
    first.close()
    with pytest.raises(WorkerRefused, match="let go of it"):
        first.claim("w0", 1)
    assert ask(start, database)[0] == "in"


def test_a_link_or_a_relative_path_is_the_same_file(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "link.db").symlink_to("real/jobs.db")
    holder = start(CONTENDER, tmp_path / "real" / "jobs.db")
    go(holder)
    answer(holder)
    monkeypatch.chdir(tmp_path / "real")
    for name in ("jobs.db", "../real/jobs.db", tmp_path / "folder" / "jobs.db", tmp_path / "link.db"):
        with pytest.raises(WorkerRefused):
            WorkerGuard(name).acquire()
    with WorkerGuard("other.db"):  # another file is another place
        pass


MOUNTS = r"""
40 27 0:50 / /srv/my\040share rw,relatime shared:7 - nfs4 server:/export rw,vers=4.2
41 40 0:51 / /srv/my\040share/local rw - tmpfs tmpfs rw
42 27 0:52 / /mnt rw - cifs //server/share rw
43 27 0:53 / /mnt rw - xfs /dev/vdb rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
a line that is none
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/jobs.db", "ext4"),
        ("/srv/jobs.db", "ext4"),
        ("/srv/my share/jobs.db", "nfs4"),
        ("/srv/my share/deep/er/jobs.db", "nfs4"),
        ("/srv/my share2/jobs.db", "ext4"),
        ("/srv/my share/local/jobs.db", "tmpfs"),
        ("/mnt/jobs.db", "xfs"),  # mounted over the cifs share
    ],
)
def test_the_file_system_of_a_path_is_that_of_its_deepest_and_latest_mount(path: str, kind: str) -> None:
    assert file_system_of(Path(path), MOUNTS) == kind
    assert file_system_of(Path(path), "") is None


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "glusterfs", "ceph"])
def test_a_file_on_a_network_file_system_is_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    monkeypatch.setattr(guard, "MOUNTINFO", mounts)
    mounts.write_text(f"1 0 0:1 / / rw - {kind} server:/x rw\n", encoding="utf-8")
    with pytest.raises(NetworkFileSystem, match=rf"network file system \({kind}\).*local disk") as caught:
        WorkerGuard(tmp_path / "jobs.db").acquire()
    assert classify(caught.value).outcome == "fail"
    mounts.write_text("1 0 0:1 / / rw - ext4 /dev/vda rw\n", encoding="utf-8")
    with WorkerGuard(tmp_path / "jobs.db") as taken:
        assert taken.held


def test_a_folder_that_is_not_there_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(GuardUnavailable, match=r"jobs\.db cannot be taken: .*No such file") as caught:
        WorkerGuard(tmp_path / "nowhere" / "jobs.db").acquire()
    assert isinstance(caught.value, GuardError)


def test_the_silent_single_worker_lets_a_second_process_in(start: Start, tmp_path: Path) -> None:
    database = tmp_path / "jobs.db"
    holder = start(CONTENDER, database)
    go(holder)
    answer(holder)
    defect = DEFECTS["silent-single-worker"].systems["sqlite"]
    assert defect.max_workers == SingleWorker.max_workers == 1
    with closing(defect(f"sqlite://{database}")) as queue:
        queue.install()
        assert len(queue.enqueue([{}])) == 1
