"""The values bound to a statement, read from Postgres's Bind message and written into its text, for people to read.

Formats: https://www.postgresql.org/docs/current/protocol-message-formats.html (Bind); binary values as the server's `typsend` functions
write them. A value of a type that is not read here stays as its placeholder.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
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


def _quoted(data: bytes) -> str:
    return "'" + data.decode("utf-8", "replace").replace("'", "''") + "'"


def _whole(data: bytes) -> str:
    return str(int.from_bytes(data, "big", signed=True))


_BINARY: Final[Mapping[int, Callable[[bytes], str]]] = {  # by the type's oid
    16: lambda data: "true" if data == b"\1" else "false",
    **dict.fromkeys((21, 23, 20, 26), _whole),
    700: lambda data: repr(struct.unpack("!f", data)[0]),
    701: lambda data: repr(struct.unpack("!d", data)[0]),
    **dict.fromkeys((25, 1043, 18, 19, 705, 0), _quoted),
}
_NUMBERS: Final = frozenset((16, 20, 21, 23, 26, 700, 701))


def types_of(parse: bytes) -> tuple[int, ...]:
    """The types a Parse message gives its parameters (oids, 0 where it leaves one to the server), from the part after its text."""
    (number,) = struct.unpack_from("!H", parse) if len(parse) >= 2 else (0,)
    return struct.unpack_from(f"!{number}I", parse, 2)


def bound(sql: str, bind: bytes, types: Sequence[int]) -> str:
    """The statement with its values, as far as they can be read; `bind` is the part of the message after its two names."""
    try:
        return fill(sql, _values(bind, types))
    except (struct.error, IndexError, ValueError):  # not the protocol: what is shown is not worth an error
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


def _text(data: bytes, kind: int) -> str:
    if kind in _ARRAYS:
        return f"{_quoted(data)}::{_ARRAYS[kind][1]}"
    return data.decode("utf-8", "replace") if kind in _NUMBERS else _quoted(data)


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
