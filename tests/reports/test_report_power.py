"""Which way detects which defect: what was measured, as cells of the kill matrix; and how races of an exploration are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from synthetic_bundle import exploration, explored, result, write
from test_page import page_of

from harness.errors import BundleUnreadable
from reports import power, wording
from reports.anomalies import anomalies
from reports.saved import load
from reports.zoo import kills, markdown

Json = dict[str, Any]
HELD = "somebody still holds a lock: who?"


def shot(seconds: float = 1.0, verdict: str = "pass", *, found: bool = False, **more: Any) -> Json:
    return {"found": found, "seconds": seconds, "verdict": "fail" if found else verdict, "broken": {}, **more}


def measured() -> Json:
    """One defect that only an order shows, one that only faults show, one that is raced only, one that cannot be explored."""
    double = {"no-double-claim": 3, "lock-errors": 7}
    return {
        "defects": {
            "a/sqlite": {
                "defect": "a", "database": "sqlite", "expected": "no-double-claim", "mode": "explore",
                "provoked": [shot(1.26, found=True), shot(4.04, found=True), shot(0.9)],
                "race": shot(found=True, broken=double, raced=60, schedules=60),
                "explore": shot(found=True, schedules=10),
                "crash": shot(schedules=1203, exhausted=False),
                "faults": shot(),
            },
            "b/postgres": {
                "defect": "b", "database": "postgres", "expected": "no-lost-job", "mode": "explore",
                "provoked": [shot(found=True)],
                "race": shot(raced=60, schedules=60),
                "explore": shot(schedules=1, exhausted=True),
                "crash": shot(found=True, schedules=1),
                "faults": shot(found=True),
            },
            "c/sqlite": {
                "defect": "c", "database": "sqlite", "expected": "delete-exact", "mode": "race",
                "provoked": [shot(found=True)] * 2,
                "race": {"reason": "c is raced only"}, "explore": {"reason": "c is raced only"},
                "crash": shot(verdict="inconclusive", problem=HELD),
            },
        },
        "right": [
            {"system": "r:A", "database": "sqlite", **shot()},
            {"system": "r:B", "database": "sqlite", **shot(found=True)},
            {"system": "r:A", "database": "sqlite", **shot(verdict="inconclusive", problem="budget")},
        ],
    }  # fmt: skip  # a table


def test_each_way_has_its_cell_and_what_has_no_figure_a_footnote() -> None:
    read = power.read(measured())
    assert read.cells("a", "sqlite") == [
        "2 of 3", "4.0 s", "3 of 60", "found, 10 schedules", "none in 1,203 schedules", "not found",
    ]  # fmt: skip
    assert read.cells("b", "postgres") == [
        "1 of 1", "1.0 s", "0 of 60", "none in the only schedule", "found, 1 schedule", "found",
    ]  # fmt: skip
    assert read.cells("c", "sqlite") == ["2 of 2", "1.0 s", "2 of 2<sup>1</sup>", "–<sup>2</sup>", "?<sup>3</sup>", "–"]
    assert read.cells("d", "sqlite") == ["–"] * 6
    assert read.footnotes().splitlines() == [
        "<sup>1</sup> Races of the whole scenario, as it is provoked.", "",
        "<sup>2</sup> c is raced only.", "",
        f"<sup>3</sup> {HELD}", "",
        "The right ones, through the same provocations: findings in 1 of 3 runs (r:B on sqlite); 1 inconclusive.",
    ]  # fmt: skip


def test_the_matrix_gets_the_columns(tmp_path: Path) -> None:
    caught: Json = {"expected": "no-double-claim", "role": "control", "right": False}
    write(tmp_path / "b", [explored("defect:a", **caught)])
    rows = kills(load(tmp_path / "b").results)
    head, rule, row = markdown(rows, power.read(measured())).splitlines()
    assert head.endswith(
        "| found besides | seen in | caught | longest | raced alone | explored | with crashes | raced with faults |"
    )
    assert rule.count("---|") == head.count("|") - 1 == row.count("|") - 1
    assert row.endswith("| 2 of 3 | 4.0 s | 3 of 60 | found, 10 schedules | none in 1,203 schedules | not found |")
    assert "longest" not in markdown(rows)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"right": [], "defects": {"a": {}}}', '{"right": [1], "defects": {}}']
)
def test_a_file_that_is_no_measurement_is_named(text: str, tmp_path: Path) -> None:
    file = tmp_path / "power.json"
    file.write_text(text)
    with pytest.raises(BundleUnreadable, match=r"power\.json"):
        power.load(file)
    with pytest.raises(BundleUnreadable, match="nowhere"):
        power.load(tmp_path / "nowhere")


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    (tmp_path / "power.json").write_text(json.dumps(measured()))
    assert power.load(tmp_path / "power.json").rows == power.read(measured()).rows


def raced(system: str, database: str = "sqlite", **more: Any) -> Json:
    covered = {"workers": 2, "claims": 120, "operations": 400, "schedules": 60, "raced": 60, "exhausted": False}
    series = {"exploration": [exploration(schedules=60, raced=60, waited=None, stands_for=None)]}
    return explored(system, database, coverage={**covered, "control": "caught"}, series=series, **more)


def test_races_are_told_as_races_and_never_as_schedules_that_were_chosen(tmp_path: Path) -> None:
    page = page_of(tmp_path / "b", [raced("a:Right"), explored("b:Right")])
    run = load(tmp_path / "b")
    let_loose, put_in_order = run.results
    assert wording.coverage(let_loose) == (
        "60 races of the same operations, in whatever order came; 2 workers, 120 claims, 400 operations, control caught"
    )
    assert (wording.tally(let_loose), wording.tally(put_in_order)) == ("60 races", "10 schedules")
    assert (let_loose.explored, put_in_order.explored, result("c:Raced")["mode"]) == (False, True, "race")
    assert page.text.count("schedules tried in order") == 1
    assert [kill.after for kill in kills([let_loose])] == []


def test_the_zoo_says_after_how_many_races(tmp_path: Path) -> None:
    write(tmp_path / "b", [raced("defect:a", expected="no-double-claim", role="control", right=False)])
    assert [kill.after for kill in kills(load(tmp_path / "b").results)] == ["60 races"]


def test_races_are_in_no_matrix_of_anomalies(tmp_path: Path) -> None:
    write(tmp_path / "b", [raced("a:Right"), raced("a:Right", "postgres")])
    assert anomalies(load(tmp_path / "b").results) == []
