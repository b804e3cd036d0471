"""Numbers with their unit and their samples; summaries are derived, never stored instead of the samples.

The bootstrap interval of paired ratios follows Efron & Tibshirani, An Introduction to the Bootstrap (1993), ch. 13 (percentile
method); ratios are compared as logarithms, as A/B and B/A must weigh the same. Neighbouring pairs of a busy machine are alike, so a
comparison resamples stretches of them: the moving block bootstrap of Künsch (1989), Annals of Statistics 17 (3), as in Efron &
Tibshirani, ch. 8.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

TimeVerdict = Literal["slower", "faster", "no change seen", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """A named quantity. `values` are the samples in the order they were taken; `unit` names what they count."""

    name: str
    unit: str
    values: tuple[float, ...]

    @property
    def value(self) -> float:
        """The median of the samples."""
        return quantile(self.values, 0.5)


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median of paired ratios a/b with the interval that holds it with 95 % confidence."""

    median: float
    low: float
    high: float
    pairs: int


ENOUGH_PAIRS = 16  # below this, only large factors can be told from noise
WIDE = 2.0  # an interval whose ends are this factor apart says little


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line through counts: `intercept` for the call itself, `slope` for each further job."""

    slope: float
    intercept: float


def quantile(values: Sequence[float], q: float) -> float:
    """The q-th quantile (0..1) of at least one value, interpolated linearly between neighbours."""
    if not values:
        raise ValueError("a quantile needs at least one value")
    ordered = sorted(values)
    place = (len(ordered) - 1) * q
    low = math.floor(place)
    high = math.ceil(place)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def paired_ratio(
    a: Sequence[float], b: Sequence[float], *, seed: int, resamples: int = 2000, stretch: int = 1
) -> Ratio:
    """Compare two series taken in interleaved pairs: the median of a/b with its 95 % bootstrap interval.

    `a` and `b` have the same length, at least 1, and hold positive numbers. The same seed gives the same interval. Pairs are drawn in
    stretches of `stretch` neighbours, 1 where each pair stands for itself; the interval of longer ones is widened by √(n / (n - stretch)),
    as so few stretches fit in n pairs that they vary too little.
    """
    if len(a) != len(b) or not a:
        raise ValueError("pairs need two series of the same length, at least one long")
    if not 1 <= stretch <= max(1, len(a) - 1):
        raise ValueError(f"a stretch of {stretch} cannot be drawn from {len(a)} pairs")
    logs = [math.log(x / y) for x, y in zip(a, b, strict=True)]
    rng = random.Random(seed)  # noqa: S311  # a resampling must be repeatable, not secret
    stretches = [logs[start : start + stretch] for start in range(len(logs) - stretch + 1)]
    draws = math.ceil(len(logs) / stretch)
    medians = sorted(
        quantile([each for drawn in rng.choices(stretches, k=draws) for each in drawn][: len(logs)], 0.5)
        for _ in range(resamples)
    )
    median = quantile(logs, 0.5)
    wider = math.sqrt(len(logs) / (len(logs) - stretch)) if stretch > 1 else 1.0
    low, high = (median + wider * (quantile(medians, q) - median) for q in (0.025, 0.975))
    return Ratio(math.exp(median), math.exp(low), math.exp(high), len(logs))


def fit_line(x: Sequence[float], y: Sequence[float]) -> Line:
    """Least squares of y over x; needs at least two different x."""
    n = len(x)
    mean_x, mean_y = sum(x) / n, sum(y) / n
    spread = sum((v - mean_x) ** 2 for v in x)
    if spread == 0:
        raise ValueError("a line needs at least two different x")
    slope = sum((u - mean_x) * (v - mean_y) for u, v in zip(x, y, strict=True)) / spread
    return Line(slope=slope, intercept=mean_y - slope * mean_x)


def doubts_about(ratios: Sequence[Ratio]) -> list[str]:
    """Say why these ratios may not deserve belief: too few pairs, or intervals so wide that the machine cannot have been quiet."""
    found = []
    fewest = min((ratio.pairs for ratio in ratios), default=ENOUGH_PAIRS)
    if fewest < ENOUGH_PAIRS:
        found.append(
            f"Times were taken in {fewest} interleaved pairs: large factors can be believed, small ones cannot."
        )
    wide = sum(ratio.high > WIDE * ratio.low for ratio in ratios)
    if wide:
        found.append(
            f"{wide} of {len(ratios)} ratios are known only within a factor of {WIDE:g} or more: the machine was not quiet."
        )
    return found


EFFECT_FLOOR: Final = 1.10  # identical code differs by less than this factor on machines people have
CONTROL_FLOOR: Final = 1.05  # a control that moved less is what a block's length alone explains
GATE_LIMIT: Final = 1.25  # what a gate stops; a comparison that could have missed so much says nothing
MIRRORED: Final = 2  # a stretch: a pair and its neighbour, taken in the opposite order so that drift cancels
DETECTION: Final = 0.84  # 1.645 / 1.96: from half a 95 % interval to what is exceeded in 95 of 100 measurements


P99_SAMPLES: Final = 1000  # fewer hold fewer than ten beyond the 99th percentile


@dataclass(frozen=True, slots=True)
class Block:
    """So many operations in a row, taking `seconds`: of these `working` on a core and `queued` for one; the rest waiting.

    Those who work for the timed process, such as its backends in a server, are counted with it.

    `p99_ms` is the 99th percentile of one operation, None where there were too few to tell.
    """

    operations: int
    seconds: float
    working_seconds: float
    queued_seconds: float
    p99_ms: float | None

    @property
    def own_seconds(self) -> float:
        """The time without that for which others had the core: what is compared."""
        return max(self.seconds - self.queued_seconds, self.working_seconds, 1e-9)


@dataclass(frozen=True, slots=True)
class Change:
    """What timing HEAD beside BASE came to. `ratio` is HEAD's time over BASE's; `control` that of a second BASE over BASE's.

    `missed_under` is the smallest slowdown, as a factor, that this measurement would have shown in 95 of 100 cases.
    """

    verdict: TimeVerdict
    ratio: Ratio
    control: Ratio
    words: str
    missed_under: float


def judge_change(
    base: Sequence[float], head: Sequence[float], control: Sequence[float], *, seed: int, resamples: int = 1000
) -> Change:
    """Say whether HEAD takes another time than BASE, from times of neighbouring blocks; `control` is BASE once more.

    HEAD is called different only where it differs by the effect floor, and the whole interval is on one side of 1 beside BASE and beside
    the control alike. Where the control itself moved, the change must exceed all that the control may have moved. What cannot be told
    is inconclusive: the control moved, its two sides disagree, or a change as large as a gate stops could have been missed.
    """
    stretch = min(MIRRORED, max(1, len(base) - 1))
    ratio, beside_control, moved = (
        paired_ratio(a, b, seed=seed, resamples=resamples, stretch=stretch)
        for a, b in ((head, base), (head, control), (control, base))
    )
    half = max(math.log(each.high / each.low) for each in (ratio, beside_control)) / 2
    missed_under = math.exp(max((1 + DETECTION) * half, math.log(EFFECT_FLOOR) + DETECTION * half))
    control_moved = _side(moved) != 0 and _size(moved.median) >= CONTROL_FLOOR
    large = _side(ratio) != 0 and _size(ratio.median) >= EFFECT_FLOOR
    agreed = _side(beside_control) == _side(ratio)
    exceeds = not control_moved or min(_size(ratio.low), _size(ratio.high)) > max(_size(moved.low), _size(moved.high))
    way: TimeVerdict = "slower" if ratio.median > 1 else "faster"
    verdict: TimeVerdict = "inconclusive"
    if large and agreed and exceeds:
        verdict = way
        words = f"{way} by {_percents(ratio)}"
    elif control_moved:
        words = f"inconclusive: the control moved {_percent(moved.median)} %"
    elif large:
        words = (
            f"inconclusive: {way} by {_percents(ratio)} than BASE, but not than the control, which is BASE once more"
        )
    elif missed_under > GATE_LIMIT:
        words = f"inconclusive: changes under {_percent(missed_under)} % could have been missed"
    else:
        verdict = "no change seen"
        words = f"no change seen (could have missed changes under {_percent(missed_under)} %)"
    return Change(verdict, ratio, moved, words, missed_under)


def _side(ratio: Ratio) -> int:
    """Which side of 1 the whole interval is on: 1 above, -1 below, 0 neither."""
    return (ratio.low > 1) - (ratio.high < 1)


def _size(factor: float) -> float:
    """A factor as one above 1, whichever way it goes."""
    return max(factor, 1 / factor)


def _percent(factor: float) -> int:
    return round(abs(factor - 1) * 100)


def _percents(ratio: Ratio) -> str:
    """The change with its interval, the end nearer to none first: `31 % [24, 38]`."""
    low, high = (ratio.low, ratio.high) if ratio.median > 1 else (ratio.high, ratio.low)
    return f"{_percent(ratio.median)} % [{_percent(low)}, {_percent(high)}]"


BUSY_SHARE: Final = 0.02  # of the time, by which a whole measurement is moved as much
VARIED: Final = 0.10
FLUSH_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Quiet:
    """How quiet the machine was while times were taken; shares are of the measured time, None where it cannot be told.

    `stolen`: taken by other guests of the host. `queued`: the timed processes were ready to run and had no core. `flushing`: spent on
    making commits durable.
    """

    load: float
    cores: int
    stolen: float | None = None
    queued: float | None = None
    flushing: float | None = None


def doubts_about_change(change: Change, base: Sequence[float], quiet: Quiet) -> list[str]:
    """Say why a comparison may not deserve belief, each in a sentence; `base` are the times of BASE's blocks in order."""
    found = []
    if change.ratio.pairs < ENOUGH_PAIRS:
        found.append(
            f"Times were taken in {change.ratio.pairs} pairs, where {ENOUGH_PAIRS} and more tell small changes from noise."
        )
    if change.ratio.high > WIDE * change.ratio.low:
        found.append(f"The ratio is known only within a factor of {change.ratio.high / change.ratio.low:.1f}.")
    if quiet.load > quiet.cores:
        found.append(f"The machine was busy: a load of {quiet.load:.1f} on {quiet.cores} cores.")
    if quiet.stolen is not None and quiet.stolen > BUSY_SHARE:
        found.append(f"The host took {quiet.stolen:.0%} of the processor time for others (steal).")
    if quiet.queued is not None and quiet.queued > BUSY_SHARE:
        found.append(f"The timed processes waited for a free core {quiet.queued:.0%} of the time.")
    steps = [abs(math.log(b / a)) for a, b in itertools.pairwise(base)]
    if steps and math.exp(quantile(steps, 0.5)) - 1 > VARIED:
        found.append(f"BASE itself varies by {math.exp(quantile(steps, 0.5)) - 1:.0%} from one block to its next.")
    if _side(change.control) != 0 and _size(change.control.median) >= CONTROL_FLOOR:
        found.append(f"The control, which is BASE once more, moved {_percents(change.control)}.")
    if quiet.flushing is not None and quiet.flushing > FLUSH_SHARE:
        found.append(
            f"About {quiet.flushing:.0%} of BASE's time is the disk making commits durable: a change of the code shows only in the rest."
        )
    return found
