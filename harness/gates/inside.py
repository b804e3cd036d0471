"""The gate of SQLite: inside each process, where `sqlite3` runs. All it has to say goes through the process's turnstile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from selectors import BaseSelector

from harness.protocols import Crash, GateListener, Held, Ran, Witness
from harness.turnstile import Turnstile
from harness.witnesses.sqlite_trace import SqliteTrace


class InsideGate:
    """See `harness.protocols.Gate`."""

    name = "inside"

    @contextmanager
    def guard(self, url: str, processes: Sequence[str]) -> Iterator[Held]:
        """Give everybody the URL as it is."""
        yield _Inside(dict.fromkeys(processes, url))


@dataclass(frozen=True, slots=True)
class _Inside:
    urls: Mapping[str, str]
    own_files = False
    crashes: Sequence[Crash] = ("killed", "killed-after")

    def witness(self, turnstile: Turnstile) -> Witness:
        """What a process enters: the trace that holds its statements."""
        return SqliteTrace(turnstile)

    def attend(self, selector: BaseSelector, listener: GateListener) -> None:
        """Nothing to wait for but the processes' own pipes."""

    def turn(self, *, on: bool) -> None:
        """The turnstiles know."""

    def allow(self, process: str) -> bool:  # noqa: ARG002  # the turnstile itself is told
        """Nothing is held here."""
        return False

    def cut(self, process: str) -> None:
        """There is nothing to cut: a file is let go of by a process that dies."""

    def holds(self, process: str) -> bool:  # noqa: ARG002  # the turnstile says it
        """Nothing is seen from here."""
        return False

    def cut_after(self, process: str) -> None:
        """As above."""

    def ran(self, process: str) -> Sequence[Ran]:  # noqa: ARG002  # the turnstile says it
        """Nothing is seen from here."""
        return ()

    def at_work(self, process: str) -> str:  # noqa: ARG002  # as above
        """Nothing: a statement that waits has been refused."""
        return ""

    def due(self) -> float | None:
        """Nobody waits inside SQLite: it refuses."""
        return None

    def blocked(self, processes: Sequence[str]) -> Mapping[str, Sequence[str]]:  # noqa: ARG002  # as above
        """Nobody."""
        return {}
