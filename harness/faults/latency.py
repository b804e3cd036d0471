"""A slow network: every round trip takes longer, and none as long as another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from harness.faults.cut_connection import NO_NETWORK
from harness.protocols import Site

MS: Final = 40.0
JITTER_MS: Final = 20.0  # each way


class Latency:
    """The fault `latency`."""

    name = "latency"
    kind = "slow"
    story = f"A worker's round trips take {MS:g} ms longer, and up to {2 * JITTER_MS:g} ms more at random."
    workers = 1

    def missing(self, site: Site) -> str | None:
        """Needs a network."""
        return NO_NETWORK if site.network is None else None

    @contextmanager
    def strike(self, site: Site, workers: Sequence[str]) -> Iterator[None]:
        """Slow them down; on leaving, no more."""
        assert site.network is not None  # noqa: S101  # as `missing` says
        try:
            for worker in workers:
                site.network.delay(worker, MS, JITTER_MS)
            yield
        finally:
            for worker in workers:
                site.network.delay(worker, 0.0)
