"""Scratch: folders that are gone when their owner is done with them, or, where it was killed, at the next start.

Each holds a file that its owner has locked, and the kernel lets go for the dead. What is kept for a reader loses that file first.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LOCK: Final = "contend.lock"
NAMED: Final = re.compile(r"contend-[a-z]+-[^-]+")  # for its purpose, and a word of its own
MEMORY: Final = Path("/dev/shm")  # noqa: S108  # folders are made in it under new names, for this user alone
# Of a file system without locks: nobody is taken for dead there.
WITHOUT_LOCKS: Final = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
SHORT: Final = Path("/tmp")  # noqa: S108  # as above


@contextlib.contextmanager
def scratch(purpose: str, within: Path | None = None) -> Iterator[Path]:
    """Give a folder of ours alone in `within` or the temporary directory, gone on leaving; raises `OSError` where there can be none.

    The first call of a process reaps what the dead left in the places where we make such folders.
    """
    temporary = Path(tempfile.gettempdir())
    for place in {temporary, SHORT, MEMORY}:
        _reap_once(place)
    folder, lock = _made(within or temporary, f"contend-{purpose}-")
    try:
        yield folder
    finally:
        if (folder / LOCK).exists():
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def keep(folder: Path) -> None:
    """Have a scratch folder stay, as somebody is told where it is."""
    (folder / LOCK).unlink(missing_ok=True)


def reap(place: Path) -> None:
    """Remove the scratch folders in `place` whose owner is dead."""
    with contextlib.suppress(OSError):
        for name in os.listdir(place):  # noqa: PTH208  # names are enough, and there may be many
            if NAMED.fullmatch(name):
                with contextlib.suppress(OSError):
                    _reap(place / name)


@functools.cache
def _reap_once(place: Path) -> None:
    reap(place)


def _reap(folder: Path) -> None:
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
        return
    if not (folder / LOCK).exists() and any(folder.iterdir()):
        return  # kept
    lock = own(folder / LOCK, wait=False)
    if lock is not None:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _made(within: Path, prefix: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=within))
        try:
            lock = own(folder / LOCK, wait=True)
        except OSError:
            (folder / LOCK).unlink(
                missing_ok=True
            )  # each by its name: rmtree would want a descriptor, which may be what is lacking
            folder.rmdir()
            raise
        if lock is not None:
            return folder, lock


def own(file: Path, *, wait: bool, mode: int = 0o600) -> int | None:
    """Lock `file`, made where it is missing; None where somebody else has it, or has just removed it with its folder.

    The lock lasts as long as the descriptor that is given, or a copy of it, is open in any process. Raises `OSError` where there can be no
    such file.
    """
    try:
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Between opening and locking it may have been removed as an abandoned one.
        if os.path.samestat(os.fstat(lock), file.stat()):
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError as error:
        if wait and error.errno in WITHOUT_LOCKS:
            return lock
        os.close(lock)
        raise
    os.close(lock)
    return None
