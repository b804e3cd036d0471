"""What a statement is, whatever its values: its shape and its kind, read from the text alone.

Reads the lexical rules SQLite and PostgreSQL share, and each one's own where they do not collide: doubled quotes, `E'…'` escapes,
dollar quotes, nested comments (PostgreSQL), backticks (SQLite). The texts are read, never parsed: a name such as `[a 'b]`
(SQLite's brackets, which are PostgreSQL's subscripts) is read as the characters it holds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from harness.history import StatementKind

LONGEST_SHAPE: Final = 2000  # characters; what is longer is cut and ends in an ellipsis
_LONGEST_CACHED: Final = (
    10_000  # characters of SQL: with 2,048 entries the cache stays below some 60 MB at the very worst
)

# Everything that must not be read as plain text. Each piece matches to its end or to the end of the text, and possessively, so
# that no text, however broken, takes more than linear time. Each begins with one character of a set and then looks back at it:
# that lets the search skip what is plain at once, which made it twice as fast.
_STRING = r"(?<=')(?:(?<=[^\w$][eE]')[^'\\]*+(?:(?:''|\\.|\\\Z)[^'\\]*+)*+|[^']*+(?:''[^']*+)*+)(?:'|\Z)"
_NAME = r'(?<=")[^"]*+(?:""[^"]*+)*+(?:"|\Z)|(?<=`)[^`]*+(?:`|\Z)'
_DOLLAR = r"(?<=\$)(?<![\w$]\$)(?P<tag>(?:[^\W\d]\w*+)?+)\$.*?(?:\$(?P=tag)\$|\Z)"
_NESTED = r"/\*(?:[^*/]|\*(?!/)|/(?!\*)|INNER)*+\*/"
_COMMENT = (
    r"(?<=-)-[^\n]*+|(?<=/)(?:"
    + _NESTED.replace("INNER", _NESTED.replace("INNER", _NESTED.replace("|INNER", "")))[1:]
    + r"|\*.*?(?:\*/|\Z))"
)
_NUMBER = r"(?<=\d)(?<![\w$]\d)(?:(?<=0)[xX][0-9a-fA-F_]++|[\d_]*+(?:\.\d*+)?(?:[eE][+-]?\d++)?)"
_PLACEHOLDER = r"(?<=\?)\d*+|(?<=\$)(?<![\w$]\$)\w++|(?<=%)(?:s|\(\w++\)s)|(?<=[:@])(?<![:\w][:@])[^\W\d]\w*+"

_PIECES: Final = re.compile(
    rf"[-/'\"`$?%:@0-9](?:(?P<comment>{_COMMENT})|(?P<name>{_NAME})|{_STRING}|{_DOLLAR}|{_NUMBER}|{_PLACEHOLDER})",
    re.DOTALL,
)
_VALUE = r"[-+]?\ ?(?:[bBeExXnN]?\?(?:::[\w.]++(?:\[\])?)?|NULL|null|TRUE|true|FALSE|false|DEFAULT|default|\(…\))"
_LIST: Final = re.compile(
    rf"[(\[](?:(?<=\()|(?<=ARRAY\[)|(?<=array\[))\ ?{_VALUE}(?:\ ?,\ ?{_VALUE})*+\ ?(?:\)|(?P<array>\]))"
)
_ROWS: Final = re.compile(r"\(…\)(?:\ ?,\ ?\(…\))++")
_EQUAL_ROWS: Final = re.compile(
    r"(?<=[vV][aA][lL][uU][eE][sS])\ ?(\((?:[^()]++|\((?:[^()]++|\([^()]*+\))*+\))*+\))(?:\ ?,\ ?\1)++"
)

_KINDS: Final[dict[str, StatementKind]] = {
    **dict.fromkeys(("SELECT", "VALUES", "TABLE", "FETCH", "SHOW"), "read"),
    **dict.fromkeys(("INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE", "TRUNCATE"), "write"),
    **dict.fromkeys(("CALL", "DO", "EXECUTE"), "write"),  # what they run is not in their text: it may well write
    **dict.fromkeys(("BEGIN", "START"), "begin"),
    **dict.fromkeys(("COMMIT", "END"), "commit"),
    **dict.fromkeys(("ROLLBACK", "ABORT"), "rollback"),
}
_WORD: Final = re.compile(r"[\s(;]*+([^\W\d]\w*)")
_WRITES: Final = re.compile(
    # A locking clause (FOR UPDATE, FOR NO KEY UPDATE) only reads, and so does a function named replace().
    r"\b(?:INSERT\ (?:OR\ \w+\ )?INTO|REPLACE\ INTO|DELETE\ FROM|MERGE\ INTO|(?<!FOR\ )(?<!KEY\ )UPDATE)\b",
    re.IGNORECASE,
)
_INTO: Final = re.compile(r"\bINTO\b", re.IGNORECASE)
_COPY_IN: Final = re.compile(r"\bFROM\ (?:STDIN|PROGRAM|\?)", re.IGNORECASE)
_QUOTED: Final = re.compile(r"""["`](?:""" + _NAME + ")")
_SAVEPOINT: Final = re.compile(r"\bTO\b", re.IGNORECASE)
_SEPARATOR: Final = re.compile(rf"(?P<end>;)|[-/'\"`$](?:{_COMMENT}|{_NAME}|{_STRING}|{_DOLLAR})", re.DOTALL)


