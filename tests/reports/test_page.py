"""The page: what it says of a run, that it is one quiet file, and that nothing a system says can harm it."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import chromium
import pytest
from conftest import Once
from synthetic_bundle import (
    BATCHES,
    Json,
    batches,
    broken,
    catalogue,
    churn,
    double_claim,
    ended,
    exploration,
    explored,
    explored_double_claim,
    judged,
    n_plus_1,
    operation,
    pool,
    progress,
    quantiles,
    recovered,
    result,
    step,
    write,
)

from harness.errors import OutputUnwritable
from reports.page import write_page

INLINE = {"a", "abbr", "b", "bdi", "code", "mark", "strong"}
VOID = {"meta", "link", "br", "img", "input", "hr", "source"}


class Page(HTMLParser):
    """A page taken apart: its text, the attributes of every element, whether every element is closed."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.source = source
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.places: list[tuple[str, tuple[str, ...]]] = []
        self.feed(source)
        self.close()
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in INLINE:
            self.words.append(" ")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)
            self.places.append((data, tuple(self.open)))

    def values(self, attribute: str) -> list[str]:
        return [attrs[attribute] for _, attrs in self.elements if attribute in attrs]


def page_of(folder: Path, results: list[dict[str, Any]] | None = None, verdict: str = "pass", **head: Any) -> Page:
    return Page(write_page(write(folder, results, verdict, **head)).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def whole(once: Once) -> Page:
    """The page of roughly what a default run leaves."""
    folder = once("default-run", lambda folder: write_page(write(folder / "20261122-194900")))
    return Page((folder / "20261122-194900" / "report.html").read_text(encoding="utf-8"))


# --- what it says --------------------------------------------------------------------------------------------------


def test_a_pass_says_in_words_what_it_covered_and_that_the_controls_were_caught(whole: Page) -> None:
    hero = whole.text[: whole.text.index("What was tried")]
    assert "✓ Pass" in hero
    assert "All 26 results held every invariant asked of them. All 18 known-wrong controls were caught" in hero
    assert "overlapping claims in claim-race, claim-batch, worker-guard, progress-updates, pool-pressure, " in hero
    assert "bulk-delete, cleanup-churn and atomic-submit, on SQLite 3.40.1 and Postgres 18.6." in hero


def test_a_fail_names_what_broke_first(tmp_path: Path) -> None:
    failing = double_claim("mine.py:Queue", "sqlite", role="subject", expected=None, right=None)
    page = page_of(tmp_path / "b", [result("reference:immediate-batch"), failing], "fail")
    hero = page.text[: page.text.index("What was tried")]
    assert "✗ Fail 1 of 2 results passed." in hero
    assert "mine.py:Queue claim-race on SQLite: no-double-claim: 1203 found" in hero
    assert "caught, as it must be" not in page.text


def test_a_run_of_one_system_states_the_coverage_of_that_system(tmp_path: Path) -> None:
    page = page_of(tmp_path / "b", [result("mine.py:Queue"), double_claim("reference:select-then-update", "sqlite")])
    assert (
        "Covered 8 workers, 2,000 jobs, 214 claims, 641 overlapping claims, 2,019 operations, control caught."
        in page.text
    )


def test_an_exhausted_exploration_says_all_schedules(tmp_path: Path) -> None:
    covered = {"schedules": 70, "exhausted": True, "workers": 2}
    page = page_of(tmp_path / "b", [explored("mine.py:Queue", coverage=covered)])
    assert "Covered all 70 schedules, 2 workers." in page.text


def test_the_verdict_says_how_many_schedules_and_what_they_stand_for(tmp_path: Path) -> None:
    hero = page_of(tmp_path / "b", [explored("mine.py:Queue")]).text
    covered = "all 10 schedules, which stand for 20; 2 workers, 20 claims, 131 operations, control caught."
    assert f"Covered {covered}" in hero[: hero.index("What was tried")]


def test_a_control_that_was_not_caught_is_bad_news(tmp_path: Path) -> None:
    missed = result("reference:select-then-update", role="control", expected="no-double-claim", right=False)
    page = page_of(tmp_path / "b", [missed, result("reference:immediate-batch")], "inconclusive")
    assert "✗ not caught" in page.text
    assert "0 of 1 known-wrong control were caught" in page.text
    assert "known to be wrong, but no-double-claim did not catch it" in page.text
    assert "caught, as it must be" not in page.text


def test_a_control_broken_by_another_invariant_than_its_own_is_not_caught(tmp_path: Path) -> None:
    control = double_claim("reference:in-subquery-limit", "postgres", expected="batch-limit")
    assert "✗ not caught" in page_of(tmp_path / "b", [control], "inconclusive").text


def test_an_inconclusive_result_gives_its_reason_and_the_missing_evidence(tmp_path: Path) -> None:
    missing = {
        "name": "claims-overlapped",
        "present": False,
        "reason": "No claims overlapped.",
        "remedy": "Raise --jobs.",
    }
    unproven = result("mine.py:Queue", verdict="inconclusive", evidence=[missing], reasons=["No claims overlapped."])
    page = page_of(tmp_path / "b", [unproven], "inconclusive")
    assert "? Inconclusive" in page.text
    assert "mine.py:Queue claim-race on SQLite: No claims overlapped." in page.text
    assert "✗ missing: claims-overlapped: No claims overlapped. Raise --jobs." in page.text


def test_an_interrupted_run_says_so_and_keeps_what_there_is(tmp_path: Path) -> None:
    folder = write(tmp_path / "b", [result("mine.py:Queue")], stage="open", finished=False, planned=14)
    (folder / "results.json").unlink()
    (folder / "results" / "07-being-made").mkdir()
    page = Page(write_page(folder).read_text(encoding="utf-8"))
    assert "Unfinished: inconclusive" in page.text
    assert "The run ended before its end, with 1 of 14 results saved." in page.text


def test_a_bundle_without_any_result_is_not_a_pass(tmp_path: Path) -> None:
    page = page_of(tmp_path / "b", [], "inconclusive")
    assert "There is no result, so nothing was shown." in page.text
    assert "✓" not in page.text


def test_states_of_invariants_stand_as_words_with_their_counts_and_reasons(tmp_path: Path) -> None:
    judgements = [
        judged("no-double-claim"),
        judged("batch-limit", "broken", 12),
        judged("claim-order", "not applicable", reason="no ordered = True"),
        judged("no-lost-job", "undecidable", reason="the queue was never drained"),
        judged("terminal-once", "crashed", reason="its query failed"),
        judged("every-worker-served", "broken", 1, "warning"),
    ]
    text = page_of(tmp_path / "b", [result("mine.py:Queue", judgements=judgements)], "fail").text
    for said in (
        "no-double-claim ✓ holds",
        "batch-limit ✗ 12 found",
        "claim-order – not applicable",
        "no-lost-job ? undecidable",
        "terminal-once ! crashed",
        "every-worker-served warning only ✗ 1 found",
        "claim-order not applicable for mine.py:Queue: no ordered = True",
        "no-lost-job undecidable for mine.py:Queue: the queue was never drained",
    ):
        assert said in text


def test_the_four_generations_stand_in_one_table(whole: Page) -> None:
    start = whole.text.index("Four generations of one claim")
    table = whole.text[start : whole.text.index("What a claim cost in the race")]
    for row in (
        r"1 select-then-update One SELECT and N UPDATEs.* 1,203 0 4 1,890 while failing 212",
        r"2 deferred-batch .* caught, as it must be 0 15,357 4",
        r"3 immediate-batch .* ✓ pass 0 0 4 1,890 212",
        r"4 compare-and-set .* ✓ pass 0 0 11.2 1,890 212",
    ):
        assert re.search(row, table), row


def test_a_rate_of_a_run_that_did_not_pass_is_never_shown_bare(tmp_path: Path) -> None:
    slow = result("b", verdict="inconclusive", reasons=["No claims overlapped."])
    page = page_of(tmp_path / "b", [double_claim("a", "sqlite"), slow, result("c")], "inconclusive")
    table, others = page.text[page.text.index("What a claim cost") :].split("Every result")
    assert re.findall(r"1,890( while failing| unproven)?", table) == [" while failing", " unproven", ""]
    rates = re.findall(r"Measured, with verdict (\w+) claims per second 1,890", others)
    assert rates == ["fail", "inconclusive", "pass"]


def test_round_trips_are_told_only_where_there_is_a_network(tmp_path: Path) -> None:
    network, local = result("a", "postgres"), result("a", "sqlite")
    local["measurements"]["round_trips_per_claim"]["value"] = 0.0
    text = page_of(tmp_path / "b", [network, local]).text
    tables = text[text.index("What a claim cost") : text.index("Jobs per worker", text.index("What a claim cost"))]
    postgres, sqlite = tables.split("SQLite")
    assert "round trips a claim" in postgres
    assert "round trips a claim" not in sqlite


def test_evidence_is_a_column_for_each_worker_with_the_contested_job_marked(whole: Page) -> None:
    start = whole.text.index("Findings and their evidence")
    told = whole.text[start : start + 900]
    assert "w0 and w3 were both handed job 7: w3’s claim completed 1.20 ms after w0’s" in told
    assert re.search(r"ms w0 w3 10.100 claim up to 10 → job 7 and 9 more 10.600 claim up to 10 → job 7", told)
    assert "<mark>job" in whole.source


def test_what_is_bad_news_comes_before_what_controls_were_caught_by(tmp_path: Path) -> None:
    failing = double_claim("mine.py:Queue", "sqlite", role="subject", expected=None, right=None)
    page = page_of(tmp_path / "b", [double_claim("reference:select-then-update", "sqlite"), failing], "fail")
    findings = page.text[page.text.index("Findings and their evidence") :]
    assert findings.index("mine.py:Queue") < findings.index("select-then-update")


def test_what_a_control_broke_besides_is_folded_away(tmp_path: Path) -> None:
    control = broken(double_claim("reference:select-then-update", "sqlite"), "terminal-once", 3, [{"job": 7}], [])
    alone = page_of(tmp_path / "control", [control])
    told = "terminal-once does not hold: job 7."
    assert "It also broke terminal-once " + told in alone.text
    failing = {**control, "role": "subject", "expected": None}
    assert "It also broke" not in page_of(tmp_path / "subject", [failing], "fail").text


def test_findings_beyond_the_first_are_counted(tmp_path: Path) -> None:
    failing = result("mine.py:Queue")
    for name in ("a", "b", "c", "d", "e"):
        failing = broken(failing, name, 9, [{"job": n, "operations": []} for n in range(9)], [])
    text = page_of(tmp_path / "b", [failing], "fail").text
    assert "2 more invariants broke; all are in results/00-claim-race-0-sqlite/result.json." in text
    assert "4 more of 9" in text


def test_titles_of_plots_say_what_they_show(whole: Page) -> None:
    for title in (
        "SQLite: a batch of 100 takes 101 statements or 4",
        "Postgres: a batch of 100 takes 101 statements or 1",
        "With 5 ms of network: 100 jobs in 514 ms or 5.75 ms",
        "With 20 ms of network, a batch of 100 is 97.8 times quicker than N+1 (95 % interval 90.0 to 108)",
    ):
        assert title in whole.text


def test_every_plot_has_a_name_and_a_description_with_its_numbers(whole: Page) -> None:
    plots = [attrs for tag, attrs in whole.elements if tag == "svg"]
    assert (
        len(plots) == (2 + 4 + 2) + 3 * (2 + 6) + 2 + 2 * 3 + 2 + 2
    )  # counts, times, progress, pools, readers, claims
    for attrs in plots:
        assert attrs["role"] == "img"
        for id_ in attrs["aria-labelledby"].split():
            described = re.search(rf'id="{id_}">([^<]+)<', whole.source)
            assert described is not None
            assert re.search(r"\d|network|nobody", described[1])
    assert "select-then-update: 2 statements for 1 job, 101 statements for 100 jobs, 1,001 statements for 1,000" in (
        whole.text
    )


def test_the_numbers_behind_the_plots_are_in_tables(whole: Page) -> None:
    start = whole.text.index("The price of N+1", whole.text.index("Findings and their evidence"))
    price = whole.text[start : whole.text.index("Percentiles hide starvation")]
    for batch in BATCHES:
        assert f" {batch:,} {batch + 1:,} 1 –" in price  # statements, transactions, no round trips on SQLite
    assert "Left out: 1,000 jobs at 20 ms (one N+1 claim would take about 20.0 s)." in price


def test_time_is_drawn_against_the_added_latency_of_the_network(whole: Page) -> None:
    title = "100 jobs: from 0 to 20 ms of network, N+1 goes from 9.09 ms to 2.03 s, this from 0.75 ms to 20.8 ms"
    assert whole.text.count(title) >= 2  # above the plot, and as its name
    plot, *_ = figures(whole, "times-2-network")
    assert ">added network, ms</text>" in plot


def test_the_points_of_every_distribution_and_wait_are_in_a_table(whole: Page) -> None:
    told = section(whole, "Progress on the screen", "Waiting for a connection")
    assert "Numbers behind this plot System share of reads, % ms behind, at most direct" in told
    assert "99.5 480" in told
    assert "System ms since the first one asked waiting connections in use direct" in whole.text
    readers = section(whole, "Readers beside a clean-up", "Jobs per worker")
    assert "99.5 16.3 100 16.6" in readers


def test_a_small_or_uncertain_difference_is_not_called_one(tmp_path: Path) -> None:
    same = batches("mine.py:Queue", "postgres", 0.0, 2.0, timed=True)
    for timing in same["series"]["times"]:
        timing["ratio"] = {"median": 1.3, "low": 0.97, "high": 1.6, "pairs": 4}
    assert "no difference beyond 10% could be seen" in page_of(tmp_path / "a", [same]).text
    for timing in same["series"]["times"]:
        timing["ratio"] = {"median": 0.5, "low": 0.45, "high": 0.52, "pairs": 4}
    assert "a batch of 100 takes 2 times as long as N+1" in page_of(tmp_path / "b", [same]).text


def section(page: Page, title: str, following: str = "") -> str:
    """The text between the heading of a section, which the navigation names before, and what follows it."""
    start = page.text.index(title, page.text.index("Covered" if "Covered" in page.text else "What was tried"))
    return page.text[start : page.text.index(following, start) if following else None]


def figures(page: Page, start: str) -> list[str]:
    """The drawings whose name begins so, as they stand in the page."""
    return re.findall(rf'<svg role="img" aria-labelledby="{start}.*?</svg>', page.source, re.S)


def test_claims_deletes_and_submits_have_plots_and_words_of_their_own(whole: Page) -> None:
    price = section(whole, "The price of N+1", "Progress on the screen")
    parts = re.split("(Claiming|Deleting|Submitting) (?:claim-batch|bulk-delete|atomic-submit) ", price)
    assert parts[1::2] == ["Claiming", "Deleting", "Submitting"]
    for part, over, cost, titles in zip(
        parts[2::2],
        ("jobs in one claim", "ids in one delete", "jobs in one submit"),
        ("ms a claim", "ms a delete", "ms a submit"),
        (
            ("SQLite: a batch of 100 takes 101 statements or 4", "Postgres: a batch of 100 takes 101 statements or 1"),
            (
                "SQLite: deleting 1,000 takes 1,000 statements or 1",
                "SQLite: deleting 1,000 takes 1,000 acquisitions or 1",
                "Without added network: 1,000 ids in 90.1 ms or 4.35 ms",
                "With 1 ms of network, deleting 1,000 is 204 times quicker than N+1",
                "Left out: 10,000 ids of loop-delete (it would take about 3 s to count).",
            ),
            ("Postgres: submitting 1,000 takes 1,001 statements or 2", "Without added network: 1,000 jobs in 90.1 ms"),
        ),
        strict=True,
    ):
        for said in (over, f"N+1, {cost}", f"this system, {cost}", *titles):
            assert said in part
        others = {"jobs in one claim", "ids in one delete", "jobs in one submit"} - {over}
        assert not [other for other in others if other in part]
        assert ("acquisitions 1,000" in part or " acquisitions " in part) is (over == "ids in one delete")
    assert len(figures(whole, "counts-")) == 2 + 2 * 2 + 2


def test_numbers_of_ids_are_told_with_what_each_delete_took_from_the_pool(tmp_path: Path) -> None:
    deletes = batches("a", "sqlite", 0.0, 3.0, scenario="bulk-delete", acquired=True)
    claims = batches("b", "sqlite", 0.0, 2.0)
    for count in claims["series"]["counts"]:
        del count["acquisitions"]  # as bundles were before pools were watched
    page = page_of(tmp_path / "b", [deletes, claims])
    price = section(page, "The price of N+1", "Every result")
    counted, other = price.split("Claiming claim-batch")
    assert "SQLite: deleting 1,000 takes 3 acquisitions" in counted
    assert "ids in one delete statements transactions round trips acquisitions" in counted
    assert "0.00 1 3 1 – 3" in counted
    assert "acquisitions" not in other
    assert "0.00 1 2 1 – 2 2 1 –" in other


def test_a_scenario_this_page_has_no_words_for_is_counted_in_rounds(tmp_path: Path) -> None:
    page = page_of(tmp_path / "b", [batches("a", "sqlite", 0.0, 3.0, scenario="my-own")])
    price = section(page, "The price of N+1", "Every result")
    assert "my-own SQLite: a round of 100 takes 3 statements" in price
    assert "jobs in one round" in price


def test_progress_stands_with_its_writes_its_staleness_and_its_verdict(whole: Page) -> None:
    told = section(whole, "Progress on the screen", "Waiting for a connection")
    for row in (
        "direct ✓ caught, as it must be 44 0 while failing 0 while failing 500",
        "batched ✓ pass 4 490 471 500",
        "redis ✓ pass 1.20 0 0 500",
    ):
        assert told.count(row) == 2
    assert "SQLite: 44 writes a job or 1.20; the screen is at most 490 ms behind" in told
    assert "Postgres: 44 writes a job or 1.20; the screen is at most 490 ms behind" in told
    assert "batched: half of the reads at most 30.6 ms behind, all of them 490 ms" in told
    plot, _ = figures(whole, "progress-")
    for said in ("direct (fails), redis", "batched", "debounced", "flush interval", "share of reads, %"):
        assert f">{said}</text>" in plot


def test_each_writer_of_progress_has_its_plot_of_who_waits_for_a_connection(whole: Page) -> None:
    told = section(whole, "Waiting for a connection", "Readers beside a clean-up")
    assert "SQLite: up to 8 of 10 jobs wait for a connection, or none." in told
    assert "Postgres: up to 8 of 10 jobs wait for a connection, or none." in told
    for row in (
        "direct ✓ caught, as it must be 442 32 1.05 while failing 47.2 while failing 52.5 while failing 2",
        "batched ✓ pass 16 0 0.02 0.72 0.80 2",
        "It took 1.19 s in all. 32 waits given up.",
    ):
        assert told.count(row) == 2  # once for each database
    for title in (
        "direct (fails): 8 of 10 jobs wait at once, for up to 52.5 ms",
        "batched: 1 of 10 jobs waits, for up to 0.80 ms",
        "debounced: nobody waits",
    ):
        assert told.count(title) == 2 * 3  # above the plot, as its name, and in its description
    assert len(figures(whole, "pool-1-")) == len(figures(whole, "pool-2-")) == 3
    ticks = [re.findall(r">([\d,]+)</text>", plot) for plot in figures(whole, "pool-1-")]
    assert ticks[0] == ticks[1] == ticks[2], "neighbours are read against each other, so their axes must be the same"


def test_readers_beside_a_clean_up_stand_beside_the_verdict_of_their_run(whole: Page) -> None:
    told = section(whole, "Readers beside a clean-up", "Jobs per worker")
    failing = " while failing ".join(("0.30", "13.3", "16.6", "5.70", "51.3"))
    assert f"loop-delete ✓ caught, as it must be {failing} while failing" in told
    assert "delete-many ✓ pass 0.30 8.56 10.7 0.60 5.40" in told
    assert (
        "SQLite: half of the deletions take at most 5.70 ms with loop-delete (fails), 0.60 ms with delete-many." in told
    )
    assert "SQLite: 99 % of the reads take at most 10.3 ms to 16.0 ms, whichever way is cleaned up" in told
    plot, _ = figures(whole, "readers-")
    assert ">loop-delete (fails)</text>" in plot
    assert ">delete-many</text>" in plot


def test_reads_that_differ_much_are_told_apart(tmp_path: Path) -> None:
    slow = churn("mine.py:Slow", "sqlite", 300.0, 2.0, verdict="inconclusive")
    text = page_of(tmp_path / "b", [slow, churn("mine.py:Fast", "sqlite", 10.0, 2.0)], "inconclusive").text
    assert "99 % of the reads take at most 288 ms with mine.py:Slow (unproven), 9.61 ms with mine.py:Fast" in text
    assert "SQLite: half of the deletions take at most 2 ms." in text


LATER: dict[str, Json] = {
    "Progress on the screen": progress("a", "sqlite", 4.0, quantiles(0, 490)),
    "Waiting for a connection": pool("a", "sqlite", [0, 3], 50.0),
    "Readers beside a clean-up": churn("a", "sqlite", 16.0, 5.0),
    "The price of N+1": batches("a", "sqlite", 0.0, 1.0, scenario="bulk-delete", acquired=True),
}


@pytest.mark.parametrize("title", LATER)
def test_a_section_is_there_only_where_there_is_something_to_show(tmp_path: Path, title: str) -> None:
    one = LATER[title]
    page = page_of(tmp_path / "b", [one])
    assert page.text.count(title) == 2  # in the navigation as well
    assert not [other for other in LATER if other != title and other in page.text]
    empty = {**one, "series": {}, "measurements": {}}
    assert title not in page_of(tmp_path / "empty", [empty]).text
    assert title not in page_of(tmp_path / "before", [result("a")]).text


@pytest.mark.parametrize("title", list(LATER)[:3])
def test_figures_without_a_series_have_their_table_and_no_plot(tmp_path: Path, title: str) -> None:
    page = page_of(tmp_path / "b", [{**LATER[title], "series": {}, "context": {}}])
    assert page.text.count(title) == 2
    assert "svg" not in {tag for tag, _ in page.elements}
    assert "flush interval" not in page.text


@pytest.mark.parametrize("title", list(LATER)[:3])
@pytest.mark.parametrize("ms", [0.0, 0.0001, 1e12, 1e300])
def test_times_of_any_size_can_be_drawn(tmp_path: Path, title: str, ms: float) -> None:
    one = {**LATER[title]}
    one["series"] = {
        "staleness": [{"share": 1.0, "ms": ms}],
        "reader_latency": [{"share": 0.3, "ms": ms}, {"share": 0.3, "ms": ms}],
        "pool_waiting": [{"ms": ms, "waiting": int(ms), "in_use": 0}],
    }
    page = page_of(tmp_path / "b", [one])
    assert len(page.source) < 60_000
    assert len(figures(page, "")) == 1


def test_results_too_many_for_one_plot_keep_their_rows(tmp_path: Path) -> None:
    page = page_of(tmp_path / "b", [progress(f"q{n}.py:Queue", "sqlite", 4.0, quantiles(0, n)) for n in range(11)])
    told = section(page, "Progress on the screen", "Every result")
    assert "3 more are not drawn; their numbers are in the table." in told
    assert told.count("✓ pass") == 11 + 8  # in the table of figures, and in that behind the plot
    assert "the screen is at most 10 ms behind" in told


def test_a_long_wait_is_drawn_with_few_points_and_keeps_its_peak(tmp_path: Path) -> None:
    waiting = [n % 7 for n in range(40_000)]
    waiting[31_234] = 10
    page = page_of(tmp_path / "long", [pool("a", "sqlite", waiting, 50.0)])
    assert "a: 10 of 10 jobs wait at once, for up to 50 ms" in page.text
    (plot,) = figures(page, "pool-1-1")
    assert len(plot) < 60_000
    (short,) = figures(page_of(tmp_path / "short", [pool("a", "sqlite", [0, 10, 0], 50.0)]), "pool-1-1")
    tops = []
    for each in (plot, short):
        line = re.search(r'<path d="([^"]*)"[^>]*style="fill: none; stroke: var\(--cool\)', each)
        assert line is not None
        tops.append(min(float(y) for y in re.findall(r"[ML] [\d.]+ ([\d.]+)", line[1])))
    assert tops[0] == tops[1]


def test_a_name_with_decimals_is_not_shortened_with_the_coordinates(tmp_path: Path) -> None:
    page = page_of(tmp_path / "b", [progress("queue-1.23456", "sqlite", 4.0, quantiles(0, 490))])
    (plot,) = figures(page, "progress-")
    assert ">queue-1.23456</text>" in plot
    assert not re.search(r"\d\.\d{3}", re.sub(r">[^<]*<", "><", plot))


def test_many_scenarios_are_groups_of_rows_and_few_are_columns(whole: Page, tmp_path: Path) -> None:
    tried = section(whole, "What was tried", "A control is a system")
    caught = "✓ caught 1,203 × no-double-claim"
    assert (
        f"claim-race System SQLite Postgres reference:select-then-update known to be wrong {caught} {caught}" in tried
    )
    assert (
        "progress-updates System SQLite Postgres reference:direct known to be wrong ✓ caught 3 × write-budget" in tried
    )
    assert tried.count("reference:delete-many ✓ pass 410 operations ✓ pass 410 operations") == 1
    assert tried.count("reference:delete-many ✓ pass 103 deletions ✓ pass 103 deletions") == 1
    few = page_of(tmp_path / "b", [result("a"), result("a", "postgres"), progress("b", "sqlite", 4.0, [])])
    tried = section(few, "What was tried", "A control is a system")
    assert "System claim-race SQLite claim-race Postgres progress-updates SQLite a ✓ pass 214 claims ✓ pass" in tried


def test_jobs_per_worker_are_told_of_claims_only(whole: Page) -> None:
    told = section(whole, "Percentiles hide starvation", "Every result")
    assert "claim-race on SQLite" in told
    assert not re.search("progress-updates|pool-pressure|cleanup-churn|bulk-delete|atomic-submit", told)


def test_operations_of_deletes_and_submits_say_how_much_was_asked_of_them(tmp_path: Path) -> None:
    many = list(range(20))
    operations = [
        operation(1, "w0", "delete_many", 1.0, 2.0, requested=1000, jobs=many),
        operation(2, "w0", "submit_run", 2.0, 3.0, requested=50),
        operation(3, "r", "read_run", 2.0, 3.0, jobs=many),
        operation(4, "r", "report_progress", 4.0, 5.0, jobs=[5], outcome="fail", error={"class": "PoolTimeout"}),
    ]
    page = page_of(tmp_path / "b", [broken(result("a"), "mine", 1, [{"operations": [1, 2, 3, 4]}], operations)], "fail")
    told = section(page, "Findings and their evidence", "Jobs per worker")
    assert ' <span class="bad">failed' in page.source
    for said in ("delete_many of 1,000 ", "submit_run of 50 ", "read_run 20 or more jobs", "job 5 failed: PoolTimeout"):
        assert said in told


def test_no_number_is_parted_from_its_unit(whole: Page) -> None:
    captions = re.findall(r"<figcaption><bdi>(.*?)</bdi>", whole.source)
    assert len(captions) == 45
    assert not [caption for caption in captions if re.search(r"\d (ms|µs|s|%)\b", caption)]
    assert (
        "SQLite: 99\u00a0% of the reads take at most 10.3\u00a0ms to 16.0\u00a0ms, whichever way is cleaned up"
        in captions
    )


def test_what_is_not_applicable_beyond_the_first_is_counted(tmp_path: Path) -> None:
    folder = write(tmp_path / "b", [result("a")])
    summary = json.loads((folder / "results.json").read_text())
    row = {"scenario": "claim-race", "system": "b", "database": "sqlite", "reason": "not asked for"}
    (folder / "results.json").write_text(json.dumps({**summary, "not_applicable": [row] * 209}))
    text = Page(write_page(folder).read_text(encoding="utf-8")).text
    assert "Not applicable (209)" in text
    assert "not asked for and 9 more, in results.json" in text


def test_jobs_per_worker_are_shown_with_the_fewest_and_the_most(whole: Page) -> None:
    assert "immediate-batch claim-race on SQLite ✓ pass 230 to 279 jobs w0 230 w1 237" in whole.text


def test_environment_doubts_and_commands_are_there(whole: Page) -> None:
    for said in (
        "synchronous_commit on",
        "Only 2 cores for 8 workers: rates say more about the machine than about the claim.",
        "Other processes used 41 % of the machine meanwhile. (skip-locked-cte on Postgres)",
        "contend check runs/20261122-194900",
        "contend run claim-race --system reference:immediate-batch --database sqlite --seed 7",
        "docs/glossary.md",
    ):
        assert said in whole.text


# --- one quiet file ------------------------------------------------------------------------------------------------


def test_the_same_bundle_gives_the_same_bytes(tmp_path: Path) -> None:
    first = write_page(write(tmp_path / "a" / "run")).read_bytes()
    assert write_page(write(tmp_path / "b" / "run")).read_bytes() == first


def test_the_page_loads_nothing_and_runs_nothing(whole: Page) -> None:
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & {
        tag for tag, _ in whole.elements
    }
    assert not [key for _, attrs in whole.elements for key in attrs if key.startswith("on") or key == "src"]
    assert {value[0] for value in whole.values("href")} == {"#"}
    assert not re.search(r"url\(\s*['\"]?[^#'\"]|@import|https?://|javascript:", whole.source)


def test_ids_are_unique_and_every_link_leads_somewhere(whole: Page) -> None:
    ids = whole.values("id")
    assert len(ids) == len(set(ids))
    wanted = {value[1:] for value in whole.values("href")} | set(re.findall(r"url\(#([^)]+)\)", whole.source))
    wanted |= {id_ for value in whole.values("aria-labelledby") for id_ in value.split()}
    assert wanted <= set(ids)


def test_every_element_is_closed(whole: Page) -> None:
    assert whole.open == []


def test_a_hundred_results_stay_under_one_and_a_half_megabytes(tmp_path: Path) -> None:
    kept = (catalogue() * 3)[:100]
    page = write_page(write(tmp_path / "b", kept))
    assert page.stat().st_size < 1_500_000


def test_text_is_readable_on_its_background_in_light_and_in_dark() -> None:
    """WCAG 2 asks for a contrast of 4.5 to 1."""
    css = (Path(__file__).parents[2] / "reports" / "templates" / "page.css").read_text(encoding="utf-8")
    schemes = [
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6});", block))
        for block in re.findall(r":root \{(.*?)\}", css, re.S)
    ]
    assert len(schemes) == 3
    for scheme in schemes:
        for ink, papers in {
            "ink": ("paper", "card", "good-soft", "bad-soft", "open-soft"),
            "muted": ("paper", "card"),
            "link": ("paper",),
            "good": ("paper", "good-soft"),
            "bad": ("paper", "card", "bad-soft"),
            "open": ("paper", "open-soft"),
            "warm": ("paper",),
            "cool": ("paper",),
        }.items():
            for paper in papers:
                assert contrast(scheme[ink], scheme[paper]) >= 4.5, (ink, paper, scheme[ink], scheme[paper])


