"""Some of the workers are stopped one by one and let go on in another order, as machines behind a flapping switch are.

The name and the idea are FoundationDB's "swizzle-clogging" (Will Wilson, "Testing Distributed Systems w/ Deterministic Simulation",
Strange Loop 2014): it finds more than stopping all at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from harness.faults import signals
from harness.protocols import Site

LONGEST_APART_SECONDS: Final = 0.2


class Swizzle:
    """The fault `swizzle`."""

    name = "swizzle"
    kind = "swizzle"
    story = "Some workers are stopped one by one, and go on one by one in another order."
    workers = 2

    def missing(self, site: Site) -> str | None:  # noqa: ARG002  # a fault's signature
        """Possible everywhere."""
        return None

    @contextmanager
    def strike(self, site: Site, workers: Sequence[str]) -> Iterator[None]:
        """Stop these workers in a random order, with random pauses; on leaving, let them go on in another."""
        stopped: list[int] = []
        try:
            for worker in site.rng.sample(workers, len(workers)):
                signals.stop(site.pid(worker))
                stopped.append(site.pid(worker))
                time.sleep(site.rng.uniform(0, LONGEST_APART_SECONDS))
            yield
            for pid in site.rng.sample(stopped, len(stopped)):
                signals.go_on([pid])
                time.sleep(site.rng.uniform(0, LONGEST_APART_SECONDS))
        finally:
            signals.go_on(stopped)
