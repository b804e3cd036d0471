"""A worker that is away for a while and knows nothing of it: SIGSTOP, then SIGCONT. Longer than its lease, it comes back as a zombie."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness.protocols import Site


class PauseWorker:
    """The fault `pause-worker`."""

    name = "pause-worker"
    kind = "pause"
    story = "A worker is stopped (SIGSTOP) for longer than its lease, and goes on as if nothing had been: the zombie."
    workers = 1

    def missing(self, site: Site) -> str | None:  # noqa: ARG002  # a fault's signature
        """Possible everywhere."""
        return None

    @contextmanager
    def strike(self, site: Site, workers: Sequence[str]) -> Iterator[None]:
        """Stop them; on leaving, let them go on."""
        with contextlib.ExitStack() as stopped:
            for worker in workers:
                stopped.enter_context(site.stopped(worker))
            yield
