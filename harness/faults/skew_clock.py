"""A worker whose clock is wrong: its own time of day is an hour ahead. The database's clock is right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from harness.levers import CLOSED
from harness.protocols import Site

AHEAD_SECONDS: Final = 3600


class SkewClock:
    """The fault `skew-clock`."""

    name = "skew-clock"
    kind = "skew"
    story = f"A worker's own clock (Python's) is {AHEAD_SECONDS // 60} minutes ahead from its next call on; the database's is right."
    workers = 1

    def missing(self, site: Site) -> str | None:
        """Needs workers in whose process we are."""
        return CLOSED if site.closed else None

    @contextmanager
    def strike(self, site: Site, workers: Sequence[str]) -> Iterator[None]:
        """Move their clocks ahead; on leaving, back."""
        try:
            for worker in workers:
                site.levers(worker).ahead.value = AHEAD_SECONDS * 1_000_000_000
            yield
        finally:
            for worker in workers:
                site.levers(worker).ahead.value = 0
