"""The witnesses a run can have, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from harness.protocols import Witness
from harness.witnesses.sqlite_trace import SqliteTrace
from harness.witnesses.unwatched import Unwatched
from harness.witnesses.wire import Wire

WITNESSES: Final[Mapping[str, Callable[[], Witness]]] = {
    "sqlite-trace": SqliteTrace,
    "wire": Wire,
    "none": Unwatched,
}
