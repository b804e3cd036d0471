"""Results of one scenario on one database side by side: their figures in a table, each beside its verdict, and plots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reports import wording
from reports.plots import Line, Panel
from reports.saved import Quantile, Result

MOST_DRAWN: Final = 8  # results of one comparison; the rest keep their rows in the table
NOTED: Final = {"pass": "", "fail": "fails", "inconclusive": "unproven"}  # what stands by the name of a line


@dataclass(frozen=True, slots=True)
class Behind:
    """The numbers behind the plots of one comparison: what the columns hold, and the rows of each result as text."""

    heads: tuple[str, ...]
    rows: tuple[tuple[Result, tuple[tuple[str, ...], ...]], ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one scenario showed on one database. `title` is the finding; `rows` hold the figures as text.

    `timed` says of each column whether it is a time: those of a result that did not pass are never shown bare.
    `undrawn` counts the results that were too many for the plots.
    """

    database: str
    title: str
    heads: tuple[str, ...]
    timed: tuple[bool, ...]
    rows: tuple[tuple[Result, tuple[str, ...]], ...]
    panels: tuple[Panel, ...]
    undrawn: int
    behind: Behind


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table: its head, and its figure for a result, None where that has none."""

    head: str
    figure: Callable[[Result], float | None]
    timed: bool = False


def measured(name: str, head: str, *, timed: bool = False) -> Column:
    """The column of a measurement."""
    return Column(head, lambda result: value(result, name), timed)


def value(result: Result, name: str) -> float | None:
    """A measurement of a result, None where it was not measured."""
    quantity = result.measurements.get(name)
    return None if quantity is None else quantity.value


def values(results: Sequence[Result], name: str) -> list[float]:
    """A measurement of all results that have it."""
    return [found for r in results if (found := value(r, name)) is not None]


def by_database(
    results: Sequence[Result], scenario: str, shows: Callable[[Result], bool]
) -> Mapping[str, list[Result]]:
    """The results of a scenario that show something, by database, both in the order they were made."""
    found: dict[str, list[Result]] = {}
    for result in results:
        if result.scenario == scenario and shows(result):
            found.setdefault(result.database, []).append(result)
    return found


def compared(
    database: str,
    title: str,
    columns: Sequence[Column],
    results: Sequence[Result],
    *,
    panels: Sequence[Panel],
    behind: Behind,
) -> Comparison:
    """The results side by side, without the columns none of them has a figure for."""
    kept = [column for column in columns if any(column.figure(r) is not None for r in results)]
    return Comparison(
        database,
        title,
        tuple(column.head for column in kept),
        tuple(column.timed for column in kept),
        tuple((r, tuple(wording.number(column.figure(r)) for column in kept)) for r in results),
        tuple(panels),
        max(0, len(results) - MOST_DRAWN) if panels else 0,
        behind,
    )


def called(result: Result) -> str:
    """The name of a result's line in a plot, never without the verdict where that is not a pass."""
    note = NOTED[result.verdict]
    return wording.short(result.system) + (f" ({note})" if note else "")


def distribution(
    results: Sequence[Result], quantiles: Callable[[Result], Sequence[Quantile]], *, least: float = 0.0
) -> tuple[Line, ...]:
    """A line for each result over the share of its reads, in percent; results that gave the same share one.

    `least` is what a value is at least drawn as: a logarithmic axis has no zero.
    """
    names: dict[tuple[Quantile, ...], list[Result]] = {}
    for result in results:
        if points := tuple(quantiles(result)):
            names.setdefault(points, []).append(result)
    return tuple(
        Line(
            [100 * each.share for each in points],
            [max(each.ms, least) for each in points],
            ", ".join(map(called, own)),
            warm=all(r.verdict != "pass" for r in own),
        )
        for points, own in names.items()
    )


def quantile_rows(
    results: Sequence[Result], quantiles: Callable[[Result], Sequence[Quantile]], share: str, ms: str
) -> Behind:
    """The points of every line of a distribution; `share` and `ms` are the heads of their columns."""
    return Behind(
        (share, ms),
        tuple(
            (result, tuple((f"{100 * each.share:.6g}", wording.number(each.ms)) for each in points))
            for result in results
            if (points := quantiles(result))
        ),
    )


def at_share(quantiles: Sequence[Quantile], share: float) -> float | None:
    """The time the given share of the reads stayed below, None where it was not kept."""
    return next((each.ms for each in quantiles if each.share == share), None)
