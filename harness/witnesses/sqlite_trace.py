"""What SQLite saw, from inside the process that uses it: `sqlite3.connect` gives connections that are watched.

Two views are joined. The trace callback says that a statement really started, also one nobody wrote (the implicit BEGIN and
COMMIT of legacy mode). A subclass of the connection and cursor in use says how the call that ran it ended. SQLite says nothing
between the two, so a statement is over when its call returns or SQLite starts the next one.

Seen: whatever goes through `sqlite3.connect` or `sqlite3.dbapi2.connect`, hence SQLAlchemy, Django, peewee and aiosqlite too.
Not seen: a connection made by calling the class `sqlite3.Connection` itself, and other bindings such as apsw.

Where a process is explored, the same two places are its gate: the trace callback, which SQLite calls before a statement takes its
locks, holds the statement back, and the call that ran it tries again where SQLite's busy handler would have waited. The handler waits
only while the connection holds nothing (https://www.sqlite.org/c3ref/busy_handler.html), or for the end of others' reads at a COMMIT;
its time-out is ours, so that nobody waits for a lock whose holder is not going to move.
"""

from __future__ import annotations

import re
import sqlite3
import sqlite3.dbapi2
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache, partial, wraps
from itertools import chain, count
from pathlib import Path
from threading import RLock
from time import monotonic_ns
from typing import Any, ClassVar, Final

from harness.errors import UsageError
from harness.history import StatementKind
from harness.levers import Levers
from harness.outcome import ErrorKind, sqlite_code
from harness.protocols import MORE, Effect, Watching
from harness.turnstile import Turnstile
from harness.witnesses.pools import watch_pools
from harness.witnesses.shapes import kind, shape
from harness.witnesses.statement import Statement, StatementFile
from harness.witnesses.unwatched import refuse_latency

_CONNECT: Final[Callable[..., sqlite3.Connection]] = sqlite3.connect
# How many variables a statement may have where nobody asked for more. Debian builds SQLite with 250,000, which would hide a system that
# fails on every other build. Source: https://www.sqlite.org/limits.html#max_variable_number
USUAL_VARIABLES: Final = 32_766
_FACTORY_POSITION: Final = 5  # of `factory` among the positional arguments of sqlite3.connect
_COMMITS_NOTHING: Final = frozenset({"begin", "rollback", "connect"})  # kinds of statement
_BETWEEN: Final = " \t\r\n\f;"  # what may stand between two statements of a script, beside comments
_NO_TRANSACTION: Final = ("PRAGMA", "ATTACH", "DETACH")

_MOST_PAGES: Final = 4_294_967_294  # as a connection begins: https://www.sqlite.org/limits.html, 12

_USUAL_TIMEOUT: Final = 5.0  # seconds, of sqlite3.connect
_TIMEOUT_POSITION: Final = 1  # of `timeout` among its positional arguments
_BUSY_TIMEOUT: Final = re.compile(r"\s*PRAGMA\s+(?:\w+\.)?busy_timeout\s*[=(]\s*(-?\d+)", re.IGNORECASE)
_OWN_PRAGMA: Final = re.compile(  # what concerns the connection alone
    r"PRAGMA\s+(?:foreign_keys|busy_timeout|synchronous|cache_size|temp_store|mmap_size|recursive_triggers|query_only|"
    r"case_sensitive_like|defer_foreign_keys|journal_size_limit|threads|automatic_index|cell_size_check)\b",
    re.IGNORECASE,
)


