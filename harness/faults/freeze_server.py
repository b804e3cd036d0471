"""A server that stands still: every one of its processes is stopped, as on a machine whose disk does not answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness import signals
from harness.faults import asking
from harness.faults.crash_server import NOT_OURS
from harness.protocols import Site


class FreezeServer:
    """The fault `freeze-server`."""

    name = "freeze-server"
    kind = "freeze"
    story = "Every process of the server is stopped (SIGSTOP), and goes on later; its clock does not stop."
    workers = 0

    def missing(self, site: Site) -> str | None:
        """Needs a server, and one that is ours to stop."""
        return None if site.server.processes() else NOT_OURS

    @contextmanager
    def strike(self, site: Site, workers: Sequence[str]) -> Iterator[None]:  # noqa: ARG002  # all of them wait
        """Stop the postmaster, so that no new process comes, then all its children; on leaving, the other way round."""
        asking.wait_well(site.url)
        stopped: list[int] = []
        try:
            postmaster = site.server.processes()[0]
            signals.stop(postmaster)
            stopped.append(postmaster)
            for pid in site.server.processes()[1:]:
                if signals.is_well(pid):  # else it was just ending
                    signals.stop(pid)
                    stopped.append(pid)
            yield
        finally:
            signals.go_on(reversed(stopped))
            asking.wait_well(site.url)
