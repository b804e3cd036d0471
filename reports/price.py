"""What N+1 costs: counts and times over batch size, as plots whose titles say what they show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from harness.measurement import fit_line, quantile
from reports import wording
from reports.plots import Line, Plot, draw
from reports.saved import Count, Result, Timing

MOST_TIMED: Final = 6  # results whose times are drawn; the rest keep their tables
EFFECT_FLOOR: Final = 0.10  # a smaller difference is not told from noise
N_PLUS_1: Final = 0.5  # statements a job from which a claim counts as N+1
_TELLING_BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Counts:
    """The counts of every result on one database: a plot, and each result with its statements per further job."""

    database: str
    title: str
    plot: Markup
    slopes: tuple[tuple[Result, float], ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot with its title."""

    title: str
    plot: Markup


@dataclass(frozen=True, slots=True)
class Timings:
    """One result's times beside its baseline's: a panel for each latency and one of ratios; none where only tabled."""

    result: Result
    baselines: tuple[str, ...]
    title: str
    panels: tuple[Panel, ...]


def counts(results: Sequence[Result]) -> list[Counts]:
    """Statements over batch size, one plot a database; a result needs two batch sizes to be drawn."""
    found: list[Counts] = []
    for name in dict.fromkeys(r.database for r in results):
        slopes = tuple(
            (r, _slope(r)) for r in results if r.database == name and len({count.batch for count in r.counts}) > 1
        )
        if slopes:
            found.append(_count_plot(name, slopes, f"counts-{len(found) + 1}"))
    return found


def timings(results: Sequence[Result]) -> list[Timings]:
    """Time over batch size, for each result that was timed."""
    timed = [r for r in results if any(_drawable(r.times))]
    return [_timing_plots(r, f"times-{i}", drawn=i <= MOST_TIMED) for i, r in enumerate(timed, start=1)]


def _slope(result: Result) -> float:
    measured = result.measurements.get("statements_per_job")
    if measured is not None and measured.value is not None:
        return measured.value
    return fit_line([count.batch for count in result.counts], [count.statements for count in result.counts]).slope


def _count_plot(database: str, slopes: tuple[tuple[Result, float], ...], name: str) -> Counts:
    batches = set.intersection(*({count.batch for count in r.counts} for r, _ in slopes))
    batch = _telling(batches) if batches else 0
    at_batch = {count.statements for r, _ in slopes for count in r.counts if count.batch == batch}
    label = wording.database(database)
    if not at_batch:
        title = f"{label}: statements a claim"
    elif max(at_batch) >= 2 * min(at_batch):
        title = f"{label}: a batch of {batch:,} takes {_n(max(at_batch))} statements or {_n(min(at_batch))}"
    else:
        title = f"{label}: a batch of {batch:,} takes {_n(max(at_batch))} statements"
    lines = []
    for warm, kind in ((True, "N+1"), (False, "batched")):
        own = sorted(
            ((r, s) for r, s in slopes if (s > N_PLUS_1) is warm), key=lambda pair: pair[0].counts[-1].statements
        )
        distinct = {tuple((count.batch, count.statements) for count in _by_batch(r)): slope for r, slope in own}
        for i, (points, slope) in enumerate(distinct.items(), start=1):
            text = f"{kind}: {slope:.2f} a job" if i == (len(distinct) if warm else 1) else ""
            lines.append(Line([x for x, _ in points], [max(y, 0.1) for _, y in points], text, warm))
    told = [
        f"{wording.strategy(r.system)}: "
        + ", ".join(f"{_n(count.statements)} statements for {count.batch:,} jobs" for count in _ends(_by_batch(r)))
        for r, _ in slopes
    ]
    plot = Plot(name, tuple(lines), "jobs in one claim", "statements a claim", title, "; ".join(told) + ".")
    return Counts(database, title, draw(plot), slopes)


def _timing_plots(result: Result, name: str, *, drawn: bool) -> Timings:
    usable = _drawable(result.times)
    latencies = sorted({t.latency_ms for t in usable})
    every = [v for t in usable for v in (*t.baseline_ms, *t.system_ms)]
    panels = []
    for i, latency in enumerate(latencies if drawn else (), start=1):
        own = sorted((t for t in usable if t.latency_ms == latency), key=lambda t: t.batch)
        there = next(t for t in own if t.batch == _telling({t.batch for t in own}))
        title = (
            f"{_network(latency)}: {wording.amount(there.batch, 'job')} in "
            f"{wording.milliseconds(_median(there.baseline_ms))} or {wording.milliseconds(_median(there.system_ms))}"
        )
        told = [
            f"{t.batch:,} jobs: {wording.milliseconds(_median(t.baseline_ms))} "
            f"beside {wording.milliseconds(_median(t.system_ms))}"
            for t in own
        ]
        lines = (
            _spread(own, [t.baseline_ms for t in own], _label(own[0].baseline), warm=True),
            _spread(own, [t.system_ms for t in own], _label(result.system), warm=False),
        )
        plot = Plot(
            f"{name}-{i}",
            lines,
            "jobs in one claim",
            "ms a claim",
            title,
            "; ".join(told) + ".",
            limits=(min(every), max(every)),
            widest=(min(t.batch for t in usable), max(t.batch for t in usable)),
        )
        panels.append(Panel(title, draw(plot)))
    if drawn and any(t.ratio for t in usable):
        panels.append(_ratio_panel(result, usable, f"{name}-ratio"))
    return Timings(result, tuple(dict.fromkeys(t.baseline for t in usable)), _gain(usable), tuple(panels))


