"""A system that does what no system should: never a pass of what cannot be known, never a hang, nothing left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

QUEUES = Path(__file__).with_name("evil_queues.py")
FULL = pytest.mark.full


def race(name: str, cwd: Path) -> tuple[int, dict[str, Any], str]:
    """Race one of them, short; TMPDIR is a folder of this test, where nothing may be left."""
    (cwd / "tmp").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "contend", "run", "claim-race", "--system", f"{QUEUES}:{name}", "--database", "sqlite",
         "--workers", "3", "--jobs", "300", "--json"],
        cwd=cwd, capture_output=True, text=True, timeout=200, check=False, env={**os.environ, "TMPDIR": str(cwd / "tmp")},
    )  # fmt: skip  # as a user would write it
    assert "Traceback" not in done.stderr
    assert list((cwd / "tmp").iterdir()) == []
    assert left_below(cwd) == []
    return done.returncode, json.loads(done.stdout), done.stderr


def left_below(cwd: Path) -> list[psutil.Process]:
    """The processes that still run with `cwd` as their folder, once the dying have had their time."""
    found = [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(cwd)]
    _, alive = psutil.wait_procs(found, timeout=15)
    return alive


@pytest.mark.parametrize(
    ("name", "word"),
    [
        pytest.param("GarbageInEvents", "it is not JSON", marks=FULL),
        pytest.param("HalfALine", "it is not JSON", marks=FULL),
        pytest.param("ForeignOperation", "operation 99999 was never invoked", marks=FULL),
        pytest.param("HugeLine", "line", marks=FULL),
        pytest.param("Nul", "it is not JSON", marks=FULL),
        pytest.param("SpeaksForAnother", "there was a 'process' line before it", marks=FULL),
        pytest.param("EndsTwice", "end", marks=FULL),
        pytest.param("RepeatsAnother", "was invoked before", marks=FULL),
        pytest.param("GarbageInWitness", "witness", marks=FULL),
        ("RemovesItsEvents", "is gone. Find out what removed it"),
        pytest.param("CutsItsEvents", "not JSON", marks=FULL),
        pytest.param("RemovesTheResult", "incomplete", marks=FULL),
        pytest.param("ClosesAll", "never said how it ended", marks=FULL),
        pytest.param("ExitsWell", "never said how it ended", marks=FULL),
        pytest.param("ForksAndGoesOn", "completed before", marks=FULL),
        ("AnswersForUs", "where it was to answer, and was killed"),
        pytest.param("AnswersAtOnce", "where it was to answer, and was killed", marks=FULL),
        pytest.param("FillsMemory", "never said how it ended", marks=FULL),
        pytest.param("WritesNoMore", "never said how it ended", marks=FULL),
        pytest.param("NeverReturns", "was killed", marks=FULL),
        pytest.param("EatsSignals", "never said how it ended", marks=FULL),
    ],
)
def test_where_a_history_is_not_whole_nothing_is_passed_and_the_reason_is_said(
    name: str, word: str, tmp_path: Path
) -> None:
    status, document, _ = race(name, tmp_path)
    (result,) = document["results"]
    assert (status, result["verdict"]) == (2, "inconclusive")
    assert word in " ".join(result["reasons"])


@pytest.mark.parametrize(
    "name",
    [
        "LeavesADaemon",
        pytest.param("IgnoresItsChildren", marks=FULL),
        pytest.param("RunsOutOfMemory", marks=FULL),
        pytest.param("RunsOutOfFiles", marks=FULL),
        pytest.param("Leaves", marks=FULL),
    ],
)
def test_what_takes_nothing_from_a_history_is_judged_by_it_and_leaves_no_process(name: str, tmp_path: Path) -> None:
    status, _, said = race(name, tmp_path)
    assert status == 0, said
