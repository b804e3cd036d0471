"""The gate on real bundles: each kind of regression is planted in a queue of our own, run, and must be stopped by its tier."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from conftest import Once

from contend.cli import run_command_line

RIGHT = """\
from reference_impl.sqlite import ImmediateBatch

class Mine(ImmediateBatch):
    pass
"""
N_PLUS_1 = f"""{RIGHT}
    def _take(self, worker, limit):
        with self._writing():
            jobs = self._run("select_ready", limit=limit)
            return [row for job, _ in jobs for row in self._mark("take_by_id", worker, job=job)]
"""
LOCK_DROPPED = f"""{RIGHT}
    def _take(self, worker, limit):
        return [row for job, _ in self._run("select_ready", limit=limit)
                for row in self._mark("take_by_id", worker, job=job)]
"""
ONE_MORE = f"""{RIGHT}
    def _take(self, worker, limit):
        self._run("select_ready", limit=1)
        return super()._take(worker, limit)
"""
SLOW_BESIDE_MANY = f"""{RIGHT}
    enqueued = 0

    def enqueue(self, jobs):
        self.enqueued += len(jobs)
        return super().enqueue(jobs)

    def claim(self, worker, limit):
        import time
        time.sleep(0.1 if self.enqueued > 50_000 else 0)
        return super().claim(worker, limit)
"""
ONE_LESS = """\
from reference_impl.sqlite import UpdateReturning as Mine
"""
Runs = Callable[..., Path]
Json = dict[str, Any]


@pytest.fixture(scope="module")
def runs(once: Once) -> Runs:
    """Run a queue under the name mine.py:Mine, once for each source and arguments; give the bundle's folder."""

    def run(source: str = RIGHT, *arguments: str) -> Path:
        arguments = arguments or ("claim-race", "claim-batch")

        def make(folder: Path) -> None:
            (folder / "mine.py").write_text(source)
            command = [sys.executable, "-m", "contend", "run", *arguments, "--system", "mine.py:Mine", "--seed", "7"]
            done = subprocess.run(
                [*command, "--database", "sqlite"], cwd=folder, capture_output=True, text=True, check=False
            )
            assert done.returncode in (0, 1), done.stderr

        name = hashlib.sha256(repr((source, *arguments)).encode()).hexdigest()[:16]
        return (once(f"gate-{name}", make) / "runs" / "latest").resolve()

    return run


@pytest.fixture(scope="module")
def committed(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The baseline of the queue as it should be."""
    file = tmp_path_factory.mktemp("committed") / "reports" / "baseline.json"
    assert run_command_line(["baseline", str(runs()), "--out", str(file)]) == 0
    return file


class Told:
    """What one `contend gate` said."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.err, self.document = status, err, json.loads(out) if out else {}

    def reasons(self, **wanted: str) -> list[Json]:
        """The reasons with these values."""
        return [each for each in self.document["reasons"] if all(each[k] == v for k, v in wanted.items())]


@pytest.fixture
def gate(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Told]:
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)

    def run(bundle: Path, baseline: Path, *arguments: object) -> Told:
        capsys.readouterr()
        status = run_command_line(["gate", str(bundle), "--baseline", str(baseline), "--json", *map(str, arguments)])
        return Told(status, *capsys.readouterr())

    return run


@pytest.fixture
def edited(tmp_path: Path) -> Callable[..., Path]:
    """A copy of a bundle's documents, changed: `about` in bundle.json, and each result.json by a function."""

    def copy(bundle: Path, change: Callable[[Json], object] = lambda _: None, **about: object) -> Path:
        folder = tmp_path / "edited"
        shutil.copytree(bundle, folder, ignore=shutil.ignore_patterns("*.parquet", "*.ndjson"))
        for file in folder.glob("results/*/result.json"):
            document = json.loads(file.read_text())
            change(document)
            file.write_text(json.dumps(document))
        head = json.loads((folder / "bundle.json").read_text())
        (folder / "bundle.json").write_text(json.dumps({**head, **about}))
        return folder

    return copy


def rewritten(baseline: Path, tmp_path: Path, change: Callable[[Json], object]) -> Path:
    document = json.loads(baseline.read_text())
    change(document)
    file = tmp_path / "rewritten.json"
    file.write_text(json.dumps(document))
    return file