def contrast(one: str, other: str) -> float:
    lights = sorted((luminance(one), luminance(other)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(c * 2 for c in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


# --- what a system says is data ------------------------------------------------------------------------------------

HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>' onload='x",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt; &amp;",
    "\u202eevil\u2066 \u2069\u200f\x00\x1b[31m",
    "שלום عالم",
    "lone \ud800 surrogate",
    "x" * 5000,
    "$\\frac{a}{b}$ 漢字 _a",
]


def hostile(text: str) -> list[dict[str, Any]]:
    """A bundle in which everything a system can influence is `text`."""
    operations = [
        operation(1, text, "claim", 1.0, 2.0, jobs=[text, 1], requested=2),
        operation(2, "w1", text, 1.5, None, outcome="info", jobs=[text], error={"class": text, "message": text}),
    ]
    facts = {
        "job": text,
        "holder": text,
        "taker": "w1",
        "apart_ns": 5,
        "finished_before": False,
        "operations": [1, 2],
        text: text,
    }
    race = broken(
        result(text), "no-double-claim", 2, [facts, facts], operations, story=text, reasons=[text], doubts=[text]
    )
    race = broken(race, text, 1, [{"operations": [1], text: text}], [])
    race["processes"][0]["process"] = text
    race["commands"] = {"again": text}
    race["evidence"] = [{"name": text, "present": False, "reason": text, "remedy": text}]
    race["durability"] = {text: text}
    race["coverage"] = {text: 3, "operations": 4, "control": text}
    race["measurements"] = {**race["measurements"], text: {"value": 1.5, "unit": text}}
    batch = batches(text, "sqlite", 0.0, 1.0, timed=True)
    batch["series"]["times"] = [{**t, "baseline": text} for t in batch["series"]["times"]]
    return [race, hostile_exploration(text), batch, n_plus_1(text, "sqlite"), *hostile_beyond_claiming(text)]


def hostile_exploration(text: str) -> Json:
    """An exploration in which every word of a step, of an answer, and every name of a worker is `text`."""
    answers = [[[text, "ok", [text, 1], None, ""]], [["claim", text, [], None, text], ["claim", "ok", [], text, ""]]]
    afterwards = [[text, "ok", [text], {text: text}, ""]]
    otherwise = [{"schedule": 4, "expected": text, "got": text}]
    found = explored_double_claim(
        text,
        schedule={
            "same": 7,
            "diverged": otherwise,
            "workers": [text, f"{text}1"],
            "steps": [
                step(0, text, ended(0, text, text), ended(1, text, text, connection=2, sql=text)),
                step(1, f"2: {text}", blocked_by=[text, "w1"]),
                step(1, "claim", forced=True),
            ],
            "answers": [*answers, afterwards],
        },
    )
    outcome = [{"answers": answers, "schedules": 3}]
    found["series"]["exploration"] = [exploration(outcomes=outcome, diverged=otherwise, divergences=9)]
    found["findings"][0]["replay"] = text
    found["operations"][0] |= {"process": text, "kind": text, "jobs": [text]}
    found["findings"][0]["evidence"][0] |= {"job": text, "holder": "w1", "taker": text}
    return found


def hostile_beyond_claiming(text: str) -> list[dict[str, Any]]:
    """The later scenarios of a system whose every word is `text`, and one of a scenario and a database that are."""
    facts = {
        "write-budget": {"process": text, "jobs": 2, "writes": 90, "writes_per_job": 45.0},
        "progress-fresh": {"process": text, "job": text, "worker": text, "told": 1, "behind_ns": 5, "allowed_ns": 5},
        "delete-exact": {"process": text, "requested": 5, "error": text, "wrong": "it was refused"},
    }
    told = progress(text, "sqlite", 4.0, quantiles(0, 490), verdict="fail")
    for invariant, each in facts.items():
        told = broken(told, invariant, 1, [{**each, "operations": [1]}], [])
    counted = batches(text, text, 0.0, 1.0, scenario=text)
    counted["series"]["left_out"] = [{"latency_ms": 0, "batch": 9, "reason": text}]
    harmed = recovered(text, text, faults=[(text, [text, "w1"], 0.08, 1.21), (text, None, 2.0, None)], semantics=text)
    for each in (*harmed["series"]["holds"], *harmed["series"]["recoveries"]):
        each |= {"worker": text, "job": text}
    harmed["series"]["recoveries"][0] |= {"fault": text, "next_worker": text}
    harmed["series"]["not_planned"] = [{"fault": text, "reason": text}]
    return [
        told,
        harmed,
        pool(text, "sqlite", [0, 8, 1], 50.0, 3, verdict="inconclusive"),
        churn(text, "sqlite", 16.0, 5.0),
        batches(text, "sqlite", 0.0, 1.0, scenario="bulk-delete", acquired=True, timed=True, baseline=text),
        counted,
        pool(text, text, [0, 8, 1], 50.0),
    ]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:24])
