"""`contend explore` and `contend replay` as a user runs them: real processes, real SQLite files, the real embedded Postgres."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pytest

from contend.campaign import Request, execute

QUEUES = Path(__file__).with_name("queues.py")
COMMAND = [sys.executable, "-m", "contend"]
Json = dict[str, Any]


def contend(*words: object, cwd: Path) -> tuple[int, Json, str]:
    """Run a command with --json; give the exit status, the document's only result, and what else was said."""
    done = subprocess.run(
        [*COMMAND, *map(str, words), "--json"], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )
    document = json.loads(done.stdout) if done.stdout else {"results": [{}]}
    (result,) = document["results"]
    return done.returncode, {**result, "bundle": document.get("bundle")}, done.stderr


def explore(system: str, *words: object, cwd: Path, scenario: str = "claim-race") -> tuple[int, Json, str]:
    system = system if ":" in system else f"{QUEUES}:{system}"
    return contend("explore", scenario, "--system", system, "--seed", 1, *words, cwd=cwd)


def broken(result: Mapping[str, Any]) -> list[str]:
    return [finding["invariant"] for finding in result["findings"]]


RIGHT: dict[tuple[str, str], list[str]] = {
    ("claim-race", "sqlite"): ["reference:immediate-batch", "reference:update-returning", "reference:compare-and-set"],
    ("claim-race", "sqlite-rollback"): ["reference:immediate-batch"],
    ("claim-race", "postgres"): ["reference:skip-locked", "reference:skip-locked-cte", "reference:for-update"],
    ("cleanup-churn", "sqlite"): ["reference:delete-many"],
    ("cleanup-churn", "postgres"): ["reference:delete-many"],
    ("atomic-submit", "sqlite"): ["reference:submit-run"],
    ("atomic-submit", "postgres"): ["reference:submit-run"],
    ("progress-updates", "sqlite"): ["reference:batched", "reference:direct"],
    ("worker-guard", "sqlite"): ["reference:single-worker"],
}
WRONG: dict[tuple[str, str], dict[str, str]] = {
    ("claim-race", "sqlite"): {
        "reference:select-then-update": "no-double-claim",
        "reference:deferred-batch": "lock-errors",
        f"{QUEUES}:Legacy": "no-double-claim",
        f"{QUEUES}:Alchemy": "no-double-claim",
        f"{QUEUES}:Upgrading": "lock-errors",
    },
    ("claim-race", "sqlite-rollback"): {"reference:select-then-update": "no-double-claim"},
    ("claim-race", "postgres"): {
        "reference:select-then-update": "no-double-claim",
        "reference:scalar-subquery": "no-double-claim",
        "reference:in-subquery-limit": "batch-limit",
    },
    ("cleanup-churn", "sqlite"): {"defect:delete-unguarded": "delete-spares-running"},
    ("cleanup-churn", "postgres"): {"defect:delete-unguarded": "delete-spares-running"},
    ("atomic-submit", "sqlite"): {"defect:torn-status": "submit-atomic", "defect:partial-submit": "submit-atomic"},
    ("atomic-submit", "postgres"): {"defect:torn-status": "submit-atomic", "defect:partial-submit": "submit-atomic"},
    ("progress-updates", "sqlite"): {
        "defect:progress-stale-overwrite": "progress-monotonic",
        "defect:progress-lost-update": "progress-monotonic",
    },
    ("worker-guard", "sqlite"): {"defect:silent-single-worker": "worker-guard"},
}


@pytest.mark.parametrize(("scenario", "database"), RIGHT)
def test_all_schedules_tell_the_right_from_the_wrong(scenario: str, database: str, tmp_path: Path) -> None:
    _tells(scenario, database, RIGHT[scenario, database], WRONG[scenario, database], tmp_path)


@pytest.mark.full  # a minute: on Postgres there are a thousand schedules, and each deadlock takes the server's time-out
def test_all_schedules_tell_the_right_from_the_wrong_where_there_are_many(tmp_path: Path) -> None:
    ways = ["reference:batched", "reference:debounced", "reference:direct"]
    lost = dict.fromkeys(("defect:progress-stale-overwrite", "defect:progress-lost-update"), "progress-monotonic")
    _tells("progress-updates", "sqlite", ways, lost, tmp_path)
    _tells("progress-updates", "postgres", ways, lost, tmp_path)
    claims = ["reference:skip-locked", "reference:skip-locked-cte", "reference:for-update"]
    _tells("claim-race", "postgres", claims, {"defect:batch-deadlock": "lock-errors"}, tmp_path)


