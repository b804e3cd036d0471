"""Postgres: a cluster of our own by default, or a server given by its URL."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from harness import signals
from harness.databases.binaries import Binaries
from harness.databases.cluster import serve_cluster
from harness.databases.dumping import dump
from harness.databases.filesystem import file_system_type
from harness.errors import DatabaseUnavailable, RunAbandoned
from harness.protocols import Dump

if TYPE_CHECKING:
    import psycopg

CONNECT_SECONDS: Final = 10
FLUSHES: Final = 21
GIVEN: Final = "of the server given"
OLDEST: Final = 13  # DROP DATABASE … WITH (FORCE) came with it
RECORDED: Final = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_level",
    "shared_buffers",
    "autovacuum",
    "max_connections",
    "shared_preload_libraries",
)


@dataclass(frozen=True, slots=True)
class Postgres:
    """The engine `postgres`. With `url`, databases of our own are made on that server; without, our own cluster starts.

    `binaries` and `folder` are for the cluster: which programs, and the place for runs and what is kept between them. `settings` are
    what each of our databases says to whoever connects (ALTER DATABASE … SET).
    """

    url: str | None = field(default=None, repr=False)  # holds a password
    binaries: Binaries | None = None
    folder: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    name: str = field(default="postgres", init=False)

    @contextlib.contextmanager
    def serve(self) -> Iterator[PostgresServer]:
        """Start the cluster, or reach the server; raises `DatabaseUnavailable`, never quoting a password."""
        with contextlib.ExitStack() as stack:
            if self.url is None:
                cluster = stack.enter_context(serve_cluster(self.binaries, self.folder))
                admin, url, origin = cluster.admin, cluster.url("postgres"), cluster.binaries.origin
                postmaster = cluster.pid
                file_system = file_system_type(cluster.data)
            else:
                admin, url, origin, file_system, postmaster = self.url, self.url, GIVEN, "unknown", 0
            # Our databases are named after this session: while it lives, no other contend takes them for abandoned.
            session = stack.enter_context(_connect(admin))
            yield PostgresServer(admin, url, origin, file_system, _settle(session), self.settings, postmaster)


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server. `admin` is how we connect to make databases, `url` how a system reaches the one it names.

    `origin` says whose binaries run, `prefix` is what the names of our databases begin with, `postmaster` the process that began it,
    by id, where it is our own cluster's.
    """

    admin: str = field(repr=False)  # may hold a password
    url: str = field(repr=False)  # as above
    origin: str
    file_system: str
    prefix: str
    settings: Mapping[str, str] = field(default_factory=dict)
    postmaster: int = 0
    _numbers: Iterator[int] = field(default_factory=itertools.count, init=False, repr=False)

    def conditions(self) -> Mapping[str, str]:
        """Version, origin of the binaries, durability and memory settings, file system of the data folder."""
        query = "SELECT name, current_setting(name) FROM unnest(%s::text[]) AS name"
        with _connect(self.admin) as connection:
            settings = {str(name): str(value) for name, value in connection.execute(query, [list(RECORDED)])}
        version = settings.pop("server_version")
        return {"version": version, "binaries": self.origin, **settings, "file_system": self.file_system}

    @contextlib.contextmanager
    def fresh(self) -> Iterator[str]:
        """Give the URL of an empty database of its own, dropped on leaving, whoever is still connected to it.

        Copied from `template0` by way of the WAL, which took half the time of copying files (PostgreSQL 18, ext4).
        """
        with self._database("template0") as url:
            yield url

    @contextlib.contextmanager
    def clone(self, url: str) -> Iterator[str]:
        """Give the URL of a copy of our database at `url`, which nobody is connected to; dropped on leaving.

        The server itself waits up to 5 s for connections that are just ending. Raises `DatabaseUnavailable` where one stays.
        """
        with self._database(urlsplit(url).path.lstrip("/")) as copy:
            yield copy

    def serving(self, url: str) -> Sequence[int]:
        """The backends connected to the database at `url`; none of a server given, which may be another machine's."""
        if self.origin == GIVEN:
            return ()
        with _connect(self.admin) as connection:
            query = "SELECT pid FROM pg_stat_activity WHERE datname = %s ORDER BY pid"
            return [int(pid) for (pid,) in connection.execute(query, [urlsplit(url).path.lstrip("/")])]

    def processes(self) -> Sequence[int]:
        """The postmaster and its children, of our own cluster; none of a server given."""
        if not self.postmaster:
            return ()
        return (self.postmaster, *sorted(seen.pid for seen in signals.everyone() if seen.parent == self.postmaster))

    def flush_seconds(self) -> float:
        """Give by how much the median time of a small commit grows where it must be durable; 0 where it never is."""
        with self.fresh() as url, _connect(url) as connection:
            connection.execute("CREATE TABLE flushed (number int)")
            medians = []
            for setting in (b"SET synchronous_commit TO DEFAULT", b"SET synchronous_commit TO off"):
                connection.execute(setting)
                times = []
                for _ in range(FLUSHES):
                    started = time.perf_counter()
                    connection.execute("INSERT INTO flushed VALUES (1)")
                    times.append(time.perf_counter() - started)
                medians.append(statistics.median(times))
        return max(0.0, medians[0] - medians[1])

    @contextlib.contextmanager
    def _database(self, template: str) -> Iterator[str]:
        import psycopg  # noqa: PLC0415  # a run on SQLite alone does not pay for it

        name = f"{self.prefix}{next(self._numbers)}"
        with _connect(self.admin) as connection:
            try:
                connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
            except psycopg.errors.ObjectInUse as error:
                raise DatabaseUnavailable(
                    f"The database to be copied is still in use: {str(error).splitlines()[0]}. "
                    "Expected its preparing process to be gone; does the system leave a process of its own behind?"
                ) from error
            for setting, value in self.settings.items():
                with contextlib.suppress(
                    psycopg.errors.InsufficientPrivilege
                ):  # a role's of a server given, for deadlock_timeout
                    connection.execute(f"ALTER DATABASE {name} SET {setting} = '{value}'".encode())
        try:
            yield _with_database(self.url, name)
        finally:
            with _connect(self.admin) as connection:
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())

    def hold(self, url: str) -> contextlib.AbstractContextManager[None]:  # noqa: ARG002  # there is no such lock
        """Do nothing: writers of different rows do not exclude each other."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def snapshot(self, url: str) -> Iterator[Callable[[], None]]:
        """Keep the rows of every table in a schema of their own; give a function that puts them and the sequences back.

        Rows are put back with new versions of themselves, in the same order; what the planner knows of a table stays as it was. Raises
        `DatabaseUnavailable` where the role of a server given may not.
        """
        import psycopg  # noqa: PLC0415  # a run on SQLite alone does not pay for it

        admin = psycopg.conninfo.make_conninfo(self.admin, dbname=urlsplit(url).path.lstrip("/"))
        with _connect(admin) as connection:
            row = connection.execute(_sql("snapshot")).fetchone()
            assert row is not None  # noqa: S101  # a SELECT without FROM gives one
            keep, put_back = (str(text).encode() for text in row)
            try:
                connection.execute("SET session_replication_role = replica")
            except psycopg.errors.InsufficientPrivilege as error:
                role = connection.info.user
                raise DatabaseUnavailable(
                    f"The role {role!r} may not put rows back without foreign keys and triggers being asked, as exploring needs. Let it: "
                    f"GRANT SET ON PARAMETER session_replication_role TO {role} (Postgres 15), or give a URL with a superuser."
                ) from error
            connection.execute(keep)

            def restore() -> None:
                try:
                    connection.execute(put_back)
                except psycopg.Error as error:
                    with contextlib.suppress(psycopg.Error):
                        connection.execute("ROLLBACK")
                    raise RunAbandoned(
                        f"The database could not be put back between two schedules: {str(error).splitlines()[0]}. "
                        "Does an operation of the system leave a transaction open, or change tables?"
                    ) from error

            yield restore

    def dump(self, url: str) -> Dump:
        """Tell what is in the database at `url`, as pg_dump does. Raises `DatabaseUnavailable` where it cannot be told."""
        with _connect(url) as connection:
            settings = {str(name): str(value) for name, value in connection.execute(_sql("settings"))}
            version = connection.info.server_version // 10000
        setup, teardown = dump(url, version)
        return Dump(setup, teardown, settings)

    def analyze(self, url: str) -> None:
        """Gather the planner's statistics of every table of the database at `url`, now (ANALYZE)."""
        with _connect(url) as connection:
            connection.execute("ANALYZE")


