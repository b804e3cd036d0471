"""The same case in several runs: what makes two results comparable, and which of their figures may be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.verdict import Verdict
from reports import wording
from reports.saved import Result, Run

# Measurements that count what a system did for one job, claim or scan; times and rates are none of them.
COUNTED: Final = (
    "statements_per_job",
    "transactions_per_job",
    "writes_per_job",
    "statements_per_claim",
    "transactions_per_claim",
    "round_trips_per_claim",
    "pool_acquisitions",
)
_MACHINE: Final = ("cpu", "cores", "memory_gib", "system")


@dataclass(frozen=True, slots=True)
class Case:
    """What was tried, whatever came of it. `nth` tells apart results of one run that are alike in all else."""

    scenario: str
    system: str
    database: str
    mode: str
    nth: int

    @property
    def where(self) -> str:
        """All but the system, in words."""
        mode = "" if self.mode == "race" else f" ({wording.plain(self.mode)})"
        again = f", number {self.nth}" if self.nth > 1 else ""
        return f"{wording.plain(self.scenario)}{mode} on {wording.database(self.database)}{again}"


def by_case(run: Run) -> dict[Case, Result]:
    """The results of a run by what they tried, in the order they were made."""
    found: dict[Case, Result] = {}
    seen: dict[tuple[str, str, str, str], int] = {}
    for result in run.results:
        key = (result.scenario, result.system, result.database, result.mode)
        seen[key] = seen.get(key, 0) + 1
        found[Case(*key, nth=seen[key])] = result
    return found


def one_each(results: Sequence[Result]) -> list[tuple[Result, int, int]]:
    """Of results that repeat each other the first of those that stand worst: with how many do, and of how many there are.

    Those of released queues do, and those of controls; any other result is there by itself. In the order of the run.
    """
    alike: dict[tuple[str, ...], list[Result]] = {}
    for each in results:
        key = (each.scenario, each.system, each.database, each.mode, str(each.asked.options.get("faults")))
        repeats = each.release is not None or each.twin
        alike.setdefault(key if repeats else (each.folder,), []).append(each)
    worst = [(max(own, key=standing), own) for own in alike.values()]  # of those that stand alike, the first
    return [(one, sum(standing(each) == standing(one) for each in own), len(own)) for one, own in worst]


def standing(result: Result) -> int:
    """How well a result stands: 0 as it should be, 1 unproven, 2 wrong. A control should be caught."""
    if result.good:
        return 0
    return 1 if result.verdict == "inconclusive" else 2


def step(before: Result, after: Result) -> int:
    """How much worse (above 0) or better a case stands than before; what was a control and is none is told by its verdict."""
    if before.role == after.role:
        return standing(after) - standing(before)
    ranks: Sequence[Verdict] = ("pass", "inconclusive", "fail")
    return ranks.index(after.verdict) - ranks.index(before.verdict)


def machine(run: Run) -> tuple[object, ...] | None:
    """What a run says of its machine, as far as times depend on it; None where it says nothing."""
    said = tuple(run.machine.get(key) for key in _MACHINE)
    return said if any(each is not None for each in said) else None


def same_machine(runs: Sequence[Run]) -> bool:
    """Whether all runs say that they were made on one machine; two alike cannot be told apart."""
    said = {machine(run) for run in runs}
    return len(said) == 1 and None not in said
