"""Merging: the files of a run become five tables, and whatever is not part of a history is named by file and line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from harness import merging
from harness.errors import HistoryDamaged
from harness.history import TABLES
from harness.merging import merge, open_tables

CLAIM = {"e": "invoke", "op": 1, "kind": "claim", "phase": "main", "t": 10, "requested": 2}
GOT = {"e": "ok", "op": 1, "t": 20, "jobs": [7, "7"], "tokens": [None, {"x": 1}], "attempts": [1, None]}
ENDS = {
    "e": "fail",
    "op": 1,
    "t": 50,
    "error": {"kind": "lock", "class": "E", "code": "SQLITE_BUSY", "message": "locked"},
}


def lines(*records: object) -> str:
    return "".join((record if isinstance(record, str) else json.dumps(record)) + "\n" for record in records)


def write(folder: Path, events: dict[str, str], witness: str | None = None) -> Path:
    (folder / "events").mkdir()
    for name, text in events.items():
        (folder / "events" / f"{name}.ndjson").write_text(text, encoding="utf-8")
    if witness is not None:
        (folder / "witness").mkdir()
        (folder / "witness" / "seen.ndjson").write_text(witness, encoding="utf-8")
    return folder


def rows(folder: Path, table: str) -> list[dict[str, Any]]:
    with duckdb.connect() as connection:
        cursor = connection.execute(f"FROM '{folder}/history/{table}.parquet'")
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def seen(kind: str, t0: int, *, connection: int = 1, **more: object) -> dict[str, object]:
    return {
        "process": "w0",
        "connection": connection,
        "t0": t0,
        "t1": t0 + 1,
        "kind": kind,
        "shape": "x",
        "trips": 1,
    } | more


def test_the_tables_have_the_columns_and_types_of_the_vocabulary(tmp_path: Path) -> None:
    merge(write(tmp_path, {}))
    with duckdb.connect() as connection:
        for table, columns in TABLES.items():
            described = connection.execute(f"DESCRIBE FROM '{tmp_path}/history/{table}.parquet'").fetchall()
            assert {name: kind for name, kind, *_ in described} == columns


def test_jobs_keep_their_json_type_and_lists_their_order(tmp_path: Path) -> None:
    merge(write(tmp_path, {"w0": lines(CLAIM, GOT)}))
    (operation,) = rows(tmp_path, "operations")
    assert (operation["outcome"], operation["requested"], operation["returned"]) == ("ok", 2, 2)
    handles = [(h["position"], h["job"], h["token"], h["attempt"], h["accepted"]) for h in rows(tmp_path, "handles")]
    assert handles == [(0, "7", None, 1, True), (1, '"7"', '{"x":1}', None, True)]


def test_what_an_operation_named_is_kept_and_what_it_refused_is_marked(tmp_path: Path) -> None:
    asked = {"e": "invoke", "op": 1, "kind": "complete", "t": 10, "jobs": [7, 8], "tokens": [1, 2]}
    merge(write(tmp_path, {"w0": lines(asked, {"e": "ok", "op": 1, "t": 20, "accepted": [1]})}))
    assert [(h["job"], h["token"], h["accepted"]) for h in rows(tmp_path, "handles")] == [
        ("7", "1", False),
        ("8", "2", True),
    ]
    assert [(o["requested"], o["returned"]) for o in rows(tmp_path, "operations")] == [(2, 1)]


def test_operations_are_numbered_over_all_processes_in_order_of_invocation(tmp_path: Path) -> None:
    early, late = CLAIM | {"t": 5}, CLAIM | {"t": 15}
    merge(write(tmp_path, {"w0": lines(late, GOT), "w1": lines(early, GOT)}))
    assert [(o["operation"], o["process"]) for o in rows(tmp_path, "operations")] == [(1, "w1"), (2, "w0")]


def test_an_operation_that_never_came_back_is_unknown(tmp_path: Path) -> None:
    merge(write(tmp_path, {"w0": lines(CLAIM)}))
    (operation,) = rows(tmp_path, "operations")
    assert (operation["outcome"], operation["completed_ns"], operation["returned"]) == ("info", None, None)


@pytest.mark.parametrize(
    "torn", ['{"e":"ok","op":1,"t":2', '{"e"', "{", '{"e":"ok","op":1,"t":20,"jobs":["' + "x" * 200_000]
)
def test_a_torn_last_line_is_left_out(tmp_path: Path, torn: str) -> None:
    """A SIGKILL in the middle of a write: what was said before it counts."""
    alive = {"e": "process", "process": "w0", "role": "worker", "pid": 4, "t": 1}
    merge(write(tmp_path, {"w0": lines(alive, CLAIM) + torn}, witness=lines(seen("read", 12)) + torn))
    assert [o["outcome"] for o in rows(tmp_path, "operations")] == ["info"]
    assert [s["operation"] for s in rows(tmp_path, "statements")] == [1]
    assert [(p["process"], p["started_ns"], p["ended"]) for p in rows(tmp_path, "processes")] == [("w0", 1, None)]
    assert (tmp_path / "events" / "w0.ndjson").read_text(encoding="utf-8").endswith(torn), (
        "the evidence is left as it is"
    )


def test_a_last_line_that_only_lacks_its_newline_counts(tmp_path: Path) -> None:
    merge(write(tmp_path, {"w0": lines(CLAIM, GOT).rstrip("\n")}))
    assert [o["outcome"] for o in rows(tmp_path, "operations")] == ["ok"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("not json", "not JSON"),
        ('{"e":"ok","op"', "not JSON"),
        ("[1]", "not a JSON object"),
        ("null", "not a JSON object"),
        ('{"e":"maybe","op":1,"t":20}', "no event 'maybe'"),
        ('{"e":"ok","op":1}', "no time"),
        ('{"e":"ok","op":1,"t":"soon"}', "no time"),
        ('{"e":"ok","t":20}', "no whole number `op`"),
        ('{"e":"ok","op":2,"t":20}', "never invoked"),
        ('{"e":"ok","op":1,"t":9}', "before it was invoked"),
        ('{"e":"invoke","op":1,"kind":"claim","t":12}', "invoked before"),
        ('{"e":"invoke","op":2,"t":12}', "no `kind`"),
        ('{"e":"ok","op":1,"t":20,"jobs":7}', "jobs are no list"),
        ('{"e":"ok","op":1,"t":20,"jobs":[null]}', "null"),
        ('{"e":"ok","op":1,"t":20,"jobs":[7],"tokens":[1,2]}', "1 jobs and 2 tokens"),
        ('{"e":"ok","op":1,"t":20,"jobs":[7],"attempts":["x"]}', "attempts are not whole"),
        ('{"e":"ok","op":1,"t":20,"jobs":[7],"accepted":[1]}', "accepts a position"),
        ('{"e":"process","process":"w1","role":"worker","pid":1,"t":1}', "process 'w1' in the file of 'w0'"),
        ('{"e":"end","t":30}\n{"e":"end","t":31}', "'end' line before it"),
    ],
)
def test_any_other_line_that_is_no_event_is_named_by_file_and_line(tmp_path: Path, wrong: str, words: str) -> None:
    """A worker that writes garbage never makes a wrong pass."""
    write(
        tmp_path,
        {"w0": lines(CLAIM, *wrong.split("\n"), {"e": "end", "t": 40} if "end" not in wrong else CLAIM | {"op": 9})},
    )
    number = 2 + wrong.count("\n")
    with pytest.raises(HistoryDamaged, match=rf"w0\.ndjson, line {number}: .*{words}"):
        merge(tmp_path)
    assert not list((tmp_path / "history").iterdir())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("not json", "not JSON"),
        (seen("gossip", 12), "no kind of statement 'gossip'"),
        ({"connection": 1, "t0": 1, "t1": 2, "kind": "read"}, "no process"),
        (seen("read", 12) | {"t1": 3}, "ended before it started"),
        (seen("read", 12) | {"t0": None}, "t0"),
    ],
)
def test_a_line_that_is_no_statement_is_named_by_file_and_line(tmp_path: Path, wrong: object, words: str) -> None:
    write(tmp_path, {"w0": lines(CLAIM, GOT)}, witness=lines(seen("read", 11), wrong, seen("read", 13)))
    with pytest.raises(HistoryDamaged, match=rf"seen\.ndjson, line 2: .*{words}"):
        merge(tmp_path)


def test_an_operation_completed_twice_is_damage(tmp_path: Path) -> None:
    with pytest.raises(HistoryDamaged, match=r"line 3: operation 1 was completed before"):
        merge(write(tmp_path, {"w0": lines(CLAIM, GOT, ENDS)}))


def test_a_statement_belongs_to_the_operation_of_its_process_it_started_in(tmp_path: Path) -> None:
    enclosing = {"e": "invoke", "op": 2, "kind": "round", "t": 5, "requested": 2}
    events = lines(enclosing, CLAIM, GOT, {"e": "ok", "op": 2, "t": 100, "returned": 2})
    stranger = seen("read", 15) | {"process": "w1"}
    merge(
        write(
            tmp_path,
            {"w0": events},
            witness=lines(seen("read", 7), seen("read", 10), seen("read", 20), seen("read", 21), stranger),
        )
    )
    found = {(s["process"], s["started_ns"]): s["operation"] for s in rows(tmp_path, "statements")}
    assert found == {("w0", 7): None, ("w0", 10): 2, ("w0", 20): 2, ("w0", 21): None, ("w1", 15): None}
    assert [(o["kind"], o["returned"]) for o in rows(tmp_path, "operations")] == [("round", 2), ("claim", 2)]


LOST: dict[str, Any] = {"error": {"kind": "connection", "code": "08006"}}
BUSY: dict[str, Any] = {"error": {"kind": "lock", "code": "SQLITE_BUSY"}}


@pytest.mark.parametrize(
    ("statements", "outcome"),
    [
        ([seen("write", 12, commits=True)], "info"),
        ([seen("begin", 11), seen("write", 12), seen("commit", 14, commits=True)], "info"),
        ([seen("write", 12), seen("commit", 14, **LOST)], "info"),
        ([seen("write", 12), seen("commit", 14, **BUSY), seen("commit", 16, commits=True)], "info"),
        ([seen("write", 12), seen("commit", 14, **BUSY), seen("rollback", 16)], "fail"),
        ([seen("write", 12), seen("rollback", 14), seen("commit", 16, commits=True)], "fail"),
        ([seen("write", 12), seen("commit", 14, commits=True, connection=2)], "fail"),
        ([seen("write", 12, **BUSY), seen("commit", 14, commits=True)], "fail"),
        ([seen("read", 12, commits=True)], "fail"),
        ([seen("write", 12), seen("commit", 14)], "fail"),
        ([seen("write", 60, commits=True)], "fail"),
    ],
)
def test_a_fail_that_committed_a_write_is_unknown_after_all(
    tmp_path: Path, statements: list[dict[str, object]], outcome: str
) -> None:
    """What the database saw outweighs what the exception said."""
    merge(write(tmp_path, {"w0": lines(CLAIM, ENDS)}, witness=lines(*statements)))
    (operation,) = rows(tmp_path, "operations")
    assert (operation["outcome"], operation["error_kind"], operation["error_code"]) == (outcome, "lock", "SQLITE_BUSY")


def test_schedules_keep_their_operations_apart(tmp_path: Path) -> None:
    second = [record | {"schedule": 1} for record in (CLAIM, GOT)]
    merge(write(tmp_path, {"w0": lines(CLAIM, GOT, *second)}, witness=lines(seen("read", 12, schedule=1))))
    assert [(o["schedule"], o["operation"]) for o in rows(tmp_path, "operations")] == [(0, 1), (1, 2)]
    assert [(s["schedule"], s["operation"]) for s in rows(tmp_path, "statements")] == [(1, 2)]


def test_merging_again_replaces_the_tables_and_leaves_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, {"w0": lines(CLAIM, GOT)})
    merge(tmp_path)
    merge(tmp_path)
    assert len(rows(tmp_path, "operations")) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events", "history"]
    assert sorted(path.stem for path in (tmp_path / "history").iterdir()) == sorted(TABLES)


def lent(folder: Path, *records: object, torn: str = "") -> Path:
    write(folder, {"w0": lines(CLAIM, GOT)})
    (folder / "pools").mkdir()
    (folder / "pools" / "w0.ndjson").write_text(lines(*records) + torn, encoding="utf-8")
    return folder


ASKED = {"process": "w0", "n": 1, "pool": 1, "size": 2, "asked": 10, "got": 12, "ended": 12, "error": None}
REFUSED = {"process": "w0", "n": 2, "pool": 1, "size": 2, "asked": 11, "got": None, "ended": 61, "error": "timeout"}
BACK = {"process": "w0", "n": 1, "returned": 30}


def test_an_acquisition_is_paired_with_its_return_and_a_torn_line_is_left_out(tmp_path: Path) -> None:
    kept = ASKED | {"n": 3, "asked": 40, "got": 41, "ended": 41}
    merge(lent(tmp_path, REFUSED, ASKED, BACK, kept, torn='{"process":"w0","n":3,"ret'))
    found = rows(tmp_path, "acquisitions")
    columns = ("asked_ns", "got_ns", "ended_ns", "returned_ns", "error_kind")
    assert [tuple(row[name] for name in columns) for row in found] == [
        (10, 12, 12, 30, None),
        (11, None, 61, None, "timeout"),
        (40, 41, 41, None, None),
    ]
    assert {(row["process"], row["pool"], row["size"], row["schedule"]) for row in found} == {("w0", 1, 2, 0)}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("not json", "it is not JSON"),
        ({"process": "w0", "returned": 3}, "no whole number `n`"),
        ({"process": "w0", "n": 1}, "neither `returned` nor `asked`"),
        ({"process": "w0", "n": 1, "asked": 5, "got": None, "error": None}, "neither `returned` nor `asked`"),
    ],
)
def test_a_line_that_is_no_acquisition_is_named(line: object, says: str, tmp_path: Path) -> None:
    with pytest.raises(HistoryDamaged, match=rf"pools/w0\.ndjson, line 2: .*{says}"):
        merge(lent(tmp_path, ASKED, line, BACK))


def test_a_history_merged_before_acquisitions_were_recorded_is_opened_with_none(tmp_path: Path) -> None:
    merge(write(tmp_path, {"w0": lines(CLAIM, GOT)}))
    (tmp_path / "history" / "acquisitions.parquet").unlink()
    with duckdb.connect() as connection:
        files = open_tables(connection, tmp_path / "history")
        assert connection.execute("SELECT count(*) FROM acquisitions").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM operations").fetchone() == (1,)
    assert sorted(files) == sorted(set(TABLES) - {"acquisitions"})


def test_a_table_is_the_same_whether_it_is_read_at_once_or_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge(write(tmp_path, {"w0": lines(CLAIM, GOT)}))
    found = []
    for bound in (1 << 22, 0):
        monkeypatch.setattr(merging, "IN_MEMORY_BYTES", bound)
        with duckdb.connect() as connection:
            open_tables(connection, tmp_path / "history")
            found.append(connection.execute("FROM handles").fetchall())
    assert found[0] == found[1]
    assert len(found[0]) == 2


def test_an_acquisition_is_given_back_by_its_own_process_in_its_own_schedule(tmp_path: Path) -> None:
    """`n` counts within a process, so the same number means something else in another one, or another schedule."""
    others = [ASKED | {"process": "w1", "asked": 20}, ASKED | {"schedule": 1, "asked": 30}]
    merge(
        lent(tmp_path, ASKED, *others, BACK | {"process": "w1", "returned": 44}, BACK | {"schedule": 1, "returned": 55})
    )
    columns = ("schedule", "process", "asked_ns", "returned_ns")
    assert [tuple(row[name] for name in columns) for row in rows(tmp_path, "acquisitions")] == [
        (0, "w0", 10, None),
        (0, "w1", 20, 44),
        (1, "w0", 30, 55),
    ]


def test_a_thread_has_operations_of_its_own_and_what_the_witness_sees_is_of_its_process(tmp_path: Path) -> None:
    alive = {"e": "process", "process": "w0.3", "role": "thread", "pid": 4, "t": 1}
    done = {"e": "end", "t": 40, "how": "done"}
    scan = {"e": "invoke", "op": 1, "kind": "scan", "phase": "main", "t": 10, "jobs": [7]}
    told = {"e": "invoke", "op": 2, "kind": "report_progress", "phase": "main", "t": 12, "jobs": [7], "value": 0.5}
    thread = lines(alive, scan, told, {"e": "ok", "op": 2, "t": 14}, {"e": "ok", "op": 1, "t": 30}, done)
    claim = lines(CLAIM | {"t": 2}, GOT | {"t": 5})
    write(tmp_path, {"w0": claim, "w0.3": thread}, witness=lines(seen("write", 3), seen("write", 13)))
    merge(tmp_path)
    assert [(o["process"], o["kind"], o["value"]) for o in rows(tmp_path, "operations")] == [
        ("w0", "claim", None),
        ("w0.3", "scan", None),
        ("w0.3", "report_progress", "0.5"),
    ]
    assert {s["started_ns"]: s["operation"] for s in rows(tmp_path, "statements")} == {3: 1, 13: None}
    assert [(p["process"], p["role"], p["ended"]) for p in rows(tmp_path, "processes")] == [("w0.3", "thread", "done")]


@pytest.mark.parametrize("kind", ["round", "scan"])
def test_what_encloses_operations_owns_no_statement(kind: str, tmp_path: Path) -> None:
    enclosing = {"e": "invoke", "op": 2, "kind": kind, "phase": "main", "t": 11}
    events = lines(CLAIM, enclosing, GOT | {"t": 20}, {"e": "ok", "op": 2, "t": 30})
    merge(write(tmp_path, {"w0": events}, witness=lines(seen("write", 15), seen("write", 25))))
    assert {s["started_ns"]: s["operation"] for s in rows(tmp_path, "statements")} == {15: 1, 25: None}


WITHOUT_ROOM = """
import resource, signal, sys
from pathlib import Path
from harness.merging import merge
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    merge(Path(sys.argv[1]))
except OSError as error:
    print(error.filename)
"""


def test_tables_that_cannot_be_written_are_an_error_of_the_file_system(tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "w0.ndjson").write_text('{"e":"process","process":"w0","role":"worker","pid":1,"t":1}\n')
    command = [sys.executable, "-c", WITHOUT_ROOM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'history'}\n"), done.stderr
    assert not list((tmp_path / "history").iterdir())
    assert not list(tmp_path.glob("contend-merging-*"))