def _settle(session: psycopg.Connection) -> str:
    """Drop what a killed contend left on this server, and give the prefix of our own databases' names."""
    import psycopg  # noqa: PLC0415  # a run on SQLite alone does not pay for it

    version = session.info.server_version // 10000
    if version < OLDEST:
        raise DatabaseUnavailable(f"The Postgres server given is version {version}; {OLDEST} or newer is needed.")
    row = session.execute(_sql("session")).fetchone()
    if row is None or not row[1]:
        raise DatabaseUnavailable(
            f"The role {session.info.user!r} may not make databases on the Postgres server given; a run needs its own. "
            f"Let it: ALTER ROLE {session.info.user} CREATEDB, or give a URL with another role."
        )
    for (name,) in session.execute(_sql("abandoned")).fetchall():
        with contextlib.suppress(psycopg.Error):  # somebody connected, or another contend was quicker
            session.execute(f"DROP DATABASE {name}".encode())
    return str(row[0])


def _sql(name: str) -> bytes:
    return Path(__file__).with_name(f"{name}.sql").read_bytes()


def _connect(conninfo: str) -> psycopg.Connection:
    """Connect in autocommit mode; raises `DatabaseUnavailable`, naming the server but never the password."""
    import psycopg  # noqa: PLC0415  # a run on SQLite alone does not pay for it

    try:
        return psycopg.connect(conninfo, autocommit=True, connect_timeout=CONNECT_SECONDS)
    except psycopg.Error as error:
        message = _unreachable(conninfo, str(error))
    raise DatabaseUnavailable(message)  # not `from error`: its text may quote the URL


def _unreachable(conninfo: str, said: str) -> str:
    import psycopg  # noqa: PLC0415  # a run on SQLite alone does not pay for it

    try:
        parts = psycopg.conninfo.conninfo_to_dict(conninfo)
    except psycopg.Error:
        parts = {}
    host = str(parts.get("host", "the default socket"))
    if not parts or "@" in host:
        return (
            "The URL of the Postgres server cannot be read. Expected postgresql://user:password@host:port/database, "
            "with special characters in the password percent-encoded (@ as %40, / as %2F)."
        )
    what = f"The Postgres server at {host}:{parts.get('port', 5432)} cannot be reached: {' '.join(said.split())}. "
    for secret in ("password", "sslpassword"):
        if parts.get(secret):
            what = what.replace(str(parts[secret]), "***")
    return what + ("Start it or correct the URL; with `--database postgres` contend starts a server of its own.")


def _with_database(url: str, name: str) -> str:
    """Name another database in a URL; a `dbname` in its query would win over the path, so it goes."""
    parts = urlsplit(url)
    options = [option for option in parts.query.split("&") if not option.startswith("dbname=")]
    return parts._replace(path=f"/{name}", query="&".join(options)).geturl()
