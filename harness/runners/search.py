"""Which schedule to try next: every one, fewest context switches first; a random one of known power; or one that is given.

A *choice* is which of the workers that can go on does. Nothing here knows a process or a database: whoever carries a schedule out
says at each choice who could go on (`Offer`) and is told who does.

Two reductions leave out what would show nothing new. *Sleep sets* (Godefroid, Partial-Order Methods for the Verification of Concurrent
Systems, 1996, chapter 5): after a worker was let on and all that follows is planned, it stays asleep beside its siblings until
something happens that its statement depends on. *Twins*: of workers that run the same program and have not begun, only the first is let
on, as the others would differ in name alone. Both are left out with `reduced=False`, which the tests compare with.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Protocol

from harness.protocols import Effect

MOST_STATES: Final = 50_000  # of `orders`, above which it is not counted


@dataclass(frozen=True, slots=True)
class Offer:
    """A worker that can go on: what it would do, as far as is known. `fresh`: it has not begun, and neither have its like.

    Or something that may befall a worker, the `victim`: then `worker` is a number of its own, as if fate were one more worker.
    """

    worker: int
    what: str
    effect: Effect = "write"
    fresh: bool = False
    twin: int = 0  # workers of one number run the same program
    victim: int | None = None

    @property
    def process(self) -> int:
        """The worker it is about."""
        return self.worker if self.victim is None else self.victim


class Diverged(Exception):  # not an error of ours: a schedule that went otherwise than before
    """A schedule that was begun as an earlier one did not offer the same: `expected` and `got` are the steps."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.expected = expected
        self.got = got


class Attempt(Protocol):
    """One schedule while it is carried out."""

    redundant: bool  # it shows nothing that another schedule does not: it need not be counted

    def choose(self, offers: Sequence[Offer]) -> int:
        """Say which worker goes on. Raises `Diverged` where it cannot be the one that went on before."""

    def refused(self) -> None:
        """Take note that the worker chosen could not go on after all, and nothing happened; `choose` is asked again without it."""

    def took(self) -> None:
        """Take note that the worker chosen went on."""


class Search(Protocol):
    """Gives one schedule after the other."""

    def next(self) -> Attempt | None:
        """The next schedule; None where there is none left."""


def independent(one: Offer, other: Offer) -> bool:
    """Whether two statements of different workers may change places and nobody would notice."""
    if one.process == other.process:
        return False
    return "local" in (one.effect, other.effect) or (one.effect == other.effect == "read")


@dataclass(order=True, slots=True)
class _Task:
    """A schedule to try: the workers let on at its first choices, the last of which is new. Fewest preemptions first."""

    preemptions: int
    switches: int
    number: int
    path: tuple[int, ...] = field(compare=False)
    said: tuple[str, ...] = field(compare=False)
    asleep: tuple[Offer, ...] = field(compare=False)


class Exhaustive:
    """Every schedule, fewest preemptions first (Musuvathi and Qadeer, Iterative Context Bounding, PLDI 2007)."""

    def __init__(self, *, reduced: bool = True) -> None:
        self.reduced = reduced
        self._numbers = itertools.count()
        self._tasks = [_Task(0, 0, next(self._numbers), (), (), ())]

    def next(self) -> _Path | None:
        """The schedule with the fewest preemptions of those left."""
        return _Path(self, heapq.heappop(self._tasks)) if self._tasks else None

    @property
    def left(self) -> int:
        """How many beginnings are still to be tried."""
        return len(self._tasks)

    @property
    def preemptions(self) -> int | None:
        """All schedules with fewer preemptions than this have been tried; None: all have."""
        return self._tasks[0].preemptions if self._tasks else None

    def plan(self, path: _Path, offer: Offer, preemptions: int, switches: int, asleep: tuple[Offer, ...]) -> None:
        """Have a schedule tried that goes as `path` has gone and then lets another worker on."""
        task = _Task(
            preemptions,
            switches,
            next(self._numbers),
            (*path.choices, offer.worker),
            (*path.said, offer.what),
            asleep,
        )
        heapq.heappush(self._tasks, task)


