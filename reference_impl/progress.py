"""How what a job tells of its progress gets into the database: at once, in batches, debounced, or by way of Redis.

A job of report C (issue 061) tells of its progress 44 times. `Direct` writes each time, which is the N+1 form. The others keep the
latest fraction of each job and write all that wait with one statement: `Buffered` when its rule says so, and on every flush.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import redis

FLUSH_INTERVAL_SECONDS: Final = 5.0
MAX_BATCH_SIZE: Final = 10
PATIENCE_SECONDS: Final = 30.0
_FIRST_PAUSE_SECONDS: Final = 0.02
_LONGEST_PAUSE_SECONDS: Final = 1.0
_MOST_SEEN: Final = 10_000  # claims a screen remembers


@dataclass(frozen=True, slots=True)
class Change:
    """The progress of one claim: `fraction` of its job's work is done, 0 to 1. `token` names the claim."""

    job: int
    token: int
    fraction: float


Write = Callable[[Sequence[Change]], None]  # writes all of them with one statement, or raises and writes none
Clock = Callable[[], float]  # seconds, never going back


class ProgressUnwritten(Exception):
    """A job's progress could not be written for as long as patience lasted. It is kept; the cause is the last error."""


class ProgressWriter(Protocol):
    """Where a queue sends progress. Every method may be called from any thread."""

    def report(self, job: int, token: int, fraction: float) -> None:
        """Take note of the progress of a claim."""

    def flush(self, jobs: Iterable[int] | None = None) -> None:
        """Return when all that was reported of these jobs (None: of all) is in the database. Raises `ProgressUnwritten`."""

    def latest(self, job: int, token: int) -> float | None:
        """What is known of a claim beside the database, or None."""

    def close(self) -> None:
        """Flush, and stop. Closing twice is harmless."""


class Direct:
    """Writes every change when it is reported: a statement a change. Its error is the caller's."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def report(self, job: int, token: int, fraction: float) -> None:
        """Write the change; returns when the database has it."""
        self._write([Change(job, token, fraction)])

    def flush(self, jobs: Iterable[int] | None = None) -> None:
        """Do nothing: everything reported is written."""

    def latest(self, job: int, token: int) -> float | None:  # noqa: ARG002  # the shape of every writer
        """Know nothing beside the database."""
        return None

    def close(self) -> None:
        """Do nothing."""


class Rule(Protocol):
    """Says when what waits is to be written. Asked under the buffer's lock, so it must be quick."""

    def due_at(self, first: float, last: float, changes: int) -> float:
        """The moment at which to write, of `changes` reported since the last write, between the clock's `first` and `last`."""


@dataclass(frozen=True, slots=True)
class Batched:
    """Write once the first change is `flush_interval` seconds old or `max_batch_size` changes wait, whichever comes first."""

    flush_interval: float = FLUSH_INTERVAL_SECONDS
    max_batch_size: int = MAX_BATCH_SIZE

    def due_at(self, first: float, last: float, changes: int) -> float:
        """As soon as there are enough, else when the first is old enough."""
        return last if changes >= self.max_batch_size else first + self.flush_interval


@dataclass(frozen=True, slots=True)
class Debounced:
    """Write once nothing was reported for `quiet` seconds; a steady stream is written every `max_wait` seconds all the same."""

    quiet: float
    max_wait: float

    def due_at(self, first: float, last: float, changes: int) -> float:  # noqa: ARG002  # the shape of every rule
        """A while after the last, but not too long after the first."""
        return min(last + self.quiet, first + self.max_wait)


