"""Which tables a statement touches, as far as its text and Postgres's catalogue tell; when in doubt, any.

Two statements that touch different tables, of transactions at READ COMMITTED, can change places and nobody notices: none reads or locks
what the other writes, each takes a snapshot of its own, and a transaction lets go only of what it has touched. A foreign key has a
statement touch the other table as well. What is not in the text, such as a trigger, a function or a view, makes it any table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.protocols import Reach
from harness.witnesses.shapes import kind, shape, statements

if TYPE_CHECKING:
    import psycopg

_WORDS: Final = re.compile(r"\w+")
_CALLED: Final = re.compile(r"([\w.\"]+)\s*\(")
_BEFORE_PARENTHESIS: Final = frozenset(("conflict", "set", "returning", "update"))
# What tells transactions apart; tables that are named otherwise than by a word.
_DOUBTFUL: Final = frozenset(("xmin", "xmax", "cmin", "cmax", "ctid", "tableoid", "regclass", "u"))
_MOST_SEEN: Final = 1_000  # texts that are kept with what they touch
_SQL: Final = Path(__file__).with_name("tables.sql")


class Tables:
    """The tables of a database, each with all that foreign keys join it to."""

    def __init__(self, probe: psycopg.Connection, harmless: Iterable[str]) -> None:
        """Read the catalogue; `harmless` are functions that read nothing but what they are given."""
        row = probe.execute(_SQL.read_bytes()).fetchone()
        assert row is not None  # noqa: S101  # a SELECT without FROM gives one
        self._known, pairs = row
        self._joined: dict[str, set[str]] = {}
        for one, other in pairs:
            together = self._joined.setdefault(one, {one}) | self._joined.setdefault(other, {other})
            self._joined.update(dict.fromkeys(together, together))
        self._seen: dict[str, Reach] = {}
        self._harmless = {*harmless, *_BEFORE_PARENTHESIS, *self._joined}

    def forget(self) -> None:
        """Know nothing from now on: something was done by which it may have become another database."""
        self._known = False

    def touched(self, text: str) -> Reach:
        """The tables a text may touch; None: any."""
        if not self._known:
            return None
        if text not in self._seen:
            if len(self._seen) == _MOST_SEEN:
                self._seen.clear()
            self._seen[text] = self._look(text)
        return self._seen[text]

    def _look(self, text: str) -> Reach:
        found: set[str] = set()
        for each in statements(text):
            touched = self._touched(each)
            if touched is None:
                return None
            found |= touched
        return frozenset(found)

    def _touched(self, text: str) -> set[str] | None:
        what = kind(text)
        every = [word.lower() for word in _WORDS.findall(text)]
        words = {*every}
        if what not in ("read", "write"):
            self._known = self._known and what != "other"
            return None
        if every.count("into") > every.count("insert"):  # a table is made
            self.forget()
        if words & _DOUBTFUL or any(word.startswith("pg_") for word in words):
            return None
        called = {name.strip('"').lower() for name in _CALLED.findall(shape(text))}
        named = words & self._joined.keys()
        if not self._known or not called <= self._harmless or not named:
            return None
        return set().union(*(self._joined[name] for name in named))
