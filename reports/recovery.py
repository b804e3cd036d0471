"""Recovery: who held what while faults befell the workers, and how long it took until another had it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from reports import wording
from reports.comparison import MOST_DRAWN, Behind, Comparison, by_database, called, compared, measured, value
from reports.plots import COOL, INK, MUTED, WARM, Panel, as_svg, sheet
from reports.saved import Result, Struck

SCENARIO = "claim-recovery"
MOST_HOLDS: Final = 1000  # drawn of one result
_COLUMNS = (
    measured("recovered_jobs", "jobs recovered"),
    measured("recovery_ms_p50", "median recovery, ms", timed=True),
    measured("recovery_ms_max", "longest, ms", timed=True),
)
_OWN_END: Final = ("complete", "fail")
_LANE: Final = 0.34  # inches
_BAR: Final = 0.52  # of a lane
_SHORTEST_SECONDS: Final = 0.02  # that a fault is drawn as


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
    workers = sorted({h.worker for h in result.holds} | {w for f in result.faults for w in f.workers}, key=_in_order)
    lane = {worker: len(workers) - 1 - place for place, worker in enumerate(workers)}
    end = max([h.until_seconds for h in result.holds] + [f.until_seconds or f.from_seconds for f in result.faults])
    with sheet((8.6, 1.0 + _LANE * len(workers))) as figure:
        height = figure.get_size_inches()[1]
        axes = figure.add_axes((0.06, 0.48 / height, 0.92, 1 - 0.78 / height))
        for hold in result.holds[:MOST_HOLDS]:
            own = hold.how in _OWN_END
            width = max(hold.until_seconds - hold.from_seconds, _SHORTEST_SECONDS)
            bar = (lane[hold.worker] - _BAR / 2, _BAR)
            axes.broken_barh([(hold.from_seconds, width)], bar, facecolors=COOL if own else WARM, alpha=0.55, zorder=2)
        for number, fault in enumerate(result.faults, start=1):
            _mark(axes, number, fault, lane, end)
        for each in result.recoveries:
            if each.to is not None and each.handed_on_seconds is not None and each.to in lane and each.worker in lane:
                axes.annotate(
                    "",
                    (each.handed_on_seconds, lane[each.to]),
                    (each.struck_seconds, lane[each.worker]),
                    arrowprops={"arrowstyle": "->", "color": INK, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0},
                    zorder=4,
                )
        axes.set_yticks(list(lane.values()), [wording.plain(worker, 20) for worker in lane])
        axes.set_ylim(-0.6, len(workers) - 0.4)
        axes.set_xlim(0, end * 1.01)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("seconds of the run")
        axes.tick_params(length=0)
        return Panel(title, as_svg(figure, name, title, told))


def _mark(axes: object, number: int, fault: Struck, lane: dict[str, int], end: float) -> None:
    """Shade a fault on the lanes of those it befell, with its number above."""
    width = max((fault.until_seconds or end) - fault.from_seconds, _SHORTEST_SECONDS)
    for place in [lane[worker] for worker in fault.workers] or list(lane.values()):
        axes.broken_barh([(fault.from_seconds, width)], (place - 0.5, 1.0), facecolors=MUTED, alpha=0.3, zorder=1)  # type: ignore[attr-defined]  # matplotlib's Axes
        axes.vlines(fault.from_seconds, place - 0.5, place + 0.5, color=INK, linewidth=1.0, zorder=3)  # type: ignore[attr-defined]  # as above
    axes.annotate(  # type: ignore[attr-defined]  # as above
        str(number),
        (fault.from_seconds, len(lane) - 0.4),
        xytext=(0, 2 if number % 2 else 11),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=8,
        color=INK,
    )


def _in_order(worker: str) -> tuple[str, int, str]:
    digits = worker.lstrip("abcdefghijklmnopqrstuvwxyz")
    return worker[:1], int(digits) if digits.isdigit() else 0, worker


def _told(result: Result) -> str:
    faults = ", ".join(f"{number} {fault.fault}" for number, fault in enumerate(result.faults, start=1))
    said = f"{_panel_title(result)}. Faults: {faults}."
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
        ", ".join(wording.plain(worker, 20) for worker in fault.workers) or "all",
        f"{fault.from_seconds:.2f}",
        "never" if fault.until_seconds is None else f"{fault.until_seconds:.2f}",
        str(len(taken)) if taken else "",
        wording.number(max(taken)) if taken else "",
    )
