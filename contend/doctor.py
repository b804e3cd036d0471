"""What `contend doctor` looks at: whether everything a run needs is on this machine, or whether a system answers as it must."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.command import PREFIX
from harness.databases import choose
from harness.errors import ContendError, SystemUnusable, UsageError
from harness.processes import CONTEXT, Birth, Crew, Source
from harness.processes import examine as examine_system
from harness.protocols import OPTIONAL
from harness.run import Subject
from harness.scratch import scratch
from scenarios import answering, systems

ASK_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: whether it is as it must be (None: it need not be there), what was found, what to do where it is not."""

    name: str
    ok: bool | None
    found: str
    remedy: str = ""
    database: str = ""


def consult(name: str, specs: Sequence[str]) -> list[Check]:
    """Ask a system for one of everything, on each of these databases that it runs on, an empty one of its own.

    Raises `UsageError` where it cannot be started, or runs on none of them.
    """
    found = systems.find(name, specs)
    chosen = {(engine := choose(spec)).name: engine for spec in specs}
    subjects = {name: subject for name, subject in found.items() if name in chosen}
    if not subjects:
        raise UsageError(f"{name} runs on {' and '.join(found) or 'another database'}, not on {' or '.join(chosen)}.")
    checks: list[Check] = []
    for database, subject in subjects.items():
        with chosen[database].serve() as server, server.fresh() as url:
            checks += [replace(check, database=database) for check in _asked(subject, url)]
    return checks


def _asked(subject: Subject, url: str) -> list[Check]:
    promise = subject.promise
    with (
        scratch("doctor") as folder,
        Crew(folder) as crew,
    ):
        tally = CONTEXT.RawArray("q", 1)
        crew.start(Birth("doctor", "worker", subject.source, url, {}, crew.folder, None, 0, tally, 0))
        (answer,) = crew.tell(["doctor"], None, within=ASK_SECONDS)
        if answer.unusable:
            raise SystemUnusable(answer.problem)
        if not answer.problem:
            (answer,) = crew.tell(
                ["doctor"],
                answering.ask_everything,
                within=ASK_SECONDS,
                ordered=promise.ordered,
                exclusive=promise.semantics != "at-least-once",
            )
            crew.end(["doctor"])
    if answer.problem:
        return [Check("answers", ok=False, found=answer.problem.removeprefix("doctor: "))]
    lease = "no leases" if promise.lease_seconds is None else f"leases of {promise.lease_seconds:g} s"
    most = "any number of workers" if promise.max_workers is None else f"at most {promise.max_workers} workers"
    order = "ordered" if promise.ordered else "in no order"
    first = "hello" if subject.name.startswith(PREFIX) else "promise"
    rows = [Check(first, ok=True, found=f"{promise.semantics}, {order}, {lease}, {most}")]
    rows += [Check(name, ok, seen) for name, ok, seen in answer.value]
    missing = [name for name in OPTIONAL if name not in promise.capabilities and name in answering.UNLOCKS]
    return rows + [Check(name, ok=None, found=f"not offered; it is for {answering.UNLOCKS[name]}") for name in missing]


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
