"""Whatever is wrong with what is asked for: one clear sentence, the right exit status, no traceback."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Once

METHODS = {
    "__init__": "(self, url): pass",
    "install": "(self): pass",
    "enqueue": "(self, jobs): return list(range(len(jobs)))",
    "claim": "(self, worker, limit): return []",
    "complete": "(self, worker, handles): pass",
}


def contend(*arguments: object, cwd: Path, **more: Any) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "contend", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **more,
    )
    return done.returncode, done.stdout, done.stderr


def write_system(folder: Path, head: str = "", **methods: str) -> None:
    """Write mine.py with a class Mine of the methods of METHODS, some replaced, some (given as "") left out."""
    body = "".join(f"    def {name}{text}\n" for name, text in (METHODS | methods).items() if text)
    (folder / "mine.py").write_text(f"{head}class Mine:\n{body}")


def one_sentence(said: str) -> str:
    lines = [line for line in said.strip().splitlines() if line.startswith("contend: ")]
    assert len(lines) == 1, said
    assert "Traceback" not in said
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "claim-rase"], ["no scenario named 'claim-rase'", "claim-race"]),
        (
            ["run", "--system", "reference:nothing"],
            ["no system named 'reference:nothing'", "reference:immediate-batch"],
        ),
        (["run", "--system", "nothing"], ["no system named 'nothing'", "path/to/file.py:Class"]),
        (["run", "--system", "no/such.py:Mine"], ["there is no file no/such.py"]),
        (["run", "--system", "no_such_module:Mine"], ["No module named 'no_such_module'"]),
        (["run", "--database", "oracle"], ["no database named 'oracle'", "sqlite"]),
        (["run", "claim-race", "--database", "postgresql://u:secret@127.0.0.1:9/x"], ["127.0.0.1"]),
        (["run", "--workers", "0"], ["0", "--workers"]),
        (["run", "--jobs", "-3"], ["-3"]),
        (["run", "--batch", "many"], ["many"]),
        (["run", "--seed", "-1"], ["-1"]),
        (["run", "--profile", "slow"], ["slow", "quick"]),
        (["run", "--colour"], ["--colour"]),
        (["compare", "reference:immediate-batch"], ["HEAD"]),
        (["compare", "reference:nothing", "reference:immediate-batch"], ["no system named 'reference:nothing'"]),
        (
            ["compare", "reference:skip-locked-cte", "reference:immediate-batch"],
            ["skip-locked-cte does not run on sqlite, but on postgres"],
        ),
        (["compare", "a.py:A", "reference:immediate-batch"], ["there is no file a.py"]),
        (
            ["compare", "reference:immediate-batch", "reference:immediate-batch", "--operation", "claims"],
            ["no operation to be timed named 'claims'", "claim, complete, enqueue"],
        ),
        (["compare", "a", "b", "--pairs", "3"], ["3", "--pairs"]),
        (["compare", "a", "b", "--block", "0"], ["0", "--block"]),
        (["compare", "a", "b", "--out", "."], ["--out . is a folder"]),
        (["compare", "a", "b", "--database", "oracle"], ["no database named 'oracle'"]),
        (["fly"], ["fly"]),
        (["list", "birds"], ["birds", "scenarios"]),
        (["check", "nowhere"], ["no bundle at nowhere"]),
        (["report", "nowhere"], ["no bundle at nowhere"]),
        (["check"], ["BUNDLE"]),
    ],
)
def test_wrong_usage_is_one_sentence_and_254(arguments: list[str], words: list[str], tmp_path: Path) -> None:
    status, out, said = contend(*arguments, cwd=tmp_path)
    assert (status, out) == (254, "")
    sentence = one_sentence(said)
    for word in words:
        assert word in sentence
    assert "secret" not in said
    assert not (tmp_path / "runs" / "latest" / "results" / "01").exists()


@pytest.mark.parametrize(
    ("methods", "head", "words"),
    [
        ({}, "def broken(:\n", ["mine.py, line 1: invalid syntax"]),
        ({"claim": ""}, "", ["no method claim()"]),
        ({"__init__": "(self, url): raise RuntimeError('no luck')"}, "", ["could not be built", "no luck"]),
        ({"__init__": "(self): pass"}, "", ["could not be built", "TypeError"]),
    ],
)
def test_a_system_that_cannot_be_used_is_254(
    methods: dict[str, str], head: str, words: list[str], tmp_path: Path
) -> None:
    write_system(tmp_path, head, **methods)
    status, _, said = contend("run", "claim-race", "--system", "mine.py:Mine", "--database", "sqlite", cwd=tmp_path)
    assert status == 254, said
    for word in words:
        assert word in one_sentence(said)


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        ({"claim": "(self, worker, limit): return 'job'"}, ["claim returned 'job' (str)", "Return [] when"]),
        ({"claim": "(self, worker, limit): return None"}, ["claim returned None", "expected a list"]),
        ({"enqueue": "(self, jobs): return None"}, ["enqueue of 1 jobs returned None"]),
        ({"install": "(self): raise RuntimeError('no tables')"}, ["install did not succeed", "no tables"]),
        ({"claim": "(self, worker, limit): import os; os._exit(7)"}, ["died (exit status 7)"]),
    ],
)
def test_a_malformed_answer_is_inconclusive_and_what_was_recorded_is_kept(
    methods: dict[str, str], words: list[str], tmp_path: Path
) -> None:
    write_system(tmp_path, **methods)
    status, out, said = contend(
        "run",
        "claim-race",
        "--system",
        "mine.py:Mine",
        "--database",
        "sqlite",
        "--workers",
        2,
        "--jobs",
        20,
        "--json",
        cwd=tmp_path,
    )
    assert status == 2, said
    (result,) = json.loads(out)["results"]
    assert result["verdict"] == "inconclusive"
    for word in words:
        assert word in " ".join(result["reasons"])
    assert list((tmp_path / "runs").glob("*/results/*/events/setup.ndjson"))


@pytest.mark.parametrize(
    ("claim", "invariant"),
    [
        ("(self, worker, limit): return [10**6]", "no-phantom-claim"),
        ("(self, worker, limit): return [1, 1]", "no-double-claim"),
        ("(self, worker, limit): return list(range(limit + 1))", "batch-limit"),
    ],
)
def test_a_wrong_answer_is_a_finding(claim: str, invariant: str, tmp_path: Path) -> None:
    ids = "(self, jobs): n = getattr(type(self), 'n', 0); type(self).n = n + len(jobs); return list(range(n, n + len(jobs)))"
    write_system(tmp_path, claim=claim, enqueue=ids)
    status, out, said = contend(
        "run",
        "claim-race",
        "--system",
        "mine.py:Mine",
        "--database",
        "sqlite",
        "--workers",
        2,
        "--jobs",
        20,
        "--json",
        cwd=tmp_path,
    )
    assert status == 1, said
    assert invariant in {finding["invariant"] for finding in json.loads(out)["results"][0]["findings"]}


def test_an_output_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, _, said = contend("run", "worker-guard", "--out", "file", cwd=tmp_path)
    assert status == 254
    assert "--out" in one_sentence(said)


@pytest.fixture
def bundle(once: Once, tmp_path: Path) -> Path:
    """A copy of the bundle of a small run."""

    def make(folder: Path) -> None:
        words = ("--system", "reference:update-returning", "--database", "sqlite", "--workers", 2, "--jobs", 50)
        status, _, said = contend("run", "claim-race", *words, cwd=folder)
        assert status in (0, 2), said

    ran = (once("bad-input", make) / "runs" / "latest").resolve()
    return Path(shutil.copytree(ran, tmp_path / "runs" / ran.name, symlinks=True))


def test_a_damaged_bundle_is_refused_in_one_sentence(bundle: Path, tmp_path: Path) -> None:
    (bundle / "bundle.json").write_text(json.dumps({"schema": 99}))
    status, _, said = contend("check", bundle, cwd=tmp_path)
    assert status == 254
    assert "newer contend" in one_sentence(said)
    (bundle / "bundle.json").write_text('{"schema": 1, ')
    for command in ("check", "report"):
        status, _, said = contend(command, bundle, cwd=tmp_path)
        assert status == 254
        assert "damaged" in one_sentence(said)
    (bundle / "bundle.json").unlink()
    status, _, said = contend("check", bundle, cwd=tmp_path)
    assert status == 254
    assert "not a bundle" in one_sentence(said)


def test_a_truncated_history_is_never_a_pass(bundle: Path, tmp_path: Path) -> None:
    table = sorted(bundle.glob("results/*/history/operations.parquet"))[0]
    table.write_bytes(table.read_bytes()[:100])
    status, _, said = contend("check", bundle, cwd=tmp_path)
    assert status in (2, 254), said
    assert "Traceback" not in said
