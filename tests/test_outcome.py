"""Each row of the error table, and that whatever is not in it is unknown."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg
import pytest

from harness.outcome import SQLITE_CODES, SQLSTATES, classify, sqlite_code, sqlstate


class Coded(Exception):
    """An exception carrying a database's own code, as drivers raise them."""

    def __init__(self, **codes: object) -> None:
        super().__init__("said the database")
        for name, value in codes.items():
            setattr(self, name, value)


@pytest.mark.parametrize("code", list(SQLITE_CODES))
def test_every_sqlite_row_is_read_also_under_an_extended_code(code: int) -> None:
    for extended in (code, code | (9 << 8)):
        failure = classify(Coded(sqlite_errorcode=extended))
        assert (failure.code, failure.kind, failure.outcome) == SQLITE_CODES[code]


@pytest.mark.parametrize("state", list(SQLSTATES))
def test_every_sqlstate_row_is_read_by_code_and_by_class(state: str) -> None:
    full = state if len(state) == 5 else state + "X9X"
    for name in ("sqlstate", "pgcode"):
        failure = classify(Coded(**{name: full}))
        assert (failure.kind, failure.outcome, failure.code) == (*SQLSTATES[state], full)


def test_busy_snapshot_has_a_name_of_its_own_as_its_message_is_the_same() -> None:
    assert sqlite_code(517) == ("SQLITE_BUSY_SNAPSHOT", "lock", "fail")


@pytest.mark.parametrize(
    "error", [ValueError("?"), Coded(sqlite_errorcode=10), Coded(sqlstate="XX000"), Coded(sqlstate=None)]
)
def test_an_error_that_is_not_in_the_table_is_unknown(error: Exception) -> None:
    assert classify(error).outcome == "info"


def test_a_lost_connection_is_unknown_as_the_commit_may_have_landed() -> None:
    assert sqlstate("08006") == ("connection", "info")
    assert sqlstate("57P01") == ("connection", "info")
    assert classify(ConnectionResetError()).kind == "connection"
    assert classify(TimeoutError()).kind == "timeout"


def test_the_databases_code_is_found_behind_wrappers() -> None:
    wrapped = RuntimeError("wrapped")
    wrapped.orig = Coded(sqlstate="40P01")  # type: ignore[attr-defined]  # as SQLAlchemy does
    assert classify(wrapped).kind == "deadlock"
    raised = RuntimeError("raised from")
    raised.__cause__ = Coded(sqlite_errorcode=5)
    assert (classify(raised).kind, classify(raised).error_class) == ("lock", "RuntimeError")


def test_a_circle_of_causes_ends() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert classify(one).outcome == "info"


def test_a_system_may_say_that_nothing_happened() -> None:
    assert classify(Coded(definite=True)).outcome == "fail"
    assert classify(Coded(definite=False)).outcome == "info"


def test_a_real_locked_database_is_a_definite_lock_error(tmp_path: Path) -> None:
    holder = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None, timeout=0)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError) as caught:
        other.execute("BEGIN IMMEDIATE")
    failure = classify(caught.value)
    assert (failure.outcome, failure.kind, failure.code) == ("fail", "lock", "SQLITE_BUSY")
    assert failure.error_class == "sqlite3.OperationalError"
    holder.close()
    other.close()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("consuming input failed: server closed the connection unexpectedly", "connection"),
        ("the connection is lost", "connection"),
        ("consuming input failed: could not receive data from server: Connection reset by peer", "connection"),
        ("sending query and params failed: number of parameters must be between 0 and 65535", "other"),
        ("sending query failed: another command is already in progress", "other"),
    ],
)
def test_a_driver_without_a_code_is_read_by_whether_it_names_the_connection(said: str, kind: str) -> None:
    """A statement that could not be sent fails by itself: it must not be excused as the network's doing."""
    failure = classify(psycopg.OperationalError(said))
    assert (failure.kind, failure.outcome, failure.code) == (kind, "info", None)
