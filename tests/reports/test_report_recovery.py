"""Recovery on the page: which faults there were, who held what, what was handed on and how long that took."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from synthetic_bundle import Json, recovered, result, write
from test_page import HOSTILE, Page, figures, page_of, section

from reports.page import write_page
from reports.plots import INK
from reports.recovery import MOST_ARROWS, MOST_BARS, MOST_FAULTS


def recovery(page: Page) -> str:
    return section(page, "Recovery Workers hold jobs", "Jobs per worker")


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314  # written by ourselves


def numbers(svg: str) -> dict[str, tuple[float, float]]:
    """Where the numbers of the faults stand in a plot, above its lanes."""
    found = re.findall(r'font-size: 8px[^>]*text-anchor: middle[^>]*x="([\d.]+)" y="([\d.]+)"[^>]*>(\d+)</text>', svg)
    return {number: (float(x), float(y)) for x, y, number in found}


def test_a_run_with_faults_stands_with_its_verdict_and_its_figures(tmp_path: Path) -> None:
    page = page_of(tmp_path / "b", [recovered()])
    told = recovery(page)
    for said in (
        "Postgres: after 3 faults half of the jobs were in other hands within 1.12 s, all within 1.12 s, with skip-locked-cte.",
        "skip-locked-cte ✓ pass 3 1,120 1,120",
        "skip-locked-cte: 3 faults, 3 jobs handed on, 1 not",
        "1 pause-worker (w3), 2 freeze-server (all), 3 kill-worker (w1).",
        "1 pause-worker w3 0.08 1.21 2 1,120",
        "2 freeze-server all 2.00 2.50",
        "3 kill-worker w1 3.00 3.02 1 1,100",
        "Not done here: fill-disk (it would take a file system of our own).",
    ):
        assert said in told
    assert "Recovery" in page.text[: page.text.index("What was tried")], "the navigation names it"
    assert "Judged by what it promises: each job is claimed exactly once while its lease holds." in page.text
    assert "4 workers, 182 jobs, 70 claims, 1 kill, 3 faults" in page.text


def test_the_plot_has_a_lane_a_worker_a_number_a_fault_and_says_in_words_what_is_seen(tmp_path: Path) -> None:
    (svg,) = figures(page_of(tmp_path / "b", [recovered()]), "recovery-1-")
    root = parsed(svg)
    assert root.attrib["aria-labelledby"] == "recovery-1-1-title recovery-1-1-desc"
    title, description = root[0].text or "", root[1].text or ""
    assert title == "skip-locked-cte: 3 faults, 3 jobs handed on, 1 not"
    assert description.startswith(f"{title}. 1 pause-worker (w3), 2 freeze-server (all), 3 kill-worker (w1).")
    assert description.endswith("The longest recovery took 1.12 s.")
    lanes = dict(re.findall(r'y="([\d.]+)"[^>]*>(w\d|quiet)</text>', svg))
    assert [lanes[at] for at in sorted(lanes, key=float)] == ["w0", "w1", "w2", "w3", "quiet"]
    assert list(numbers(svg)) == ["1", "2", "3"]
    for said in ("held, and ended by its holder", "lost, or its end refused or unknown", "a fault", "taken by a fault"):
        assert f">{said}" in svg
    assert svg.count("url(#recovery-1-1-h") == 3, "what its holder did not end is hatched, and so in the legend"
    assert not re.search("#[0-9a-f]{6}", svg), "the page's own colours, in light and in dark"
    assert INK not in svg


def test_the_plot_may_be_scrolled_where_it_would_be_too_small_to_be_read(tmp_path: Path) -> None:
    page = page_of(tmp_path / "b", [recovered()])
    boxes = [attrs for _, attrs in page.elements if attrs.get("class") == "box"]
    assert {"tabindex": "0", "aria-label": "skip-locked-cte: 3 faults, 3 jobs handed on, 1 not"}.items() <= {
        key: value for box in boxes for key, value in box.items() if "handed on" in box["aria-label"]
    }.items()
    assert re.search(r"figure\.wide svg \{ min-width: \d+rem; \}", page.source)


@pytest.mark.parametrize("near", [0.0, 0.001, 0.05])
def test_numbers_of_faults_that_were_soon_after_each_other_stand_above_each_other(tmp_path: Path, near: float) -> None:
    faults = [("latency", ["w0"], 1.0 + near * n, 1.5) for n in range(5)] + [("latency", ["w0"], 4.0, 4.1)]
    (svg,) = figures(page_of(tmp_path / "b", [recovered(faults=faults)]), "recovery-1-")
    stand = list(numbers(svg).values())
    assert len(stand) == 6
    assert all(
        abs(x - other_x) >= 6 or abs(y - other_y) >= 8
        for n, (x, y) in enumerate(stand)
        for other_x, other_y in stand[:n]
    )
    assert stand[-1][1] == max(y for _, y in stand), "with room, it stands on the lanes"
    top = float(parsed(svg).attrib["viewBox"].split()[1])
    assert min(y for _, y in stand) - 8 >= top, "and none is cut"


def test_what_failed_or_is_unproven_never_shows_its_times_bare(tmp_path: Path) -> None:
    page = page_of(tmp_path / "b", [recovered(verdict="inconclusive", reasons=["x"])], "inconclusive")
    told = recovery(page)
    assert "Postgres: 3 faults." in told
    assert "? inconclusive 3 1,120 unproven 1,120 unproven" in told
    assert "skip-locked-cte (unproven): 3 faults, 3 jobs handed on, 1 not" in told


def test_without_faults_there_is_no_section(tmp_path: Path) -> None:
    still = recovered()
    still["series"] = {"counts": []}
    for number, kept in enumerate((still, result("a"), recovered(scenario="claim-race"))):
        page = page_of(tmp_path / str(number), [kept])
        assert 'id="recovery"' not in page.source
        assert "#recovery" not in page.source


def test_a_result_that_does_not_say_what_it_promises_is_shown_without(tmp_path: Path) -> None:
    kept = recovered()
    del kept["semantics"]
    assert "Judged by" not in page_of(tmp_path / "b", [kept]).text


@pytest.mark.parametrize("missing", ["holds", "recoveries", "not_planned"])
def test_whatever_is_missing_the_rest_is_shown(tmp_path: Path, missing: str) -> None:
    kept = recovered()
    del kept["series"][missing]
    page = page_of(tmp_path / "b", [kept])
    assert "skip-locked-cte ✓ pass 3 1,120 1,120" in recovery(page)
    assert len(figures(page, "recovery-1-")) == (missing != "holds")
    assert ("Not done here" in page.text) == (missing != "not_planned")


@pytest.mark.parametrize("name", HOSTILE[1:8:3], ids=ascii)
def test_names_of_workers_jobs_and_faults_are_text(tmp_path: Path, name: str) -> None:
    kept = recovered(faults=[(name, [name, "w1"], 0.1, None), (name, None, 0.2, 0.3)])
    for each in (*kept["series"]["holds"], *kept["series"]["recoveries"]):
        each |= {"worker": name, "job": name, "how": name}
    kept["series"]["recoveries"][0] |= {"fault": name, "next_worker": name}
    kept["series"]["not_planned"] = [{"fault": name, "reason": name}]
    page = page_of(tmp_path / "b", [kept])
    assert page.open == []
    assert not {"script", "img", "b"} & {tag for tag, _ in page.elements}
    (svg,) = figures(page, "recovery-1-")
    parsed(svg)
    assert "1 fault" not in page.text
    assert "2 faults" in recovery(page)


@pytest.mark.parametrize("until", [0.0, 1e-9, 1e12])
def test_a_run_of_any_length_is_drawn(tmp_path: Path, until: float) -> None:
    kept = recovered(faults=[("latency", ["w0"], 0.0, None)], series={})
    hold = {"worker": "w0", "job": "1", "from_seconds": 0.0, "until_seconds": until, "how": "lost"}
    kept["series"] = {
        "faults": [{"fault": "latency", "workers": ["w0"], "from_seconds": 0.0, "until_seconds": None}],
        "holds": [hold],
    }
    (svg,) = figures(page_of(tmp_path / "b", [kept]), "recovery-1-")
    parsed(svg)


def crowded() -> Json:
    """Sixteen workers, 64,000 times held, 500 faults and as many thousand jobs handed on."""
    kept = recovered(faults=[("latency", [f"w{n % 16}"], n * 1.0, n + 0.5) for n in range(500)])
    kept["series"]["holds"] = [
        {
            "worker": f"w{n % 16}",
            "job": str(n),
            "from_seconds": n / 128,
            "until_seconds": n / 128 + 0.1,
            "how": "lost" if n % 5 else "complete",
        }
        for n in range(64_000)
    ]
    kept["series"]["recoveries"] = [
        {
            "worker": f"w{n % 16}",
            "job": str(n),
            "fault": "latency",
            "struck_seconds": n / 10,
            "next_worker": "w1",
            "handed_on_seconds": n / 10 + 1 + n / 5000,
            "ms": 1000.0 + n / 5,
        }
        for n in range(5000)
    ]
    return kept


def test_very_many_stay_small_and_what_is_not_drawn_is_counted(tmp_path: Path) -> None:
    page = page_of(tmp_path / "b", [crowded()])
    (svg,) = figures(page, "recovery-1-")
    assert len(page.source.encode()) < 1_200_000
    bars = len(re.findall(r"fill: var\(--cool\); fill-opacity|fill: url\(#recovery-1-1-h", svg))
    assert MOST_BARS / 4 < bars <= MOST_BARS + 2 * 16 + 2
    assert len(re.findall(r"<path [^>]*stroke-width: 0.9", svg)) <= 2 * MOST_ARROWS + 2
    assert MOST_FAULTS / 2 < max(map(int, numbers(svg))) <= MOST_FAULTS
    told = recovery(page)
    assert f"{MOST_FAULTS} latency (w11); {500 - MOST_FAULTS} more are not drawn." in told
    assert "500 latency w3 499.00 499.50" in told, "but in the table"


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = (write_page(write(tmp_path / name / "run", [recovered(), recovered("b")])).read_bytes() for name in "ab")
    assert one == two
    page = Page(one.decode())
    assert len(figures(page, "recovery-1-")) == 2
    assert len(page.values("id")) == len(set(page.values("id")))
