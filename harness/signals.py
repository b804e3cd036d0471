"""Processes, by id: looked at, stopped and let go on, each seen to have taken it (Linux: proc(5); elsewhere nobody is seen)."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from harness.errors import FaultMissed

SECONDS: Final = 10.0  # a signal is taken within a time slice; a busy machine has long ones
_LOOK_SECONDS: Final = 0.0005
_STOPPED: Final = "Tt"
_GONE: Final = "ZX"


class Seen(NamedTuple):
    """A process as it stands: its `state` as ps shows it, the process that started it, its process group and its session."""

    pid: int
    state: str
    parent: int
    group: int
    session: int


def look(pid: int) -> Seen | None:
    """Look at a process; None where there is none."""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        state, *others = text.rpartition(")")[2].split()[:4]
        return Seen(pid, state, *map(int, others))
    return None


def everyone() -> Iterator[Seen]:
    """Look at every process of this machine."""
    for entry in Path("/proc").glob("[0-9]*"):
        if (seen := look(int(entry.name))) is not None:
            yield seen


def state(pid: int) -> str:
    """The process's state: R, S, D, T (stopped), Z (dead, not yet buried); X where there is none."""
    seen = look(pid)
    return "X" if seen is None else seen.state


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
    wait_gone([seen.pid for seen in everyone() if seen.group == group])


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
