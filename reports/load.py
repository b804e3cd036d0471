"""Load beside its verdict: how long operations took by percentile, how many were done each second, and what Locust said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from reports import wording
from reports.comparison import MOST_DRAWN, called
from reports.plots import Line, Panel, Plot, panel
from reports.saved import Loaded, LoadFigures, Result, Second

MOST_STRETCHES: Final = 240  # of the time axis and of the table below it
_SHORTEST_MS: Final = 0.001  # the least a logarithmic axis shows: the recorder's own resolution
_SHARES: Final = (0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some seconds of a load: `rate` and `errors` a second, and the most users; None where nobody counted them."""

    second: float
    rate: float
    errors: float
    users: int | None


@dataclass(frozen=True, slots=True)
class LoadRun:
    """One load run: its title, its plots, and the numbers behind them. `seconds` is how long each stretch is."""

    result: Result
    figures: LoadFigures
    title: str
    panels: tuple[Panel, ...]
    stretches: tuple[Stretch, ...]
    seconds: int


def loads(results: Sequence[Result]) -> list[LoadRun]:
    """Every result that holds load figures; the plots and the numbers behind them for the first `MOST_DRAWN` of them."""
    found: list[LoadRun] = []
    for result in results:
        if result.load is not None:
            found.append(_load_run(result, result.load, f"load-{len(found) + 1}", drawn=len(found) < MOST_DRAWN))
    return found


def _load_run(result: Result, figures: LoadFigures, name: str, *, drawn: bool) -> LoadRun:
    stretches, seconds = _stretches(figures.timeline)
    panels = []
    if drawn:
        curves = [each for each in figures.operations if _curve(each)]
        if curves:
            panels.append(_percentiles(result, curves, f"{name}-percentiles"))
        if len(stretches) > 1:
            panels.append(_rate(result, stretches, f"{name}-rate"))
    return LoadRun(result, figures, _title(figures), tuple(panels), stretches if drawn else (), seconds)


def _title(figures: LoadFigures) -> str:
    total = sum(each.count for each in figures.operations)
    failed = sum(each.failures for each in figures.operations)
    said = [f"{wording.amount(total, 'operation')}, {wording.number(failed) if failed else 'none'} of them failed"]
    worst = max(
        (each for each in figures.operations if each.p99_ms is not None),
        key=lambda each: each.p99_ms or 0,
        default=None,
    )
    if worst is not None:
        said.append(f"99 % of {_named(worst.name)} within {wording.milliseconds(worst.p99_ms or 0)}")
    return "; ".join(said)


def _named(name: str) -> str:
    return f"“{wording.short(name)}”"


def _curve(each: Loaded) -> list[tuple[float, float]]:
    """Points over 1 / (1 - share), so that each further nine is as far from the last; the largest of n stands at n."""
    points = {1 / (1 - point.share): point.ms for point in each.percentiles if point.share < 1}
    if each.count:
        points = {x: ms for x, ms in points.items() if x <= each.count}  # of three, there is no slowest of a thousand
    last = max(points, default=1.0)
    top = next((point.ms for point in each.percentiles if point.share == 1), each.max_ms)
    if top is not None and each.count > last:
        points[float(each.count)] = top
    return sorted((x, max(ms, _SHORTEST_MS)) for x, ms in points.items() if math.isfinite(x))


def _percentiles(result: Result, curves: Sequence[Loaded], name: str) -> Panel:
    warm = result.verdict != "pass"
    shown = sorted(curves, key=lambda each: each.p99_ms or each.percentiles[-1].ms, reverse=True)[:MOST_DRAWN]
    lines = []
    for each in shown:
        points = _curve(each)
        lines.append(Line([x for x, _ in points], [ms for _, ms in points], wording.short(each.name), warm))
    right = max(x for line in lines for x in line.x)
    told = [
        f"{wording.short(each.name)}: "
        + ", ".join(
            f"{text} {wording.milliseconds(ms)}"
            for text, ms in (("half within", each.p50_ms), ("99 % within", each.p99_ms), ("slowest", each.max_ms))
            if ms is not None
        )
        for each in shown
    ]
    worst = shown[0]
    title = (
        f"{called(result)}: 99 % of {_named(worst.name)} within {wording.milliseconds(worst.p99_ms)}"
        if worst.p99_ms is not None
        else f"{called(result)}: how long operations took"
    )
    return panel(
        Plot(
            name,
            tuple(lines),
            "share of operations, %",
            "ms, at most",
            title,
            "; ".join(told) + ".",
            widest=(1.0, max(right, 2.0)),
            ticks=tuple(
                (1 / (1 - share), f"{100 * share:.4f}".rstrip("0").rstrip("."))
                for share in _SHARES
                if 1 / (1 - share) <= max(right, 2.0) * 1.001
            ),
        )
    )


def _stretches(timeline: Sequence[Second]) -> tuple[tuple[Stretch, ...], int]:
    """Means of as many seconds as make the time fit, and how many those are; a second nobody wrote down had nothing in it."""
    if not timeline:
        return (), 1
    first, last = math.floor(timeline[0].second), math.floor(timeline[-1].second)
    seconds = max(1, math.ceil((last - first + 1) / MOST_STRETCHES))
    kept: dict[int, list[Second]] = {place: [] for place in range((last - first) // seconds + 1)}
    for each in timeline:
        kept[(math.floor(each.second) - first) // seconds].append(each)
    return tuple(
        Stretch(
            float(first + place * seconds),
            sum(each.operations for each in own) / seconds,
            sum(each.errors for each in own) / seconds,
            max((each.users for each in own if each.users is not None), default=None),
        )
        for place, own in kept.items()
    ), seconds


def _rate(result: Result, stretches: Sequence[Stretch], name: str) -> Panel:
    warm = result.verdict != "pass"
    at = [each.second - stretches[0].second for each in stretches]
    lines = [Line(at, [each.rate for each in stretches], "operations", warm, steps=True)]
    failing = any(each.errors for each in stretches)
    if failing:
        lines.append(Line(at, [each.errors for each in stretches], "failed", warm=not warm))
    inner = sorted(each.rate for each in (stretches[1:-1] or stretches))  # the first and the last are seldom whole
    users = max((each.users for each in stretches if each.users is not None), default=None)
    by = "" if users is None else f" by {wording.amount(users, 'user')}"
    title = f"{called(result)}: {wording.number(inner[0])} to {wording.number(inner[-1])} operations a second{by}"
    most = max(each.errors for each in stretches)
    told = f"{title}. {f'At most {wording.number(most)} failed a second' if failing else 'None failed'}."
    return panel(
        Plot(
            name,
            tuple(lines),
            "seconds since it began",
            "operations a second",
            title,
            told,
            x_scale="linear",
            y_scale="linear",
        )
    )
