"""No witness: the processes reach the database unseen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.errors import UsageError
from harness.levers import Levers
from harness.protocols import Watching


class Unwatched:
    """The witness `none`: records nothing and adds no latency. A run with it can count no statements."""

    name = "none"

    @contextmanager
    def watch(
        self,
        url: str,
        processes: Sequence[str],
        folder: Path,  # noqa: ARG002  # a witness's signature; nothing is written
        *,
        latency_ms: float = 0.0,
        record: bool = True,  # noqa: ARG002  # a witness's signature; nothing is recorded either way
    ) -> Iterator[Watching]:
        """Give every process the URL as it is. Raises `UsageError` for latency, which only a proxy can add."""
        refuse_latency(self.name, latency_ms)
        yield Watching(dict.fromkeys(processes, url))

    def enter(self, process: str, folder: Path, levers: Levers | None = None) -> None:
        """Do nothing."""


def refuse_latency(witness: str, latency_ms: float) -> None:
    """Raise `UsageError` where latency is asked of a witness that stands on no network."""
    if latency_ms:
        raise UsageError(f"The witness {witness!r} cannot add {latency_ms} ms of latency; only 'wire' (Postgres) can.")
