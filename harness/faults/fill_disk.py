"""No room: what would make the files of the queue's tables grow is refused.

On SQLite each worker's connections may have no more pages than there are (PRAGMA max_page_count). On Postgres the tables and indexes are
moved, while workers use them, to a tablespace on a small file system in memory, which is then filled up: SQLSTATE 53100. The write-ahead
log stays where it was, so the server lives on. Mounting needs root.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import FaultMissed
from harness.faults import asking
from harness.faults.crash_server import NOT_OURS
from harness.levers import CLOSED
from harness.protocols import Site
from harness.scratch import scratch

if TYPE_CHECKING:
    import psycopg

SMALL: Final = "small"  # the tablespace, and its folder beside the server's data
SIZE: Final = "32m"
_MOVABLE: Final = """
    SELECT CASE c.relkind WHEN 'i' THEN 'INDEX' ELSE 'TABLE' END, c.oid::regclass::text
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'i') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
    ORDER BY c.relkind DESC, c.oid
"""
_TRIES: Final = 20  # of moving one, which may meet a worker in a deadlock


class FillDisk:
    """The fault `fill-disk`."""

    name = "fill-disk"
    kind = "fill"
    story = "No file of the queue's tables can grow any more: SQLITE_FULL, or SQLSTATE 53100."
    workers = 0

    def missing(self, site: Site) -> str | None:
        """On SQLite, needs workers in whose process we are; on Postgres, a server of our own and the right to mount a file system."""
        if site.database == "sqlite":
            return CLOSED if site.closed else None
        return (NOT_OURS if not site.server.processes() else None) or unmountable()

    @contextmanager
    def strike(self, site: Site, workers: Sequence[str]) -> Iterator[None]:
        """Let nothing grow; on leaving, there is room again."""
        with self._pages(site, workers) if site.database == "sqlite" else self._tablespace(site):
            yield

    @contextmanager
    def _pages(self, site: Site, workers: Sequence[str]) -> Iterator[None]:
        try:
            for worker in workers:
                site.levers(worker).full.value = 1
            yield
        finally:
            for worker in workers:
                site.levers(worker).full.value = 0

    @contextmanager
    def _tablespace(self, site: Site) -> Iterator[None]:
        data = Path(f"/proc/{site.server.processes()[0]}/cwd").readlink()  # a postmaster works in its data folder
        with (
            _mounted(data.parent / SMALL, data.stat().st_uid) as folder,
            contextlib.closing(asking.connect(site.url)) as connection,
        ):
            connection.execute(f"CREATE TABLESPACE {SMALL} LOCATION '{folder}'".encode())
            try:
                _move(connection, SMALL)
                _fill(folder)
                yield
            finally:
                (folder / "ballast").unlink(missing_ok=True)
                _move(connection, "pg_default")
                connection.execute(f"DROP TABLESPACE {SMALL}".encode())


def _move(connection: psycopg.Connection, tablespace: str) -> None:
    """Move every table and index of the database, each in a transaction of its own, so that workers are kept for a moment only."""
    import psycopg  # noqa: PLC0415  # a run on SQLite alone does not pay for it

    for kind, name in connection.execute(_MOVABLE).fetchall():
        for number in range(_TRIES):
            try:
                connection.execute(f"ALTER {kind} {name} SET TABLESPACE {tablespace}".encode())
                break
            except psycopg.errors.DeadlockDetected:
                if number == _TRIES - 1:
                    raise FaultMissed(f"{name} could not be moved beside the workers that use it.") from None


def _fill(folder: Path) -> None:
    with (folder / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(bytes(4096))
    left = os.statvfs(folder).f_bavail
    if left:
        raise FaultMissed(f"The small file system was to be full and has {left} blocks left.")


@contextmanager
def _mounted(folder: Path, owner: int) -> Iterator[Path]:
    folder.mkdir(mode=0o700)
    try:
        _run("mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700,uid={owner}", "contend", str(folder))
        try:
            yield folder
        finally:
            _run("umount", "-l", str(folder))
    finally:
        folder.rmdir()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FaultMissed(f"{' '.join(command)} failed: {done.stderr.strip() or done.returncode}")


@functools.cache
def unmountable() -> str | None:
    """Why no file system can be mounted here, or None; tried once."""
    if os.geteuid() != 0:
        return "mounting a small file system below the server needs root"
    try:
        with scratch("mount") as place, _mounted(place / SMALL, 0):
            return None
    except (FaultMissed, OSError) as error:
        return f"no file system may be mounted here ({error})"
