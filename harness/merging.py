"""From what each process wrote down to one history: NDJSON files in, five Parquet tables out (`harness.history`).

DuckDB does the work (`merging.sql`), streaming and spilling to disk, and notices any line that breaks the rules of
`harness.history`; only then are the files read again here, line by line, to say which line it was.
"""

from __future__ import annotations

import errno
import glob
import json
import os
import shutil
import stat
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, Final, get_args

import duckdb

from harness.errors import HistoryDamaged
from harness.history import TABLES, StatementKind
from harness.outcome import Outcome
from harness.scratch import reap, scratch

MEMORY_LIMIT: Final = "1500MB"  # of DuckDB's buffers; the process stays under 2 GiB
IN_MEMORY_BYTES: Final = 1 << 22  # of a Parquet file, below which its table is read once
OTHERS: Final = ("locust",)  # that have a log and no events
_LISTS: Final = ("jobs", "tokens", "attempts", "priorities", "accepted")


def open_tables(connection: duckdb.DuckDBPyConnection, history: Path) -> dict[str, str]:
    """Lay the tables of a merged history out as views; gives their files. Raises what DuckDB does where one is missing or damaged.

    A history made before acquisitions were recorded has none.
    """
    files = {}
    for table, columns in TABLES.items():
        path = (history / f"{table}.parquet").resolve()
        if table == "acquisitions" and not path.exists():
            typed = ", ".join(f"NULL::{kind} AS {name}" for name, kind in columns.items())
            connection.execute(f"CREATE VIEW {table} AS SELECT {typed} WHERE false")  # our own words
        else:
            columns_of = connection.read_parquet(glob.escape(str(path)))
            if path.stat().st_size < IN_MEMORY_BYTES:
                columns_of.create(table)  # tens of small queries follow, and each would open the file again
            else:
                columns_of.create_view(table)
            files[table] = str(path)
    return files


def merge(folder: Path, into: Path | None = None) -> None:
    """Read `folder/events`, and `folder/witness` and `folder/pools` (may be absent); write `history/<table>.parquet`, in `into` or there.

    An operation without a completion is `info`; a `fail` that committed a write is `info`; a torn last line is left out.
    The tables appear all together or not at all, replacing earlier ones. Raises `HistoryDamaged`, naming file and line, and `OSError` where
    they cannot be written.
    """
    events, statements, pools = (_said(folder / name) for name in ("events", "witness", "pools"))
    _miss(events, folder)
    into = into or folder
    history = into / "history"
    history.mkdir(exist_ok=True)
    reap(into)
    with scratch("merging", into) as place:
        try:
            _build(events, statements, pools, place)
        except (duckdb.InvalidInputException, duckdb.ConversionException) as error:
            _explain(events, statements, pools)
            raise HistoryDamaged(f"The history in {folder} cannot be read: {_first_line(error)}") from error
        except duckdb.IOException as error:  # DuckDB has no number for it
            full = os.strerror(errno.ENOSPC)
            number, why = (errno.ENOSPC, full) if full in str(error) else (errno.EIO, _first_line(error))
            raise OSError(number, why, str(history)) from error
        for table in TABLES:
            (place / f"{table}.parquet").replace(history / f"{table}.parquet")


def _said(place: Path) -> list[Path]:
    """The files of a folder that processes wrote to. Raises `HistoryDamaged` for what none of them made, as reading that may never end."""
    files = sorted(place.glob("*.ndjson"))
    for file in files:
        if not stat.S_ISREG(file.lstat().st_mode):
            raise HistoryDamaged(f"{file} is no file. Find out what put it there, then run again.")
    return files


def _miss(events: list[Path], folder: Path) -> None:
    """Raise `HistoryDamaged` where a process that came up, as its log shows, has left no events: somebody has removed them."""
    there = {file.stem for file in events}
    for log in sorted((folder / "logs").glob("*.txt")):
        if log.stem not in there and log.stem not in OTHERS:
            raise HistoryDamaged(
                f"What {log.stem} said it did, {folder / 'events' / f'{log.stem}.ndjson'}, is gone. "
                "Find out what removed it, then run again."
            )


