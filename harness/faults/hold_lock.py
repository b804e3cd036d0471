"""A long writer: another program holds the one write lock of a SQLite file, and everybody is told SQLITE_BUSY."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness.protocols import Site


class HoldLock:
    """The fault `hold-lock`."""

    name = "hold-lock"
    kind = "hold"
    story = "Another program holds the write lock of the SQLite file: a storm of SQLITE_BUSY."
    workers = 0

    def missing(self, site: Site) -> str | None:
        """Postgres has no such lock."""
        return None if site.database == "sqlite" else "writers of different rows do not exclude each other on Postgres"

    @contextmanager
    def strike(self, site: Site, workers: Sequence[str]) -> Iterator[None]:  # noqa: ARG002  # all of them wait
        """Hold it; on leaving, let it go."""
        with site.server.hold(site.url):
            yield
