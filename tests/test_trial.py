"""Released queues on trial: each on each of its databases in one run, and what is told of them."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from conftest import Once

from contend.campaign import Request, plan
from contend.cli import run_command_line
from reports import trial
from reports.cases import one_each
from reports.saved import load
from scenarios import queues
from scenarios.queues import QUEUES

# What a race breaks each time; nothing else may be broken by one at all.
BROKEN: Final = {
    ("persist-queue", "sqlite"): {"no-double-claim", "terminal-once"},
    ("apscheduler", "sqlite"): {"no-double-claim"},
    ("apscheduler", "postgres"): {"no-double-claim"},
}
Json = dict[str, Any]


@pytest.fixture(scope="module")
def tried(once: Once) -> Callable[[str], Path]:
    """The bundle of a trial on a database, made once."""

    def run(database: str) -> Path:
        def make(folder: Path) -> None:
            command = [
                sys.executable,
                "-m",
                "contend",
                "run",
                "trial",
                "--jobs",
                "150",
                "--workers",
                "3",
                "--seed",
                "7",
            ]
            done = subprocess.run(
                [*command, "--database", database], cwd=folder, capture_output=True, text=True, check=False
            )
            assert done.returncode in (0, 1), done.stderr

        return (once(f"trial-{database}", make) / "runs" / "latest").resolve()

    return run


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_released_queues_are_judged_by_what_they_do(tried: Callable[[str], Path], database: str) -> None:
    documents = json.loads((tried(database) / "results.json").read_text())["results"]
    results = {each["system"]: each for each in documents}
    here = {name: queue for name, queue in QUEUES.items() if database in queue.databases}
    assert {*results} == {name for name, queue in here.items() if not queue.missing}
    for name, result in results.items():
        broken = BROKEN.get((name, database), set())
        assert (name, result["verdict"]) == (name, "fail" if broken else "pass"), result["reasons"]
        found = {each["invariant"] for each in result["findings"]} - {"every-worker-served"}  # which is but a warning
        assert (name, found) == (name, broken)
        release = result["release"]
        assert (release["package"], release["version"]) == (here[name].packages[0], here[name].version)
    absent = [name for name, queue in here.items() if queue.missing]
    if absent:
        pytest.skip(f"{', '.join(absent)}: not installed, pip install 'contend[trial]' has all")


def test_each_entry_says_how_it_was_set_up_and_quotes_with_an_address() -> None:
    for queue in QUEUES.values():
        assert queue.settings
        assert bool(queue.says) == bool(queue.where)


def test_a_queue_that_asks_seldom_has_no_more_jobs_in_its_race_than_it_can_end() -> None:
    cases = plan(Request(("trial",), databases=("sqlite",), jobs=150, seed=1)).cases
    jobs = {case.subject.name: case.load.jobs for case in cases}
    assert {name for name, number in jobs.items() if number < 150} == {name for name in jobs if QUEUES[name].most}
    assert jobs.get("liteq", 30) == 30


def test_a_queue_that_is_not_installed_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    absent = dataclasses.replace(QUEUES["huey"], packages=("no-such-package",))
    monkeypatch.setitem(QUEUES, "huey", absent)
    asked = ["--database", "sqlite", "--out", str(tmp_path)]
    assert run_command_line(["run", "claim-race", "--system", "huey", *asked]) == 254
    assert "pip install no-such-package, or pip install 'contend[trial]'" in capsys.readouterr().err
    monkeypatch.setattr(queues, "QUEUES", {"huey": absent})
    assert run_command_line(["run", "trial", *asked]) == 254
    assert "no-such-package is not installed" in capsys.readouterr().err


def test_naming_other_systems_imports_no_released_queue() -> None:
    code = "import sys, contend.campaign; print([n for n in ('huey', 'kombu', 'dbos', 'django', 'persistqueue') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def repeated(tried: Callable[[str], Path]) -> list[trial.Trial]:
    """A trial of ten races of each, as the ten of the full profile are: one race ten times."""
    results = load(tried("sqlite")).results
    return trial.trials([dataclasses.replace(each, folder=f"{n}-{each.folder}") for n in range(10) for each in results])


def test_what_is_told_of_repeats_is_of_how_many_it_is(repeated: list[trial.Trial]) -> None:
    (broken,) = (each for each in repeated if each.system == "persist-queue")
    assert broken.verdict == "broken"
    assert trial.shown(broken) == ["raced, broken in 10 of 10"]
    assert trial.again(broken) == "contend run claim-race --system persist-queue --database sqlite"
    (held,) = (each for each in repeated if each.system == "huey")
    assert (trial.claim(held), trial.shown(held)) == ("held", ["raced, 10 of 10 passed"])


def test_a_record_that_was_kept_is_told_as_its_bundle_is(
    tried: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "trial.json"
    trial.main([str(tried("sqlite")), "--json", str(kept)])
    told = capsys.readouterr().out
    assert "| **broken: no-double-claim, terminal-once** | raced, broken in 1 of 1 |" in told
    assert "Its authors say: “Thread-safe" in told
    trial.main([str(kept)])
    assert capsys.readouterr().out == told
    trial.main([str(kept), "--brief"])
    assert f"| huey {QUEUES['huey'].version} | SQLite | held | raced, 1 of 1 passed |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((100.0, 101.0, 102.0, 103.0), "102"),
        ((100.0, 101.0, 102.0), "–"),
        ((100.0, 100.0, 130.0, 130.0), "withheld, spread 1.30"),
        ((), "–"),
    ],
)
def test_a_figure_is_given_only_where_its_repeats_agree(values: tuple[float, ...], told: str) -> None:
    assert trial.figure(values) == told


def test_results_that_repeat_each_other_stand_once_by_the_worst(tried: Callable[[str], Path]) -> None:
    results = load(tried("sqlite")).results
    again = [dataclasses.replace(each, folder=f"{n}-{each.folder}") for n in range(3) for each in results]
    worse = dataclasses.replace(next(each for each in again if each.system == "huey"), folder="worse", verdict="fail")
    once = {(each.system, each.role): (each.folder, alike, runs) for each, alike, runs in one_each([*again, worse])}
    assert once["huey", "subject"] == ("worse", 1, 4)
    assert once["persist-queue", "subject"][1:] == (3, 3)
    twin = next(each for each in results if each.twin)
    assert once[twin.system, "control"][1:] == (3 * sum(each.twin for each in results),) * 2


def test_the_page_shows_each_queue_once_and_of_how_many_runs(tried: Callable[[str], Path], tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert run_command_line(["report", str(tried("sqlite")), "--out", str(page)]) == 0
    text = page.read_text()
    section = text[text.index('<section id="trial">') :]
    section = section[: section.index("</section>")]
    assert "broken: no-double-claim" in section
    assert QUEUES["huey"].version in section
