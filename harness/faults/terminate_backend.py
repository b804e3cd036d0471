"""A connection that the server ends, as an administrator or a fail-over does (pg_terminate_backend)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness import signals
from harness.errors import FaultMissed
from harness.faults import asking
from harness.faults.network import NetworkFault, network_of
from harness.protocols import Site


class TerminateBackend(NetworkFault):
    """The fault `terminate-backend`."""

    name = "terminate-backend"
    kind = "terminate"
    story = "The server ends a worker's connections (pg_terminate_backend, SQLSTATE 57P01)."

    @contextmanager
    def strike(self, site: Site, workers: Sequence[str]) -> Iterator[None]:
        """Have the server end them, and wait until it has."""
        network = network_of(site)
        with contextlib.closing(asking.connect(site.url)) as connection:
            for worker in workers:
                backends = list(network.backends(worker))
                if not backends:
                    raise FaultMissed(f"{worker} had no connection that could be ended.")
                for pid in backends:
                    connection.execute("SELECT pg_terminate_backend(%s)", [pid])
                if site.server.processes():  # of this machine
                    signals.wait_gone(backends)
        yield
