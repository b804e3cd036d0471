"""Several runs on one page: what changed between two, and the history of many; from bundles that were really run."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Once
from synthetic_bundle import Json, batches, result, write
from test_page import Page

import contend
from contend.cli import run_command_line
from harness.errors import BundleUnreadable
from reports.difference import write_difference
from reports.history import MOST_RUNS, write_history

Change = Callable[[Json], object]


@pytest.fixture(scope="module")
def raced(once: Once) -> Path:
    """A real run: a race of the reference queue on SQLite, and its control."""

    def make(folder: Path) -> None:
        contend.race(
            "reference:update-returning", scenario="claim-batch", workers=1, jobs=60, batch=20, seed=7, out=folder
        ).assert_passed()

    return (once("report-runs", make) / "latest").resolve()


def changed(bundle: Path, to: Path, change: Change = lambda _: None, **about: Any) -> Path:
    """A copy of a bundle with the change made to every result of the system that was asked for."""
    shutil.copytree(bundle, to)
    for path in sorted(to.glob("results/*/result.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["system"] == "reference:update-returning":
            change(document)
        path.write_text(json.dumps(document), encoding="utf-8")
    head = json.loads((to / "bundle.json").read_text(encoding="utf-8"))
    (to / "bundle.json").write_text(json.dumps({**head, **about}), encoding="utf-8")
    return to


def between(before: Path, after: Path) -> str:
    return Page(write_difference(before, after).read_text(encoding="utf-8")).text


def fail(document: Json) -> None:
    document["verdict"], document["reasons"] = "fail", ["no-lost-job: 3 found"]
    for judgement in document["judgements"]:
        if judgement["invariant"] == "no-double-claim":
            judgement.update(state="broken", count=3)


def become_n_plus_1(document: Json) -> None:
    document["measurements"]["statements_per_job"]["value"] = 1.0
    for count in document["series"]["counts"]:
        count["statements"] = count["batch"] + 1.0


# --- two runs ------------------------------------------------------------------------------------------------------


def test_a_run_beside_itself_has_not_changed(raced: Path, tmp_path: Path) -> None:
    told = between(raced, changed(raced, tmp_path / "again"))
    assert "✓ No change 2 cases stand as before" in told  # the control is one
    assert "Machine, versions and settings are the same in both." in told
    assert "worse" not in told


def test_a_verdict_that_turned_is_said_first_with_what_broke(raced: Path, tmp_path: Path) -> None:
    told = between(raced, changed(raced, tmp_path / "after", fail))
    assert "✗ Worse Changed: 1 verdict or finding (1 for the worse)." in told
    assert "▲ worse update-returning claim-batch on SQLite: pass → fail (now broken: no-double-claim)" in told
    back = between(tmp_path / "after", raced)
    assert "✓ Better" in back
    assert "▼ better update-returning claim-batch on SQLite: fail → pass (no longer broken: no-double-claim)" in back


def test_a_count_that_turned_n_plus_1_is_for_the_worse_on_any_machine(raced: Path, tmp_path: Path) -> None:
    after = changed(raced, tmp_path / "after", become_n_plus_1, machine={"cpu": "Another", "cores": 64})
    told = between(raced, after)
    assert "✗ Worse" in told
    assert "statements per job ▲ worse 0 1 +1" in told
    assert re.search(r"statements of a round of \d+ ▲ worse 1 \d+ × \d+", told)
    assert "machine: cpu" in told


def test_times_of_different_machines_are_never_set_side_by_side(raced: Path, tmp_path: Path) -> None:
    slower = changed(raced, tmp_path / "same", lambda d: d["measurements"]["claim_ms_p99"].update(value=98765.0))
    assert "98,765" in between(raced, slower)
    for name, machine in (("other", {"cpu": "Another", "cores": 64}), ("unsaid", {})):
        elsewhere = changed(slower, tmp_path / name, machine=machine)
        told = between(raced, elsewhere)
        assert "Times are not compared: the runs were not made on the same machine, or do not say on which." in told
        assert "98,765" not in told


def test_times_of_a_failing_run_are_not_compared(raced: Path, tmp_path: Path) -> None:
    after = changed(raced, tmp_path / "after", fail)
    assert "claim ms p99" not in between(raced, after)


def test_cases_that_came_or_went_are_told_and_are_neither_better_nor_worse(raced: Path, tmp_path: Path) -> None:
    after = changed(raced, tmp_path / "after", lambda d: d.update(system="reference:immediate-batch"))
    told = between(raced, after)
    assert "? Different" in told
    assert "update-returning claim-batch on SQLite: pass → not run" in told
    assert "immediate-batch claim-batch on SQLite: not run → pass" in told
    assert "▲ worse" not in told


def test_ratios_are_told_only_where_their_intervals_do_not_meet(tmp_path: Path) -> None:
    before, after = batches("a", "postgres", 0.0, 1.0, timed=True), batches("a", "postgres", 0.0, 1.0, timed=True)
    after["series"]["times"][0]["ratio"] = {"median": 0.1, "low": 0.09, "high": 0.11, "pairs": 5}
    after["series"]["times"][1]["ratio"]["median"] *= 1.01
    told = between(write(tmp_path / "a", [before]), write(tmp_path / "b", [after]))
    assert told.count("times as quick as select-then-update") == 1
    assert (
        "times as quick as select-then-update, 1 at 0 ms of network ▲ worse 0.51 [0.47, 0.56] 0.10 [0.09, 0.11]" in told
    )
    assert "? Different" in told


def test_a_race_may_vary_a_little(tmp_path: Path) -> None:
    def race(statements: float) -> Json:
        one = result("a")
        one["measurements"]["statements_per_claim"]["value"] = statements
        return one

    first = write(tmp_path / "a", [race(4.0)])
    assert "✓ No change" in between(first, write(tmp_path / "b", [race(4.3)]))
    told = between(first, write(tmp_path / "c", [race(6.0)]))
    assert "? Different" in told
    assert "statements per claim of a race: some of it is chance ▲ worse 4 6 +50 %" in told.replace("\u00a0", " ")


def test_races_that_were_asked_for_otherwise_are_not_measured_against_each_other(raced: Path, tmp_path: Path) -> None:
    def other(document: Json) -> None:
        document["load"]["workers"] = 5
        document["measurements"]["statements_per_claim"]["value"] = 7777.0
        document["measurements"]["claim_ms_p99"]["value"] = 98765.0

    told = between(raced, changed(raced, tmp_path / "after", other))
    assert "claim-batch: workers 1 5" in told
    assert "7,777" not in told
    assert "98,765" not in told


# --- many runs -----------------------------------------------------------------------------------------------------


@pytest.fixture
def several(raced: Path, tmp_path: Path) -> Path:
    """A folder of runs: two alike, one that fails, one that is damaged, and what only points to one."""
    folder = tmp_path / "runs"
    folder.mkdir()
    changed(raced, folder / "one", created="2026-11-01T10:00:00+00:00")
    changed(raced, folder / "two", become_n_plus_1, created="2026-11-02T10:00:00+00:00")
    changed(raced, folder / "three", fail, created="2026-11-03T10:00:00+00:00")
    changed(raced, folder / "cut", created="2026-11-04T10:00:00+00:00")
    (folder / "cut" / "results.json").write_text("{")
    (folder / "latest").symlink_to("three")
    (folder / "notes").mkdir()
    return folder


def test_a_folder_gives_the_history_of_each_case_with_its_count_as_a_small_line(several: Path) -> None:
    page = Page(write_history(several).read_text(encoding="utf-8"))
    assert "1 case of" in page.text
    assert "changed over 3 runs." in page.text
    assert "▲ worse update-returning claim-batch on SQLite: pass → fail in three" in page.text
    assert re.search(r"update-returning 0 statements per job ✓ pass ✓ pass ✗ fail", page.text)
    said = [attrs["aria-label"] for tag, attrs in page.elements if tag == "svg"]
    assert "statements per job: 0 at first, 0 at last, from 0 to 1" in said
    assert "cut: …/cut/results.json is damaged" in page.text
    assert "notes" not in page.text
    assert page.open == []


def test_the_order_is_that_of_time_and_only_the_newest_are_shown(raced: Path, tmp_path: Path) -> None:
    for n in range(MOST_RUNS + 3):
        write(tmp_path / f"{99 - n}", [result("a")], created=f"2026-11-01T10:{n:02d}:00Z")
    page = Page(write_history(tmp_path).read_text(encoding="utf-8"))
    assert "3 older runs are not shown." in page.text
    assert "The newest run is 67" in page.text
    assert "2026-11-01 10:03 2026-11-01 10:04" in page.text


def test_a_hundred_cases_over_thirty_runs_stay_small(tmp_path: Path) -> None:
    for n in range(30):
        write(tmp_path / f"{n:02d}", [result(f"queue-{i}") for i in range(100)])
    assert write_history(tmp_path).stat().st_size < 1_500_000


def test_the_same_bundles_give_the_same_bytes(several: Path, raced: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "runs"
    shutil.copytree(several, copy, symlinks=True)
    assert write_history(copy).read_bytes() == write_history(several).read_bytes()
    first = write_difference(several / "one", several / "three").read_bytes()
    assert write_difference(copy / "one", copy / "three").read_bytes() == first


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["one"], "one/report.html"),
        (["one", "three"], "three/comparison.html"),
        (["one", "two", "three"], "three/history.html"),
        (["."], "history.html"),
        (["latest"], "latest/report.html"),
        (["one", "three", "--out", "mine.html"], "mine.html"),
        ([".", "--out", "mine.html"], "mine.html"),
    ],
)
def test_the_command_writes_the_page_that_fits_what_it_was_given(
    several: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: list[str], expected: str
) -> None:
    monkeypatch.chdir(several)
    assert run_command_line(["report", *given]) == 0
    (written,) = capsys.readouterr().out.split()
    assert Path(written) == Path(expected)
    assert Path(written).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["nowhere"], "There is no bundle at nowhere"),
        (["notes"], "notes is not a bundle"),
        (["one", "notes"], "notes is not a bundle"),
        (["one", "cut"], "results.json is damaged"),
        (["one", "two", "--out", "no/where.html"], "Cannot write no"),
        ([], "Missing argument"),
    ],
)
def test_what_is_no_bundle_is_said_in_one_sentence(
    several: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: list[str], message: str
) -> None:
    monkeypatch.chdir(several)
    assert run_command_line(["report", *given]) == 254
    said = capsys.readouterr().err
    assert message in said
    assert len(said.strip().splitlines()) == 1


def test_a_folder_whose_bundles_are_all_damaged_is_refused(several: Path) -> None:
    for name in ("one", "two", "three"):
        (several / name / "results.json").write_text("{")
    with pytest.raises(BundleUnreadable, match="no bundle that can be read"):
        write_history(several)
