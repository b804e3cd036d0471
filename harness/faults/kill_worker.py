"""A worker's end: SIGKILL, which no process can answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness import signals
from harness.errors import FaultMissed
from harness.protocols import Site


class KillWorker:
    """The fault `kill-worker`. It does not heal: what the worker held is for others."""

    name = "kill-worker"
    kind = "kill"
    story = "A worker is killed (SIGKILL)."
    workers = 1

    def missing(self, site: Site) -> str | None:  # noqa: ARG002  # a fault's signature
        """Possible everywhere."""
        return None

    @contextmanager
    def strike(self, site: Site, workers: Sequence[str]) -> Iterator[None]:
        """Kill them, one after the other; each is dead when it is done."""
        for worker in workers:
            pid = site.pid(worker)
            if signals.is_gone(pid):
                raise FaultMissed(f"{worker} was to be killed and was not running any more.")
            site.kill(worker)
            signals.wait_gone([pid])
        yield
