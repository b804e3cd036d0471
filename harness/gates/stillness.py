"""Processes held still from outside, by ptrace(2): where they are, for as long as we want, and none the worse for it.

Linux lets root trace any process, a user its own, or only those that descend from the tracer (Yama). A server that contend has started
is both. A process is attached to for a step or two. Whatever becomes of us, it goes on: the kernel detaches from all that a thread has
traced when it ends.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

STOP_SECONDS: Final = 2.0  # within which a process stops
_LOOKS: Final = 100  # without a pause, for one to stop
_PAUSE_SECONDS: Final = 0.0001
_TRACESYSGOOD: Final = 1
_SYSCALL_STOP: Final = signal.SIGTRAP | 0x80
_WALL: Final = 0x40000000  # also of threads, and of processes that are no children of ours
_DETACH: Final = 17
_SYSCALL: Final = 24
_SEIZE: Final = 0x4206
_INTERRUPT: Final = 0x4207
_GET_SYSCALL_INFO: Final = 0x420E
_EVENT_STOP: Final = 128
_ENTRY: Final = 1


class _SyscallInfo(ctypes.Structure):
    """`struct ptrace_syscall_info` at the entry to a system call: https://man7.org/linux/man-pages/man2/ptrace.2.html."""

    _fields_ = (
        ("op", ctypes.c_uint8),
        ("arch", ctypes.c_uint32),
        ("instruction_pointer", ctypes.c_uint64),
        ("stack_pointer", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 6),
    )


_ptrace = ctypes.CDLL(None, use_errno=True).ptrace if sys.platform == "linux" else None
if _ptrace is not None:
    _ptrace.restype = ctypes.c_long
    _ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


class Still:
    """A process that is held still; `at_signal`, where `look_for_signal` has found it. All calls must come from the thread that made it.

    Raises `OSError` where the process is gone, may not be held, or does not stop.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.at_signal = False
        self._signal = 0  # that it was about to receive when it stopped
        _ask(_SEIZE, pid, data=_TRACESYSGOOD)
        try:
            self.stop()
        except OSError:
            self.let_go()
            raise

    def let_go(self) -> None:
        """Let it go on by itself, wherever it is."""
        try:
            self._detach()
        except ProcessLookupError:  # it is not still, or is no more
            with suppress(OSError):
                self.stop()
                self._detach()

    def _detach(self) -> None:
        _ask(_DETACH, self.pid, data=self._signal)

    def go_on(self) -> None:
        """Let it go on to the next system call it enters or returns from."""
        number, self._signal = self._signal, 0
        _ask(_SYSCALL, self.pid, data=number)

    def look_for_signal(self, others: Collection[int]) -> None:
        """Where it is about to wake one of these, leave it there, `at_signal`; where it has come to another call, let it go on."""
        status = self._look()
        if status is None:
            return
        self.at_signal = os.WSTOPSIG(status) == _SYSCALL_STOP and self._entering_kill_of(others)
        if not self.at_signal:
            self.go_on()

    def stop(self) -> None:
        """Hold it still, wherever it is."""
        _ask(_INTERRUPT, self.pid)
        self.stopped()

    def stopped(self) -> None:
        """Return once it is still."""
        until = time.monotonic() + STOP_SECONDS
        looks = 0
        while self._look() is None:
            looks += 1
            if looks < _LOOKS:
                os.sched_yield()
            elif time.monotonic() < until:
                time.sleep(_PAUSE_SECONDS)
            else:
                raise TimeoutError(errno.ETIMEDOUT, f"process {self.pid} does not stop")

    def _look(self) -> int | None:
        """Give how it has stopped; None: it has not yet."""
        pid, status = os.waitpid(self.pid, _WALL | os.WNOHANG)
        if not pid:
            return None
        if not os.WIFSTOPPED(status):
            raise ProcessLookupError(errno.ESRCH, f"process {self.pid} has ended")
        number = os.WSTOPSIG(status)
        ours = number in (signal.SIGTRAP, _SYSCALL_STOP) or status >> 16 == _EVENT_STOP
        self._signal = 0 if ours else number
        return status

    def _entering_kill_of(self, others: Collection[int]) -> bool:
        """Whether it enters a call whose arguments are those of kill(2) with SIGURG, by which Postgres wakes one that sleeps."""
        info = _SyscallInfo()
        _ask(_GET_SYSCALL_INFO, self.pid, ctypes.sizeof(info), data=ctypes.addressof(info))
        return info.op == _ENTRY and info.arguments[0] in others and info.arguments[1] == signal.SIGURG


def call_of(pid: int) -> str:
    """The number of the system call a process sleeps in; `running` where it does not. Source: proc_pid_syscall(5)."""
    return Path(f"/proc/{pid}/syscall").read_text(encoding="ascii").split()[0]


def _ask(what: int, pid: int, address: int = 0, data: int = 0) -> None:
    if _ptrace is None:
        raise OSError(errno.ENOSYS, "this system cannot hold a process still")
    if _ptrace(what, pid, address, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
