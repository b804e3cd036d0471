"""A history as Jepsen has it, and as JSON: read back, it is the tables it came of, row for row."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import edn_format
import pytest
from conftest import Once
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_history import CONTEXT, History, Op, Process, claim, complete, fault, kill, ops
from random_work import random_work

from harness import history
from reports import export

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
JSON_TEXTS = ("job", "token", "value")
Rows = list[dict[str, Any]]
Tables = dict[str, Rows]
Line = dict[str, Any]


def saved(folder: Path, made: History) -> Path:
    """Save a literal history as the result of a run that was."""
    folder.mkdir()
    made.save(folder)
    (folder / "context.json").write_text(json.dumps({**CONTEXT, "seed": 7}), encoding="utf-8")
    return folder


def exported(place: Path, form: export.Form) -> bytes:
    into = io.BytesIO()
    export.pour(place, 1, form, into)
    return into.getvalue()


def tables_of(place: Path) -> Tables:
    """What is in the Parquet files."""
    found = {}
    with duckdb.connect() as connection:
        for table, columns in history.TABLES.items():
            rows = connection.execute(f"FROM read_parquet('{place}/history/{table}.parquet')").fetchall()
            found[table] = [plain(dict(zip(columns, row, strict=True))) for row in rows]
    return found


def exact(value: Any) -> Any:
    """A value in which all that differs is different: 1, 1.0, true, "1"; keys in their order."""
    if isinstance(value, float | Decimal):
        return ("number", str(Decimal(str(value)).normalize()))
    if isinstance(value, Mapping):
        return ("map", *((key, exact(each)) for key, each in value.items()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ("list", *(exact(each) for each in value))
    return (type(value).__name__, value)


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row with what its JSON texts say in their place."""
    return {
        name: exact(json.loads(value, parse_float=Decimal)) if name in JSON_TEXTS and value is not None else value
        for name, value in row.items()
    }


def lines_of(text: bytes) -> list[Line]:
    """Each line read by a reader of EDN that is not ours, its keywords as texts of theirs."""
    return [
        {key.name: value for key, value in edn_format.loads(line).items()}
        for line in text.decode("utf-8").split("\n")[:-1]
    ]


def name_of(value: Any) -> Any:
    return value.name if isinstance(value, edn_format.Keyword) else value


def tables_of_edn(text: bytes) -> Tables:
    """Operations and handles, as docs/export.md says they are read."""
    head, *lines = lines_of(text)
    start = next(value for key, value in head["value"].items() if key.name == "start-ns")
    of: dict[int, list[Line]] = {}
    for line in lines:
        of.setdefault(line["operation"], []).append(line)
    operations: Rows = []
    handles: Rows = []
    for number, told in sorted(of.items()):
        first, last = told[0], told[-1]
        error = {key.name: value for key, value in last.get("error", {}).items()}
        itself = name_of(last["type"])
        operation = {
            "schedule": last["schedule"],
            "operation": number,
            "process": last["name"],
            "kind": name_of(last["f"]),
            "phase": name_of(last.get("phase")),
            "invoked_ns": start + first["time"],
            "completed_ns": start + last["time"] if len(told) == 2 else None,
            "outcome": name_of(last.get("outcome", "info" if itself == "invoke" else itself)),
        }
        answer = exact(last["answer"]) if "answer" in last else None
        counts = {name: last.get(name) for name in ("requested", "returned")}
        errors = {f"error_{name}": error.get(name) for name in ("kind", "class", "code", "message")}
        operations.append({**operation, **counts, **errors, "value": answer})
        for position, job in enumerate(last["value"] or ()):
            token = last["tokens"][position] if "tokens" in last else None
            handle = {"position": position, "job": exact(job), "token": None if token is None else exact(token)}
            for name, plural in (("attempt", "attempts"), ("priority", "priorities"), ("accepted", "accepted")):
                handle[name] = last[plural][position] if plural in last else (True if name == "accepted" else None)
            handles.append({**operation, **handle})
    return {"operations": operations, "handles": handles}


