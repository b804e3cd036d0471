"""A system that runs a loop of its own (`work`), asked as one that is asked for jobs: `claim` waits until its loop hands one over.

The loop runs in a thread. Its handler hands the job over and comes back when the job is completed, so an execution begins when a
claim returns and ends when its complete is invoked, and what is said of claims is said of executions.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from harness.errors import MalformedAnswer
from harness.protocols import JobId

IDLE_SECONDS: Final = 1.0  # without a job, after which a claim is empty, of a system that does not say (`idle_seconds`)
HALT_SECONDS: Final = 20.0  # that a loop may take to return, once it is told to stop


class Loop(Protocol):
    """A system that runs its own loop."""

    def work(self, worker: str, handler: Callable[[JobId], None], stop: threading.Event) -> None:
        """Call the handler for each job, in whichever thread, until `stop` is set and no handler is under way."""


@dataclass(frozen=True, eq=False)
class Execution:
    """One call of the handler, under way until it is `done`."""

    job: JobId
    done: threading.Event = field(default_factory=threading.Event)


class Pulled:
    """A system that runs its own loop, with `claim` and `complete`; whatever else it has, it has still."""

    def __init__(self, system: Loop) -> None:
        self._system = system
        self._idle_seconds = float(getattr(system, "idle_seconds", IDLE_SECONDS))
        self._news = threading.Condition()
        self._arrived: deque[Execution] = deque()
        self._stop: threading.Event | None = None  # of the loop that runs, if one does
        self._error: BaseException | None = None  # that the last loop raised, not told yet

    def __getattr__(self, name: str) -> Any:
        return getattr(self._system, name)

    def claim(self, worker: str, limit: int) -> Sequence[Execution]:
        """Wait for an execution, and give it with those that arrived beside it; none where the loop was idle for its time.

        Raises what the loop raised: the next claim begins another.
        """
        if self._stop is None and not self.waiting:
            self._begin(worker)
        self._wait(self._idle_seconds)
        with self._news:
            return [self._arrived.popleft() for _ in range(min(limit, len(self._arrived)))]

    def complete(self, _worker: str, executions: Sequence[Execution]) -> None:
        """Let the handlers of these come back."""
        for execution in executions:
            execution.done.set()

    @property
    def waiting(self) -> bool:
        """Whether an execution waits to be claimed."""
        return bool(self._arrived)

    @property
    def running(self) -> bool:
        """Whether the loop runs, or has left an execution or an error behind."""
        return self._stop is not None or self.waiting or self._error is not None

    def halt(self) -> None:
        """Tell the loop to stop, and wait until it has, or has handed over one more job: that is to be done, and this asked again.

        Raises what the loop raised, and `MalformedAnswer` where it does not return.
        """
        if self._stop is not None:
            self._stop.set()
            self._wait(HALT_SECONDS)
        if self._stop is not None and not self._arrived:
            raise MalformedAnswer(
                f"work did not return within {HALT_SECONDS:g} s after its stop was set; expected it to return once no handler is under way."
            )

    def _begin(self, worker: str) -> None:
        stop = self._stop = threading.Event()
        threading.Thread(target=self._run, args=(worker, stop), name="work", daemon=True).start()

    def _run(self, worker: str, stop: threading.Event) -> None:
        error: BaseException | None = None
        try:
            self._system.work(worker, self._hand_over, stop)
            if not stop.is_set():
                error = MalformedAnswer("work returned before its stop was set; expected it to go on until then.")
        except BaseException as raised:  # noqa: BLE001  # whatever it is, who asks next gets it
            error = raised
        with self._news:
            self._stop, self._error = None, error
            self._news.notify_all()

    def _hand_over(self, job: JobId) -> None:
        execution = Execution(job)
        with self._news:
            self._arrived.append(execution)
            self._news.notify_all()
        execution.done.wait()

    def _wait(self, seconds: float) -> None:
        """Wait so long for an execution, or for the loop to end. Raises what it raised, once nothing is left of what it handed over."""
        with self._news:
            self._news.wait_for(lambda: self.waiting or self._stop is None, timeout=seconds)
            if not self._arrived and self._error is not None:
                error, self._error = self._error, None
                raise error
