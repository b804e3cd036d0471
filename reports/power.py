"""How well each way detects each defect, as `python -m benchmarks zoo` measured it: cells for the kill matrix, and its footnotes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from harness.errors import BundleUnreadable
from reports import wording

Cell = tuple[str, str]  # what it says, and the reason that stands in a footnote


@dataclass
class Power:
    """The measurement: for each (defect, database) a cell under each of the heads; footnotes of those shown; how the right ones fared."""

    heads: ClassVar = ("caught", "longest", "raced alone", "explored", "with crashes", "raced with faults")
    rows: dict[tuple[str, str], tuple[Cell, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    right: str = ""

    def cells(self, defect: str, database: str) -> list[str]:
        """Those of one defect, in Markdown; dashes where it was not measured."""
        return [
            said + self._mark(why) for said, why in self.rows.get((defect, database), (("–", ""),) * len(self.heads))
        ]

    def _mark(self, why: str) -> str:
        if not why:
            return ""
        if why not in self.notes:
            self.notes.append(why)
        return f"<sup>{self.notes.index(why) + 1}</sup>"

    def footnotes(self) -> str:
        """The footnotes of the cells that were asked for, and how the right ones fared."""
        lines = [
            f"<sup>{number}</sup> {note}{'' if note[-1] in '.?' else '.'}" for number, note in enumerate(self.notes, 1)
        ]
        return "\n\n".join([*lines, self.right])


def load(file: Path) -> Power:
    """Read a measurement. Raises `BundleUnreadable`, naming what is wrong with the file."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        return read(document)
    except (OSError, ValueError) as error:
        raise BundleUnreadable(f"{file} cannot be read: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise BundleUnreadable(
            f"{file} is no measurement of the zoo: {error!r} where that was not expected. "
            "Expected a file that `python -m benchmarks zoo --json FILE` has written."
        ) from error


def read(document: Mapping[str, Any]) -> Power:
    """Make the cells of a measurement. Raises `KeyError` or `TypeError` where it is none."""
    power = Power(right=_right(document["right"]))
    for entry in document["defects"].values():
        runs = entry["provoked"]
        if not runs:
            continue
        power.rows[entry["defect"], entry["database"]] = (
            (f"{sum(run['found'] for run in runs)} of {len(runs)}", ""),
            (f"{max(run['seconds'] for run in runs):.1f} s", ""),
            _raced(entry),
            *(_looked(entry.get(way)) for way in ("explore", "crash", "faults")),
        )
    return power


def _raced(entry: Mapping[str, Any]) -> Cell:
    """In how many races of the same operations it showed itself; where there are none, in how many of the scenario's own."""
    found = entry.get("race")
    if found is not None and "raced" in found:
        return f"{found['broken'].get(entry['expected'], 0)} of {found['raced']}", ""
    if found is not None and entry["mode"] == "race":
        runs = entry["provoked"]
        return f"{sum(run['found'] for run in runs)} of {len(runs)}", "Races of the whole scenario, as it is provoked"
    return _looked(found)


def _looked(found: Mapping[str, Any] | None) -> Cell:
    if found is None:
        return "–", ""
    if "reason" in found:
        return "–", found["reason"]
    tried = wording.amount(found["schedules"], "schedule") if found.get("schedules") else ""
    if found["found"]:
        return f"found, {tried}" if tried else "found", ""
    if found["verdict"] == "inconclusive":
        return "?", found["problem"]
    if not tried:
        return "not found", ""
    if found.get("exhausted"):
        return "none in the only schedule" if found["schedules"] == 1 else f"none in all {tried}", ""
    return f"none in {tried}", ""


def _right(runs: Sequence[Mapping[str, Any]]) -> str:
    """How the right ones fared in the same provocations."""
    found = [run for run in runs if run["found"]]
    open_ = sum(run["verdict"] == "inconclusive" for run in runs)
    named = ", ".join(sorted({f"{run['system']} on {run['database']}" for run in found}))
    return (
        f"The right ones, through the same provocations: findings in {len(found)} of {len(runs)} runs"
        + (f" ({named})" if named else "")
        + (f"; {open_} inconclusive" if open_ else "")
        + "."
    )
