"""Some of the workers are stopped one by one and let go on in another order, as machines behind a flapping switch are.

The name and the idea are FoundationDB's "swizzle-clogging" (Will Wilson, "Testing Distributed Systems w/ Deterministic Simulation",
Strange Loop 2014): it finds more than stopping all at once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

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
        stopped: dict[str, contextlib.ExitStack] = {}
        with contextlib.ExitStack() as healing:
            for worker in site.rng.sample(workers, len(workers)):
                stopped[worker] = healing.enter_context(contextlib.ExitStack())
                stopped[worker].enter_context(site.stopped(worker))
                time.sleep(site.rng.uniform(0, LONGEST_APART_SECONDS))
            yield
            for worker in site.rng.sample(workers, len(workers)):
                stopped[worker].close()
                time.sleep(site.rng.uniform(0, LONGEST_APART_SECONDS))
