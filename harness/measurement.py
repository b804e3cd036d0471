"""Numbers with their unit and their samples; summaries are derived, never stored instead of the samples.

The bootstrap interval of paired ratios follows Efron & Tibshirani, An Introduction to the Bootstrap (1993), ch. 13 (percentile
method); ratios are compared as logarithms, as A/B and B/A must weigh the same.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass


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


def paired_ratio(a: Sequence[float], b: Sequence[float], *, seed: int, resamples: int = 2000) -> Ratio:
    """Compare two series taken in interleaved pairs: the median of a/b with its 95 % bootstrap interval.

    `a` and `b` have the same length, at least 1, and hold positive numbers. The same seed gives the same interval.
    """
    if len(a) != len(b) or not a:
        raise ValueError("pairs need two series of the same length, at least one long")
    logs = [math.log(x / y) for x, y in zip(a, b, strict=True)]
    rng = random.Random(seed)  # noqa: S311  # a resampling must be repeatable, not secret
    medians = sorted(quantile(rng.choices(logs, k=len(logs)), 0.5) for _ in range(resamples))
    return Ratio(
        median=math.exp(quantile(logs, 0.5)),
        low=math.exp(quantile(medians, 0.025)),
        high=math.exp(quantile(medians, 0.975)),
        pairs=len(logs),
    )


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
