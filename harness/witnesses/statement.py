"""One statement as a witness saw it, and the file it goes to."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from harness.history import StatementKind
from harness.outcome import ErrorKind

UNSEEN: Final = 74  # the exit status of a process that nobody sees any more; sysexits.h calls it EX_IOERR


@dataclass(slots=True)
class Statement:
    """What the database saw of one statement; `harness.history` says what each field means.

    Filled in while the statement runs, and written when it has ended: `t0` and `t1` are CLOCK_MONOTONIC nanoseconds. `sql`, with its
    values, is for whoever explores, and never written.
    """

    connection: int
    t0: int
    kind: StatementKind
    shape: str
    t1: int = 0
    trips: int = 0
    commits: bool = False
    error: tuple[ErrorKind, str | None] | None = None
    sql: str = ""
    schedule: int = 0


def append(descriptor: int, lines: bytes) -> None:
    """Write it all. Raises `OSError` where the disk is full."""
    written = os.write(descriptor, lines)
    while written < len(lines):  # a nearly full disk or a signal may cut a write short
        written += os.write(descriptor, lines[written:])


def append_inside(descriptor: int, lines: bytes) -> None:
    """Write it all from a call of a system under test, or end the process.

    The system must not take our error for its database's, nor go on unseen: what it was at is of unknown outcome.
    """
    try:
        append(descriptor, lines)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.write(2, f"What the witness saw could not be written: {error}.\n".encode())
        os._exit(UNSEEN)


class StatementFile:
    """Appends the statements of one process to `folder/<process>.ndjson`, whole lines at a time with `write(2)`.

    Several threads may write at once. What is written survives the death of the process.
    """

    def __init__(self, folder: Path, process: str, *, inside: bool = False) -> None:
        """`inside` says that it is written from the calls of a system under test."""
        folder.mkdir(parents=True, exist_ok=True)
        self._process = process
        self._append = append_inside if inside else append
        self._fd = os.open(folder / f"{process}.ndjson", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def write(self, statements: Iterable[Statement]) -> None:
        """Append statements, in this order, with one write. Raises `OSError` where the disk is full; inside, the process ends."""
        lines = b"".join(orjson.dumps(self._line(s), option=orjson.OPT_APPEND_NEWLINE) for s in statements)
        self._append(self._fd, lines)

    def close(self) -> None:
        """Close the file; nothing can be written any more."""
        os.close(self._fd)

    def _line(self, seen: Statement) -> dict[str, object]:
        line: dict[str, object] = {
            "process": self._process,
            "connection": seen.connection,
            "t0": seen.t0,
            "t1": seen.t1,
            "kind": seen.kind,
            "shape": seen.shape,
            "trips": seen.trips,
            "commits": seen.commits,
        }
        if seen.schedule:
            line["schedule"] = seen.schedule
        if seen.error is not None:
            line["error"] = {"kind": seen.error[0], "code": seen.error[1]}
        return line
