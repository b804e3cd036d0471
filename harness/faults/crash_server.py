"""A server that crashes and comes back: one of its processes is killed, as by the kernel when memory is short.

PostgreSQL then ends all others at once, throws its shared memory away and recovers from its write-ahead log
(restart_after_crash, https://www.postgresql.org/docs/current/runtime-config-error-handling.html).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness import signals
from harness.errors import FaultMissed
from harness.faults import asking
from harness.protocols import Site

NOT_OURS = "there is no server of our own"


class CrashServer:
    """The fault `crash-server`."""

    name = "crash-server"
    kind = "crash"
    story = "The server crashes at once, with every connection, and recovers from its log."
    workers = 0

    def missing(self, site: Site) -> str | None:
        """Needs a server, and one that is ours to crash."""
        return None if site.server.processes() else NOT_OURS

    @contextmanager
    def strike(self, site: Site, workers: Sequence[str]) -> Iterator[None]:  # noqa: ARG002  # all of them lose it
        """Kill one backend and see all others go; on leaving, the server answers again."""
        asking.wait_well(site.url)
        backends = list(site.server.serving(site.url))
        if not backends:
            raise FaultMissed("Nobody was connected to the server that was to crash.")
        os.kill(site.rng.choice(backends), signal.SIGKILL)
        signals.wait_gone(backends)
        try:
            yield
        finally:
            asking.wait_well(site.url)
