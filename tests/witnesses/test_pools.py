"""The pool witness, on the real libraries: in a process of its own each time, as classes are patched for good."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import orjson
import pytest

from harness.databases.postgres import PostgresServer

WATCH = """
import sys, threading
from pathlib import Path
from harness.witnesses.pools import watch_pools
"""
QUEUE_POOL = """
import sqlalchemy
from sqlalchemy import text
engine = sqlalchemy.create_engine(url, pool_size=1, max_overflow=1, pool_timeout=0.05)
"""


@dataclass
class Watched:
    """Runs scripts under watch; `url` in a script is the database's."""

    folder: Path
    url: str
    printed: list[str] = field(default_factory=list)

    def script(self, code: str, *, before: str = "") -> list[str]:
        """Give the command line that runs `before`, begins to watch, and runs `code`."""
        start = f"url = {self.url!r}\nwatch_pools('w0', Path({str(self.folder)!r}))\n"
        return [sys.executable, "-W", "error", "-c", WATCH + before + start + code]

    def run(self, code: str, *, before: str = "") -> list[dict[str, Any]]:
        """Run it to its end; gives its acquisitions. What it printed is in `printed`."""
        done = subprocess.run(self.script(code, before=before), capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        self.printed = done.stdout.splitlines()
        acquisitions = self.acquisitions()
        assert [x["n"] for x in acquisitions] == list(range(1, len(acquisitions) + 1))
        return acquisitions

    def acquisitions(self) -> list[dict[str, Any]]:
        """Give what was written, with the time of return at the acquisition it belongs to, after checking every line."""
        data = (self.folder / "w0.ndjson").read_bytes()
        assert data in {b"", data.rstrip(b"\n") + b"\n"}
        found: dict[int, dict[str, Any]] = {}
        for line in map(orjson.loads, data.splitlines()):
            assert line.pop("process") == "w0"
            if "returned" in line:
                assert set(line) == {"n", "returned"}
                acquisition = found[line["n"]]
                assert acquisition["returned"] is None, "returned twice"
                assert acquisition["got"] <= line["returned"]
                acquisition["returned"] = line["returned"]
            else:
                assert set(line) == {"n", "pool", "size", "asked", "got", "ended", "error"}
                assert line["n"] not in found
                assert (line["got"] is None) == (line["error"] is not None)
                assert line["got"] is None or 0 < line["asked"] <= line["got"]
                assert line["ended"] == line["got"] if line["error"] is None else line["ended"] >= line["asked"]
                found[line["n"]] = line | {"returned": None}
        return [found[n] for n in sorted(found)]


@pytest.fixture
def sqlite(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "pools", f"sqlite:///{tmp_path}/queue.db")


@pytest.fixture
def postgres(tmp_path: Path, postgres_server: PostgresServer) -> Iterator[Watched]:
    with postgres_server.fresh() as url:
        yield Watched(tmp_path / "pools", url)


def _brief(acquisitions: list[dict[str, Any]]) -> list[tuple[int, int | None, str]]:
    """Give pool, size and how it went: returned, kept, or the error."""
    return [
        (x["pool"], x["size"], x["error"] or ("kept" if x["returned"] is None else "returned")) for x in acquisitions
    ]


def _most_at_once(acquisitions: list[dict[str, Any]]) -> int:
    """Give how many of the times between got and returned overlap at most."""
    changes = sorted(change for x in acquisitions for change in ((x["got"], 1), (x["returned"], -1)))
    out = most = 0
    for _, change in changes:
        out += change
        most = max(most, out)
    return most


def test_a_process_without_pools_imports_nothing_and_writes_nothing(sqlite: Watched) -> None:
    code = "import json, sqlite3\nprint(sorted({'sqlalchemy', 'psycopg', 'psycopg_pool'} & sys.modules.keys()))"
    assert sqlite.run(code) == []
    assert sqlite.printed == ["[]"]


@pytest.mark.parametrize("before", ["", "import sqlalchemy\n", "import sqlalchemy.pool\n"])
def test_every_way_to_a_sqlalchemy_connection_is_one_acquisition(sqlite: Watched, before: str) -> None:
    code = """
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE jobs (id)"))
    raw = engine.raw_connection()
    raw.execute("SELECT 1")
    raw.close()
    raw.close()
    with sqlalchemy.pool.QueuePool(lambda: __import__("sqlite3").connect(":memory:")).connect():
        pass
    """
    seen = sqlite.run(QUEUE_POOL + dedent(code), before=before)
    assert _brief(seen) == [(1, 2, "returned")] * 3 + [(2, 15, "returned")]


def test_pools_and_connections_that_were_there_before_the_watch_are_no_trouble(sqlite: Watched) -> None:
    before = f"url = {sqlite.url!r}\n{QUEUE_POOL}early = engine.connect()\n"
    assert _brief(sqlite.run("early.close()\nengine.connect().close()", before=before)) == [(1, 2, "returned")]


def test_a_queue_pool_with_nothing_left_times_out_with_its_own_error(sqlite: Watched) -> None:
    code = """
    holders = [engine.connect(), engine.connect()]
    try:
        engine.connect()
    except sqlalchemy.exc.TimeoutError as error:
        print(error)
    """
    seen = sqlite.run(QUEUE_POOL + dedent(code))
    assert _brief(seen) == [(1, 2, "kept"), (1, 2, "kept"), (1, 2, "timeout")]
    assert sqlite.printed[0].startswith("QueuePool limit of size 1 overflow 1 reached, connection timed out")


def test_a_connection_that_cannot_be_made_is_another_error(sqlite: Watched) -> None:
    code = """
    try:
        sqlalchemy.create_engine("sqlite:////no/such/folder/queue.db").connect()
    except sqlalchemy.exc.OperationalError as error:
        print(error.orig)
    """
    assert _brief(sqlite.run(QUEUE_POOL + dedent(code))) == [(1, 15, "other")]
    assert sqlite.printed == ["unable to open database file"]


def test_the_size_is_what_a_sqlalchemy_pool_may_hold_or_null(sqlite: Watched) -> None:
    code = """
    for options in (dict(max_overflow=-1), dict(pool_size=0), dict(pool_size=3, max_overflow=0), dict(poolclass=NullPool)):
        sqlalchemy.create_engine(url, **options).connect().close()
    """
    seen = sqlite.run("import sqlalchemy\nfrom sqlalchemy.pool import NullPool\n" + dedent(code))
    assert [(x["pool"], x["size"]) for x in seen] == [(1, None), (2, None), (3, 3), (4, None)]


def test_a_connection_invalidated_detached_or_collected_is_returned(sqlite: Watched) -> None:
    code = """
    import gc
    invalidated = engine.connect()
    invalidated.invalidate()
    detached = engine.connect()
    detached.detach()
    detached.connection.detach()
    held = [engine.connect(), engine.connect()]
    detached.close()
    held.clear()
    gc.collect()
    kept = engine.connect()
    """
    assert _brief(sqlite.run(QUEUE_POOL + dedent(code))) == [(1, 2, "returned")] * 4 + [(1, 2, "kept")]


def test_an_invalidated_connection_that_is_used_again_is_acquired_again(sqlite: Watched) -> None:
    code = """
    with engine.connect() as connection:
        connection.invalidate()
        connection.execute(text("SELECT 1"))
    """
    assert _brief(sqlite.run(QUEUE_POOL + dedent(code))) == [(1, 2, "returned")] * 2


def test_a_detached_connection_leaves_before_another_takes_its_place(sqlite: Watched) -> None:
    """The event `detach` comes after the place was given away, which would show one connection too many."""
    before = dedent("""
    import sqlalchemy
    @sqlalchemy.event.listens_for(sqlalchemy.pool.Pool, "detach")
    def until_taken(connection, record):
        asking.join(20)
    """)
    code = """
    engine = sqlalchemy.create_engine(url, pool_size=1, max_overflow=0)
    first = engine.connect()
    seen = []
    asking = threading.Thread(target=lambda: seen.append(engine.connect()))
    asking.start()
    first.detach()
    print(len(seen))
    seen[0].close()
    """
    acquisitions = sqlite.run(QUEUE_POOL + dedent(code), before=before)
    assert (_brief(acquisitions), sqlite.printed) == ([(1, 1, "returned")] * 2, ["1"])
    assert _most_at_once(acquisitions) == 1


@pytest.mark.parametrize("pool", ["SingletonThreadPool", "StaticPool"])
def test_a_connection_handed_out_again_while_it_is_out_is_no_acquisition(sqlite: Watched, pool: str) -> None:
    code = f"""
    pool = sqlalchemy.pool.{pool}(lambda: __import__("sqlite3").connect(":memory:"))
    outer = pool.connect()
    inner = pool.connect()
    inner.close()
    outer.close()
    pool.connect().close()
    """
    assert _brief(sqlite.run(QUEUE_POOL + dedent(code))) == [(1, None, "returned")] * 2


# The ten meet in pairs, each holding a connection, so that two are out at once for certain; then they race.
TEN_THREADS = """
sys.setswitchinterval(1e-6)  # as many races as there can be
meeting = threading.Barrier(2)
def work():
    with connect() as connection:
        meeting.wait(20)
    for _ in range(30):
        with connect() as connection:
            execute(connection)
threads = [threading.Thread(target=work) for _ in range(10)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_ten_threads_never_hold_more_than_a_queue_pool_has(sqlite: Watched) -> None:
    code = """
    engine = sqlalchemy.create_engine(url, pool_size=2, max_overflow=0)  # with overflow it may forget to wake a waiter
    connect = engine.connect
    def execute(connection): connection.execute(text("SELECT 1"))
    """
    seen = sqlite.run(QUEUE_POOL + dedent(code) + TEN_THREADS)
    assert Counter(_brief(seen)) == {(1, 2, "returned"): 310}
    assert _most_at_once(seen) == 2


def test_ten_threads_never_hold_more_than_a_psycopg_pool_has(postgres: Watched) -> None:
    code = """
    from psycopg_pool import ConnectionPool
    pool = ConnectionPool(url, min_size=2, open=True)
    connect = pool.connection
    def execute(connection): connection.execute("SELECT 1")
    """
    seen = postgres.run(dedent(code) + TEN_THREADS + "pool.close()\n")
    assert Counter(_brief(seen)) == {(1, 2, "returned"): 310}
    assert _most_at_once(seen) == 2


@pytest.mark.parametrize("before", ["", "import psycopg_pool\n"])
def test_every_way_to_a_psycopg_connection_is_one_acquisition(postgres: Watched, before: str) -> None:
    code = """
    import logging
    from psycopg_pool import ConnectionPool, NullConnectionPool
    logging.disable()
    with ConnectionPool(url, min_size=1, max_size=2, open=True) as pool:
        with pool.connection() as connection:
            connection.execute("SELECT 1")
        pool.putconn(conn=pool.getconn(5))
        connection = pool.getconn(timeout=5)
        connection.close()  # the holder must still give it back
        pool.putconn(connection)
    with ConnectionPool(url, min_size=1, open=True, close_returns=True) as pool:
        pool.getconn().close()
    for size in (3, 0):
        with NullConnectionPool(url, max_size=size, open=True) as pool, pool.connection():
            pass
    """
    seen = postgres.run(dedent(code), before=before)
    assert _brief(seen) == [(1, 2, "returned")] * 3 + [(2, 1, "returned"), (3, 3, "returned"), (4, None, "returned")]


def test_a_psycopg_pool_with_nothing_left_times_out_with_its_own_error(postgres: Watched) -> None:
    code = """
    from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout
    with ConnectionPool(url, min_size=2, open=True) as pool:
        holders = [pool.getconn(), pool.getconn()]
        try:
            pool.getconn(timeout=0.05)
        except PoolTimeout as error:
            print(error)
        for holder in holders:
            pool.putconn(holder)
    try:
        pool.getconn()
    except PoolClosed as error:
        print("closed")
    """
    seen = postgres.run(dedent(code))
    assert _brief(seen) == [(1, 2, "returned")] * 2 + [(1, 2, "timeout"), (1, 2, "other")]
    assert postgres.printed == ["couldn't get a connection after 0.05 sec", "closed"]


def test_a_subclass_that_overrides_and_calls_super_is_seen_once(postgres: Watched) -> None:
    code = """
    from psycopg_pool import ConnectionPool
    class Pool(ConnectionPool):
        def getconn(self, timeout=None):
            connection = super().getconn(timeout)
            connection.mine = True
            return connection
        def putconn(self, conn):
            super().putconn(conn)
    with Pool(url, min_size=1, open=True) as pool:
        with pool.connection() as connection:
            print(connection.mine)
        pool.putconn(pool.getconn())
    """
    assert _brief(postgres.run(dedent(code))) == [(1, 1, "returned")] * 2
    assert postgres.printed == ["True"]


def test_what_a_psycopg_pool_does_by_itself_is_no_acquisition(postgres: Watched) -> None:
    """Filling, checking, and replacing connections that the server has ended, while somebody asks for one."""
    code = """
    import psycopg
    from psycopg_pool import ConnectionPool
    with ConnectionPool(url, min_size=2, open=True, check=ConnectionPool.check_connection) as pool:
        pool.wait()
        with psycopg.connect(url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                          " WHERE pid <> pg_backend_pid() AND datname = current_database()")
        with pool.connection() as connection:
            print(connection.execute("SELECT 1").fetchone())
        pool.check()
        pool.drain()
        print(pool.get_stats()["connections_num"] > 2)
    """
    assert _brief(postgres.run(dedent(code))) == [(1, 2, "returned")]
    assert postgres.printed == ["(1,)", "True"]


def test_a_connection_given_back_twice_or_to_another_pool_is_returned_once(postgres: Watched) -> None:
    code = """
    from psycopg_pool import ConnectionPool
    with ConnectionPool(url, min_size=1, open=True) as pool, ConnectionPool(url, min_size=1, open=True) as other:
        connection, kept = pool.getconn(), other.getconn()
        for where, what in ((pool, kept), (other, connection), (pool, connection), (pool, connection), (pool, None)):
            try:
                where.putconn(what)
                print("taken")
            except ValueError:
                print("refused")
        try:
            pool.putconn()
        except TypeError as error:
            print(error)
        kept.close()
    """
    assert _brief(postgres.run(dedent(code))) == [(1, 1, "returned"), (2, 1, "kept")]
    refused = "ConnectionPool.putconn() missing 1 required positional argument: 'conn'"
    assert postgres.printed == ["refused", "refused", "taken", "refused", "refused", refused]


def test_a_connection_never_given_back_has_one_line_and_is_not_kept_alive(postgres: Watched) -> None:
    code = """
    import gc, weakref
    from psycopg_pool import ConnectionPool
    pool = ConnectionPool(url, min_size=1, open=True)
    connection = pool.getconn()
    gone = weakref.ref(connection)
    connection.pgconn.finish()
    del connection
    gc.collect()
    print(gone())
    pool.close()
    """
    assert _brief(postgres.run(dedent(code))) == [(1, 1, "kept")]
    assert postgres.printed == ["None"]


def test_asyncio_pools_of_psycopg_are_watched(postgres: Watched) -> None:
    code = """
    import asyncio
    from psycopg_pool import AsyncConnectionPool, AsyncNullConnectionPool, PoolTimeout
    async def main():
        async with AsyncConnectionPool(url, min_size=2, open=False) as pool:
            async def work():
                async with pool.connection() as connection:
                    await connection.execute("SELECT 1")
            await asyncio.gather(*(work() for _ in range(10)))
            async with pool.connection(), pool.connection():
                try:
                    await pool.getconn(timeout=0.05)
                except PoolTimeout:
                    print("timeout")
                asking = asyncio.create_task(pool.getconn())
                await asyncio.sleep(0)
                asking.cancel()
                await asyncio.wait([asking])
        async with AsyncNullConnectionPool(url, max_size=1, open=False) as pool:
            await pool.putconn(await pool.getconn())
    asyncio.run(main())
    """
    seen = postgres.run(dedent(code))
    outcomes = {(1, 2, "returned"): 12, (1, 2, "timeout"): 1, (1, 2, "other"): 1, (2, 1, "returned"): 1}
    assert (Counter(_brief(seen)), postgres.printed) == (outcomes, ["timeout"])
    assert _most_at_once([x for x in seen if x["pool"] == 1 and x["got"]]) == 2


def test_nothing_else_about_the_libraries_changes(sqlite: Watched) -> None:
    code = """
    import importlib.util, inspect
    assert importlib.util.find_spec("psycopg_pool") and "psycopg_pool" not in sys.modules
    import psycopg_pool, sqlalchemy
    for module in (psycopg_pool, sqlalchemy):
        print(type(module.__loader__).__name__, module.__spec__.loader is module.__loader__)
        importlib.reload(module)
    for function in (psycopg_pool.ConnectionPool.getconn, psycopg_pool.AsyncConnectionPool.getconn,
                     psycopg_pool.ConnectionPool.putconn, psycopg_pool.AsyncConnectionPool.putconn,
                     sqlalchemy.pool.Pool.connect, sqlalchemy.pool.SingletonThreadPool.connect):
        print(function.__qualname__, len(inspect.signature(function).parameters), inspect.iscoroutinefunction(function))
    for where in (url, "sqlite:////no/such/folder/queue.db"):
        try:
            sqlalchemy.create_engine(where).connect().close()
        except sqlalchemy.exc.OperationalError:
            pass
    """
    assert _brief(sqlite.run(dedent(code))) == [(1, 15, "returned"), (2, 15, "other")]
    assert sqlite.printed == [
        "SourceFileLoader True",
        "SourceFileLoader True",
        "ConnectionPool.getconn 2 False",
        "AsyncConnectionPool.getconn 2 True",
        "ConnectionPool.putconn 2 False",
        "AsyncConnectionPool.putconn 2 True",
        "Pool.connect 1 False",
        "SingletonThreadPool.connect 1 False",
    ]


def test_a_killed_process_leaves_whole_lines_up_to_its_death(sqlite: Watched) -> None:
    code = """
    engine = sqlalchemy.create_engine(url, pool_size=5, max_overflow=0)
    held = engine.connect()
    busy = threading.Barrier(5)
    def work():
        for round in range(10**9):
            engine.connect().close()
            if round == 50:
                busy.wait(20)
    for _ in range(4): threading.Thread(target=work, daemon=True).start()
    busy.wait(20)
    print("busy", flush=True)
    threading.Event().wait(60)
    """
    command = sqlite.script(QUEUE_POOL + dedent(code))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "busy\n"
        finally:
            process.kill()
    assert process.returncode == -signal.SIGKILL
    first, *others = sqlite.acquisitions()
    assert _brief([first]) == [(1, 5, "kept")]
    assert len(others) >= 4 * 51
    assert sum(x["returned"] is None for x in others) <= 4
    assert 0 <= others[-1]["n"] - 1 - len(others) <= 4  # what each thread had numbered, but not yet written
