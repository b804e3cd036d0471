"""A queue whose every word is an attack, really run: its pages in a real browser, at two widths, in light and dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import chromium
import pytest
from conftest import Once
from synthetic_bundle import loaded, write
from test_page import HOSTILE, Page, hostile, hostile_exploration

import contend
from reports.difference import write_difference
from reports.history import write_history
from reports.page import write_page

PICTURES = Path(__file__).parents[2] / "build" / "pages"
in_a_browser = pytest.mark.skipif(chromium.FOUND is None, reason="needs Chromium to open the page")
# It hands every job to two workers, so that its words stand in findings, and is refused now and then, so that they stand in errors.
QUEUE = r"""
import sqlite3

EVIL = (
    "<script>document.title='ran';console.error('ran')</script>",
    "\"><img src=x onerror=\"document.title='ran';console.error('ran')\">",
    "' onmouseover='alert(1)",
    "</style></title><svg onload=alert(1)>",
    "\u202eright to left\u2066\u200f",
    "tab\tbell\x07escape\x1b[31m",
    "W" * 3000,
)

class Queue:
    databases = ("sqlite",)

    def __init__(self, url):
        self.db = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=9, isolation_level=None)
        self.turn = 0

    def install(self):
        self.db.execute("CREATE TABLE jobs (id TEXT PRIMARY KEY, taken INT DEFAULT 0)")

    def enqueue(self, jobs):
        (there,) = self.db.execute("SELECT count(*) FROM jobs").fetchone()
        ids = [f"{EVIL[n % len(EVIL)]}{n}" for n in range(there, there + len(jobs))]
        self.db.executemany("INSERT INTO jobs (id) VALUES (?)", [(each,) for each in ids])
        return ids

    def claim(self, worker, limit):
        self.turn += 1
        if self.turn % 5 == 0:
            error = sqlite3.OperationalError("database is locked " + EVIL[self.turn // 5 % len(EVIL)])
            error.sqlite_errorcode, error.sqlite_errorname = 5, "SQLITE_BUSY"
            raise error
        self.db.execute("BEGIN IMMEDIATE")
        rows = self.db.execute("SELECT id FROM jobs WHERE taken < 2 LIMIT ? -- <script>alert(1)</script>", (limit,)).fetchall()
        self.db.executemany("UPDATE jobs SET taken = taken + 1 WHERE id = ?", rows)
        self.db.execute("COMMIT")
        return [id_ for (id_,) in rows]

    def complete(self, worker, handles):
        pass

    def close(self):
        self.db.close()
"""


def attacked(folder: Path) -> Path:
    """Make the bundle of a real run of that queue, from a file whose name is an attack as well."""
    file = folder / "<img src=x onerror=alert(1)>.py"
    file.write_text(QUEUE, encoding="utf-8")
    outcome = contend.race(f"{file}:Queue", workers=3, jobs=60, batch=4, seed=7, out=folder / "real")
    assert outcome.verdict == "fail"
    assert {"no-double-claim", "lock-errors"} <= {finding["invariant"] for finding in outcome.findings}
    return Path(outcome.document["bundle"])


@pytest.fixture(scope="module")
def pages(once: Once) -> dict[str, str]:
    """Every kind of page, of what was really run and of bundles in which all that can be is hostile."""
    return {path.stem: path.read_text(encoding="utf-8") for path in once("hostile", written).glob("*.html")}


def written(folder: Path) -> None:
    """Write every kind of page into a folder."""
    real = attacked(folder)
    runs = folder / "runs"
    shutil.copytree(real, runs / real.name, symlinks=True)
    for n, text in enumerate((HOSTILE[0], HOSTILE[7], HOSTILE[4])):
        worst = [*hostile(text), loaded(text, text, failures=40, verdict="fail", late=text)]
        made = {"created": f"2026-11-0{n + 1}T10:00:00Z"} if n else {"created": HOSTILE[0]}
        write(
            runs / f"hostile-{n}",
            worst,
            "fail",
            doubts=[text],
            argv=["run", text],
            machine={text: text, "cpu": text},
            **made,
        )
    explored = [hostile_exploration(HOSTILE[n]) for n in (0, 1, 4, 7)]
    write(runs / "explored", explored, "fail", created="2026-11-09T10:00:00Z")
    (runs / "cut").mkdir()
    (runs / "cut" / "bundle.json").write_text("{<script>")
    for name, path in {
        "real": write_page(real),
        "report": write_page(runs / "hostile-0"),
        "long": write_page(runs / "hostile-1"),
        "turned round": write_page(runs / "hostile-2"),
        "explored": write_page(runs / "explored"),
        "comparison": write_difference(real, runs / "hostile-0"),
        "compared": write_difference(runs / "hostile-1", runs / "hostile-2"),
        "history": write_history(runs),
    }.items():
        shutil.copyfile(path, folder / f"{name}.html")


NAMES = ("real", "report", "long", "turned round", "explored", "comparison", "compared", "history")


@pytest.mark.parametrize("name", NAMES)
def test_no_page_runs_or_loads_anything_whatever_a_system_says(pages: dict[str, str], name: str) -> None:
    page = Page(pages[name])
    assert page.open == []
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & {
        tag for tag, _ in page.elements
    }
    assert not [key for _, attrs in page.elements for key in attrs if key.startswith("on") or key in ("src", "srcdoc")]
    assert {value[0] for value in page.values("href")} <= {"#"}
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in page.values("href")} <= set(ids)
    unsaid = {chr(n) for n in (*range(0x20), 0x7F, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))}
    assert not (unsaid - set("\n")) & set(pages[name])
    boxes = [attrs for _, attrs in page.elements if attrs.get("class") == "box"]
    assert all(attrs["tabindex"] == "0" and attrs["aria-label"] for attrs in boxes), (
        "a box that scrolls needs the keyboard"
    )


def test_what_the_queue_said_is_there_to_be_read(pages: dict[str, str]) -> None:
    words = Page(pages["real"]).text
    assert "<script>document.title='ran'" in words
    assert "<img src=x onerror=alert(1)>.py:Queue" in words
    assert 'SQLITE_BUSY: database is locked "><img src=x' in words
    assert "✗ contradiction" in words


def test_what_an_explored_system_said_is_there_to_be_read(pages: dict[str, str]) -> None:
    words = Page(pages["explored"]).text
    for text in (HOSTILE[0], HOSTILE[1], "⟨U+202E⟩evil⟨U+2066⟩ ⟨U+2069⟩⟨U+200F⟩⟨U+0000⟩⟨U+001B⟩[31m"):
        for said in (
            f"step {text}",  # a worker
            f"{text} → {text}",  # a statement and its error
            f"2: {text} … blocked by {text}, w1",
            f"answers {text} → jobs {text}, 1",
            f"claim {text}: {text}",  # an outcome and its problem
            f"Expected was {text}, and {text} came.",
        ):
            assert said in words


@pytest.fixture(scope="module")
def browser() -> Iterator[chromium.Browser]:
    with chromium.started() as browser:
        yield browser


@in_a_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", NAMES)
def test_in_a_browser_it_is_quiet_and_as_wide_as_the_screen(
    pages: dict[str, str], browser: chromium.Browser, name: str, width: int, scheme: Literal["light", "dark"]
) -> None:
    """The pictures stay in build/pages, which git ignores."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    shot = PICTURES / f"{name.replace(' ', '-')}-{width}-{scheme}.png"
    seen = browser.look_at(pages[name], width, scheme, shot)
    assert seen.console == ()
    assert seen.title != "ran"
    assert "contend" in seen.title
    assert seen.scrolls == seen.width <= width
    assert seen.unseen == 0, "text that was meant to be read has no width"
    assert seen.background == {"light": "rgb(253, 253, 251)", "dark": "rgb(22, 24, 27)"}[scheme]
    assert shot.stat().st_size > 10_000


@in_a_browser
def test_the_browser_would_have_told(browser: chromium.Browser) -> None:
    """The same look at a page that does what must not happen."""
    seen = browser.look_at(
        "<title>contend</title><p style='width:900px'>wide</p><script>document.title='ran';console.error('ran')</script>",
        360,
    )
    assert seen.title == "ran"
    assert len(seen.console) == 1
    assert seen.scrolls > seen.width
