"""How quick claims are: by percentile, against workers, and how often a lock was in the way; never without the verdict."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from synthetic_bundle import Json, loaded, result
from test_page import Page, figures, page_of, section


def timed(system: str, half: float, most: float, slowest: float, **more: Any) -> Json:
    base = result(system, **more)
    for name, ms in (("claim_ms_p50", half), ("claim_ms_p99", most), ("slowest_claim_ms", slowest)):
        base["measurements"][name] = {"value": ms, "unit": "ms"}
    return base


def locked(system: str, errors: int, **more: Any) -> Json:
    base = result(system, **more)
    base["measurements"]["lock_errors"] = {"value": errors, "unit": "errors"}
    return base


def several(system: str, rates: dict[int, float], **more: Any) -> list[Json]:
    """One race for each number of workers."""
    races = []
    for workers, rate in rates.items():
        race = result(system, **more)
        race["coverage"] = {**race["coverage"], "workers": workers}
        race["measurements"]["claims_per_second"] = {"value": rate, "unit": "claims/s"}
        races.append(race)
    return races


def costs(page: Page) -> str:
    return section(page, "What a claim cost in the race", "Every result")


def test_percentiles_of_claims_stand_on_a_logarithmic_scale(tmp_path: Path) -> None:
    races = [timed("mine.py:Slow", 1.0, 40.0, 900.0, verdict="fail", reasons=["x"]), timed("b", 1.0, 2.0, 10.0)]
    page = page_of(tmp_path / "b", races, "fail")
    assert "SQLite: the slowest claim takes 900 ms with mine.py:Slow (fails), 10 ms with b" in costs(page)
    assert "mine.py:Slow (fails): half within 1 ms, 99 % within 40 ms, slowest 900 ms; b: half within 1 ms" in page.text
    (plot,) = figures(page, "latency-")
    at = [
        float(x) for x, label in re.findall(r' x="([\d.]+)"[^>]*>([\d,]+)</text>', plot) if label in ("1", "10", "100")
    ]
    assert len(at) == 3
    assert abs((at[2] - at[1]) - (at[1] - at[0])) < 0.1


def test_times_that_hardly_differ_are_not_told_apart(tmp_path: Path) -> None:
    page = page_of(tmp_path / "b", [timed("a", 0.0, 0.0, 15.0), timed("b", 1.0, 2.0, 10.0)])
    assert "the slowest claim takes 15 ms at most, whichever way jobs are claimed" in costs(page)
    assert not figures(page_of(tmp_path / "alone", [timed("a", 1.0, 2.0, 3.0)]), "latency-")


def test_lock_errors_are_told_by_claim_with_how_many_there_were(tmp_path: Path) -> None:
    races = [locked("a", 0), locked("mine.py:Busy", 107, verdict="fail", reasons=["x"]), locked("b", 0), locked("c", 2)]
    told = costs(page_of(tmp_path / "b", races, "fail"))
    assert "SQLite: 0.50 lock errors a claim with mine.py:Busy (fails), none with 2 others" in told
    assert "mine.py:Busy 107 in 214 claims 0.50 c 2 in 214 claims 0.01 a 0 in 214 claims 0" in told
    assert "lock errors a claim with" not in page_of(tmp_path / "none", [locked("a", 0)]).text


def test_throughput_and_latency_are_drawn_against_workers_where_there_are_several_numbers(tmp_path: Path) -> None:
    page = page_of(tmp_path / "b", [*several("a", {8: 900.0, 2: 400.0}), *several("b", {2: 1.0})])
    told = section(page, "Against the number of workers", "Jobs per worker")
    assert "SQLite: a goes from 400 claims a second with 2 workers to 900 with 8" in told
    assert "a ✓ pass 2 400 12.3 a ✓ pass 8 900 12.3" in told
    assert "b ✓ pass" not in told
    assert len(figures(page, "scaling-1-")) == 2
    assert "Against the number of workers" not in page_of(tmp_path / "one", several("a", {8: 900.0})).text


def test_a_rate_against_workers_is_not_bare_where_one_of_the_runs_failed(tmp_path: Path) -> None:
    races = several("a", {2: 400.0}) + several("a", {8: 900.0}, verdict="fail", reasons=["x"])
    page = page_of(tmp_path / "b", races, "fail")
    assert "SQLite: a (fails) goes from 400 claims a second" in page.text
    assert "a ✗ fail 8 900 while failing" in page.text


def test_the_workers_of_a_load_are_its_users(tmp_path: Path) -> None:
    few, many = loaded("a", "sqlite", seconds=3), loaded("a", "sqlite", seconds=20)
    page = page_of(tmp_path / "b", [few, many])
    assert "with 4 workers to 1,890 with 10" in page.text