def tables_of_json(text: bytes) -> Tables:
    """All tables, as docs/export.md says they are read."""
    document = json.loads(text)
    operations: Rows = []
    handles: Rows = []
    for row in document["operations"]:
        mine = row.pop("handles")
        operations.append(plain(row))
        own = {name: row[name] for name in list(history.HANDLES)[:8]}
        handles += [plain({**own, "position": n, **handle}) for n, handle in enumerate(mine)]
    rest = {name: document[name] for name in ("statements", "processes", "acquisitions")}
    return {"operations": operations, "handles": handles, **rest}


def assert_nothing_is_lost(place: Path) -> None:
    tables = tables_of(place)
    assert tables_of_json(exported(place, "json")) == tables
    text = exported(place, "edn")
    assert tables_of_edn(text) == {name: tables[name] for name in ("operations", "handles")}
    assert_jepsen_takes(lines_of(text))


def assert_jepsen_takes(lines: list[Line]) -> None:
    """What `jepsen.history` demands of a history whose indices are dense, and its README of processes."""
    assert [line["index"] for line in lines] == list(range(len(lines)))
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    running: dict[Any, int] = {}
    gone = set()
    for line in lines:
        who, itself = line["process"], line["type"].name
        if not isinstance(who, int):
            assert isinstance(who, edn_format.Keyword)
            assert itself == "info"
            continue
        assert who not in gone
        if itself == "invoke":
            assert who not in running
            running[who] = line["operation"]
        else:
            assert running.pop(who) == line["operation"]
            if itself == "info":
                gone.add(who)


texts = st.text() | st.sampled_from(['"', "\\", "\n\r\t", "\x00\x1f\x7f\x85", "\u2028", "é😀", ":a", "7", "nil"])
jobs = st.integers(-(2**70), 2**70) | texts | st.builds(lambda number: {"run": number}, st.integers(0, 9))
scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | texts
values = st.recursive(
    scalars, lambda each: st.lists(each, max_size=3) | st.dictionaries(texts, each, max_size=3), max_leaves=6
)


@st.composite
def operations(draw: Callable[[Any], Any]) -> Op:
    """One that ends or not, of a client or of one who does harm, with handles of all sorts."""
    start = draw(st.integers(0, 9))
    kind = draw(st.sampled_from(("claim", "enqueue", "complete", "round", "read_progress", "kill", "half a word")))
    named = draw(st.lists(jobs, max_size=3))
    aligned = [draw(st.none() | st.tuples(*(each for _ in named))) for each in (scalars, st.none() | st.integers(1, 9))]
    accepted = draw(st.none() | st.lists(st.integers(0, len(named) - 1), unique=True)) if named else None
    outcome = draw(st.sampled_from(("ok", "fail", "info")))
    return Op(
        draw(st.sampled_from(("setup", "w0", "w0.1", "w1", "nemesis"))),
        kind,
        start,
        draw(st.none() | st.integers(start, start + 5)),
        tuple(named),
        outcome,
        draw(st.none() | st.integers(0, 9)),
        tuple(aligned[0] or ()),
        tuple(aligned[1] or ()),
        tuple(draw(st.tuples(*(st.none() | st.integers(0, 3) for _ in named)))) if draw(st.booleans()) else (),
        None if accepted is None else tuple(accepted),
        draw(st.none() | st.sampled_from(("lock", "connection"))) if outcome != "ok" else None,
        draw(st.sampled_from(("setup", "main", "quiet", "a phase"))),
        draw(st.integers(0, 2)),
        draw(values),
        draw(st.none() | st.integers(0, 9)),
        draw(st.none() | texts),
    )


