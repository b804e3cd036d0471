"""The time of day in an explored world, moved ahead: a lease of half a minute is over at once, and nobody has to wait.

Every process of the run reads the same clock. It is moved in what a system can read the time from: Python (by the library time-machine),
the date functions of SQLite in a process's own connections, and on Postgres `now`, `clock_timestamp` and their kin, for which functions of
the same names stand in the search path before those of pg_catalog (https://www.postgresql.org/docs/current/ddl-schemas.html, 5.10.5). The
history is stamped by it, too. Monotonic clocks are not moved. Nor are the keywords CURRENT_TIMESTAMP and LOCALTIMESTAMP of Postgres, a
function called as pg_catalog.now(), or the clock of a process that is not ours; a system that goes by those must be waited for.
"""

from __future__ import annotations

import datetime
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import psycopg

_MOVED: Final = ("date", "time", "datetime", "julianday", "unixepoch", "strftime")
_NOW: Final = {"current_date": "date('now')", "current_time": "time('now')", "current_timestamp": "datetime('now')"}


@dataclass(slots=True)
class PythonClock:
    """Python's time of day in this process, as many nanoseconds `ahead` as a shared integer says."""

    ahead: Any
    _travel: Any = None  # from when it was first moved
    _travelled: int = 0

    def sync(self) -> None:
        """Have it follow. Costs nothing while it has not been moved."""
        ahead = int(self.ahead.value)
        if ahead == self._travelled:
            return
        import time_machine  # noqa: PLC0415  # 0.1 s, which who never moves it need not wait

        if self._travel is not None:
            self._travel.stop()
        self._travel, self._travelled = None, ahead
        if ahead:
            self._travel = time_machine.travel(datetime.timedelta(microseconds=ahead // 1000), tick=True)
            self._travel.start()


@dataclass(slots=True)
class WorldClock:
    """How far the time of day of one run is ahead; shared by its processes, and given to each when it is started.

    `ahead` is a shared integer, in nanoseconds, and `url` the database, reached without any gate.
    """

    ahead: Any
    url: str
    _python: PythonClock = field(init=False)  # of this process
    _session: psycopg.Connection | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._python = PythonClock(self.ahead)

    def prepare(self) -> None:
        """Have the database's own clock follow, for all who connect from now on. Call it once, before anything is installed."""
        if not self._of_file:
            sql = resources.files("harness").joinpath("clock.sql").read_text(encoding="utf-8")
            self._connected().execute(sql.encode())
            self.close()

    def enter(self) -> None:
        """Have SQLite's clock follow in the connections this process opens from now on. Call it before the system is imported."""
        if self._of_file:
            follow(lambda: int(self.ahead.value))

    def now_ns(self) -> int:
        """The monotonic clock, as far ahead as the time of day is."""
        return time.monotonic_ns() + int(self.ahead.value)

    def let_pass(self, seconds: float) -> None:
        """Move the time of day ahead, for everybody."""
        import time_machine  # noqa: F401, PLC0415  # as in `PythonClock.sync`

        self.ahead.value += int(seconds * 1e9)
        if not self._of_file:
            self._connected().execute(
                "UPDATE contend_clock.moved SET ahead = make_interval(secs => %s)", [self.ahead.value / 1e9]
            )
        self.sync()

    def reset(self) -> None:
        """Go back to the present, in what is shared; the database's part is put back with its rows."""
        self.ahead.value = 0

    def sync(self) -> None:
        """Have Python's clock in this process follow. Costs nothing while time has not been moved."""
        self._python.sync()

    def close(self) -> None:
        """Close the connection by which the database was told."""
        if self._session is not None:
            self._session.close()
            self._session = None

    @property
    def _of_file(self) -> bool:
        return self.url.startswith("sqlite:")

    def _connected(self) -> psycopg.Connection:
        import psycopg  # noqa: PLC0415  # a run on SQLite alone does not pay for it

        if self._session is None or self._session.closed:
            self._session = psycopg.connect(self.url, autocommit=True)
        return self._session


def follow(ahead_ns: Callable[[], int]) -> None:
    """Have the date functions of every SQLite connection that this process opens be ahead.

    `now` in their arguments means the moved one: a modifier is put behind it, and SQLite itself does the rest, in a database of its own.
    """
    connect = sqlite3.connect

    def moved(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **kwargs)
        own = sqlite3.Connection(":memory:", check_same_thread=False, isolation_level=None)
        known = {name for (name,) in own.execute("SELECT DISTINCT name FROM pragma_function_list")}
        for name in (name for name in _MOVED if name in known):
            connection.create_function(name, -1, _ahead(own, name, ahead_ns), deterministic=True)
        for name, text in _NOW.items():
            inner = _ahead(own, text.partition("(")[0], ahead_ns)
            connection.create_function(name, 0, lambda inner=inner: inner("now"), deterministic=True)
        return connection

    sqlite3.connect = sqlite3.dbapi2.connect = moved  # type: ignore[assignment]  # it takes all that the original takes


def _ahead(own: sqlite3.Connection, name: str, ahead_ns: Callable[[], int]) -> Callable[..., Any]:
    first = 1 if name == "strftime" else 0  # its first argument is the format

    def call(*args: Any) -> Any:
        given = list(args)
        if len(given) == first:
            given.append("now")
        if isinstance(given[first], str) and given[first].lower() == "now":
            given.insert(first + 1, f"+{ahead_ns() / 1e9:.3f} seconds")
        return own.execute(f"SELECT {name}({', '.join('?' * len(given))})", given).fetchone()[0]  # one of our own names

    return call