class SqliteTrace:
    """The witness `sqlite-trace`; with a `turnstile` it holds statements back, too."""

    name = "sqlite-trace"

    def __init__(self, turnstile: Turnstile | None = None) -> None:
        self._turnstile = turnstile

    @contextmanager
    def watch(
        self,
        url: str,
        processes: Sequence[str],
        folder: Path,
        *,
        latency_ms: float = 0.0,
        record: bool = True,  # noqa: ARG002  # a witness's signature; where nothing is recorded, nobody calls `enter`
    ) -> Iterator[Watching]:
        """Give every process the URL as it is: SQLite is watched from inside, by `enter`. Raises `UsageError` for latency."""
        refuse_latency(self.name, latency_ms)
        folder.mkdir(parents=True, exist_ok=True)
        yield Watching(dict.fromkeys(processes, url))

    def enter(self, process: str, folder: Path, levers: Levers | None = None) -> None:
        """Watch every connection this process makes from now on. Entering again goes on under the new name and folder."""
        _WatchedConnection.contend_trace = _Trace(
            None if self._turnstile else StatementFile(folder, process, inside=True), self._turnstile, levers
        )
        sqlite3.connect = sqlite3.dbapi2.connect = _connect  # type: ignore[assignment]  # sqlite3's is overloaded
        if self._turnstile is None:
            watch_pools(process, folder.with_name("pools"))


@contextmanager
def watching(process: str, folder: Path) -> Iterator[None]:
    """Watch, in the calling process, every connection that is made while the context lasts, until it is closed; no pool is watched."""
    before = sqlite3.connect, sqlite3.dbapi2.connect
    _WatchedConnection.contend_trace = _Trace(StatementFile(folder, process), None)
    sqlite3.connect = sqlite3.dbapi2.connect = _connect  # type: ignore[assignment]  # sqlite3's is overloaded
    try:
        yield
    finally:
        sqlite3.connect, sqlite3.dbapi2.connect = before


@wraps(_CONNECT)
def _connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
    if len(args) > _FACTORY_POSITION:
        args = (*args[:_FACTORY_POSITION], _watched(args[_FACTORY_POSITION]), *args[_FACTORY_POSITION + 1 :])
    else:
        kwargs["factory"] = _watched(kwargs.get("factory", sqlite3.Connection))
    return _CONNECT(*args, **kwargs)


@dataclass(frozen=True, slots=True)
class _Trace:
    """The watch over one process."""

    file: StatementFile | None  # none where the process is explored: whoever does so is told of every statement
    turnstile: Turnstile | None
    levers: Levers | None = None
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    free: set[int] = field(
        default_factory=set
    )  # of closed connections, in an explored process: the next schedule is to say the same

    def number(self) -> int:
        """The number of a new connection."""
        if not self.free:
            return next(self.numbers)
        number = min(self.free)
        self.free.remove(number)
        return number


