"""Exploring: the same processes on the same database, one statement at a time, in every order there is or in as many as time allows.

Each schedule begins from the same rows. A worker stops before each operation and before each statement another could notice; when all
have stopped, one of those that can go on is let on (`harness.runners.search` says which). When all have ended, one more process drains
the queue, and the invariants judge all schedules together.

The same operations can be let loose as well: all workers begin at once and nobody is held, so that the machine decides on the order. That
is a race as small as an exploration, to be set beside it.
"""

from __future__ import annotations

import contextlib
import select
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from types import FrameType, TracebackType
from typing import Any, Final, Literal, Protocol, Self

import orjson

from harness.clock import WorldClock
from harness.errors import RunAbandoned
from harness.processes import opens
from harness.protocols import Crash, Effect, Held, Ran, Reach
from harness.recorder import Recorder
from harness.runners.search import Attempt, Diverged, Exhaustive, Given, Offer, Pct, Search, orders
from harness.scenario import Client, Example, Program
from harness.turnstile import SPIN_SECONDS, Line
from harness.witnesses.statement import Statement, StatementFile

DRAIN_SECONDS: Final = 30.0
DEADLOCK_SECONDS: Final = 10.0  # within which the database ends a deadlock
MOST_STEPS: Final = 2_000  # of one schedule, above which it is called endless
WARM_UP: Final = 6  # unrecorded schedules: a driver prepares a statement only after it was used some times
OUTCOMES_KEPT: Final = 50
REPEATS: Final = 10  # of a schedule before it is reported
FIRST_LOOK_SECONDS: Final = 0.2  # after the search began; then at ever longer intervals
DEPTHS: Final = (2, 3)  # of bugs looked for at random, where there are too many schedules for all
COARSE_SECONDS: Final = 0.01  # epoll counts in whole milliseconds, select(2) in microseconds
MOST_FILES: Final = 1024  # that select(2) knows
RACE_SECONDS: Final = 60.0  # within which workers that were let loose have ended
SAY_SECONDS: Final = 5.0  # between two lines on how far races have come
TOGETHER_NS: Final = 1_000_000  # from telling workers until they begin, so that each has been told by then
SERVE_SECONDS: Final = 0.05  # between two looks whether those that were let go have ended
REPLACE_SECONDS: Final = 30.0  # within which a process that was killed has been started anew
KILLED: Final[list[Any]] = ["killed", "info", [], None, ""]  # in the place of a worker's answers
SAID: Final[Mapping[Crash, str]] = {
    "killed": "killed before",
    "killed-after": "killed after",
    "cut": "connection cut before",
    "cut-after": "answer lost of",
}
SHARE_OF_ALL: Final = 0.5  # of the budget, for which all are tried before that


def explored(client: Client, program: Program, arguments: Mapping[str, Any]) -> int:
    """Be an explored process: run a program once for each schedule, as the turnstile says; gives how many."""
    return client.follow(program, arguments)


@opens
def explored_from_its_opening(client: Client, program: Program, arguments: Mapping[str, Any]) -> int:
    """As `explored`, of a program that builds the system itself, in each schedule."""
    return client.follow(program, arguments)


def as_explored(program: Program | None) -> Program:
    """What a process runs whose part of every schedule is this program."""
    return explored_from_its_opening if getattr(program, "opens", False) else explored


@dataclass(frozen=True, slots=True)
class Step:
    """One worker let on: what it was about to do, who kept it waiting, and all statements that ended until all had stopped again.

    `ran` is in the order of the workers; one that waited ends its statement in the step of whoever it waited for, or in one of its own,
    where it was chosen from several that could go on.
    """

    worker: int
    what: str
    ran: tuple[tuple[int, Ran], ...]
    blocked_by: tuple[str, ...] = ()
    waiting: str = ""  # the statement that was kept waiting
    # No choice: nobody could go on, so SQLite refused the first that waited, or Postgres ended a deadlock.
    forced: bool = False
    crash: Crash | None = None  # what befell it


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule as it went: what was chosen at each choice, the steps, and each worker's answers.

    After these come the answers when nobody was held any more: of the processes `afterwards` names, the drain's last.
    """

    chosen: tuple[Offer, ...]
    steps: tuple[Step, ...]
    answers: tuple[Any, ...]
    afterwards: tuple[str, ...]
    redundant: bool
    waited: bool  # whether some worker had to wait for another's lock


@dataclass(frozen=True, slots=True)
class Race:
    """One schedule whose order nobody chose: each worker's answers, then as in `Schedule`, and what each ran while they raced."""

    answers: tuple[Any, ...]
    ran: tuple[tuple[int, Ran], ...]


@dataclass
class _Worker:
    name: str
    line: Line
    twin: int
    state: Literal["starting", "running", "held", "blocked", "done"] = "starting"
    what: str = ""
    effect: Effect = "write"
    reach: Reach = None
    fresh: bool = True
    first: str = ""  # the kind of its first operation, once it has begun one
    begin: Mapping[str, Any] | None = None  # how it is told to begin, while it has not
    inside: bool = False  # it waits at its turnstile, not on the wire
    busy: bool = False  # SQLite refused it, and "go" tries again
    blocked_by: tuple[str, ...] = ()
    waiting: str = ""
    ran: list[Ran] = field(default_factory=list)
    answers: Any = None
    more: bool = False  # the rest of its program is still to be run
    problem: str = ""
    open: bool = False  # a transaction of it holds something, as far as its turnstile knows
    dead: bool = False  # it was killed in this schedule

    @property
    def refused(self) -> bool:
        """Whether SQLite has just refused it."""
        return self.busy and self.state == "blocked"


def _on(connection: int, kind: str, shape: str) -> str:
    """What a statement is called, with its connection where that is not the first."""
    return f"{connection}: {shape}" if connection > 1 else shape or kind


