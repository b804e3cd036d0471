"""A connection that is dead and does not say so: no byte passes, and nothing ends, until the network is back and resets it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness.errors import FaultMissed
from harness.faults.network import NetworkFault, network_of
from harness.protocols import Site


class HalfOpen(NetworkFault):
    """The fault `half-open`."""

    name = "half-open"
    kind = "stall"
    story = "A worker's connections carry no byte and do not end, new ones neither; then they are reset."

    @contextmanager
    def strike(self, site: Site, workers: Sequence[str]) -> Iterator[None]:
        """Let nothing pass; on leaving, end what has stood still."""
        network = network_of(site)
        try:
            for worker in workers:
                if not network.stall(worker, on=True):
                    raise FaultMissed(f"{worker} had no connection that could stand still.")
            yield
        finally:
            for worker in workers:
                network.stall(worker, on=False)
