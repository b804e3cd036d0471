"""The anomaly matrix: every explored system by database and isolation level, and what its schedules showed.

`python -m reports.anomalies BUNDLE` prints it as Markdown, as `docs/anomalies.md` has it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reports import wording
from reports.saved import Exploration, Result, load

# What an invariant that is broken is called, the worst first.
ANOMALIES: Final = {
    "no-double-claim": "double",
    "batch-limit": "over limit",
    "no-lost-job": "lost",
    "no-phantom-claim": "phantom",
    "no-false-empty": "false empty",
    "claim-order": "out of order",
    "lock-errors": "errors",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One system explored on one database: its schedules, how many showed which anomaly, in how many a worker `waited`.

    No `anomalies`: it is clean. `all_of` says that these are all schedules there are.
    """

    schedules: int
    all_of: bool
    anomalies: tuple[tuple[str, int], ...]
    waited: int

    @property
    def words(self) -> str:
        """The cell in words: `clean, 10 schedules, waits in 2`."""
        told = [f"{what} in {number:,}" for what, number in self.anomalies] or ["clean"]
        of = wording.amount(self.schedules, "schedule")
        told[-1] += f" of {of}" if self.anomalies else f", {of}"
        if not self.all_of:
            told.append("not all tried")
        if self.waited:
            told.append(f"waits in {self.waited:,}")
        return ", ".join(told)


@dataclass(frozen=True, slots=True)
class Anomalies:
    """The matrix of one scenario: `rows` are systems, each with a cell for each database, None where it was not explored."""

    scenario: str
    databases: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]


def anomalies(results: Sequence[Result]) -> list[Anomalies]:
    """The matrix of each scenario that was explored on more than one database."""
    explored = [result for result in results if result.exploration is not None and not result.exploration.raced]
    found = []
    for scenario in dict.fromkeys(result.scenario for result in explored):
        mine = [result for result in explored if result.scenario == scenario]
        databases = tuple(dict.fromkeys(result.database for result in mine))
        if len(databases) < 2:
            continue
        cells = {(r.system, r.database): _cell(r, r.exploration) for r in mine if r.exploration is not None}
        systems = dict.fromkeys(result.system for result in mine)
        rows = tuple((system, tuple(cells.get((system, database)) for database in databases)) for system in systems)
        found.append(Anomalies(scenario, databases, rows))
    return found


def _cell(result: Result, explored: Exploration) -> Cell:
    warnings = {judgement.invariant for judgement in result.judgements if judgement.severity == "warning"}
    broken = {f.invariant: f.schedules or 0 for f in result.findings if f.invariant not in warnings}
    order = [*(name for name in ANOMALIES if name in broken), *(name for name in broken if name not in ANOMALIES)]
    shown = tuple((ANOMALIES.get(name, name), broken[name]) for name in order)
    return Cell(explored.tried, result.coverage.get("exhausted") is True, shown, explored.waited or 0)


def markdown(matrix: Anomalies) -> str:
    """The matrix as a Markdown table."""
    heads = ["", *(wording.database(database) for database in matrix.databases)]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    lines += [
        f"| `{wording.plain(system)}` | {' | '.join(cell.words if cell else '' for cell in cells)} |"
        for system, cells in matrix.rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    for each in anomalies(load(Path(sys.argv[1])).results):
        print(f"### {each.scenario}\n\n{markdown(each)}\n")  # noqa: T201  # a command line
