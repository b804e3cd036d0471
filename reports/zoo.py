"""The kill matrix: every defect of a run of the zoo, by which invariant and in which mode it was caught, and after how much.

`python -m reports.zoo BUNDLE [--power FILE]` prints it as Markdown, as `docs/zoo.md` has it; FILE is what `python -m benchmarks zoo`
has measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reports import wording
from reports.power import Power
from reports.power import load as load_power
from reports.saved import Result, load

DEFECT = "defect:"


@dataclass(frozen=True, slots=True)
class Kill:
    """One defect on one database: what must catch it, whether it did, everything that did, after how much, and where it was seen."""

    defect: str
    database: str
    scenario: str
    mode: str
    expected: str
    caught: bool
    found: tuple[str, ...]
    after: str
    story: str
    seen_in: str


def kills(results: Sequence[Result]) -> list[Kill]:
    """The matrix, in the order of the run: one row for each defect on each database."""
    return [_kill(each) for each in results if each.system.startswith(DEFECT) and each.expected and not each.twin]


def clean(results: Sequence[Result]) -> tuple[int, int]:
    """Of the right systems of a run, how many passed, and how many there were."""
    right = [each for each in results if not each.system.startswith(DEFECT) and each.right]
    return sum(each.verdict == "pass" for each in right), len(right)


def _kill(result: Result) -> Kill:
    return Kill(
        result.system.removeprefix(DEFECT),
        result.database,
        result.scenario,
        result.mode,
        str(result.expected),
        result.caught,
        tuple(dict.fromkeys(finding.invariant for finding in result.findings)),
        _after(result),
        result.story,
        result.seen_in,
    )


def _after(result: Result) -> str:
    """After how much it was shown: of an exploration the schedules and the time, else that it was one race."""
    explored = result.exploration
    if explored is None:
        return "one race"
    if explored.raced:
        return wording.amount(explored.raced, "race")
    tried = wording.amount(explored.tried, "schedule")
    return tried if explored.shown_seconds is None else f"{tried}, {explored.shown_seconds:.1f} s"


def markdown(matrix: Sequence[Kill], power: Power | None = None) -> str:
    """The matrix as a Markdown table; with `power`, which way detects what."""
    heads = ["defect", "on", "provoked by", "must be caught by", "", "after", "found besides", "seen in"]
    heads += power.heads if power else ()
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for kill in matrix:
        how = {"race": "raced", "explore": "explored"}.get(kill.mode, kill.mode)
        others = ", ".join(f"`{name}`" for name in kill.found if name != kill.expected)
        measured = "".join(f" {cell} |" for cell in power.cells(kill.defect, kill.database)) if power else ""
        lines.append(
            f"| `{kill.defect}` | {wording.database(kill.database)} | {kill.scenario}, {how} | `{kill.expected}` "
            f"| {'caught' if kill.caught else '**not caught**'} | {kill.after} | {others} | {kill.seen_in} |{measured}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m reports.zoo", description="Print the kill matrix as Markdown.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--power", type=Path, metavar="FILE", help="what `python -m benchmarks zoo` has measured")
    given = parser.parse_args()
    run, power = load(given.bundle), load_power(given.power) if given.power else None
    passed, right = clean(run.results)
    rows = kills(run.results)
    print(markdown(rows, power))  # noqa: T201  # a command line
    if power:
        print(f"\n{power.footnotes()}")  # noqa: T201  # as below
    print(  # noqa: T201  # as above
        f"\n{sum(row.caught for row in rows)} of {len(rows)} caught; {passed} of {right} right ones passed the same provocations."
    )
