"""What the connection pools of a process did: when a connection was asked for, when it was got, when it was given back.

The pools of psycopg_pool and SQLAlchemy are patched as soon as somebody has imported their library; a process that imports
neither pays for neither. The file `<process>.ndjson` has one object a line; times are CLOCK_MONOTONIC nanoseconds:

    {"process":"w0","n":1,"pool":1,"size":2,"asked":10,"got":20,"ended":20,"error":null}            a connection was got
    {"process":"w0","n":2,"pool":1,"size":2,"asked":15,"got":null,"ended":25,"error":"timeout"}     or was not: timeout, other
    {"process":"w0","n":1,"returned":30}                                                 it was given back

`n` counts the acquisitions of the process in the order they ended, `pool` numbers its pools as they first occur. `size` is the
most connections the pool may hold, null where that is unbounded or unknown. `got` is taken once the pool has given the
connection and `returned` before the pool has it again, so never more than `size` of the times between them overlap. A connection
never given back has its first line only. What is written survives the death of the process; a kill may leave gaps in `n`.

Seen: each call of the library's own `getconn` or `connect`, once, whoever wraps or overrides it. Not seen: an override that does
without the library's; what a pool does by itself (filling, checking, reconnecting); a connection handed out again while it is
out (SingletonThreadPool to its own thread, StaticPool to anyone), as nothing is taken from the pool. A SQLAlchemy connection
that is detached, invalidated or collected as garbage has left its holder: it is `returned`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from inspect import iscoroutinefunction
from itertools import count
from pathlib import Path
from threading import Lock
from time import monotonic_ns
from types import ModuleType
from typing import Any, Final, Self

import orjson

from harness.witnesses.statement import append_inside

# Our marks: a pool's number, among its attributes; and (pool, n), in the notes on a connection while it is out.
_NUMBER: Final = "contend_pool"
_OUT: Final = "contend_acquisition"

_LOGS: Final[list[_Log]] = []  # the one of this process, once it is watched


def watch_pools(process: str, folder: Path) -> None:
    """Watch every pool of the calling process from now on; acquisitions are appended to `folder/<process>.ndjson`.

    Call it in a process after it was forked; called again it goes on under the new name and folder. Pools that exist already are
    watched too. Raises `OSError` where the file cannot be written; later, whoever acquires or gives back gets it.
    """
    if _LOGS:
        _LOGS[0].open(process, folder)
        return
    log = _Log(process, folder)
    _LOGS.append(log)
    waiting: dict[str, Callable[[Any], None]] = {
        "psycopg_pool": partial(_watch_psycopg_pool, log),
        # Not `sqlalchemy.pool`, which is imported on the way: until the whole package is there, nothing can be listened to.
        "sqlalchemy": partial(_watch_sqlalchemy, log),
    }
    for name in waiting.keys() & sys.modules.keys():
        waiting.pop(name)(sys.modules[name])
    sys.meta_path.insert(0, _AfterImport(waiting))


class _AfterImport(MetaPathFinder):
    """Finds what the finders after it find, and gives a module that is waited for to whom it may concern once it has run."""

    def __init__(self, waiting: dict[str, Callable[[Any], None]]) -> None:
        self._waiting = waiting

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        if fullname not in self._waiting:
            return None
        later = (x for x in sys.meta_path[sys.meta_path.index(self) + 1 :] if hasattr(x, "find_spec"))
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in later)), None)
        if spec is not None:
            self._follow(fullname, spec.loader)
        return spec

    def _follow(self, name: str, loader: Any) -> None:
        run = loader.exec_module

        @wraps(run)
        def run_and_tell(module: ModuleType) -> None:
            run(module)
            if module.__name__ == name and name in self._waiting:
                self._waiting.pop(name)(module)

        loader.exec_module = run_and_tell  # on the instance, so that the module keeps the loader it would have had


@dataclass(frozen=True, slots=True)
class _Library:
    """What we must know of a library: its timeout, the most a pool of it may hold, where a connection keeps our notes."""

    timeout: type[BaseException]
    size: Callable[[Any], int | None]
    notes: Callable[[Any], dict[str, Any] | None]


def _watch_psycopg_pool(log: _Log, psycopg_pool: Any) -> None:
    # https://www.psycopg.org/psycopg3/docs/api/pool.html: `connection()` and, with `close_returns`, a connection's
    # `close()` come down to this public pair, and so do the null pools; a `max_size` of 0, theirs only, is no limit.
    library = _Library(psycopg_pool.PoolTimeout, lambda pool: pool.max_size or None, _attributes)

    def given_back(pool: Any, conn: Any = None, *_: Any, **__: Any) -> None:  # a wrong call is the library's to refuse
        notes = _attributes(conn)
        if notes is not None and _OUT in notes and notes[_OUT][0] == vars(pool).get(_NUMBER):
            log.returned(notes)  # to another pool it cannot be given back: the library will say so

    for pools in (psycopg_pool.ConnectionPool, psycopg_pool.AsyncConnectionPool):
        pools.getconn = _watched(pools.getconn, log, library)
        pools.putconn = _preceded(pools.putconn, given_back)


def _watch_sqlalchemy(log: _Log, sqlalchemy: Any) -> None:
    library = _Library(sqlalchemy.exc.TimeoutError, _most_of_queue, lambda connection: connection.record_info)
    for pools in (sqlalchemy.pool.Pool, sqlalchemy.pool.SingletonThreadPool):  # the latter does without Pool.connect
        pools.connect = _watched(pools.connect, log, library)

    def given_back(_connection: Any, record: Any) -> None:
        log.returned(record.record_info)

    def detached(connection: Any) -> None:
        if connection.record_info is not None:  # else it was detached before
            log.returned(connection.record_info)

    # https://docs.sqlalchemy.org/en/20/core/events.html#sqlalchemy.events.PoolEvents.checkin: called on any return, with
    # no connection if that was invalidated, but not for a detached one. The event `detach` is too late for that: the
    # pool may have given the place to somebody else by then. So the one method behind every detach() is patched.
    sqlalchemy.event.listen(sqlalchemy.pool.Pool, "checkin", given_back)
    fairy = sqlalchemy.pool._ConnectionFairy
    fairy.detach = _preceded(fairy.detach, detached)


def _attributes(of: Any) -> dict[str, Any] | None:
    return getattr(of, "__dict__", None)


def _most_of_queue(pool: Any) -> int | None:
    """Give what a QueuePool may hold; its `pool_size` of 0 and `max_overflow` of -1 mean no limit. No other pool tells."""
    overflow: int = getattr(pool, "_max_overflow", -1)
    if overflow < 0 or pool.size() == 0:
        return None
    return int(pool.size()) + overflow


def _watched(get: Any, log: _Log, library: _Library) -> Any:
    """Give the method `get` of a pool so that every call is an acquisition in the log."""
    if iscoroutinefunction(get):

        @wraps(get)
        async def get_and_log(pool: Any, *args: Any, **kwargs: Any) -> Any:
            with _Acquisition(log, library, pool) as acquisition:
                return acquisition.got(await get(pool, *args, **kwargs))

    else:

        @wraps(get)
        def get_and_log(pool: Any, *args: Any, **kwargs: Any) -> Any:
            with _Acquisition(log, library, pool) as acquisition:
                return acquisition.got(get(pool, *args, **kwargs))

    return get_and_log


def _preceded(method: Any, note: Callable[..., None]) -> Any:
    """Give `method` so that `note` is called first, with the same arguments."""
    if iscoroutinefunction(method):

        @wraps(method)
        async def note_and_call(*args: Any, **kwargs: Any) -> Any:
            note(*args, **kwargs)
            return await method(*args, **kwargs)

    else:

        @wraps(method)
        def note_and_call(*args: Any, **kwargs: Any) -> Any:
            note(*args, **kwargs)
            return method(*args, **kwargs)

    return note_and_call


class _Acquisition:
    """One call for a connection, from asking to its end."""

    __slots__ = ("_asked", "_library", "_log", "_pool")

    def __init__(self, log: _Log, library: _Library, pool: Any) -> None:
        self._log, self._library, self._pool = log, library, pool
        self._asked = monotonic_ns()

    def __enter__(self) -> Self:
        return self

    def got(self, connection: Any) -> Any:
        now = monotonic_ns()
        notes = self._library.notes(connection)
        if notes is not None and _OUT not in notes:
            notes[_OUT] = self._write(now, None)
        return connection

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if error is not None:
            self._write(None, "timeout" if isinstance(error, self._library.timeout) else "other")

    def _write(self, got: int | None, error: str | None) -> tuple[int, int]:
        return self._log.ended(self._pool, self._library.size(self._pool), self._asked, got, error)


class _Log:
    """The file of one process, appended to by all its threads, whole lines at a time with `write(2)`."""

    def __init__(self, process: str, folder: Path) -> None:
        self.open(process, folder)
        self._pools, self._acquisitions = count(1), count(1)
        self._numbering = Lock()

    def open(self, process: str, folder: Path) -> None:
        """Write as `process` into `folder` from now on."""
        folder.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(folder / f"{process}.ndjson", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._process = process

    def ended(self, pool: Any, size: int | None, asked: int, got: int | None, error: str | None) -> tuple[int, int]:
        """Write that an acquisition ended; gives the numbers of the pool and of the acquisition."""
        number, n = self._number(pool), next(self._acquisitions)
        ended = monotonic_ns() if got is None else got
        self._write({"n": n, "pool": number, "size": size, "asked": asked, "got": got, "ended": ended, "error": error})
        return number, n

    def returned(self, notes: dict[str, Any]) -> None:
        """Write that the connection with these notes is given back, if it is out. Takes no lock: the collector calls too."""
        out = notes.pop(_OUT, None)
        if out is not None:
            self._write({"n": out[1], "returned": monotonic_ns()})

    def _number(self, pool: Any) -> int:
        attributes: dict[str, Any] = vars(pool)
        if _NUMBER not in attributes:
            with self._numbering:
                if _NUMBER not in attributes:
                    attributes[_NUMBER] = next(self._pools)
        number: int = attributes[_NUMBER]
        return number

    def _write(self, line: dict[str, object]) -> None:
        append_inside(self._fd, orjson.dumps({"process": self._process, **line}, option=orjson.OPT_APPEND_NEWLINE))
