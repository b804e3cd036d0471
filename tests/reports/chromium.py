"""A page in a real browser: laid out at a width, in light or dark, with what its console said and how long it took."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

FOUND: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_OPTIONS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--hide-scrollbars",
    "--enable-logging=stderr", "--disable-dev-shm-usage",
)  # fmt: skip
# A window is never narrower than 500 px, so the page is laid out in a frame; what it holds is measured from outside.
_FRAME: Final = """<!doctype html><meta charset=utf-8>
<body style="margin:0"><iframe id=f style="border:0;width:{width}px;height:{height}px" srcdoc="{page}"></iframe>
<output id=o hidden></output>
<script>addEventListener("load", () => {{
  const inner = document.getElementById("f").contentDocument, root = inner.documentElement;
  const unseen = [...root.querySelectorAll("bdi")].filter(e => e.textContent && e.getBoundingClientRect().width < 4);
  document.getElementById("o").textContent = JSON.stringify([
    root.clientWidth, root.scrollWidth, root.querySelectorAll("*").length, unseen.length,
    getComputedStyle(inner.body).backgroundColor, inner.title, performance.now()]);
}})</script>"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the browser made of a page: its width and how wide it is to scroll (px), and `ms` until it was laid out."""

    width: int
    scrolls: int
    elements: int
    unseen: int
    background: str
    title: str
    ms: float
    console: tuple[str, ...]


def look_at(
    source: str,
    width: int,
    scheme: Literal["light", "dark"] = "light",
    shot: Path | None = None,
    *,
    unfold: bool = True,
) -> Seen:
    """Lay the page out, with every fold open so that what it hides is seen too; `shot` is where a picture goes."""
    opened = re.sub(r"<details(?=[ >])", "<details open", source) if unfold else source
    with tempfile.TemporaryDirectory(prefix="contend-chromium-") as scratch:
        frame = Path(scratch) / "frame.html"
        frame.write_text(
            _FRAME.format(width=width, height=2400, page=html.escape(opened, quote=True)), encoding="utf-8"
        )
        pictured = [f"--screenshot={shot}"] if shot is not None else []
        dumped = _run(scratch, scheme, "--dump-dom", *pictured, f"--window-size={max(width, 500)},2400", frame.as_uri())
    found = re.search(r'<output id="o"[^>]*>(.*?)</output>', dumped.stdout, re.S)
    assert found is not None, dumped.stderr[-500:]
    values = json.loads(html.unescape(found[1]))
    said = tuple(line for line in dumped.stderr.splitlines() if "CONSOLE" in line)
    width_, scrolls, elements, unseen, background, title, ms = values
    return Seen(width_, scrolls, elements, unseen, background, title, ms, said)


def _run(scratch: str, scheme: str, *more: str) -> subprocess.CompletedProcess[str]:
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    profile = f"--user-data-dir={tempfile.mkdtemp(dir=scratch)}"
    return subprocess.run(
        [str(FOUND), *_OPTIONS, *dark, profile, *more], capture_output=True, text=True, timeout=120, check=True
    )
