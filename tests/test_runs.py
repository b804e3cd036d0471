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
from contend.campaign import Request, execute
from harness.bundle import Bundle
from harness.databases import redis_server
from harness.errors import UsageError
from harness.scratch import LOCK, own
from reference_impl.defects import DEFECTS
from reference_impl.strategies import STRATEGIES

CLAIM_RACE = [name for name, s in STRATEGIES.items() if "claim-race" in s.about and name != "single-worker"]


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
        expected = STRATEGIES[name].caught_by.get("claim-race")
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
    assert [row["batch"] for row in times][:4] == [1, 5, 20, 100]
    assert all(len(row["baseline_ms"]) == len(row["system_ms"]) == row["ratio"]["pairs"] for row in times)


@pytest.mark.full
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
    assert min(times[5, 20]["baseline_ms"]) >= 105


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


def test_a_temporary_folder_too_long_for_a_socket_is_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / ("long " * 20)
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    status, _, said = contend_run(
        "run", "claim-race", "--system", "reference:update-returning", "--database", "sqlite", cwd=tmp_path
    )
    assert status == 0, said
    assert list(scratch.iterdir()) == []
    nobodys = [
        folder for folder in Path("/tmp").glob("contend-sockets-*") if own(folder / LOCK, wait=False) is not None
    ]
    assert nobodys == []  # other tests have theirs meanwhile


def test_a_result_that_had_not_begun_when_its_run_was_ended_is_passed_over(tmp_path: Path) -> None:
    status, _, said = contend_run(
        "run", "claim-race", "--system", "reference:update-returning", "--database", "sqlite", cwd=tmp_path
    )
    assert status == 0, said
    results = tmp_path / "runs" / "latest" / "results"
    (results / "99-begun-by-its-folder-only").mkdir()
    status, again, said = contend_run("check", "runs/latest", "--json", cwd=tmp_path)
    assert (status, len(again["results"])) == (0, 1), said
    (control,) = results.glob("*select-then-update*")
    (control / "result.json").unlink()  # ended before it was judged: it is a control all the same
    status, _, said = contend_run("check", "runs/latest", "--json", cwd=tmp_path)
    assert status == 0, said


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
    assert status == 2, said
    assert again["results"]


def test_the_default_run_refuses_nothing_and_says_what_does_not_apply(tmp_path: Path) -> None:
    status, _, said = contend_run("run", "worker-guard", "--system", "reference:skip-locked-cte", cwd=tmp_path)
    assert status == 254
    assert "not applicable" in said


# --- progress, pools, deletion, submission ---------------------------------------------------------------------------

CASES = {
    "progress-updates": ["direct", "batched", "debounced", "redis"],
    "pool-pressure": ["direct", "batched", "debounced"],
    "bulk-delete": ["loop-delete", "delete-many", "delete-chunked"],
    "cleanup-churn": ["loop-delete", "delete-unguarded", "delete-many"],
    "atomic-submit": ["partial-submit", "submit-run"],
}
N_PLUS_1 = [
    ("progress-updates", "reference:direct", "write-budget"),
    ("pool-pressure", "reference:direct", "pool-exhausted"),
    ("bulk-delete", "defect:loop-delete", "delete-one-transaction"),
    ("cleanup-churn", "defect:loop-delete", "delete-one-transaction"),
    ("atomic-submit", "defect:partial-submit", "submit-atomic"),
]


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
@pytest.mark.parametrize("scenario", list(CASES))
def test_reports_c_and_d_run_in_the_catalogue_with_every_control_caught(
    scenario: str, database: str, tmp_path: Path
) -> None:
    status, document, said = contend_run("run", scenario, "--database", database, "--json", cwd=tmp_path)
    assert status == 0, said
    results = by_system(document)
    there = CASES[scenario] if redis_server.missing() is None else [name for name in CASES[scenario] if name != "redis"]
    assert sorted(results) == sorted(there)
    for name, result in results.items():
        if result["role"] == "control":
            assert result["expected"] in broken(result), name
        else:
            assert (result["verdict"], result["coverage"]["control"]) == ("pass", "caught"), result["reasons"]
            assert all(each["present"] for each in result["evidence"])
    figures = {name: {k: v["value"] for k, v in r["measurements"].items()} for name, r in results.items()}
    if scenario == "progress-updates":
        assert figures["direct"]["writes_per_job"] > 30  # 44, less what the killed worker did not get to
        assert all(figures[name]["writes_per_job"] <= 10 for name in there[1:])
        assert all(results[name]["series"]["staleness"] for name in there)
    if scenario == "pool-pressure":
        assert figures["direct"]["pool_timeouts"] > 0
        assert all(figures[name]["pool_timeouts"] == 0 for name in there[1:])
        assert figures["direct"]["pool_peak"] == 2
        assert all(results[name]["series"]["pool_waiting"] for name in there)
    if scenario in ("bulk-delete", "atomic-submit"):
        wrong, *right = there
        assert figures[wrong]["statements_per_job"] == pytest.approx(1.0, abs=0.01)
        assert all(figures[name]["statements_per_job"] <= 0.01 for name in right)
    if scenario == "bulk-delete":
        counts = {name: {row["batch"]: row for row in r["series"]["counts"]} for name, r in results.items()}
        assert counts["loop-delete"][100]["acquisitions"] == counts["loop-delete"][100]["transactions"] == 100
        for name, statements in (("delete-many", 1), ("delete-chunked", 10)):
            row = counts[name][10_000]
            assert (row["acquisitions"], row["transactions"], row["statements"]) == (1, 1, statements)
    if scenario == "atomic-submit":
        row = results["submit-run"]["series"]["counts"][-1]
        assert (row["batch"], row["statements"]) == (1000, 2 if database == "sqlite" else 1)
        assert row["round_trips"] == (0 if database == "sqlite" else 1)
    if scenario == "cleanup-churn":
        assert results["delete-many"]["series"]["reader_latency"]