class _Path:
    """One schedule of `Exhaustive`: as its task says, then whoever was on goes on for as long as it can."""

    def __init__(self, search: Exhaustive, task: _Task) -> None:
        self.redundant = False
        self.choices: list[int] = []
        self.said: list[str] = []
        self._search = search
        self._task = task
        self._asleep: tuple[Offer, ...] = ()
        self._preemptions = self._switches = 0
        self._awake: list[Offer] = []  # who could be let on now, best first; the first is
        self._offers: Sequence[Offer] = ()

    def choose(self, offers: Sequence[Offer]) -> int:
        """See `Attempt`."""
        self._offers = offers
        place = len(self.choices)
        if place < len(self._task.path):
            return self._again(place, offers)
        asleep = {offer.worker for offer in self._asleep}
        awake = [offer for offer in offers if offer.worker not in asleep and not self._twinned(offer)]
        if not awake:
            self.redundant = True
            awake = list(offers)
        last = self.choices[-1] if self.choices else -1
        self._awake = sorted(awake, key=lambda offer: (offer.worker != last, offer.worker))
        return self._awake[0].worker

    def _again(self, place: int, offers: Sequence[Offer]) -> int:
        worker, said = self._task.path[place], self._task.said[place]
        found = next((offer for offer in offers if offer.worker == worker), None)
        if found is None or found.what != said:
            raise Diverged(f"w{worker}: {said}", f"w{worker}: {found.what}" if found else "it cannot go on")
        self._awake = [found]
        return worker

    def _twinned(self, offer: Offer) -> bool:
        return (
            self._search.reduced
            and offer.fresh
            and any(o.fresh and o.twin == offer.twin and o.worker < offer.worker for o in self._offers)
        )

    def refused(self) -> None:
        """See `Attempt`. A beginning that ends in a refusal is that of another schedule, which is tried anyway."""
        place = len(self.choices)
        if place < len(self._task.path):
            if place < len(self._task.path) - 1:
                raise Diverged(f"w{self._task.path[place]}: {self._task.said[place]}", "it was refused a lock")
            self.redundant = True
            self._task.path = self._task.path[:place]

    def took(self) -> None:
        """See `Attempt`."""
        chosen, others = self._awake[0], self._awake[1:]
        place = len(self.choices)
        if place >= len(self._task.path):
            if not self.redundant:
                for number, other in enumerate(others, 1):
                    self._search.plan(self, other, *self._cost(other), self._sleeping(self._awake[:number], other))
            self._asleep = self._sleeping([], chosen)
        elif place == len(self._task.path) - 1:
            self._asleep = self._task.asleep
        self._preemptions, self._switches = self._cost(chosen)
        self.choices.append(chosen.worker)
        self.said.append(chosen.what)

    def _cost(self, offer: Offer) -> tuple[int, int]:
        switch = bool(self.choices) and self.choices[-1] != offer.worker
        preemption = switch and any(o.worker == self.choices[-1] for o in self._offers)
        return self._preemptions + preemption, self._switches + switch

    def _sleeping(self, siblings: Sequence[Offer], chosen: Offer) -> tuple[Offer, ...]:
        if not self._search.reduced:
            return ()
        return tuple(offer for offer in (*self._asleep, *siblings) if independent(offer, chosen))


class Pct:
    """Random schedules that find a bug of a known depth with a known probability.

    Each run finds a bug that depends on the order of `depth` steps with a probability of at least 1/(n·k^(depth-1)), for n workers and k
    steps (Burckhardt, Kothari, Musuvathi and Nagarakatte, A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs,
    ASPLOS 2010).
    """

    def __init__(self, workers: int, steps: int, depth: int, seed: int, *, crashes: bool = False) -> None:
        """With `crashes`, something befalls a worker at one random step of each schedule."""
        self.workers, self.steps, self.depth, self.crashes = workers, max(steps, depth), depth, crashes
        self._random = random.Random(f"{seed}/{depth}")  # noqa: S311  # repeatable, not secret
        self.tried = 0

    def next(self) -> Attempt:
        """Another random schedule."""
        self.tried += 1
        crash_at = self._random.randint(1, self.steps) if self.crashes else 0
        return _Prioritised(self.workers, self.steps, self.depth, self._random, crash_at)

    @property
    def found_with(self) -> float:
        """The probability that a bug of this depth would have been found by now."""
        once = 1 / (self.workers * self.steps ** (self.depth - 1))
        return 1 - float((1 - once) ** self.tried)


