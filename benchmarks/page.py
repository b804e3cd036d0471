"""A page of a hundred results: how long it takes to write, how large it is, and how long a browser needs to open it."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import contend
from contend.campaign import write_page
from harness.measurement import quantile

RESULTS = 100
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
        browser = shutil.which("chromium")
        if browser is None:
            return {**found, "open_ms": None}
        empty = Path(folder) / "empty.html"
        empty.write_text("<title>empty</title>", encoding="utf-8")
        profile = Path(folder) / "profile"
        _opened_s(browser, empty, profile)
        beyond = [_opened_s(browser, page, profile) - _opened_s(browser, empty, profile) for _ in range(OPENINGS)]
        return {**found, "open_ms": round(1000 * quantile(beyond, 0.5))}
