"""A page of a hundred results: how long it takes to write, how large it is, and how long a browser needs to open it.

And `contend report` of a bundle whose history has five million operations: seconds and memory.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import contend
from benchmarks.judging import generate
from contend.campaign import recheck, write_page
from harness import bundle as bundles
from harness.bundle import Bundle
from harness.measurement import quantile

RESULTS = 100
OPERATIONS = 5_000_000
OPENINGS = 7


def _opened_s(browser: str, page: Path, profile: Path) -> float:
    """Seconds of a whole browser that opens a page and ends."""
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    started = time.perf_counter()
    subprocess.run(
        [*command, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return time.perf_counter() - started


def _report_of_many(bundle: Path, place: Path) -> dict[str, float]:
    """Give the history of one result five million operations, judge it again, and have the page written by a new process."""
    shutil.rmtree(place / "history")
    generate(place, OPERATIONS, defects=True)
    (result,) = (result for result in recheck(Bundle.open(bundle)) if not result.case.twin)
    bundles.save_json(place / "result.json", result.document)
    saved = bundles.read_json(bundle / "results.json")
    bundles.save_json(bundle / "results.json", {**saved, "results": [result.document]})
    started = time.perf_counter()
    reporting = subprocess.Popen(
        [sys.executable, "-m", "contend", "report", str(bundle), "--out", str(bundle / "x.html")]
    )
    _, status, used = os.wait4(reporting.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise RuntimeError(f"contend report ended with {status}")
    told = result.document["coverage"]["operations"]
    return {"operations": told, "report_s": round(seconds, 2), "report_mib": round(used.ru_maxrss / 1024)}


def measure() -> dict[str, Any]:
    """Seconds to write, bytes, and milliseconds to open beyond an empty page: medians; opening is None without Chromium."""
    with tempfile.TemporaryDirectory() as folder:
        raced = contend.race("reference:update-returning", out=Path(folder))
        bundle = Path(raced.document["bundle"])
        (place, *_) = sorted((bundle / "results").iterdir())
        document = json.loads((bundle / "results.json").read_text(encoding="utf-8"))
        for number in range(len(list((bundle / "results").iterdir())), RESULTS):
            copy = bundle / "results" / f"{number + 1:03d}-{place.name[3:]}"
            copy.mkdir()
            told = {**json.loads((place / "result.json").read_text(encoding="utf-8")), "system": f"copy:{number}"}
            (copy / "result.json").write_text(json.dumps(told), encoding="utf-8")
            document["results"].append(told)
        (bundle / "results.json").write_text(json.dumps(document), encoding="utf-8")
        started = time.perf_counter()
        page = write_page(bundle, Path(folder) / "report.html")
        found: dict[str, Any] = {"write_s": round(time.perf_counter() - started, 2), "bytes": page.stat().st_size}
        found["of_many_operations"] = _report_of_many(bundle, place)
        browser = shutil.which("chromium")
        if browser is None:
            return {**found, "open_ms": None}
        empty = Path(folder) / "empty.html"
        empty.write_text("<title>empty</title>", encoding="utf-8")
        profile = Path(folder) / "profile"
        _opened_s(browser, empty, profile)
        beyond = [_opened_s(browser, page, profile) - _opened_s(browser, empty, profile) for _ in range(OPENINGS)]
        return {**found, "open_ms": round(1000 * quantile(beyond, 0.5))}
