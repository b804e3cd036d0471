"""A simulated system that does everything right is never called broken, whatever its manners; and one that errs is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from literal_history import CONTEXT, History
from right_system import Job, Manners, Store, right_history

from harness.invariants import judging
from harness.verdict import Judgement

# A worker may rightly get nothing; and who died in a simulated world lets its jobs lie.
JUDGED = [name for name in judging.NAMES if name not in ("every-worker-served", "no-lost-job")]
MANNERS = {
    "plain": Manners(),
    "faults": Manners(faults=True),
    "ids that became free are given again": Manners(ids_again=True),
    "the same, and faults": Manners(ids_again=True, faults=True),
    "ids are text, late progress is swallowed": Manners(text_ids=True, swallows_late=True),
    "finished jobs are removed": Manners(removes_finished=True, ids_again=True, faults=True),
    "leases": Manners(lease=True, faults=True),
    "at least once": Manners(lease=True, fenced=False, swallows_late=True, faults=True),
    "at most once": Manners(at_most_once=True, faults=True),
    "no runs in its status": Manners(lists_runs=False, swallows_late=True),
}


def judged(folder: Path, seed: int, schedules: int, manners: Manners, store: type[Store] = Store) -> list[Judgement]:
    parts = [right_history(seed, schedule, manners, store) for schedule in range(schedules)]

    def together(of: Callable[[History], Iterable[Any]]) -> list[Any]:
        return list(chain.from_iterable(map(of, parts)))

    history = History(
        together(lambda h: h.ops),
        together(lambda h: h.statements),
        together(lambda h: h.processes),
        together(lambda h: h.acquisitions),
    )
    return judging.judge(history.save(folder / "h"), JUDGED, CONTEXT | manners.context())


@pytest.mark.parametrize("manners", MANNERS.values(), ids=MANNERS)
def test_a_right_system_is_never_called_broken(tmp_path: Path, manners: Manners) -> None:
    found = judged(tmp_path, 0, 10, manners)
    assert [j for j in found if j.state in ("broken", "crashed")] == []
    assert sum(j.state == "holds" for j in found) >= 10  # it was looked at


class DropsRunning(Store):
    """Deletes what is running, too."""

    def _running(self, now: int) -> set[object]:
        return set()


class Miscounts(Store):
    """Counts what comes twice twice."""

    def delete(self, kind: str, ids: Iterable[object], now: int) -> int:
        given = list(ids)
        return super().delete(kind, given, now) + len(given) - len(set(given))


class Forgets(Store):
    """Deletes the neighbour along."""

    def delete(self, kind: str, ids: Iterable[object], now: int) -> int:
        number = super().delete(kind, ids, now)
        if kind == "jobs" and number:
            self._drop([id_ for id_, job in self.jobs.items() if job.status == "ready" and job.run is None][:1])
        return number


class Torn(Store):
    """Lists a run's jobs but not the run, now and then."""

    looks = 0

    def status(self) -> tuple[tuple[object, ...], dict[str, object]]:
        jobs, value = super().status()
        self.looks += 1
        runs: list[dict[str, Any]] = value["runs"]  # type: ignore[assignment]  # as made there
        if self.looks % 3 == 0 and len(runs) > 1 and runs[0]["jobs"]:
            runs[0]["listed"] = False
        return jobs, value


class Partial(Store):
    """Makes the last job of a run a little later, with the next thing that is made."""

    left: tuple[object, str] | None = None

    def enqueue(self, number: int, run: object = None, tag: str = "a") -> tuple[object, ...]:
        if self.left:
            (late, own), self.left = self.left, None
            super().enqueue(1, late, own)
        return super().enqueue(number, run, tag)

    def submit(self, number: int, tag: str) -> object:
        run = super().submit(number - 1, tag)
        self.left = (run, tag)
        return run


class Backwards(Store):
    """Writes what was told last, even where it is less."""

    def write_progress(self, changes: dict[object, tuple[int, float]]) -> None:
        for id_, (_, fraction) in changes.items():
            job = self.jobs.get(id_, Job(None, 0, ""))
            job.progress = fraction / 2 if job.progress else fraction


class Loses(Store):
    """Never writes the progress of some jobs."""

    def write_progress(self, changes: dict[object, tuple[int, float]]) -> None:
        super().write_progress({id_: change for id_, change in changes.items() if change[0] % 2})


class HandsOutTwice(Store):
    """Hands out what is running."""

    def free(self, job: Job, now: int) -> bool:
        return super().free(job, now) or (job.status == "running" and job.token % 3 == 0)


class FindsNothing(Store):
    """Says now and then that it is empty."""

    claims = 0

    def claim(self, limit: int, now: int) -> list[tuple[object, int]]:
        self.claims += 1
        return super().claim(limit, now) if self.claims % 2 else []


@pytest.mark.parametrize(
    ("store", "invariant"),
    [
        (DropsRunning, "delete-spares-running"),
        (DropsRunning, "delete-exact"),
        (Miscounts, "delete-exact"),
        (Forgets, "delete-exact"),
        (Torn, "submit-atomic"),
        (Partial, "submit-atomic"),
        (Backwards, "progress-monotonic"),
        (Loses, "progress-fresh"),
        (Loses, "progress-final"),
        (HandsOutTwice, "no-double-claim"),
        (FindsNothing, "no-false-empty"),
    ],
)
def test_a_system_that_errs_is_called_broken(tmp_path: Path, store: type[Store], invariant: str) -> None:
    found = judged(tmp_path, 0, 12, Manners(), store)
    assert invariant in [j.invariant for j in found if j.state == "broken"]
