"""The values bound to a statement, read from Postgres's Bind message and written into its text as literals.

Formats: https://www.postgresql.org/docs/current/protocol-message-formats.html (Bind); binary values as the server's `typsend` functions
write them. A value of a type that is not read here stays as its placeholder.
"""

from __future__ import annotations

import re
import struct
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from harness.witnesses.shapes import fill

_ARRAYS: Final[Mapping[int, tuple[int, str]]] = {  # of a type: the type of its elements, and its name
    1000: (16, "boolean[]"),
    1005: (21, "smallint[]"),
    1007: (23, "int[]"),
    1016: (20, "bigint[]"),
    1009: (25, "text[]"),
    1022: (701, "float8[]"),
}
# Of these, a quoted text alone might be read as another type.
_NAMES: Final[Mapping[int, str]] = {
    17: "bytea",
    114: "json",
    3802: "jsonb",
    1082: "date",
    1083: "time",
    1114: "timestamp",
    1184: "timestamptz",
    1186: "interval",
    1700: "numeric",
    2950: "uuid",
}
_TEXTS: Final = frozenset((0, 18, 19, 25, 705, 1042, 1043))
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", re.ASCII)
_NO_NUMBERS: Final = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}
_ENDLESS: Final = {(1 << 63) - 1: "infinity", -1 << 63: "-infinity"}


def _quoted(data: bytes) -> str:
    return "'" + data.decode("utf-8", "replace").replace("'", "''") + "'"


def _number(text: str, kind: int) -> str:
    """A number as a literal: in parentheses where a sign before it would make `--` of it, quoted where it is none (NaN)."""
    if not _NUMBER.fullmatch(text):
        return f"'{text}'::{'float8' if kind == 701 else 'float4'}"
    return f"({text})" if text.startswith("-") else text


def _whole(data: bytes) -> str:
    return _number(str(int.from_bytes(data, "big", signed=True)), 20)


def _moment(data: bytes, name: str) -> str:
    micros = int.from_bytes(data, "big", signed=True)
    moment = datetime(2000, 1, 1, tzinfo=UTC if name == "timestamptz" else None)
    return f"'{_ENDLESS.get(micros) or moment + timedelta(microseconds=micros)}'::{name}"


def _interval(data: bytes) -> str:
    micros, days, months = struct.unpack("!qii", data)
    return f"'{months} months {days} days {micros} microseconds'::interval"


def _numeric(data: bytes) -> str:
    """Digits to the base 10,000: how many, the power of the first, the sign, the digits shown after the point; then each."""
    number, power, sign, shown = struct.unpack_from("!hhHH", data)
    if sign in _NO_NUMBERS:
        return f"'{_NO_NUMBERS[sign]}'::numeric"
    digits = "".join(f"{digit:04}" for digit in struct.unpack_from(f"!{number}h", data, 8))
    value = Decimal(f"{'-' if sign else ''}{digits or 0}e{4 * (power - number + 1)}")
    return f"'{value:.{shown}f}'::numeric"


_BINARY: Final[Mapping[int, Callable[[bytes], str]]] = {  # by the type's oid
    16: lambda data: "true" if data == b"\1" else "false",
    **dict.fromkeys((21, 23, 20, 26), _whole),
    700: lambda data: _number(repr(struct.unpack("!f", data)[0]), 700),
    701: lambda data: _number(repr(struct.unpack("!d", data)[0]), 701),
    17: lambda data: f"'\\x{data.hex()}'::bytea",
    114: lambda data: f"{_quoted(data)}::json",
    3802: lambda data: f"{_quoted(data[1:])}::jsonb",  # after the version of the format
    1082: lambda data: f"'{date(2000, 1, 1) + timedelta(days=int.from_bytes(data, 'big', signed=True))}'::date",
    1114: lambda data: _moment(data, "timestamp"),
    1184: lambda data: _moment(data, "timestamptz"),
    1186: _interval,
    1700: _numeric,
    2950: lambda data: f"'{uuid.UUID(bytes=data)}'::uuid",
    **dict.fromkeys((25, 1043, 18, 19, 705, 0), _quoted),
}
_NUMBERS: Final = frozenset((20, 21, 23, 26, 700, 701))


def types_of(parse: bytes) -> tuple[int, ...]:
    """The types a Parse message gives its parameters (oids, 0 where it leaves one to the server), from the part after its text."""
    (number,) = struct.unpack_from("!H", parse) if len(parse) >= 2 else (0,)
    return struct.unpack_from(f"!{number}I", parse, 2)


def bound(sql: str, bind: bytes, types: Sequence[int]) -> str:
    """The statement with its values, as far as they can be read; `bind` is the part of the message after its two names."""
    try:
        return fill(sql, _values(bind, types))
    except (struct.error, IndexError, ValueError, OverflowError):  # not the protocol, or a year beyond 9999
        return sql


def _values(bind: bytes, types: Sequence[int]) -> list[str | None]:
    (formats,) = struct.unpack_from("!H", bind)
    codes = struct.unpack_from(f"!{formats}H", bind, 2)
    place = 2 + 2 * formats
    (number,) = struct.unpack_from("!H", bind, place)
    place += 2
    found: list[str | None] = []
    for each in range(number):
        (size,) = struct.unpack_from("!i", bind, place)
        place += 4
        code = codes[each] if formats > 1 else codes[0] if formats else 0
        kind = types[each] if each < len(types) else 0
        data = bind[place : place + max(size, 0)]
        found.append("NULL" if size < 0 else _binary(data, kind) if code else _text(data, kind))
        place += max(size, 0)
    return found


def _text(data: bytes, kind: int) -> str | None:
    if kind in _ARRAYS:
        return f"{_quoted(data)}::{_ARRAYS[kind][1]}"
    if kind == 16:
        return "true" if data in (b"t", b"true") else "false" if data in (b"f", b"false") else f"{_quoted(data)}::bool"
    if kind in _NUMBERS:
        return _number(data.decode("utf-8", "replace"), kind) if b"'" not in data else None
    if kind in _NAMES:
        return f"{_quoted(data)}::{_NAMES[kind]}"
    return _quoted(data) if kind in _TEXTS else None


def _binary(data: bytes, kind: int) -> str | None:
    if kind in _ARRAYS:
        return _array(data, *_ARRAYS[kind])
    read = _BINARY.get(kind)
    return None if read is None or kind == 0 else read(data)


def _array(data: bytes, kind: int, name: str) -> str | None:
    """An array of one dimension: dimensions, flags, the elements' type, how many there are, the first one's number; then each."""
    dimensions, _, _ = struct.unpack_from("!iii", data)
    if dimensions == 0:
        return f"'{{}}'::{name}"
    if dimensions > 1:
        return None
    (number,) = struct.unpack_from("!i", data, 12)
    place, elements = 20, []
    for _ in range(number):
        (size,) = struct.unpack_from("!i", data, place)
        elements.append("NULL" if size < 0 else _BINARY[kind](data[place + 4 : place + 4 + size]))
        place += 4 + max(size, 0)
    return f"ARRAY[{', '.join(elements)}]::{name}"
