"""A slow network: every round trip takes longer, and none as long as another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from harness.faults.network import NetworkFault, network_of
from harness.protocols import Site

MS: Final = 40.0
JITTER_MS: Final = 20.0  # each way


class Latency(NetworkFault):
    """The fault `latency`."""

    name = "latency"
    kind = "slow"
    story = f"A worker's round trips take {MS:g} ms longer, and up to {2 * JITTER_MS:g} ms more at random."

    @contextmanager
    def strike(self, site: Site, workers: Sequence[str]) -> Iterator[None]:
        """Slow them down; on leaving, no more."""
        network = network_of(site)
        try:
            for worker in workers:
                network.delay(worker, MS, JITTER_MS)
            yield
        finally:
            for worker in workers:
                network.delay(worker, 0.0)