def test_what_a_system_says_is_text_and_nothing_else(tmp_path: Path, text: str) -> None:
    page = page_of(tmp_path / "b", hostile(text), "fail", doubts=[text], argv=["run", text], machine={text: text})
    assert page.open == []
    assert not {"script", "img", "b"} & {tag for tag, _ in page.elements}
    assert not [key for _, attrs in page.elements for key in attrs if key.startswith("on") or key == "src"]
    assert len(page.values("id")) == len(set(page.values("id")))
    assert len(page.source) < 1_000_000
    assert not set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\x00\x1b") & set(page.source)
    shown = [word for word in page.words if text[:12] in word or "⟨U+" in word or "evil" in word]
    assert shown


def test_a_name_with_dollars_is_drawn_as_it_is_and_not_as_a_formula(tmp_path: Path) -> None:
    timed = batches(r"$\frac{a}{b}$", "sqlite", 0.0, 1.0, timed=True)
    assert r">$\frac{a}{b}$</text>" in page_of(tmp_path / "b", [timed]).source


def test_foreign_text_is_isolated_from_the_direction_of_the_text_around_it(tmp_path: Path) -> None:
    pages = [
        page_of(tmp_path / name, hostile("שלום")[:n], "fail", doubts=["שלום"]) for name, n in (("one", 1), ("all", 4))
    ]
    places = [within for page in pages for text, within in page.places if "שלום" in text]
    assert len(places) > 50
    assert not [within for within in places if "bdi" not in within and "svg" not in within]