def held(baseline: Path, scenario: str) -> Json:
    return next(row for row in json.loads(baseline.read_text())["results"] if row["scenario"] == scenario)


def times_file(tmp_path: Path, *rows: Mapping[str, object], **more: object) -> Path:
    file = tmp_path / "times.json"
    file.write_text(json.dumps({"schema": 1, "comparisons": rows, **more}))
    return file


def timed(low: float, ratio: float, high: float, verdict: str = "slower", **more: object) -> Json:
    words = f"{verdict} by {ratio - 1:.0%} [{low - 1:.0%}, {high - 1:.0%}]"
    row = {
        "name": "claim",
        "verdict": verdict,
        "ratio": ratio,
        "low": low,
        "high": high,
        "words": words,
        "repeated": None,
    }
    return {**row, **more}


# --- the baseline ------------------------------------------------------------------------------------------------------


def test_a_baseline_holds_verdicts_counts_and_ratios_but_no_time_and_is_the_same_bytes_again(
    runs: Runs, committed: Path, tmp_path: Path
) -> None:
    assert (
        len(json.loads(committed.read_text())["results"]) == 2
    )  # the controls that were run beside them are part of them
    race, batch = held(committed, "claim-race"), held(committed, "claim-batch")
    assert (race["verdict"], race["role"], race["load"]["workers"]) == ("pass", "subject", 6)
    assert "no-double-claim" in race["coverage"]["judged"]
    assert "claims-overlapped" in race["coverage"]["evidence"]
    assert race["counts"]["statements_per_claim"]["value"] == 2
    assert batch["counts"]["statements_per_job"]["value"] == 0
    (ratio,) = (held_to for name, held_to in batch["ratios"].items() if name.startswith("times quicker"))
    assert ratio["low"] <= ratio["median"] <= ratio["high"]
    assert not ratio["portable"]  # nothing is added to a statement on SQLite
    text = committed.read_text()
    assert not any(word in text for word in ("_ms", 'second"', "per_second", "created"))
    again = tmp_path / "again.json"
    assert run_command_line(["baseline", str(runs()), "--out", str(again)]) == 0
    assert again.read_bytes() == committed.read_bytes()


def test_counts_are_counted_twice_and_say_whether_claims_differed(runs: Runs) -> None:
    (result,) = (json.loads(file.read_text()) for file in runs(N_PLUS_1).glob("results/*claim-batch-mine*/result.json"))
    counted = {each["name"]: each for each in result["counted"]}
    for name, value in (("statements_per_job", 1), ("statements_per_round", 1), ("transactions_per_job", 0)):
        assert (counted[name]["first"], counted[name]["second"], counted[name]["varies"]) == (value, value, False)
    a_claim = counted["statements_per_claim"]  # of every other size: 1, 5, 20, … jobs and 2, 10, 50, … jobs
    assert (a_claim["first"], a_claim["second"], a_claim["varies"]) == (126.2, 253.4, True)
    assert (counted["transactions_per_claim"]["first"], counted["transactions_per_claim"]["varies"]) == (1, False)


def test_a_count_that_varies_is_unstable_and_held_to_nothing(
    runs: Runs, edited: Callable[..., Path], gate: Callable[..., Told], tmp_path: Path
) -> None:
    def vary(document: Json) -> None:
        document["counted"][0]["second"] += 0.5

    varying, file = edited(runs(), vary), tmp_path / "b.json"
    assert run_command_line(["baseline", str(varying), "--out", str(file)]) == 0
    assert held(file, "claim-race")["counts"]["statements_per_claim"] == {"unit": "statements", "unstable": True}
    said = [each["happened"] for each in gate(runs(ONE_MORE), file).reasons(tier="counts")]
    assert "transactions a claim: 2" in said
    assert not any(each.startswith("statements a claim") for each in said)


def test_of_several_bundles_a_count_that_differs_is_unstable(runs: Runs, tmp_path: Path) -> None:
    file = tmp_path / "b.json"
    assert run_command_line(["baseline", str(runs()), str(runs(ONE_MORE)), "--out", str(file)]) == 0
    assert held(file, "claim-race")["counts"]["statements_per_claim"] == {"unit": "statements", "unstable": True}
    assert held(file, "claim-race")["load"]["workers"] == 6


# --- planted regressions -----------------------------------------------------------------------------------------------


