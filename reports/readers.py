"""Readers beside a clean-up: how long a read of the status takes while others delete, and how long the deletions take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reports import wording
from reports.comparison import (
    MOST_DRAWN,
    Comparison,
    at_share,
    by_database,
    called,
    compared,
    distribution,
    measured,
    quantile_rows,
    value,
)
from reports.plots import Panel, Plot, panel
from reports.saved import Result

SCENARIO = "cleanup-churn"
TELLING_FACTOR = 2.0  # these are different runs: a smaller difference says nothing of the clean-ups
_SHORTEST_MS = 0.001
_COLUMNS = (
    measured("reader_ms_p50", "median read, ms", timed=True),
    measured("reader_ms_p99", "99th percentile, ms", timed=True),
    measured("reader_ms_max", "slowest read, ms", timed=True),
    measured("deletion_ms_p50", "median deletion, ms", timed=True),
    measured("deletion_ms_max", "slowest deletion, ms", timed=True),
)


def readers(results: Sequence[Result]) -> list[Comparison]:
    """Reads and deletions, a comparison for each database that has any."""
    return [
        compared(
            database,
            _title(database, own),
            _COLUMNS,
            own,
            panels=_panels(database, own[:MOST_DRAWN], f"readers-{place}"),
            behind=quantile_rows(
                own[:MOST_DRAWN], lambda result: result.reader_latency, "share of reads, %", "ms a read, at most"
            ),
        )
        for place, (database, own) in enumerate(by_database(results, SCENARIO, _shows).items(), start=1)
    ]


def _shows(result: Result) -> bool:
    return bool(result.reader_latency) or value(result, "reader_ms_p99") is not None


def _title(database: str, own: Sequence[Result]) -> str:
    """What the deletions took; the reads have their plot."""
    half = {called(r): ms for r in own if (ms := value(r, "deletion_ms_p50")) is not None}
    return _most_and_least(f"{wording.database(database)}: half of the deletions take at most", half)


def _reads_title(database: str, own: Sequence[Result]) -> str:
    nearly_all = {called(r): ms for r in own if (ms := at_share(r.reader_latency, 0.99)) is not None}
    return _most_and_least(f"{wording.database(database)}: 99 % of the reads take at most", nearly_all)


def _most_and_least(what: str, times: Mapping[str, float]) -> str:
    """The longest and the shortest time with whose they are, or that it makes no difference; empty without any."""
    if not times:
        return ""
    worst, best = max(times, key=times.__getitem__), min(times, key=times.__getitem__)
    most, least = wording.milliseconds(times[worst]), wording.milliseconds(times[best])
    if worst == best:
        return f"{what} {most}"
    if times[worst] >= TELLING_FACTOR * times[best]:
        return f"{what} {most} with {worst}, {least} with {best}"
    return f"{what} {least} to {most}, whichever way is cleaned up"


def _panels(database: str, own: Sequence[Result], name: str) -> list[Panel]:
    lines = distribution(own, lambda result: result.reader_latency, least=_SHORTEST_MS)
    if not lines:
        return []
    told = [
        f"{wording.strategy(r.system)}: half of the reads at most "
        f"{wording.milliseconds(at_share(r.reader_latency, 0.5) or 0)}, "
        f"all of them {wording.milliseconds(r.reader_latency[-1].ms)}"
        for r in own
        if r.reader_latency
    ]
    return [
        panel(
            Plot(
                name,
                lines,
                "share of reads, %",
                "ms a read, at most",
                _reads_title(database, own) or f"{wording.database(database)}: how long a read takes",
                "; ".join(told) + ".",
                x_scale="linear",
                widest=(0, 100),
            )
        )
    ]
