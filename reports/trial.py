"""The trial of released queues: what was claimed of each, whether it held, what showed it, and what it cost.

`python -m reports.trial BUNDLE` prints it as Markdown, as `docs/track-record.md` has it.
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.measurement import quantile
from reports import wording
from reports.saved import Release, Result, load

WITHHELD_ABOVE: Final = 1.15  # the third quartile of the repeats over the first: with more spread no figure is given
FEWEST: Final = 4  # repeats after the first, which warms up, for a figure
RATE: Final = "jobs_per_second"
STATEMENTS: Final = "statements_per_finished_job"
_HEADS: Final = (
    "queue",
    "version",
    "on",
    "claim",
    "shown by",
    "again",
    "handed on after a kill",
    "jobs a second",
    "statements a job",
)


@dataclass(frozen=True, slots=True)
class Trial:
    """All results of one released queue on one database, in the order they were made."""

    system: str
    database: str
    release: Release
    results: tuple[Result, ...]

    @property
    def races(self) -> tuple[Result, ...]:
        """Those of its races without faults."""
        return tuple(each for each in self.results if each.scenario == "claim-race" and not each.explored)

    @property
    def broken(self) -> Mapping[str, Mapping[str, int]]:
        """For each invariant that was broken, in how many results of each way of looking."""
        found: dict[str, Counter[str]] = {}
        for result in self.results:
            for name in _broken(result):
                found.setdefault(name, Counter())[way(result)] += 1
        return found

    @property
    def verdict(self) -> str:
        """broken: an invariant was; held: every result passed; else not shown."""
        if self.broken:
            return "broken"
        return "held" if all(each.verdict == "pass" for each in self.results) else "not shown"

    @property
    def handed_on_ms(self) -> float | None:
        """How long what a killed worker held took to be handed on, the median."""
        times = [each.ms for result in self.results for each in result.recoveries if each.ms is not None]
        return statistics.median(times) if times else None

    def measured(self, name: str) -> tuple[float, ...]:
        """A measurement of its races that passed or failed, but for the first, which warms up."""
        found = (each.measurements.get(name) for each in self.races[1:] if each.verdict != "inconclusive")
        return tuple(each.value for each in found if each is not None and each.value is not None)


def way(result: Result) -> str:
    """How a result was looked for."""
    if result.scenario == "claim-recovery":
        return "killed"
    return "explored" if result.explored else "raced"


def _broken(result: Result) -> list[str]:
    return [each.invariant for each in result.judgements if each.state == "broken" and each.severity != "warning"]


def trials(results: Sequence[Result]) -> list[Trial]:
    """Every released queue of a run, on each database."""
    own = [each for each in results if each.release is not None and each.role == "subject"]
    keys = dict.fromkeys((each.system, each.database, each.release) for each in own)
    return [
        Trial(system, database, release, tuple(r for r in own if (r.system, r.database) == (system, database)))
        for system, database, release in keys
        if release is not None
    ]


def spread(values: Sequence[float]) -> float:
    """The third quartile over the first."""
    return quantile(values, 0.75) / quantile(values, 0.25) if values and quantile(values, 0.25) > 0 else float("inf")


def figure(values: Sequence[float]) -> str:
    """The median, or why none is given."""
    if len(values) < FEWEST:
        return "–"
    if (wide := spread(values)) > WITHHELD_ABOVE:
        return f"withheld, spread {wide:.2f}"
    return wording.number(statistics.median(values))


def claim(trial: Trial) -> str:
    """What became of the claim, in words."""
    if trial.verdict == "broken":
        return "broken: " + ", ".join(trial.broken)
    if trial.verdict == "held":
        return "held"
    reason = next(each.reasons[0] for each in trial.results if each.verdict != "pass" and each.reasons)
    return f"not shown: {wording.plain(reason)}"


def shown(trial: Trial) -> list[str]:
    """By which ways of looking, and how much each covered."""
    said = []
    for name in dict.fromkeys(way(each) for each in trial.results):
        own = [each for each in trial.results if way(each) == name]
        bad = sum(bool(_broken(each)) for each in own)
        if name == "explored":
            (one, *_) = own
            said.append(f"explored, {wording.schedules(one.coverage) or one.verdict}" + (": broken" if bad else ""))
            continue
        good = sum(each.verdict == "pass" for each in own)
        word = "raced" if name == "raced" else "raced, a worker killed"
        said.append(f"{word}, " + (f"broken in {bad} of {len(own)}" if bad else f"{good} of {len(own)} passed"))
    return said


def again(trial: Trial) -> str:
    """The command that shows it once more: of what broke it, else of what it passed."""
    worst = next((each for each in trial.results if _broken(each)), trial.results[0])
    if worst.explored:
        return f"contend explore {worst.scenario} --system {trial.system} --database {trial.database}"
    return f"contend run {worst.scenario} --system {trial.system} --database {trial.database}"


def row(trial: Trial) -> list[str]:
    """The cells of a queue, under `_HEADS`."""
    handed_on = trial.handed_on_ms
    return [
        trial.system,
        trial.release.version,
        wording.database(trial.database),
        claim(trial),
        "; ".join(shown(trial)),
        again(trial),
        "–" if handed_on is None else wording.milliseconds(handed_on),
        figure(trial.measured(RATE)),
        figure(trial.measured(STATEMENTS)),
    ]


def markdown(found: Sequence[Trial]) -> str:
    """The table, and below it how each queue was set up and what its authors say."""
    lines = [f"| {' | '.join(_HEADS)} |", "|" + "---|" * len(_HEADS)]
    for trial in found:
        cells = row(trial)
        cells[5] = f"`{cells[5]}`"
        if trial.verdict == "broken":
            cells[3] = f"**{cells[3]}**"
        lines.append(f"| {' | '.join(each.replace('|', '∣') for each in cells)} |")
    return "\n".join([*lines, "", *_notes(found)])


def _notes(found: Iterable[Trial]) -> Iterator[str]:
    for system, release in dict.fromkeys((each.system, each.release) for each in found):
        words = f" Its authors say: “{release.says}” ({release.where})" if release.says else ""
        yield f"- **{system}** {release.version}: {release.settings}.{words}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m reports.trial", description="Print the trial as Markdown.")
    parser.add_argument("bundle", type=Path)
    print(markdown(trials(load(parser.parse_args().bundle).results)))  # noqa: T201  # a command line