def _died(worker: _Worker) -> RunAbandoned:
    return RunAbandoned(f"{worker.name} died in the middle of a schedule. See its log in the bundle.")


class Workers:
    """The explored processes of a run. Raises `RunAbandoned` for one that dies, hangs, or cannot be held."""

    def __init__(
        self,
        names: Sequence[str],
        lines: Mapping[str, Line],
        twins: Mapping[str, int],
        *,
        held: Held,
        quiet: str,
        step_seconds: float,
        clock: WorldClock | None = None,
        fate: Fate | None = None,
    ) -> None:
        """`quiet` is the process that drains the queue; within `step_seconds` one that was let on stops or is blocked.

        `clock` is theirs, where they may move it. With `fate`, something befalls one of them in each schedule.
        """
        self._all = [_Worker(name, lines[name], twins[name]) for name in names]
        self._named = {worker.name: worker for worker in self._all}
        self.example: Example | None = None  # what the next schedules do, where that is made up
        self._held = held
        self._quiet_name, self._quiet = quiet, lines[quiet]
        self._step_seconds = step_seconds
        self._clock = clock
        self._fate = fate
        self.unheld = ""  # why the database chose who of several went on; empty: it did not
        self._could_wake: Sequence[str] = ()
        self._still: set[str] = set()  # who waits, and goes on only when told to, whatever becomes of the lock

    @property
    def crashes(self) -> bool:
        """Whether something befalls one of them in each schedule."""
        return self._fate is not None

    @property
    def workers(self) -> Sequence[_Worker]:
        """Those that take part."""
        return self._all if self.example is None else self._all[: len(self.example.programs)]

    def __enter__(self) -> Self:
        self._selector = DefaultSelector()
        for worker in self.workers:
            self._selector.register(worker.line.fileno(), EVENT_READ, lambda worker=worker: self._hear(worker))
        self._held.attend(self._selector, self)
        return self

    def start(self, failed: Mapping[str, int], *, within: float) -> str | None:
        """Wait until every process has built its system; gives the name of one that will not.

        Those on the wire reach their database through us meanwhile. `failed` has, for each process, a file that can be read from
        once it has given up.
        """
        gone: list[str] = []
        ready: list[Any] = []
        self._selector.register(self._quiet.fileno(), EVENT_READ, lambda: ready.append(self._quiet.hear()))
        for name, file in failed.items():
            self._selector.register(file, EVENT_READ, lambda name=name: gone.append(name))
        deadline = time.monotonic() + within
        while not gone and not (ready and all(worker.state != "starting" for worker in self.workers)):
            if time.monotonic() > deadline:
                gone = [worker.name for worker in self.workers if worker.state == "starting"] or [*failed][-1:]
                break
            for key, _ in self._selector.select(max(0.0, deadline - time.monotonic())):
                key.data()
        for file in (self._quiet.fileno(), *failed.values()):
            self._selector.unregister(file)
        return gone[0] if gone else None

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        for line in (*(worker.line for worker in self._all), self._quiet):
            line.close()  # they end, unless they have already been let go
        self._selector.close()

    @contextlib.contextmanager
    def let_go(self) -> Iterator[None]:
        """Have them leave their programs. While the context lasts they reach their database as they like, to close what they opened."""
        for worker in self._all:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(worker.line)
            with contextlib.suppress(OSError):  # it died
                worker.line.say(None)
        with contextlib.suppress(OSError):
            self._quiet.say(None)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                for key, _ in self._selector.select(SERVE_SECONDS):
                    key.data()

        server = threading.Thread(target=serve, name="gate", daemon=True)
        server.start()
        try:
            yield
        finally:
            over.set()
            server.join()

    # What the gate tells.

    def held(self, process: str, connection: int, kind: str, shape: str, effect: Effect, *, reach: Reach) -> None:
        """See `GateListener`."""
        self._holds(self._named[process], _on(connection, kind, shape), effect, reach, inside=False)

    def moves(self, process: str) -> None:
        """See `GateListener`."""
        worker = self._named[process]
        if worker.state == "blocked":
            worker.state = "running"

    def gone(self, process: str) -> None:
        """See `GateListener`."""
        worker = self._named[process]
        if worker.state == "held":
            worker.state = "running"

    # What the turnstiles tell.

    def _hear(self, worker: _Worker, within: float | None = None) -> None:
        try:
            told = worker.line.hear(within)
        except TimeoutError:
            raise
        except (EOFError, OSError):
            raise _died(worker) from None
        ran = [Ran(*each) for each in told["ran"]]
        worker.ran += ran
        worker.first, worker.open = told["began"] or worker.first, told["open"]
        refused = (
            told["stop"] == "busy" and not ran
        )  # and nothing else: two that are would have each other try for ever
        if not told["open"] and not refused:
            self._holds_nothing(worker)
        match told["stop"]:
            case "operation":
                self._holds(worker, told["kind"], "write", None, inside=True)
            case "statement":
                self._holds(worker, _on(*told["at"]), "write", None, inside=True)
            case "ready":
                worker.state = "done"
            case "dying":
                self._kill(worker)
            case "busy":
                worker.state, worker.busy, worker.inside = "blocked", True, True
            case "done":
                worker.state, worker.more = "done", told["more"]
                worker.answers, worker.problem = told["answers"], told["problem"]
            case "thread":
                raise RunAbandoned(
                    f"{worker.name} used the database from two threads at once. Contend can hold one statement of a process at a time: "
                    "let the system do without a thread of its own, or race it."
                )

    def _holds_nothing(self, worker: _Worker) -> None:
        """Whatever a worker held, it holds no more: the others that were refused may try again."""
        for other in self.workers:
            if other.refused and other is not worker:
                other.state = "held"

    def _holds(self, worker: _Worker, what: str, effect: Effect, reach: Reach, *, inside: bool) -> None:
        if worker.state == "held":
            raise RunAbandoned(
                f"{worker.name} has two statements under way at once, on two connections: {worker.what!r} and {what!r}. "
                "Contend can hold one statement of a process at a time: let the system use one connection at a time, or race it."
            )
        if worker.state == "done":
            raise RunAbandoned(
                f"{worker.name} went on using the database after its last operation had ended: {what!r}. Contend can hold one statement of "
                "a process at a time: let the system do without a thread of its own (a pool's `reset` runs in one), or race it."
            )
        worker.state, worker.what, worker.inside = "held", what, inside
        worker.effect, worker.reach = effect, reach

    # One schedule.

    def carry_out(self, attempt: Attempt, number: int | None) -> Schedule:
        """Carry one schedule out; what the processes do is recorded as that number (None: not at all).

        Raises `Diverged`, after bringing the schedule to an end, where it did not go as it had before.
        """
        self._begin(number)
        try:
            return self._carry_out(attempt, number)
        finally:
            self._hold_none()

    def _carry_out(self, attempt: Attempt, number: int | None) -> Schedule:
        steps: list[Step] = []
        chosen: list[Offer] = []
        diverged: Diverged | None = None
        waited = False
        while True:
            offers = self._offers(crashes=not any(offer.victim is not None for offer in chosen))
            if not offers:
                if all(worker.state == "done" for worker in self.workers):
                    break
                steps.append(self._unblock())
                continue
            try:
                place = offers[0].worker if diverged else attempt.choose(offers)
                offer = next(offer for offer in offers if offer.worker == place)
                step = self._take(offer, number)
                waited = waited or step is None or bool(step.blocked_by)
                if step is None:
                    attempt.refused() if not diverged else None
                    continue
            except Diverged as error:
                diverged = error
                continue
            if not diverged:
                attempt.took()
            steps.append(step)
            chosen.append(offer)
            if len(steps) > MOST_STEPS:
                raise RunAbandoned(
                    f"A schedule had not ended after {MOST_STEPS} steps: an operation of the system seems to try again for ever. "
                    f"The last: w{place}: {step.what!r}."
                )
        self._held.turn(on=False)
        answers, afterwards = self._finish(number) if diverged is None else ([], [])
        for worker in self.workers:
            if worker.dead:
                self._replace(worker)
        if diverged:
            raise diverged
        self._insist_on_no_problem()
        return Schedule(tuple(chosen), tuple(steps), tuple(answers), tuple(afterwards), attempt.redundant, waited)

    def let_loose(self, number: int | None) -> Race:
        """Have all do their parts at once, held by nobody, then what is left as after any schedule; recorded as `carry_out` does."""
        self._held.turn(on=False)
        self._reset()
        at = time.monotonic_ns() + TOGETHER_NS
        for worker in self.workers:
            worker.state = "running"
            self._tell(worker, {"schedule": number, "phase": "main", "free": True, "at": at})
        deadline = time.monotonic() + RACE_SECONDS
        while any(worker.state == "running" for worker in self.workers):
            left = deadline - time.monotonic()
            if left <= 0:
                names = ", ".join(worker.name for worker in self.workers if worker.state == "running")
                raise RunAbandoned(
                    f"{names} had not ended {RACE_SECONDS:g} s after all were let loose. See the worker's log in the bundle."
                )
            for key, _ in self._selector.select(left):
                key.data()
        ran = self._ran()
        answers, _ = self._finish(number)
        self._insist_on_no_problem()
        return Race(tuple(answers), ran)

    def _insist_on_no_problem(self) -> None:
        problem = next((f"{w.name}: {w.problem}" for w in self.workers if w.problem), "")
        if problem:
            raise RunAbandoned(problem)

    def _finish(self, number: int | None) -> tuple[list[Any], list[str]]:
        """Have everybody do what is left, one after the other and held by nobody; gives all answers, and whose the last ones are."""
        answers, afterwards = [worker.answers for worker in self.workers], []
        for worker in self.workers:
            if worker.more:
                worker.state = "running"
                self._tell(worker, {"schedule": number, "phase": "quiet", "free": True})
                self._settle()
                answers.append(worker.answers)
                afterwards.append(worker.name)
        answers.append(self._tend({"schedule": number, "phase": "quiet", "free": True}))
        return answers, [*afterwards, self._quiet_name]

    def _begin(self, number: int | None) -> None:
        begins: list[dict[str, Any]] = [{"schedule": number, "phase": "main", "free": False} for _ in self.workers]
        if self.example is not None:
            filled = self._tend(
                {"schedule": number, "phase": "setup", "free": True, "arguments": {"enqueue": self.example.jobs}}
            )
            jobs = [job for _, _, named, *_ in filled for job in named]
            for worker, begin, program in zip(self.workers, begins, self.example.programs, strict=True):
                begin["arguments"] = {"operations": program, "jobs": jobs}
                worker.first = program[0][0]
        self._held.turn(on=True)
        self._reset()
        for worker, begin in zip(self.workers, begins, strict=True):
            worker.state, worker.begin = "held", begin

    def _reset(self) -> None:
        """Forget the last schedule."""
        for worker in self.workers:
            worker.fresh, worker.busy, worker.open, worker.begin = True, False, False, None
            worker.what, worker.effect, worker.reach, worker.inside = worker.first, "write", None, True
            worker.ran, worker.answers, worker.more, worker.blocked_by = [], None, False, ()
        if self._clock is not None:
            self._clock.reset()

    def _offers(self, *, crashes: bool) -> list[Offer]:
        """Who could be let on, and what may befall them; where several wait for what is free by now, who goes on is chosen first of all."""
        if self._still:
            return [
                Offer(place, f"goes on: {worker.what}", twin=worker.twin)
                for place, worker in enumerate(self.workers)
                if worker.name in self._could_wake
            ]
        waits = any(worker.state == "blocked" for worker in self.workers)  # and may go on in the step of another
        offers = [
            Offer(place, worker.what, worker.effect, worker.fresh, worker.twin, None if waits else worker.reach)
            for place, worker in enumerate(self.workers)
            if worker.state == "held"
        ]
        fatal = crashes and self._fate is not None
        return [*offers, *(crash for offer in offers for crash in self._crashes(offer))] if fatal else offers

    def _crashes(self, offer: Offer) -> Iterator[Offer]:
        """What may befall the worker of an offer now. Before its first statement there is nothing to lose."""
        worker = self.workers[offer.worker]
        # Then all that its death does is that it goes no further.
        free = not worker.open and not self._held.holds(worker.name)
        for number, crash in enumerate(self._held.crashes, 1):
            after = crash.endswith("after")
            if after or not worker.fresh:
                yield Offer(
                    number * len(self.workers) + offer.worker,
                    f"{SAID[crash]} {offer.what}",
                    "local" if free and crash == "killed" else "write",
                    offer.fresh,
                    number * len(self.workers) + offer.twin,
                    victim=offer.worker,
                )

    def _take(self, offer: Offer, number: int | None) -> Step | None:
        """Let a worker on, or have something befall it; None where it could not go on after all."""
        worker = self.workers[offer.process]
        if self._still:
            return self._wake(worker, offer.worker)
        waiting = [each.name for each in self.workers if each.state == "blocked" and not each.busy]
        if len(waiting) > 1:
            if self._held.hold(waiting):
                self._still = {*waiting}
            self.unheld = self._held.unheld
        step = self._let(worker, offer.worker) if offer.victim is None else self._befall(worker, offer, number)
        if step is not None and self._still:
            self._wake_the_only()
            return replace(step, ran=(*step.ran, *self._ran()))
        return step

    def _befall(self, worker: _Worker, offer: Offer, number: int | None) -> Step | None:
        """Have something befall a worker, until all others have stopped again; None where it was refused a lock instead."""
        assert self._fate is not None  # noqa: S101  # who offered it has it
        crash, place, what = self._held.crashes[offer.worker // len(self.workers) - 1], offer.process, worker.what
        self._fate.number = number
        step: Step | None = None
        if crash == "killed":
            self._kill(worker)
        elif crash == "killed-after":
            step = self._let(worker, place, go="die")
            if step is None:
                return None
        elif crash == "cut-after":
            self._fate.befell("cut", worker.name)
            self._held.cut_after(worker.name)
            step = self._let(worker, place)
        else:
            self._fate.befell("cut", worker.name)
            self._held.cut(worker.name)
            if worker.inside:  # its next statement will find out
                step = self._let(worker, place)
            else:
                worker.state, worker.fresh = "running", False
        if step is None:
            self._settle()
            step = Step(place, what, self._ran())
        return replace(step, crash=crash)

    def _kill(self, worker: _Worker) -> None:
        """Kill a worker; what it held is free then."""
        assert self._fate is not None  # noqa: S101  # only then
        self._fate.befell("kill", worker.name)
        self._selector.unregister(worker.line.fileno())
        worker.line.close()
        self._held.cut(worker.name)
        worker.state, worker.dead, worker.answers, worker.busy = "done", True, [KILLED], False
        self._holds_nothing(worker)

    def _replace(self, worker: _Worker) -> None:
        """Have a killed worker started anew, and wait until it has built its system."""
        assert self._fate is not None  # noqa: S101  # as above
        worker.line, worker.state, worker.dead = self._fate.replace(worker.name), "starting", False
        self._selector.register(worker.line.fileno(), EVENT_READ, lambda worker=worker: self._hear(worker))
        deadline = time.monotonic() + REPLACE_SECONDS
        while worker.state == "starting":
            if time.monotonic() > deadline:
                raise RunAbandoned(
                    f"{worker.name}, killed on purpose, did not start again within {REPLACE_SECONDS:g} s. See its log in the bundle."
                )
            for key, _ in self._selector.select(max(0.0, deadline - time.monotonic())):
                key.data()

    def _let(self, worker: _Worker, place: int, *, go: str = "go") -> Step | None:
        """Let a worker on through one statement, until all have stopped again; None where it was refused a lock."""
        what, worker.blocked_by, worker.waiting = worker.what, (), ""
        fresh, effect = worker.fresh, worker.effect
        worker.state = "running"
        if not self._held.allow(worker.name) or worker.inside:
            self._tell(worker, {**worker.begin, "die": go == "die"} if worker.begin else go)
            worker.begin = None
        worker.fresh = False
        self._settle()
        if worker.refused:
            worker.what, worker.fresh, worker.effect = what, fresh, effect
            return None
        worker.busy = False
        return Step(place, what, self._ran(), worker.blocked_by, worker.waiting)

    def _wake(self, worker: _Worker, place: int) -> Step | None:
        """Let one go on that waited, as `_let` does; None where the database does not let it past another."""
        if not self._goes_on(worker):
            self._could_wake = [name for name in self._could_wake if name != worker.name]
            if not self._could_wake:
                self._hold_none()
                self._settle()
            return None
        self._wake_the_only()
        return Step(place, f"goes on: {worker.what}", self._ran(), worker.blocked_by, worker.waiting)

    def _goes_on(self, worker: _Worker) -> bool:
        """Let a worker that is held still go on, until all have stopped again; false where it cannot."""
        if not self._held.wake(worker.name):
            return False
        self._still.discard(worker.name)
        worker.state, worker.blocked_by, worker.waiting = "running", (), ""
        self._settle()
        return True

    def _wake_the_only(self) -> None:
        """Of those held still, let whoever could go on do so, for as long as there is no choice."""
        while self._still:
            self._could_wake = self._held.could_wake()
            if len(self._could_wake) > 1:
                return
            if not self._could_wake or not self._goes_on(self._named[self._could_wake[0]]):
                self._hold_none()

    def _hold_none(self) -> None:
        if self._still:
            self._still.clear()
            self._held.let_go()

    def _ran(self) -> tuple[tuple[int, Ran], ...]:
        """Take what has run since this was last asked."""
        ended: list[tuple[int, Ran]] = []
        for place, worker in enumerate(self.workers):
            ended += [(place, ran) for ran in (*worker.ran, *self._held.ran(worker.name))]
            worker.ran = []
        ahead = self._clock.ahead.value if self._clock is not None else 0
        if ahead:  # what is recorded has the time of the moved clock
            ended = [
                (place, replace(ran, committed_ns=ran.committed_ns + ahead) if ran.committed_ns else ran)
                for place, ran in ended
            ]
        return tuple(ended)

    def _unblock(self) -> Step:
        """Nobody can go on: SQLite's busy time-out is over for the first that waits, or Postgres ends a deadlock."""
        place, worker = next((p, w) for p, w in enumerate(self.workers) if w.state == "blocked")
        what = worker.what
        if worker.busy:
            worker.state, worker.busy = "running", False
            self._tell(worker, "refuse")
            self._settle()
        else:
            waiting = [(p, w.what) for p, w in enumerate(self.workers) if w.state == "blocked"]
            self._settle(until_one_moves=True)
            place, what = next(((p, what) for p, what in waiting if self.workers[p].state != "blocked"), waiting[0])
        return Step(place, what, self._ran(), forced=True)

    def _tell(self, worker: _Worker, what: object) -> None:
        try:
            worker.line.say(what)
        except OSError:
            raise _died(worker) from None

    def _settle(self, *, until_one_moves: bool = False) -> None:
        """Wait until every worker has stopped, is blocked or has ended."""
        deadline = time.monotonic() + (DEADLOCK_SECONDS if until_one_moves else self._step_seconds)
        verified = until_one_moves
        while True:
            running = [worker for worker in self.workers if worker.state == "running"]
            if running:
                verified = False
            waiting = [
                worker
                for worker in self.workers
                if worker.state == "blocked" and not worker.busy and worker.name not in self._still
            ]
            if not running and (not waiting or verified) and not until_one_moves:
                return
            if not running and not until_one_moves:  # a lock may have been let go of meanwhile
                still = self._held.blocked([worker.name for worker in waiting])
                for worker in waiting:
                    if worker.name not in still:
                        worker.state = "running"
                verified = True
                continue
            self._wait(running, deadline)
            if until_one_moves and any(worker.state != "blocked" for worker in self.workers if worker in waiting):
                until_one_moves = False

    def _wait(self, running: Sequence[_Worker], deadline: float) -> None:
        """Wait for the next word of anybody, and ask who is blocked when it is time to."""
        left = deadline - time.monotonic()
        if left <= 0:
            names = ", ".join(worker.name for worker in (running or self.workers) if worker.state != "done")
            raise RunAbandoned(
                f"{names} neither stopped nor waited for a lock within {self._step_seconds:g} s of being let on. "
                "An operation that takes this long cannot be explored; look at the worker's log in the bundle, or raise "
                "--option step_seconds."
            )
        if len(running) == 1 and not self._held.own_files:  # nobody else can say anything
            with contextlib.suppress(TimeoutError):
                self._hear(running[0], left)
            return
        due = self._held.due()
        until, events = time.perf_counter() + SPIN_SECONDS, self._selector.select(0)
        while not events and time.perf_counter() < until:
            events = self._selector.select(0)
        if not events:
            if due is not None and due < COARSE_SECONDS and self._selector.fileno() < MOST_FILES:
                select.select([self._selector.fileno()], [], [], due)
                due = 0.0
            events = self._selector.select(left if due is None else min(left, due))
        for key, _ in events:
            key.data()
        if not events and due is not None and running:
            blocked = self._held.blocked([worker.name for worker in running])
            for name, others in blocked.items():
                worker = self._named[name]
                moving = [
                    other
                    for other in others
                    if other in self._named and self._named[other].state == "running" and other not in blocked
                ]
                if worker.state == "running" and not moving:
                    worker.state, worker.blocked_by = "blocked", tuple(others)
                    worker.waiting = self._held.at_work(name)

    def _tend(self, told: Mapping[str, Any]) -> Any:
        """Have the quiet process, held by nobody, claim and complete what is left, or do what comes before; give its answers."""
        try:
            self._quiet.say(told)
            answer = self._quiet.hear(DRAIN_SECONDS)
        except TimeoutError:
            raise RunAbandoned(f"The queue was not drained within {DRAIN_SECONDS:g} s after a schedule.") from None
        except (EOFError, OSError):
            raise RunAbandoned("The process that drains the queue died. See its log in the bundle.") from None
        if answer["problem"]:
            raise RunAbandoned(f"The queue could not be drained: {answer['problem']}")
        return answer["answers"]


@dataclass
class Fate:
    """What befalls the workers of an exploration: an operation of `nemesis` that names the worker.

    `kill` kills a process; `replace` has one in its place build its system, and gives its line.
    """

    nemesis: Recorder
    kill: Callable[[str], None]
    replace: Callable[[str], Line]
    number: int | None = None  # of the schedule

    def befell(self, kind: Literal["kill", "cut"], name: str) -> None:
        """Kill the process, if it is that, and write down what befell it."""
        self.nemesis.schedule = self.number
        with self.nemesis.harm(kind, [name]):
            if kind == "kill":
                self.kill(name)
        self.nemesis.schedule = 0


@dataclass(frozen=True, slots=True)
class Replay:
    """A schedule to be carried out again: the invariant it broke, who was let on at each choice, and what each was about to do."""

    invariant: str
    choices: tuple[int, ...]
    said: tuple[str, ...]
    example: Example | None = None  # what the workers did, where that was made up


@dataclass(slots=True)
class Explored:
    """What an exploration came to."""

    schedules: int = 0
    programs: int = 0  # of these, with a program of their own
    raced: int = 0  # of these, whose order was left to the machine
    redundant: int = 0  # carried out in part or whole, and left out of `schedules`, as others show the same
    waited: int = 0  # schedules in which a worker had to wait for another's lock
    exhausted: bool = False
    stands_for: int | None = 0  # schedules there are without reduction; None: too many to count
    preemptions_below: int | None = None  # all schedules with fewer preemptions were tried; None: all were
    longest: int = 0  # choices in a schedule
    random: list[dict[str, Any]] = field(default_factory=list)  # of each depth: schedules, found_with
    diverged: list[dict[str, Any]] = field(default_factory=list)
    unheld: str = ""  # why the database chose who of several that waited went on; empty: it did not
    interrupted: bool = False
    replayed: bool = False  # a schedule of an earlier run, since when the system may have changed
    idle: list[str] = field(default_factory=list)  # workers that ran no operation in any schedule
    seconds: float = 0.0
    looking_seconds: float = 0.0  # of these, spent on judging what there was so far
    shown_seconds: float | None = None  # from the start of the search until the first violation was known
    chosen: dict[int, tuple[Offer, ...]] = field(
        default_factory=dict
    )  # of each schedule that is not redundant, by number
    # What the workers' operations came to, but for the names of workers that run the same program → schedules that came to it.
    outcomes: Counter[bytes] = field(default_factory=Counter)
    # What befell which worker, and at which of its own steps, counted from 1.
    crash_points: set[tuple[int, Crash, int]] = field(default_factory=set)


class Look(Protocol):
    """Judges what was recorded so far."""

    def __call__(self, excerpt: Path | None = None, only: str = "") -> Mapping[str, Sequence[int]]:
        """For each invariant that is broken, the schedules that break it; of a folder with a part of the history, and by one alone."""


@dataclass
class Explorer:
    """Carries schedules out until there are none left or time is up, and says from time to time what was found."""

    workers: Workers
    restore: Callable[[], None]
    recall: Callable[[int], None]  # writes what happened before every schedule into the history of one
    look: Look
    say: Callable[[str], None]
    witness: Path  # the folder of what the database saw
    found: Explored = field(default_factory=Explored)
    _number: int = 0
    _started: float = 0.0
    _look_at: float = 0.0

    def explore(self, budget_seconds: float, seed: int, *, reduced: bool = True, stop_when_found: bool = False) -> None:
        """Try every schedule; where the budget is too small, spend the rest of it on random ones.

        Ctrl-C ends the search after the schedule at hand, and a second one at once.
        """
        with self.interruptible():
            self._explore(budget_seconds, seed, reduced=reduced, stop_when_found=stop_when_found)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Take note of Ctrl-C while the context lasts, rather than be ended by it; a second one ends us."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def interrupt(number: int, frame: FrameType | None) -> None:
            if self.found.interrupted and callable(before):
                before(number, frame)
            self.found.interrupted = True

        signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _explore(self, budget_seconds: float, seed: int, *, reduced: bool, stop_when_found: bool) -> None:
        self.warm_up()
        self._started = time.monotonic()
        self._look_at = self._started + FIRST_LOOK_SECONDS
        if self.workers.crashes:
            self.found.stands_for = None
        every = Exhaustive(reduced=reduced)
        self._try(every, until=self._started + SHARE_OF_ALL * budget_seconds, stop=stop_when_found)
        self.found.exhausted = every.left == 0 and not self.found.diverged
        self.found.preemptions_below = every.preemptions
        over = self.found.interrupted or (stop_when_found and self.found.shown_seconds is not None)
        if every.left and not over:
            self.say(f"{self.found.schedules:,} schedules, and not all: going on with random ones")
            for number, depth in enumerate(DEPTHS, 1):
                search = Pct(len(self.workers.workers), self.found.longest, depth, seed, crashes=self.workers.crashes)
                share = SHARE_OF_ALL + (1 - SHARE_OF_ALL) * number / len(DEPTHS)
                self._try(search, until=self._started + share * budget_seconds, stop=stop_when_found)
                self.found.random.append({"depth": depth, "schedules": search.tried, "found_with": search.found_with})
        if every.left:
            self.found.stands_for = None
        self.found.seconds = time.monotonic() - self._started
        moved = {offer.process for chosen in self.found.chosen.values() for offer in chosen}
        self.found.idle = [worker.name for place, worker in enumerate(self.workers.workers) if place not in moved]

    def race(self, times: int) -> None:
        """Let the workers loose so many times, each a schedule of its own, and see what that broke.

        Ctrl-C ends it after the race at hand, and a second one at once.
        """
        found, idle = self.found, {worker.name for worker in self.workers.workers}
        found.stands_for = None
        with self.interruptible():
            for _ in range(WARM_UP):
                self.restore()
                self.workers.let_loose(None)
            self._started = time.monotonic()
            told_at = self._started
            while found.raced < times and not found.interrupted:
                if time.monotonic() > told_at + SAY_SECONDS:
                    told_at = time.monotonic()
                    self.say(f"{found.raced:,} of {times:,} races")
                self._number += 1
                self.restore()
                self.recall(self._number)
                race = self.workers.let_loose(self._number)
                self._testify(race.answers, race.ran)
                self._came_to(race.answers)
                found.raced += 1
                idle -= {w.name for w, answers in zip(self.workers.workers, race.answers, strict=False) if answers}
            found.seconds = time.monotonic() - self._started
        found.idle = sorted(idle)
        broken = self.look()
        if broken:
            found.shown_seconds = time.monotonic() - self._started
        for invariant, schedules in broken.items():
            self.say(f"{invariant} broken in {len(schedules):,} of {found.raced:,} races")

    def replay(self, given: Replay) -> list[dict[str, Any]]:
        """Carry one schedule out, recorded as schedule 1, then repeat it as `report` does."""
        found = self.found
        found.replayed = True
        self._started = time.monotonic()
        self.workers.example = given.example
        self.warm_up()
        attempt = Given(given.choices, given.said, 1).next()
        assert attempt is not None  # noqa: S101  # it gives one
        schedule = self._once(attempt)
        if schedule is None:
            return []
        self._count(schedule)
        found.seconds = time.monotonic() - self._started
        found.stands_for, found.preemptions_below = None, None
        if given.invariant not in self.look():
            found.diverged.append(
                {
                    "schedule": 1,
                    "expected": f"{given.invariant} to be broken",
                    "got": "a schedule that breaks nothing of the kind",
                }
            )
        repeated = repeat(self.workers, self.restore, schedule.chosen)
        return [{"invariant": given.invariant, "schedule": 1, "schedules": 1, **repeated}]

    def warm_up(self) -> None:
        """Carry a schedule out some times, unrecorded."""
        warm_up = Given((), (), WARM_UP)
        while (attempt := warm_up.next()) is not None:
            self.restore()
            self.workers.carry_out(attempt, None)

    def _try(self, search: Search, until: float, *, stop: bool) -> None:
        while time.monotonic() < until and (attempt := search.next()) is not None:
            if self.found.interrupted or (stop and self.found.shown_seconds is not None):
                return
            schedule = self._once(attempt)
            if schedule is not None and isinstance(search, Exhaustive):
                self._count(schedule)
            if self.found.shown_seconds is None and time.monotonic() >= self._look_at:
                self._glance()

    def once(self, attempt: Attempt) -> int | None:
        """Carry a schedule out, recorded; gives its number, or None where it did not go as it had before."""
        return None if self._once(attempt) is None else self._number

    def _once(self, attempt: Attempt) -> Schedule | None:
        self._number += 1
        self.restore()
        self.recall(self._number)
        try:
            schedule = self.workers.carry_out(attempt, self._number)
        except Diverged as error:
            self.found.diverged.append({"schedule": self._number, "expected": error.expected, "got": error.got})
            return None
        finally:
            self.found.unheld = self.workers.unheld
        self._testify(schedule.answers, (ran for step in schedule.steps for ran in step.ran))
        if not schedule.redundant:
            self.found.chosen[self._number] = schedule.chosen
            self.found.crash_points.update(_crash_points(schedule))
        return schedule

    def _testify(self, answers: Sequence[Any], ran: Iterable[tuple[int, Ran]]) -> None:
        """Where an operation says that it failed, write down what its process committed: then it did happen, at least in part."""
        committed = [(of, each) for of, each in ran if each.committed_ns]
        for place, worker in enumerate(self.workers.workers):
            if any(outcome == "fail" for _, outcome, *_ in answers[place]):
                file = StatementFile(self.witness, worker.name)
                file.write(
                    Statement(each.connection, at, "write", each.shape, t1=at, commits=True, schedule=self._number)
                    for of, each in committed
                    if of == place and (at := each.committed_ns)
                )
                file.close()

    def _count(self, schedule: Schedule) -> None:
        found = self.found
        if schedule.redundant:
            found.redundant += 1
            return
        found.waited += schedule.waited
        self._came_to(schedule.answers)
        found.longest = max(found.longest, len(schedule.chosen))
        if found.stands_for is not None:
            number = orders(schedule.chosen)
            found.stands_for = None if number is None else found.stands_for + number

    def _came_to(self, answers: Sequence[Any]) -> None:
        """Count a schedule and what it came to."""
        self.found.schedules += 1
        alike = sorted(
            (worker.twin, orjson.dumps(own)) for worker, own in zip(self.workers.workers, answers, strict=False)
        )
        self.found.outcomes[b"[" + b",".join(own for _, own in alike) + b"]"] += 1

    def _glance(self) -> None:
        """Look for violations so far; the longer it takes, the later again, and no more once there was one: `report` has them all."""
        began = time.monotonic()
        broken = self.look()
        if broken:
            self.found.shown_seconds = time.monotonic() - self._started
            for invariant, schedules in broken.items():
                self.say(
                    f"{invariant} broken by schedule {min(schedules)}, {self.found.shown_seconds:.1f} s after the start"
                )
        elif self.found.looking_seconds:  # not the first look, after which most are over
            self.say(f"{self.found.schedules:,} schedules, nothing found")
        looked = time.monotonic() - began
        self.found.looking_seconds += looked
        self._look_at = time.monotonic() + max(3 * (began - self._started), 10 * looked)

    def report(self) -> list[dict[str, Any]]:
        """Repeat, for each invariant that is broken, the schedule with the fewest preemptions that breaks it; give it as it went.

        `same` counts the repetitions with the same steps and the same answers.
        """
        looked = {
            name: [number for number in numbers if number in self.found.chosen] for name, numbers in self.look().items()
        }
        broken = {name: numbers for name, numbers in looked.items() if numbers}
        if broken and self.found.shown_seconds is None:
            self.found.shown_seconds = time.monotonic() - self._started
        repeated: dict[int, dict[str, Any]] = {}
        for number in {min(schedules) for schedules in broken.values()}:
            repeated[number] = repeat(self.workers, self.restore, self.found.chosen[number])
        return [
            {"invariant": name, "schedule": min(schedules), "schedules": len(schedules), **repeated[min(schedules)]}
            for name, schedules in broken.items()
        ]


def _crash_points(schedule: Schedule) -> Iterator[tuple[int, Crash, int]]:
    """Give what befell a worker: which, what, and at which of its own steps, counted from 1."""
    chosen = [step for step in schedule.steps if not step.forced]
    for place, step in enumerate(chosen):
        if step.crash is not None:
            yield step.worker, step.crash, 1 + sum(earlier.worker == step.worker for earlier in chosen[:place])


def repeat(
    workers: Workers, restore: Callable[[], None], chosen: Sequence[Offer], times: int = REPEATS
) -> dict[str, Any]:
    """Carry one schedule out again and again, unrecorded: how it went first, and how many times it went the same."""
    search = Given([offer.worker for offer in chosen], [offer.what for offer in chosen], times)
    went: list[Schedule] = []
    diverged: list[dict[str, str]] = []
    while (attempt := search.next()) is not None:
        restore()
        try:
            went.append(workers.carry_out(attempt, None))
        except Diverged as error:
            diverged.append({"expected": error.expected, "got": error.got})
    first = went[0] if went else None
    alike = [
        each for each in went if first is not None and (each.chosen, each.answers) == (first.chosen, first.answers)
    ]
    return {
        "times": times,
        "same": len(alike),
        "diverged": diverged[:1],
        "choices": [offer.worker for offer in chosen],
        "said": [offer.what for offer in chosen],
        "workers": [worker.name for worker in workers.workers],
        "steps": [_told(step) for step in first.steps] if first else [],
        "answers": list(first.answers) if first else [],
        "afterwards": list(first.afterwards) if first else [],
    }


def _told(step: Step) -> dict[str, Any]:
    return {
        "worker": step.worker,
        "what": step.what,
        "blocked_by": list(step.blocked_by),
        "waiting": step.waiting,
        "forced": step.forced,
        "crash": step.crash,
        "ran": [
            {
                "worker": worker,
                "connection": ran.connection,
                "kind": ran.kind,
                "shape": ran.shape,
                "error": ran.error,
                "sql": ran.sql or ran.shape,
                "text": ran.text,
                "open": ran.open,
            }
            for worker, ran in step.ran
        ],
    }


class Recall:
    """What happened before every schedule, written into the history of each: the operations of the file of one process."""

    def __init__(self, file: Path) -> None:
        """Take the operations out of the file, which is read to its end; they are no schedule of their own."""
        events = [orjson.loads(line) for line in file.read_bytes().splitlines()]
        self._events = [event for event in events if "op" in event]
        self._operations = max((event["op"] for event in self._events), default=0)
        rest = [event for event in events if "op" not in event]
        file.write_bytes(b"".join(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE) for event in rest[:1]))
        self._file = file.open("ab", buffering=0)
        self._end = rest[1:]

    def __call__(self, schedule: int) -> None:
        """Write it as part of a schedule, whose number counts from 1."""
        before = (schedule - 1) * self._operations
        lines = [
            orjson.dumps({**event, "op": event["op"] + before, "schedule": schedule}, option=orjson.OPT_APPEND_NEWLINE)
            for event in self._events
        ]
        self._file.write(b"".join(lines))

    def end(self) -> None:
        """Say that the process had ended."""
        self._file.write(b"".join(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE) for event in self._end))
        self._file.close()