def _build(events: list[Path], statements: list[Path], pools: list[Path], scratch: Path) -> None:
    """Write the tables into `scratch`; raises `duckdb.InvalidInputException` or `duckdb.ConversionException` where a file is damaged."""
    (scratch / "none.ndjson").touch()  # the readers need one file at least
    inputs = {str(_whole(file, scratch, f"e{n}")): file for n, file in enumerate(events)}
    seen = [str(_whole(file, scratch, f"s{n}")) for n, file in enumerate(statements)]
    lent = [str(_whole(file, scratch, f"p{n}")) for n, file in enumerate(pools)]
    with duckdb.connect(str(scratch / "merging.duckdb")) as connection:
        connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
        connection.execute(f"SET threads = {os.cpu_count() or 1}")
        connection.execute("SET enable_progress_bar = false")
        connection.begin()  # and never committed: this database is scratch, and each commit would wait for the disk twice
        connection.execute("CREATE TABLE sources (filename VARCHAR, process VARCHAR)")
        connection.execute(
            "INSERT INTO sources SELECT unnest(?), unnest(?)", [list(inputs), [file.stem for file in inputs.values()]]
        )
        none = str(scratch / "none.ndjson")
        for variable, files in (("event_files", inputs), ("statement_files", seen), ("pool_files", lent)):
            connection.execute(f"SET VARIABLE {variable} = ?", [[none, *map(glob.escape, files)]])
        connection.execute(resources.files("harness").joinpath("merging.sql").read_text(encoding="utf-8"))
        damage = connection.execute("SELECT what FROM damage LIMIT 1").fetchone()
        if damage:
            raise duckdb.InvalidInputException(damage[0])
        for table in TABLES:
            connection.table(table).write_parquet(str(scratch / f"{table}.parquet"))


def _whole(file: Path, scratch: Path, name: str) -> Path:
    """Give `file` under a plain name (its own is data and may look like a glob), without its last line if that is torn."""
    plain = scratch / f"{name}.ndjson"
    torn = _torn(file)
    if not torn:
        plain.symlink_to(file.resolve())
    else:
        shutil.copyfile(file, plain)
        os.truncate(plain, file.stat().st_size - torn)
    return plain


def _torn(file: Path) -> int:
    """Count the bytes of the last line if its end was never written, else 0."""
    tail = b""
    with file.open("rb") as source:
        position = source.seek(0, os.SEEK_END)
        while position > 0 and b"\n" not in tail:
            start = max(0, position - (1 << 16))
            source.seek(start)
            tail = source.read(position - start) + tail
            position = start
    tail = tail.rpartition(b"\n")[2]
    try:
        json.loads(tail)
    except ValueError:
        return len(tail)
    return 0