class _Prioritised:
    """One schedule of `Pct`: the worker of the highest priority goes on; at depth - 1 random steps it becomes the lowest."""

    def __init__(self, workers: int, steps: int, depth: int, chance: random.Random, crash_at: int) -> None:
        self.redundant = False
        self._chance, self._crash_at = chance, crash_at
        self._priority = [depth + place for place in chance.sample(range(workers), workers)]
        places = sorted(chance.sample(range(1, steps + 1), depth - 1))
        self._changes = {place: number for number, place in enumerate(places, 1)}
        self._step = 1

    def choose(self, offers: Sequence[Offer]) -> int:
        """See `Attempt`."""
        crashes = [offer.worker for offer in offers if offer.victim is not None]
        if self._crash_at and self._step >= self._crash_at and crashes:
            self._crash_at = 0
            return self._chance.choice(crashes)
        offers = [offer for offer in offers if offer.victim is None]
        best = self._best(offers)
        if self._step in self._changes:
            self._priority[best] = self._changes.pop(self._step)
            best = self._best(offers)
        return best

    def _best(self, offers: Sequence[Offer]) -> int:
        return max((offer.worker for offer in offers), key=self._priority.__getitem__)

    def refused(self) -> None:
        """See `Attempt`."""

    def took(self) -> None:
        """See `Attempt`."""
        self._step += 1


class Given:
    """One schedule, a number of times."""

    def __init__(self, choices: Sequence[int], said: Sequence[str], times: int) -> None:
        self._choices, self._said, self._times = tuple(choices), tuple(said), times

    def next(self) -> Attempt | None:
        """The same again, until it was tried often enough."""
        self._times -= 1
        return (
            _Path(Exhaustive(reduced=False), _Task(0, 0, 0, self._choices, self._said, ()))
            if self._times >= 0
            else None
        )


def orders(steps: Sequence[Offer]) -> int | None:
    """Count the schedules that differ from this one only in the order of independent steps, in the names of twins, or not at all.

    None where there are too many to count.
    """
    workers = sorted({step.worker for step in steps})
    mine = {worker: [place for place, step in enumerate(steps) if step.worker == worker] for worker in workers}
    if math.prod(len(places) + 1 for places in mine.values()) > MOST_STATES:
        return None
    before: list[list[tuple[int, int]]] = []  # for each step: of each worker, how many of its steps come first
    twins = [worker for worker in workers if steps[mine[worker][0]].fresh]
    for place, step in enumerate(steps):
        needs = {}
        for number, worker in enumerate(workers):
            after = [n for n, p in enumerate(mine[worker], 1) if p < place and not independent(steps[p], step)]
            if worker != step.worker and after:
                needs[number] = after[-1]
        if place == mine[step.worker][0] and step.worker in twins:
            for number, worker in enumerate(workers):
                if worker < step.worker and worker in twins and steps[mine[worker][0]].twin == step.twin:
                    needs[number] = max(1, needs.get(number, 0))
        before.append(list(needs.items()))

    @cache
    def count(done: tuple[int, ...]) -> int:
        if all(number == len(mine[worker]) for number, worker in zip(done, workers, strict=True)):
            return 1
        total = 0
        for number, worker in enumerate(workers):
            if done[number] < len(mine[worker]):
                place = mine[worker][done[number]]
                if all(done[other] >= least for other, least in before[place]):
                    total += count((*done[:number], done[number] + 1, *done[number + 1 :]))
        return total

    alike: dict[int, int] = {}
    for worker in twins:
        twin = steps[mine[worker][0]].twin
        alike[twin] = alike.get(twin, 0) + 1
    return count((0,) * len(workers)) * math.prod(math.factorial(number) for number in alike.values())
