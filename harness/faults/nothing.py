"""No harm: for a run that is to be compared with one that has some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness.protocols import Site


class Nothing:
    """The fault `nothing`."""

    name = "nothing"
    kind = "nothing"
    story = "Nothing happens."
    workers = 0

    def missing(self, site: Site) -> str | None:  # noqa: ARG002  # a fault's signature
        """Possible everywhere."""
        return None

    @contextmanager
    def strike(self, site: Site, workers: Sequence[str]) -> Iterator[None]:  # noqa: ARG002  # as above
        """Do nothing."""
        yield