def _ratio_panel(result: Result, usable: Sequence[Timing], name: str) -> Panel:
    lines = []
    told = []
    for latency in sorted({t.latency_ms for t in usable if t.ratio}):
        own = sorted((t for t in usable if t.latency_ms == latency and t.ratio), key=lambda t: t.batch)
        ratios = [t.ratio for t in own if t.ratio]
        x = [t.batch for t in own]
        label = f"{wording.number(latency)} ms"
        lines.append(
            Line(
                x,
                [r.median for r in ratios],
                label,
                warm=False,
                low=[r.low for r in ratios],
                high=[r.high for r in ratios],
            )
        )
        told.append(
            f"{_network(latency)}: "
            + ", ".join(f"{wording.number(r.median)} times at {b:,} jobs" for b, r in zip(x, ratios, strict=True))
        )
    title = f"How many times quicker {wording.strategy(result.system)} is, by added network latency"
    plot = Plot(name, tuple(lines), "jobs in one claim", "times quicker", title, "; ".join(told) + ".", even=1.0)
    return Panel(title, draw(plot))


def _gain(usable: Sequence[Timing]) -> str:
    """What was gained at the telling batch, where the network is slowest, or that nothing could be seen."""
    compared = [t for t in usable if t.ratio]
    if not compared:
        return "Times side by side"
    batch = _telling({t.batch for t in compared})
    there = max((t for t in compared if t.batch == batch), key=lambda t: t.latency_ms)
    ratio = there.ratio
    if ratio is None:  # `compared` holds none such
        return "Times side by side"
    where = f"{_network(there.latency_ms)}, a batch of {batch:,}"
    if ratio.low <= 1 <= ratio.high or abs(ratio.median - 1) < EFFECT_FLOOR:
        return f"{where}: no difference beyond {EFFECT_FLOOR:.0%} could be seen"
    interval = f"95 % interval {wording.number(ratio.low)} to {wording.number(ratio.high)}"
    if ratio.median > 1:
        return f"{where} is {wording.number(ratio.median)} times quicker than N+1 ({interval})"
    return f"{where} takes {wording.number(1 / ratio.median)} times as long as N+1 (quicker by {interval})"


def _spread(own: Sequence[Timing], samples: Sequence[Sequence[float]], label: str, *, warm: bool) -> Line:
    return Line(
        [t.batch for t in own],
        [_median(values) for values in samples],
        label,
        warm,
        low=[min(values) for values in samples],
        high=[max(values) for values in samples],
    )


def _by_batch(result: Result) -> list[Count]:
    return sorted(result.counts, key=lambda count: count.batch)


def _ends(counts: Sequence[Count]) -> list[Count]:
    """The first, the telling and the last of counts sorted by batch, each once."""
    telling = _telling(count.batch for count in counts)
    return list(dict.fromkeys((counts[0], *(c for c in counts if c.batch == telling), counts[-1])))


def _drawable(times: Sequence[Timing]) -> list[Timing]:
    """Those a logarithmic axis can show: samples of both sides, all above zero."""
    return [
        t
        for t in times
        if t.baseline_ms
        and t.system_ms
        and min(*t.baseline_ms, *t.system_ms) > 0
        and (t.ratio is None or t.ratio.low > 0)
    ]


def _telling(batches: Iterable[int]) -> int:
    """The batch size to speak of: 100 where it is there, else the largest."""
    there = set(batches)
    return _TELLING_BATCH if _TELLING_BATCH in there else max(there)


def _label(system: str) -> str:
    """A system's name, short enough to stand inside a plot."""
    name = wording.strategy(system)
    return name if len(name) <= 28 else name[:27] + "…"


def _network(latency_ms: float) -> str:
    return f"With {wording.number(latency_ms)} ms of network" if latency_ms else "Without added network"


def _median(values: Sequence[float]) -> float:
    return quantile(values, 0.5)


def _n(value: float) -> str:
    return wording.number(value)
