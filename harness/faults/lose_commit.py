"""A COMMIT whose answer is lost: it happened, and whoever asked for it will never be told."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from harness.errors import FaultMissed
from harness.faults.network import NetworkFault, network_of
from harness.protocols import Site

SECONDS: Final = 20.0
_LOOK_SECONDS: Final = 0.002


class LoseCommit(NetworkFault):
    """The fault `lose-commit`. It is over once an answer of each worker was lost."""

    name = "lose-commit"
    kind = "lose"
    story = "A worker's next commit happens, its answer is lost, and its connection ends."

    @contextmanager
    def strike(self, site: Site, workers: Sequence[str]) -> Iterator[None]:
        """Have it befall their next statements that commit something they wrote; on leaving, it has."""
        network = network_of(site)
        try:
            for worker in workers:
                network.lose(worker, on=True)
            yield
            until = time.monotonic() + SECONDS
            while missing := [worker for worker in workers if not network.lost(worker)]:
                if time.monotonic() > until:
                    raise FaultMissed(f"{', '.join(missing)} committed nothing within {SECONDS:g} s.")
                time.sleep(_LOOK_SECONDS)
        finally:
            for worker in workers:
                network.lose(worker, on=False)
