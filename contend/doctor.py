"""What `contend doctor` looks at: whether everything a run needs is on this machine."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from harness.databases import choose
from harness.errors import ContendError
from harness.processes import Source
from harness.processes import examine as examine_system
from harness.scratch import scratch


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: whether it is as it must be, what was found, and what to do where it is not."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def examine() -> list[Check]:
    """Look at everything; each check is made whatever the others found."""
    return [_python(), _cores(), _space(), _processes(), _sqlite(), _postgres()]


def _python() -> Check:
    return Check("python", sys.version_info >= (3, 11), platform.python_version(), "Install Python 3.11 or later.")


def _cores() -> Check:
    cores = os.cpu_count() or 1
    return Check("cores", cores >= 2, f"{cores}", "With one core workers seldom overlap: raise --jobs.")


def _space() -> Check:
    folder = Path(tempfile.gettempdir())
    free = shutil.disk_usage(folder).free // 2**20
    return Check("space", free > 500, f"{free:,} MiB free for databases", "Free some space or set TMPDIR.")


def _processes() -> Check:
    started = time.monotonic()
    try:
        with scratch("doctor") as folder:
            examine_system(
                Source("module", "reference_impl.sqlite", "ImmediateBatch", "reference:immediate-batch"), folder
            )
    except ContendError as error:
        return Check("processes", ok=False, found=str(error), remedy="See that this user may start processes.")
    return Check("processes", ok=True, found=f"a worker starts in {time.monotonic() - started:.2f} s")


def _sqlite() -> Check:
    version = sqlite3.sqlite_version
    return Check(
        "sqlite",
        sqlite3.sqlite_version_info >= (3, 35),
        version,
        "SQLite 3.35 brought RETURNING: use a newer Python build.",
    )


def _postgres() -> Check:
    started = time.monotonic()
    try:
        with choose("postgres").serve() as server, server.fresh():
            found = server.conditions()
    except ContendError as error:
        return Check("postgres", ok=False, found=str(error), remedy="Or run with --database sqlite only.")
    return Check(
        "postgres",
        ok=True,
        found=f"{found['version']} ({found.get('binaries', '')}) starts in {time.monotonic() - started:.2f} s",
    )
