"""The history of a saved result for other people's tools: in EDN as Jepsen has histories, or all its tables as one JSON document.

Nothing of it is lost, and it goes row by row, so it may be larger than memory. docs/export.md says what each line holds.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, Literal

import duckdb
import orjson

from harness.bundle import Bundle, read_json, replacing, writing
from harness.errors import BundleUnreadable, OutputUnwritable, UsageError
from harness.history import CONTEXT, TABLES
from harness.merging import MEMORY_LIMIT, merge, open_tables
from harness.scratch import scratch

Form = Literal["edn", "json"]
Row = dict[str, Any]

SCHEMA: Final = 1  # of the JSON document
AT_ONCE: Final = 10_000  # rows fetched
OF_A_HANDLE: Final = ("job", "token", "attempt", "priority", "accepted")
# Whose jobs are the answer, so that nobody knew them when it was invoked. Those of an enqueue are as little known, but a checker of
# queues looks for them there.
ANSWERED: Final = ("claim", "status_all", "read_run", "add_actions")
ALL: Final = -1  # schedules
NEMESES: Final = ("nemesis",)  # of a history that does not say what its processes are; others say so themselves

_KEYWORD: Final = re.compile(r"[A-Za-z][\w*!?<>=+-]*", re.ASCII)
_SPECIAL: Final = re.compile(r'["\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LONG: Final = 1 << 63


def write(path: Path, number: int, form: Form, out: Path) -> tuple[str, int]:
    """Export one result of a bundle, counted from 1, or the result in the folder `path`; gives its folder's name and how many operations.

    What is at `out` is replaced once all is written. Raises `BundleUnreadable`, `UsageError` where there is no such result, and
    `OutputUnwritable`.
    """
    with _opened(path, number) as saved, writing(out):
        if out.is_dir():
            raise OutputUnwritable(f"--out {out} is a folder. Give the file that the history goes into.")
        if out.exists() and not out.is_file():  # a pipe or a device
            with out.open("wb") as into:
                return saved.name, _pour(saved, form, into)
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out.resolve()) as draft, draft.open("wb") as into:
            count = _pour(saved, form, into)
        return saved.name, count


def pour(path: Path, number: int, form: Form, into: IO[bytes]) -> int:
    """Export as `write` does, to a stream."""
    with _opened(path, number) as saved:
        return _pour(saved, form, into)


def _pour(saved: _Saved, form: Form, into: IO[bytes]) -> int:
    for piece in _as_edn(saved) if form == "edn" else _as_json(saved):
        into.write(piece)
    return saved.operations


class _Saved:
    """A history on disk, its tables read from first row to last."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, name: str, context: Row, made_by: str) -> None:
        self.name = name
        self.context = context
        self.made_by = made_by
        self.operations = 0  # that were read
        self._connection = connection

    def rows(self, table: str) -> Iterator[Row]:
        """Give the rows of a table, in the order they were saved."""
        columns = list(TABLES[table])
        with self._connection.cursor() as cursor:
            cursor.execute(f"SELECT {', '.join(columns)} FROM {table}")  # noqa: S608  # our own words
            while rows := cursor.fetchmany(AT_ONCE):
                for row in rows:
                    yield dict(zip(columns, row, strict=True))

    def operations_with_handles(self) -> Iterator[tuple[Row, list[Row]]]:
        """Give each operation with its handles. Raises `BundleUnreadable` where a table is not in the order it is saved in."""
        handles = self.rows("handles")
        handle = next(handles, None)
        last = (0, 0)
        for row in self.rows("operations"):
            mine: list[Row] = []
            while handle is not None and handle["operation"] == row["operation"]:
                if handle["position"] != len(mine):
                    raise self._out_of_order("handles")
                mine.append({name: handle[name] for name in OF_A_HANDLE})
                handle = next(handles, None)
            if (place := (row["invoked_ns"], row["operation"])) < last:
                raise self._out_of_order("operations")
            last = place
            self.operations += 1
            yield row, mine
        if handle is not None:
            raise self._out_of_order("handles")

    def nemeses(self) -> frozenset[str]:
        """Name the processes that are no clients of the system."""
        return frozenset({*NEMESES, *(row["process"] for row in self.rows("processes") if row["role"] == "nemesis")})

    def _out_of_order(self, table: str) -> BundleUnreadable:
        return BundleUnreadable(
            f"The {table} of {self.name} are not in the order contend saves them in. Merge the run again."
        )


