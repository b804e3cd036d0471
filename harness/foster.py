"""Foster: what a worker leaves behind becomes a child of the server that workers are forked from, and is ended there.

The kernel gives the children of a dead process to its nearest ancestor that asks for them (Linux, prctl(2) PR_SET_CHILD_SUBREAPER).
The server asks as it imports this module, before it forks (`serve`), so no process that a system under test starts gets away from the
run, whatever session or group it goes to. Elsewhere than on Linux only a worker's own group is ended.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import signal
import sys
import time
import warnings
from collections.abc import Collection
from types import TracebackType
from typing import Final

from harness import signals

PR_SET_CHILD_SUBREAPER: Final = 36
END_SECONDS: Final = 5.0  # a killed process is gone within a time slice
LOOK_SECONDS: Final = 0.002


def serve() -> None:
    """Be the server: take in what workers leave, and end it with ourselves; what they cannot say to anybody, they do not say."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    warnings.filterwarnings("ignore", "forkserver: waitpid returned unexpected pid")  # one that we took in
    us = os.getpid()
    atexit.register(_end, us)
    sys.excepthook = _said


def _end(server: int) -> None:
    """End all that is left; not in a worker, which has this from the server it was forked from."""
    if os.getpid() == server:
        end_children(server, ())


def _said(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say what ended a worker before it came up, but not that its coordinator was gone before it had said what to do."""
    if not issubclass(kind, EOFError | ConnectionError):
        sys.__excepthook__(kind, error, trace)


def end_children(server: int, living: Collection[int]) -> None:
    """Kill every process the server has taken in, and what that started; its workers that are `living` are left alone.

    One that it forked itself is still in its session, or leads one of its own; those belong to whoever had it forked.
    """
    until = time.monotonic() + END_SECONDS
    while (strays := _strays(server, living)) and time.monotonic() < until:
        for pid in strays:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(LOOK_SECONDS)


def _strays(server: int, living: Collection[int]) -> list[int]:
    """The server's children that are neither living workers nor dead; those of its own session only where it ends itself."""
    ending = server == os.getpid()
    session = os.getsid(server)
    return [
        seen.pid
        for seen in signals.everyone()
        if seen.parent == server
        and seen.state != "Z"
        and (ending or seen.session != session)
        and seen.pid not in living
    ]