def test_the_same_queue_run_again_passes(runs: Runs, committed: Path, gate: Callable[..., Told]) -> None:
    told = gate(runs(RIGHT + "\n"), committed)
    assert (told.status, told.document["verdict"]) == (0, "pass"), told.err
    assert not [each for each in told.document["reasons"] if each["level"] not in ("better", "note")]
    assert "PASS: compared" in told.err


def test_a_strategy_turned_n_plus_one_is_stopped_by_counts_and_ratio(
    runs: Runs, committed: Path, gate: Callable[..., Told]
) -> None:
    told = gate(runs(N_PLUS_1), committed)
    assert told.status == 1
    counts = told.reasons(tier="counts", level="fail", about="claim-batch mine.py:Mine sqlite")
    assert [
        (each["happened"], each["expected"]) for each in counts if each["happened"].startswith("statements a job")
    ] == [("statements a job: 1", "0")]
    assert told.reasons(tier="counts", level="fail", about="claim-race mine.py:Mine sqlite")
    (verdict,) = told.reasons(tier="correctness", level="fail")
    assert "statement-budget" in verdict["happened"]
    assert "contend run claim-batch" in verdict["remedy"]
    assert "FAIL         counts      claim-batch mine.py:Mine sqlite: statements a job: 1; expected 0." in told.err


def test_one_statement_more_is_stopped_though_every_verdict_is_a_pass(
    runs: Runs, committed: Path, gate: Callable[..., Told]
) -> None:
    told = gate(runs(ONE_MORE), committed)
    assert told.status == 1
    assert told.reasons(tier="correctness") == []
    assert {(each["happened"], each["expected"]) for each in told.reasons(tier="counts", level="fail")} >= {
        ("statements a claim: 3", "2"),
        ("statements a round: 3", "2"),
    }


def test_a_dropped_lock_is_stopped_by_its_verdict(runs: Runs, committed: Path, gate: Callable[..., Told]) -> None:
    told = gate(runs(LOCK_DROPPED, "claim-race"), committed)
    assert told.status == 1
    (verdict,) = told.reasons(tier="correctness", level="fail", about="claim-race mine.py:Mine sqlite")
    assert "no-double-claim" in verdict["happened"]


def test_a_deleted_scenario_and_a_smaller_run_are_stopped(
    runs: Runs, committed: Path, gate: Callable[..., Told]
) -> None:
    told = gate(runs(RIGHT, "claim-race", "--workers", "4", "--jobs", "200"), committed)
    assert told.status == 1
    said = {each["happened"] for each in told.reasons(tier="correctness", level="fail")}
    assert said == {"The scenario was not run", "It was run with 4 workers", "It was run with 200 jobs"}


def test_another_batch_size_says_nothing_and_that_is_inconclusive(
    runs: Runs, committed: Path, gate: Callable[..., Told], tmp_path: Path
) -> None:
    told = gate(runs(RIGHT, "claim-race", "--batch", "3"), rewritten(committed, tmp_path, _only("claim-race")))
    assert told.status == 2
    assert "--batch 3" in told.reasons(tier="counts", level="inconclusive")[0]["happened"]


def test_a_result_a_scenario_or_a_database_that_is_missing_is_one_line(
    runs: Runs, committed: Path, gate: Callable[..., Told], tmp_path: Path
) -> None:
    def more(document: Json) -> None:
        first = document["results"][0]
        for change in ({"system": "other"}, {"database": "postgres"}, {"database": "postgres", "system": "other"}):
            document["results"].append({**first, **change})

    told = gate(runs(), rewritten(committed, tmp_path, more))
    assert told.status == 1
    assert [(each["about"], each["happened"], each["expected"]) for each in told.reasons(level="fail")] == [
        ("postgres", "Nothing was run on the database", "2 results, as in the baseline"),
        ("claim-batch other sqlite", "It was not run", "a result, pass"),
    ]


def test_a_bundle_of_a_contend_that_counted_nothing_twice_is_inconclusive(
    runs: Runs, committed: Path, edited: Callable[..., Path], gate: Callable[..., Told]
) -> None:
    told = gate(edited(runs(), lambda document: document.pop("counted")), committed)
    assert told.status == 2
    assert "Run it again with this contend" in told.err