@contextlib.contextmanager
def _opened(path: Path, number: int) -> Iterator[_Saved]:
    """Open the history of one result; one that was not merged, as its run was killed, is merged for the while."""
    place, about = _place(path, number)
    if not (place / "context.json").exists() or not any((place / "events").glob("*.ndjson")):
        raise BundleUnreadable(f"{place} has no history: the run was ended before this result had begun.")
    saved = read_json(place / "context.json")
    with scratch("export") as folder, duckdb.connect(config={"temp_directory": str(folder)}) as connection:
        connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
        connection.execute("SET enable_progress_bar = false")
        try:
            merged = (place / "history" / "operations.parquet").exists()
            if not merged:
                merge(place, folder)
            open_tables(connection, (place if merged else folder) / "history")
            yield _Saved(
                connection, place.name, {name: saved.get(name) for name in CONTEXT}, str(about.get("contend", ""))
            )
        except duckdb.Error as error:
            said = str(error).splitlines()[0].rstrip(".")
            raise BundleUnreadable(f"The history in {place} cannot be read: {said}. Merge the run again.") from error


def _place(path: Path, number: int) -> tuple[Path, Mapping[str, Any]]:
    """The folder of a result, and what its bundle says of itself."""
    if (path / "context.json").exists():
        above = path.resolve().parents[1]
        return path.resolve(), Bundle.open(above).about if (above / "bundle.json").exists() else {}
    bundle = Bundle.open(path)
    places = bundle.places()
    if number > len(places):
        named = ", ".join(f"{n} {place.name.partition('-')[2]}" for n, place in enumerate(places[:20], 1))
        more = ", …" if len(places) > 20 else ""
        raise UsageError(f"{path} has no result {number}. There are {len(places)}: {named}{more}.")
    return places[number - 1], bundle.about


def _as_json(saved: _Saved) -> Iterator[bytes]:
    """One document, a row on each line; the handles of an operation stand with it."""
    head = {"schema": SCHEMA, "contend": saved.made_by, "result": saved.name, "context": saved.context}
    yield orjson.dumps(head)[:-1]
    for table in ("operations", "statements", "processes", "acquisitions"):
        yield f',\n"{table}":['.encode()
        between = b"\n"
        if table == "operations":
            rows: Iterator[Row] = ({**row, "handles": mine} for row, mine in saved.operations_with_handles())
        else:
            rows = saved.rows(table)
        for row in rows:
            yield between + orjson.dumps(row)
            between = b",\n"
        yield b"]"
    yield b"}\n"


def _as_edn(saved: _Saved) -> Iterator[bytes]:
    """A map a line: one when an operation was invoked and one when it was completed, in the order of time."""
    nemeses = saved.nemeses()
    seats = _Seats()
    index = 0
    start: int | None = None
    open_: list[tuple[int, int, str, tuple[int, str], str, bool]] = []  # completions that are due, the first on top

    def line(time: int, rest: str) -> bytes:
        nonlocal index
        index += 1
        return f"{{:index {index - 1}, :time {time}, {rest}}}\n".encode()

    def completion() -> bytes:
        completed_ns, _, rest, who, seat, again = heapq.heappop(open_)
        if again:
            seats.leave(who, seat)
        return line(completed_ns - (start or 0), rest)

    for row, handles in saved.operations_with_handles():
        if start is None:
            start = row["invoked_ns"]
            yield line(0, _heading(saved, start))
        while (
            open_ and open_[0][0] < row["invoked_ns"]
        ):  # of two at the same moment none is said to have been the first
            yield completion()
        harm = row["process"] in nemeses
        who = (ALL if harm else row["schedule"], row["process"])
        seat = seats.take(who, harm=harm)
        lost = row["completed_ns"] is None
        yield line(row["invoked_ns"] - start, _told(row, handles, seat, harm=harm, last=lost, first=True))
        if not lost:
            rest = _told(row, handles, seat, harm=harm, last=True, first=False)
            again = harm or row["outcome"] != "info"
            heapq.heappush(open_, (row["completed_ns"], row["operation"], rest, who, seat, again))
    if start is None:
        yield line(0, _heading(saved, 0))
    while open_:
        yield completion()


class _Seats:
    """Processes as Jepsen counts them: each does one thing at a time, and none goes on after an operation nobody knows the end of."""

    def __init__(self) -> None:
        self._free: dict[tuple[int, str], list[str]] = {}
        self._workers = 0
        self._harms: dict[str, int] = {}

    def take(self, who: tuple[int, str], *, harm: bool) -> str:
        """Give one that is free, or a new one: a number for a client, a keyword for who does harm."""
        if free := self._free.get(who):
            return free.pop()
        if harm:
            name = who[1]
            number = self._harms[name] = self._harms.get(name, 0) + 1
            return _keyword(name if number == 1 else f"{name}-{number}")
        self._workers += 1
        return str(self._workers - 1)

    def leave(self, who: tuple[int, str], seat: str) -> None:
        """Say that it is free again."""
        self._free.setdefault(who, []).append(seat)