def told(found: Explored) -> dict[str, Any]:
    """Say as plain values what an exploration came to."""
    return {
        "schedules": found.schedules,
        **({"programs": found.programs} if found.programs else {}),
        **({"raced": found.raced} if found.raced else {}),
        "exhausted": found.exhausted,
        "redundant": found.redundant,
        "waited": None if found.raced else found.waited,
        "stands_for": found.stands_for,
        "preemptions_below": found.preemptions_below,
        "longest": found.longest,
        "crash_points": len(found.crash_points),
        "random": found.random,
        "diverged": found.diverged[:3],
        "divergences": len(found.diverged),
        "outcomes": [
            {"answers": orjson.loads(answers), "schedules": number}
            for answers, number in sorted(found.outcomes.items(), key=lambda item: (-item[1], item[0]))[:OUTCOMES_KEPT]
        ],
        "seconds": round(found.seconds, 3),
        "looking_seconds": round(found.looking_seconds, 3),
        "shown_seconds": None if found.shown_seconds is None else round(found.shown_seconds, 3),
    }


def doubts(found: Explored, reported: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what keeps an exploration from being believed."""
    problems = []
    if found.interrupted:
        problems.append(f"Interrupted after {found.schedules:,} schedules; what they showed is kept.")
    if found.idle:
        problems.append(f"{', '.join(found.idle)} ran no operation in any schedule.")
    if found.diverged:
        first = found.diverged[0]
        problems.append(
            f"{len(found.diverged)} of {found.schedules + len(found.diverged):,} schedules did not go as they had begun before: in "
            f"schedule {first['schedule']} {first['expected']!r} was expected and {first['got']!r} came. "
            + ("The system has changed since, or something" if found.replayed else "Something")
            + " else than the order of statements decides what the system does: a clock, chance, or what it remembers."
            + (
                f" Which of several that waited went on first was the server's choice, as {found.unheld}."
                if found.unheld
                else ""
            )
        )
    problems += [
        f"Schedule {each['schedule']}, which breaks {each['invariant']}, went the same in {each['same']} of {each['times']} repetitions."
        for each in reported
        if each["same"] < each["times"]
    ]
    return problems
