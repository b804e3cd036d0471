"""The worked examples: each is asked for everything, raced, and where its database is Postgres explored; its word is the schema's."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Once
from conversation import ROOT, exchanges, hold_against_the_schema, written_down

from contend import doctor

EXAMPLES = ROOT / "examples"
PAGE = (ROOT / "docs" / "any-language.md").read_text(encoding="utf-8")
SHELL = f"sh {shlex.quote(str(EXAMPLES / 'shell-sqlite' / 'worker.sh'))} {{url}}"
PERL = f"perl {shlex.quote(str(EXAMPLES / 'perl-sqlite' / 'worker.pl'))} --db {{url}}"


def _missing(*programs: str) -> str:
    """Why an example cannot be run here, or nothing."""
    absent = [name for name in programs if shutil.which(name) is None]
    if absent:
        return f"there is no {' and no '.join(absent)} on this machine"
    if (
        "perl" in programs
        and subprocess.run(
            [str(shutil.which("perl")), "-MJSON::PP", "-e", "1"], check=False, capture_output=True
        ).returncode
    ):
        return "the perl here lacks JSON::PP, which comes with it (Debian: the package perl)"
    if "sqlite3" in programs:
        said = subprocess.run(
            [str(shutil.which("sqlite3")), "--version"], capture_output=True, text=True, check=True
        ).stdout
        if tuple(map(int, re.findall(r"\d+", said)[:2])) < (3, 38):
            return f"the sqlite3 command here is {said.split()[0]}, and the examples need 3.38"
    return ""


def needs(*programs: str) -> pytest.MarkDecorator:
    reason = _missing(*programs)
    return pytest.mark.skipif(bool(reason), reason=reason)


ON_SQLITE = [
    pytest.param(SHELL, marks=needs("sh", "sqlite3", "mktemp"), id="shell"),
    pytest.param(PERL, marks=needs("perl", "sqlite3"), id="perl"),
]


@pytest.fixture(scope="module")
def node(once: Once) -> str:
    """The command of the Node worker, with what npm installs for it."""
    if reason := _missing("node", "npm"):
        pytest.skip(reason)

    def make(folder: Path) -> None:
        for name in ("worker.js", "package.json", "package-lock.json"):
            shutil.copy(EXAMPLES / "node-pg" / name, folder / name)
        subprocess.run(
            [str(shutil.which("npm")), "ci", "--no-audit", "--no-fund"],
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=120,
        )

    try:
        folder = once("node-pg", make)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"npm could not install pg: {error}")
    return f"node {shlex.quote(str(folder / 'worker.js'))} {{url}}"


def contend(*arguments: object, cwd: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "contend", *map(str, arguments), "--json"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    (result,) = json.loads(done.stdout)["results"]
    found: dict[str, Any] = result
    return found


@pytest.mark.parametrize("command", ON_SQLITE)
def test_an_example_answers_everything_as_the_page_says(command: str, tmp_path: Path) -> None:
    checks = doctor.consult("exec:" + written_down(command, tmp_path / "said"), ["sqlite", "postgres"])
    assert [(check.name, check.found) for check in checks if check.ok is False] == []
    assert {check.database for check in checks} == {"sqlite"}
    assert hold_against_the_schema((tmp_path / "said").read_text(encoding="utf-8")) >= {"hello", "claim", "complete"}


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(SHELL, marks=needs("sh", "sqlite3", "mktemp"), id="shell"),
        pytest.param(PERL, marks=[needs("perl", "sqlite3"), pytest.mark.full], id="perl"),
    ],
)
def test_an_example_on_sqlite_is_raced_and_its_witnessed_invariants_do_not_apply(command: str, tmp_path: Path) -> None:
    result = contend(
        "run", "claim-race", "--system", f"exec:{command}", "--database", "sqlite", "--jobs", 200, cwd=tmp_path
    )
    assert result["coverage"]["control"] == "caught"
    assert result["coverage"]["overlapping_claims"] > 0
    states = {each["invariant"]: (each["state"], each["reason"]) for each in result["judgements"]}
    assert states["no-double-claim"][0] == states["no-lost-job"][0] == states["claim-order"][0] == "holds"
    for name in ("witness-agrees", "no-swallowed-error"):
        assert states[name] == ("not applicable", "the run had no witness")
    assert "statements_per_claim" not in result["measurements"]


@pytest.mark.full
@needs("perl", "sqlite3")
def test_a_worker_and_its_command_are_paused_and_killed_and_others_do_their_work(tmp_path: Path) -> None:
    result = contend("run", "claim-recovery", "--system", f"exec:{PERL}", "--database", "sqlite", cwd=tmp_path)
    assert result["coverage"]["kills"] == 1
    assert {each["fault"]: each["reason"] for each in result["series"]["not_planned"]}[
        "fill-disk"
    ] == "nothing can be changed inside a command"


def test_the_node_worker_answers_everything_as_the_page_says(node: str, tmp_path: Path) -> None:
    checks = doctor.consult("exec:" + written_down(node, tmp_path / "said"), ["postgres"])
    assert [(check.name, check.found) for check in checks if check.ok is False] == []
    assert hold_against_the_schema((tmp_path / "said").read_text(encoding="utf-8")) >= {"heartbeat", "fail", "recover"}


def test_the_node_worker_is_explored_through_the_wire_unchanged(node: str, tmp_path: Path) -> None:
    result = contend("explore", "claim-race", "--system", f"exec:{node}", "--database", "postgres", cwd=tmp_path)
    assert result["coverage"]["exhausted"] is True
    assert result["coverage"]["schedules"] > 1
    assert result["coverage"]["control"] == "caught"
    closes = _outcomes(tmp_path, "close")
    assert closes == {"ok"}  # its pool says goodbye to the server, and is heard


@pytest.mark.full
def test_the_node_worker_is_raced_with_its_statements_counted(node: str, tmp_path: Path) -> None:
    result = contend("run", "claim-race", "--system", f"exec:{node}", "--database", "postgres", cwd=tmp_path)
    assert result["coverage"]["statements"] > 0
    assert {each["invariant"]: each["state"] for each in result["judgements"]}["witness-agrees"] == "holds"


@pytest.mark.full
def test_the_node_worker_is_killed_and_cut_off_at_every_statement(node: str, tmp_path: Path) -> None:
    result = contend(
        "explore", "claim-race", "--crash", "--system", f"exec:{node}", "--database", "postgres", cwd=tmp_path
    )
    assert result["coverage"]["exhausted"] is True
    assert result["coverage"]["crash_points"] >= 8


@needs("sh", "sqlite3", "mktemp")
def test_the_exchange_on_the_page_is_what_is_really_said(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```exchange\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    hold_against_the_schema(block)
    asked = "".join(line[2:] + "\n" for line in block.splitlines() if line.startswith("> "))
    worker = [*shlex.split(SHELL)[:2], f"sqlite://{tmp_path}/queue.db"]
    done = subprocess.run(worker, input=asked, capture_output=True, text=True, check=True)
    shown = [reply for _, reply in exchanges(block)]
    assert [_plain(json.loads(line)) for line in done.stdout.splitlines()] == [_plain(reply) for reply in shown]
    assert done.stderr == ""


def _plain(reply: dict[str, Any]) -> dict[str, Any]:
    """Without SQLite's own words for an error, which differ from version to version."""
    return {**reply, "error": {**reply["error"], "message": ""}} if "error" in reply else reply


def _outcomes(folder: Path, kind: str) -> set[str]:
    found = set()
    for file in folder.glob("runs/*/results/01-*/events/*.ndjson"):
        events = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        numbers = {event["op"] for event in events if event.get("kind") == kind}
        found |= {e["e"] for e in events if e["e"] not in ("invoke", "process", "end") and e["op"] in numbers}
    return found
