"""A connection that ends under a worker's feet: a reset to both sides, as from a network that is gone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness.errors import FaultMissed
from harness.faults.network import NetworkFault, network_of
from harness.protocols import Site


class CutConnection(NetworkFault):
    """The fault `cut-connection`."""

    name = "cut-connection"
    kind = "cut"
    story = "A worker's connections are cut, whatever is on its way."

    @contextmanager
    def strike(self, site: Site, workers: Sequence[str]) -> Iterator[None]:
        """Cut them; who wants another connection may have one at once."""
        network = network_of(site)
        for worker in workers:
            if not network.cut(worker):
                raise FaultMissed(f"{worker} had no connection that could be cut.")
        yield
