"""Where our own servers live: a folder nobody else can write to, with a private folder per run and what may be kept.

<root>/runs/<name>/    one run; who holds the lock on its file `lock` owns it, and the kernel lets go for the dead
<root>/kept/<name>/    made once, whole or not there at all, shared by all runs: programs, initialised clusters
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.errors import DatabaseUnavailable
from harness.scratch import own

# Root's own cache lies under /root, where the unprivileged user its server runs as cannot go.
ROOT_CACHE: Final = Path("/var/cache")
LOCK: Final = "lock"


@dataclass(frozen=True, slots=True)
class Run:
    """A private folder of one run, owned as long as `lock`, or a copy of this descriptor, is open in any process."""

    folder: Path
    lock: int


@dataclass(frozen=True, slots=True)
class Workspace:
    """A root folder that is ours alone to write."""

    root: Path

    @property
    def runs(self) -> Path:
        """The folder of the runs."""
        return self.root / "runs"

    def kept(self, name: str) -> Path:
        """Where the thing kept under `name` is, or would be."""
        return self.root / "kept" / name

    def claim(self) -> Run:
        """Make a new run folder and own it."""
        while True:
            folder = Path(tempfile.mkdtemp(prefix="", dir=self.runs))
            try:
                lock = own(folder / LOCK, wait=True)
            except OSError:
                folder.rmdir()
                raise
            if lock is not None:
                return Run(folder, lock)

    def abandoned(self) -> Iterator[Path]:
        """Give every run folder whose owner is dead; each is owned by the caller while it has it."""
        for folder in sorted(self.runs.iterdir()):
            lock = None
            with contextlib.suppress(OSError):
                lock = own(folder / LOCK, wait=False)
            if lock is not None:
                try:
                    yield folder
                finally:
                    os.close(lock)

    def keep(self, made: Path, name: str) -> Path:
        """Keep the folder `made` (in a run) under `name`. It is on the disk before it gets its name: all or nothing.

        Where another run kept the same thing first, theirs stays.
        """
        place = self.kept(name)
        for folder, _, files in os.walk(made):
            for file in files:
                _sync(Path(folder, file))
            _sync(Path(folder))
        with contextlib.suppress(OSError):
            made.rename(place)
        if not place.is_dir():
            raise DatabaseUnavailable(
                f"{place} could not be made from {made}. Is something else in its place? Remove it."
            )
        _sync(place.parent)
        return place


def open_workspace(folder: Path | None = None, *, passed_by_server: bool = False) -> Workspace:
    """Open the workspace in `folder`, by default the machine's cache for root and the user's own for anybody else.

    Others can pass through root's (never list or write it), as a server run by an unprivileged user must;
    `passed_by_server` asks for a place it can get to. Where the cache cannot be used, a folder in the temporary
    directory stands in. Raises `DatabaseUnavailable`, saying what is wrong with each.
    """
    mode = 0o711 if os.geteuid() == 0 else 0o700
    wrong: list[str] = []
    for root in [folder] if folder else _candidates():
        try:
            root.parent.mkdir(parents=True, exist_ok=True)
            _make(root, mode)
            problem = _distrust(root, passed_by_server=passed_by_server)
            if problem is None:
                _make(root / "runs", mode)
                _make(root / "kept", mode)
                return Workspace(root)
        except OSError as error:
            problem = error.strerror or str(error)
        wrong.append(f"{root} ({problem})")
    raise DatabaseUnavailable(
        f"There is no private folder for a Postgres server of our own. Tried: {'; '.join(wrong)}. "
        "Set XDG_CACHE_HOME to a folder you own, or give a server with `--database postgresql://…`."
    )


def _candidates() -> list[Path]:
    uid = os.geteuid()
    places = [Path(tempfile.gettempdir()) / f"contend-{uid}"]
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    with contextlib.suppress(RuntimeError):  # a user without a home
        cache = ROOT_CACHE if uid == 0 else given if given.is_absolute() else Path.home() / ".cache"
        places.insert(0, cache / "contend")
    return places


def _make(folder: Path, mode: int) -> None:
    """Make `folder` with exactly this mode, whatever the umask; one that is there already is left as it is."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(mode)


def _distrust(root: Path, *, passed_by_server: bool) -> str | None:
    """Say why `root` cannot be trusted, or None. In a world-writable place anybody may have made it before us."""
    facts = root.lstat()
    if not stat.S_ISDIR(facts.st_mode):
        return "not a folder"
    if facts.st_uid != os.geteuid():
        return f"it belongs to user {facts.st_uid}, not to us"
    if facts.st_mode & 0o022:
        return "others may write to it"
    if passed_by_server:
        for parent in (root, *root.resolve().parents):
            if not parent.stat().st_mode & 0o001:
                return f"the unprivileged server user cannot pass through {parent}"
    return None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