@pytest.mark.parametrize(("scenario", "system", "invariant"), N_PLUS_1)
def test_an_n_plus_one_form_that_is_named_fails_by_its_invariant(
    scenario: str, system: str, invariant: str, tmp_path: Path
) -> None:
    status, document, said = contend_run(
        "run", scenario, "--system", system, "--database", "sqlite", "--json", cwd=tmp_path
    )
    assert status == 1, said
    assert invariant in broken(document["results"][0])
    assert said.strip().splitlines()[-1].startswith("FAIL: ")


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_every_defect_of_reports_c_and_d_is_caught_by_its_own_invariant(database: str, tmp_path: Path) -> None:
    mine = {name: d for name, d in DEFECTS.items() if set(d.caught_by) & set(CASES) and d.certain == "race"}
    for scenario in CASES:
        provoked = [name for name, defect in mine.items() if scenario in defect.caught_by]
        systems = tuple(f"defect:{name}" for name in provoked)
        campaign, _, verdict = execute(Request((scenario,), systems, (database,), out=tmp_path, timed=False))
        assert verdict == "fail"
        assert {result.case.subject.name for result in campaign.results} == {
            name for name in systems if database in DEFECTS[name.removeprefix("defect:")].systems
        }
        for result in campaign.results:
            name = result.case.subject.name.removeprefix("defect:")
            assert mine[name].caught_by[scenario] in broken(dict(result.document)), (scenario, name, result.ruling)


def test_a_replay_line_carries_the_options_it_was_run_with(tmp_path: Path) -> None:
    options = ["--option", "experts=3", "--option", "changes=5", "--option", "flush_interval=0.45"]
    status, document, said = contend_run(
        "run", "progress-updates", "--system", "reference:direct", "--database", "sqlite", "--seed", "4",
        *options, "--json", cwd=tmp_path,
    )  # fmt: skip  # as a user would write it
    assert status == 1, said
    (result,) = document["results"]
    assert result["coverage"]["reports"] <= 6 * (3 * 5 + 1) + 3
    for option in ("experts=3", "changes=5", "flush_interval=0.45"):
        assert f"--option {option}" in result["commands"]["again"]
    assert "--option think_seconds" not in result["commands"]["again"]


def test_redis_that_is_not_there_is_not_applicable_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_server, "find_redis", lambda: None)
    with pytest.raises(
        UsageError, match=r"not applicable.*redis-server is neither on PATH.*apt-get install redis-server"
    ):
        contend.race("reference:redis", scenario="progress-updates", out=tmp_path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--option", "flush_interval=-1"], "flush_interval is -1"),
        (["--option", "max_batch_size=0"], "max_batch_size is 0"),
        (["--option", "experts=0"], "experts is 0; expected a whole number from 1"),
        (["--option", "changes=many"], "changes is 'many'"),
        (["--option", "think_seconds=-1"], "think_seconds is -1"),
        (["--option", "experts"], "is not NAME=VALUE"),
        (["--option", "flush_interval=NaN"], "flush_interval is nan"),
    ],
)
def test_an_option_that_makes_no_sense_is_one_sentence_and_wrong_usage(
    options: list[str], says: str, tmp_path: Path
) -> None:
    status, _, said = contend_run(
        "run", "progress-updates", "--system", "reference:batched", "--database", "sqlite", *options, cwd=tmp_path
    )
    assert status == 254, said
    assert says in said
    assert "Traceback" not in said
