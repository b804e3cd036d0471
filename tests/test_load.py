"""Loads: Locust's users work on a real database, and the verdict, the percentiles and Locust's own figures are of the same calls."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pytest

import scenarios
from harness.processes import Source
from harness.runners.load import Clockwork, Order, figures

LOCUSTFILE = Path(scenarios.__file__).with_name("locustfile.py")


def run(*words: object, cwd: Path) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, "-m", *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=180, check=False
    )
    return done.returncode, json.loads(done.stdout) if done.stdout.startswith("{") else {}, done.stderr


def load(*words: object, cwd: Path) -> tuple[int, dict[str, Any], str]:
    return run("contend", "load", *words, "--json", cwd=cwd)


def result_folder(cwd: Path, system: str) -> Path:
    (found,) = (cwd / "runs" / "latest" / "results").glob(f"*{system}*")
    return found


def counted(folder: Path) -> Counter[str]:
    """Count what users did, by the history."""
    query = "SELECT kind, count(*) FROM operations WHERE phase = 'main' GROUP BY kind"
    with duckdb.connect() as connection:
        connection.read_parquet(str(folder / "history" / "operations.parquet")).create_view("operations")
        return Counter(dict(connection.execute(query).fetchall()))


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_right_queue_passes_and_all_figures_are_of_the_same_calls(database: str, tmp_path: Path) -> None:
    status, document, said = load("--users", 3, "--run-time", 3, "--database", database, cwd=tmp_path)
    assert status == 0, said
    (result,) = document["results"]
    assert (result["mode"], result["verdict"], result["coverage"]["control"]) == ("load", "pass", "caught")
    figures = result["series"]["load"]
    ours = {row["name"]: row["count"] for row in figures["operations"]}
    folder = result_folder(tmp_path, result["system"].partition(":")[2])
    assert ours == counted(folder)
    assert ours == {row["name"]: row["requests"] for row in figures["locust"]}
    assert sum(row["operations"] for row in figures["timeline"]) == sum(ours.values())
    assert max(row["users"] for row in figures["timeline"]) == 3
    for row in figures["operations"]:
        times = [milliseconds for _, milliseconds in row["percentiles"]]
        assert times == sorted(times)
        assert 0 < row["p50_ms"] <= row["p99_ms"] <= row["p999_ms"] <= row["max_ms"]
    assert any(row["median_ms"] % 1 for row in figures["locust"])  # not whole milliseconds
    assert figures["late"] is None
    assert not (folder / "load" / "order.json").exists()  # it held a password
    again = result["commands"]["again"]
    assert f"contend load claim-race --system {result['system']} --database {database} --users 3" in again
    assert again.endswith("--run-time 3")
    status, checked, said = run("contend", "check", "runs/latest", "--json", cwd=tmp_path)
    assert (status, checked["results"][0]["verdict"]) == (0, "pass"), said


def test_a_wrong_queue_fails_though_every_request_succeeded(tmp_path: Path) -> None:
    words = ("--users", 6, "--run-time", 3, "--database", "postgres", "--system", "reference:scalar-subquery")
    status, document, said = load(*words, cwd=tmp_path)
    assert status == 1, said
    (result,) = document["results"]
    assert "no-double-claim" in [finding["invariant"] for finding in result["findings"]]
    claims = next(row for row in result["series"]["load"]["locust"] if row["name"] == "claim")
    assert claims["failures"] <= claims["requests"] / 10  # a deadlock is an error; a job handed out twice is none


def test_ten_scans_on_a_bounded_pool_pass_batched_and_fail_when_each_change_is_written(tmp_path: Path) -> None:
    status, document, said = load("pool-pressure", "--run-time", 8, cwd=tmp_path)
    assert status == 0, said
    (result,) = document["results"]
    assert (result["system"], result["coverage"]["control"]) == ("reference:batched", "caught")
    (control,) = document["controls"]
    assert [finding["invariant"] for finding in control["findings"]] == ["pool-exhausted"]


def test_clean_up_beside_readers_and_work_is_loaded(tmp_path: Path) -> None:
    status, document, said = load("cleanup-churn", "--run-time", 3, "--users", 6, cwd=tmp_path)
    assert status == 0, said
    kinds = {row["name"] for row in document["results"][0]["series"]["load"]["operations"]}
    assert {"status_all", "submit_run", "claim", "complete", "clean_by_tag"} <= kinds


def test_at_a_rate_latency_counts_from_when_a_turn_was_due(tmp_path: Path) -> None:
    words = ("--users", 2, "--run-time", 3, "--database", "sqlite")
    status, document, said = load(*words, "--rate", 20, cwd=tmp_path)
    figures = document["results"][0]["series"]["load"]
    claims = next(row for row in figures["operations"] if row["name"] == "claim")
    assert 35 <= claims["count"] <= 62, said  # 20 a second for 3 seconds, and users come and go
    assert figures["late"] is None
    status, document, said = load(*words, "--rate", 100_000, cwd=tmp_path)
    assert status == 0, said
    figures = document["results"][0]["series"]["load"]
    assert figures["late"].startswith("The rate was not kept: of ")
    claims = next(row for row in figures["operations"] if row["name"] == "claim")
    completes = next(row for row in figures["operations"] if row["name"] == "complete")
    assert (
        claims["p50_ms"] > 500 > completes["p50_ms"]
    )  # half-way through 3 s the turn at hand was due more than 0.5 s ago


def test_a_ramp_brings_users_step_by_step(tmp_path: Path) -> None:
    status, document, said = load("--users", 10, "--run-time", 5, "--ramp", "--rate", 100, cwd=tmp_path)
    assert status == 0, said
    users = [row["users"] for row in document["results"][0]["series"]["load"]["timeline"]]
    assert users[0] < users[-2] >= 8
    assert document["results"][0]["commands"]["again"].endswith("--rate 100.0 --ramp")


@pytest.mark.parametrize(
    ("system", "status", "word"),
    [("reference:select-then-update", 1, "FAIL"), ("reference:update-returning", 0, "PASS")],
)
def test_locust_by_hand_has_its_verdict_and_exit_status(system: str, status: int, word: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "-u", "3", "-r", "3", "-t", "3s"]
    command += ["--processes", "3", "--database", "sqlite", "--system", system]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == status, done.stderr
    assert f"{word}: " in done.stdout + done.stderr
    assert (tmp_path / "runs" / "latest" / "report.html").exists()


def test_locust_by_hand_refuses_what_cannot_be(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "-u", "3", "-t", "3s"]
    done = subprocess.run(
        [*command, "--database", "sqlite"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 254
    assert "Use as many processes as users (--processes 3)." in done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--users", "0"], "Invalid value for '--users'"),
        (["--run-time", "0"], "Invalid value for '--run-time'"),
        (["--rate", "0"], "Invalid value for '--rate'"),
        (["--database", "sqlite", "--processes", "2"], "10 users in 2 processes on SQLite"),
        (["--users", "2", "--processes", "3"], "3 processes for 2 users"),
        (["pool-pressure", "--processes", "2"], "share one pool"),
        (["pool-pressure", "--database", "sqlite"], "runs on postgres, not on sqlite"),
        (["bulk-delete"], "Invalid value for '[SCENARIO]'"),
        (["--system", "reference:nothing"], "no system named 'reference:nothing'"),
    ],
)
def test_a_load_that_cannot_be_is_one_sentence(words: list[str], sentence: str, tmp_path: Path) -> None:
    status, _, said = load(*words, cwd=tmp_path)
    assert status == 254
    assert sentence in said
    assert len(said.strip().splitlines()) == 1


def test_an_answer_against_the_contract_is_never_a_pass(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "class Mine:\n"
        "    databases = ('sqlite',)\n"
        "    def __init__(self, url): pass\n"
        "    def install(self): pass\n"
        "    def enqueue(self, jobs): return list(range(len(jobs)))\n"
        "    def claim(self, worker, limit): return 'nothing'\n"
        "    def complete(self, worker, handles): pass\n"
    )
    words = ("--users", 2, "--run-time", 3, "--database", "sqlite", "--system", "mine.py:Mine")
    status, document, said = load(*words, cwd=tmp_path)
    assert status == 2, said
    assert "claim returned 'nothing' (str); expected a list" in " ".join(document["results"][0]["reasons"])


def started(*words: str, cwd: Path) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """Start a load on SQLite; give it with its Locust processes, once users are at work."""
    command = [sys.executable, "-m", "contend", "load", "--database", "sqlite", "--users", "2", "--json", *words]
    begun = subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until = time.monotonic() + 60
    while time.monotonic() < until and not list(cwd.glob("runs/*/results/*/events/w1.ndjson")):
        time.sleep(0.05)
    children = psutil.Process(begun.pid).children(recursive=True)
    return begun, [child for child in children if "locust" in " ".join(child.cmdline())]


def test_a_load_that_is_interrupted_leaves_no_process_and_keeps_what_it_has(tmp_path: Path) -> None:
    begun, users = started("--run-time", "60", cwd=tmp_path)
    assert len(users) == 3  # the master and one process for each user
    everybody = psutil.Process(begun.pid).children(recursive=True)
    begun.send_signal(signal.SIGINT)
    _, said = begun.communicate(timeout=60)
    assert begun.returncode == 2, said
    _, alive = psutil.wait_procs(everybody, timeout=10)
    assert alive == []
    assert list(tmp_path.glob("runs/*/results/*/events/w1.ndjson"))


def test_users_that_are_killed_make_a_load_inconclusive(tmp_path: Path) -> None:
    begun, users = started("--run-time", "5", cwd=tmp_path)
    workers = [user for user in users if psutil.Process(begun.pid) not in [user.parent()]]
    workers[0].kill()
    out, said = begun.communicate(timeout=120)
    assert begun.returncode == 2, said
    reasons = " ".join(json.loads(out)["results"][0]["reasons"])
    assert "never said how it ended" in reasons


# --- what users' processes measure -----------------------------------------------------------------------------------

ORDER = Order(
    scenario="claim-race",
    url="postgresql://u:secret@127.0.0.1/x",
    source=Source("shipped", b"\x00\xff", "Mine", "Mine"),
    options={"run_time": 3},
    folder=Path(),
    witness="none",
    process="",
    batch=5,
    seed=1,
    users=2,
    run_time=3,
    spawn_rate=1.5,
    processes=1,
    rate=None,
    ramp=False,
    full=True,
)


def test_an_order_is_read_back_as_it_was_and_by_nobody_else(tmp_path: Path) -> None:
    order = replace(ORDER, folder=tmp_path)
    path = order.save()
    assert Order.read(path) == order
    assert path.stat().st_mode & 0o077 == 0


def test_the_figures_of_several_processes_are_put_together(tmp_path: Path) -> None:
    for n in range(2):
        clockwork = Clockwork()
        clockwork.users = 3
        for milliseconds in range(1, 101):
            clockwork.took("claim", time.monotonic_ns() - milliseconds * 1_000_000, "ok")
        clockwork.took("complete", time.monotonic_ns() - 10**12, "fail")  # beyond the histogram: its highest
        clockwork.arrived(due=100, begun=96, late_ms=20.0)
        clockwork.save(tmp_path / f"users-{n}.json")
    told = figures(tmp_path)
    claim, complete = told["operations"]
    assert (claim["name"], claim["count"], claim["failures"]) == ("claim", 200, 0)
    assert claim["p50_ms"] == pytest.approx(50, rel=0.02)
    assert claim["p99_ms"] == pytest.approx(99, rel=0.02)
    assert (complete["count"], complete["failures"]) == (2, 2)
    assert complete["max_ms"] == pytest.approx(60_000, rel=0.001)
    assert sum(row["operations"] for row in told["timeline"]) == 202
    assert sum(row["errors"] for row in told["timeline"]) == 2
    assert max(row["users"] for row in told["timeline"]) in (3, 6)
    assert told["timeline"][0]["second"] == 0
    assert (told["late"], told["locust"], told["problems"]) == (None, [], [])


@pytest.mark.parametrize(
    ("begun", "late_ms", "said"), [(95, 999.0, ""), (94, 0.0, "of 100 turns due 94"), (100, 1000.0, "1.0 s late")]
)
def test_a_rate_is_kept_or_the_run_says_so(begun: int, late_ms: float, said: str, tmp_path: Path) -> None:
    clockwork = Clockwork()
    clockwork.arrived(due=100, begun=begun, late_ms=late_ms)
    clockwork.save(tmp_path / "users-1.json")
    late = figures(tmp_path)["late"]
    assert (said in late) if said else (late is None)
