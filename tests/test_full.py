"""Twenty runs in a row: not one false alarm on a right strategy, not one miss of a wrong one. Run by `tox -e full`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUNS = 20


def assert_all_as_declared(tmp_path: Path, *arguments: str) -> None:
    """The exit status is 0 only where every right system passed and every wrong one was caught by its own invariant."""
    done = subprocess.run(
        [sys.executable, "-m", "contend", "run", *arguments, "--json"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip  # as a user would write it
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert results
    for result in results:
        found = {finding["invariant"] for finding in result["findings"]}
        assert result["expected"] in found if result["role"] == "control" else result["verdict"] == "pass"


@pytest.mark.full
@pytest.mark.parametrize("seed", range(RUNS))
@pytest.mark.parametrize("database", ["sqlite", "sqlite-rollback", "postgres"])
def test_claims_are_judged_as_declared_in_every_run(database: str, seed: int, tmp_path: Path) -> None:
    assert_all_as_declared(tmp_path, "claim-race", "--database", database, "--seed", str(seed))


@pytest.mark.full
@pytest.mark.parametrize("seed", range(RUNS))
def test_the_guard_is_judged_as_declared_in_every_run(seed: int, tmp_path: Path) -> None:
    assert_all_as_declared(tmp_path, "worker-guard", "--seed", str(seed))


@pytest.mark.full
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_the_price_of_n_plus_one_is_judged_as_declared(database: str, tmp_path: Path) -> None:
    assert_all_as_declared(tmp_path, "claim-batch", "--database", database, "--seed", "1")


@pytest.mark.full
@pytest.mark.parametrize("seed", range(RUNS))
@pytest.mark.parametrize("database", ["sqlite", "sqlite-rollback", "postgres"])
def test_progress_pools_deletion_and_submission_are_judged_as_declared_in_every_run(
    database: str, seed: int, tmp_path: Path
) -> None:
    names = ["progress-updates", "pool-pressure", "bulk-delete", "cleanup-churn", "atomic-submit"]
    assert_all_as_declared(tmp_path, *names, "--database", database, "--seed", str(seed))


@pytest.mark.full
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
@pytest.mark.parametrize(
    "scenario", ["progress-updates", "pool-pressure", "bulk-delete", "cleanup-churn", "atomic-submit"]
)
def test_the_full_profile_catches_every_defect_and_passes_every_right_system(
    scenario: str, database: str, tmp_path: Path
) -> None:
    assert_all_as_declared(tmp_path, scenario, "--database", database, "--seed", "1", "--profile", "full")
