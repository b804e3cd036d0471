"""Reaping: what a contend and its keeper left when both were killed is stopped and removed at the next start."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from harness.databases import keeper
from harness.databases.workspace import Workspace


def reap_abandoned(space: Workspace) -> None:
    """Reap every run folder whose owner is dead."""
    for folder in space.abandoned():
        reap(folder)


def reap(folder: Path) -> None:
    """Stop the server of an abandoned run folder, if it is certainly ours; remove the folder and its shared memory."""
    data = folder / "data"
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        pid, owner = int(lines[0]), data.stat().st_uid
    except (OSError, ValueError, IndexError):
        lines, pid, owner = [], 0, -1
    for number in (signal.SIGQUIT, signal.SIGKILL):
        if pid <= 1 or not _is_postmaster_of(pid, data):
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        _wait_until(lambda: not _is_postmaster_of(pid, data), seconds=8)  # it gives its backends 5 s
    if len(lines) > 6:
        _remove_segment(lines[6], owner)
    keeper.remove(folder)


def _is_postmaster_of(pid: int, data: Path) -> bool:
    """Whether the process `pid` is the postmaster of this data folder, not one that was given its number since."""
    if Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/cwd").readlink() == data.resolve()  # a postmaster works in its data folder
        except OSError:
            return False
    command = ["/bin/ps", "-ww", "-o", "args=", "-p", str(pid)]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"-D {data} " in listed.stdout


def _remove_segment(line: str, owner: int) -> None:
    """Remove the small System V segment a killed postmaster leaves as its interlock.

    `line` is its key and id as the postmaster noted them; `owner` must be its user, as the note may be forged.
    """

    def attached() -> str | None:
        """How many processes use it, None where it is gone; a row has key, id, mode, size, two pids, that, user."""
        with contextlib.suppress(OSError):
            for row in Path("/proc/sysvipc/shm").read_text(encoding="utf-8").splitlines():
                columns = row.split()
                if columns[:2] == line.split() and columns[7] == str(owner):
                    return columns[6]
        return None

    # The last backends leave when they notice that their postmaster is gone.
    _wait_until(lambda: attached() in (None, "0"), seconds=5)
    if attached() == "0":
        ctypes.CDLL(None).shmctl(int(line.split()[1]), 0, None)  # 0 is IPC_RMID


def _wait_until(true: Callable[[], bool], *, seconds: float) -> None:
    limit = time.monotonic() + seconds
    while not true() and time.monotonic() < limit:
        time.sleep(0.01)
