"""Loads: Locust's users work on a real database, and the verdict, the percentiles and Locust's own figures are of the same calls."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import socket
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
from hypothesis import given
from hypothesis import strategies as st

import scenarios
from harness.processes import Source
from harness.runners.apart import Clock, Outbox, receive, settle
from harness.runners.load import Clockwork, Order, figures, problems

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


@pytest.mark.full
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
    while time.monotonic() < until and not list(cwd.glob("runs/latest/results/*/events/w1.ndjson")):
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


# --- users on other machines -----------------------------------------------------------------------------------------


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(*words: object, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "contend", "load", *map(str, words)],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip  # as a user would write it


def listen(port: int) -> None:
    """Wait until somebody listens at a port."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL a process and all it has started."""
    for each in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()


def apart(cwd: Path, port: int, *, killed: bool) -> tuple[subprocess.Popen[str], str, list[int]]:
    """Run a master and two workers, each for a machine of its own; give the master, its document, the workers' exit statuses."""
    master = start(
        "--master", "--master-bind-port", port, "--expect-workers", 2, "--users", 4, "--run-time", 5, "--json", cwd=cwd
    )
    listen(port)
    workers = [start("--worker", "--master-port", port, cwd=cwd) for _ in range(2)]
    if killed:
        until = time.monotonic() + 60
        while time.monotonic() < until and len(list(cwd.glob("runs/latest/results/*/load/apart/m*/m?w1.ndjson"))) < 2:
            time.sleep(0.1)
        kill(workers[1])
    document, _ = master.communicate(timeout=150)
    for worker in workers:
        worker.communicate(timeout=60)
    return master, document, [worker.returncode for worker in workers]


def test_the_histories_of_other_machines_come_back_and_are_judged_together(port: int, tmp_path: Path) -> None:
    master, told, workers = apart(tmp_path, port, killed=False)
    assert (master.returncode, workers) == (0, [0, 0]), json.loads(told)["results"][0]["reasons"]
    (result,) = json.loads(told)["results"]
    folder = result_folder(tmp_path, "skip-locked-cte")
    assert {row["name"]: row["count"] for row in result["series"]["load"]["operations"]} == counted(folder) - Counter(
        clock=1
    )
    with duckdb.connect() as connection:
        connection.read_parquet(str(folder / "history" / "operations.parquet")).create_view("operations")
        users = connection.execute("SELECT DISTINCT process FROM operations WHERE kind = 'claim' AND phase = 'main'")
        assert sorted(name for (name,) in users.fetchall()) == ["m1w0", "m1w1", "m2w0", "m2w1"]
        ((unsure,),) = connection.execute("SELECT value::BIGINT FROM operations WHERE kind = 'clock'").fetchall()
    assert 0 < unsure < 1_000_000_000


def test_a_worker_that_is_killed_makes_a_load_inconclusive_and_accuses_nobody(port: int, tmp_path: Path) -> None:
    master, told, workers = apart(tmp_path, port, killed=True)
    assert (master.returncode, workers[0]) == (2, 0), json.loads(told)["results"][0]["reasons"]
    (result,) = json.loads(told)["results"]
    assert result["findings"] == []
    assert "never said how it ended" in " ".join(result["reasons"])


def test_a_worker_that_loses_its_master_says_so_and_keeps_what_its_users_did(port: int, tmp_path: Path) -> None:
    master = start("--master", "--master-bind-port", port, "--users", 2, "--run-time", 60, cwd=tmp_path)
    listen(port)
    worker = start("--worker", "--master-port", port, cwd=tmp_path)
    until = time.monotonic() + 60
    while time.monotonic() < until and not list(tmp_path.glob("runs/latest/results/*/load/apart/m*/m?w0.ndjson")):
        time.sleep(0.1)
    kill(master)
    master.communicate(timeout=30)
    _, said = worker.communicate(timeout=60)
    assert worker.returncode == 2
    kept = re.search(r"went away before the users had finished\. What they did is kept in (\S+)\.", said)
    assert kept is not None, said
    assert any('"claim"' in file.read_text() for file in Path(kept[1]).glob("*.ndjson"))
    shutil.rmtree(Path(kept[1]).parent)


def test_what_workers_elsewhere_cannot_do_is_one_sentence(port: int, tmp_path: Path) -> None:
    for words, status, sentence in (
        (["--worker", "--master-port", port], 254, "No master listens at 127.0.0.1"),
        (["--master", "--users", 1, "--expect-workers", 2], 254, "2 workers for 1 users"),
        (["cleanup-churn", "--master"], 254, "are for claim-race"),
        (
            ["--master", "--master-bind-port", port, "--max-wait", 2],
            2,
            "Of 1 workers not all had joined the master after 2 s",
        ),
    ):
        found, document, said = load(*words, cwd=tmp_path)
        assert found == status, said
        assert sentence in said + json.dumps(document)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        status, _, said = load("--master", "--master-bind-port", port, cwd=tmp_path)
        assert status == 254
        assert f"cannot listen at 127.0.0.1:{port}" in said


