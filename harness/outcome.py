"""What became of an operation: it happened, it certainly did not, or nobody can tell.

The three words are Jepsen's (https://github.com/jepsen-io/jepsen, `:ok :fail :info`). An exception is `fail` only where the
table below says that the database guarantees nothing happened; whatever is not in the table is `info`. One more rule
is applied when histories are merged: a `fail` whose operation had already committed a write is `info` after all.

Sources: https://www.sqlite.org/rescode.html, https://www.postgresql.org/docs/current/errcodes-appendix.html.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Outcome = Literal["ok", "fail", "info"]

ErrorKind = Literal[
    "lock",  # another transaction holds what this one wanted: BUSY, LOCKED, lock time-out
    "deadlock",
    "serialization",  # the snapshot is stale: 40001, SQLITE_BUSY_SNAPSHOT is under lock as its message is
    "constraint",
    "pool",  # no connection of a bounded pool became free in time: nothing was asked of the database
    "connection",  # the connection was lost or refused: what was asked may have happened
    "timeout",
    "malformed",  # the system's answer broke its contract
    "refused",  # the system itself said no and that nothing happened
    "other",
]


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception, read as data: `outcome` is `fail` or `info`, `code` an engine's own name such as SQLITE_BUSY or 40P01."""

    outcome: Outcome
    kind: ErrorKind
    error_class: str
    code: str | None
    message: str


# SQLite primary result codes (the low byte of an extended code).
SQLITE_CODES: Final[dict[int, tuple[str, ErrorKind, Outcome]]] = {
    5: ("SQLITE_BUSY", "lock", "fail"),
    6: ("SQLITE_LOCKED", "lock", "fail"),
    8: ("SQLITE_READONLY", "other", "fail"),
    13: ("SQLITE_FULL", "other", "fail"),
    14: ("SQLITE_CANTOPEN", "connection", "fail"),
    19: ("SQLITE_CONSTRAINT", "constraint", "fail"),
    20: ("SQLITE_MISMATCH", "constraint", "fail"),
}

# Postgres SQLSTATEs, by full code first, then by class (the first two characters).
SQLSTATES: Final[dict[str, tuple[ErrorKind, Outcome]]] = {
    "40001": ("serialization", "fail"),
    "40P01": ("deadlock", "fail"),
    "55P03": ("lock", "fail"),
    "57014": ("timeout", "fail"),
    "40003": ("other", "info"),  # statement_completion_unknown
    "08P01": ("other", "info"),
    "22": ("constraint", "fail"),
    "23": ("constraint", "fail"),
    "25": ("other", "fail"),
    "42": ("other", "fail"),
    "53": ("connection", "fail"),
    "08": ("connection", "info"),
    "57": ("connection", "info"),
}


# Errors of pools, by the class's full name: nothing was sent, as there was no connection to send it on.
POOL_ERRORS: Final[frozenset[str]] = frozenset({"psycopg_pool.PoolTimeout", "sqlalchemy.exc.TimeoutError"})

# Errors of drivers that have no SQLSTATE when it is the connection that failed, by the class's full name: what was asked may have
# happened. Libpq then names the connection; it has the same class for what it cannot send, such as too many parameters.
# https://www.psycopg.org/psycopg3/docs/api/errors.html#sqlstate-exceptions
LOST_CONNECTIONS: Final[frozenset[str]] = frozenset(
    {"psycopg.OperationalError", "psycopg2.OperationalError", "asyncpg.exceptions.ConnectionDoesNotExistError"}
)


def sqlite_code(errorcode: int) -> tuple[str, ErrorKind, Outcome]:
    """Read an (extended) SQLite result code; an unknown one is `info`."""
    if errorcode == 517:
        return "SQLITE_BUSY_SNAPSHOT", "lock", "fail"
    return SQLITE_CODES.get(errorcode & 0xFF, (f"SQLITE_{errorcode}", "other", "info"))


def sqlstate(code: str) -> tuple[ErrorKind, Outcome]:
    """Read a five-character SQLSTATE; an unknown one is `info`."""
    return SQLSTATES.get(code) or SQLSTATES.get(code[:2]) or ("other", "info")


def kind_of(code: str | None) -> ErrorKind | None:
    """The kind of error by an engine's own name for it, such as SQLITE_BUSY_SNAPSHOT or 40P01; None: no such name is known."""
    if code is None:
        return None
    for name, kind, _ in SQLITE_CODES.values():
        if code == name or code.startswith(f"{name}_"):
            return kind
    return SQLSTATES.get(code, SQLSTATES.get(code[:2], (None, None)))[0] if len(code) == 5 else None


def classify(error: BaseException) -> Failure:
    """Read an exception raised by a system as an outcome, without importing any driver.

    Looks along `orig` (SQLAlchemy), `__cause__` and `__context__` for the first exception that carries a database's own code
    (`sqlite_errorcode`, `sqlstate`, `pgcode`). A system may also say it itself: an attribute `definite = True` means nothing happened. One
    that was read elsewhere brings its `failure`.
    """
    read = getattr(error, "failure", None)
    if isinstance(read, Failure):
        return read
    seen: list[BaseException] = []
    current: BaseException | None = error
    name = _full_name(error)
    message = str(error)[:2000]
    if getattr(error, "definite", None) is True:
        return Failure("fail", "refused", name, None, message)
    while current is not None and current not in seen:
        seen.append(current)
        if _full_name(current) in POOL_ERRORS:
            return Failure("fail", "pool", name, None, message)
        errorcode = getattr(current, "sqlite_errorcode", None)
        if isinstance(errorcode, int):
            code, kind, outcome = sqlite_code(errorcode)
            return Failure(outcome, kind, name, code, message)
        state = getattr(current, "sqlstate", None) or getattr(current, "pgcode", None)  # the latter is psycopg2's
        if isinstance(state, str):
            kind, outcome = sqlstate(state)
            return Failure(outcome, kind, name, state, message)
        original = getattr(current, "orig", None)
        current = original if isinstance(original, BaseException) else current.__cause__ or current.__context__
    kind = (
        "timeout"
        if isinstance(error, TimeoutError)
        else "connection"
        if isinstance(error, ConnectionError) or any(map(_lost_connection, seen))
        else "other"
    )
    return Failure("info", kind, name, None, message)


def _lost_connection(error: BaseException) -> bool:
    return _full_name(error) in LOST_CONNECTIONS and "connection" in str(error).lower()


def _full_name(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
