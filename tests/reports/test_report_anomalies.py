"""The anomaly matrix: what the schedules of each system showed on each database."""

from __future__ import annotations

from pathlib import Path

from synthetic_bundle import exploration, explored, explored_double_claim, result, write
from test_page import page_of

from reports.anomalies import anomalies, markdown
from reports.saved import load


def finding(invariant: str, schedules: int) -> dict[str, object]:
    return {"invariant": invariant, "count": 30, "schedules": schedules, "evidence": [], "replay": "contend replay x"}


def test_a_matrix_says_of_each_system_and_database_what_came_in_how_many_schedules(tmp_path: Path) -> None:
    wrong = explored(
        "b:Wrong", findings=[finding("no-false-empty", 2), finding("no-double-claim", 9), finding("mine", 1)]
    )
    more = {"coverage": {"schedules": 1300, "exhausted": False}, "series": {"exploration": [exploration(
        schedules=1200, waited=7, random=[{"depth": 2, "schedules": 100, "found_with": 0.5}])]}}  # fmt: skip
    write(
        tmp_path / "b",
        [explored("a:Right"), wrong, explored("a:Right", "postgres", **more), result("a:Right", "postgres")],
    )
    (matrix,) = anomalies(load(tmp_path / "b").results)
    assert (matrix.scenario, matrix.databases) == ("claim-race", ("sqlite", "postgres"))
    told = {system: [cell and cell.words for cell in cells] for system, cells in matrix.rows}
    assert told == {
        "a:Right": ["clean, 10 schedules", "clean, 1,300 schedules, not all tried, waits in 7"],
        "b:Wrong": ["double in 9, false empty in 2, mine in 1 of 10 schedules", None],
    }
    assert markdown(matrix).splitlines() == [
        "|  | SQLite | Postgres |",
        "|---|---|---|",
        "| `a:Right` | clean, 10 schedules | clean, 1,300 schedules, not all tried, waits in 7 |",
        "| `b:Wrong` | double in 9, false empty in 2, mine in 1 of 10 schedules |  |",
    ]


def test_what_was_explored_on_one_database_alone_is_no_matrix(tmp_path: Path) -> None:
    write(tmp_path / "b", [explored("a:Right"), explored_double_claim("b:Wrong"), result("c:Raced", "postgres")])
    assert anomalies(load(tmp_path / "b").results) == []


def test_the_page_has_the_matrix_in_words_and_not_by_colour_alone(tmp_path: Path) -> None:
    both = [explored("a:Right"), explored("a:Right", "postgres-serializable", findings=[finding("lock-errors", 3)])]
    page = page_of(tmp_path / "b", both)
    assert "What can go wrong, by isolation level" in page.text
    assert "✓ clean, 10 schedules" in page.text
    assert "✗ errors in 3 of 10 schedules" in page.text
    assert "Postgres, SERIALIZABLE" in page.text
