"""What all harm to a network has in common."""

from __future__ import annotations

from typing import Final

from harness.protocols import Network, Site

NO_NETWORK: Final = "there is no network between a worker and its SQLite file"


class NetworkFault:
    """A fault done to the connections of workers, where they have any beyond their own process."""

    workers = 1

    def missing(self, site: Site) -> str | None:
        """Needs a network."""
        return NO_NETWORK if site.network is None else None


def network_of(site: Site) -> Network:
    """The network of a site that has one."""
    assert site.network is not None  # noqa: S101  # as `missing` says
    return site.network
