"""Waiting for a connection: how many jobs wait for one of a bounded pool, how long, and how many give up."""

from __future__ import annotations

from collections.abc import Sequence

from reports import wording
from reports.comparison import MOST_DRAWN, Behind, Comparison, by_database, called, compared, measured, value, values
from reports.plots import Line, Panel, Plot, panel
from reports.saved import Result, Waiting

SCENARIO = "pool-pressure"
MOST_MOMENTS = 100  # of one result in the table behind its plot
_COLUMNS = (
    measured("pool_acquisitions", "acquisitions"),
    measured("pool_timeouts", "waits given up"),
    measured("pool_wait_ms_p50", "median wait, ms", timed=True),
    measured("pool_wait_ms_p99", "99th percentile, ms", timed=True),
    measured("pool_wait_ms_max", "longest, ms", timed=True),
    measured("pool_peak", "most in use"),
)


def waits(results: Sequence[Result]) -> list[Comparison]:
    """Acquisitions and waits, a comparison for each database that has any; a plot for each writer of progress."""
    return [
        compared(
            database,
            _title(database, own),
            _COLUMNS,
            own,
            panels=_panels(own[:MOST_DRAWN], f"pool-{place}"),
            behind=_behind(own[:MOST_DRAWN]),
        )
        for place, (database, own) in enumerate(by_database(results, SCENARIO, _shows).items(), start=1)
    ]


def _shows(result: Result) -> bool:
    return bool(result.pool_waiting) or value(result, "pool_acquisitions") is not None


def _peak(result: Result) -> int:
    return max(moment.waiting for moment in result.pool_waiting)


def _title(database: str, own: Sequence[Result]) -> str:
    label = wording.database(database)
    drawn = [r for r in own if r.pool_waiting]
    if not drawn:
        taken = values(own, "pool_acquisitions")
        least = f" or {wording.number(min(taken))}" if max(taken) >= 2 * min(taken) and len(taken) > 1 else ""
        return f"{label}: {wording.amount_of(max(taken), 'acquisition')}{least}"
    worst, best = max(drawn, key=_peak), min(drawn, key=_peak)
    if not _peak(worst):
        return f"{label}: nobody waits for a connection"
    said = f"{label}: up to {_of_jobs(worst)} wait for a connection"
    if _peak(best) < _peak(worst):
        said += f", or {wording.number(_peak(best)) if _peak(best) else 'none'}"
    return said


def _of_jobs(result: Result) -> str:
    """The most that waited at once, of how many: of the scans under way, as far as the result says."""
    jobs = result.coverage.get("scans")
    if isinstance(jobs, int) and jobs >= _peak(result):
        return f"{_peak(result):,} of {wording.amount(jobs, 'job')}"
    return wording.amount(_peak(result), "job")


def _panels(own: Sequence[Result], name: str) -> list[Panel]:
    drawn = [r for r in own if r.pool_waiting]
    if not drawn:
        return []
    longest = max(r.pool_waiting[-1].ms for r in drawn) or 1.0
    highest = max(map(_peak, drawn)) or 1
    return [
        panel(
            Plot(
                f"{name}-{place}",
                (_steps(result.pool_waiting, warm=result.verdict != "pass"),),
                "ms since the first one asked",
                "waiting for a connection",
                _panel_title(result),
                _told(result),
                limits=(0, highest),
                widest=(0, longest),
                x_scale="linear",
                y_scale="linear",
                counted=True,
            )
        )
        for place, result in enumerate(drawn, start=1)
    ]


def _steps(moments: Sequence[Waiting], *, warm: bool) -> Line:
    """The moments at which the number changes, and the last."""
    changes = [
        each for i, each in enumerate(moments) if i in (0, len(moments) - 1) or each.waiting != moments[i - 1].waiting
    ]
    return Line([each.ms for each in changes], [float(each.waiting) for each in changes], "", warm, steps=True)


def _behind(own: Sequence[Result]) -> Behind:
    """The moments at which the number of those who wait changes; of very many only those with the most, in order of time."""
    return Behind(
        ("ms since the first one asked", "waiting", "connections in use"),
        tuple(
            (
                result,
                tuple(
                    (wording.number(each.ms), f"{each.waiting:,}", f"{each.in_use:,}")
                    for each in _telling(result.pool_waiting)
                ),
            )
            for result in own
            if result.pool_waiting
        ),
    )


def _telling(moments: Sequence[Waiting]) -> list[Waiting]:
    changes = [each for i, each in enumerate(moments) if i == 0 or each.waiting != moments[i - 1].waiting]
    most = sorted(range(len(changes)), key=lambda place: (-changes[place].waiting, place))[:MOST_MOMENTS]
    return [changes[place] for place in sorted(most)]


def _panel_title(result: Result) -> str:
    peak = _peak(result)
    said = called(result) + (
        f": {_of_jobs(result)} {'waits' if peak == 1 else 'wait at once'}" if peak else ": nobody waits"
    )
    longest = value(result, "pool_wait_ms_max")
    if peak and longest is not None:
        said += f", for up to {wording.milliseconds(longest)}"
    return said


def _told(result: Result) -> str:
    given_up = value(result, "pool_timeouts")
    more = "" if given_up is None else f" {wording.amount_of(given_up, 'wait')} given up."
    return f"{_panel_title(result)}. It took {wording.milliseconds(result.pool_waiting[-1].ms)} in all.{more}"
