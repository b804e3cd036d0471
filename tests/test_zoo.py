"""The zoo: every defect is provoked and caught, and the right ways of doing the same are left in peace."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from contend.campaign import Campaign, Request, execute, machine, plan
from harness.bundle import Bundle
from harness.run import context_of
from harness.witnesses.unwatched import Unwatched
from reference_impl.defects import DEFECTS
from reports.saved import load
from reports.zoo import clean, kills, markdown
from scenarios.explorations import EXPLORATIONS
from scenarios.zoo import PROVOCATIONS

FEW = (
    "select-then-update",
    "rescue-finished",
    "claimed-not-running",
    "startup-steals",
    "unique-check-then-insert",
    "rowid-reuse",
)


def run(databases: Sequence[str], out: Path, *defects: str) -> Campaign:
    systems = tuple(f"defect:{name}" for name in defects)
    return execute(Request(("zoo",), systems, tuple(databases), seed=1, out=out))[0]


def missed(campaign: Campaign) -> list[tuple[str, str, str | None]]:
    """The defects that were not caught by the invariant that must, and the right ones that did not pass."""
    found = []
    for result in campaign.results:
        expected = result.case.subject.expected(result.case.scenario)
        broken = [finding["invariant"] for finding in result.document["findings"]]
        if expected not in broken if expected else result.verdict != "pass":
            found.append((result.case.subject.name, result.case.engine, expected))
    return found


def test_every_defect_is_provoked_in_a_scenario_that_catches_it() -> None:
    assert set(PROVOCATIONS) == set(DEFECTS)
    for name, provocation in PROVOCATIONS.items():
        assert provocation.scenario in DEFECTS[name].caught_by, name
        assert provocation.mode == "race" or provocation.scenario in EXPLORATIONS, name


def test_the_zoo_takes_a_database_as_every_other_run_does() -> None:
    cases = plan(Request(("zoo",), (), ("sqlite-rollback",), seed=1)).cases
    assert {case.load.options.get("journal_mode") for case in cases} == {"delete"}
    right = [case.subject.name for case in cases if case.role == "subject"]
    assert len(right) == len(
        {
            (case.subject.name, case.scenario.name, case.scenario.mode, repr(case.load))
            for case in cases
            if case.role == "subject"
        }
    )
    assert right


def test_every_right_way_is_known_to_be_right_and_goes_through_the_same() -> None:
    for database in ("sqlite", "postgres"):
        cases = plan(Request(("zoo",), (), (database,), seed=1)).cases
        for name, provocation in PROVOCATIONS.items():
            right = provocation.right(database)
            found = [case for case in cases if case.subject.name == f"defect:{name}"]
            if not found or right is None:
                continue
            twins = [case for case in cases if case.subject.name == right and case.scenario is found[0].scenario]
            assert any(case.load == found[0].load for case in twins), name
            assert all(case.subject.known and not case.subject.caught_by for case in twins), name


def test_a_right_way_of_its_own_has_its_defect_s_circumstances_and_is_shown_in_the_zoo_alone() -> None:
    for name, defect in DEFECTS.items():
        assert PROVOCATIONS[name].beside == (f"reference:{name}" if defect.right else "")
        for database, right in defect.right.items():
            assert issubclass(defect.systems[database], right)
    names = {case.subject.name for case in plan(Request(profile="full", seed=1)).cases}
    assert not names & {f"reference:{name}" for name, defect in DEFECTS.items() if defect.right}


@pytest.mark.parametrize("asked", [0, -1, True, "2", 2.0, 2**63, None])
def test_a_number_of_attempts_that_is_none_allows_any_number(asked: object) -> None:
    case = plan(Request(("zoo",), ("defect:poison-uncapped",), ("sqlite",), seed=1)).cases[0]
    assert context_of(case, Unwatched())["max_attempts"] == 1
    other = replace(case, load=replace(case.load, options={"max_attempts": asked}))
    assert context_of(other, Unwatched())["max_attempts"] is None


def test_a_job_has_as_many_attempts_as_the_run_allows_and_the_right_way_holds_to_it(tmp_path: Path) -> None:
    campaign = plan(Request(("zoo",), (), ("sqlite",), seed=1, out=tmp_path))
    campaign.cases = [case for case in campaign.cases if case.load.options.get("max_attempts") == 1]
    names = ["defect:poison-uncapped", "reference:immediate-batch"]
    assert [case.subject.name for case in campaign.cases] == names
    with_header = {"contend": "", "created": "", "argv": [], "seed": 1, "profile": "quick", "planned": 2}
    campaign.carry_out(Bundle.create(tmp_path, {**with_header, "machine": machine()}))
    assert not missed(campaign)
    assert [result.case.subject.name for result in campaign.results] == names
    assert not campaign.controls  # the defect itself was the control


def test_a_few_of_the_zoo_are_caught_and_shown(tmp_path: Path) -> None:
    campaign = run(["sqlite"], tmp_path, *FEW)
    assert [result.case.subject.name for result in campaign.results] == [f"defect:{name}" for name in FEW]
    assert not missed(campaign)
    saved = load(tmp_path / "latest")
    assert [(kill.defect, kill.expected, kill.caught) for kill in kills(saved.results)] == [
        ("select-then-update", "no-double-claim", True),
        ("rescue-finished", "terminal-once", True),
        ("claimed-not-running", "no-lost-job", True),
        ("startup-steals", "single-owner", True),
        ("unique-check-then-insert", "no-phantom-claim", True),
        ("rowid-reuse", "delete-exact", True),
    ]
    assert clean(saved.results) == (0, 0)
    matrix = markdown(kills(saved.results))
    assert "| `rescue-finished` | SQLite | claim-recovery, explored | `terminal-once` | caught |" in matrix
    assert " | River#1302, solid_queue#589, rq#2424 |\n" in matrix
    page = (tmp_path / "latest" / "report.html").read_text(encoding="utf-8")
    assert "6 of 6 caught" in page
    assert "Seen in" in page
    assert "deltachat-core#641" in page


def test_a_value_that_is_lost_when_its_job_fails_is_caught(tmp_path: Path) -> None:
    campaign = run(["sqlite", "postgres"], tmp_path, "progress-lost-final")
    assert len(campaign.results) == 2
    assert not missed(campaign)


@pytest.mark.full
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_all_of_the_zoo_is_caught_and_the_right_ones_pass(database: str, tmp_path: Path) -> None:
    campaign = run([database], tmp_path)
    assert not missed(campaign)
    here = {name for name, defect in DEFECTS.items() if database in defect.systems}
    assert {result.case.subject.name for result in campaign.results} >= {f"defect:{name}" for name in here}
    done = subprocess.run(
        [sys.executable, "-m", "reports.zoo", tmp_path / "latest"], capture_output=True, text=True, check=True
    )
    assert f"{len(here)} of {len(here)} caught" in done.stdout
