"""Several bundles made into one, with one page: what a session of tests left."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contend.campaign import write_page
from harness import bundle as bundles
from harness.bundle import Bundle
from harness.verdict import merge


def collect(paths: Sequence[Path], page: Path) -> Path:
    """Copy the results of finished bundles into a new one beside the page, in a folder of its name, and write the page.

    Gives the page's path. Raises `BundleUnreadable` and `OutputUnwritable`.
    """
    opened = [Bundle.open(path) for path in paths]
    documents = [bundles.read_json(each.folder / "results.json") for each in opened]
    first = opened[0].about
    about = {key: first[key] for key in ("contend", "created", "profile", "machine") if key in first}
    planned = sum(int(each.about.get("planned", 0)) for each in opened)
    made = Bundle.create(page.parent / f"{page.stem}-runs", {**about, "argv": ["pytest"], "planned": planned})
    with bundles.writing(made.folder):
        for number, place in enumerate((place for each in opened for place in each.places()), start=1):
            shutil.copytree(place, made.folder / "results" / f"{number:02d}-{place.name.partition('-')[2]}")
    made.finish(
        _merged(documents, made, page),
        conditions={name: said for each in opened for name, said in each.about.get("conditions", {}).items()},
        doubts=sorted({doubt for each in opened for doubt in each.about.get("doubts", [])}),
        finished=all(each.about.get("finished", False) for each in opened),
    )
    return write_page(made.folder, page)


def _merged(documents: Sequence[Mapping[str, Any]], made: Bundle, page: Path) -> dict[str, Any]:
    lists = {
        name: [each for document in documents for each in document[name]]
        for name in ("results", "controls", "not_applicable")
    }
    verdict = merge(document["verdict"] for document in documents)
    return {"schema": 1, "verdict": verdict, "bundle": str(made.folder), "report": str(page), **lists}