def _tells(scenario: str, database: str, right: list[str], wrong: Mapping[str, str], tmp_path: Path) -> None:
    request = Request(
        (scenario,),
        (*right, *wrong),
        (database,),
        workers=2,
        jobs=4,
        batch=2,
        profile="full",
        seed=1,
        out=tmp_path,
        mode="explore",
    )
    campaign, _, _ = execute(request)
    results = {result.case.subject.name: result.document for result in campaign.results}
    assert {name: results[name]["verdict"] for name in right} == dict.fromkeys(right, "pass"), results
    for document in results.values():
        assert document["coverage"]["exhausted"] is True
        assert document["coverage"]["control"] == "caught" or document["system"] in wrong
        assert document["mode"] == "explore"
    for name, invariant in wrong.items():
        assert (results[name]["verdict"], invariant in broken(results[name])) == ("fail", True), (
            name,
            results[name]["reasons"],
        )
        schedules = {each["invariant"]: each for each in results[name]["series"]["schedules"]}
        assert (schedules[invariant]["same"], schedules[invariant]["times"]) == (10, 10)
        assert [finding["schedules"] for finding in results[name]["findings"]] == [
            schedules[finding["invariant"]]["schedules"] for finding in results[name]["findings"]
        ]


def test_a_connection_for_each_claim_is_called_the_same_in_every_schedule(tmp_path: Path) -> None:
    status, result, _ = explore("Reconnecting", "--batch", 1, cwd=tmp_path)
    (schedule,) = (each for each in result["series"]["schedules"] if each["invariant"] == "no-double-claim")
    assert (status, schedule["same"], result["coverage"]["exhausted"]) == (1, 10, True)
    assert result["series"]["exploration"][0]["divergences"] == 0


def test_the_schedule_that_is_shown_has_the_fewest_switches(tmp_path: Path) -> None:
    status, result, said = explore("reference:select-then-update", "--batch", 1, cwd=tmp_path)
    (schedule,) = (each for each in result["series"]["schedules"] if each["invariant"] == "no-double-claim")
    assert (status, schedule["choices"]) == (1, [0, 1, 1, 0])
    assert "went the same 10 of 10 times" in said


def test_a_violation_is_replayed_from_its_bundle(tmp_path: Path) -> None:
    _, result, said = explore("Naive", cwd=tmp_path)
    line = result["findings"][0]["replay"]
    assert line.startswith("contend replay ")
    assert line in said
    status, again, _ = contend(*line.split()[1:], cwd=tmp_path)
    assert (status, broken(again)) == (1, broken(result))
    first, second = (each["series"]["schedules"][0] for each in (result, again))
    assert second["steps"] == first["steps"]
    assert (second["same"], second["times"]) == (10, 10)


