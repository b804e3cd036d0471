"""What the schedules of an exploration came to: each outcome once, with the number of schedules that came to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reports import wording
from reports.saved import Exploration, Outcome, Result

MOST_OUTCOMES: Final = 12


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The most frequent outcomes, with as many `columns` as there are workers; `rest` schedules came to others.

    `random` schedules are counted in none; `numbers` are those of the whole search.
    """

    result: Result
    tried: str
    columns: int
    shown: tuple[Outcome, ...]
    rest: int
    random: int
    numbers: Mapping[str, str]
    exploration: Exploration


def outcomes(results: Sequence[Result]) -> list[Outcomes]:
    """The outcomes of every result that was explored."""
    return [_outcomes(result, result.exploration) for result in results if result.exploration]


def _outcomes(result: Result, found: Exploration) -> Outcomes:
    shown = found.outcomes[:MOST_OUTCOMES]
    tried = wording.schedules(result.coverage)
    return Outcomes(
        result=result,
        tried=tried[:1].upper() + tried[1:],
        columns=max((len(each.answers) for each in shown), default=0),
        shown=shown,
        rest=found.schedules - sum(each.schedules for each in shown),
        random=sum(each.schedules for each in found.random),
        numbers={"races": wording.number(found.raced), "took": wording.milliseconds(1000 * found.seconds)}
        if found.raced
        else {
            "schedules tried in order": wording.number(found.schedules),
            "cut short, as others show the same": wording.number(found.redundant),
            **({} if found.waited is None else {"of which a worker had to wait in": wording.number(found.waited)}),
            "there are without reduction": wording.number(found.stands_for),
            "steps of the longest": wording.number(found.longest),
            **{
                f"random, for {wording.amount(each.depth, 'step')} in order": (
                    f"{wording.number(each.schedules)}, found with ≥ {wording.at_least(each.found_with)}"
                )
                for each in found.random
            },
            "went otherwise when begun again": wording.number(found.divergences),
            "took": wording.milliseconds(1000 * found.seconds),
            "until the first violation was known": "–"
            if found.shown_seconds is None
            else wording.milliseconds(1000 * found.shown_seconds),
        },
        exploration=found,
    )
