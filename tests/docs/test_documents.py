"""Documents that cannot drift: paths exist, tables are those of the code, commands and queries run."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
import yaml
from conftest import Once

from harness.faults import FAULTS
from harness.invariants import judging
from reference_impl.defects import DEFECTS
from reports.trial import Record, brief, markdown
from scenarios.catalogue import SCENARIOS
from scenarios.claim_recovery import PLANS
from scenarios.queues import QUEUES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
WHATS_HERE = (ROOT / "docs" / "whats-here.md").read_text(encoding="utf-8")
READING = (ROOT / "docs" / "reading-results.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(text: str, language: str = "") -> list[str]:
    """The fenced blocks of one language."""
    found = re.findall(r"^```([a-z]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for named, block in found if named == language]


def test_the_readme_has_two_commands_of_one_line_and_ci_runs_the_second() -> None:
    one_liners = [block.strip() for block in blocks(README) if block.startswith("python3 -m venv")]
    assert len(one_liners) == 2
    assert all("\n" not in line for line in one_liners)
    assert one_liners[0].endswith(".venv/bin/contend run")
    assert one_liners[1].endswith(".venv/bin/tox")
    assert one_liners[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_the_table_of_faults_is_that_of_the_code_in_the_order_they_befall() -> None:
    text = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*?) \|", text, re.MULTILINE)
    assert rows == [(name, FAULTS[name].story) for name in PLANS]


def test_the_readmes_table_of_scenarios_is_the_catalogue() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", README, re.MULTILINE))
    assert rows == {name: scenario.claim for name, scenario in SCENARIOS.items()}


def test_the_track_record_is_that_of_the_committed_trial() -> None:
    record = Record.read(ROOT / "docs" / "track-record.json")
    assert markdown(record) in (ROOT / "docs" / "track-record.md").read_text(encoding="utf-8")
    assert brief(record) in README
    assert {row.queue for row in record.rows} == {*QUEUES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_every_path_in_whats_here_exists() -> None:
    for path in re.findall(r"`((?:[a-z_]+/)+[a-z_.]*)`", WHATS_HERE):
        assert (ROOT / path).exists() or (ROOT / "harness" / path).exists(), path


def test_every_room_of_the_engine_is_in_whats_here() -> None:
    rooms = [p for p in (ROOT / "harness").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()]
    for room in rooms:
        name = room.name if room.suffix else f"{room.name}/"
        assert name == "__init__.py" or f"`{name}`" in WHATS_HERE or f"`{room.stem}.py`" in WHATS_HERE, name


def test_no_document_speaks_of_invariants_that_do_not_exist() -> None:
    known = {*judging.NAMES, *SCENARIOS, *DEFECTS}
    for page in PAGES:
        for name in re.findall(
            r"`((?:no|claim|lock|batch|every|witness|worker|statement)-[a-z-]+)`", page.read_text(encoding="utf-8")
        ):
            assert name in known, f"{page.name}: {name}"


@pytest.fixture(scope="module")
def place(once: Once) -> Path:
    def make(folder: Path) -> None:
        command = [sys.executable, "-m", "contend", "run", "claim-race", "--database", "sqlite", "--system"]
        subprocess.run([*command, "reference:select-then-update"], cwd=folder, check=False, capture_output=True)

    (result,) = (once("documents", make) / "runs" / "latest" / "results").iterdir()
    return result


@pytest.mark.parametrize("query", blocks(READING, "sql")[:3])
def test_the_example_queries_run_in_a_plain_duckdb(query: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    with duckdb.connect() as connection:
        assert connection.execute(query).fetchall()


def test_the_example_invariant_judges_a_saved_run(place: Path, tmp_path: Path) -> None:
    (tmp_path / "slow-claims.sql").write_text(blocks(READING, "sql")[3], encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "contend",
        "check",
        str(place.parents[1]),
        "--sql",
        str(tmp_path / "slow-claims.sql"),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "crashed" not in done.stdout


@pytest.mark.parametrize(
    "arguments", [["list"], ["list", "invariants", "--json"], ["doctor"], ["--help"], ["--version"]]
)
def test_commands_of_the_documents_run(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "contend", *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    heavy = "duckdb matplotlib psycopg rich multiprocess jinja2"
    code = f"import contend.cli, sys; print([name for name in '{heavy}'.split() if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_the_workflow_is_what_a_ci_server_can_read_and_runs_an_environment_that_exists() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/contend.yml").read_text())
    assert set(workflow) >= {"name", True, "jobs"}  # YAML 1.1 reads the key `on` as true, as every such file has it
    (job,) = workflow["jobs"].values()
    assert job["runs-on"]
    assert job["timeout-minutes"]
    runs = [step["run"] for step in job["steps"] if "run" in step]
    assert all("run" in step or "uses" in step for step in job["steps"])
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini")
    named = re.findall(r"tox -e (\w+)", " ".join(runs))
    assert named
    assert all(f"testenv:{name}" in tox for name in named)
