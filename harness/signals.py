"""Processes, by id: stopped and let go on, each seen to have taken it (Linux: proc(5))."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from harness.errors import FaultMissed

SECONDS: Final = 10.0  # a signal is taken within a time slice; a busy machine has long ones
_LOOK_SECONDS: Final = 0.0005
_STOPPED: Final = "Tt"
_GONE: Final = "ZX"


def state(pid: int) -> str:
    """The process's state as ps shows it: R, S, D, T (stopped), Z (dead, not yet buried); X where there is none."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    return "X"


def is_gone(pid: int) -> bool:
    """Whether the process runs no more."""
    return state(pid) in _GONE


def is_well(pid: int) -> bool:
    """Whether the process lives and is not stopped."""
    return state(pid) not in _STOPPED + _GONE


def stop(pid: int) -> None:
    """SIGSTOP a process; returns once it is stopped. Raises `FaultMissed` where it was not well, or does not stop."""
    if not is_well(pid):
        raise FaultMissed(f"Process {pid} was to be stopped and was not running (state {state(pid)}) before.")
    os.kill(pid, signal.SIGSTOP)
    _await([pid], _STOPPED, "stop")


def go_on(pids: Iterable[int]) -> None:
    """SIGCONT processes, also those that are gone meanwhile."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def tell_group(pid: int, number: int) -> None:
    """Send a signal to a process and all of the group it leads, such as the command a worker speaks for; nothing where it leads none."""
    with contextlib.suppress(ProcessLookupError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, number)


def wait_group_gone(group: int) -> None:
    """Return once no process of a process group runs any more. Raises `FaultMissed`."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            own = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[2]
            if int(own) == group:
                wait_gone([int(stat.parent.name)])


def wait_gone(pids: Iterable[int]) -> None:
    """Return once none of these processes runs any more. Raises `FaultMissed`."""
    _await(pids, _GONE, "end")


def _await(pids: Iterable[int], states: str, what: str) -> None:
    until = time.monotonic() + SECONDS
    for pid in pids:
        while state(pid) not in states:
            if time.monotonic() > until:
                raise FaultMissed(f"Process {pid} did not {what} within {SECONDS:g} s (state {state(pid)}).")
            time.sleep(_LOOK_SECONDS)