class Buffered:
    """Keeps the largest fraction of each claim until its rule says to write: memory for one change a job, however long it waits.

    `report` never waits for a database or a network, so it may be called from an event loop; a thread of the buffer's own
    writes. What could not be written stays and is tried again, at growing pauses, never behind a later change of the same job.
    `clock` counts seconds; with `threaded` false nothing runs in the background and `poll` does what the thread would.
    """

    def __init__(
        self,
        write: Write,
        rule: Rule,
        *,
        clock: Clock = time.monotonic,
        patience_seconds: float = PATIENCE_SECONDS,
        threaded: bool = True,
    ) -> None:
        self._write = write
        self._rule = rule
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._threaded = threaded
        self._changed = threading.Condition(threading.Lock())  # guards all below
        self._waiting: dict[int, tuple[int, float]] = {}
        self._changes = 0
        self._first = 0.0
        self._due = 0.0
        self._not_before = 0.0  # after a failed write
        self._pause = _FIRST_PAUSE_SECONDS
        self._thread: threading.Thread | None = None
        self._closed = False
        self._writing = threading.Lock()  # one write at a time: an earlier value never lands after a later one

    def report(self, job: int, token: int, fraction: float) -> None:
        """Keep the change; a smaller fraction than the one kept of the same claim changes nothing. About 1 µs."""
        now = self._clock()
        with self._changed:
            kept = self._waiting.get(job)
            if kept is None or kept[0] != token or kept[1] < fraction:
                self._waiting[job] = (token, fraction)
            if not self._changes:
                self._first = now
            self._changes += 1
            due = self._rule.due_at(self._first, now, self._changes)
            sooner, self._due = self._changes == 1 or due < self._due, due
            if sooner and self._threaded:
                if self._thread is None:
                    self._start()
                self._changed.notify()

    def poll(self) -> bool:
        """Write what waits if it is due; whether it did. A failed write is not raised: it stays, to be tried again."""
        with self._changed:
            if not self._waiting or self._clock() < max(self._due, self._not_before):
                return False
        return self._try() is None

    def flush(self, jobs: Iterable[int] | None = None) -> None:
        """Write what waits, now, all with one statement; return when these jobs' changes are written. See `ProgressWriter`."""
        wanted = None if jobs is None else set(jobs)
        until = self._clock() + self._patience_seconds
        while True:
            with self._writing, self._changed:  # a write under way may hold the last change of a wanted job
                left = self._waiting.keys() if wanted is None else wanted & self._waiting.keys()
                if not left:
                    return
                named = ", ".join(str(job) for job in sorted(left)[:5])
            error = self._try()
            if error is None:
                return
            if self._clock() >= until:
                raise ProgressUnwritten(
                    f"The progress of job {named} could not be written for {self._patience_seconds:g} s and is kept: "
                    f"{' '.join(str(error).split())}. "
                    "See that the database can be written, then flush again."
                ) from error
            time.sleep(min(self._pause, max(0.0, until - self._clock())))

    def latest(self, job: int, token: int) -> float | None:  # noqa: ARG002  # the shape of every writer
        """Say nothing: another process would not know it either."""
        return None

    def close(self) -> None:
        """Flush, and stop the thread. Raises `ProgressUnwritten` where the last change cannot be written."""
        with self._changed:
            already, self._closed = self._closed, True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if not already:
            atexit.unregister(self.close)
        self.flush()

    def _start(self) -> None:
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()
        atexit.register(self.close)  # an interpreter that ends without `close` still writes what waits

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closed:
                    now, due = self._clock(), max(self._due, self._not_before)
                    if self._waiting and now >= due:
                        break
                    self._changed.wait(due - now if self._waiting else None)
                if self._closed:
                    return
            self._try()

    def _try(self) -> Exception | None:
        """Write all that waits, once; what failed waits again, unless a later change of its job does."""
        with self._writing:
            with self._changed:
                batch, self._waiting, self._changes = self._waiting, {}, 0
            if not batch:
                return None
            try:
                self._write([Change(job, token, fraction) for job, (token, fraction) in sorted(batch.items())])
            except Exception as error:  # noqa: BLE001  # whatever kept it from being written, it is not lost
                with self._changed:
                    self._keep(batch)
                return error
            self._pause, self._not_before = _FIRST_PAUSE_SECONDS, 0.0
        return None

    def _keep(self, batch: Mapping[int, tuple[int, float]]) -> None:
        for job, (token, fraction) in batch.items():
            later = self._waiting.get(job)
            if later is None or (later[0] == token and later[1] < fraction):
                self._waiting[job] = (token, fraction)
        now = self._clock()
        self._changes = max(self._changes, 1)
        self._first = self._due = now
        self._not_before = now + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)


class ViaRedis:
    """Keeps the intermediate state in Redis, where the screen sees it at once, and writes it to the database every interval.

    What Redis holds is only ever ahead of the database. It may restart empty or be gone: what was reported is kept here as well, the
    database gets it at the next interval and on every flush, and Redis gets it again with the next change. A screen remembers the most
    it has seen of a claim, so that it does not go back to what the database has. `namespace` gives the name of the queue, under which
    its keys are; it may ask the database, and is called when it is first needed.
    """

    def __init__(
        self,
        write: Write,
        redis_url: str,
        namespace: Callable[[], str],
        *,
        flush_interval: float = FLUSH_INTERVAL_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        import redis  # noqa: PLC0415  # only who keeps progress in Redis needs it

        self._redis: redis.Redis = redis.Redis.from_url(redis_url, socket_timeout=2, socket_connect_timeout=2)
        self._namespace = namespace
        self._seconds = max(60, int(20 * flush_interval))
        self._synced = Buffered(write, Batched(flush_interval, 2**62), patience_seconds=patience_seconds)
        self._seen: dict[tuple[int, int], float] = {}  # by claim, the last read last
        self._published = Buffered(self._publish, Debounced(0.0, 0.0), patience_seconds=0.0)

    def report(self, job: int, token: int, fraction: float) -> None:
        """Keep the change for the database, and have it put into Redis at once, by a thread."""
        self._synced.report(job, token, fraction)
        self._published.report(job, token, fraction)

    def flush(self, jobs: Iterable[int] | None = None) -> None:
        """Write to the database; Redis may be gone. See `ProgressWriter`."""
        self._synced.flush(jobs)

    def latest(self, job: int, token: int) -> float | None:
        """The most Redis ever gave of a claim here; None where it never had anything of it."""
        import redis  # noqa: PLC0415  # as above

        seen = self._seen.pop((job, token), None)
        with suppress(redis.RedisError):  # the database is behind by one interval at most
            held = self._redis.get(self._key(job, token))
            if held is not None and (seen is None or float(held) > seen):
                seen = float(held)
        if seen is not None:
            self._seen[job, token] = seen
            if len(self._seen) > _MOST_SEEN:
                del self._seen[next(iter(self._seen))]
        return seen

    def close(self) -> None:
        """Write what waits to the database, and leave Redis."""
        try:
            self._synced.close()
        finally:
            with suppress(ProgressUnwritten):  # Redis is gone; the database has it
                self._published.close()
            self._redis.close()

    def _publish(self, changes: Sequence[Change]) -> None:
        with self._redis.pipeline(transaction=False) as pipeline:
            for change in changes:
                pipeline.set(self._key(change.job, change.token), change.fraction, ex=self._seconds)
            pipeline.execute()

    def _key(self, job: int, token: int) -> str:
        return f"progress:{self._namespace()}:{job}:{token}"
