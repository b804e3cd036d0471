"""Every error contend raises, on one page: what happened, then what to do.

The command line prints the message and leaves with `exit_status`; a traceback is shown only with `--debug`.
"""

from __future__ import annotations

import sqlite3
import sys


class ContendError(Exception):
    """Something in contend itself went wrong; please report it with the bundle."""

    exit_status = 255


class UsageError(ContendError):
    """What was asked for cannot be done as asked; the message names the word that is wrong and the right ones."""

    exit_status = 254


class UnknownName(UsageError):
    """A scenario, system, database, invariant or option has no such name."""

    def __init__(self, kind: str, name: str, known: list[str]) -> None:
        """`kind` is the sort of thing looked for; `known` are the names that would have worked."""
        super().__init__(f"There is no {kind} named {name!r}. Known: {', '.join(known) or 'none'}.")


class SystemUnusable(UsageError):
    """A system under test cannot be loaded, built or joined to a scenario; the message lists every fault found."""


class DatabaseUnavailable(UsageError):
    """A database server cannot be started or reached; the message says which binaries or URL were tried."""


class BundleUnreadable(UsageError):
    """A folder given as a bundle is not one, is truncated, or was written by a newer contend."""


class BaselineUnreadable(UsageError):
    """A file given as the gate's baseline is not there, is damaged or empty, or was written with another schema."""


class TimesUnreadable(UsageError):
    """A file given as a comparison of times is not one; the message names the value that is wrong."""


class OutputUnwritable(UsageError):
    """The output folder cannot be written: it is read-only, full or not a folder. Choose another with `--out`."""


class MalformedAnswer(ContendError):
    """A system answered with something its contract does not allow.

    It ends the run as inconclusive (exit 2): the answer is quoted with what was expected. What was recorded before is kept.
    """

    exit_status = 2


class ProtocolBroken(MalformedAnswer):
    """A command said something else than the answer it was to give, or nothing; see docs/any-language.md."""


class RunAbandoned(ContendError):
    """A run could not be carried through; the verdict is inconclusive. The message names the process and what it said."""

    exit_status = 2


class FaultMissed(RunAbandoned):
    """A fault did not take hold, or what it was to harm was not well before; the message names the fault and what was seen."""


class InvariantBroken(ContendError):
    """An invariant's own SQL could not be run over the history; the verdict is inconclusive, never a pass."""

    exit_status = 2


class HistoryDamaged(ContendError):
    """A process or the witness recorded something that is not part of a history; the message names file and line.

    It ends the run as inconclusive (exit 2): a history that cannot be read in full must never pass. The files are kept as they are.
    """

    exit_status = 2


def is_of_database(error: Exception) -> bool:
    """Whether a driver raised it where contend itself uses a database, as on a disk that is full; a system's are outcomes."""
    psycopg = sys.modules.get("psycopg")  # a run on SQLite alone does not import it
    return isinstance(error, sqlite3.Error) or (psycopg is not None and isinstance(error, psycopg.Error))


def said_by_database(error: Exception) -> str:
    """Say in one sentence what it said."""
    said = str(error).splitlines() or [type(error).__name__]
    return f"The database of this run could not be used: {said[0].rstrip('.')}. See that its disk has room and its server runs."
