"""No room: what would make the SQLite files of the workers grow is refused (SQLITE_FULL)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness.protocols import Site


class FillDisk:
    """The fault `fill-disk`."""

    name = "fill-disk"
    kind = "fill"
    story = "The SQLite file cannot grow (PRAGMA max_page_count in every worker): SQLITE_FULL."
    workers = 0

    def missing(self, site: Site) -> str | None:
        """Possible where we are in between a worker and its file."""
        return None if site.database == "sqlite" else "it would take a file system of our own below the server"

    @contextmanager
    def strike(self, site: Site, workers: Sequence[str]) -> Iterator[None]:
        """From their next call on; on leaving, there is room again."""
        try:
            for worker in workers:
                site.levers(worker).full.value = 1
            yield
        finally:
            for worker in workers:
                site.levers(worker).full.value = 0
