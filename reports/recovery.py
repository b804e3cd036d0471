"""Recovery: who held what while faults befell the workers, and how long it took until another had it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from reports import wording
from reports.comparison import MOST_DRAWN, Behind, Comparison, by_database, called, compared, measured, value
from reports.plots import COOL, INK, MUTED, WARM, Panel, as_svg, sheet
from reports.saved import Hold, Recovery, Result, Struck

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCENARIO = "claim-recovery"
MOST_BARS: Final = 2000  # of one result; times held that begin closer together than this allows are one bar
MOST_ARROWS: Final = 200  # of one result: the longest
MOST_FAULTS: Final = 60  # of one result, drawn and named beside its plot: the first
_COLUMNS = (
    measured("recovered_jobs", "jobs recovered"),
    measured("recovery_ms_p50", "median recovery, ms", timed=True),
    measured("recovery_ms_max", "longest, ms", timed=True),
)
_OWN_END: Final = ("complete", "fail")
_WIDTH: Final = 8.6  # inches
_LANE: Final = 0.34  # as well
_BAR: Final = 0.52  # of a lane
_SHORTEST_SECONDS: Final = 0.02  # that anything is drawn as
_POINTS: Final = 72  # an inch
_MOST_LEVELS: Final = 6  # of numbers above each other; those there is no room for are in the text alone
_LEVEL: Final = 10.0  # points
_ROOM: Final = 1.01  # beyond the end
_HATCH: Final = "/////"


def recoveries(results: Sequence[Result]) -> list[Comparison]:
    """Recoveries, a comparison for each database that has any; a timeline for each system."""
    return [
        compared(
            database,
            _title(database, own),
            _COLUMNS,
            own,
            panels=[_timeline(r, f"recovery-{place}-{n}") for n, r in enumerate(own[:MOST_DRAWN], 1) if r.holds],
            behind=_behind(own[:MOST_DRAWN]),
        )
        for place, (database, own) in enumerate(by_database(results, SCENARIO, _shows).items(), start=1)
    ]


def _shows(result: Result) -> bool:
    return bool(result.faults)


def _title(database: str, own: Sequence[Result]) -> str:
    good = [r for r in own if r.verdict == "pass" and value(r, "recovery_ms_p50") is not None]
    label = wording.database(database)
    if not good:
        return f"{label}: {wording.amount(max(len(r.faults) for r in own), 'fault')}"
    best = min(good, key=lambda r: value(r, "recovery_ms_p50") or 0.0)
    half, most = (wording.milliseconds(value(best, f"recovery_ms_{name}") or 0.0) for name in ("p50", "max"))
    faults = wording.amount(len(best.faults), "fault")
    return f"{label}: after {faults} half of the jobs were in other hands within {half}, all within {most}, with {called(best)}"


def _panel_title(result: Result) -> str:
    taken = [r for r in result.recoveries if r.ms is not None]
    lost = len({r.job for r in result.recoveries if r.ms is None})
    said = f"{called(result)}: {wording.amount(len(result.faults), 'fault')}, {wording.amount(len(taken), 'job')} handed on"
    return said + (f", {lost} not" if lost else "")


def _timeline(result: Result, name: str) -> Panel:
    title, told = _panel_title(result), _told(result)
    faults = result.faults[:MOST_FAULTS]
    workers = sorted({h.worker for h in result.holds} | {w for f in faults for w in f.workers}, key=_in_order)
    lane = {worker: len(workers) - 1 - place for place, worker in enumerate(workers)}
    labels = [wording.plain(worker, 20) for worker in workers]
    end = max(
        _SHORTEST_SECONDS,
        *(h.until_seconds for h in result.holds),
        *(f.until_seconds or f.from_seconds for f in result.faults),
    )
    left = 0.15 + 0.085 * max(map(len, labels))  # inches
    across = _WIDTH - left - 0.1
    levels = _levels([fault.from_seconds / (end * _ROOM) * across * _POINTS for fault in faults])
    above = 0.08 + (max([n for n in levels if n is not None], default=0) + 1) * _LEVEL / _POINTS
    below = 0.72
    height = above + _LANE * len(workers) + below
    with sheet((_WIDTH, height)) as figure:
        axes = figure.add_axes((left / _WIDTH, below / height, across / _WIDTH, _LANE * len(workers) / height))
        gap = end * 2 * len(workers) / MOST_BARS
        for worker, own, begin, until in _stretches(result.holds, gap):
            bar = (lane[worker] - _BAR / 2, _BAR)
            axes.broken_barh([(begin, max(until - begin, _SHORTEST_SECONDS))], bar, zorder=2, **_style(own=own))
        for number, (fault, level) in enumerate(zip(faults, levels, strict=True), start=1):
            _mark(axes, fault, lane, end)
            if level is not None:
                spot = (fault.from_seconds, len(workers) - 0.5)
                up = (0, 2 + level * _LEVEL)
                axes.annotate(str(number), spot, up, textcoords="offset points", ha="center", fontsize=8, color=INK)
        for begin, worker, until, to in _handed_on(result.recoveries):
            if worker in lane and to in lane:
                line: dict[str, Any] = {"arrowstyle": "->", "color": INK, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0}
                axes.annotate("", (until, lane[to]), (begin, lane[worker]), arrowprops=line, zorder=4)
        axes.set_yticks([lane[worker] for worker in workers], labels)
        axes.set_ylim(-0.5, len(workers) - 0.5)
        axes.set_xlim(0, end * _ROOM)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("seconds of the run")
        axes.tick_params(length=0)
        _legend(figure)
        return Panel(title, as_svg(figure, name, title, told), _named(result), wide=True)


def _style(*, own: bool) -> dict[str, Any]:
    """How a time held is drawn; what its holder did not end is hatched, as colour alone is not seen by all."""
    if own:
        return {"facecolors": [(COOL, 0.6)], "linewidth": 0}
    return {"facecolors": "none", "edgecolor": WARM, "hatch": _HATCH, "linewidth": 0.8}


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415  # half a second, which a page without plots does not pay
    from matplotlib.patches import Patch  # noqa: PLC0415  # as above

    figure.legend(
        handles=[
            Patch(label="held, and ended by its holder", facecolor=(COOL, 0.6), linewidth=0),
            Patch(label="lost, or its end refused or unknown", fill=False, edgecolor=WARM, hatch=_HATCH, linewidth=0.8),
            Patch(label="a fault", facecolor=(MUTED, 0.25), linewidth=0),
            Line2D(
                [], [], label="taken by a fault, then handed on", color=INK, linewidth=0.9, marker=">", markersize=3
            ),
        ],
        loc="lower left",
        bbox_to_anchor=(0, 0),
        ncol=4,
        frameon=False,
        labelcolor=INK,
        fontsize=8,
        handlelength=1.8,
        columnspacing=1.4,
    )


def _levels(places: Sequence[float]) -> list[int | None]:
    """How far up each number stands, so that none stands on another; None where there is no room. `places` are in points."""
    ends: list[float] = []
    found: list[int | None] = []
    for number, place in enumerate(places, start=1):
        half = 2.8 * len(str(number)) + 1
        level = next((n for n, until in enumerate(ends) if until <= place - half), len(ends))
        if level >= _MOST_LEVELS:
            found.append(None)
            continue
        ends[level : level + 1] = [place + half]
        found.append(level)
    return found


def _stretches(holds: Sequence[Hold], gap: float) -> list[tuple[str, bool, float, float]]:
    """When each worker held jobs, whether it ended that itself; times that begin less than `gap` after another are one with it."""
    found: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    for hold in sorted(holds, key=lambda hold: hold.from_seconds):
        own = found.setdefault((hold.worker, hold.how in _OWN_END), [])
        if own and hold.from_seconds - own[-1][0] < gap:
            own[-1] = own[-1][0], max(own[-1][1], hold.until_seconds)
        else:
            own.append((hold.from_seconds, hold.until_seconds))
    return [(worker, own, *stretch) for (worker, own), kept in found.items() for stretch in kept]


def _handed_on(recoveries: Sequence[Recovery]) -> list[tuple[float, str, float, str]]:
    """From when and whom until when and to whom jobs were taken and handed on; once each, the longest first."""
    found = {
        (each.struck_seconds, each.worker, each.handed_on_seconds, each.to)
        for each in recoveries
        if each.to is not None and each.handed_on_seconds is not None
    }
    return sorted(found, key=lambda each: (each[0] - each[2], each))[:MOST_ARROWS]


def _mark(axes: Axes, fault: Struck, lane: dict[str, int], end: float) -> None:
    """Shade a fault on the lanes of those it befell, or on all."""
    width = max((end if fault.until_seconds is None else fault.until_seconds) - fault.from_seconds, _SHORTEST_SECONDS)
    befallen = [(lane[worker] - 0.5, 1.0) for worker in fault.workers] or [(-0.5, float(len(lane)))]
    for low, high in befallen:
        axes.broken_barh([(fault.from_seconds, width)], (low, high), facecolors=[(MUTED, 0.25)], linewidth=0, zorder=1)
        axes.vlines(fault.from_seconds, low, low + high, color=INK, linewidth=0.8, zorder=3)


def _in_order(worker: str) -> tuple[bool, int, str]:
    """The workers with w9 before w10, then whoever did what was left."""
    return worker == "quiet", len(worker), worker


def _named(result: Result) -> str:
    """The faults by number, and whom each befell."""
    named = [
        f"{number} {wording.plain(fault.fault, 40)} ({_befallen(fault)})"
        for number, fault in enumerate(result.faults[:MOST_FAULTS], start=1)
    ]
    more = len(result.faults) - len(named)
    return ", ".join(named) + (f"; {more:,} more are not drawn" if more else "") + "."


def _befallen(fault: Struck) -> str:
    return ", ".join(wording.plain(worker, 20) for worker in fault.workers) or "all"


def _told(result: Result) -> str:
    said = f"{_panel_title(result)}. {_named(result)}"
    longest = value(result, "recovery_ms_max")
    return said if longest is None else f"{said} The longest recovery took {wording.milliseconds(longest)}."


def _behind(own: Sequence[Result]) -> Behind:
    """The faults by number, and the jobs each took from its holder."""
    return Behind(
        ("fault", "done to", "from, s", "until, s", "jobs handed on", "longest, ms"),
        tuple(
            (result, tuple(_row(result, number, fault) for number, fault in enumerate(result.faults, start=1)))
            for result in own
            if result.faults
        ),
    )


def _row(result: Result, number: int, fault: Struck) -> tuple[str, ...]:
    taken = [
        r.ms
        for r in result.recoveries
        if r.struck_seconds == fault.from_seconds and r.fault == fault.fault and r.ms is not None
    ]
    return (
        f"{number} {wording.plain(fault.fault, 40)}",
        _befallen(fault),
        f"{fault.from_seconds:.2f}",
        "never" if fault.until_seconds is None else f"{fault.until_seconds:.2f}",
        str(len(taken)) if taken else "",
        wording.number(max(taken)) if taken else "",
    )
