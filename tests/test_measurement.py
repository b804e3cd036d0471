"""Summaries are derived from samples; a ratio carries its interval."""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measurement import (
    Block,
    Measurement,
    Quiet,
    Ratio,
    doubts_about,
    doubts_about_change,
    fit_line,
    judge_change,
    paired_ratio,
    quantile,
)
from harness.runners.compare import ARMS, order_of

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


TRIALS = 100
PLANTED = 1.3


def noisy_times(rng: random.Random, factor: float, seed: int, scale: float = 1.0) -> dict[str, list[float]]:
    """Times of three arms on a machine with a drift, noise that lasts, noise that does not, and now and then a stall.

    HEAD truly takes `factor` times as long; all noise is `scale` times the usual. The blocks of all arms stand on one time line, in the
    order in which they are taken.
    """
    times: dict[str, list[float]] = {arm: [] for arm in ARMS}
    drift = lasting = 0.0
    for pair in range(18):
        for arm in order_of(pair, seed):
            drift += rng.gauss(0.002, 0.02)  # a fifth over a comparison, and a walk
            lasting = 0.6 * lasting + rng.gauss(0, 0.05)
            stall = rng.uniform(0.2, 1.1) if rng.random() < 0.05 else 0.0
            logarithm = drift + lasting + rng.gauss(0, 0.04) + stall
            times[arm].append(0.2 * math.exp(scale * logarithm) * (factor if arm == "head" else 1.0))
    return times


def verdicts(factor: float) -> Counter[str]:
    rng = random.Random(11)
    found = []
    for seed in range(TRIALS):
        times = noisy_times(rng, factor, seed)
        found.append(judge_change(times["base"], times["head"], times["control"], seed=seed, resamples=500).verdict)
    return Counter(found)


def test_a_system_beside_itself_is_called_different_at_most_5_times_in_100() -> None:
    found = verdicts(1.0)
    assert found["slower"] + found["faster"] <= 5, found
    assert found["no change seen"] >= 80, found  # and it is not bought by saying nothing


def test_a_planted_slowdown_of_30_percent_is_found_at_least_95_times_in_100() -> None:
    assert verdicts(PLANTED)["slower"] >= 95


def test_the_interval_of_a_comparison_holds_the_truth_in_most_of_many_trials() -> None:
    rng = random.Random(7)
    held = 0
    for seed in range(TRIALS):
        times = noisy_times(rng, PLANTED, seed)
        ratio = judge_change(times["base"], times["head"], times["control"], seed=seed, resamples=300).ratio
        held += ratio.low <= PLANTED <= ratio.high
    assert held >= 90


def test_a_planted_gain_is_found_as_well() -> None:
    assert verdicts(1 / PLANTED)["faster"] >= 95


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.5])
def test_what_a_comparison_could_have_missed_it_would_mostly_have_seen(scale: float) -> None:
    """A slowdown of the size that is printed as missed is called slower in most cases; half of it is not."""
    rng = random.Random(5)
    seen = {1.0: 0, 0.5: 0}
    for seed in range(TRIALS):
        times = noisy_times(rng, 1.0, seed, scale)
        printed = judge_change(times["base"], times["head"], times["control"], seed=seed, resamples=200).missed_under
        for share in seen:
            head = [printed**share * time for time in times["head"]]
            change = judge_change(times["base"], head, times["control"], seed=seed, resamples=200)
            seen[share] += change.verdict == "slower"
    assert seen[1.0] >= 88
    assert seen[0.5] <= 50


def steady(factor: float, wobble: float = 0.0) -> list[float]:
    return [0.2 * factor * (1 + wobble * (-1) ** pair) for pair in range(18)]


@pytest.mark.parametrize(
    ("head", "control", "verdict", "words"),
    [
        (steady(1.31), steady(1), "slower", "slower by 31 % [31, 31]"),
        (steady(0.7), steady(1), "faster", "faster by 30 % [30, 30]"),
        (steady(1), steady(1), "no change seen", "no change seen (could have missed changes under 10 %)"),
        (steady(1.08), steady(1), "no change seen", "no change seen (could have missed changes under 10 %)"),
        (steady(1), steady(1.08), "inconclusive", "inconclusive: the control moved 8 %"),
        (steady(1.2), steady(1.25), "inconclusive", "inconclusive: the control moved 25 %"),
        (steady(1.5), steady(1.08), "slower", "slower by 50 % [50, 50]"),
    ],
)
def test_the_words_of_a_comparison(head: list[float], control: list[float], verdict: str, words: str) -> None:
    change = judge_change(steady(1), head, control, seed=1)
    assert (change.verdict, change.words) == (verdict, words)


