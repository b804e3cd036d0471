"""A queue for one worker that lets a second process go ahead in silence."""

from __future__ import annotations

from reference_impl.sqlite import ImmediateBatch


class SilentSingleWorker(ImmediateBatch):
    """Says `max_workers = 1` and takes no guard: the limit is in the documentation only, and nobody is refused.

    Seen in Cloacina T-0049, whose interim answer was to document single-worker use. Caught by worker-guard.
    """

    max_workers = 1