class _Watch:
    """The watch over one connection.

    `lock` lets one thread at a time into SQLite with it. Without, threads that share a connection hang: one in SQLite, holding its
    mutex, waits for Python to call the trace callback, another in Python waits for the mutex (seen in 1 of 3 runs of our test).
    """

    def __init__(self, trace: _Trace, number: int) -> None:
        self.trace = trace
        self.number = number
        self.lock = RLock()
        self.call: _Call | None = None  # the call that runs now
        self.users_callback: Callable[[str], object] | None = None
        self.listener = self.started  # kept: sqlite3 lets go of a callback that is exchanged while it runs
        self.listens = True
        self.holds: Effect = "local"  # what its transaction holds: whoever ends it lets go of just that
        self.attached = False  # it has more than one file
        self.kept = False  # from growing
        self.timeout = 0.0  # seconds the busy handler would wait, where we do in its place
        self.waits_itself = False  # it has its busy handler back

    def listen(self, connection: sqlite3.Connection, *, on: bool) -> None:
        """Have SQLite call us, or not.

        Each step of a trigger or of a cascading foreign key is said again, with all parameters written into the text: to delete 40,000
        rows by one JSON parameter took 15 s instead of 0.05. So once a statement is known, the rest of it is not listened to.
        """
        if on is not self.listens and self.users_callback is None:
            self.listens = on
            sqlite3.Connection.set_trace_callback(connection, self.listener if on else None)

    def started(self, text: str) -> None:
        """Take note that SQLite starts a statement; called by SQLite, in the thread that runs it."""
        if self.call is not None:
            self.call.started(text)
        else:  # set going by something that is no call of ours, such as `connection.autocommit = True`
            seen = self.begin(text, text)
            seen.t1 = seen.t0
            seen.commits = seen.kind == "commit"
            self.write(seen)
            self.ran(seen, in_transaction=seen.kind == "begin")
        if self.users_callback is not None:
            self.users_callback(text)

    def begin(self, text: str, written: str) -> Statement:
        """Hold the statement back for as long as whoever explores wants, then begin it."""
        what, form = kind(written), shape(written)
        if self.trace.turnstile is not None:
            self.trace.turnstile.statement(self.number, what, form, self.effect(what, text))
        if self.trace.levers is not None and self.call is not None and not self.call.in_transaction():
            self.trace.levers.wait_here()
        return Statement(self.number, monotonic_ns(), what, form, sql=text)

    def write(self, statement: Statement) -> None:
        if self.trace.file is not None:
            self.trace.file.write((statement,))

    def keep_from_growing(self, connection: sqlite3.Connection, *, on: bool) -> None:
        """Have the connection's file stay as large as it is (what would make it grow is SQLITE_FULL), or let it grow again.

        A limit below what the file has means what it has: https://www.sqlite.org/pragma.html#pragma_max_page_count
        """
        if on is self.kept:
            return
        with self._unheard(connection), suppress(sqlite3.Error):  # closed, or busy: the next call asks again
            sqlite3.Connection.execute(connection, f"PRAGMA max_page_count = {1 if on else _MOST_PAGES}")
            self.kept = on

    @contextmanager
    def _unheard(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Do something of our own with a connection, which is no statement of the system's."""
        with suppress(sqlite3.ProgrammingError):
            sqlite3.Connection.set_trace_callback(connection, None)
        try:
            yield
        finally:
            with suppress(sqlite3.ProgrammingError):
                sqlite3.Connection.set_trace_callback(connection, self.listener if self.listens else None)

    # Only where the process is explored:

    def effect(self, what: StatementKind, text: str) -> Effect:
        """Say what a statement that is to begin does to others: nothing, takes a snapshot or a share, takes or leaves the write lock."""
        upper = text.lstrip(_BETWEEN).upper()
        if upper.startswith(
            "ATTACH"
        ):  # each file has a lock of its own, and what is held of one says nothing of another
            self.attached = True
        if self.attached and what != "begin":
            return "write"
        if what == "begin":
            return "write" if "IMMEDIATE" in upper or "EXCLUSIVE" in upper else "local"
        if what == "read":
            return "read" if self.holds == "local" else "local"
        if what == "write":
            return "local" if self.holds == "write" else "write"
        if what in ("commit", "rollback") or upper.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK")):
            return self.holds
        return "local" if _OWN_PRAGMA.match(upper) else "write"

    def ran(self, statement: Statement, *, in_transaction: bool) -> None:
        """Note what a statement that has ended left its connection holding."""
        turnstile = self.trace.turnstile
        if turnstile is None or statement.kind == "connect":
            return
        effect = self.effect(statement.kind, statement.shape)
        refused = statement.error is not None and statement.error[0] == "lock"
        if not in_transaction:
            self.holds = "local"
        elif not refused and statement.kind in ("begin", "read", "write") and MORE[effect] > MORE[self.holds]:
            self.holds = effect
        code = None if statement.error is None else statement.error[1] or "error"
        turnstile.ran(
            self.number,
            statement.kind,
            statement.shape,
            effect,
            error=code,
            holds=self.holds != "local" and in_transaction,
            sql=statement.sql or statement.shape,
            committed_ns=statement.t1 if statement.commits and statement.error is None and effect == "write" else 0,
        )

    def attempt(self, call: _Call, function: Callable[..., Any], *args: Any) -> Any:
        """Run something of sqlite3's; again where its busy handler would have waited and whoever explores says so."""
        turnstile = self.trace.turnstile
        if turnstile is None:
            return function(*args)
        self.wait_itself(call.connection, on=turnstile.racing)
        while True:
            try:
                return function(*args)
            except sqlite3.OperationalError as error:
                if not self._waits(call, error) or not turnstile.busy():
                    raise
            call.again()

    def _waits(self, call: _Call, error: sqlite3.OperationalError) -> bool:
        busy = (
            error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            and error.sqlite_errorcode != sqlite3.SQLITE_BUSY_SNAPSHOT
        )
        ends = call.running is not None and call.running.kind == "commit"
        return busy and self.timeout > 0 and (ends or self.holds == "local")

    def wait_ourselves(self, connection: sqlite3.Connection, sql: str) -> None:
        """Take the busy time-out a PRAGMA has set for ours."""
        turnstile = self.trace.turnstile
        found = _BUSY_TIMEOUT.match(sql) if turnstile is not None else None
        if turnstile is not None and found is not None:
            self.timeout, self.waits_itself = int(found[1]) / 1000, True
            self.wait_itself(connection, on=turnstile.racing)

    def wait_itself(self, connection: sqlite3.Connection, *, on: bool) -> None:
        """Give SQLite its busy handler back, for as long as nobody is held and locks are let go of by themselves, or take it away."""
        if on is self.waits_itself:
            return
        with (
            self._unheard(connection),
            suppress(sqlite3.Error),
        ):  # closed, or not of this thread: the call itself will say so
            sqlite3.Connection.execute(connection, f"PRAGMA busy_timeout = {int(1000 * self.timeout) if on else 0}")
            self.waits_itself = on


class _Call:
    """One call of the sqlite3 module while it runs: the statements SQLite starts in it, each written when it has ended.

    A call may run within another (from a function or a generator of the user's): its statements are its own.
    """

    def __init__(self, watch: _Watch, connection: sqlite3.Connection) -> None:
        self.watch = watch
        self.connection = connection
        self.running: Statement | None = None
        self.rollback: Statement | None = None  # after `running`, which failed
        self._outer: _Call | None = None

    def __enter__(self) -> None:
        self.watch.lock.acquire()
        if self.watch.trace.levers is not None and self.watch.call is None:
            self.watch.keep_from_growing(self.connection, on=bool(self.watch.trace.levers.full.value))
        self._outer, self.watch.call = self.watch.call, self
        self._listen(on=True)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            if error is None:
                self.end()
            else:
                self.failed(error)
        finally:
            self._listen(on=True)
            self.watch.call = self._outer
            self.watch.lock.release()

    def _listen(self, *, on: bool) -> None:
        if self.watch.listens is not on:
            with suppress(sqlite3.ProgrammingError):  # it is closed
                self.watch.listen(self.connection, on=on)

    def started(self, text: str) -> None:
        """Begin a statement SQLite says it starts: the COMMIT or ROLLBACK, and the BEGIN after it where there is always one.

        `with connection:` answers a COMMIT that was refused with a ROLLBACK, and raises the error of the COMMIT after that.
        """
        if self.running is None or text.startswith("BEGIN"):
            self.run(text, text)
        elif self.rollback is None and text.startswith("ROLLBACK"):
            self.rollback = self.watch.begin(text, text)

    def run(self, text: str, written: str) -> None:
        """Begin a statement; `text` is what SQLite says it runs, `written` what its shape is read from."""
        self.end()
        self.running = self.watch.begin(text, written)

    def again(self) -> None:
        """Forget a try that SQLite refused: what it is about to say is said of the next."""
        self.running = self.rollback = None
        self._listen(on=True)

    def end(self) -> None:
        """Write the statement that ran, if any, as done."""
        statement, self.running = self.running, None
        if statement is not None:
            self.done(statement)

    def done(self, statement: Statement) -> None:
        """Write a statement that ended well."""
        statement.t1 = statement.t1 or monotonic_ns()
        in_transaction = self.in_transaction()
        statement.commits = statement.kind not in _COMMITS_NOTHING and not in_transaction
        if statement.kind == "other" and statement.shape.upper().startswith(_NO_TRANSACTION):
            statement.commits = False
        self.watch.write(statement)
        self.watch.ran(statement, in_transaction=in_transaction)

    def failed(self, error: BaseException) -> None:
        """Write the statement that ran, if any, with its error."""
        statement, self.running = self.running, None
        if statement is not None:
            statement.t1 = monotonic_ns()
            statement.error = _read_error(error)
            self.watch.write(statement)
            self.watch.ran(statement, in_transaction=self.in_transaction())
        if self.rollback is not None:
            self.done(self.rollback)

    def in_transaction(self) -> bool:
        """Whether its connection is in a transaction."""
        try:
            return self.connection.in_transaction
        except sqlite3.ProgrammingError:  # it is closed
            return False


class _Execution(_Call):
    """A call that executes one SQL text, once, or once for each set of parameters."""

    def __init__(self, watch: _Watch, connection: sqlite3.Connection, sql: str, parameters: Iterable[Any] = ()) -> None:
        super().__init__(watch, connection)
        self.sql = sql
        self.ran = False
        self.parameters = iter(parameters)
        self.given: tuple[Any, ...] = ()  # the set of parameters in use, if any

    def started(self, text: str) -> None:
        """Begin the text, or the BEGIN that legacy mode puts before it.

        SQLite says a statement again for each statement of its triggers, and when it had to prepare it anew: one INSERT with a
        trigger of two statements was said four times. So only the first counts.
        """
        if self.ran:
            self._listen(on=False)
            return
        if text.startswith("BEGIN") and kind(self.sql) != "begin":
            self.run(text, text)
        else:
            self.run(text, self.sql)
            self.ran = True

    def failed(self, error: BaseException) -> None:
        """Write what ran, or else what SQLite refused to prepare (the schema could not be read for a lock), with the error."""
        if self.running is None and not self.ran and hasattr(error, "sqlite_errorcode"):
            self.running = Statement(self.watch.number, monotonic_ns(), kind(self.sql), shape(self.sql))
        super().failed(error)

    def again(self) -> None:
        """Forget a try, and give the parameters it had to the next."""
        super().again()
        self.ran = False
        self.parameters, self.given = chain(self.given, self.parameters), ()

    def each(self) -> Iterator[Any]:
        """Hand on sets of parameters; that sqlite3 asks for the next says that the last one's statement is over."""
        for values in self.parameters:
            self.given = (values,)
            yield values
            self.given = ()
            self.end()
            self.ran = False
            self._listen(on=True)


class _Script(_Call):
    """A call that executes a script. SQLite gives a statement's part of the script: a repetition for a trigger is not the next."""

    def __init__(self, watch: _Watch, connection: sqlite3.Connection, sql: str) -> None:
        super().__init__(watch, connection)
        self.rest = sql.lstrip(_BETWEEN)

    def started(self, text: str) -> None:
        """Begin the next statement of the script, or the COMMIT that `executescript` begins with."""
        part = text.lstrip(_BETWEEN)
        if self.rest.startswith(part):
            self.rest = self.rest[len(part) :].lstrip(_BETWEEN)
        elif self.running is not None:
            return
        self.run(text, text)


class _WatchedConnection(sqlite3.Connection):
    """Sits between a user's connection class and sqlite3's own, so that both `super()` calls and overrides keep working."""

    contend_trace: ClassVar[_Trace]
    contend_watch: _Watch | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        trace = self.contend_trace
        timeout = 0.0
        if trace.turnstile is not None:
            args, kwargs, timeout = _without_timeout(args, kwargs)
        opening = Statement(trace.number(), monotonic_ns(), "connect", "")
        try:
            super().__init__(*args, **kwargs)
        except BaseException as error:
            opening.error = _read_error(error)
            raise
        finally:
            opening.t1 = monotonic_ns()
            if trace.file is not None:
                trace.file.write((opening,))
        self.contend_watch = watch = _Watch(trace, opening.connection)
        watch.timeout = timeout
        super().set_trace_callback(watch.listener)
        limit = sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER
        super().setlimit(limit, min(USUAL_VARIABLES, super().getlimit(limit)))
        if self.in_transaction:  # `autocommit=False` (Python 3.12) began before anybody could look
            watch.write(Statement(watch.number, opening.t1, "begin", "BEGIN", t1=opening.t1))

    def cursor(self, factory: Any = sqlite3.Cursor) -> Any:
        return super().cursor(_watched(factory))

    # sqlite3's own three shortcuts make a plain cursor without asking `self.cursor()`; so do these.
    def execute(self, *args: Any) -> Any:
        return _WatchedConnection.cursor(self).execute(*args)

    def executemany(self, *args: Any) -> Any:
        return _WatchedConnection.cursor(self).executemany(*args)

    def executescript(self, *args: Any) -> Any:
        return _WatchedConnection.cursor(self).executescript(*args)

    def commit(self) -> None:
        self._contend_run(super().commit)

    def rollback(self) -> None:
        self._contend_run(super().rollback)

    def close(self) -> None:
        self._contend_run(super().close)
        if self.contend_watch is not None and self.contend_trace.turnstile is not None:
            self.contend_trace.turnstile.closed(self.contend_watch.number)
            self.contend_trace.free.add(self.contend_watch.number)

    def __exit__(self, *args: Any) -> Any:
        if self.contend_trace.turnstile is not None and args and args[0] is None:
            self._contend_commit()
            return False
        return self._contend_run(super().__exit__, *args)  # sqlite3's own does not ask `self.commit()` either

    def _contend_commit(self) -> None:
        """Do as sqlite3's own `__exit__`, whose COMMIT cannot be tried again from outside: where it is refused, roll back."""
        try:
            self._contend_run(super().commit)
        except BaseException:
            self._contend_run(super().rollback)
            raise

    def set_trace_callback(self, callback: Any) -> None:
        if self.contend_watch is None:
            super().set_trace_callback(callback)
        else:
            self.contend_watch.listen(self, on=True)
            self.contend_watch.users_callback = callback

    def _contend_run(self, function: Callable[..., Any], *args: Any) -> Any:
        if self.contend_watch is None:
            return function(*args)
        call = _Call(self.contend_watch, self)
        with call:
            return self.contend_watch.attempt(call, function, *args)


class _WatchedCursor(sqlite3.Cursor):
    """As `_WatchedConnection`, for cursors.

    A write that gives rows outside a transaction (`UPDATE … RETURNING`) commits only once its last row was read or its cursor
    let go, so it is held until then; its end is the last time it was read from.
    """

    contend_watch: _Watch | None = None
    contend_lock: AbstractContextManager[object] = nullcontext()
    contend_last: _Execution | None = None
    contend_held: Statement | None = None

    def __init__(self, connection: Any, *args: Any) -> None:
        super().__init__(connection, *args)
        self.contend_watch = watch = getattr(connection, "contend_watch", None)
        if watch is not None:
            self.contend_lock = watch.lock

    def execute(self, *args: Any) -> Any:
        watch = self.contend_watch
        if watch is None or not args or not isinstance(args[0], str):
            return super().execute(*args)
        if self.contend_held is not None:
            self._contend_release()
        self.contend_last = call = _Execution(watch, self.connection, args[0])
        with call:
            watch.attempt(call, super().execute, *args)
            ran = call.running
            if (
                ran is not None
                and ran.kind == "write"
                and self.description is not None
                and not call.connection.in_transaction
            ):
                ran.t1 = monotonic_ns()
                self.contend_held, call.running = ran, None
                if watch.trace.turnstile is not None:
                    watch.trace.turnstile.holding(watch.number)
        watch.wait_ourselves(call.connection, args[0])
        return self

    def executemany(self, *args: Any) -> Any:
        watch = self.contend_watch
        if watch is None or len(args) != 2 or not isinstance(args[0], str):
            return super().executemany(*args)
        self._contend_release()
        self.contend_last = call = _Execution(watch, self.connection, args[0], args[1])
        run = super().executemany
        with call:
            return watch.attempt(call, lambda: run(args[0], call.each()))

    def executescript(self, *args: Any) -> Any:
        watch = self.contend_watch
        if watch is None or not args or not isinstance(args[0], str):
            return super().executescript(*args)
        self._contend_release()
        with _Script(watch, self.connection, args[0]):
            return super().executescript(*args)

    def __next__(self) -> Any:
        try:
            with self.contend_lock:
                row = super().__next__()
        except StopIteration:
            self._contend_release()
            raise
        except sqlite3.Error as error:
            self._contend_failed(error)
            raise
        if self.contend_held is not None:
            self._contend_touch(over=False)
        return row

    def fetchone(self) -> Any:
        try:
            with self.contend_lock:
                row = super().fetchone()
        except sqlite3.Error as error:
            self._contend_failed(error)
            raise
        if self.contend_held is not None:
            self._contend_touch(over=row is None)
        return row

    def fetchmany(self, *args: Any, **kwargs: Any) -> Any:
        try:
            with self.contend_lock:
                rows = super().fetchmany(*args, **kwargs)
        except sqlite3.Error as error:
            self._contend_failed(error)
            raise
        if self.contend_held is not None:
            self._contend_touch(over=not rows)
        return rows

    def fetchall(self) -> Any:
        try:
            with self.contend_lock:
                rows = super().fetchall()
        except sqlite3.Error as error:
            self._contend_failed(error)
            raise
        if self.contend_held is not None:
            self._contend_touch(over=True)
        return rows

    def close(self) -> None:
        with self.contend_lock:
            super().close()
        self._contend_release()

    def __del__(self) -> None:
        if self.contend_held is not None:
            self._contend_release()

    def _contend_touch(self, *, over: bool) -> None:
        if self.contend_held is not None:
            self.contend_held.t1 = monotonic_ns()
            if over:
                self._contend_release()

    def _contend_release(self) -> None:
        held, self.contend_held = self.contend_held, None
        if held is not None and self.contend_last is not None:
            self.contend_last.done(held)

    def _contend_failed(self, error: sqlite3.Error) -> None:
        """Write the error of a later step: of the statement held, or of a statement whose line is already written."""
        call, held, self.contend_held = self.contend_last, self.contend_held, None
        if call is not None and hasattr(error, "sqlite_errorcode"):
            call.running = held or Statement(call.watch.number, monotonic_ns(), kind(call.sql), shape(call.sql))
            call.failed(error)


@cache
def _watched(factory: Any) -> Any:
    """Give the watched twin of a connection or cursor class; it keeps the name. Raises `UsageError` for anything but a class."""
    for plain, watched in ((sqlite3.Connection, _WatchedConnection), (sqlite3.Cursor, _WatchedCursor)):
        if isinstance(factory, type) and issubclass(factory, plain):
            if issubclass(factory, watched):
                return factory
            bases = (watched,) if factory is plain else (factory, watched)
            names = {"__module__": factory.__module__, "__qualname__": factory.__qualname__, "__doc__": factory.__doc__}
            return types.new_class(factory.__name__, bases, {}, partial(_fill, names))
    raise UsageError(
        f"sqlite3 was given the factory {factory!r}; the witness 'sqlite-trace' can watch only a subclass of "
        "sqlite3.Connection or sqlite3.Cursor. Give such a class, or run without a witness."
    )


def _without_timeout(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any], float]:
    """Take the busy time-out out of the arguments of a connection: SQLite is to refuse at once."""
    if len(args) > _TIMEOUT_POSITION:
        timeout = args[_TIMEOUT_POSITION]
        args = (*args[:_TIMEOUT_POSITION], 0, *args[_TIMEOUT_POSITION + 1 :])
    else:
        timeout = kwargs.get("timeout", _USUAL_TIMEOUT)
        kwargs = {**kwargs, "timeout": 0}
    return args, kwargs, float(timeout)


def _fill(names: dict[str, Any], space: dict[str, Any]) -> None:
    space.update(names)


def _read_error(error: BaseException) -> tuple[ErrorKind, str | None]:
    errorcode = getattr(error, "sqlite_errorcode", None)
    if not isinstance(errorcode, int):
        return "other", None
    code, what, _ = sqlite_code(errorcode)
    return what, code