def test_a_change_that_only_one_copy_of_base_shows_is_inconclusive() -> None:
    base = steady(1)
    control = [(1.25 if pair // 3 % 3 == 0 else 1.0) * time for pair, time in enumerate(base)]  # wide, no clear move
    head = [1.11 * time for time in base]
    change = judge_change(base, head, control, seed=1)
    assert (
        change.words
        == "inconclusive: slower by 11 % [11, 11] than BASE, but not than the control, which is BASE once more"
    )
    assert change.verdict == "inconclusive"


def test_a_change_must_exceed_all_that_the_control_may_have_moved() -> None:
    control = [(1.03, 1.08, 1.2)[pair // 6] * time for pair, time in enumerate(steady(1))]
    change = judge_change(steady(1), [1.12 * time for time in control], control, seed=1)
    assert (change.verdict, change.words) == ("inconclusive", "inconclusive: the control moved 8 %")
    change = judge_change(steady(1), [1.5 * time for time in control], control, seed=1)
    assert change.verdict == "slower"


def test_a_spread_that_hides_what_a_gate_stops_is_inconclusive_and_never_no_change() -> None:
    rng = random.Random(2)
    base, head, control = ([rng.lognormvariate(0, 0.5) for _ in range(18)] for _ in range(3))
    change = judge_change(base, head, control, seed=1)
    assert change.verdict == "inconclusive"
    assert "could have been missed" in change.words
    assert change.missed_under > 1.25


def test_stretches_of_neighbours_widen_an_interval_and_must_fit() -> None:
    rng = random.Random(4)
    lasting = [rng.lognormvariate(0, 0.3) for _ in range(6) for _ in (1, 2, 3)]
    logs = [value * rng.lognormvariate(0, 0.01) for value in lasting[::3] for _ in (1, 2, 3)]
    alone = paired_ratio(logs, [1.0] * 18, seed=1)
    together = paired_ratio(logs, [1.0] * 18, seed=1, stretch=3)
    assert together.median == alone.median
    assert math.log(together.high / together.low) > math.log(alone.high / alone.low)
    with pytest.raises(ValueError, match="stretch of 18"):
        paired_ratio(logs, [1.0] * 18, seed=1, stretch=18)


def test_neighbours_that_drift_together_count_for_less_than_as_many_pairs_that_do_not() -> None:
    together = [1.2] * 8 + [1.0] * 8
    scattered = [1.2, 1.0] * 8
    drifted, shaken = (paired_ratio(a, [1.0] * 16, seed=1, stretch=4) for a in (together, scattered))
    assert math.log(drifted.high / drifted.low) > 1.2 * math.log(shaken.high / shaken.low)


def test_six_pairs_hold_every_order_once_each_followed_by_its_mirror_image() -> None:
    for seed in range(6):
        orders = [order_of(pair, seed) for pair in range(6)]
        assert len(set(orders)) == 6
        assert all(orders[pair] == orders[pair + 1][::-1] for pair in (0, 2, 4))
    assert len({order_of(0, seed) for seed in range(6)}) == 6


def test_what_others_had_the_core_for_is_not_in_a_blocks_own_time() -> None:
    assert Block(10, 0.5, 0.1, 0.3, None).own_seconds == pytest.approx(0.2)
    assert Block(10, 0.5, 0.1, 0.45, None).own_seconds == pytest.approx(
        0.1
    )  # two clocks never make it less than it worked


CALM = Quiet(load=0.5, cores=2, stolen=0.0, queued=0.0, flushing=0.1)


@pytest.mark.parametrize(
    ("quiet", "words"),
    [
        (replace(CALM, load=2.5), "a load of 2.5 on 2 cores"),
        (replace(CALM, stolen=0.05), "took 5% of the processor time"),
        (replace(CALM, queued=0.3), "waited for a free core 30% of the time"),
        (replace(CALM, flushing=0.8), "80% of BASE's time is the disk"),
    ],
)
def test_what_the_machine_did_meanwhile_is_a_reason_for_doubt(quiet: Quiet, words: str) -> None:
    change = judge_change(steady(1), steady(1), steady(1), seed=1)
    assert doubts_about_change(change, steady(1), CALM) == []
    assert doubts_about_change(change, steady(1), replace(CALM, stolen=None, queued=None, flushing=None)) == []
    (doubt,) = doubts_about_change(change, steady(1), quiet)
    assert words in doubt


def test_spread_few_pairs_and_a_moved_control_are_reasons_for_doubt() -> None:
    change = judge_change(steady(1)[:8], steady(1.5)[:8], steady(1.08)[:8], seed=1)
    doubts = doubts_about_change(change, steady(1, 0.2)[:8], CALM)
    assert [word in " ".join(doubts) for word in ("in 8 pairs", "varies by 50%", "moved 8 % [8, 8]")] == [True] * 3
