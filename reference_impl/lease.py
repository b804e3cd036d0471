"""What keeps a claim alive while its work goes on: a heartbeat with a thread and a connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

LEASE_SECONDS: Final = 30.0
MOST_ATTEMPTS: Final = 25
BEATS_A_LEASE: Final = 3  # so that two may be missed


@dataclass(frozen=True, slots=True)
class Claim:
    """One job in the hands of one worker.

    `token` rises with every claim of the job, so (job, token) names this claim and no other: a job that was handed on
    since no longer listens to it. `attempt` counts the executions begun, from 1.
    """

    job: int
    token: int
    attempt: int


class SweepIncomplete(Exception):
    """Jobs whose lease had run out could be made neither ready nor dead: `errors` has why, by job. All others were seen to."""

    def __init__(self, recovered: int, errors: dict[int, Exception]) -> None:
        self.recovered, self.errors = recovered, errors
        why = "; ".join(f"job {job}: {error}" for job, error in errors.items())
        super().__init__(f"{recovered} jobs were made ready; {len(errors)} could be made neither ready nor dead: {why}")


class Heartbeat:
    """Extends the leases of some claims until it is stopped; whoever works on them may look at `lost` meanwhile.

    A beat that fails is tried again at the next one, and its error kept in `error` until one succeeds: what counts is the end of the
    claim, which is fenced.
    """

    def __init__(
        self,
        claims: Sequence[Claim],
        beat: Callable[[Sequence[Claim]], Sequence[Claim]],
        connected: Callable[[], AbstractContextManager[object]],
        every_seconds: float,
    ) -> None:
        """`beat` extends leases and gives the claims still held; `connected` holds a connection that is only the heartbeat's."""
        self.held: tuple[Claim, ...] = tuple(claims)
        self.lost: tuple[Claim, ...] = ()
        self.error: Exception | None = None
        self._beat, self._connected, self._every_seconds = beat, connected, every_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while self.held and not self._stop.wait(self._every_seconds):
            try:
                with self._connected():
                    while self.held and not self._stop.is_set():
                        kept = tuple(self._beat(self.held))
                        self.lost += tuple(claim for claim in self.held if claim not in kept)
                        self.held, self.error = kept, None
                        self._stop.wait(self._every_seconds)
            except Exception as error:  # noqa: BLE001  # kept for whoever works; the next beat connects anew
                self.error = error
