"""Whole runs on real databases: the right strategies pass with their control caught, every wrong one is caught by its invariant."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import contend
from harness.bundle import Bundle
from reference_impl.strategies import STRATEGIES

CLAIM_RACE = [name for name in STRATEGIES if name != "single-worker"]


def contend_run(*arguments: str, cwd: Path) -> tuple[int, dict[str, Any], str]:
    """Run the command line as a user would; give the exit status, the document and what else it said."""
    done = subprocess.run(
        [sys.executable, "-m", "contend", *arguments], cwd=cwd, capture_output=True, text=True, timeout=240, check=False
    )
    return (
        done.returncode,
        json.loads(done.stdout) if done.stdout.startswith(("{", "[")) else {},
        done.stderr,
    )


def by_system(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {result["system"].partition(":")[2]: result for result in document["results"]}


def broken(result: dict[str, Any]) -> set[str]:
    return {finding["invariant"] for finding in result["findings"]}


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_in_the_catalogue_the_right_pass_and_every_wrong_one_is_caught(database: str, tmp_path: Path) -> None:
    status, document, said = contend_run("run", "claim-race", "--database", database, "--json", cwd=tmp_path)
    assert status == 0, said
    assert (document["schema"], document["verdict"]) == (1, "pass")
    results = by_system(document)
    assert set(results) == {name for name in CLAIM_RACE if database in STRATEGIES[name].systems}
    for name, result in results.items():
        expected = STRATEGIES[name].caught_by
        if expected is None:
            assert (result["verdict"], result["findings"], result["coverage"]["control"]) == ("pass", [], "caught"), (
                result["reasons"]
            )
            assert result["coverage"]["overlapping_claims"] > 0
        else:
            assert result["role"] == "control"
            assert expected in broken(result)
    assert Path(tmp_path / document["report"]).stat().st_size > 10_000
    assert (tmp_path / "runs" / "latest").resolve() == (tmp_path / document["bundle"]).resolve()


def test_known_wrong_systems_fail_when_they_are_named_and_the_replay_line_is_printed(tmp_path: Path) -> None:
    systems = ["select-then-update", "deferred-batch", "immediate-batch"]
    named = [word for name in systems for word in ("--system", f"reference:{name}")]
    status, document, said = contend_run(
        "run", "claim-race", *named, "--database", "sqlite", "--seed", "5", "--json", cwd=tmp_path
    )
    assert status == 1, said
    results = by_system(document)
    assert "no-double-claim" in broken(results["select-then-update"])
    assert "lock-errors" in broken(results["deferred-batch"])
    assert "no-double-claim" not in broken(results["deferred-batch"])
    assert (results["immediate-batch"]["verdict"], results["immediate-batch"]["coverage"]["control"]) == (
        "pass",
        "caught",
    )
    finding = next(f for f in results["select-then-update"]["findings"] if f["invariant"] == "no-double-claim")
    assert finding["count"] >= len(finding["evidence"]) > 0
    assert len(finding["evidence"][0]["operations"]) == 2
    assert isinstance(finding["evidence"][0]["job"], int)
    last = said.strip().splitlines()[-1]
    assert last.startswith("FAIL: ")
    assert "contend run claim-race --system reference:" in last
    assert "--seed 5" in last


def test_a_saved_run_is_judged_again_without_a_database_and_with_a_users_own_invariant(tmp_path: Path) -> None:
    status, document, said = contend_run(
        "run", "claim-race", "--system", "reference:update-returning", "--database", "sqlite", "--json", cwd=tmp_path
    )
    assert status == 0, said
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / document["bundle"]).rglob("*"))
    status, again, said = contend_run("check", "runs/latest", "--json", cwd=tmp_path)
    assert status == 0, said
    assert again["results"][0]["verdict"] == "pass"
    assert again["results"][0]["coverage"] == document["results"][0]["coverage"]
    mine = tmp_path / "mine"
    mine.mkdir()
    header = ("Claim: Nobody claims.", "Row: a claim.", "Severity: violation", "Needs: claim")
    text = "\n".join([*(f"-- {line}" for line in header), "SELECT [operation] AS operations FROM claims", ""])
    (mine / "no-claims-at-all.sql").write_text(text)
    status, again, said = contend_run("check", "runs", "--sql", "mine", "--json", cwd=tmp_path)
    assert status == 1, said
    assert broken(again["results"][0]) == {"no-claims-at-all"}
    assert sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / document["bundle"]).rglob("*")) == before


def test_n_plus_one_is_a_slope_of_one_and_a_batch_of_nothing(tmp_path: Path) -> None:
    systems = ["select-then-update", "immediate-batch"]
    named = [word for name in systems for word in ("--system", f"reference:{name}")]
    status, document, said = contend_run("run", "claim-batch", *named, "--database", "sqlite", "--json", cwd=tmp_path)
    assert status == 1, said
    results = by_system(document)
    assert results["select-then-update"]["measurements"]["statements_per_job"]["value"] == pytest.approx(1.0)
    assert broken(results["select-then-update"]) == {"statement-budget"}
    assert results["immediate-batch"]["measurements"]["statements_per_job"]["value"] == pytest.approx(0.0)
    assert results["immediate-batch"]["verdict"] == "pass"
    for name, statements in (("select-then-update", 1001), ("immediate-batch", 2)):
        assert results[name]["series"]["counts"][-1]["statements"] == statements
    times = results["immediate-batch"]["series"]["times"]
    assert [row["batch"] for row in times][:4] == [1, 2, 5, 10]
    assert all(len(row["baseline_ms"]) == len(row["system_ms"]) == row["ratio"]["pairs"] for row in times)


def test_on_postgres_round_trips_are_counted_and_latency_is_added(tmp_path: Path) -> None:
    status, document, said = contend_run(
        "run", "claim-batch", "--system", "reference:skip-locked-cte", "--database", "postgres", "--json", cwd=tmp_path
    )
    assert status == 0, said
    (result,) = document["results"]
    counts = result["series"]["counts"]
    assert [(row["batch"], row["statements"], row["round_trips"]) for row in counts] == [
        (size, 1, 1) for size in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
    ]
    times = {(row["latency_ms"], row["batch"]): row for row in result["series"]["times"]}
    assert {latency for latency, _ in times} == {0, 1, 5, 20}
    assert min(times[20, 1]["system_ms"]) >= 20
    assert min(times[5, 10]["baseline_ms"]) >= 55


def test_the_guard_admits_one_process_and_the_next_after_its_death(tmp_path: Path) -> None:
    status, document, said = contend_run("run", "worker-guard", "--json", cwd=tmp_path)
    assert status == 0, said
    results = by_system(document)
    assert results["single-worker"]["verdict"] == "pass"
    assert results["single-worker"]["coverage"]["control"] == "caught"
    assert broken(results["silent-single-worker"]) == {"worker-guard"}


def test_a_class_defined_in_a_test_is_raced(tmp_path: Path) -> None:
    from reference_impl.sqlite import ImmediateBatch  # noqa: PLC0415  # the class below is shipped with what it refers to

    class Mine(ImmediateBatch):
        """A queue that hands every job out and forgets that it did."""

        databases = ("sqlite",)

        def complete(self, worker: str, handles: Any) -> Any:
            return self.fail(worker, handles)

    outcome = contend.race(Mine, workers=3, jobs=30, out=tmp_path)
    assert outcome.verdict == "fail"
    with pytest.raises(AssertionError, match="no-double-claim"):
        outcome.assert_passed()
    contend.race("reference:immediate-batch", workers=3, jobs=300, out=tmp_path).assert_passed()


def test_one_worker_contends_with_nobody_and_is_never_a_pass(tmp_path: Path) -> None:
    status, document, said = contend_run(
        "run",
        "claim-race",
        "--system",
        "reference:immediate-batch",
        "--database",
        "sqlite",
        "--workers",
        "1",
        "--json",
        cwd=tmp_path,
    )
    assert status == 2, said
    assert "nothing contended" in " ".join(document["results"][0]["reasons"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_it_has_and_leaves_no_process(number: signal.Signals, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "contend", "run", "claim-race", "--json"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as run:  # fmt: skip  # as a user would write it
        assert run.stderr is not None
        while "claim-race" not in run.stderr.readline():
            pass
        children = psutil.Process(run.pid).children(recursive=True)
        run.send_signal(number)
        out, said = run.communicate(timeout=30)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    assert run.returncode == 2, said
    document = json.loads(out)
    assert document["verdict"] in ("inconclusive", "fail")
    assert len(document["results"]) >= 1
    assert "Interrupted" in said
    bundle = Bundle.open(tmp_path / "runs")
    assert bundle.about["finished"] is False
    status, again, said = contend_run("check", "runs/latest", "--json", cwd=tmp_path)
    assert status == 2, said
    assert len(again["results"]) >= 1


def test_a_killed_run_still_loads(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "contend", "run", "claim-race", "--database", "sqlite"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as run:  # fmt: skip  # as a user would write it
        assert run.stdout is not None
        run.stdout.readline()
        time.sleep(0.5)  # into the next result, wherever that is: any moment will do
        children = psutil.Process(run.pid).children(recursive=True)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    status, again, said = contend_run("check", "runs/latest", "--json", cwd=tmp_path)
    assert status in (1, 2), said
    assert again["results"]


def test_the_default_run_refuses_nothing_and_says_what_does_not_apply(tmp_path: Path) -> None:
    status, _, said = contend_run("run", "worker-guard", "--system", "reference:skip-locked-cte", cwd=tmp_path)
    assert status == 254
    assert "not applicable" in said
