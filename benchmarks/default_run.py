"""How long the default `contend run` takes, and when its first verdict is on the screen. Each run is a process of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from typing import Any

RUNS = 3


def _once(folder: str) -> tuple[float, float, int]:
    started = time.perf_counter()
    first = 0.0
    with subprocess.Popen(
        [sys.executable, "-m", "contend", "run", "--out", folder], stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None  # noqa: S101  # it was asked for
        for line in run.stdout:
            if not first and line.startswith(("PASS", "FAIL", "caught", "INCONCLUSIVE")):
                first = time.perf_counter() - started
    return time.perf_counter() - started, first, run.returncode


def measure() -> dict[str, Any]:
    """Give wall seconds, seconds to the first verdict and exit status of each run, after one that warms the caches."""
    with tempfile.TemporaryDirectory() as folder:
        _once(folder)
        runs = [_once(folder) for _ in range(RUNS)]
    return {
        "wall_seconds": [run[0] for run in runs],
        "first_verdict_seconds": [run[1] for run in runs],
        "exit_status": [run[2] for run in runs],
    }
