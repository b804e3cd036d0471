"""What N+1 costs: counts and times over the size of a round, as plots whose titles say what they show.

A round is one claim, one delete or one submit. They are never mixed: each scenario has its own plots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from harness.measurement import fit_line, quantile
from reports import wording
from reports.plots import Line, Panel, Plot, panel
from reports.saved import Count, LeftOut, Result, Timing

MOST_TIMED: Final = 8  # results whose times are drawn; the rest keep their tables
EFFECT_FLOOR: Final = 0.10  # a smaller difference is not told from noise
N_PLUS_1: Final = 0.5  # statements a job from which a round counts as N+1


@dataclass(frozen=True, slots=True)
class Round:
    """The words for a round of one scenario: a `claim` of `job`s. `telling` is the size to speak of, where it is there."""

    heading: str
    one: str
    thing: str
    each: str
    doing: str
    telling: int

    def title(self, size: int) -> str:
        """What one round of that size is called, as the subject of a sentence."""
        return self.doing.format(f"{size:,}")

    @property
    def over(self) -> str:
        """What the sizes of rounds count: the x axis."""
        return f"{self.thing}s in one {self.one}"


_ROUNDS: Final = {
    "claim-batch": Round("Claiming", "claim", "job", "a job", "a batch of {}", 100),
    "bulk-delete": Round("Deleting", "delete", "id", "an id", "deleting {}", 1000),
    "atomic-submit": Round("Submitting", "submit", "job", "a job", "submitting {}", 1000),
}


@dataclass(frozen=True, slots=True)
class Counts:
    """The counts of every result of a scenario on one database: plots, and each result with its statements per further job.

    `acquired` says whether a pool was watched; `left_out` what was too slow to be counted.
    """

    database: str
    title: str
    panels: tuple[Panel, ...]
    slopes: tuple[tuple[Result, float], ...]
    acquired: bool
    left_out: tuple[tuple[Result, LeftOut], ...]


@dataclass(frozen=True, slots=True)
class Timings:
    """One result's times beside its baseline's: a panel for each latency and one of ratios; none where only tabled."""

    result: Result
    baselines: tuple[str, ...]
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Price:
    """What the rounds of one scenario cost."""

    scenario: str
    round: Round
    counts: tuple[Counts, ...]
    timings: tuple[Timings, ...]

    @property
    def rows(self) -> tuple[tuple[Panel, ...], ...]:
        """The plots of counts as they stand side by side: all of them, or those of one database where it has several."""
        if any(each.acquired for each in self.counts):
            return tuple(each.panels for each in self.counts)
        return (tuple(plot for each in self.counts for plot in each.panels),) if self.counts else ()


def prices(results: Sequence[Result]) -> list[Price]:
    """The price of each scenario that was counted or timed. A result needs two sizes to be drawn."""
    found: list[Price] = []
    drawn = timed = 0
    for scenario in dict.fromkeys(r.scenario for r in results):
        own = [r for r in results if r.scenario == scenario]
        words = _ROUNDS.get(scenario, Round(scenario, "round", "job", "a job", "a round of {}", 100))
        counts = []
        for database in dict.fromkeys(r.database for r in own):
            sized = [r for r in own if r.database == database and len({count.batch for count in r.counts}) > 1]
            if sized:
                drawn += 1
                counts.append(_counts(words, database, tuple((r, _slope(r)) for r in sized), f"counts-{drawn}"))
        timings = []
        for result in own:
            if any(_drawable(result.times)):
                timed += 1
                timings.append(_timing_plots(words, result, f"times-{timed}", drawn=timed <= MOST_TIMED))
        if counts or timings:
            found.append(Price(scenario, words, tuple(counts), tuple(timings)))
    return found


def _slope(result: Result) -> float:
    measured = result.measurements.get("statements_per_job")
    if measured is not None and measured.value is not None:
        return measured.value
    return fit_line([count.batch for count in result.counts], [count.statements for count in result.counts]).slope


def _counts(words: Round, database: str, slopes: tuple[tuple[Result, float], ...], name: str) -> Counts:
    acquired = any(count.acquisitions for r, _ in slopes for count in r.counts)
    kinds: list[tuple[str, str, Callable[[Count], float]]] = [(name, "statement", lambda count: count.statements)]
    if acquired:
        kinds.append((f"{name}-pool", "acquisition", lambda count: count.acquisitions or 0))
    plots = [_count_plot(words, database, slopes, name=id_, counted=one, value=of) for id_, one, of in kinds]
    return Counts(
        database,
        plots[0].title,
        tuple(map(panel, plots)),
        slopes,
        acquired,
        tuple((r, each) for r, _ in slopes if not any(_drawable(r.times)) for each in r.left_out),
    )


def _count_plot(
    words: Round,
    database: str,
    slopes: tuple[tuple[Result, float], ...],
    *,
    name: str,
    counted: str,
    value: Callable[[Count], float],
) -> Plot:
    batches = set.intersection(*({count.batch for count in r.counts} for r, _ in slopes))
    batch = _telling(words, batches) if batches else 0
    at_batch = {value(count) for r, _ in slopes for count in r.counts if count.batch == batch}
    label = wording.database(database)
    if not at_batch:
        title = f"{label}: {counted}s a {words.one}"
    elif max(at_batch) >= 2 * min(at_batch) and len(at_batch) > 1:
        most = wording.amount_of(max(at_batch), counted)
        title = f"{label}: {words.title(batch)} takes {most} or {_n(min(at_batch))}"
    else:
        title = f"{label}: {words.title(batch)} takes {wording.amount_of(max(at_batch), counted)}"
    lines = []
    for warm, kind in ((True, "N+1"), (False, "batched")):
        own = sorted(((r, s) for r, s in slopes if (s > N_PLUS_1) is warm), key=lambda pair: value(pair[0].counts[-1]))
        distinct = {tuple((count.batch, value(count)) for count in _by_batch(r)): slope for r, slope in own}
        for i, (points, slope) in enumerate(distinct.items(), start=1):
            told = f"{kind}: {slope:.2f} {words.each}" if counted == "statement" else kind
            text = told if i == (len(distinct) if warm else 1) else ""
            lines.append(Line([x for x, _ in points], [max(y, 0.1) for _, y in points], text, warm))
    said = [
        f"{wording.strategy(r.system)}: "
        + ", ".join(
            f"{wording.amount_of(value(count), counted)} for {wording.amount(count.batch, words.thing)}"
            for count in _ends(words, _by_batch(r))
        )
        for r, _ in slopes
    ]
    return Plot(name, tuple(lines), words.over, f"{counted}s a {words.one}", title, "; ".join(said) + ".")


def _timing_plots(words: Round, result: Result, name: str, *, drawn: bool) -> Timings:
    usable = _drawable(result.times)
    latencies = sorted({t.latency_ms for t in usable})
    every = [v for t in usable for v in (*t.baseline_ms, *t.system_ms)]
    panels = []
    for i, latency in enumerate(latencies if drawn else (), start=1):
        own = sorted((t for t in usable if t.latency_ms == latency), key=lambda t: t.batch)
        there = next(t for t in own if t.batch == _telling(words, {t.batch for t in own}))
        title = (
            f"{_network(latency)}: {wording.amount(there.batch, words.thing)} in "
            f"{wording.milliseconds(_median(there.baseline_ms))} or {wording.milliseconds(_median(there.system_ms))}"
        )
        told = [
            f"{wording.amount(t.batch, words.thing)}: {wording.milliseconds(_median(t.baseline_ms))} "
            f"beside {wording.milliseconds(_median(t.system_ms))}"
            for t in own
        ]
        lines = (
            _spread(own, [t.baseline_ms for t in own], wording.short(own[0].baseline), warm=True),
            _spread(own, [t.system_ms for t in own], wording.short(result.system), warm=False),
        )
        plot = Plot(
            f"{name}-{i}",
            lines,
            words.over,
            f"ms a {words.one}",
            title,
            "; ".join(told) + ".",
            limits=(min(every), max(every)),
            widest=(min(t.batch for t in usable), max(t.batch for t in usable)),
        )
        panels.append(panel(plot))
    if drawn and len(latencies) > 1:
        panels.append(_network_panel(words, result, usable, f"{name}-network"))
    if drawn and any(t.ratio for t in usable):
        panels.append(_ratio_panel(words, result, usable, f"{name}-ratio"))
    return Timings(result, tuple(dict.fromkeys(t.baseline for t in usable)), _gain(words, usable), tuple(panels))


def _network_panel(words: Round, result: Result, usable: Sequence[Timing], name: str) -> Panel:
    """What a round of the telling size takes over the added latency: of the sizes timed at the most latencies."""
    sizes = [{t.batch for t in usable if t.latency_ms == latency} for latency in {t.latency_ms for t in usable}]
    batch = _telling(words, set.intersection(*sizes) or set.union(*sizes))
    own = sorted((t for t in usable if t.batch == batch), key=lambda t: t.latency_ms)
    first, last = own[0], own[-1]
    told = "; ".join(
        f"{_network(t.latency_ms)}: {wording.milliseconds(_median(t.baseline_ms))} beside "
        f"{wording.milliseconds(_median(t.system_ms))}"
        for t in own
    )
    title = (
        f"{wording.amount(batch, words.thing)}: from {wording.number(first.latency_ms)} to "
        f"{wording.number(last.latency_ms)} ms of network, N+1 goes from {wording.milliseconds(_median(first.baseline_ms))} "
        f"to {wording.milliseconds(_median(last.baseline_ms))}, this from "
        f"{wording.milliseconds(_median(first.system_ms))} to {wording.milliseconds(_median(last.system_ms))}"
    )
    x = [t.latency_ms for t in own]
    lines = (
        replace(_spread(own, [t.baseline_ms for t in own], wording.short(first.baseline), warm=True), x=x),
        replace(_spread(own, [t.system_ms for t in own], wording.short(result.system), warm=False), x=x),
    )
    ticks = tuple((at, wording.number(at)) for at in dict.fromkeys(x) if at in (0, 5) or at >= 10)
    return panel(
        Plot(name, lines, "added network, ms", f"ms a {words.one}", title, f"{told}.", x_scale="linear", ticks=ticks)
    )


def _ratio_panel(words: Round, result: Result, usable: Sequence[Timing], name: str) -> Panel:
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
            + ", ".join(
                f"{wording.number(r.median)} times at {wording.amount(b, words.thing)}"
                for b, r in zip(x, ratios, strict=True)
            )
        )
    title = f"How many times quicker {wording.strategy(result.system)} is, by added network latency"
    same = (1.0, "the same")
    return panel(Plot(name, tuple(lines), words.over, "times quicker", title, "; ".join(told) + ".", level=same))


def _gain(words: Round, usable: Sequence[Timing]) -> str:
    """What was gained at the telling batch, where the network is slowest, or that nothing could be seen."""
    compared = [t for t in usable if t.ratio]
    if not compared:
        return "Times side by side"
    batch = _telling(words, {t.batch for t in compared})
    there = max((t for t in compared if t.batch == batch), key=lambda t: t.latency_ms)
    ratio = there.ratio
    if ratio is None:  # `compared` holds none such
        return "Times side by side"
    where = f"{_network(there.latency_ms)}, {words.title(batch)}"
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


def _ends(words: Round, counts: Sequence[Count]) -> list[Count]:
    """The first, the telling and the last of counts sorted by batch, each once."""
    telling = _telling(words, (count.batch for count in counts))
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


def _telling(words: Round, batches: Iterable[int]) -> int:
    """The size to speak of: the telling one where it is there, else the largest."""
    there = set(batches)
    return words.telling if words.telling in there else max(there)


def _network(latency_ms: float) -> str:
    return f"With {wording.number(latency_ms)} ms of network" if latency_ms else "Without added network"


def _median(values: Sequence[float]) -> float:
    return quantile(values, 0.5)


def _n(value: float) -> str:
    return wording.number(value)
