"""Summaries are derived from samples; a ratio carries its interval."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measurement import Measurement, Ratio, doubts_about, fit_line, paired_ratio, quantile

POSITIVE = st.floats(0.001, 1e6)


@given(st.lists(POSITIVE, min_size=1, max_size=30))
def test_the_half_quantile_is_the_median(values: list[float]) -> None:
    assert quantile(values, 0.5) == pytest.approx(statistics.median(values))
    assert Measurement("x", "ms", tuple(values)).value == pytest.approx(statistics.median(values))


def test_a_quantile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        quantile([], 0.5)


@given(st.lists(POSITIVE, min_size=1, max_size=20), st.floats(0.1, 10))
def test_a_constant_factor_is_found_exactly(values: list[float], factor: float) -> None:
    ratio = paired_ratio([v * factor for v in values], values, seed=1)
    assert (ratio.low, ratio.median, ratio.high) == pytest.approx((factor,) * 3)
    assert ratio.pairs == len(values)


def test_the_interval_holds_the_truth_in_most_of_many_trials() -> None:
    """A true ratio of 1.5 under noise of 20 % lies inside about 95 % of the intervals."""
    rng = random.Random(3)
    held = 0
    for trial in range(100):
        b = [rng.lognormvariate(0, 0.2) for _ in range(20)]
        a = [1.5 * v * rng.lognormvariate(0, 0.2) for v in b]
        ratio = paired_ratio(a, b, seed=trial, resamples=400)
        held += ratio.low <= 1.5 <= ratio.high
    assert held >= 88


def test_the_same_seed_gives_the_same_interval() -> None:
    a, b = [1.0, 2.0, 4.0], [1.0, 1.0, 3.0]
    assert paired_ratio(a, b, seed=5) == paired_ratio(a, b, seed=5)


def test_series_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="same length"):
        paired_ratio([1.0], [1.0, 2.0], seed=0)


@given(st.floats(-5, 5), st.floats(-50, 50))
def test_a_line_is_found_through_its_own_points(slope: float, intercept: float) -> None:
    x = [1.0, 10.0, 100.0, 1000.0]
    line = fit_line(x, [slope * v + intercept for v in x])
    assert (line.slope, line.intercept) == pytest.approx((slope, intercept), abs=1e-6)


def test_a_line_through_one_x_is_refused() -> None:
    with pytest.raises(ValueError, match="two different"):
        fit_line([1.0, 1.0], [1.0, 2.0])


def test_few_pairs_and_wide_intervals_are_reasons_for_doubt() -> None:
    sound = Ratio(3.0, 2.8, 3.3, 16)
    assert doubts_about([]) == []
    assert doubts_about([sound]) == []
    assert "4 interleaved pairs" in doubts_about([sound, Ratio(3.0, 2.8, 3.3, 4)])[0]
    assert "1 of 2 ratios" in doubts_about([sound, Ratio(3.0, 1.0, 3.3, 16)])[0]
