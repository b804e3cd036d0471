"""The harm that the proxy can do, before a real server and with a real client: braked, cut, lost, stalled, slowed down."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from harness.databases.postgres import PostgresServer
from harness.errors import RunAbandoned
from harness.protocols import Network
from harness.witnesses.wire import Wire

PATIENCE = 20.0


class Harmed:
    """One process behind the proxy, its network, and a connection past both."""

    def __init__(self, url: str, network: Network, owner: psycopg.Connection[Any]) -> None:
        self.url = url
        self.network = network
        self.owner = owner

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url, autocommit=True, connect_timeout=20)

    def n(self) -> int:
        row = self.owner.execute("SELECT n FROM jobs").fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
def harmed(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Harmed]:
    with postgres_server.fresh() as url, psycopg.connect(url, autocommit=True) as owner:
        owner.execute("CREATE TABLE jobs (n int)")
        owner.execute("INSERT INTO jobs VALUES (0)")
        with Wire().watch(url, ["w0", "w1"], tmp_path) as seen:
            assert seen.network is not None
            yield Harmed(seen["w0"], seen.network, owner)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@contextlib.contextmanager
def beside(work: Callable[[], object]) -> Iterator[list[object]]:
    """Do something in a thread; the list has its answer, or its error, once the thread has ended, which leaving waits for."""
    got: list[object] = []

    def run() -> None:
        try:
            got.append(work())
        except psycopg.Error as error:
            got.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield got
    finally:
        thread.join(PATIENCE)
        assert not thread.is_alive()


ADD = "UPDATE jobs SET n = n + 1"


def test_a_braked_statement_waits_before_the_server_and_goes_on(harmed: Harmed) -> None:
    with harmed.connect() as connection:
        harmed.network.brake("w0", on=True)
        with beside(lambda: connection.execute(ADD).rowcount) as got:
            until(lambda: harmed.network.braked("w0"))
            assert (harmed.n(), got, harmed.network.braked("w1")) == (0, [], False)
            harmed.network.brake("w0", on=False)
        assert (got, harmed.n(), harmed.network.braked("w0")) == ([1], 1, False)
        connection.execute(ADD)
    assert harmed.n() == 2


def test_a_brake_holds_a_new_connections_first_statement_not_its_login(harmed: Harmed) -> None:
    harmed.network.brake("w0", on=True)
    with harmed.connect() as connection, beside(lambda: connection.execute(ADD).rowcount) as got:
        until(lambda: harmed.network.braked("w0"))
        harmed.network.brake("w0", on=False)
    assert got == [1]


def test_what_is_cut_ends_both_ways_and_the_next_connection_is_whole(harmed: Harmed) -> None:
    with harmed.connect() as connection:
        connection.execute("BEGIN")
        connection.execute(ADD)
        (pid,) = harmed.network.backends("w0")
        assert (harmed.network.cut("w0"), harmed.network.cut("w1")) == (1, 0)
        with pytest.raises(psycopg.OperationalError):
            connection.execute(ADD)
    query = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
    until(lambda: harmed.owner.execute(query, [pid]).fetchone() == (0,))
    with harmed.connect() as connection:
        connection.execute(ADD)
    assert harmed.n() == 1


@pytest.mark.parametrize("how", ["prepared", "plain"])
def test_a_lost_answer_is_of_what_committed_a_write_and_of_nothing_else(harmed: Harmed, how: str) -> None:
    with harmed.connect() as connection:
        harmed.network.lose("w0", on=True)
        connection.execute("SELECT n FROM jobs")
        connection.execute("BEGIN")
        connection.execute(ADD, prepare=how == "prepared")
        assert not harmed.network.lost("w0")
        with pytest.raises(psycopg.OperationalError):
            connection.execute("COMMIT")
        assert (harmed.n(), harmed.network.lost("w0"), harmed.network.lost("w1")) == (1, True, False)
    with harmed.connect() as connection:
        connection.execute(ADD)  # it was lost once
    assert harmed.n() == 2


def test_the_witness_says_that_what_was_lost_was_committed(harmed: Harmed, tmp_path: Path) -> None:
    harmed.network.lose("w0", on=True)
    with harmed.connect() as connection, pytest.raises(psycopg.OperationalError):
        connection.execute(ADD)
    harmed.network.lose("w0", on=False)
    (line,) = [x for x in (tmp_path / "w0.ndjson").read_text().splitlines() if "UPDATE" in x]
    assert '"commits":true' in line
    assert '"error"' not in line


def test_a_stalled_connection_carries_nothing_until_it_is_reset(harmed: Harmed) -> None:
    with harmed.connect() as connection:
        assert harmed.network.stall("w0", on=True) == 1
        with beside(lambda: connection.execute(ADD).rowcount) as got, beside(harmed.connect) as new:
            time.sleep(0.1)  # nothing can be waited for: nothing happens
            assert (got, new, harmed.n()) == ([], [], 0)
            harmed.network.stall("w0", on=False)
        assert [type(each) for each in (*got, *new)] == [psycopg.OperationalError] * 2
    with harmed.connect() as connection:
        connection.execute(ADD)
    assert harmed.n() == 1


def test_a_delay_is_of_one_process_and_goes_again(harmed: Harmed) -> None:
    def fastest() -> float:
        taken = []
        for _ in range(5):
            began = time.monotonic()
            connection.execute("SELECT 1")
            taken.append(time.monotonic() - began)
        return min(taken)

    with harmed.connect() as connection:
        harmed.network.delay("w1", 500.0)
        assert fastest() < 0.4
        harmed.network.delay("w0", 40.0, 20.0)
        assert fastest() >= 0.04
        harmed.network.delay("w0", 0.0)
        assert fastest() < 0.04
    assert harmed.n() == 0


def test_a_proxy_that_is_gone_is_said_to_be(postgres_server: PostgresServer, tmp_path: Path) -> None:
    def lose_the_proxy() -> None:
        with postgres_server.fresh() as url, Wire().watch(url, ["w0"], tmp_path) as seen:
            (proxy,) = [p for p in psutil.Process().children() if "wire import serve" in " ".join(p.cmdline())]
            proxy.kill()
            proxy.wait()
            assert seen.network is not None
            seen.network.cut("w0")

    with pytest.raises(RunAbandoned, match="is gone"):
        lose_the_proxy()
