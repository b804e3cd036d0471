"""The zoo: every defect is provoked and caught, and the right ways of doing the same are left in peace."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from contend.campaign import Campaign, Request, execute, plan
from reference_impl.defects import DEFECTS
from reports.saved import load
from reports.zoo import clean, kills, markdown
from scenarios.explorations import EXPLORATIONS
from scenarios.zoo import PROVOCATIONS

FEW = ("select-then-update", "rescue-finished", "claimed-not-running", "unique-check-then-insert", "rowid-reuse")


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


def test_a_few_of_the_zoo_are_caught_and_shown(tmp_path: Path) -> None:
    campaign = run(["sqlite"], tmp_path, *FEW)
    assert [result.case.subject.name for result in campaign.results] == [f"defect:{name}" for name in FEW]
    assert not missed(campaign)
    saved = load(tmp_path / "latest")
    assert [(kill.defect, kill.expected, kill.caught) for kill in kills(saved.results)] == [
        ("select-then-update", "no-double-claim", True),
        ("rescue-finished", "terminal-once", True),
        ("claimed-not-running", "no-lost-job", True),
        ("unique-check-then-insert", "no-phantom-claim", True),
        ("rowid-reuse", "delete-exact", True),
    ]
    assert clean(saved.results) == (0, 0)
    matrix = markdown(kills(saved.results))
    assert "| `rescue-finished` | SQLite | claim-recovery, explored | `terminal-once` | caught |" in matrix
    assert " | River#1302, solid_queue#589, rq#2424 |\n" in matrix
    page = (tmp_path / "latest" / "report.html").read_text(encoding="utf-8")
    assert "5 of 5 caught" in page
    assert "Seen in" in page
    assert "deltachat-core#641" in page


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