@settings(max_examples=8)
@given(st.lists(operations(), max_size=20))
def test_nothing_of_a_history_that_was_made_up_is_lost(made: list[Op]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert_nothing_is_lost(saved(Path(folder) / "result", History(made, processes=[Process("w1", ended=None)])))


def test_nothing_of_random_work_is_lost(tmp_path: Path) -> None:
    assert_nothing_is_lost(saved(tmp_path / "result", random_work(1, 12)))


@pytest.fixture(scope="module")
def crashed(once: Once) -> Path:
    """The bundle of an exploration: many schedules, workers killed at their statements, and claims nobody knows the end of."""

    def make(folder: Path) -> None:
        command = [
            sys.executable,
            "-m",
            "contend",
            "explore",
            "claim-race",
            "--crash",
            "--workers",
            "2",
            "--batch",
            "1",
        ]
        command += ["--system", "reference:select-then-update"]
        subprocess.run(command, cwd=folder, check=False, capture_output=True)

    return (once("exported", make) / "runs" / "latest").resolve()


def first_of(bundle: Path) -> Path:
    return min((bundle / "results").iterdir())


def test_nothing_of_an_exploration_is_lost(crashed: Path) -> None:
    place = first_of(crashed)
    assert_nothing_is_lost(place)
    document = json.loads(exported(crashed, "json"))
    saved_context = json.loads((place / "context.json").read_text(encoding="utf-8"))
    assert document["context"] == {name: saved_context[name] for name in history.CONTEXT}
    lines = lines_of(exported(crashed, "edn"))
    assert len({line["schedule"] for line in lines[1:]}) > 2
    assert {line["process"].name for line in lines if line["f"].name == "kill"} == {"nemesis"}
    told = Counter(line["operation"] for line in lines[1:])
    assert 1 in told.values()  # one that never came back


def test_one_that_overlaps_itself_or_was_lost_goes_on_under_another_number(tmp_path: Path) -> None:
    made = ops(
        Op("w0", "round", 0, 100),
        claim("w0", 10, 20, 1),
        complete("w0", 30, 40, 1),
        claim("w0", 50, 60, outcome="info"),
        claim("w0", 70, 80, 2),
        claim("w2", 20, 22, 4),
        claim("w1", 75, None),
        claim("w1", 90, 95, 3),
        kill(12, 14, "w1"),
        fault("pause", 13, 99, "w1", kind="pause"),
        kill(20, 21, "w0"),
    )
    lines = lines_of(exported(saved(tmp_path / "result", made), "edn"))[1:]
    begun: dict[tuple[str, int], object] = {}
    for line in {each["operation"]: each for each in reversed(lines)}.values():
        begun[line["f"].name, line["time"]] = name_of(line["process"])
    assert begun["round", 0] == 0
    assert begun["claim", 10] == begun["complete", 30] == begun["claim", 50] == 1
    assert begun["claim", 20] == 2
    assert begun["claim", 70] == 3  # that at 50 may still be going on
    assert begun["claim", 75] == 4
    assert begun["claim", 90] == 5
    assert [line["name"] for line in lines if line["time"] == 20 and line["f"].name == "claim"] == ["w2", "w0"]
    assert begun["kill", 12] == begun["kill", 20] == "nemesis"
    assert begun["pause", 13] == "nemesis-2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("7", "7"),
        ('"7"', '"7"'),
        ("-9223372036854775809", "-9223372036854775809N"),
        ("0.10", "0.10"),
        ("1e400", "1e400M"),
        ("[NaN,-Infinity]", "[##NaN ##-Inf]"),
        ('{"a b":null,":c":[true,{}]}', '{"a b" nil, ":c" [true {}]}'),
        ('"\\ud800 \\u0000\\n\u2028é\\""', '"\\ud800 \\u0000\\n\\u2028é\\""'),
        ('{"a":1,"a":2}', '{:json "{\\"a\\":1,\\"a\\":2}"}'),
        ("[" * 100_000 + "]" * 100_000, f'{{:json "{"[" * 100_000}{"]" * 100_000}"}}'),
        ("no", '{:json "no"}'),
    ],
)
def test_what_json_can_say_and_how_edn_has_it(text: str, said: str) -> None:
    assert export.from_json(text) == said