def _only(scenario: str) -> Callable[[Json], object]:
    def keep(document: Json) -> None:
        document["results"] = [row for row in document["results"] if row["scenario"] == scenario]

    return keep


def _drop(where: str, name: str) -> Callable[[Json], None]:
    def change(document: Json) -> None:
        kind = {"judgements": "invariant", "evidence": "name", "counted": "name"}[where]
        document[where] = [row for row in document[where] if row[kind] != name]

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_drop("judgements", "no-double-claim"), "The invariant no-double-claim was not judged"),
        (_drop("evidence", "claims-overlapped"), "The evidence claims-overlapped was not looked for"),
        (_drop("counted", "statements_per_claim"), "statements a claim was not counted"),
        (lambda document: document["coverage"].update(statements=0), "There were no statements"),
        (lambda document: document["coverage"].update(workers=0), "Workers taking part: 0"),
        (lambda document: document["series"].pop("times", 0), "It was not measured"),
        (
            lambda document: [j.update(state="not applicable", reason="no tokens") for j in document["judgements"]],
            "was not judged: no tokens",
        ),
    ],
)
def test_coverage_that_shrank_is_stopped(
    *,
    change: Callable[[Json], object],
    says: str,
    runs: Runs,
    committed: Path,
    edited: Callable[..., Path],
    gate: Callable[..., Told],
) -> None:
    told = gate(edited(runs(), change), committed)
    assert told.status == 1
    assert any(says in each["happened"] for each in told.reasons(level="fail")), told.err


def test_fewer_schedules_or_no_longer_all_of_them_are_stopped(
    runs: Runs, committed: Path, edited: Callable[..., Path], gate: Callable[..., Told], tmp_path: Path
) -> None:
    def explored(document: Json) -> None:
        document["results"][0]["coverage"].update(exhausted=True)
        document["results"][1]["coverage"].update(schedules_at_least=250)

    told = gate(edited(runs(), lambda d: d["coverage"].update(schedules=249)), rewritten(committed, tmp_path, explored))
    assert {each["happened"] for each in told.reasons(level="fail")} == {
        "Not all schedules were explored",
        "Schedules explored: 249",
    }


def test_a_worker_that_starves_is_stopped_by_the_ratio(
    runs: Runs, committed: Path, edited: Callable[..., Path], gate: Callable[..., Told], tmp_path: Path
) -> None:
    def even(document: Json) -> None:
        for number, process in enumerate(document["processes"]):
            process.update(claims=100 if number else 90, empty=0, errors=0)

    def starve(document: Json) -> None:
        for number, process in enumerate(document["processes"]):
            process.update(claims=100 if number else 3, empty=0, errors=0)

    fair = tmp_path / "fair.json"
    bundle = edited(runs(), even)
    assert run_command_line(["baseline", str(bundle), "--out", str(fair)]) == 0
    assert gate(bundle, fair).status == 0
    shutil.rmtree(bundle)
    told = gate(edited(runs(), starve), fair)
    assert told.status == 1
    assert "share of the least served worker" in told.reasons(tier="ratios", level="fail")[0]["about"]


def test_a_ratio_fails_only_where_the_whole_interval_is_worse_by_its_factor(
    runs: Runs, committed: Path, edited: Callable[..., Path], gate: Callable[..., Told]
) -> None:
    (was,) = (r for name, r in held(committed, "claim-batch")["ratios"].items() if name.startswith("times quicker"))

    def slower(high: float) -> Callable[[Json], None]:
        def change(document: Json) -> None:
            for row in document["series"].get("times", []):
                row["ratio"].update(low=high / 2, median=high / 1.5, high=high)

        return change

    inside = edited(runs(), slower(was["low"] / 1.5 * 1.01))
    assert gate(inside, committed).status == 0
    shutil.rmtree(inside)
    told = gate(edited(runs(), slower(was["low"] / 1.5 * 0.99)), committed)
    assert told.status == 1
    assert "factor of 1.5" in told.reasons(tier="ratios", level="fail")[0]["expected"]


