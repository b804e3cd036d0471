"""The keeper: a small process that starts one server, outlives contend, and leaves nothing behind.

Run by path with an isolated interpreter, so it needs only the standard library and no package around it. It is told
what to do by one JSON object as its argument, and holds the lock of the run's folder (an inherited descriptor):

    {"folder": "…", "command": ["…/postgres", …], "user": 65534 | null, "group": 65534 | null, "environment": {…}}

It says on its standard output when the server ended by itself or could not be run. When its standard input ends, which
the kernel sees to however contend dies, it stops the server, removes the folder and leaves.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Signals of the postmaster with the seconds each may take: fast shutdown, immediate shutdown, and the last resort.
# Source: https://www.postgresql.org/docs/current/server-shutdown.html
SHUTDOWN = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 8.0), (signal.SIGKILL, 5.0))
PR_SET_PDEATHSIG = 1


def keep(order: dict[str, Any], lock: int) -> subprocess.Popen[bytes]:
    """Start a keeper with its order and a copy of the lock on its run's folder.

    It says on its standard output what went wrong; it ends when its standard input does.
    """
    return subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, json.dumps(order)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd="/",
        pass_fds=(lock,),
        start_new_session=True,  # the terminal's Ctrl-C is for us; we stop the server in our own time
    )


def main() -> None:
    """Keep one server, as told by the first argument, until standard input ends or SIGTERM comes."""
    order: dict[str, Any] = json.loads(sys.argv[1])
    folder = Path(order["folder"])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with _kept(order, folder):
            os.read(0, 1)
    finally:
        remove(folder)


@contextlib.contextmanager
def _kept(order: dict[str, Any], folder: Path) -> Iterator[None]:
    """Run the server; on leaving it has ended."""
    try:
        server = _start(order, folder)
    except (OSError, subprocess.SubprocessError) as error:
        _tell(f"{order['command'][0]} could not be run: {error}")
        yield
        return
    watcher = threading.Thread(target=lambda: _tell(f"it ended with status {server.wait()}"), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        _wake(server.pid)
        for number, seconds in SHUTDOWN:
            server.send_signal(number)
            watcher.join(seconds)
            if not watcher.is_alive():
                break


def _wake(pid: int) -> None:
    """Let a server and its children go on, where a run that stopped them ended without letting them: else they take no signal."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
            if parent == pid or stat.parent.name == str(pid):
                os.kill(int(stat.parent.name), signal.SIGCONT)


def remove(folder: Path) -> None:
    """Remove a run's folder and its socket folder, where that lies elsewhere; what is already gone is no matter.

    A postmaster that was killed leaves its shared memory besides. Backends that outlive it for a moment may still write, so it is tried
    again for up to 5 seconds.
    """
    _remove_segment(folder / "data")
    if (folder / "small").is_mount():  # of the fault `fill-disk`, where a run ended without healing it
        with contextlib.suppress(OSError):
            subprocess.run(["umount", "-l", str(folder / "small")], capture_output=True, check=False)  # noqa: S607  # root's own PATH
    socket = folder / "socket"
    if socket.is_symlink():
        shutil.rmtree(socket.readlink(), ignore_errors=True)
    limit = time.monotonic() + 5
    while folder.exists() and time.monotonic() < limit:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_segment(data: Path) -> None:
    """Remove the small System V segment a killed postmaster leaves as its interlock, if its data folder tells of one.

    It notes key and id in its seventh line; the owner must be the folder's, as the note may be forged.
    """
    try:
        note = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()[6].split()
        owner, number = str(data.stat().st_uid), int(note[1])
    except (OSError, ValueError, IndexError):
        return

    def attached() -> str | None:
        """How many processes use it, None where it is gone; a row has key, id, mode, size, two pids, that, user."""
        with contextlib.suppress(OSError):
            for row in Path("/proc/sysvipc/shm").read_text(encoding="utf-8").splitlines():
                columns = row.split()
                if columns[:2] == note and columns[7] == owner:
                    return columns[6]
        return None

    # The last backends leave when they notice that their postmaster is gone.
    wait_until(lambda: attached() in (None, "0"), seconds=5)
    if attached() == "0":
        ctypes.CDLL(None).shmctl(number, 0, None)  # 0 is IPC_RMID


def wait_until(true: Callable[[], bool], *, seconds: float) -> None:
    """Wait for a state, for so long at most."""
    limit = time.monotonic() + seconds
    while not true() and time.monotonic() < limit:
        time.sleep(0.01)


def _start(order: dict[str, Any], folder: Path) -> subprocess.Popen[bytes]:
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    group = order["group"]
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def die_with_keeper() -> None:
        # Runs after the change of user, which would have cleared it. A shell's background job ignores SIGQUIT, and would hand that on.
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)

    try:
        return subprocess.Popen(
            order["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=order["environment"],
            user=order["user"],
            group=group,
            extra_groups=None if group is None else [],
            umask=0o077,
            preexec_fn=die_with_keeper,  # noqa: PLW1509  # this process has no other thread yet
        )
    finally:
        os.close(log)


def _tell(what: str) -> None:
    with contextlib.suppress(OSError):  # contend may be gone
        os.write(1, f"{what}\n".encode())


if __name__ == "__main__":
    main()
