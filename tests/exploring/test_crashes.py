"""`--crash`: at each statement boundary of each worker a kill or a cut, then recovery by a clock that was moved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from test_explore import broken, contend, explore

QUEUES = Path(__file__).with_name("leased_queues.py")
Json = dict[str, Any]


def crash(system: str, *words: object, cwd: Path, scenario: str = "claim-race") -> tuple[int, Json, str]:
    system = system if ":" in system else f"{QUEUES}:{system}"
    return explore(system, "--crash", "--batch", 1, *words, cwd=cwd, scenario=scenario)


@pytest.mark.parametrize(
    ("system", "database", "points"),
    [
        ("reference:immediate-batch", "sqlite", 6),
        ("reference:skip-locked-cte", "postgres", 8),
        ("Leased", "sqlite", 2),
        ("BySqlite", "sqlite", 6),
        ("ByOwnClock", "sqlite", 2),
        ("Declared", "sqlite", 2),
    ],
)
def test_what_recovers_passes_and_every_boundary_was_tried(
    system: str, database: str, points: int, tmp_path: Path
) -> None:
    status, result, said = crash(system, "--database", database, cwd=tmp_path)
    assert (status, result["verdict"], result["reasons"]) == (0, "pass", []), said
    assert result["coverage"]["exhausted"]
    assert result["coverage"]["crash_points"] == points


@pytest.mark.parametrize(
    ("system", "database", "invariant"),
    [
        ("Forgetful", "sqlite", "no-lost-job"),
        ("Popping", "sqlite", "no-lost-job"),
        ("Unseen", "sqlite", "no-lost-job"),
        pytest.param("reference:select-then-update", "postgres", "no-double-claim", marks=pytest.mark.full),
    ],
)
def test_what_does_not_recover_is_found_and_replayed(
    system: str, database: str, invariant: str, tmp_path: Path
) -> None:
    status, result, said = crash(system, "--database", database, cwd=tmp_path)
    assert status == 1, said
    assert invariant in broken(result)
    shown = next(each for each in result["series"]["schedules"] if each["invariant"] == invariant)
    assert (shown["same"], shown["times"]) == (10, 10)
    number = 1 + broken(result).index(invariant)
    again, replayed, _ = contend("replay", result["bundle"], "--finding", number, cwd=tmp_path)
    assert (again, broken(replayed)[:1]) == (1, [invariant])


def test_a_lost_answer_is_of_unknown_outcome_and_what_it_did_is_recovered(tmp_path: Path) -> None:
    status, result, said = crash("reference:skip-locked-cte", "--database", "postgres", cwd=tmp_path)
    assert status == 0, said
    bundle = Path(tmp_path, result["bundle"])
    with duckdb.connect() as db:
        db.execute(f"CREATE VIEW operations AS FROM '{min(bundle.glob('results/*/history/operations.parquet'))}'")
        happened = db.execute(
            """SELECT kind, process, outcome, count(*) > 0 FROM operations
            WHERE kind IN ('kill', 'cut') OR (kind = 'claim' AND process <> 'quiet' AND outcome <> 'ok') GROUP BY ALL"""
        ).fetchall()
        lost = db.execute(
            """SELECT count(*) FROM operations AS c JOIN operations AS r USING (schedule)
            WHERE c.kind = 'claim' AND c.outcome = 'info' AND r.kind = 'recover' AND r.returned = 1"""
        ).fetchone()
    assert {(kind, process) for kind, process, *_ in happened} >= {("kill", "nemesis"), ("cut", "nemesis")}
    assert ("claim", "w0", "info", True) in happened
    assert lost is not None
    assert lost[0] > 0


@pytest.mark.full
def test_reduction_loses_no_outcome_of_a_crash(tmp_path: Path) -> None:
    def outcomes(*words: object) -> set[str]:
        status, result, said = crash("reference:update-returning", *words, cwd=tmp_path)
        assert status == 0, said
        assert result["coverage"]["exhausted"]
        (told,) = result["series"]["exploration"]
        return {json.dumps(each["answers"]) for each in told["outcomes"]}

    assert outcomes() == outcomes("--option", "reduced=false")


def test_a_lease_by_a_clock_that_cannot_be_moved_nor_waited_for_is_said(tmp_path: Path) -> None:
    status, result, _ = crash("BySlowOwnClock", cwd=tmp_path)
    assert status == 2
    assert any("lease of 2.5 s" in reason and "lease_seconds=1" in reason for reason in result["reasons"])


@pytest.mark.full
def test_a_lease_by_a_keyword_of_postgres_is_waited_for(tmp_path: Path) -> None:
    status, result, said = crash("ByKeyword", "--database", "postgres", cwd=tmp_path)
    assert status == 0, said
    assert result["coverage"]["exhausted"]


def test_who_was_away_for_longer_than_a_lease_is_fenced(tmp_path: Path) -> None:
    for system, expected in (("Leased", 0), ("defect:state-only-fence", 1), ("defect:unfenced-completion", 1)):
        name = system if ":" in system else f"{QUEUES}:{system}"
        status, result, said = explore(name, "--batch", 1, cwd=tmp_path, scenario="claim-recovery")
        assert status == expected, said
        assert result["coverage"]["exhausted"]
        assert ("fenced-completion" in broken(result)) is bool(expected)