def test_claims_that_take_longer_beside_many_waiting_jobs_are_stopped(
    runs: Runs, committed: Path, gate: Callable[..., Told], tmp_path: Path
) -> None:
    name = "speed beside 100000 waiting jobs over that beside 1000"

    def flat(document: Json) -> None:
        (row,) = (each for each in document["results"] if name in each["ratios"])
        row["ratios"][name].update(low=0.9, median=1.0, high=1.1)

    told = gate(runs(SLOW_BESIDE_MANY), rewritten(committed, tmp_path, flat))
    assert told.status == 1
    (reason,) = told.reasons(tier="ratios", level="fail")
    assert reason["about"] == f"claim-batch mine.py:Mine sqlite, {name}"


def test_a_system_too_slow_to_fill_is_not_measured_for_flatness_and_says_so(runs: Runs) -> None:
    slow = f"""{RIGHT}
    def enqueue(self, jobs):
        import time
        if len(jobs) >= 1000:
            time.sleep(0.5)
        return super().enqueue(jobs)
"""
    bundle = runs(slow, "claim-batch")
    (result,) = (json.loads(file.read_text()) for file in bundle.glob("results/01-*/result.json"))
    (row,) = result["series"]["flatness"]
    assert row["left_out"] == "enqueueing 100,450 jobs would take over 15 s"
    assert result["verdict"] == "pass"


# --- what could not be told --------------------------------------------------------------------------------------------


def test_inconclusive_where_it_was_pass_is_inconclusive(
    runs: Runs, committed: Path, edited: Callable[..., Path], gate: Callable[..., Told]
) -> None:
    told = gate(edited(runs(), lambda d: d.update(verdict="inconclusive", reasons=["nothing contended"])), committed)
    assert (told.status, told.document["verdict"]) == (2, "inconclusive")
    assert "inconclusive: nothing contended" in told.err


@pytest.mark.parametrize("about", [{"finished": False}, {"stage": "open", "finished": None}])
def test_an_unfinished_bundle_is_inconclusive(
    about: Json, runs: Runs, committed: Path, edited: Callable[..., Path], gate: Callable[..., Told]
) -> None:
    bundle = edited(runs(), **{k: v for k, v in about.items() if v is not None})
    if "stage" in about:  # as a run leaves it that still goes on
        head = json.loads((bundle / "bundle.json").read_text())
        del head["finished"]
        (bundle / "bundle.json").write_text(json.dumps(head))
        (bundle / "results.json").unlink()
        for file in list(bundle.glob("results/*claim-batch*/result.json")):
            file.unlink()
    told = gate(bundle, committed)
    assert told.status == 2
    (reason,) = told.reasons(level="inconclusive")
    assert "was not finished" in reason["happened"]
    assert run_command_line(["baseline", str(bundle), "--out", str(bundle / "b.json")]) == 254
    assert not (bundle / "b.json").exists()


def test_a_steady_count_that_varies_now_is_a_doubt_that_only_strict_minds(
    runs: Runs, committed: Path, edited: Callable[..., Path], gate: Callable[..., Told]
) -> None:
    def vary(document: Json) -> None:
        document["counted"][0]["second"] += 0.5

    bundle = edited(runs(), vary)
    told = gate(bundle, committed)
    assert told.status == 0
    assert "unstable: counted 2, then 2.5" in told.err
    assert gate(bundle, committed, "--strict").status == 2


def test_a_control_that_is_not_caught_is_inconclusive(
    runs: Runs, committed: Path, edited: Callable[..., Path], gate: Callable[..., Told], tmp_path: Path
) -> None:
    def control(document: Json) -> None:
        for row in document["results"]:
            row.update(role="control", caught=True)

    told = gate(edited(runs(), lambda d: d.update(role="control")), rewritten(committed, tmp_path, control))
    assert told.status == 2
    assert "not caught" in told.err


# --- times -------------------------------------------------------------------------------------------------------------

AGAIN = timed(1.26, 1.33, 1.4)
NOTHING: Json = {"name": "claim", "verdict": "inconclusive", "ratio": None, "low": None, "high": None, "repeated": None}


