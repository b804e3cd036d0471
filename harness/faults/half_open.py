"""A connection that is dead and does not say so: no byte passes, and nothing ends, until the network is back and resets it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness.errors import FaultMissed
from harness.faults.cut_connection import NO_NETWORK
from harness.protocols import Site


class HalfOpen:
    """The fault `half-open`."""

    name = "half-open"
    kind = "stall"
    story = "A worker's connections carry no byte and do not end, new ones neither; then they are reset."
    workers = 1

    def missing(self, site: Site) -> str | None:
        """Needs a network."""
        return NO_NETWORK if site.network is None else None

    @contextmanager
    def strike(self, site: Site, workers: Sequence[str]) -> Iterator[None]:
        """Let nothing pass; on leaving, end what has stood still."""
        assert site.network is not None  # noqa: S101  # as `missing` says
        try:
            for worker in workers:
                if not site.network.stall(worker, on=True):
                    raise FaultMissed(f"{worker} had no connection that could stand still.")
            yield
        finally:
            for worker in workers:
                site.network.stall(worker, on=False)
