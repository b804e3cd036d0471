"""A schedule as PostgreSQL's own isolationtester takes it: a second judge, that runs the statements without the system or contend.

The form: https://github.com/postgres/postgres/blob/master/src/test/isolation/README. A block of SQL in it ends at its first `}`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.errors import ContendError
from harness.protocols import Dump
from harness.witnesses.shapes import kind, placeholders, shape, unbraced

# Of a session in which a deadlock was ended, sooner than the server's 1 s for the others: so that the same one is the victim.
VICTIM_MS: Final = 100
_COPY: Final = re.compile(r"COPY\b", re.IGNORECASE)
_BY_NAME: Final = re.compile(r"EXECUTE\b", re.IGNORECASE)
_ALONE: Final = re.compile(
    r"(?:CALL|DO|VACUUM|(?:CREATE|DROP) (?:DATABASE|TABLESPACE))\b|.*\bCONCURRENTLY\b", re.IGNORECASE
)
_CAPTION: Final = """\
# {title}: the schedule with the fewest context switches that breaks {invariant}.
# For PostgreSQL's isolationtester, on an empty database: PG_TEST_TIMEOUT_DEFAULT=5 isolationtester 'dbname=…' < this file
#
# setup is what pg_dump told of the database as it was before the schedule: tables, rows, indexes, triggers, functions, and since
# PostgreSQL 18 what the planner knew of them. Not here: roles and rights, and what a client had set on its connection, or prepared,
# before the schedule.
# A step is a statement with its values, written as literals; the order is that in which they were let on. Where a client has its
# statement committed only once others had gone on, BEGIN and COMMIT stand for the transaction the server made for it.
"""


class NotPlainError(Exception):
    """A schedule is more than SQL text; says why, in one sentence."""


@dataclass(frozen=True, slots=True)
class Line:
    """One statement of a session."""

    session: str
    sql: str


def export(
    schedules: Sequence[Mapping[str, Any]],
    restore: Callable[[], None],
    dump: Callable[[], Dump | None],
    folder: Path,
    title: str,
    *,
    plain: bool = True,
) -> list[dict[str, Any]]:
    """Write a spec of each schedule into the folder; give the schedules with the `spec`'s path, or else why there is `no_spec`.

    `schedules` are as `explore.repeat` gives them; `restore` puts the database back as it was before each. Where `dump` tells nothing,
    neither is said. Not `plain`: there was a crash, or time passed.
    """
    if not schedules:
        return []
    try:
        restore()
        made = dump()
    except ContendError as error:
        return [{**each, "no_spec": str(error)} for each in schedules]
    if made is not None and not plain:
        return [{**each, "no_spec": "It has no word for a crash, or for time that passes."} for each in schedules]
    return [dict(each) if made is None else {**each, **_written(each, made, folder, title)} for each in schedules]


def _written(schedule: Mapping[str, Any], made: Dump, folder: Path, title: str) -> dict[str, str]:
    try:
        text = spec(schedule, made, title)
    except NotPlainError as reason:
        return {"no_spec": str(reason)}
    file = folder / f"{schedule['invariant']}.spec"
    file.write_text(text, encoding="utf-8", errors="surrogateescape")
    return {"spec": str(file)}


def spec(schedule: Mapping[str, Any], made: Dump, title: str) -> str:
    """Give the spec of a schedule as `explore.repeat` gives it. Raises `NotPlainError`."""
    lines = told(schedule)
    settings = [
        f"SELECT set_config({_literal(name)}, {_literal(value)}, false);" for name, value in made.settings.items()
    ]
    victims = {_session(schedule, ran) for step in schedule["steps"] for ran in step["ran"] if ran["error"] == "40P01"}
    parts = [
        _CAPTION.format(title=" ".join(title.split()), invariant=schedule["invariant"]),
        f"setup\n{_block(made.setup)}\nteardown\n{_block(made.teardown or 'SELECT 1')}\n",
    ]
    steps = [(f"{line.session}_{number}", line) for number, line in enumerate(lines, 1)]
    for session in dict.fromkeys(line.session for line in lines):
        first = [*settings, *([f"SET deadlock_timeout = '{VICTIM_MS}ms';"] if session in victims else [])]
        parts.append(f"session {session}\n" + (f"setup {_block(' '.join(first))}\n" if first else ""))
        parts += [f"step {name} {_block(line.sql)}\n" for name, line in steps if line.session == session]
        parts.append("\n")
    parts.append(f"permutation {' '.join(name for name, _ in steps)}\n")
    return "".join(parts)


def told(schedule: Mapping[str, Any]) -> list[Line]:
    """The statements of a schedule, in the order in which they were let on. Raises `NotPlainError`."""
    if not schedule["steps"]:
        raise NotPlainError("The schedule did not go the same again, so there are no steps to tell.")
    places: list[list[Line]] = []  # of what was let on, in that order: what waits fills its place only when it ends
    waiting: dict[int, list[Line]] = {}
    is_open: dict[str, bool] = defaultdict(bool)
    ours: set[str] = set()  # sessions with a transaction that we say BEGIN to
    for step in schedule["steps"]:
        own = [ran for ran in step["ran"] if ran["worker"] == step["worker"]]
        waits = step["blocked_by"] and step["waiting"] not in [ran["sql"] for ran in own]
        for ran in (*own, None, *(ran for ran in step["ran"] if ran["worker"] != step["worker"])):
            if ran is None:
                if waits:
                    waiting[step["worker"]] = []
                    places.append(waiting[step["worker"]])
                continue
            session, sql = _session(schedule, ran), _plain(ran)
            place = waiting.pop(ran["worker"], None)
            if place is None:
                place = []
                places.append(place)
            if ran["open"] and not is_open[session] and kind(sql) != "begin":
                if _ALONE.match(shape(sql)):
                    raise NotPlainError(f"A statement may not stand in a transaction block as SQL text: {_short(sql)}.")
                place.append(Line(session, "BEGIN"))
                ours.add(session)
            place.append(Line(session, sql))
            is_open[session] = ran["open"]
            if not ran["open"] and session in ours:
                ours.remove(session)
                if kind(sql) not in ("commit", "rollback"):
                    places.append([Line(session, "ROLLBACK" if ran["error"] else "COMMIT")])
    if waiting:
        raise NotPlainError("A statement was still waiting when the schedule had ended.")
    return [line for place in places for line in place]


def _plain(ran: Mapping[str, Any]) -> str:
    """The statement as text that says all of it."""
    sql = str(ran["text"])
    if not sql:
        raise NotPlainError(f"A statement is too long, or no SQL text: {_short(ran['shape'])}.")
    if placeholders(sql) or "\N{REPLACEMENT CHARACTER}" in sql:
        raise NotPlainError(f"A value cannot be written as SQL text in: {_short(sql)}.")
    if _COPY.match(shape(sql)):
        raise NotPlainError(f"COPY sends its rows beside the SQL text: {_short(sql)}.")
    if _BY_NAME.match(shape(sql)):
        raise NotPlainError(f"What it runs was prepared before, by another statement: {_short(sql)}.")
    return sql


def _block(sql: str) -> str:
    try:
        text = unbraced(sql).strip()
    except ValueError as error:
        raise NotPlainError(
            f"isolationtester's SQL ends at the first closing brace, and {error}: {_short(sql)}."
        ) from None
    return f"{{\n{text}\n}}" if "\n" in text else f"{{ {text} }}"


def _session(schedule: Mapping[str, Any], ran: Mapping[str, Any]) -> str:
    name = str(schedule["workers"][ran["worker"]])
    return name if ran["connection"] == 1 else f"{name}_c{ran['connection']}"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _short(sql: str) -> str:
    text = " ".join(sql.split())
    return text if len(text) <= 80 else text[:80] + "…"
