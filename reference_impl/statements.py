"""The queue's SQL, read from `sql/<engine>.sql` and found by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources

_NAME = "-- name:"


@cache
def statements(engine: str) -> Mapping[str, str]:
    """Every statement of `engine` (sqlite, postgres) by its name, without comments, ready to send."""
    return parse(resources.files("reference_impl").joinpath("sql", f"{engine}.sql").read_text(encoding="utf-8"))


def parse(text: str) -> dict[str, str]:
    """Read a file of statements: each begins with a line `-- name: <name>`; every other line of comment is dropped.

    Raises ValueError where a name comes twice, has no statement, or SQL stands before the first name.
    """
    found: dict[str, list[str]] = {}
    lines: list[str] | None = None
    for line in text.splitlines():
        if line.startswith(_NAME):
            name = line.removeprefix(_NAME).strip()
            if name in found:
                raise ValueError(f"The statement {name!r} is there twice; give one of them another name.")
            lines = found[name] = []
        elif line.strip() and not line.lstrip().startswith("--"):
            if lines is None:
                raise ValueError(f"{line!r} belongs to no statement; put a line `{_NAME} <name>` before it.")
            lines.append(line.rstrip())
    if empty := [name for name, body in found.items() if not body]:
        raise ValueError(f"The names {', '.join(empty)} have no statement; write one below each or take the name out.")
    return {name: "\n".join(body) for name, body in found.items()}
