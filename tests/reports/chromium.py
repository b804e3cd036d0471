"""Pages in a real browser: laid out at a width, in light or dark, with what the console said and how long it took."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import html
import json
import os
import re
import select
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

FOUND: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_OPTIONS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--hide-scrollbars",
    "--disable-dev-shm-usage", "--remote-debugging-pipe",
)  # fmt: skip
_HEIGHT: Final = 2400
_SECONDS: Final = 120.0  # until a browser that does not answer is given up
_SAID: Final = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
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

_MEASURED: Final = """document.getElementById("o")?.textContent || new Promise(
  done => addEventListener("load", () => setTimeout(() => done(document.getElementById("o").textContent))))"""


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


@contextlib.contextmanager
def started() -> Iterator[Browser]:
    """Start a browser that looks at one page after another; it is gone on leaving, and so is what it kept."""
    with contextlib.ExitStack() as stack:
        profile = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="contend-chromium-", ignore_cleanup_errors=True)
        )
        (their_in, our_out), (our_in, their_out) = _pipe(stack), _pipe(stack)
        pid = os.posix_spawn(
            str(FOUND),
            [str(FOUND), *_OPTIONS, f"--user-data-dir={profile}"],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, their_in, 3),
                (os.POSIX_SPAWN_DUP2, their_out, 4),
            ],
        )
        stack.callback(os.waitpid, pid, 0)
        browser = Browser(our_in, our_out)
        stack.callback(browser.call, "Browser.close")
        yield browser


def _pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
    """Make a pipe whose ends are neither 3 nor 4, which are the browser's own ends."""
    ends = os.pipe()
    reads, writes = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    stack.callback(os.close, reads)
    stack.callback(os.close, writes)
    return reads, writes


@dataclass
class Browser:
    """A running browser, spoken to in its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/).

    A message is JSON that ends with a zero byte.
    """

    reads: int
    writes: int
    _number: int = 0
    _unread: bytes = b""
    _events: list[dict[str, Any]] = field(default_factory=list)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Have something done; gives its result. What happens meanwhile is kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        data = json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0"
        while data:
            data = data[os.write(self.writes, data) :]
        while (told := self._next()).get("id") != self._number:
            self._events.append(told)
        assert "error" not in told, (method, told["error"])
        result: dict[str, Any] = told["result"]
        return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            assert select.select([self.reads], [], [], _SECONDS)[0], f"the browser said nothing for {_SECONDS:g} s"
            more = os.read(self.reads, 1 << 16)
            assert more, "the browser is gone"
            self._unread += more
        message, _, self._unread = self._unread.partition(b"\0")
        told: dict[str, Any] = json.loads(message)
        return told

    def look_at(
        self,
        source: str,
        width: int,
        scheme: Literal["light", "dark"] = "light",
        shot: Path | None = None,
        *,
        unfold: bool = True,
    ) -> Seen:
        """Lay the page out, with every fold open so that what it hides is seen too; `shot` is where a picture goes."""
        opened = re.sub(r"<details(?=[ >])", "<details open", source) if unfold else source
        self._events.clear()
        context = self.call("Target.createBrowserContext")["browserContextId"]  # knows nothing of the pages before
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable", session)
        size = {"width": max(width, 500), "height": _HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", session, **size)
        self.call("Emulation.setEmulatedMedia", session, features=[{"name": "prefers-color-scheme", "value": scheme}])
        with tempfile.TemporaryDirectory(prefix="contend-page-") as scratch:
            frame = Path(scratch) / "frame.html"
            frame.write_text(
                _FRAME.format(width=width, height=_HEIGHT, page=html.escape(opened, quote=True)), encoding="utf-8"
            )
            self.call("Page.navigate", session, url=frame.as_uri())
            told = self.call("Runtime.evaluate", session, expression=_MEASURED, awaitPromise=True)
            if shot is not None:
                picture = self.call("Page.captureScreenshot", session)
                shot.write_bytes(base64.b64decode(picture["data"]))
        self.call("Target.disposeBrowserContext", browserContextId=context)
        values = json.loads(told["result"]["value"])
        said = tuple(json.dumps(event["params"]) for event in self._events if event.get("method") in _SAID)
        width_, scrolls, elements, unseen, background, title, ms = values
        return Seen(width_, scrolls, elements, unseen, background, title, ms, said)
