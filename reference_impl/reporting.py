"""Ways of telling progress, each a queue with another writer (`progress.py`). The queue's own is batched."""

from __future__ import annotations

from typing import ClassVar, Final

from reference_impl.progress import Buffered, Debounced, Direct, ProgressWriter, ViaRedis
from reference_impl.queue import Queue

QUIET_SHARE: Final = 0.25  # of the flush interval, without a change, after which a debounced writer writes


class DirectProgress(Queue):
    """WRONG: a write for every change, 44 for one job of 11 experts (issue 061): the N+1 form."""

    def _writer(self) -> ProgressWriter:
        return Direct(self._write_progress)


class DebouncedProgress(Queue):
    """Right: waits until nothing was reported for a quarter of the flush interval, but never longer than the interval."""

    def _writer(self) -> ProgressWriter:
        return Buffered(
            self._write_progress,
            Debounced(QUIET_SHARE * self.flush_interval, self.flush_interval),
            patience_seconds=self.patience_seconds,
        )


class RedisProgress(Queue):
    """Right: progress is in Redis at once, where the screen reads it, and in the database every flush interval.

    Needs the option `redis_url`.
    """

    services: ClassVar[tuple[str, ...]] = ("redis",)
    _identity: str | None = None

    def _writer(self) -> ProgressWriter:
        if self.redis_url is None:
            raise ValueError("redis_url is missing; expected the URL of a Redis, such as unix:///path/to/redis.sock.")
        return ViaRedis(
            self._write_progress,
            self.redis_url,
            self._namespace,
            flush_interval=self.flush_interval,
            patience_seconds=self.patience_seconds,
        )

    def _namespace(self) -> str:
        if self._identity is None:
            ((self._identity,),) = self._run("read_identity")
        return str(self._identity)