def test_a_replay_of_a_system_that_was_mended_says_where_it_went_otherwise(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(QUEUES.read_text())
    _, result, _ = explore(f"{mine}:Naive", cwd=tmp_path)
    mine.write_text(QUEUES.read_text() + "\n\nNaive = Locking\n")
    status, again, _ = contend("replay", result["bundle"], cwd=tmp_path)
    assert (status, again["verdict"]) == (2, "inconclusive")
    (reason,) = (each for each in again["reasons"] if "did not go as they had begun before" in each)
    assert "The system has changed since, or something else than the order of statements decides" in reason


def test_the_reduction_loses_nothing_on_a_real_database(tmp_path: Path) -> None:
    def outcomes(result: Json) -> list[str]:
        return sorted(json.dumps(each["answers"]) for each in result["series"]["exploration"][0]["outcomes"])

    for system, words in (("Naive", ("--batch", 1)), ("Upgrading", ("--batch", 1))):
        _, fewer, _ = explore(system, *words, cwd=tmp_path)
        _, every, _ = explore(system, *words, "--option", "reduced=false", cwd=tmp_path)
        assert outcomes(fewer) == outcomes(every)
        assert fewer["coverage"]["schedules"] < every["coverage"]["schedules"]
        assert fewer["coverage"]["schedules"] + fewer["coverage"]["saved"] == every["coverage"]["schedules"]
        assert broken(fewer) == broken(every)


def test_who_waits_for_whom_is_asked_of_the_database(tmp_path: Path) -> None:
    _, result, said = explore(
        "reference:scalar-subquery", "--database", "postgres", "--jobs", 1, "--batch", 1, cwd=tmp_path
    )
    schedule = result["series"]["schedules"][0]
    assert schedule["choices"] == [0, 1, 0, 1]
    assert schedule["steps"][1]["blocked_by"] == ["w0"]
    assert schedule["steps"][1]["waiting"].startswith("UPDATE jobs SET status = 'running', worker = 'w1'")
    assert "blocked by w0" in said
    assert "claim: [2]  ✗ contradiction" in said
    assert f"The same for PostgreSQL's isolationtester: {schedule['spec']}" in said
    assert tmp_path.joinpath(schedule["spec"]).read_text().rstrip().endswith("w0_5 w1_6")
    page = Path(result["bundle"]) / "report.html"
    waits = tmp_path.joinpath(page).read_text().split("… blocked by")[0]
    assert waits.rstrip().endswith('</code></p><p class="open">')
    assert "worker = &#39;w1&#39;" in waits


@pytest.mark.parametrize(
    ("words", "schedules"), [((), 15), pytest.param(("--option", "reduced=false"), 90, marks=pytest.mark.full)]
)
def test_who_of_two_that_wait_goes_first_is_explored_and_goes_the_same_again(
    words: tuple[str, ...], schedules: int, tmp_path: Path
) -> None:
    """Of 15 schedules 12 begin otherwise or have one that waits; in 3 two wait for one row, and the second is let past the first."""
    words = ("--database", "postgres", "--workers", "3", "--budget", "60", *words)
    status, result, _ = explore("reference:for-update", *words, cwd=tmp_path)
    (exploration,) = result["series"]["exploration"]
    assert (status, exploration["exhausted"], exploration["divergences"]) == (0, True, 0), result["reasons"]
    assert exploration["schedules"] == schedules
    assert schedules == 90 or exploration["stands_for"] == 90


def test_where_there_are_too_many_schedules_it_says_what_it_covered(tmp_path: Path) -> None:
    words = ("--workers", 4, "--batch", 3, "--budget", 4)
    status, result, said = explore("reference:compare-and-set", *words, cwd=tmp_path)
    coverage = result["coverage"]
    assert (status, coverage["exhausted"]) == (0, False), result["reasons"]
    assert coverage["schedules"] > 100
    assert (coverage["depth"], 0 < coverage["found_with"] < 1) == (3, True)
    assert coverage["preemptions"] >= 0
    assert "not all" in said


@pytest.mark.parametrize(
    ("system", "said"),
    [
        ("Threaded", "used the database from two threads at once"),
        ("Endless", "a schedule had not ended after"),
        ("Asleep", "neither stopped nor waited for a lock within 1 s"),
        ("Dying", "died in the middle of a schedule"),
        ("Leaking", "leave a transaction open"),
        ("Moody", "did not go as they had begun before"),
    ],
)
def test_what_cannot_be_explored_is_inconclusive_and_says_why(system: str, said: str, tmp_path: Path) -> None:
    status, result, _ = explore(system, "--option", "step_seconds=1", "--budget", 5, cwd=tmp_path)
    assert said.lower() in " ".join(result["reasons"]).lower()
    assert (status, result["verdict"], broken(result)) == (2, "inconclusive", [])


@pytest.mark.parametrize(
    ("system", "database"), [(f"{QUEUES}:Halfway", "sqlite"), ("reference:select-then-update", "postgres-serializable")]
)
def test_what_failed_after_it_had_committed_is_not_taken_for_nothing(
    system: str, database: str, tmp_path: Path
) -> None:
    _, result, _ = explore(system, "--database", database, cwd=tmp_path)
    history = next(Path(tmp_path / result["bundle"]).glob("results/01-*/history"))
    with duckdb.connect() as connection:
        for table in ("operations", "statements"):
            connection.read_parquet(str(history / f"{table}.parquet")).create(table)
        query = """SELECT o.outcome, count(*) FROM operations AS o SEMI JOIN statements AS s ON s.operation = o.operation AND s.commits
                   WHERE o.kind = 'claim' AND o.error_kind IS NOT NULL GROUP BY ALL"""
        outcomes = dict(connection.execute(query).fetchall())
    assert list(outcomes) == ["info"]
    assert result["measurements"] == {}
    assert "statements" not in result["coverage"]


def test_one_worker_has_nobody_to_contend_with(tmp_path: Path) -> None:
    status, result, _ = explore("reference:immediate-batch", "--workers", 1, cwd=tmp_path)
    assert (status, result["verdict"], broken(result)) == (2, "inconclusive", [])
    assert "was not caught under the same settings" in " ".join(result["reasons"])
    assert "Raise --workers" in " ".join(result["reasons"])


@pytest.mark.full  # every deadlock lasts for as long as the server takes to look for one
def test_a_deadlock_is_ended_by_the_server_and_is_an_error_of_one_claim(tmp_path: Path) -> None:
    status, result, said = explore(
        "defect:batch-deadlock", "--database", "postgres", "--option", "budget=3", cwd=tmp_path
    )
    assert (status, broken(result)) == (1, ["lock-errors"])
    (schedule,) = result["series"]["schedules"]
    failed = [answer for worker in schedule["answers"] for answer in worker if answer[1] == "fail"]
    assert [answer[0] for answer in failed] == ["claim"]
    assert (schedule["same"], schedule["times"]) == (10, 10)
    assert "40P01" in said


def test_what_is_kept_outside_the_database_cannot_be_put_back(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "explore", "progress-updates", "--system", "reference:redis"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip  # as a user would write it
    assert done.returncode == 254
    assert "it keeps things in redis" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["explore", "claim-race"], "Missing option '--system'"),
        (["explore", "claim-race", "--system", "reference:skip-locked", "--workers", "0"], "0 is not in the range"),
        (["explore", "no-such", "--system", "reference:skip-locked"], "no-such"),
        (
            ["explore", "claim-race", "--system", "reference:skip-locked", "--database", "sqlite"],
            "does not run on sqlite",
        ),
        (["replay", "nowhere"], "does not exist"),
    ],
)
def test_bad_input_is_one_sentence(words: list[str], said: str, tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 254
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_finding_of_a_race_has_no_schedule_to_replay(tmp_path: Path) -> None:
    words = ("run", "claim-race", "--system", "reference:select-then-update", "--database", "sqlite", "--jobs", 60)
    status, result, _ = contend(*words, cwd=tmp_path)
    assert status == 1
    done = subprocess.run(
        [*COMMAND, "replay", result["bundle"]], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, "comes of no exploration" in done.stderr) == (254, True)


@pytest.mark.parametrize("more", [(), ("--crash",)])
def test_an_exploration_that_is_interrupted_keeps_what_it_found_and_leaves_nothing(
    more: tuple[str, ...], tmp_path: Path
) -> None:
    words = ["claim-race", "--system", f"{QUEUES}:Naive", "--workers", "4", "--batch", "4", *more]
    running = subprocess.Popen(
        [*COMMAND, "explore", *words, "--json"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip  # as a user would write it
    assert running.stderr is not None
    for line in running.stderr:
        if "broken by schedule" in line:
            break
    mine = psutil.Process(running.pid).children(recursive=True)
    assert len(mine) >= 5
    os.killpg(running.pid, signal.SIGINT)
    out, _ = running.communicate(timeout=60)
    document = json.loads(out)
    (result,) = document["results"]
    assert running.returncode == 1
    assert "no-double-claim" in broken(result)
    assert result["coverage"]["exhausted"] is False
    assert "Interrupted after" in json.dumps(result["evidence"])
    until = time.monotonic() + 10
    while any(process.is_running() for process in mine) and time.monotonic() < until:
        time.sleep(0.1)
    assert not [process for process in mine if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
