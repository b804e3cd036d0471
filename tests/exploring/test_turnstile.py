"""The turnstile and the trace of SQLite in one process, with the test as the one who explores."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.recorder import RecordedSystem, Recorder
from harness.scenario import Client
from harness.turnstile import Line, Turnstile
from harness.witnesses.sqlite_trace import SqliteTrace

ALL: list[Explored] = []


class Explored:
    """A program in a thread, held by its turnstile; `next` gives each stop, `go` lets it on."""

    def __init__(self, program: Callable[[], object]) -> None:
        self.near, self.far = Line.pair()
        self.turnstile = Turnstile(self.far)
        ALL.append(self)
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(program,), daemon=True)

    def start(self) -> dict[str, Any]:
        self.near.say({"schedule": 1, "phase": "main", "free": False})
        self._thread.start()
        return self.next()

    def _run(self, program: Callable[[], object]) -> None:
        with contextlib.suppress(EOFError, OSError):  # the test is over
            self.turnstile.next_schedule()
            self.turnstile._credit = 0  # else the first statement, which it was let on for, passes
            try:
                program()
            except sqlite3.Error as error:
                self.error = error
            self.turnstile.done()

    def next(self) -> dict[str, Any]:
        told: dict[str, Any] = self.near.hear(10)
        return told

    def go(self, word: str = "go") -> dict[str, Any]:
        self.near.say(word)
        return self.next()


@pytest.fixture(params=["wal", "delete"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    path = str(tmp_path / "x.db")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {request.param}")
        connection.execute("CREATE TABLE t (n)")
        connection.execute("INSERT INTO t VALUES (1)")
        connection.commit()
    return path


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    kept = sqlite3.connect, sqlite3.dbapi2.connect
    yield
    for one in ALL:
        one.near.close()
        one._thread.join(10)
        one.far.close()
    ALL.clear()
    sqlite3.connect, sqlite3.dbapi2.connect = kept


def explored(file: str, program: Callable[[sqlite3.Connection], object], tmp_path: Path, **how: Any) -> Explored:
    found = Explored(lambda: program(connection))
    SqliteTrace(found.turnstile).enter("w0", tmp_path / "witness")
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False, **how)
    return found


def effects(told: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    return [(kind, effect, error) for _, kind, _, effect, error, *_ in told["ran"]]


def test_it_stops_before_what_others_could_notice_and_passes_the_rest(file: str, tmp_path: Path) -> None:
    def program(db: sqlite3.Connection) -> None:
        db.execute("SELECT n FROM t").fetchall()
        db.execute("BEGIN")
        db.execute("SELECT n FROM t").fetchall()
        db.execute("SELECT n FROM t").fetchall()
        db.execute("UPDATE t SET n = 2")
        db.execute("UPDATE t SET n = 3")
        db.execute("COMMIT")

    one = explored(file, program, tmp_path)
    stop = one.start()
    assert (stop["stop"], stop["at"][1:]) == ("statement", ["read", "SELECT n FROM t"])
    stop = one.go()
    assert (effects(stop), stop["at"][1]) == ([("read", "read", None), ("begin", "local", None)], "read")
    stop = one.go()
    assert effects(stop) == [("read", "read", None), ("read", "local", None)]
    assert (stop["open"], stop["at"][1]) == (True, "write")
    stop = one.go()
    assert effects(stop) == [("write", "write", None), ("write", "local", None)]
    assert stop["at"][1] == "commit"
    stop = one.go()
    assert (effects(stop), stop["stop"], stop["open"]) == ([("commit", "write", None)], "done", False)


@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "UPDATE t SET n = 5"])
def test_a_lock_that_would_be_waited_for_is_waited_for_at_the_turnstile(begin: str, file: str, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        one = explored(file, lambda db: db.execute(begin), tmp_path)
        one.start()
        other.execute("BEGIN IMMEDIATE")
        assert one.go()["stop"] == "busy"
        assert one.go()["stop"] == "busy"
        other.execute("COMMIT")
        stop = one.go()
    assert (stop["stop"], one.error, len(stop["ran"])) == ("done", None, 1)


def test_a_refusal_reaches_the_program_when_it_is_told_so(file: str, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        one = explored(file, lambda db: db.execute("BEGIN IMMEDIATE"), tmp_path)
        one.start()
        other.execute("BEGIN IMMEDIATE")
        one.go()
        stop = one.go("refuse")
    assert (stop["stop"], effects(stop)) == ("done", [("begin", "write", "SQLITE_BUSY")])
    assert isinstance(one.error, sqlite3.OperationalError)


def upgrade(db: sqlite3.Connection) -> None:
    db.execute("BEGIN")
    db.execute("SELECT n FROM t").fetchall()
    db.execute("UPDATE t SET n = 2")


@pytest.mark.parametrize(
    ("program", "how"),
    [
        (upgrade, {}),  # its busy handler is not asked: it holds a snapshot
        (lambda db: db.execute("BEGIN IMMEDIATE"), {"timeout": 0}),
        (lambda db: (db.execute("PRAGMA busy_timeout = 0"), db.execute("BEGIN IMMEDIATE")), {}),
    ],
)
def test_a_refusal_that_sqlite_gives_at_once_reaches_the_program_at_once(
    program: Callable[[sqlite3.Connection], object], how: dict[str, Any], file: str, tmp_path: Path
) -> None:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        one = explored(file, program, tmp_path, **how)
        one.start()
        if program is upgrade:
            one.go()
        other.execute("BEGIN IMMEDIATE")
        assert one.go()["stop"] == "done"
    assert isinstance(one.error, sqlite3.OperationalError)
    assert one.error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def test_a_busy_timeout_set_by_pragma_is_waited_for_at_the_turnstile(file: str, tmp_path: Path) -> None:
    def program(db: sqlite3.Connection) -> None:
        db.execute("PRAGMA busy_timeout = 30000")
        db.execute("BEGIN IMMEDIATE")

    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        one = explored(file, program, tmp_path, timeout=0)
        one.start()
        other.execute("BEGIN IMMEDIATE")
        assert one.go()["stop"] == "busy"
        other.execute("COMMIT")
        assert one.go()["stop"] == "done"


def test_a_commit_waits_for_readers_where_there_is_a_rollback_journal(tmp_path: Path) -> None:
    path = str(tmp_path / "y.db")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE t (n)")
        other.execute("INSERT INTO t VALUES (1)")

        def program(db: sqlite3.Connection) -> None:
            with db:
                db.execute("BEGIN")
                db.execute("UPDATE t SET n = 2")

        one = explored(path, program, tmp_path)
        one.start()
        other.execute("BEGIN")
        other.execute("SELECT n FROM t").fetchall()
        one.go()
        assert one.go()["stop"] == "busy"
        other.execute("COMMIT")
        assert (one.go()["stop"], one.error) == ("done", None)
        assert other.execute("SELECT n FROM t").fetchall() == [(2,)]


def test_many_parameters_go_on_where_one_of_them_was_refused(file: str, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        one = explored(file, lambda db: db.executemany("INSERT INTO t VALUES (?)", iter([(7,), (8,), (9,)])), tmp_path)
        one.start()
        assert one.go()["stop"] == "statement"
        other.execute("BEGIN IMMEDIATE")
        assert one.go()["stop"] == "busy"
        other.execute("COMMIT")
        one.go()
        assert one.go()["stop"] == "done"
        assert other.execute("SELECT n FROM t ORDER BY n").fetchall() == [(1,), (7,), (8,), (9,)]


def test_rows_that_are_still_to_be_read_keep_the_lock(file: str, tmp_path: Path) -> None:
    kept = []
    one = explored(file, lambda db: kept.append(db.execute("UPDATE t SET n = 2 RETURNING n")), tmp_path)
    one.start()
    stop = one.go()
    assert (stop["stop"], stop["open"]) == ("done", True)


def test_with_a_second_file_nothing_is_taken_for_unnoticed(file: str, tmp_path: Path) -> None:
    def program(db: sqlite3.Connection) -> None:
        db.execute(f"ATTACH '{tmp_path / 'second.db'}' AS second")
        db.execute("BEGIN IMMEDIATE")
        db.execute("CREATE TABLE second.u (n)")
        db.execute("SELECT n FROM second.u").fetchall()
        db.execute("COMMIT")

    one = explored(file, program, tmp_path)
    one.start()
    stops = [one.go()["at"][1] for _ in range(4)]
    assert stops == ["begin", "other", "read", "commit"]
    assert one.go()["stop"] == "done"


def test_another_thread_is_told_of(file: str, tmp_path: Path) -> None:
    def program(db: sqlite3.Connection) -> None:
        other = threading.Thread(target=lambda: db.execute("SELECT n FROM t").fetchall())
        other.start()
        other.join()

    assert explored(file, program, tmp_path).start()["stop"] == "thread"


def test_a_schedule_that_was_given_up_is_not_gone_on_with_in_the_next(tmp_path: Path) -> None:
    class Queue:
        def claim(self, worker: str, limit: int) -> list[int]:  # the contract's signature
            return [limit]

    near, far = Line.pair()
    client = RecordedSystem(Recorder(tmp_path / "w0.ndjson", "w0", "worker"), "w0", Queue, turnstile=Turnstile(far))
    client.build()
    answers = []
    thread = threading.Thread(target=client.follow, args=(claim_then_claim_more, {}), daemon=True)
    thread.start()
    near.hear(10)
    for phase, free in (("main", False), ("main", False), ("quiet", True), ("main", False)):
        near.say({"schedule": None, "phase": phase, "free": free})
        told = near.hear(10)
        answers.append((told["answers"][0][2], told["more"]))
    near.close()
    thread.join(10)
    client.end()
    far.close()
    assert answers == [([1], True), ([1], True), ([2], False), ([1], True)]


def claim_then_claim_more(client: Client) -> Iterator[None]:
    client.claim(1)
    yield
    client.claim(2)


def test_whoever_is_free_stops_nowhere(file: str, tmp_path: Path) -> None:
    one = explored(file, lambda db: db.execute("UPDATE t SET n = 2"), tmp_path)
    one.near.say({"schedule": 1, "phase": "quiet", "free": True})
    one._thread.start()
    assert one.next()["stop"] == "done"


@pytest.mark.parametrize("pragma", ["PRAGMA busy_timeout = 60000", ""])
def test_whoever_races_begins_when_told_and_sqlite_itself_waits_for_its_locks(
    pragma: str, file: str, tmp_path: Path
) -> None:
    began: list[int] = []

    def program(db: sqlite3.Connection) -> None:
        began.append(time.monotonic_ns())
        db.execute(pragma)
        db.execute("UPDATE t SET n = n + 1")

    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        one = explored(file, program, tmp_path, timeout=0 if pragma else 60)
        other.execute("BEGIN IMMEDIATE")
        at = time.monotonic_ns() + 50_000_000
        one.near.say({"schedule": 1, "phase": "main", "free": True, "at": at})
        one._thread.start()
        with pytest.raises(TimeoutError):  # it waits
            one.near.hear(0.3)
        other.execute("COMMIT")
        told = one.next()
    assert (told["stop"], one.error, began[0] >= at) == ("done", None, True)
    assert [kind for _, kind, *_ in told["ran"]][-1:] == ["write"]