def _explain(events: list[Path], statements: list[Path], pools: list[Path]) -> None:
    """Raise `HistoryDamaged` for the first line, in the order of the files, that breaks a rule; return if there is none."""
    for file, check in [
        *((file, _Process(file.stem).wrong) for file in events),
        *((f, _wrong_statement) for f in statements),
        *((f, _wrong_acquisition) for f in pools),
    ]:
        for number, line in _lines(file):
            try:
                record = json.loads(line)
            except ValueError:
                wrong = "it is not JSON"
            else:
                wrong = check(record) if isinstance(record, dict) else "it is not a JSON object"
            if wrong:
                raise HistoryDamaged(
                    f"{file}, line {number}: {wrong}. It reads {line[:200].decode(errors='replace')!r}. "
                    "Expected an event or a statement as harness/history.py defines them; "
                    "find out what wrote this line, then run again."
                )


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Give each whole line with its number, from 1."""
    left = file.stat().st_size - _torn(file)
    with file.open("rb") as source:
        for number, line in enumerate(source, 1):
            left -= len(line)
            if left >= 0:
                yield number, line.rstrip(b"\r\n")


class _Process:
    """The events of one process's file, checked one after another."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.invoked: dict[tuple[int, int], dict[str, Any]] = {}
        self.completed: set[tuple[int, int]] = set()
        self.once: set[tuple[int, str]] = set()

    def wrong(self, event: dict[str, Any]) -> str:
        """Say what is wrong with the next event; nothing if it is right."""
        kind, time, schedule = event.get("e"), event.get("t"), event.get("schedule", 0)
        if not _integer(time):
            return "it has no time `t` in whole nanoseconds"
        if not _integer(schedule):
            return "its schedule is not a whole number"
        if kind in ("process", "end"):
            if (schedule, kind) in self.once:
                return f"there was a {kind!r} line before it"
            self.once.add((schedule, kind))
            if kind == "process" and event.get("process") != self.name:
                return f"it speaks for process {event.get('process')!r} in the file of {self.name!r}"
            return ""
        if kind != "invoke" and kind not in get_args(Outcome):
            return f"there is no event {kind!r}"
        if not _integer(event.get("op")):
            return "it has no whole number `op`"
        return self._wrong_operation(event, (schedule, event["op"]))

    def _wrong_operation(self, event: dict[str, Any], key: tuple[int, int]) -> str:
        lists = {name: event.get(name) or [] for name in _LISTS}
        for name, values in lists.items():
            if not isinstance(values, list):
                return f"its {name} are no list"
            if name in ("attempts", "priorities", "accepted") and not all(v is None or _integer(v) for v in values):
                return f"its {name} are not whole numbers"
        if event["e"] == "invoke":
            if key in self.invoked:
                return f"operation {key[1]} was invoked before"
            if not isinstance(event.get("kind"), str):
                return "it has no `kind`"
            self.invoked[key] = event
            asked = lists["jobs"]
        else:
            if key not in self.invoked or key in self.completed:
                return f"operation {key[1]} was {'completed before' if key in self.completed else 'never invoked'}"
            self.completed.add(key)
            if event["t"] < self.invoked[key]["t"]:
                return f"operation {key[1]} was completed before it was invoked"
            asked = lists["jobs"] if event.get("jobs") is not None else self.invoked[key].get("jobs") or []
            lists["priorities"] = self.invoked[key].get("priorities") or []
        if None in asked:
            return "a job of its list is null"
        for name in ("tokens", "attempts", "priorities"):
            if lists[name] and len(lists[name]) != len(asked) and not (name == "priorities" and not asked):
                return f"it has {len(asked)} jobs and {len(lists[name])} {name}"
        if any(position is None or not 0 <= position < len(asked) for position in lists["accepted"]):
            return "it accepts a position its list does not have"
        return ""


def _wrong_statement(statement: dict[str, Any]) -> str:
    """Say what is wrong with a statement; nothing if it is right."""
    if not isinstance(statement.get("process"), str):
        return "it has no process"
    if not all(_integer(statement.get(name)) for name in ("connection", "t0", "t1")):
        return "its connection, t0 or t1 is not a whole number"
    if statement["t1"] < statement["t0"]:
        return "it ended before it started"
    if statement.get("kind") not in get_args(StatementKind):
        return f"there is no kind of statement {statement.get('kind')!r}"
    return ""


def _wrong_acquisition(line: dict[str, Any]) -> str:
    """Say what is wrong with a line about an acquisition; nothing if it is right."""
    if not isinstance(line.get("process"), str) or not _integer(line.get("n")):
        return "it has no process or no whole number `n`"
    settled = _integer(line.get("got")) or isinstance(line.get("error"), str)
    if not _integer(line.get("returned")) and not (_integer(line.get("asked")) and settled):
        return "it has neither `returned` nor `asked` with `got` in whole nanoseconds or an `error`"
    return ""


def _integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
