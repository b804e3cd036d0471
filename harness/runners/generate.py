"""Programs of operations made up by Hypothesis, each with a schedule, on the processes of an exploration; one that fails is shrunk.

Examples are carried out by the hundred and judged together, as one judgement takes longer than a hundred schedules. For the same reason
they are shrunk in rounds: all that is a little simpler than the simplest that fails is tried at once, until nothing simpler fails.
(Hypothesis's own shrinker asks a hundred questions one after the other.) What was tried on the way is no part of the history, where
the shrunk example alone stays.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.runners.explore import Explorer, repeat
from harness.runners.search import Offer
from harness.scenario import Example, Programs
from harness.scratch import scratch

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

FIRST: Final = 40  # examples that are judged together; then twice as many, and so on
MOST: Final = 800
SHRINK_SECONDS: Final = 120.0  # at most; on an idle machine it takes a few
ROUND: Final = 100  # simpler examples that are tried before they are judged
EARLY: Final = 8  # choices at which the simplest schedules switch


class Drawn:
    """The schedule of an example: at each choice, how many workers to pass over, beginning with the one that was on; then none."""

    redundant = False

    def __init__(self, switches: Sequence[int]) -> None:
        self._switches = list(reversed(switches))
        self._last = -1
        self._chosen = -1

    def choose(self, offers: Sequence[Offer]) -> int:
        """See `harness.runners.search.Attempt`."""
        order = sorted((offer.worker for offer in offers), key=lambda worker: (worker != self._last, worker))
        self._chosen = order[(self._switches.pop() if self._switches else 0) % len(order)]
        return self._chosen

    def refused(self) -> None:
        """See `harness.runners.search.Attempt`."""

    def took(self) -> None:
        """See `harness.runners.search.Attempt`."""
        self._last = self._chosen


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the files of a history had been written."""

    sizes: Mapping[Path, int]
    folder: Path

    @classmethod
    def of(cls, folder: Path) -> Mark:
        """As it is now."""
        return cls({file: file.stat().st_size for file in _files(folder)}, folder)

    def excerpt(self, into: Path) -> None:
        """Copy what was written since."""
        for file in _files(self.folder):
            with file.open("rb") as written:
                written.seek(self.sizes.get(file, 0))
                target = into / file.relative_to(self.folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(written.read())

    def undo(self) -> None:
        """Take away what was written since; whoever writes on appends."""
        for file in _files(self.folder):
            with file.open("r+b") as written:
                written.truncate(self.sizes.get(file, 0))


def _files(folder: Path) -> list[Path]:
    return sorted((*folder.glob("events/*.ndjson"), *folder.glob("witness/*.ndjson")))


def size_of(example: Example) -> tuple[Any, ...]:
    """What is smaller is simpler: workers, operations, jobs, switches."""
    numbers = [number for program in example.programs for _, number in program]
    switches = sum(map(bool, example.switches))
    return (
        len(example.programs),
        len(numbers),
        example.jobs,
        switches,
        sum(numbers),
        len(example.switches),
        example.switches,
    )


def simpler(example: Example) -> Iterator[Example]:
    """Examples that are a little simpler: each part of the work left out, with this schedule and the simplest there are; then others."""
    plain = list(_plain(len(example.programs), most=1))
    for less in _less(example):
        for switches in (example.switches, *plain):
            yield replace(less, switches=switches)
    for switches in _plain(len(example.programs), most=2):
        yield replace(example, switches=switches)
    for place in range(len(example.switches)):
        before, after = example.switches[:place], example.switches[place + 1 :]
        yield replace(example, switches=before + after)
        yield replace(example, switches=(*before, 0, *after))


def _less(example: Example) -> Iterator[Example]:
    for one, other in itertools.combinations(
        example.programs, 2
    ):  # most bugs need no more than an operation of two workers each
        for (kind, number), (its, also) in itertools.product(one, other):
            yield replace(example, jobs=1, programs=(((kind, min(number, 1)),), ((its, min(also, 1)),)))
    if example.jobs > 1:
        yield from (replace(example, jobs=jobs) for jobs in {1, example.jobs - 1})
    for place, program in enumerate(example.programs):
        before, after = example.programs[:place], example.programs[place + 1 :]
        if before or after:
            yield replace(example, programs=before + after)
        for half in (program[: len(program) // 2], program[len(program) // 2 :]):
            if half:
                yield replace(example, programs=(*before, half, *after))
        for at, (kind, number) in enumerate(program):
            if len(program) > 1:
                yield replace(example, programs=(*before, program[:at] + program[at + 1 :], *after))
            if number > 1:
                yield replace(example, programs=(*before, (*program[:at], (kind, 1), *program[at + 1 :]), *after))


def _plain(workers: int, most: int) -> Iterator[tuple[int, ...]]:
    """Schedules that switch at most so often, early."""
    for number in range(most + 1):
        for places in itertools.combinations(range(EARLY), number):
            for passed in itertools.product(range(1, workers), repeat=number):
                chosen = dict(zip(places, passed, strict=True))
                yield tuple(chosen.get(place, 0) for place in range(places[-1] + 1 if places else 0))


@dataclass
class Generator:
    """Looks for an example that breaks an invariant."""

    explorer: Explorer
    programs: Programs
    folder: Path
    seed: int
    until: float = 0.0
    seen: set[Example] = field(default_factory=set)

    def run(self, budget_seconds: float, *, shrunk: bool) -> list[dict[str, Any]]:
        """Try examples for as long as that, or until some break an invariant; give those, `shrunk`, as `Explorer.report` does."""
        explorer = self.explorer
        explorer.found.stands_for = None
        with explorer.interruptible():
            explorer.workers.example = self.programs.warm_up
            explorer.warm_up()
            _made_up(self.programs.examples(), self.seed, 1)  # it imports and sets up
            started = time.monotonic()
            self.until = started + budget_seconds
            reported: list[dict[str, Any]] = []
            number, size = 0, FIRST
            while not reported and not self._over():
                reported = self._batch(self.seed + number, size, shrunk=shrunk)
                number, size = number + 1, min(2 * size, MOST)
            explorer.found.seconds = time.monotonic() - started
            if reported:
                explorer.found.shown_seconds = explorer.found.seconds
        explorer.found.programs = explorer.found.schedules
        return reported

    def _over(self) -> bool:
        return self.explorer.found.interrupted or time.monotonic() >= self.until

    def _batch(self, seed: int, size: int, *, shrunk: bool) -> list[dict[str, Any]]:
        """Make up so many examples, try and judge them; of those that break an invariant, report the simplest."""
        mark = Mark.of(self.folder)
        fresh = [each for each in _made_up(self.programs.examples(), seed, size) if each not in self.seen]
        tried = self._try(fresh, self.until)
        self.seen.update(fresh)
        broken = self._judge(mark)
        self.explorer.found.schedules += len(tried)
        if not broken:
            self.explorer.say(f"{self.explorer.found.schedules:,} programs, nothing found")
            return []
        mark.undo()
        reported: list[dict[str, Any]] = []
        until = time.monotonic() + SHRINK_SECONDS
        for invariant, numbers in sorted(broken.items(), key=lambda item: -len(item[1])):
            if invariant not in {each["invariant"] for each in reported}:
                self.explorer.say(f"{invariant} broken by {len(numbers)} of {len(tried)} programs")
                simplest = min((tried[number] for number in numbers), key=size_of)
                if shrunk:
                    simplest = self._shrink(simplest, invariant, until)
                known = {each["invariant"] for each in reported}
                times = {name: len(them) for name, them in broken.items() if name not in known}
                reported += self._report(simplest, times)
        return reported

    def _try(self, examples: Sequence[Example], until: float) -> dict[int, Example]:
        """Carry examples out, as long as there is time; gives them by the numbers of their schedules."""
        tried = {}
        for example in examples:
            if self.explorer.found.interrupted or time.monotonic() >= until:
                break
            number = self._carry_out(example)
            if number is not None:
                tried[number] = example
        return tried

    def _shrink(self, simplest: Example, invariant: str, until: float) -> Example:
        """Give the simplest example that can be come to by then, each a little simpler than the one before and breaking the invariant."""
        known = {simplest}
        while (better := self._simpler(simplest, invariant, known, until)) is not None:
            simplest = better
        return simplest

    def _simpler(self, example: Example, invariant: str, known: set[Example], until: float) -> Example | None:
        """The simplest that breaks the invariant, of what is a little simpler than an example and not yet `known`."""
        size = size_of(example)
        candidates = sorted({each for each in simpler(example) if size_of(each) < size} - known, key=size_of)
        for at in range(0, len(candidates), ROUND):
            mark = Mark.of(self.folder)
            tried = self._try(candidates[at : at + ROUND], until)
            failing = [tried[number] for number in self._judge(mark, invariant).get(invariant, ())] if tried else []
            mark.undo()
            known.update(tried.values())
            if failing:
                return min(failing, key=size_of)
        return None

    def _report(self, example: Example, times: Mapping[str, int]) -> list[dict[str, Any]]:
        """Carry an example out to stay in the history, and repeat it; an entry for each invariant it breaks of those in `times`."""
        mark, explorer = Mark.of(self.folder), self.explorer
        number = self._carry_out(example)
        if number is None:
            return []
        broken = [name for name in self._judge(mark) if name in times]
        repeated = repeat(explorer.workers, explorer.restore, explorer.found.chosen[number])
        also = {"schedule": number, "example": told(example), **repeated}
        return [{"invariant": name, "schedules": times[name], **also} for name in broken]

    def _carry_out(self, example: Example) -> int | None:
        self.explorer.workers.example = example
        return self.explorer.once(Drawn(example.switches))

    def _judge(self, mark: Mark, only: str = "") -> Mapping[str, Sequence[int]]:
        """Judge what was recorded since: for each invariant that is broken, the schedules that break it."""
        began = time.monotonic()
        with scratch("excerpt") as folder:
            mark.excerpt(folder)
            broken = self.explorer.look(folder, only)
        self.explorer.found.looking_seconds += time.monotonic() - began
        return broken


def _made_up(examples: SearchStrategy[Example], seed: int, size: int) -> list[Example]:
    """Have Hypothesis make up at most so many examples, no two of them alike; the same for the same seed."""
    import hypothesis  # noqa: PLC0415  # it takes a third of a second, which who makes nothing up need not wait
    from hypothesis.configuration import set_hypothesis_home_dir  # noqa: PLC0415  # as above

    quietly = hypothesis.settings(
        max_examples=size,
        database=None,
        deadline=None,
        phases=(hypothesis.Phase.generate,),
        suppress_health_check=list(hypothesis.HealthCheck),
        verbosity=hypothesis.Verbosity.quiet,
    )
    found: dict[Example, None] = {}
    collect = hypothesis.seed(seed)(quietly(hypothesis.given(examples)(lambda example: found.update({example: None}))))
    with scratch("hypothesis") as home:
        set_hypothesis_home_dir(str(home))  # it would keep what it learnt in the user's folder
        try:
            collect()
        finally:
            set_hypothesis_home_dir(None)
    return list(found)


def told(example: Example) -> dict[str, Any]:
    """An example as plain values."""
    return {
        "jobs": example.jobs,
        "programs": [[list(operation) for operation in program] for program in example.programs],
        "switches": list(example.switches),
    }


def read(told: Mapping[str, Any]) -> Example:
    """Read an example back."""
    programs = tuple(tuple((kind, number) for kind, number in program) for program in told["programs"])
    return Example(told["jobs"], programs, tuple(told["switches"]))
