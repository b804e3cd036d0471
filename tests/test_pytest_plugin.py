"""The pytest plugin, by pytest's own tester: fixtures, marker, options, failures, xdist, and what it costs when it is not used."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
EXAMPLE = Path(__file__).parents[1] / "examples" / "pytest-sqlite"
INSTALLED = any(each.value == "contend.pytest_plugin" for each in entry_points(group="pytest11"))
PLUGIN = () if INSTALLED else ("-p", "contend.pytest_plugin")
QUICKLY = "-p", "no:locust", "-p", "no:cacheprovider"
RIGHT = "\"UPDATE jobs SET status = 'running' \""
WRONG = """
        ready = self.connection.execute("SELECT id FROM jobs WHERE status = 'ready' ORDER BY id LIMIT ?", (limit,))
        claimed = ready.fetchall()
        for job in claimed:
            self.connection.execute("UPDATE jobs SET status = 'running' WHERE id = ?", job)
"""


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(*PLUGIN, *QUICKLY, *arguments)


@pytest.fixture
def example(pytester: pytest.Pytester) -> Path:
    for file in EXAMPLE.iterdir():
        if file.is_file():
            shutil.copy(file, pytester.path)
    return pytester.path


def break_it(example: Path) -> None:
    """Take the one statement of its claim apart, as so many queues have it."""
    file = example / "my_queue.py"
    text = file.read_text()
    begin, end = text.index("        claimed = "), text.index("        return sorted(")
    file.write_text(text[:begin] + WRONG.lstrip("\n") + text[end:])


def test_the_example_passes_and_leaves_one_page(example: Path, pytester: pytest.Pytester) -> None:
    done = run(pytester, "--contend-report", "pages/report.html")
    done.assert_outcomes(passed=3)
    done.stdout.fnmatch_lines(["contend: the report of 2 runs is pages/report.html"])
    page = (example / "pages" / "report.html").read_text()
    assert "my_queue.py:MyQueue" in page
    document = json.loads((example / "pages" / "report-runs" / "latest" / "results.json").read_text())
    assert [(each["mode"], each["verdict"]) for each in document["results"]] == [("race", "pass"), ("explore", "pass")]


def test_broken_it_fails_with_columns_sentence_and_the_line_to_see_it_again(
    example: Path, pytester: pytest.Pytester
) -> None:
    break_it(example)
    done = run(pytester)
    done.assert_outcomes(failed=3)
    done.stdout.re_match_lines_random(
        [
            r"E +no-double-claim: w\d and w\d were both handed job \d+: .*",
            r"E +w0 +w1 *",
            r"E +SELECT id FROM jobs WHERE status = 'ready' ORDER BY id.*",
            r"E .*10 of 10 times\. contend replay .*--finding 1",
            r"E +Again: contend run claim-race --system my_queue\.py:MyQueue .*",
            r"E +AssertionError: \d+ statements, at most 1 allowed",
            r"E +10 × UPDATE jobs SET status = \? WHERE id = \?",
        ]
    )
    assert "contend/testing.py" not in done.stdout.str()  # nothing of ours stands in the traceback
    (replay,) = {line.partition("contend replay ")[2] for line in done.outlines if line.endswith("--finding 1")}
    again = subprocess.run(
        [sys.executable, "-m", "contend", "replay", *replay.split()],
        cwd=example,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 1, again.stderr
    assert "no-double-claim" in again.stdout


def test_a_class_made_in_a_test_on_several_processes_of_xdist_and_both_databases(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sqlite3, pytest

        @pytest.fixture
        def queue():
            class Mine:
                databases = ("sqlite",)
                def __init__(self, url): self.db = sqlite3.connect(url[len("sqlite:///"):], timeout=30, isolation_level=None)
                def install(self): self.db.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT DEFAULT 'ready')")
                def enqueue(self, jobs):
                    add = "INSERT INTO jobs DEFAULT VALUES RETURNING id"
                    return [self.db.execute(add).fetchall()[0][0] for _ in jobs]
                def claim(self, worker, limit):
                    take = ("UPDATE jobs SET status = 'running' WHERE id IN "
                            "(SELECT id FROM jobs WHERE status = 'ready' LIMIT ?) RETURNING id")
                    return [job for (job,) in self.db.execute(take, (limit,)).fetchall()]
                def complete(self, worker, handles):
                    self.db.executemany("UPDATE jobs SET status = 'done' WHERE id = ?", [(job,) for job in handles])
            return Mine

        @pytest.mark.contend(workers=2, batch=1)
        @pytest.mark.parametrize("number", [1, 2])
        def test_explored(contend, queue, number):
            contend.explore(queue).assert_passed()

        @pytest.mark.contend(database="postgres", workers=2, batch=1)
        def test_on_postgres(contend, statement_count):
            contend.explore("reference:skip-locked-cte").assert_passed()
            with statement_count("postgres", limit=0, round_trips=1) as counted:
                import psycopg
                with psycopg.connect(counted.url, autocommit=True) as connection:
                    connection.execute("CREATE TABLE t (n int)")
                    counted.reset()
    """)
    done = run(pytester, "-n", "2", "--contend-report", "report.html")
    done.assert_outcomes(passed=3)
    done.stdout.fnmatch_lines(["*contend: the report of 3 runs is *report.html"])
    assert "Mine" in (pytester.path / "report.html").read_text()


