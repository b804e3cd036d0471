"""How long `contend gate` takes on a bundle of 100 results, each run a process of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness.measurement import quantile

RESULTS = 100
RUNS = 5


def _bundle(folder: Path) -> Path:
    """Run one scenario and copy its results under other names until there are enough of them."""
    command = [sys.executable, "-m", "contend", "run", "claim-batch", "--database", "sqlite", "--out", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    bundle = (folder / "latest").resolve()
    made = [json.loads((place / "result.json").read_text()) for place in sorted((bundle / "results").iterdir())]
    shutil.rmtree(bundle / "results")
    results = []
    for number in range(RESULTS):
        result = {**made[number % len(made)], "system": f"copy:{number}", "twin": False}
        place = bundle / "results" / f"{number:03d}"
        place.mkdir(parents=True)
        (place / "result.json").write_text(json.dumps(result))
        results.append(result)
    document = json.loads((bundle / "results.json").read_text())
    (bundle / "results.json").write_text(json.dumps({**document, "results": results, "controls": []}))
    return bundle


def measure() -> dict[str, Any]:
    """Give the seconds of each run of the gate, their median, and the exit status."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        bundle, baseline = _bundle(folder), folder / "baseline.json"
        contend = [sys.executable, "-m", "contend"]
        subprocess.run([*contend, "baseline", str(bundle), "--out", str(baseline)], check=True, capture_output=True)
        outputs = ["--junit", str(folder / "junit.xml"), "--summary", str(folder / "summary.md")]
        taken = []
        for _ in range(RUNS):
            started = time.perf_counter()
            done = subprocess.run(
                [*contend, "gate", str(bundle), "--baseline", str(baseline), *outputs], check=False, capture_output=True
            )
            taken.append(time.perf_counter() - started)
    return {
        "results": RESULTS,
        "median_seconds": round(quantile(taken, 0.5), 3),
        "seconds": [round(each, 3) for each in taken],
        "exit_status": done.returncode,
    }
