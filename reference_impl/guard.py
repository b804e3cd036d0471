"""One process at a time on a SQLite file: a second is refused by name; the kernel frees the place of one that died.

The place is a POSIX record lock (`fcntl`) on a side file. Of the kinds of lock it is the one that belongs to a
process: the kernel drops it at any death and names its holder to whoever asks, and a forked child does not inherit it
(an flock would live on in the child, and in every grandchild). Its one weakness, that closing *any* descriptor of the
file drops it, is met by opening the side file once per process.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import struct
import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

# Types in /proc/self/mountinfo under which another machine may use the file: no lock taken here keeps it out.
NETWORK_FILE_SYSTEMS: Final = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.ceph",
        "fuse.glusterfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "smb3",
        "smbfs",
    }
)
MOUNTINFO: Final = Path("/proc/self/mountinfo")  # see proc(5)
_TRIES: Final = 100  # a holder may let go between our try and our question, but not for ever
_FLOCK: Final = "hhqqi"  # Linux: l_type, l_whence, l_start, l_len, l_pid


class GuardError(RuntimeError):
    """The guard said no, before anything was done to the database (`definite`)."""

    definite = True


class WorkerRefused(GuardError):
    """Another process holds the file, or this one no longer does. `pid` is the holder's, None where it is not known."""

    def __init__(self, message: str, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class NetworkFileSystem(GuardError):
    """The file is on a file system shared with other machines, where no lock of this one keeps them out."""


class GuardUnavailable(GuardError):
    """The side file cannot be made or locked, so nothing can be promised."""


@dataclass(slots=True)
class _Hold:
    """This process's lock on one side file, and how many guards share it."""

    descriptor: int
    guards: int = 0


_holds: dict[Path, _Hold] = {}
_lock = threading.Lock()


def _forget_parent() -> None:
    """In a forked child: the locks stayed with the parent, so drop what remembers them."""
    global _lock  # noqa: PLW0603  # another thread of the parent may have held it at the fork
    _lock = threading.Lock()
    for hold in _holds.values():
        os.close(hold.descriptor)
    _holds.clear()


os.register_at_fork(after_in_child=_forget_parent)


class WorkerGuard:
    """The right to be the one process that works on the SQLite file `database`, which need not exist yet.

    Threads and further guards of the holding process share it; the place is free when the last of them lets go, or the
    process dies. However the file is named (a relative path, a symbolic link), it is the same file. A side file
    `<database>-worker` is made beside it and stays: removing it would let two processes lock two files of one name.
    """

    def __init__(self, database: str | os.PathLike[str]) -> None:
        self.database = Path(os.path.realpath(database))
        self.side_file = self.database.with_name(self.database.name + "-worker")
        self._hold: _Hold | None = None

    @property
    def held(self) -> bool:
        """Whether this guard, in this process, holds the place; never in a forked child."""
        return self._hold is not None and _holds.get(self.side_file) is self._hold

    def acquire(self) -> None:
        """Take the place. Taking what this guard already holds is harmless.

        Raises `WorkerRefused` where another process holds it, `NetworkFileSystem` where a lock would not keep other
        machines out, `GuardUnavailable` where the side file cannot be used. Never waits.
        """
        with _lock:
            if self.held:
                return
            hold = _holds.get(self.side_file)
            if hold is None:
                self._refuse_network()
                hold = _holds[self.side_file] = _Hold(self._lock_side_file())
            hold.guards += 1
            self._hold = hold

    def release(self) -> None:
        """Let go. Letting go of what is not held, or not in this process, is harmless."""
        with _lock:
            if self.held and self._hold is not None:
                self._hold.guards -= 1
                if self._hold.guards == 0:
                    os.close(_holds.pop(self.side_file).descriptor)
            self._hold = None

    def require(self) -> None:
        """Raise `WorkerRefused` unless this guard, in this process, holds the place."""
        if not self.held:
            raise WorkerRefused(
                f"Process {os.getpid()} does not hold the worker's place on {self.database}: it let go of it, or "
                "was forked from the process that holds it. Make the queue anew in this process."
            )

    def __enter__(self) -> WorkerGuard:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _refuse_network(self) -> None:
        try:
            mountinfo = MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return  # no such list on this platform: nothing can be recognised
        kind = file_system_of(self.side_file, mountinfo)
        if kind in NETWORK_FILE_SYSTEMS:
            raise NetworkFileSystem(
                f"{self.database} is on a network file system ({kind}), where no lock keeps other machines out and "
                "SQLite itself is not safe. Move it to a local disk, or use a database server."
            )

    def _lock_side_file(self) -> int:
        """Give a descriptor that holds the lock; none stays open where it cannot be had."""
        try:
            with ExitStack() as undo:
                descriptor = os.open(
                    self.side_file, os.O_RDWR | os.O_CREAT, 0o666
                )  # not inherited by programs (PEP 446)
                undo.callback(os.close, descriptor)
                self._lock(descriptor)
                undo.pop_all()
        except OSError as error:
            raise GuardUnavailable(
                f"The worker's place on {self.database} cannot be taken: {error}. "
                "The folder must exist and this user be allowed to write there."
            ) from error
        return descriptor

    def _lock(self, descriptor: int) -> None:
        holder = None
        for _ in range(_TRIES):
            if _lock_now(descriptor):
                return
            holder = _holder(descriptor)
            if holder != 0:  # 0: it let go in between
                break
        who = f"process {holder}" if holder else "a process that this one cannot see"
        raise WorkerRefused(
            f"{self.database} already has its worker: {who}. This queue admits one process at a time. Stop that one "
            "first, or choose a queue that admits several.",
            holder or None,
        )


def _lock_now(descriptor: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise
    return True


def _holder(descriptor: int) -> int | None:
    """The pid of the process that holds the lock, 0 where none does any more, None where it cannot be known."""
    if not sys.platform.startswith("linux"):
        return None
    answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    kind, _, _, _, pid = struct.unpack(_FLOCK, answer)
    if kind == fcntl.F_UNLCK:
        return 0
    return pid if pid > 0 else None  # a holder in another pid namespace has none here


def file_system_of(path: Path, mountinfo: str) -> str | None:
    """The type of the file system that holds an absolute path, by a text in the form of /proc/self/mountinfo (proc(5)).

    None where no line covers the path.
    """
    best: tuple[int, str] | None = None
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:
            continue
        mount = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4]))
        depth = len(mount.parts)
        # The later of two mounts on one place hides the earlier.
        if path.is_relative_to(mount) and (best is None or depth >= best[0]):
            best = depth, after.split(" ")[0]
    return best[1] if best else None
