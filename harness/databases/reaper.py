"""Reaping: what a contend and its keeper left when both were killed is stopped and removed at the next start."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
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
        pid = int((data / "postmaster.pid").read_text(encoding="utf-8").split()[0])
    except (OSError, ValueError, IndexError):
        pid = 0
    for number in (signal.SIGQUIT, signal.SIGKILL):
        if pid <= 1 or not _is_postmaster_of(pid, data):
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        keeper.wait_until(lambda: not _is_postmaster_of(pid, data), seconds=8)  # it gives its backends 5 s
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
