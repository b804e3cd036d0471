"""The nemesis: whom it meets in what, what it holds there, and what it reads of who has which job."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import multiprocess
import orjson
import pytest

from harness.clock import PythonClock
from harness.databases.sqlite import SqliteServer
from harness.errors import FaultMissed
from harness.faults import FAULTS
from harness.levers import Levers
from harness.processes import CONTEXT, Birth, Crew, Source
from harness.recorder import RecordedSystem, Recorder
from harness.runners import nemesis
from harness.runners.nemesis import Ledger, Nemesis
from harness.scenario import ANY, HOLDING, Client, Part
from harness.witnesses.sqlite_trace import SqliteTrace

FORK = multiprocess.get_context("fork")
PATIENCE = 20.0


class Counter:
    """A system on a SQLite file, whose operations take one statement each; `complete` none."""

    def __init__(self, url: str) -> None:
        self.connection = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=20, isolation_level=None)

    def install(self) -> None:
        self.connection.execute("CREATE TABLE counter (n int)")

    def enqueue(self, jobs: list[dict[str, Any]]) -> list[int]:
        self.connection.execute("SELECT 'enqueue'").fetchall()
        return list(range(len(jobs)))

    def claim(self, worker: str, limit: int) -> list[int]:
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.execute("INSERT INTO counter VALUES (1)")
        self.connection.execute("COMMIT")
        return [1]

    def complete(self, worker: str, handles: list[int]) -> None:
        pass


def prepare(client: Client) -> None:
    client.install()


def both_in_turn(client: Client) -> None:
    while not client.over():
        client.enqueue([{"payload": "x"}])
        client.claim(1)


def hold_in_turn(client: Client) -> None:
    while not client.over():
        handles = client.claim(1).handles
        client.pause(0.01)
        client.complete(handles)
        client.pause(0.01)


def nothing_asked(client: Client) -> None:
    while not client.over():
        client.complete([])


@pytest.fixture
def struck(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Crew, Nemesis, Any]]:
    """A worker at work, and the nemesis."""
    url, over = f"sqlite:///{tmp_path}/counter.db", CONTEXT.RawValue("b", 0)
    levers = {"w0": Levers(*(CONTEXT.RawValue("q", 0) for _ in range(4)))}
    place = tmp_path / "result"
    with Crew(place) as crew:
        tally = CONTEXT.RawArray("q", 1)
        witness = SqliteTrace()
        source = Source.of(Counter)
        crew.start(Birth("w0", "worker", source, url, {}, place, witness, 0, tally, 0, levers=levers["w0"], over=over))
        crew.tell(["w0"], prepare, within=PATIENCE)
        crew.begin([Part("w0", getattr(request, "param", both_in_turn))])
        server = SqliteServer(tmp_path, "wal")
        rng = random.Random(1)  # repeatable, not secret
        yield crew, Nemesis(crew, "sqlite", url, server, None, rng, FAULTS, ["w0"], levers), over
        over.value = 1


def events(crew: Crew, name: str) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (crew.folder / "events" / f"{name}.ndjson").read_bytes().splitlines()]


def test_a_worker_is_held_in_the_operation_named_while_the_harm_is_done(struck: tuple[Crew, Nemesis, Any]) -> None:
    crew, nemesis, _ = struck
    for kind in ("claim", "enqueue", "claim", ANY):
        with nemesis.strike("pause-worker", ["w0"], kind):
            now = Ledger(crew.folder / "events").now("w0")
            assert len(now) == 1
            assert kind in (*now, ANY)
    told = [event for event in events(crew, "nemesis") if event["e"] in ("invoke", "ok")]
    assert [(event["e"], event["value"]["fault"], event["jobs"]) for event in told[:2]] == [
        ("invoke", "pause-worker", ["w0"]),
        ("ok", "pause-worker", ["w0"]),
    ]
    assert len(told) == 8


def test_a_worker_is_stopped_outside_of_any_transaction_so_that_it_holds_no_lock(
    struck: tuple[Crew, Nemesis, Any], tmp_path: Path
) -> None:
    _, nemesis, _ = struck
    for _ in range(10):
        with nemesis.strike("pause-worker", ["w0"], "claim"):
            other = sqlite3.connect(tmp_path / "counter.db", timeout=0, isolation_level=None)
            other.execute("INSERT INTO counter VALUES (2)")
            other.close()


@pytest.mark.parametrize("struck", [nothing_asked], indirect=True)
def test_where_no_statement_can_be_braked_the_worker_is_met_at_a_random_moment(
    struck: tuple[Crew, Nemesis, Any],
) -> None:
    crew, nemesis, _ = struck
    with nemesis.strike("pause-worker", ["w0"], "complete"):
        assert Ledger(crew.folder / "events").now("w0") == {"complete"}


@pytest.mark.parametrize("struck", [hold_in_turn], indirect=True)
def test_a_worker_that_is_to_have_a_job_in_hand_is_met_with_one(struck: tuple[Crew, Nemesis, Any]) -> None:
    crew, nemesis, _ = struck
    for _ in range(10):
        with nemesis.strike("pause-worker", ["w0"], HOLDING):
            assert Ledger(crew.folder / "events").held_by("w0") == {"1"}
    assert {event["value"]["inside"] for event in events(crew, "nemesis") if event["e"] == "invoke"} == {HOLDING}


@pytest.mark.parametrize("struck", [nothing_asked], indirect=True)
def test_a_job_in_hand_that_never_comes_is_a_fault_missed(
    struck: tuple[Crew, Nemesis, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nemesis, "INSIDE_SECONDS", 0.3)
    with (
        pytest.raises(FaultMissed, match="not met with a job in hand"),
        struck[1].strike("kill-worker", ["w0"], HOLDING),
    ):
        pass


def test_at_a_random_moment_it_may_hold_the_lock_that_harm_to_the_database_is_to_take(
    struck: tuple[Crew, Nemesis, Any],
) -> None:
    crew, nemesis, _ = struck
    for _ in range(20):
        with nemesis.strike("hold-lock", ["w0"], "claim", 0.001):
            pass
    with nemesis.strike("pause-worker", ["w0"], "claim", 0.001):
        assert Ledger(crew.folder / "events").now("w0") == {"claim"}


def test_an_operation_that_never_comes_is_a_fault_missed(
    struck: tuple[Crew, Nemesis, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    crew, found, _ = struck
    monkeypatch.setattr(nemesis, "INSIDE_SECONDS", 0.3)
    with (
        pytest.raises(FaultMissed, match="not met in an operation `recover`"),
        found.strike("kill-worker", ["w0"], "recover"),
    ):
        pass
    assert crew.at_work("w0")


def test_a_worker_that_has_come_to_its_end_is_a_fault_missed(struck: tuple[Crew, Nemesis, Any]) -> None:
    crew, nemesis, over = struck
    over.value = 1
    deadline = time.monotonic() + PATIENCE
    while crew.at_work("w0"):
        assert time.monotonic() < deadline
    with pytest.raises(FaultMissed, match="come to its end"), nemesis.strike("kill-worker", ["w0"], "claim"):
        pass


def write(folder: Path, process: str, *lines: object) -> None:
    with (folder / f"{process}.ndjson").open("ab") as file:
        for line in lines:
            file.write(line if isinstance(line, bytes) else orjson.dumps(line) + b"\n")


def test_the_ledger_follows_jobs_from_hand_to_hand(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    write(tmp_path, "w0", {"e": "process", "process": "w0", "t": 1}, {"e": "invoke", "op": 1, "kind": "claim", "t": 1})
    assert (ledger.now("w0"), ledger.held_by("w0"), ledger.now("w1")) == ({"claim"}, set(), set())
    write(tmp_path, "w0", {"e": "ok", "op": 1, "t": 2, "jobs": [7, "8"]}, b'{"e":"inv')
    assert (ledger.now("w0"), ledger.held_by("w0"), ledger.ended) == (set(), {"7", "8"}, {"w0": 1})
    write(tmp_path, "w0", b'oke","op":2,"kind":"complete","t":3,"jobs":[7]}\n')
    assert (ledger.now("w0"), ledger.held_by("w0")) == ({"complete"}, {"8"})
    write(tmp_path, "w0.1", {"e": "invoke", "op": 1, "kind": "heartbeat", "t": 4, "jobs": ["8"]})
    assert ledger.now("w0") == {"complete", "heartbeat"}
    write(
        tmp_path, "w1", {"e": "invoke", "op": 1, "kind": "claim", "t": 5}, {"e": "ok", "op": 1, "t": 6, "jobs": ["8"]}
    )
    assert (ledger.held_by("w0"), ledger.held_by("w1")) == (set(), {"8"})
    write(
        tmp_path, "w1", b"garbage\n", {"e": "invoke", "op": 2, "kind": "claim", "t": 7}, {"e": "info", "op": 2, "t": 8}
    )
    assert ledger.held_by("w1") == {"8"}
    write(tmp_path, "w10", {"e": "invoke", "op": 1, "kind": "claim", "t": 9})
    assert ledger.now("w1") == set()


@pytest.mark.parametrize(("first", "then"), [("w0", "w1"), ("w1", "w0")])
def test_whose_a_job_is_goes_by_time_whichever_file_is_read_first(tmp_path: Path, first: str, then: str) -> None:
    """Else a worker seems to hold nothing, and is let go on before anybody could have what it holds."""
    for process, at in ((first, 1), (then, 100)):
        invoke = {"e": "invoke", "op": 1, "kind": "claim", "t": at}
        write(tmp_path, process, invoke, {"e": "ok", "op": 1, "t": at + 1, "jobs": [7]})
    write(tmp_path, first, {"e": "invoke", "op": 2, "kind": "complete", "t": 50, "jobs": [7]})
    ledger = Ledger(tmp_path)
    assert (ledger.held_by(first), ledger.held_by(then)) == (set(), {"7"})


def test_a_brake_that_is_let_go_and_put_on_again_at_once_stops_the_next_statement_not_the_same() -> None:
    levers = Levers(*(FORK.RawValue("q", 0) for _ in range(4)))
    passed: list[int] = []
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            levers.wait_here()
            passed.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(20):
            levers.pull(on=True)
            deadline = time.monotonic() + PATIENCE
            while not levers.holds():
                assert time.monotonic() < deadline
            before = len(passed)
            levers.pull(on=False)
            levers.pull(on=True)
            while not levers.holds():
                assert time.monotonic() < deadline
            assert len(passed) > before
            levers.pull(on=False)
    finally:
        over.set()
        levers.pull(on=False)
        thread.join()


def test_a_skewed_clock_is_of_the_system_and_not_of_the_history(tmp_path: Path) -> None:
    ahead = FORK.RawValue("q", 0)
    seen: list[float] = []

    class Looking(Counter):
        def claim(self, worker: str, limit: int) -> list[int]:
            seen.append(time.time())
            return []

    recorder = Recorder(tmp_path / "w0.ndjson", "w0", "worker")
    client = RecordedSystem(recorder, "w0", lambda: Looking("sqlite:///:memory:"), skew=PythonClock(ahead))
    client.build()
    try:
        for seconds in (0, 3600, 0):
            ahead.value = seconds * 10**9
            client.claim(1)
    finally:
        ahead.value = 0
        client.claim(1)
    assert 3590 < seen[1] - seen[0] < 3700
    assert -10 < seen[2] - seen[0] < 100
    stamps = [orjson.loads(line)["t"] for line in (tmp_path / "w0.ndjson").read_bytes().splitlines()]
    assert stamps[-1] - stamps[0] < 100e9
