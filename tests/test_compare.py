"""`contend compare` as a user runs it: real systems in real processes; what it says, writes and leaves behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[1]
SHORT = ("--pairs", "6", "--block", "0.03")

# A queue whose claim costs `SPIN` seconds on a core and nothing else that could vary.
SYSTEM = """
import collections, sqlite3, time

class Queue:
    databases = ("sqlite",)

    def __init__(self, url):
        self.path = url.removeprefix("sqlite:///")

    def install(self):
        with sqlite3.connect(self.path) as connection:
            connection.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY)")

    def enqueue(self, jobs):
        with sqlite3.connect(self.path) as connection:
            return [connection.execute("INSERT INTO jobs DEFAULT VALUES").lastrowid for _ in jobs]

    def claim(self, worker, limit):
        until = time.thread_time() + {spin}
        while time.thread_time() < until:
            pass
        return [0] * limit

    def complete(self, worker, handles):
        pass
"""


def write_queue(folder: Path, spin_seconds: float) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "queues.py").write_text(SYSTEM.replace("{spin}", str(spin_seconds)))
    return f"{folder}/queues.py:Queue"


def compare(*arguments: str, cwd: Path) -> tuple[int, dict[str, Any], str]:
    """Run the command with --json; give the exit status, the only comparison and what else was said."""
    done = subprocess.run(
        [sys.executable, "-m", "contend", "compare", *arguments, "--json"],
        cwd=cwd, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip  # as a user would write it
    document: dict[str, Any] = json.loads(done.stdout or '{"schema": 1, "comparisons": [{}]}')
    assert document["schema"] == 1
    (comparison,) = document["comparisons"]
    return done.returncode, comparison, done.stderr


def test_a_system_three_times_as_slow_is_called_slower_and_measured_once_more(tmp_path: Path) -> None:
    base, head = write_queue(tmp_path / "a", 0.001), write_queue(tmp_path / "b", 0.003)
    status, found, said = compare(base, head, *SHORT, "--seed", "4", "--out", "times/new.json", cwd=tmp_path)
    assert status == 0, said
    assert found["name"] == f"claim-batch {head} sqlite"
    assert found["verdict"] == "slower"
    assert 2 < found["low"] <= found["ratio"] <= found["high"] < 4
    assert found["words"].startswith("slower by ")
    assert found["repeated"]["verdict"] == "slower"
    assert found["repeated"]["repeated"] is None
    assert found["repeated"]["seed"] == 5
    assert set(found["control"]) == {"ratio", "low", "high"}
    assert 0.8 < found["control"]["ratio"] < 1.25
    assert (found["pairs"], len(found["block_seconds"]["control"])) == (6, 6)
    assert "in 6 pairs" in " ".join(found["doubts"])
    assert json.loads((tmp_path / "times" / "new.json").read_text())["comparisons"] == [found]
    assert f"{found['name']}: {found['words']}" in said
    assert f"measured once more: {found['repeated']['words']}" in said


def test_a_quicker_system_is_called_faster_and_not_measured_again(tmp_path: Path) -> None:
    base, head = write_queue(tmp_path / "a", 0.003), write_queue(tmp_path / "b", 0.001)
    status, found, said = compare(base, head, *SHORT, cwd=tmp_path)
    assert (status, found["verdict"], found["repeated"]) == (0, "faster", None), said
    assert found["ratio"] < 0.5


@pytest.mark.parametrize(
    ("database", "system", "operation"),
    [
        ("sqlite", "immediate-batch", "complete"),
        ("sqlite-rollback", "update-returning", "enqueue"),
        ("postgres", "skip-locked-cte", "claim"),
    ],
)
def test_operations_are_timed_on_every_database(database: str, system: str, operation: str, tmp_path: Path) -> None:
    """Whatever comes out for so few and short blocks, the blocks are there and the status is that of the verdict."""
    name = f"reference:{system}"
    status, found, said = compare(
        name, name, "--database", database, "--operation", operation, "--pairs", "4", "--block", "0.02", cwd=tmp_path
    )
    assert found, said
    assert status == (2 if found["verdict"] == "inconclusive" else 0), said
    assert found["name"] == f"{operation}-batch {name} {database}"
    assert all(seconds > 0 for arm in found["block_seconds"].values() for seconds in arm)
    assert found["conditions"]["version"]


def test_a_99th_percentile_is_told_only_where_a_block_holds_a_thousand_operations(tmp_path: Path) -> None:
    name = write_queue(tmp_path / "a", 0.00001)
    _, found, said = compare(name, name, "--pairs", "4", "--block", "0.04", "--batch", "1", cwd=tmp_path)
    assert found["operations_in_a_block"] >= 1000, said
    assert found["p99"]["low"] <= found["p99"]["ratio"] <= found["p99"]["high"]
    assert found["name"] == f"claim {name} sqlite"
    _, found, said = compare(name, name, "--pairs", "4", "--block", "0.01", "--batch", "1", cwd=tmp_path)
    assert found["operations_in_a_block"] < 1000, said
    assert found["p99"] is None


def test_base_may_be_the_same_package_of_another_checkout(tmp_path: Path) -> None:
    """Both files are `shop/queues.py` and import their own `shop.speed`, relatively and by name."""
    for folder, spin in (("old", 0.001), ("new", 0.003)):
        package = tmp_path / folder / "shop"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "speed.py").write_text(f"SPIN = {spin}\n")
        text = SYSTEM.replace("{spin}", "(SPIN + shop.speed.SPIN) / 2")
        (package / "queues.py").write_text(f"import shop.speed\nfrom .speed import SPIN\n{text}")
    status, found, said = compare("old/shop/queues.py:Queue", "new/shop/queues.py:Queue", *SHORT, cwd=tmp_path)
    assert (status, found.get("verdict")) == (0, "slower"), said
    assert 2 < found["ratio"] < 4


def test_every_two_pairs_have_new_processes_on_new_copies_of_the_one_prepared_database(tmp_path: Path) -> None:
    name = write_queue(tmp_path / "a", 0.0001)
    file, log = tmp_path / "a" / "queues.py", tmp_path / "born"
    born = f"        import os; open({str(log)!r}, 'a').write(f'{{os.getpid()}} {{url}}\\n')\n"
    file.write_text(file.read_text().replace("def __init__(self, url):\n", f"def __init__(self, url):\n{born}"))
    _, found, said = compare(name, name, "--pairs", "5", "--block", "0.01", cwd=tmp_path)
    assert found, said
    lines = [line.split() for line in log.read_text().splitlines()]
    assert len(lines) == 1 + 3 * 3  # one to prepare, three arms for each of pairs 1 and 2, 3 and 4, 5
    assert len({pid for pid, _ in lines}) == len({url for _, url in lines}) == len(lines)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("[0] * (limit - 1)", "a claim of 10 jobs gave 9"),
        ("None", "claim returned None, expected a list of 10"),
        ("__import__('os')._exit(7)", "head died (exit status 7)"),
    ],
)
def test_a_claim_that_cannot_be_timed_is_inconclusive_with_the_reason(answer: str, words: str, tmp_path: Path) -> None:
    base, head = write_queue(tmp_path / "a", 0.0001), write_queue(tmp_path / "b", 0.0001)
    broken = tmp_path / "b" / "queues.py"
    broken.write_text(broken.read_text().replace("[0] * limit", answer))
    status, _, said = compare(base, head, *SHORT, cwd=tmp_path)
    assert status == 2
    assert words in said
    assert "Traceback" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_comparison_leaves_no_process_and_no_file(number: signal.Signals, tmp_path: Path) -> None:
    name = write_queue(tmp_path / "a", 0.001)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "contend", "compare", name, name, "--pairs", "200", "--out", "times.json"],
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "TMPDIR": str(scratch), "XDG_CACHE_HOME": str(scratch)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as run:  # fmt: skip  # as a user would write it
        assert run.stdout is not None
        while "pairs of blocks" not in run.stdout.readline():
            assert run.poll() is None
        children = psutil.Process(run.pid).children(recursive=True)
        assert len(children) >= 3
        run.send_signal(number)
        _, said = run.communicate(timeout=30)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    assert run.returncode == 2
    assert "Interrupted before all blocks were timed" in said
    assert not (tmp_path / "times.json").exists()
    assert [path for path in scratch.rglob("*") if path.is_file()] == []


@pytest.mark.full
def test_itself_is_hardly_ever_called_different_and_thirty_percent_is_found() -> None:
    """For real, 100 times each: half an hour. A machine that is not quiet may fail this; the benchmark prints its load."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "self-test"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["benchmarks"]["self_test"]
    assert found["called_different_of_itself"] <= 5, found
    assert found["found_of_slowed"] >= 95, found
