"""`contend explore` on the real Postgres, whichever way a queue talks to it: the wrong ones are shown, the right ones pass."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.databases.postgres import PostgresServer

QUEUES = Path(__file__).with_name("postgres_queues.py")
# The rest is run by `tox -e full`: each takes some 4 s.
ALWAYS = {
    "Texts",
    "TextsWithoutLock",
    "FunctionWithoutLock",
    "Pooled",
    "CrossingPipelined",
    "Serializable",
    "Resetting",
}


def explore(system: str, server: PostgresServer, cwd: Path, *words: object) -> tuple[int, dict[str, Any], str]:
    """Give the exit status, the only result, and what else was said."""
    command = [
        sys.executable,
        "-m",
        "contend",
        "explore",
        "claim-race",
        "--system",
        f"{QUEUES}:{system}",
        "--seed",
        "1",
    ]
    words = ("--database", server.url, "--json", *words)
    done = subprocess.run(
        [*command, *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )
    (result,) = json.loads(done.stdout)["results"] if done.stdout else [{}]
    return done.returncode, result, done.stderr


def systems(*names: str) -> list[Any]:
    return [pytest.param(name, marks=() if name in ALWAYS else pytest.mark.full) for name in names]


RIGHT = ("Small", "Plain", "Block", "Texts", "Function", "Pooled", "Reconnecting", "Alchemy", "Pipelined")


@pytest.mark.parametrize("system", systems(*RIGHT, "Snapshot", "Serializable", "SerializableLedger"))
def test_a_right_claim_passes_every_schedule(system: str, postgres_server: PostgresServer, tmp_path: Path) -> None:
    status, result, said = explore(system, postgres_server, tmp_path, "--batch", 1)
    assert (status, result.get("verdict")) == (0, "pass"), (result.get("reasons"), said)
    assert result["coverage"]["exhausted"] is True


WRONG = {
    "Scalar": "no-double-claim",
    "PlainScalar": "no-double-claim",
    "Guarded": "no-false-empty",
    "BlockWithoutLock": "no-double-claim",
    "TextsWithoutLock": "no-double-claim",
    "TextsScalar": "no-double-claim",
    "FunctionWithoutLock": "no-double-claim",
    "PooledScalar": "no-double-claim",
    "ReconnectingScalar": "no-double-claim",
    "AlchemyScalar": "no-double-claim",
    "PipelinedScalar": "no-double-claim",
    "SnapshotOnce": "lock-errors",
    "SerializableOnce": "lock-errors",
    "Ledger": "no-double-claim",
    "Crossing": "lock-errors",
    "CrossingPipelined": "lock-errors",
}


@pytest.mark.parametrize("system", systems(*WRONG))
def test_a_wrong_claim_is_shown_and_goes_the_same_every_time(
    system: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    batch = 2 if system.startswith("Crossing") else 1
    status, result, said = explore(system, postgres_server, tmp_path, "--batch", batch)
    assert status == 1, (result.get("reasons"), said)
    assert WRONG[system] in [finding["invariant"] for finding in result["findings"]]
    assert result["coverage"]["exhausted"] is True
    assert {each["same"] for each in result["series"]["schedules"]} == {10}


@pytest.mark.parametrize("system", systems("Resetting"))
def test_a_thread_that_goes_on_when_all_have_ended_is_inconclusive(
    system: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    status, result, _ = explore(system, postgres_server, tmp_path)
    assert (status, result["findings"]) == (2, [])
    assert "went on using the database after its last operation" in " ".join(result["reasons"])


@pytest.mark.full
def test_statements_about_different_tables_are_tried_in_one_order_and_no_outcome_is_lost(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    def explored(reduced: str) -> dict[str, Any]:
        words = ("--batch", 1, "--budget", 60, "--option", f"reduced={reduced}")
        _, result, said = explore("Lanes", postgres_server, tmp_path, *words)
        assert result["verdict"] == "pass", (result.get("reasons"), said)
        (exploration,) = result["series"]["exploration"]
        return dict(exploration)

    fewer, every = explored("true"), explored("false")
    assert (fewer["schedules"], fewer["stands_for"], every["schedules"]) == (4, 70, 70)
    assert [each["answers"] for each in fewer["outcomes"]] == [each["answers"] for each in every["outcomes"]]