@pytest.mark.parametrize(
    ("row", "status", "level"),
    [
        (timed(1.26, 1.31, 1.38, repeated=AGAIN), 1, "fail"),
        (timed(1.26, 1.31, 1.38, repeated=timed(1.2, 1.3, 1.4)), 0, "warning"),
        (timed(1.26, 1.31, 1.38), 0, "warning"),
        (timed(1.24, 1.31, 1.38, repeated=AGAIN), 0, "warning"),
        (timed(1.01, 1.11, 1.2), 0, "warning"),
        (timed(0.99, 1.11, 1.2, "no change seen"), 0, None),
        (timed(1.01, 1.09, 1.2), 0, None),
        (timed(0.7, 0.8, 0.9, "faster"), 0, "note"),
        ({**NOTHING, "words": "the control moved 8 %"}, 0, "doubt"),
    ],
)
def test_times_warn_fail_only_when_repeated_and_are_never_silent_about_doubt(
    *, row: Json, status: int, level: str | None, runs: Runs, committed: Path, gate: Callable[..., Told], tmp_path: Path
) -> None:
    file = times_file(tmp_path, row)
    told = gate(runs(), committed, "--times", file)
    assert told.status == status, told.err
    assert [each["level"] for each in told.reasons(tier="times")] == ([level] if level else [])
    assert gate(runs(), committed, "--times", file, "--strict").status == (2 if level == "doubt" else status)


def test_on_another_machine_counts_are_compared_and_times_are_not(
    runs: Runs, committed: Path, edited: Callable[..., Path], gate: Callable[..., Told], tmp_path: Path
) -> None:
    slower = timed(1.5, 1.6, 1.7, repeated=timed(1.5, 1.6, 1.7))
    elsewhere = {"cpu": "Other", "cores": 64, "memory_gib": 8.0}
    bundle = edited(runs(ONE_MORE), machine=elsewhere)
    told = gate(bundle, committed, "--times", times_file(tmp_path, slower), "--junit", tmp_path / "junit.xml")
    assert told.status == 1
    assert ET.fromstring((tmp_path / "junit.xml").read_text()).get("skipped") == "2"  # noqa: S314  # our own
    assert not told.reasons(tier="times", level="fail")
    assert told.reasons(tier="counts", level="fail")
    assert "another machine (Other, 64 cores, 8.0 GiB)" in told.document["machine"]
    assert [check["skipped"] for check in told.document["checks"] if "times quicker" in check["about"]] == [
        "It depends on the machine, and the baseline is of another one."
    ]
    told = gate(bundle, committed, "--times", times_file(tmp_path, slower, machine=elsewhere))
    assert told.reasons(tier="times", level="fail")


# --- better ------------------------------------------------------------------------------------------------------------


def test_better_than_the_baseline_passes_with_the_line_to_tighten_it(
    runs: Runs, committed: Path, gate: Callable[..., Told], tmp_path: Path
) -> None:
    better = runs(ONE_LESS)
    told = gate(better, committed)
    assert told.status == 0, told.err
    better_by = {(each["about"].split()[0], each["happened"]) for each in told.reasons(tier="counts", level="better")}
    assert better_by == {
        ("claim-race", "statements a claim: 1"),  # and not what contention had it say again
        ("claim-batch", "statements a claim: 1"),
        ("claim-batch", "statements a round: 1"),
    }
    assert told.document["tighten"] == f"contend baseline {better} --out {committed}"
    assert told.document["tighten"] in told.err
    tighter = tmp_path / "tighter.json"
    assert run_command_line(["baseline", str(better), "--out", str(tighter)]) == 0
    assert gate(better, tighter).document["tighten"] is None
    assert gate(runs(), tighter).status == 1


def test_what_is_new_must_pass(runs: Runs, committed: Path, gate: Callable[..., Told], tmp_path: Path) -> None:
    only_batch = rewritten(committed, tmp_path, _only("claim-batch"))
    assert gate(runs(), only_batch).reasons(level="better")[0]["happened"] == "It is new, and as it should be"
    told = gate(runs(LOCK_DROPPED, "claim-race"), only_batch)
    assert told.reasons(about="claim-race mine.py:Mine sqlite", level="fail")[0]["expected"].startswith(
        "pass; it is not in"
    )


