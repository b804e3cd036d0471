"""Many runs over time: the verdict of each case in each run, and its counts as small lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from markupsafe import Markup

from harness.errors import BundleUnreadable
from reports import rendering, wording
from reports.cases import COUNTED, Case, by_case, same_machine, step
from reports.comparison import value
from reports.saved import Result, Run, load
from reports.scaling import scaling

MOST_RUNS: Final = 30  # the newest that are shown; older ones are counted
MOST_CHANGES: Final = 60
_WIDE, _HIGH, _EDGE = 120, 24, 4  # of a small line, in px


@dataclass(frozen=True, slots=True)
class Row:
    """One case over all runs: its result in each (None where it was not run), and its count as a small line."""

    case: Case
    results: tuple[Result | None, ...]
    counted: str
    line: Markup


@dataclass(frozen=True, slots=True)
class Turn:
    """A case that stood differently in one run than in the last that had tried it."""

    case: Case
    run: Run
    before: Result
    after: Result
    style: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A folder that is no bundle to read, and why."""

    folder: str
    reason: str


def write_history(folder: Path, out: Path | None = None) -> Path:
    """Write the history of all bundles in a folder to `out`, by default `history.html` in the folder.

    Bundles that cannot be read are named on the page with the reason. Raises `BundleUnreadable` where none can, and
    `OutputUnwritable`. The same bundles give the same bytes.
    """
    runs: list[Run] = []
    left_out: list[LeftOut] = []
    for each in bundles_in(folder):
        try:
            runs.append(load(each))
        except BundleUnreadable as error:
            left_out.append(LeftOut(each.name, str(error).replace(str(folder), "…")))
    if not runs:
        reason = left_out[0].reason if left_out else "It holds no bundle."
        raise BundleUnreadable(f"{folder} has no bundle that can be read. {reason}")
    return rendering.save(_page(runs, left_out), folder / "history.html" if out is None else out)


def write_runs(bundles: Sequence[Path], out: Path | None = None) -> Path:
    """Write the history of these bundles to `out`, by default `history.html` in the folder of the last. Raises as above."""
    runs = [load(each) for each in bundles]
    return rendering.save(_page(runs, []), runs[-1].folder / "history.html" if out is None else out)


def bundles_in(folder: Path) -> list[Path]:
    """The bundles right below a folder, by name; what only points to one, such as `latest`, is left out."""
    if not folder.is_dir():
        return []
    return sorted(each for each in folder.iterdir() if not each.is_symlink() and (each / "bundle.json").is_file())


def _page(runs: Sequence[Run], left_out: Sequence[LeftOut]) -> str:
    ordered = sorted(runs, key=lambda run: (run.created, run.folder.resolve().name))
    shown = ordered[-MOST_RUNS:]
    results = [by_case(run) for run in shown]
    cases = sorted(
        dict.fromkeys(case for each in results for case in each), key=lambda case: (case.scenario, case.database)
    )
    rows = [_row(case, [each.get(case) for each in results]) for case in cases]
    turns = [turn for row in rows for turn in _turns(row, shown)]
    turns.sort(key=lambda turn: shown.index(turn.run), reverse=True)
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.case.scenario, row.case.database), []).append(row)
    changed = len({turn.case for turn in turns})
    return rendering.render(
        "history.html",
        runs=shown,
        older=len(ordered) - len(shown),
        groups=groups,
        turns=turns[:MOST_CHANGES],
        more=len(turns) - MOST_CHANGES,
        changed=changed,
        cases=len(cases),
        left_out=left_out,
        scalings=scaling([result for run in shown for result in run.results]) if same_machine(shown) else [],
        one_machine=same_machine(shown),
        amount=wording.amount,
    )


def _row(case: Case, results: Sequence[Result | None]) -> Row:
    for name in COUNTED:
        values = [None if each is None else value(each, name) for each in results]
        if any(each is not None for each in values):
            return Row(case, tuple(results), wording.label(name), _line(values, wording.label(name)))
    return Row(case, tuple(results), "", Markup(""))


def _line(values: Sequence[float | None], label: str) -> Markup:
    """A small line through the values that are there, its last one in figures; what it shows is said in words as well."""
    there = [(place, each) for place, each in enumerate(values) if each is not None]
    low, high = min(each for _, each in there), max(each for _, each in there)
    first, last = there[0][1], there[-1][1]
    told = (
        f"{label}: {wording.number(first)} at first, {wording.number(last)} at last, "
        f"from {wording.number(low)} to {wording.number(high)}"
    )
    if len(there) == 1:
        return Markup('<span class="spark">{}</span>').format(wording.number(last))
    step = (_WIDE - 2 * _EDGE) / max(1, len(values) - 1)
    span = high - low
    points = [
        (
            round(_EDGE + place * step, 1),
            round(_HIGH / 2 if not span else _HIGH - _EDGE - (each - low) / span * (_HIGH - 2 * _EDGE), 1),
        )
        for place, each in there
    ]
    drawn = Markup(
        '<svg role="img" aria-label="{}" viewBox="0 0 {} {}" width="{}" height="{}">'
        '<polyline points="{}"/><circle cx="{}" cy="{}" r="2.5"/></svg>'
    ).format(told, _WIDE, _HIGH, _WIDE, _HIGH, " ".join(f"{x},{y}" for x, y in points), *points[-1])
    change = wording.number(last) if first == last else f"{wording.number(first)} → {wording.number(last)}"
    return Markup('<span class="spark">{} {}</span>').format(drawn, change)


def _turns(row: Row, runs: Sequence[Run]) -> list[Turn]:
    found = []
    before: Result | None = None
    for run, after in zip(runs, row.results, strict=True):
        if after is None:
            continue
        worse = 0 if before is None else step(before, after)
        if before is not None and worse:
            found.append(Turn(row.case, run, before, after, "bad" if worse > 0 else "good"))
        before = after
    return found
