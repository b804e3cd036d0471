"""The reference queue made slower on purpose, for the self-test of `contend compare`."""

from __future__ import annotations

import os
import time
from typing import Any

from reference_impl.sqlite import ImmediateBatch

PLANTED = 0.30


class Slowed(ImmediateBatch):
    """Each claim takes 30 % longer: it is timed, and then the core is kept busy for so much more.

    What others had the core for is in neither, or a busy machine would plant more than it says.
    """

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._schedule = os.open(
            "/proc/self/schedstat", os.O_RDONLY
        )  # proc(5): the second number is the wait for a core

    def claim(self, worker: str, limit: int) -> list[Any]:
        """Claim, and then spin for 30 % of the time that took."""
        started, queued = time.perf_counter(), self._queued_seconds()
        claimed = list(super().claim(worker, limit))
        took = time.perf_counter() - started - (self._queued_seconds() - queued)
        until = time.thread_time() + PLANTED * took
        while time.thread_time() < until:
            pass
        return claimed

    def _queued_seconds(self) -> float:
        return int(os.pread(self._schedule, 100, 0).split()[1]) / 1e9