def test_unused_it_costs_next_to_nothing_and_it_can_be_left_out(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sys

        def test_nothing_heavy_is_imported():
            heavy = {"duckdb", "psycopg", "matplotlib", "locust", "hypothesis", "contend.campaign", "harness"} & set(sys.modules)
            assert heavy == set()
    """)
    run(pytester, "-p", "no:hypothesispytest").assert_outcomes(passed=1)
    pytester.makepyfile("def test_without(contend): pass")
    if INSTALLED:
        done = run(pytester, "-p", "no:contend")
        done.assert_outcomes(errors=1)
        done.stdout.fnmatch_lines(["*fixture 'contend' not found*"])


def test_what_is_wrong_is_said_in_one_sentence(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.contend(8)
        def test_by_place(contend): pass

        def test_unknown(contend):
            contend.race("reference:immediate-batch", scenario="claim-rice")

        class Half:
            def install(self): pass

        def test_half(contend):
            contend.race(Half)
    """)
    done = run(pytester)
    done.stdout.re_match_lines_random(
        [
            r"E .*UsageError: The marker `contend` takes parameters by name, such as contend\(workers=8\)\.",
            r"E .*claim-rice.*claim-race.*",
            r"E .*it has no method claim\(\).*",
        ]
    )


WORKER = """
import json, sqlite3, sys, time

db = sqlite3.connect(sys.argv[1].removeprefix("sqlite:///"), timeout=30, isolation_level=None)

def claim(worker, limit):
    found = db.execute("SELECT id FROM jobs WHERE status = 'ready' ORDER BY id LIMIT ?", (limit,)).fetchall()
    time.sleep(0.01)  # so that it is seen in every race
    db.executemany("UPDATE jobs SET status = 'running' WHERE id = ?", found)
    return [job for (job,) in found]

does = {
    "hello": lambda **_: {"capabilities": ["install", "enqueue", "claim", "complete"], "databases": ["sqlite"]},
    "install": lambda: db.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT DEFAULT 'ready')").close(),
    "enqueue": lambda jobs: [db.execute("INSERT INTO jobs DEFAULT VALUES").lastrowid for _ in jobs],
    "claim": claim,
    "complete": lambda worker, handles: None,
}
for line in sys.stdin:
    request = json.loads(line)
    number, op = request.pop("id"), request.pop("op")
    print(json.dumps({"id": number, "ok": does[op](**request)}), flush=True)
"""


def test_a_queue_in_another_language_fails_with_its_columns_and_wrong_use_with_a_sentence(
    pytester: pytest.Pytester,
) -> None:
    (pytester.path / "worker.py").write_text(WORKER)
    command = f"exec:{shlex.quote(sys.executable)} worker.py {{url}}"
    pytester.makepyfile(f"""
        def test_raced(contend):
            contend.race({command!r}, workers=3, jobs=60).assert_passed()

        def test_explored_on_sqlite(contend):
            contend.explore({command!r})

        def test_not_there(contend):
            contend.race("exec:no-such-program {{url}}")
    """)
    done = run(pytester)
    done.assert_outcomes(failed=3)
    done.stdout.re_match_lines_random(
        [
            r"E +AssertionError: fail: no-double-claim: \d+ found.*",
            r"E +no-double-claim: w\d and w\d were both handed job \d+: .*",
            r"E +ms +w\d +w\d",
            rf"E +Again: contend run claim-race --system '{re.escape(command)}' --database sqlite --workers 3 .*",
            r"E .*UsageError: .*can hold nothing back: race it with `contend run`, or explore it on Postgres\.",
            r"E .*SystemUnusable: .*no-such-program: No such file or directory\. Give a program .*",
        ]
    )
    for ours in ("contend/testing.py", "pytest_plugin.py", "systems.py"):
        assert ours not in done.stdout.str()


def test_a_finding_in_another_language_is_replayed(pytester: pytest.Pytester) -> None:
    bridge = Path(__file__).with_name("any_language") / "bridge.py"
    words = [sys.executable, str(bridge), "reference_impl.postgres", "ScalarSubquery"]
    pytester.makepyfile(f"""
        def test_explored(contend):
            queue = {"exec:" + shlex.join(words) + " {url}"!r}
            contend.explore(queue, database="postgres", workers=2, jobs=1, batch=1).assert_passed()
    """)
    done = run(pytester)
    done.assert_outcomes(failed=1)
    done.stdout.re_match_lines_random(
        [
            r"E +no-double-claim: .*",
            r"E +w0 +w1 *",
            r"E .*UPDATE jobs SET .*",
            r"E .*10 of 10 times\. contend replay .*",
        ]
    )
    (replay,) = {line.partition("contend replay ")[2] for line in done.outlines if line.endswith("--finding 1")}
    command = [sys.executable, "-m", "contend", "replay", *replay.split()]
    again = subprocess.run(command, cwd=pytester.path, capture_output=True, text=True, check=False)
    assert again.returncode == 1, again.stderr
    assert "10 of 10 times" in again.stdout


def test_a_session_without_runs_has_no_report(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing(): pass")
    done = run(pytester, "--contend-report", "report.html")
    done.stdout.fnmatch_lines(["*no test raced or explored anything*"])
    assert not (pytester.path / "report.html").exists()