def test_the_page_shows_what_is_written(tmp_path: Path) -> None:
    made = History(
        [
            Op("setup", "enqueue", 1_000, 3_000, (1, 2), requested=2, phase="setup"),
            claim("w0", 5_000, 9_000, 1, tokens=(1,), attempts=(1,)),
            claim("w1", 6_000, 9_500, 1, tokens=(2,), attempts=(1,)),
            complete("w1", 12_000, 14_000, 1, tokens=(2,)),
            kill(13_000, 13_500, "w0"),
            complete("w0", 12_500, None, 1, tokens=(1,)),
            Op("quiet", "claim", 20_000, 21_000, (), "fail", 1, error="lock", code="SQLITE_BUSY"),
        ]
    )
    place = saved(tmp_path / "result", made)
    (shown,) = re.findall(r"^```edn\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    head, _, lines = exported(place, "edn").decode().partition("\n")
    assert shown == lines
    (first,) = re.findall(r"^\{:index 0, .*\n", PAGE, re.MULTILINE)
    there, here = ({key.name for key in lines_of(line.encode())[0]["value"]} for line in (f"{head}\n", first))
    assert here < there


def contend(*arguments: object, cwd: Path, **more: Any) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "contend", "export", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False, **more)
    return done.returncode, done.stdout, done.stderr


def test_the_command_writes_a_file_or_standard_output(crashed: Path, tmp_path: Path) -> None:
    place = first_of(crashed)
    status, out, err = contend(crashed, "--format", "edn", "--out", "deep/h.edn", cwd=tmp_path)
    number = len(tables_of(place)["operations"])
    assert (status, out, err) == (0, f"deep/h.edn: {number} operations of {place.name}.\n", "")
    text = (tmp_path / "deep" / "h.edn").read_text(encoding="utf-8")
    assert [each.name for each in (tmp_path / "deep").iterdir()] == ["h.edn"]
    assert contend(place, "--format", "edn", cwd=tmp_path) == (0, text, "")
    assert contend(crashed, "--format", "edn", "--out", "/dev/stdout", cwd=tmp_path)[1].startswith(text)
    assert Path("/dev/stdout").exists()


def test_a_run_that_was_killed_before_it_merged_its_history_is_exported_too(tmp_path: Path) -> None:
    place = saved(tmp_path / "result", ops(claim("w0", 1, 2, 7)))
    before = exported(place, "json")
    shutil.rmtree(place / "history")
    assert exported(place, "json") == before
    assert not (place / "history").exists()


def _unmerged(bundle: Path) -> None:
    for place in (bundle / "results").iterdir():
        shutil.rmtree(place / "events")


def _cut_short(bundle: Path) -> None:
    for file in bundle.glob("results/*/history/handles.parquet"):
        file.write_bytes(file.read_bytes()[:99])


def _shuffled(bundle: Path) -> None:
    for file in bundle.glob("results/*/history/operations.parquet"):
        with duckdb.connect() as connection:
            connection.execute(f"COPY (FROM '{file}' ORDER BY operation DESC) TO '{file}.new' (FORMAT parquet)")
        Path(f"{file}.new").replace(file)


@pytest.mark.parametrize(
    ("harm", "arguments", "said"),
    [
        (None, ["nowhere", "--format", "edn"], "There is no bundle at nowhere."),
        (None, ["copy", "--format", "edn", "--result", "9"], "copy has no result 9. There are 1: 1 claim-race-"),
        (None, ["copy", "--format", "edn", "--out", "."], "--out . is a folder."),
        (None, ["copy", "--format", "edn", "--out", "/dev/full"], "Cannot write /dev/full: No space left on device"),
        (None, ["copy", "--format", "edn", "--out", "copy/bundle.json/h"], "Cannot write copy/bundle.json"),
        (None, ["copy", "--format", "xml"], "'xml' is not one of 'edn', 'json'"),
        (_unmerged, ["copy", "--format", "edn"], "has no history"),
        (_cut_short, ["copy", "--format", "json", "--out", "h"], "cannot be read"),
        (_shuffled, ["copy", "--format", "edn", "--out", "h"], "not in the order contend saves them in"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    harm: Callable[[Path], None] | None, arguments: list[str], said: str, crashed: Path, tmp_path: Path
) -> None:
    shutil.copytree(crashed, tmp_path / "copy")
    if harm is not None:
        harm(tmp_path / "copy")
    (tmp_path / "h").write_text("as it was")
    status, _, err = contend(*arguments, cwd=tmp_path)
    assert status == 254, err
    assert len(err.strip().splitlines()) == 1
    assert said in err
    assert (tmp_path / "h").read_text() == "as it was"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["copy", "h"]
