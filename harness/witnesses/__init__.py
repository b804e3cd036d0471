"""The witnesses a run can have, by name.

Each is imported only when it is chosen: every spawned worker imports its own, and need not pay for the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Final, cast

from harness.errors import UnknownName
from harness.protocols import Witness

WITNESSES: Final[Mapping[str, tuple[str, str]]] = {
    "sqlite-trace": ("harness.witnesses.sqlite_trace", "SqliteTrace"),
    "wire": ("harness.witnesses.wire", "Wire"),
    "none": ("harness.witnesses.unwatched", "Unwatched"),
}


def choose(name: str) -> Witness:
    """Make the witness of that name. Raises `UnknownName`."""
    if name not in WITNESSES:
        raise UnknownName("witness", name, list(WITNESSES))
    module, kind = WITNESSES[name]
    return cast("Witness", getattr(import_module(module), kind)())
