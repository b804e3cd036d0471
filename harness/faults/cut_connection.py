"""A connection that ends under a worker's feet: a reset to both sides, as from a network that is gone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness.errors import FaultMissed
from harness.protocols import Site

NO_NETWORK = "there is no network between a worker and its SQLite file"


class CutConnection:
    """The fault `cut-connection`."""

    name = "cut-connection"
    kind = "cut"
    story = "A worker's connections are cut, whatever is on its way."
    workers = 1

    def missing(self, site: Site) -> str | None:
        """Needs a network."""
        return NO_NETWORK if site.network is None else None

    @contextmanager
    def strike(self, site: Site, workers: Sequence[str]) -> Iterator[None]:
        """Cut them; who wants another connection may have one at once."""
        assert site.network is not None  # noqa: S101  # as `missing` says
        for worker in workers:
            if not site.network.cut(worker):
                raise FaultMissed(f"{worker} had no connection that could be cut.")
        yield