# --- where it is written -------------------------------------------------------------------------------------------


def test_the_page_goes_into_the_bundle_or_where_it_is_asked_for(tmp_path: Path) -> None:
    folder = write(tmp_path / "b", [result("mine.py:Queue")])
    assert write_page(folder) == folder / "report.html"
    assert write_page(folder, tmp_path / "mine.html") == tmp_path / "mine.html"
    assert (tmp_path / "mine.html").read_bytes() == (folder / "report.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "mine.html"]


def test_a_page_that_cannot_be_written_is_said_in_one_sentence(tmp_path: Path) -> None:
    folder = write(tmp_path / "b", [result("mine.py:Queue")])
    with pytest.raises(OutputUnwritable, match=r"nowhere.*--out"):
        write_page(folder, tmp_path / "nowhere" / "page.html")


def test_a_full_disk_leaves_the_page_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "b", [result("mine.py:Queue")])
    before = write_page(folder).read_bytes()

    def fill_up(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:100])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", fill_up)
    with pytest.raises(OutputUnwritable, match="No space left on device"):
        write_page(folder)
    assert (folder / "report.html").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["bundle.json", "report.html", "results", "results.json"]


# --- in a browser --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[chromium.Browser]:
    with chromium.started() as browser:
        yield browser


@pytest.mark.skipif(chromium.FOUND is None, reason="needs Chromium to lay the page out")
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("content", ["default run", "endless words"])
def test_the_page_never_scrolls_sideways(
    whole: Page, browser: chromium.Browser, tmp_path: Path, width: int, content: str
) -> None:
    """The page is laid out in a frame of that width; every fold is opened, so that what it hides is measured too."""
    page = whole if content == "default run" else page_of(tmp_path / "b", hostile("W" * 400))
    seen = browser.look_at(page.source, width)
    assert seen.elements > 500
    assert seen.width == seen.scrolls <= width
    assert seen.unseen == 0, "text that was meant to be read has no width"
