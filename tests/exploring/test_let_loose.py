"""The operations of an exploration, let loose: `contend explore --option tries=N` on real processes and real databases."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest
from test_explore import COMMAND, broken, explore

from contend.campaign import Request, execute
from reports.saved import load

TRIES = 8
POSTGRES_QUEUES = Path(__file__).parents[1] / "gates" / "postgres_queues.py"


def rows(result: Mapping[str, Any], cwd: Path, query: str) -> list[tuple[Any, ...]]:
    """Ask the operations of a result's history."""
    history = next((cwd / result["bundle"]).glob("results/01-*/history"))
    with duckdb.connect() as connection:
        for table in ("operations", "statements"):
            connection.read_parquet(str(history / f"{table}.parquet")).create(table)
        return connection.execute(query).fetchall()


def test_a_wrong_claim_is_broken_in_some_of_the_races_each_of_which_is_a_schedule(tmp_path: Path) -> None:
    status, result, said = explore("Dawdling", "--option", f"tries={TRIES}", cwd=tmp_path)
    assert (status, result["mode"], result["verdict"]) == (1, "explore", "fail")
    found = next(each for each in result["findings"] if each["invariant"] == "no-double-claim")
    assert 1 <= found["schedules"] <= TRIES
    assert f"no-double-claim broken in {found['schedules']} of {TRIES} races" in said
    assert {name: result["coverage"].get(name) for name in ("schedules", "raced", "exhausted", "saved", "preemptions")} == {
        "schedules": TRIES, "raced": TRIES, "exhausted": False, "saved": None, "preemptions": None}  # fmt: skip
    assert found["replay"].startswith("contend explore claim-race ")
    assert found["replay"].endswith(f"--option tries={TRIES}")
    assert result["series"]["schedules"] == []
    assert sum(each["schedules"] for each in result["series"]["exploration"][0]["outcomes"]) == TRIES
    per = "SELECT schedule, count(*) FILTER (kind = 'claim' AND phase = 'main'), count(*) FILTER (phase = 'setup'), "
    per += "count(DISTINCT process) FILTER (phase = 'quiet' AND kind IN ('claim', 'complete')) "
    counted = rows(result, tmp_path, f"{per} FROM operations WHERE schedule > 0 GROUP BY schedule ORDER BY schedule")
    assert [number for number, *_ in counted] == list(range(1, TRIES + 1))
    assert {(claims, quiet) for _, claims, _, quiet in counted} <= {(2, 3), (2, 2)}  # a claim may come back empty
    assert len({setup for _, _, setup, _ in counted}) == 1
    page = next((tmp_path / result["bundle"]).glob("report.html")).read_text(encoding="utf-8")
    assert f"{TRIES} races of the same operations, in whatever order came" in page
    assert "schedules tried in order" not in page


def test_a_right_claim_waits_for_the_lock_of_the_other_and_is_broken_in_none(tmp_path: Path) -> None:
    _, result, _ = explore("Holding", "--option", f"tries={TRIES}", cwd=tmp_path)
    assert broken(result) == []
    assert rows(result, tmp_path, "SELECT count(*) FROM operations WHERE outcome <> 'ok'") == [(0,)]
    missed = result["coverage"]["control"] == "missed"
    assert result["verdict"] == ("inconclusive" if missed else "pass")


def test_a_pass_that_its_control_does_not_bear_out_is_inconclusive(tmp_path: Path) -> None:
    words = ("--workers", 1, "--option", "tries=2")
    status, result, _ = explore("reference:immediate-batch", *words, cwd=tmp_path)
    assert (status, result["verdict"], result["coverage"]["control"]) == (2, "inconclusive", "missed")
    assert "was not caught under the same settings" in result["reasons"][0]
    assert result["reasons"][0].endswith("Leave out --option tries, so that orders are chosen.")


def test_on_postgres_the_proxy_lets_everything_through_at_once(tmp_path: Path) -> None:
    both = ("reference:select-then-update", "reference:skip-locked-cte")
    request = Request(("claim-race",), both, ("postgres",), mode="explore", seed=1, out=tmp_path, options={"tries": 40})
    wrong, right = (result.document for result in execute(request)[0].results)
    (found,) = (each for each in wrong["findings"] if each["invariant"] == "no-double-claim")
    assert 1 <= found["schedules"] <= 40
    assert (right["verdict"], right["findings"], right["coverage"]["raced"]) == ("pass", [], 40)
    assert all(result.exploration and result.exploration.raced == 40 for result in load(tmp_path / "latest").results)


@pytest.mark.parametrize(("system", "database"), [("Halfway", "sqlite"), (f"{POSTGRES_QUEUES}:Halfway", "postgres")])
def test_what_failed_after_it_had_committed_is_not_taken_for_nothing(
    system: str, database: str, tmp_path: Path
) -> None:
    _, result, _ = explore(system, "--database", database, "--option", "tries=3", cwd=tmp_path)
    query = "SELECT outcome, count(*) FROM operations WHERE kind = 'claim' AND error_kind IS NOT NULL GROUP BY ALL"
    assert rows(result, tmp_path, query) == [("info", 6)]


@pytest.mark.parametrize(
    "scenario",
    [
        "claim-recovery",
        *(pytest.param(each, marks=pytest.mark.full) for each in ("cleanup-churn", "progress-updates", "worker-guard")),
    ],
)
def test_a_right_one_is_broken_in_no_race_of_any_exploration(scenario: str, tmp_path: Path) -> None:
    system = {
        "claim-recovery": "reference:immediate-batch",
        "cleanup-churn": "reference:delete-many",
        "progress-updates": "reference:batched",
        "worker-guard": "reference:single-worker",
    }[scenario]
    _, result, _ = explore(system, "--option", "tries=10", scenario=scenario, cwd=tmp_path)
    assert (broken(result), result["coverage"]["raced"]) == ([], 10)
    assert result["verdict"] == ("pass" if result["coverage"]["control"] == "caught" else "inconclusive")


@pytest.mark.parametrize(
    ("scenario", "words", "said"),
    [
        ("claim-race", ("--option", "tries=-1"), "give a whole number up to 100,000"),
        ("claim-race", ("--option", "tries=often"), "give a whole number up to 100,000"),
        ("claim-race", ("--option", "tries=3", "--crash"), "give one or the other"),
        ("programs", ("--option", "tries=3"), "explore another scenario with tries"),
    ],
)
def test_bad_input_is_one_sentence(scenario: str, words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "explore", scenario, "--system", "reference:immediate-batch", "--database", "sqlite", *words],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip  # as a user would write it
    assert (done.returncode, said in done.stderr) == (254, True), done.stderr


def test_races_that_are_interrupted_keep_what_they_found(tmp_path: Path) -> None:
    running = subprocess.Popen(
        [*COMMAND, "explore", "claim-race", "--system", f"{Path(__file__).with_name('queues.py')}:Dawdling",
         "--option", "tries=100000", "--json"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip  # as a user would write it
    until = time.monotonic() + 120
    while time.monotonic() < until and not any(
        b'"schedule":5' in file.read_bytes() for file in tmp_path.glob("runs/*/results/*/events/w0.ndjson")
    ):
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGINT)
    out, said = running.communicate(timeout=120)
    (result,) = json.loads(out)["results"]
    assert 4 <= result["coverage"]["raced"] < 100_000, said
    assert "Interrupted after" in json.dumps(result["evidence"])
    assert (running.returncode, result["verdict"]) == ((1, "fail") if broken(result) else (2, "inconclusive"))