def _heading(saved: _Saved, start: int) -> str:
    """The first line, which no checker takes for an operation of a client: what was tested, and when `:time` begins."""
    told = {"contend": saved.made_by, "start-ns": start, **{n.replace("_", "-"): v for n, v in saved.context.items()}}
    return f":process :contend, :type :info, :f :history, :value {_map(told)}"


def _told(row: Row, handles: list[Row], seat: str, *, harm: bool, first: bool, last: bool) -> str:
    """What one line says but for its place: all that is known is in the last one of an operation."""
    outcome = "invoke" if first else row["outcome"]
    said = [f":process {seat}", f":type {':info' if harm else _keyword(outcome)}", f":f {_keyword(row['kind'])}"]
    known = row["kind"] not in ANSWERED or (last and (handles or row["outcome"] == "ok"))
    said.append(f":value {_list(handles, 'job') if known else 'nil'}")
    if last:
        for name, plural in (("token", "tokens"), ("attempt", "attempts"), ("priority", "priorities")):
            if any(handle[name] is not None for handle in handles):
                said.append(f":{plural} {_list(handles, name)}")
        if not all(handle["accepted"] for handle in handles):
            said.append(f":accepted {_list(handles, 'accepted')}")
        if row["value"] is not None:
            said.append(f":answer {from_json(row['value'])}")
        if row["returned"] is not None:
            said.append(f":returned {row['returned']}")
        error = {name: row[f"error_{name}"] for name in ("kind", "class", "code", "message")}
        if given := {name: text for name, text in error.items() if text is not None}:
            said.append(f":error {_map(given)}")
        if harm or (first and row["outcome"] != "info"):
            said.append(f":outcome {_keyword(row['outcome'])}")
    if row["requested"] is not None:
        said.append(f":requested {row['requested']}")
    if row["phase"] is not None:
        said.append(f":phase {_keyword(row['phase'])}")
    said.append(f":schedule {row['schedule']}, :name {_text(row['process'])}, :operation {row['operation']}")
    return ", ".join(said)


def _list(handles: list[Row], name: str) -> str:
    values = (handle[name] for handle in handles)
    if name in ("job", "token"):
        return f"[{' '.join('nil' if value is None else from_json(value) for value in values)}]"
    return f"[{' '.join(_edn(value) for value in values)}]"


def from_json(text: str) -> str:
    """Say a JSON value in EDN. The keys of a map stay texts; what EDN has no word for is `{:json "the text"}`."""
    if len(text) < 19 and text.isascii() and text.isdigit():
        return text
    try:
        return _edn(json.loads(text, parse_float=_Number, object_pairs_hook=_Pairs))
    except (ValueError, RecursionError):
        return f"{{:json {_text(text)}}}"


class _Number(str):
    """A number that is not whole, as it was written."""

    __slots__ = ()


class _Pairs(dict[str, Any]):
    """A map with no key twice, as EDN has it; else a ValueError."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        if len(self) != len(pairs):
            raise ValueError("a key twice")


def _edn(value: Any) -> str:
    match value:
        case None:
            return "nil"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value) if -_LONG <= value < _LONG else f"{value}N"
        case _Number():  # more than a double can hold is an exact decimal
            return f"{value}M" if math.isinf(float(value)) else str(value)
        case float():
            return "##NaN" if math.isnan(value) else "##Inf" if value > 0 else "##-Inf"
        case str():
            return _text(value)
        case dict():
            return f"{{{', '.join(f'{_text(key)} {_edn(each)}' for key, each in value.items())}}}"
        case _:
            return f"[{' '.join(_edn(each) for each in value)}]"


def _map(values: Mapping[str, Any]) -> str:
    return f"{{{', '.join(f':{name} {_edn(value)}' for name, value in values.items())}}}"


def _keyword(name: str) -> str:
    """A keyword, or a text where the name cannot be one."""
    return f":{name}" if _KEYWORD.fullmatch(name) else _text(name)


def _text(text: str) -> str:
    return f'"{_SPECIAL.sub(_escaped, text)}"'


def _escaped(found: re.Match[str]) -> str:
    letter = found[0]
    return _ESCAPES.get(letter) or f"\\u{ord(letter):04x}"
