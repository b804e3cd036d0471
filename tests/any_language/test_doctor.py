"""`contend doctor --system`: one of everything is asked, every answer looked at; and the schema is what is really said."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conversation import HERE, REPLY, REQUEST, SCHEMA, exchanges, hold_against_the_schema, validator, written_down

from contend import doctor
from harness.command import METHODS
from harness.protocols import OPTIONAL, REQUIRED
from scenarios.answering import UNLOCKS

BRIDGE = shlex.join([sys.executable, str(HERE / "bridge.py"), "reference_impl.ways", "SqliteBatched"]) + " {url}"


def odd(at: str, what: str) -> str:
    return "exec:" + shlex.join([sys.executable, "-S", str(HERE / "odd.py"), at, what])


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """All that is said where a worker that offers everything is asked for one of everything, and all is right."""
    file = tmp_path_factory.mktemp("spoken") / "said"
    checks = doctor.consult("exec:" + written_down(BRIDGE, file), ["sqlite"])
    assert [(check.name, check.found) for check in checks if not check.ok] == []
    assert {check.name for check in checks} == {"hello", *METHODS}
    return file.read_text(encoding="utf-8")


def test_what_can_be_asked_is_what_a_system_may_have_but_for_a_loop_of_its_own() -> None:
    assert {*METHODS} == {*REQUIRED, *OPTIONAL} - {"work"}
    assert {*UNLOCKS} == {*METHODS} - {*REQUIRED} - {"close"}


def test_the_schema_is_one_and_has_every_request_and_answer() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    requests = {each["properties"]["op"]["const"]: each["properties"] for each in SCHEMA["$defs"]["request"]["oneOf"]}
    assert {op: tuple(given)[2:] for op, given in requests.items() if op != "hello"} == METHODS
    assert {name.removeprefix("answer.") for name in SCHEMA["$defs"] if name.startswith("answer.")} == {*requests}


def test_all_that_is_said_is_as_the_schema_has_it(spoken: str) -> None:
    assert hold_against_the_schema(spoken) == {"hello", *METHODS}


def test_the_schema_sees_what_is_left_out_or_put_in(spoken: str) -> None:
    """A request without any one of its keys, or with one more, is none; nor is an answer without its id or its value."""
    for request, reply in exchanges(spoken):
        for key in request:
            assert not REQUEST.is_valid({name: value for name, value in request.items() if name != key})
        assert not REQUEST.is_valid({**request, "more": 1})
        assert not REPLY.is_valid({"id": reply["id"]})
        assert not REPLY.is_valid({"ok": reply["ok"]})
        assert not REPLY.is_valid({**reply, "error": {"message": "m"}})


@pytest.mark.parametrize(
    ("op", "answer"),
    [
        ("hello", {"capabilities": ["install", "enqueue", "claim"]}),
        ("hello", {"capabilities": ["install", "enqueue", "claim", "complete", "clam"]}),
        ("hello", {"capabilities": ["install", "enqueue", "claim", "complete"], "semantics": "always"}),
        ("enqueue", [1, 1]),
        ("enqueue", [1.5]),
        ("claim", None),
        ("claim", [{"token": 1}]),
        ("claim", [{"job": 2**63}]),
        ("recover", None),
        ("recover", -1),
        ("read_progress", 2),
        ("delete_many", "3"),
        ("clean_by_tag", 3),
        ("status_all", [{}]),
    ],
)
def test_the_schema_refuses_what_contend_refuses(op: str, answer: Any) -> None:
    assert not validator(f"answer.{op}").is_valid(answer)


@pytest.mark.parametrize(
    ("at", "what", "row", "said"),
    [
        ("claim", "answer([])", "claim", "the claim of 2 came back empty"),
        ("claim", "answer([1, 2, 3])", "claim", "3 jobs were handed out where at most 2 were asked for"),
        (
            "claim",
            "answer([77])",
            "claim",
            "77, 77 handed out, which enqueue never gave the id of (1, 2, 3, 4, 5)",
        ),
        ("claim", "answer('job')", "claim", "claim returned 'job' (str); expected a list"),
        ("enqueue", "answer([1])", "enqueue", "enqueue of 5 jobs returned [1] (list); expected a list of 5 ids"),
        ("complete", "answer([])", "complete", "0 of 1 handles, claimed just now, were accepted by `complete`"),
        (
            "complete",
            "print(json.dumps({'id': number, 'error': {'message': 'no'}}), flush=True)",
            "complete",
            "nobody can tell",
        ),
        ("nothing", "", "complete", "after 100 jobs claimed and completed, of 5, the queue is not empty"),
        ("install", "print('ready', flush=True)", "install", "The command printed 'ready', which is not JSON"),
        ("hello", "print('ready', flush=True)", "answers", "The command printed 'ready', which is not JSON"),
        ("end", "sys.exit(3)", "close", "ended badly at the end of its input (exit status 3)"),
    ],
)
def test_a_wrong_answer_is_named(at: str, what: str, row: str, said: str) -> None:
    wrong = {check.name: check.found for check in doctor.consult(odd(at, what), ["sqlite"]) if check.ok is False}
    assert said in wrong[row]


def test_a_class_is_asked_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "class Mine:\n    def __init__(self, url): pass\n    def install(self): pass\n"
        "    def enqueue(self, jobs): return list(range(len(jobs)))\n    def claim(self, worker, limit): return []\n"
        "    def complete(self, worker, handles): pass\n    def heartbeat(self, worker, handles): return handles\n"
    )
    command = [sys.executable, "-m", "contend", "doctor", "--system", "mine.py:Mine", "--database", "sqlite"]
    done = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["promise"]["ok"] is True
    assert rows["claim"]["ok"] is False
    assert rows["recover"] == {
        "name": "recover",
        "ok": None,
        "found": "not offered; it is for claim-recovery",
        "remedy": "",
        "database": "sqlite",
    }
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "NO  sqlite   claim           none of 5 jobs that were ready was handed out" in told.stdout
    assert any(line.startswith("--  sqlite   recover") for line in told.stdout.splitlines())