def test_a_failure_that_is_in_the_baseline_is_borne_but_a_second_one_is_not(
    runs: Runs, gate: Callable[..., Told], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "b.json"
    capsys.readouterr()
    assert run_command_line(["baseline", str(runs(LOCK_DROPPED, "claim-race")), "--out", str(file)]) == 0
    assert "bear from now on: 1 (claim-race mine.py:Mine sqlite)" in capsys.readouterr().out
    assert gate(runs(LOCK_DROPPED, "claim-race"), file).status == 0

    def only_one(document: Json) -> None:
        for row in document["results"]:
            row["broken"] = [name for name in row["broken"] if name != "no-double-claim"]

    told = gate(runs(LOCK_DROPPED, "claim-race"), rewritten(file, tmp_path, only_one))
    assert told.status == 1
    assert told.reasons(level="fail")[0]["happened"] == "It fails by no-double-claim as well"


# --- what it writes ----------------------------------------------------------------------------------------------------

HOSTILE = "x\n::error::y|`<script>alert(1)</script>`\x1b[31m\x00\u202e @team [a](http://e.example) \ud800 %0A"


def _hostile(document: Json) -> None:
    document.update(system=HOSTILE, verdict="fail", reasons=[HOSTILE], commands={"again": HOSTILE})


def test_junit_of_hostile_names_is_sound_xml_and_says_what_failed(
    runs: Runs, committed: Path, edited: Callable[..., Path], gate: Callable[..., Told], tmp_path: Path
) -> None:
    file = tmp_path / "deep" / "junit.xml"
    told = gate(edited(runs(), _hostile), committed, "--junit", file)
    assert told.status == 1
    text = file.read_text(encoding="utf-8")
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<testsuites ')
    assert not any(letter in text for letter in "\x00\x1b\u202e")
    suites = ET.fromstring(text)  # noqa: S314  # what our own code wrote
    cases = list(suites.iter("testcase"))
    failures = list(suites.iter("failure"))
    assert suites.tag == "testsuites"
    assert int(suites.get("tests", "")) == len(cases)
    assert int(suites.get("failures", "")) == len(failures) > 0
    assert any("x\\n::error::y" in case.get("name", "") for case in cases)
    assert {failure.get("type") for failure in failures} == {"fail"}
    assert gate(runs(), committed, "--junit", file).status == 0
    suites = ET.fromstring(file.read_text(encoding="utf-8"))  # noqa: S314  # as above
    assert (suites.get("failures"), {suite.get("name") for suite in suites}) == (
        "0",
        {"contend gate: correctness", "contend gate: counts", "contend gate: ratios"},
    )


def test_a_summary_of_hostile_names_holds_no_markup_of_theirs(
    runs: Runs, committed: Path, edited: Callable[..., Path], gate: Callable[..., Told], tmp_path: Path
) -> None:
    file = tmp_path / "summary.md"
    gate(edited(runs(), _hostile), committed, "--summary", file)
    text = file.read_text(encoding="utf-8")
    assert text.startswith("## contend gate: fail\n")
    rows = [line for line in text.splitlines() if line.startswith("| FAIL")]
    assert len(rows) > 1
    for row in rows:
        assert row.count("|") == 5
        assert not any(part in row for part in ("<", "`", "@team", "](", "http:", "\x1b", "\u202e"))


def test_on_github_there_are_annotations_and_the_steps_summary_is_added_to(
    *, runs: Runs, committed: Path, edited: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip  # fixtures
    step = tmp_path / "step.md"
    step.write_text("before\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    capsys.readouterr()
    assert run_command_line(["gate", str(edited(runs(), _hostile)), "--baseline", str(committed)]) == 1
    lines = capsys.readouterr().out.splitlines()
    commands = [line for line in lines if line.startswith("::")]
    assert commands
    assert all(line.startswith(("::error title=contend gate%2C ", "::warning title=")) for line in commands)
    assert any("%250A" in line for line in commands)
    title = commands[0].removeprefix("::error title=").partition("::")[0]
    assert not any(letter in title for letter in ":,\r\n")
    assert step.read_text(encoding="utf-8").startswith("before\n## contend gate: fail\n")


def test_an_output_that_cannot_be_written_is_one_sentence_after_the_verdict(
    runs: Runs, committed: Path, gate: Callable[..., Told], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    told = gate(runs(), committed, "--junit", tmp_path / "file" / "j.xml")
    assert told.status == 254
    assert "PASS: compared" in told.err
    assert "--junit" in told.err.splitlines()[-1]


# --- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "There is no baseline at"),
        ("", "is empty"),
        (" \n", "is empty"),
        ('{"schema": 1, "results": [', "is damaged"),
        ("\x00\x01", "is damaged"),
        ("[]", "is not a baseline"),
        ('{"results": []}', "is not a baseline"),
        ('{"schema": true}', "is not a baseline"),
        ('{"schema": 0}', "written by an older contend, with schema 0; expected 1"),
        ('{"schema": 99}', "written by a newer contend, with schema 99; expected 1"),
        ('{"schema": 1}', "`results` is missing"),
        ('{"schema": 1, "contend": "0", "profile": "quick", "machine": {}, "results": []}', "holds no results"),
        ('{"schema": 1, "contend": "0", "profile": "quick", "machine": {}, "results": [7]}', "is damaged"),
        ("[" * 100_000, "is damaged"),
    ],
)
def test_a_baseline_that_is_none_is_one_sentence_with_the_remedy(
    text: str | None, says: str, runs: Runs, gate: Callable[..., Told], tmp_path: Path
) -> None:
    file = tmp_path / "baseline.json"
    if text is not None:
        file.write_text(text)
    told = gate(runs(), file)
    assert (told.status, told.document) == (254, {})
    (line,) = told.err.splitlines()
    assert says in line
    assert "contend baseline BUNDLE --out" in line


def test_no_change_of_one_value_of_a_baseline_is_a_traceback(
    runs: Runs, committed: Path, gate: Callable[..., Told], tmp_path: Path
) -> None:
    def damage(path: list[str | int], value: object) -> Callable[[Json], None]:
        def change(document: Any) -> None:
            for step in path[:-1]:
                document = document[step]
            document[path[-1]] = value

        return change

    def paths(value: Any, at: list[str | int]) -> list[list[str | int]]:
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return [at, *(path for key, each in inner for path in paths(each, [*at, key]))]

    original = json.loads(committed.read_text())
    for path in paths(original, [])[1:]:
        values: tuple[object, ...] = (None, -1, "x", [], {})
        for value in values:
            told = gate(runs(), rewritten(committed, tmp_path, damage(path, value)))
            assert told.status in (0, 1, 2, 254), (path, value, told.err)
            assert "Traceback" not in told.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "There is no comparison of times"),
        ("", "is damaged"),
        ('{"schema": 2, "comparisons": []}', "its schema is 2"),
        ('{"schema": 1}', "`comparisons` is missing"),
        (json.dumps({"schema": 1, "comparisons": [timed(1.5, 1.2, 1.3)]}), "does not hold its ratio"),
        (json.dumps({"schema": 1, "comparisons": [timed(1.1, 1.2, 1.3, "fast")]}), "expected one of slower"),
        (json.dumps({"schema": 1, "comparisons": [timed(0, 1.2, 1.3)]}), "expected a number above 0"),
        (json.dumps({"schema": 1, "comparisons": [timed(float("nan"), 1.2, 1.3)]}), "expected a number above 0"),
        (json.dumps({"schema": 1, "comparisons": [{**timed(1.1, 1.2, 1.3), "low": None}]}), "are needed for 'slower'"),
    ],
)
def test_a_comparison_of_times_that_is_none_is_one_sentence(
    *, text: str | None, says: str, runs: Runs, committed: Path, gate: Callable[..., Told], tmp_path: Path
) -> None:
    file = tmp_path / "times.json"
    if text is not None:
        file.write_text(text)
    told = gate(runs(), committed, "--times", file)
    assert told.status == 254
    assert says in told.err
    assert len(told.err.splitlines()) == 1


def test_an_empty_comparison_of_times_is_said(
    runs: Runs, committed: Path, gate: Callable[..., Told], tmp_path: Path
) -> None:
    told = gate(runs(), committed, "--times", times_file(tmp_path))
    assert (told.status, told.reasons(tier="times")[0]["level"]) == (0, "doubt")


def test_a_bundle_that_is_none_is_wrong_usage(committed: Path, gate: Callable[..., Told], tmp_path: Path) -> None:
    told = gate(tmp_path / "nowhere", committed)
    assert told.status == 254
    assert "no bundle at" in told.err


def test_the_gate_opens_no_history_and_imports_nothing_heavy(runs: Runs, committed: Path) -> None:
    code = (
        "import sys; from contend.cli import run_command_line as run; "
        f"run(['gate', {str(runs())!r}, '--baseline', {str(committed)!r}]); "
        "print([name for name in ('duckdb', 'matplotlib', 'psycopg', 'rich', 'jinja2') if name in sys.modules])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[-1] == "[]"
