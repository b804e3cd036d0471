"""Load runs on the page: drawn where there is something to draw, never without their verdict, whatever is missing."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from synthetic_bundle import Json, loaded, result, write
from test_page import Page, figures, page_of, section

from harness.errors import BundleUnreadable
from reports.saved import load


def under_load(page: Page) -> str:
    return section(page, "Under load", "Every result")


def with_figures(**figures_of_load: Any) -> Json:
    return result("a", mode="load", series={"load": figures_of_load})


def test_a_load_run_stands_with_its_verdict_percentiles_rate_and_what_locust_said(tmp_path: Path) -> None:
    page = page_of(tmp_path / "b", [loaded("reference:skip-locked-cte", "postgres")])
    told = under_load(page)
    for said in (
        "skip-locked-cte claim-race on Postgres ✓ pass",
        "80,000 operations, none of them failed; 99 % of “claim” within 10.8 ms.",
        "skip-locked-cte: 99 % of “claim” within 10.8 ms",
        "claim: half within 1.20 ms, 99 % within 10.8 ms, slowest 212 ms",
        "skip-locked-cte: 4,000 to 4,148 operations a second by 10 users",
        "claim 40,000 0 1.20 2.40 10.8 48 212",
        "What Locust counted Name requests failures median, ms requests a second claim 40,000 0 1.20 2,000",
        "99.9 203",
        "0 4,000 0 0 1 4,037 0 2",
    ):
        assert said in told
    assert "failing" not in told
    curve, rate = figures(page, "load-1-")
    assert re.findall(r">([\d.]+)</text>", curve)[:5] == ["50", "90", "99", "99.9", "99.99"]
    assert "seconds since it began" in rate


def test_percentiles_are_as_far_apart_as_they_are_rare(tmp_path: Path) -> None:
    """On a scale of the share itself the slowest of a thousand would stand on the same spot as the slowest of a hundred."""
    curve, _ = figures(page_of(tmp_path / "b", [loaded("a", "sqlite")]), "load-1-")
    labels = re.findall(r' x="([\d.]+)"[^>]*>([\d.]+)</text>', curve)
    at = [float(x) for x, label in labels if label in ("90", "99", "99.9", "99.99")]
    drawn = [float(x) for x in re.findall(r'<use [^>]*x="([\d.]+)"', curve)]
    assert all(min(abs(x - place) for x in drawn) < 0.1 for place in at), "each point stands at its own share"
    steps = [after - before for before, after in itertools.pairwise(at)]
    assert len(steps) == 3
    assert max(steps) - min(steps) < 1


def test_of_few_operations_no_rare_percentile_is_drawn(tmp_path: Path) -> None:
    few = [[0.0, 1.0], [0.5, 2.0], [0.9, 3.0], [0.999, 3.0], [1.0, 3.0]]
    page = page_of(tmp_path / "b", [with_figures(operations=[{"name": "close", "count": 3, "percentiles": few}])])
    (curve,) = figures(page, "load-1-")
    assert len(re.findall(r"<use ", curve)) == 3
    assert ">99.9</text>" not in curve


def test_a_load_that_failed_never_shows_its_rate_bare(tmp_path: Path) -> None:
    page = page_of(tmp_path / "b", [loaded("a", "sqlite", failures=400, verdict="fail", reasons=["x"])], "fail")
    told = under_load(page)
    assert "80,000 operations, 800 of them failed; 99 % of “claim” within 10.8 ms while failing." in told
    assert "a (fails): 4,000 to 4,148 operations a second" in told
    assert "At most 20 failed a second." in told
    assert "2,000 while failing" in told


def test_a_rate_that_could_not_be_kept_is_said(tmp_path: Path) -> None:
    late = "500 a second were asked for and 412 were done."
    assert f"! late {late}" in under_load(page_of(tmp_path / "b", [loaded("a", "sqlite", late=late)]))
    assert "late" not in under_load(page_of(tmp_path / "c", [loaded("a", "sqlite")]))


@pytest.mark.parametrize(
    "series",
    [
        {"operations": [{"name": "claim"}]},
        {"operations": [{"name": "claim", "count": 0, "percentiles": []}], "timeline": [], "locust": []},
        {"operations": [{"name": "claim", "count": 1, "percentiles": [[1.0, 3.0]]}]},
        {"operations": [{"name": "claim", "percentiles": [[0.5, 0.0]]}], "late": None},
        {"timeline": [{"second": 4}]},
        {"timeline": [{"second": 0, "operations": 4}, {"second": 1e300, "operations": 4}]},
        {"locust": [{"name": "claim"}]},
        {"late": "it was late"},
    ],
)
def test_whatever_is_missing_the_rest_is_shown(tmp_path: Path, series: dict[str, Any]) -> None:
    page = page_of(tmp_path / "b", [with_figures(**series)])
    assert "a claim-race on SQLite ✓ pass" in under_load(page)
    assert page.open == []


def test_a_long_load_is_told_in_means(tmp_path: Path) -> None:
    page = page_of(tmp_path / "b", [loaded("a", "sqlite", seconds=7200)])
    assert "Each row is the mean of 30 seconds." in under_load(page)
    assert len(page.source) < 200_000


def test_a_hundred_load_runs_stay_small(tmp_path: Path) -> None:
    page = page_of(tmp_path / "b", [loaded(f"q{n}", "sqlite", seconds=600) for n in range(100)])
    assert len(page.source.encode()) < 1_500_000
    assert len(figures(page, "load-")) == 2 * 8
    assert "Not drawn, as there are too many" in page.text


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ({"operations": [{}]}, "`name` should be a text"),
        ({"operations": [{"name": "a", "percentiles": [[0.5]]}]}, "a share from 0 to 1 and its ms"),
        ({"operations": [{"name": "a", "percentiles": [[50, 1.0]]}]}, "a share from 0 to 1 and its ms"),
        ({"operations": [{"name": "a", "percentiles": [7]}]}, "should be a list but is 7"),
        ({"operations": [{"name": "a", "p50_ms": -1}]}, "`p50_ms` should be a number from 0 on"),
        ({"timeline": [{"operations": 1}]}, "`second` should be a number"),
        ({"late": 7}, "`late` should be a text"),
    ],
)
def test_figures_that_are_wrong_are_refused(tmp_path: Path, series: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleUnreadable, match=message):
        load(write(tmp_path / "b", [with_figures(**series)]))


def test_loads_are_not_shown_as_generations_of_a_raced_claim(tmp_path: Path) -> None:
    """A load counts no statements, and its users enqueue beside their claims."""
    systems = ("reference:select-then-update", "reference:immediate-batch")
    assert "Four generations" in page_of(tmp_path / "races", [result(system, "sqlite") for system in systems]).text
    loads = [loaded(system, "sqlite") for system in systems]
    for each in loads:
        each["measurements"].pop("statements_per_claim", None)
    assert "Four generations" not in page_of(tmp_path / "loads", loads).text


def test_a_race_that_counted_no_statements_has_a_dash_for_them(tmp_path: Path) -> None:
    races = [result(system, "sqlite") for system in ("reference:select-then-update", "reference:immediate-batch")]
    races[0]["measurements"].pop("statements_per_claim")
    assert "Four generations" in page_of(tmp_path / "races", races).text