def shape(sql: str) -> str:
    """Give the statement with its values taken out: two statements have one shape when they differ in values and layout only.

    Literals and placeholders become `?`, lists of them (also of one) `(…)`, rows of VALUES a single one; comments and runs of
    white space become one space. A shape is never longer than `LONGEST_SHAPE` characters.
    """
    return _read_cached(sql)[0] if len(sql) <= _LONGEST_CACHED else _read(sql)[0]


def kind(sql: str) -> StatementKind:
    """Say what the statement does: begin, commit, rollback, read, write or other.

    What a statement sets going (a trigger, a function) is not in its text and does not count.
    """
    return _read_cached(sql)[1] if len(sql) <= _LONGEST_CACHED else _read(sql)[1]


def statements(sql: str) -> list[str]:
    """Split a text at its semicolons; parts that hold no statement (blank, or comments only) are left out, as servers do."""
    if ";" not in sql:
        return [sql] if shape(sql) else []
    parts, start = [], 0
    for piece in _SEPARATOR.finditer(sql):
        if piece["end"]:
            parts.append(sql[start : piece.start()])
            start = piece.end()
    parts.append(sql[start:])
    return [part for part in parts if shape(part)]


def fill(sql: str, values: Sequence[str | None]) -> str:
    """Write values in place of PostgreSQL's placeholders `$1`, `$2`, …; None leaves one as it is. Comments are left out."""

    def put(piece: re.Match[str]) -> str:
        if piece.lastgroup == "comment":
            return " "
        number = piece[0][1:]
        if piece[0][0] != "$" or not number.isdigit() or not 0 < int(number) <= len(values):
            return piece[0]
        return values[int(number) - 1] or piece[0]

    return _PIECES.sub(put, sql)


def placeholders(sql: str) -> bool:
    """Whether a statement for PostgreSQL has a placeholder: `$1`, `$2` and so on."""
    return any(piece[0][0] == "$" and piece[0][1:].isdigit() for piece in _PIECES.finditer(sql))


def unbraced(sql: str) -> str:
    """The same for PostgreSQL, whatever its values, without a `}` and without comments: in strings it is written as an escape.

    Raises `ValueError` where that cannot be: one stands in a name, a string of another kind, or one that goes on after a line's end.
    """
    if "}" not in sql:
        return sql
    text = _PIECES.sub(_unbraced, sql)
    backticks = any(
        piece.lastgroup == "name" and piece[0][0] == "`" for piece in _PIECES.finditer(sql)
    )  # SQLite's names
    if "}" in text or backticks:
        raise ValueError("it has a closing brace outside of a string")
    return text


_ESCAPED: Final = re.compile(r"\\.|\}", re.DOTALL)
_GOES_ON: Final = re.compile(r"\s*\n\s*'")


def _unbraced(piece: re.Match[str]) -> str:
    text, group = piece[0], piece.lastgroup
    before = piece.string[max(0, piece.start() - 3) : piece.start()]
    if group == "comment":
        return " "
    if group == "name" or "}" not in text or _GOES_ON.match(piece.string, piece.end()):
        return text
    if group == "tag":
        tag = f"${piece['tag']}$"
        body = text.removeprefix(tag).removesuffix(tag).replace("'", "''")
    elif re.search(r"(?:^|[^\w$])[eE]$", before):
        return _ESCAPED.sub(lambda found: r"\x7D" if found[0] in ("}", r"\}") else found[0], text)
    elif re.search(r"(?:^|[^\w$])(?:[bBxXnN]|[uU]&)$", before):
        return text  # B'…', X'…', N'…', U&'…'
    else:
        body = text[1:-1]
    return " E'" + body.replace("\\", "\\\\").replace("}", r"\x7D") + "'"


def _replace(piece: re.Match[str]) -> str:
    group = piece.lastgroup
    return "?" if group is None or group == "tag" else " " if group == "comment" else piece[0]


def _read(sql: str) -> tuple[str, StatementKind]:
    text = " ".join(_PIECES.sub(_replace, sql).split()).strip(" ;")
    if "?" in text:
        text = _LIST.sub(_fold, text)
        if "…" in text:
            text = _ROWS.sub("(…)", text)
        if "), (" in text or "),(" in text:
            text = _EQUAL_ROWS.sub(r" \1", text)
    return (text if len(text) <= LONGEST_SHAPE else text[: LONGEST_SHAPE - 1] + "…"), _kind(text)


_read_cached = lru_cache(maxsize=2048)(_read)


def _fold(found: re.Match[str]) -> str:
    return "[…]" if found["array"] else "(…)"


def _kind(text: str) -> StatementKind:
    """Read the kind of a statement from its shape before it is cut."""
    word = _WORD.match(text)
    first = word[1].upper() if word else ""
    if first in ("WITH", "SELECT", "COPY"):
        bare = _QUOTED.sub('""', text)
        if first == "SELECT":
            return "write" if _INTO.search(bare) else "read"
        if first == "COPY":
            return "write" if _COPY_IN.search(bare) or _WRITES.search(bare) else "read"
        return "write" if _WRITES.search(bare) or _INTO.search(bare) else "read"
    found = _KINDS.get(first, "other")
    if found == "rollback" and _SAVEPOINT.search(text):
        return "other"  # ROLLBACK TO SAVEPOINT: the transaction goes on
    return found
