"""Progress on the screen: what telling it costs in writes, and how far the screen is behind."""

from __future__ import annotations

from collections.abc import Sequence

from reports import wording
from reports.comparison import (
    MOST_DRAWN,
    Column,
    Comparison,
    at_share,
    by_database,
    compared,
    distribution,
    measured,
    quantile_rows,
    value,
    values,
)
from reports.plots import Panel, Plot, panel
from reports.saved import Result

SCENARIO = "progress-updates"
_COLUMNS = (
    measured("writes_per_job", "writes a job"),
    measured("staleness_ms_worst", "behind at worst, ms", timed=True),
    measured("staleness_ms_p99", "99th percentile behind, ms", timed=True),
    Column("flush interval asked for, ms", lambda result: result.flush_ms),
)


def progress(results: Sequence[Result]) -> list[Comparison]:
    """Writes and staleness, a comparison for each database that has any."""
    return [
        compared(
            database,
            title,
            _COLUMNS,
            own,
            panels=_panels(own[:MOST_DRAWN], title, f"progress-{place}"),
            behind=quantile_rows(
                own[:MOST_DRAWN], lambda result: result.staleness, "share of reads, %", "ms behind, at most"
            ),
        )
        for place, (database, own) in enumerate(by_database(results, SCENARIO, _shows).items(), start=1)
        for title in (_title(database, own),)
    ]


def _shows(result: Result) -> bool:
    return bool(result.staleness) or value(result, "writes_per_job") is not None


def _title(database: str, own: Sequence[Result]) -> str:
    said = []
    if writes := values(own, "writes_per_job"):
        most, least = max(writes), min(writes)
        said.append(
            f"{wording.amount_of(most, 'write')} a job"
            + (f" or {wording.number(least)}" if most >= 2 * least and most > least else "")
        )
    behind = [max(each.ms for each in r.staleness) for r in own if r.staleness] or values(own, "staleness_ms_worst")
    if behind:
        worst = max(behind)
        said.append(
            f"the screen is at most {wording.milliseconds(worst)} behind" if worst else "the screen is never behind"
        )
    return f"{wording.database(database)}: {'; '.join(said)}"


def _panels(own: Sequence[Result], title: str, name: str) -> list[Panel]:
    lines = distribution(own, lambda result: result.staleness)
    if not lines:
        return []
    told = [
        f"{wording.strategy(r.system)}: half of the reads at most {wording.milliseconds(at_share(r.staleness, 0.5) or 0)} "
        f"behind, all of them {wording.milliseconds(r.staleness[-1].ms)}"
        for r in own
        if r.staleness
    ]
    flush = max((r.flush_ms for r in own if r.flush_ms), default=None)
    return [
        panel(
            Plot(
                name,
                lines,
                "share of reads, %",
                "ms behind, at most",
                title,
                "; ".join(told) + ".",
                level=None if flush is None else (flush, "flush interval"),
                x_scale="linear",
                y_scale="linear",
                widest=(0, 100),
            )
        )
    ]
