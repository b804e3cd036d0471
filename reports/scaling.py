"""Throughput and latency against workers, where one system was run with several numbers of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reports import wording
from reports.comparison import MOST_DRAWN, NOTED, value
from reports.plots import Line, Panel, Plot, panel
from reports.saved import Result

_MEASURED: Final = (  # measurement, y axis
    ("claims_per_second", "claims a second"),
    ("claim_ms_p99", "ms a claim, 99 %"),
)
_LEAST: Final = 0.001  # a logarithmic axis has no zero


@dataclass(frozen=True, slots=True)
class Scaling:
    """One scenario on one database against workers: plots, and the numbers behind them (workers, result, figures)."""

    scenario: str
    database: str
    panels: tuple[Panel, ...]
    heads: tuple[str, ...]
    rows: tuple[tuple[int, Result, tuple[float | None, ...]], ...]


def workers(result: Result) -> int | None:
    """How many worked at once: the most users of a load, else the workers of a race."""
    users = max((each.users or 0 for each in result.load.timeline), default=0) if result.load else 0
    counted = result.coverage.get("workers")
    return users or (counted if isinstance(counted, int) and counted > 0 else None)


def scaling(results: Sequence[Result]) -> list[Scaling]:
    """Each scenario, mode and database in which some system was run with two numbers of workers or more."""
    groups: dict[tuple[str, str, str], dict[str, dict[int, Result]]] = {}
    for result in results:
        count = workers(result)
        if count is not None and any(value(result, name) is not None for name, _ in _MEASURED):
            systems = groups.setdefault((result.scenario, result.mode, result.database), {})
            systems.setdefault(result.system, {})[count] = result  # of two runs alike the later counts
    found: list[Scaling] = []
    for (scenario, _, database), systems in groups.items():
        several = {system: own for system, own in systems.items() if len(own) > 1}
        if several:
            found.append(_scaling(scenario, database, several, f"scaling-{len(found) + 1}"))
    return found


def _scaling(scenario: str, database: str, systems: Mapping[str, Mapping[int, Result]], name: str) -> Scaling:
    panels = tuple(
        drawn
        for key, label in _MEASURED
        if (drawn := _panel(database, dict(list(systems.items())[:MOST_DRAWN]), key, label, f"{name}-{key}"))
        is not None
    )
    rows = tuple(
        (count, own[count], tuple(value(own[count], key) for key, _ in _MEASURED))
        for own in systems.values()
        for count in sorted(own)
    )
    return Scaling(scenario, database, panels, tuple(label for _, label in _MEASURED), rows)


def _panel(database: str, systems: Mapping[str, Mapping[int, Result]], key: str, label: str, name: str) -> Panel | None:
    lines, told = [], []
    for system, own in systems.items():
        points = [(count, found) for count in sorted(own) if (found := value(own[count], key)) is not None]
        if len(points) < 2:
            continue
        worst = max((own[count].verdict for count, _ in points), key=("pass", "inconclusive", "fail").index)
        text = wording.short(system) + (f" ({NOTED[worst]})" if NOTED[worst] else "")
        lines.append(
            Line([float(at) for at, _ in points], [max(y, _LEAST) for _, y in points], text, warm=worst != "pass")
        )
        told.append(
            f"{text}: " + ", ".join(f"{wording.number(y)} with {wording.amount(at, 'worker')}" for at, y in points)
        )
    if not lines:
        return None
    places = tuple((at, wording.number(at)) for at in sorted({x for line in lines for x in line.x}))
    first, last = lines[0].x[0], lines[0].x[-1]
    title = (
        f"{wording.database(database)}: {lines[0].label} goes from {wording.number(lines[0].y[0])} {label} with "
        f"{wording.amount(int(first), 'worker')} to {wording.number(lines[0].y[-1])} with {wording.number(last)}"
    )
    return panel(
        Plot(name, tuple(lines), "workers at once", label, title, "; ".join(told) + ".", x_scale="linear", ticks=places)
    )