@given(
    offset=st.integers(-(10**12), 10**12),
    questions=st.lists(st.tuples(*[st.integers(0, 10**9)] * 3), min_size=1, max_size=5),
)
def test_the_true_offset_of_a_clock_is_within_its_bounds(offset: int, questions: list[tuple[int, int, int]]) -> None:
    clock, now = Clock(), 0
    assert clock.bounds(now) is None
    heard = []
    for pause, there, back in questions:
        asked = now + pause
        now = asked + there + back
        clock.answered(asked, asked + there + offset, now)
        heard.append(now)
    bounds = clock.bounds(now)
    assert bounds is not None
    assert bounds[0] <= offset <= bounds[1]
    age = [(now - each) // 10_000 for each in heard]
    widths = zip(age, questions, strict=True)
    assert bounds[1] - bounds[0] <= min(2 * old + there + back for old, (_, there, back) in widths)


def test_only_whole_lines_are_sent_and_each_once(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    file = tmp_path / "w0.ndjson"
    file.write_text('{"a":1}\n{"b"')
    assert outbox.take() == {"w0": '{"a":1}\n'}
    assert outbox.take() == {}
    with file.open("a") as more:
        more.write(":2}\n")
    assert outbox.take() == {"w0": '{"b":2}\n'}


def line(**event: object) -> str:
    return json.dumps(event) + "\n"


ALIVE = line(e="process", process="m1w0", role="worker", pid=1, t=100)
CLAIM = line(e="invoke", op=1, kind="claim", phase="main", t=110) + line(
    e="ok", op=1, t=120, jobs=[7, 8], tokens=[1, 2]
)


def settled(tmp_path: Path, text: str) -> list[dict[str, Any]]:
    (tmp_path / "events").mkdir()
    receive(tmp_path, "m1", {"m1w0": text}, (1000, 1030))
    assert settle(tmp_path, 5000) == []
    return [json.loads(each) for each in (tmp_path / "events" / "m1w0.ndjson").read_text().splitlines()]


def test_an_invocation_counts_from_the_earliest_and_a_completion_from_the_latest_it_can_have_been(
    tmp_path: Path,
) -> None:
    events = settled(tmp_path, ALIVE + CLAIM + line(e="end", t=130, how="done"))
    assert [event["t"] for event in events] == [1100, 1110, 1150, 1160]
    (_, asked, said, _) = (
        json.loads(each) for each in (tmp_path / "events" / "clocks.ndjson").read_text().splitlines()
    )
    assert (asked["kind"], said["value"]) == ("clock", 30)


def test_a_lost_worker_may_have_claimed_enqueued_and_completed_what_it_held(tmp_path: Path) -> None:
    done = line(e="invoke", op=2, kind="complete", phase="main", t=121, jobs=[7], tokens=[1]) + line(
        e="ok", op=2, t=122
    )
    events = settled(tmp_path, ALIVE + CLAIM + done)
    assert not any(event["e"] == "end" for event in events)
    added = events[5:]
    assert [(e["kind"], e["t"], e.get("jobs")) for e in added if e["e"] == "invoke"] == [
        ("claim", 1152, None),
        ("enqueue", 1152, None),
        ("complete", 1152, [8]),
    ]
    assert [(e["op"], e["t"]) for e in added if e["e"] == "info"] == [(3, 5000), (4, 5000), (5, 5000)]


def test_a_worker_that_was_never_heard_of_again_is_a_problem_and_may_have_done_anything(tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    before = time.monotonic_ns()
    receive(tmp_path, "m1", {}, None)
    now = time.monotonic_ns()
    assert settle(tmp_path, now) == ["The worker m1 took its order and was never heard of again."]
    began, *rest = (json.loads(each) for each in (tmp_path / "events" / "m1.ndjson").read_text().splitlines())
    assert [event["kind"] for event in rest if event["e"] == "invoke"] == ["claim", "enqueue"]
    assert {event["t"] for event in rest if event["e"] == "info"} == {now}
    assert before <= began["t"] <= now


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
    assert (told["late"], told["locust"], problems(tmp_path)) == (None, [], [])


@pytest.mark.parametrize(
    ("begun", "late_ms", "said"), [(95, 999.0, ""), (94, 0.0, "of 100 turns due 94"), (100, 1000.0, "1.0 s late")]
)
def test_a_rate_is_kept_or_the_run_says_so(begun: int, late_ms: float, said: str, tmp_path: Path) -> None:
    clockwork = Clockwork()
    clockwork.arrived(due=100, begun=begun, late_ms=late_ms)
    clockwork.save(tmp_path / "users-1.json")
    late = figures(tmp_path)["late"]
    assert (said in late) if said else (late is None)
