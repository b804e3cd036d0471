"""The trial of released queues: what was claimed of each, whether it held, what showed it, and what it cost.

`python -m reports.trial BUNDLE` prints it as Markdown, as `docs/track-record.md` has it; `--json FILE` keeps what that is made of.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from harness.measurement import quantile
from harness.protocols import Release
from reports import wording
from reports.saved import Result, Run, load

WITHHELD_ABOVE: Final = 1.15  # the third quartile of the repeats over the first: with more spread no figure is given
FEWEST: Final = 4  # repeats after the first, which warms up, for a figure
KILLED: Final = "a worker killed"
AWAY: Final = "a worker away for longer than its lease"
WAYS: Final = {"kill-worker": KILLED, "pause-worker": AWAY}  # by what befell it
RATE: Final = "jobs_per_second"
STATEMENTS: Final = "statements_per_finished_job"


@dataclass(frozen=True, slots=True)
class Trial:
    """All results of one released queue on one database, in the order they were made."""

    system: str
    database: str
    release: Release
    results: tuple[Result, ...]

    @property
    def claims(self) -> tuple[Result, ...]:
        """All that its claim is judged by: a worker that is away for longer than its lease is a question of its own."""
        return tuple(each for each in self.results if way(each) != AWAY)

    @property
    def races(self) -> tuple[Result, ...]:
        """Those of its races without faults."""
        return tuple(each for each in self.results if each.scenario == "claim-race" and not each.explored)

    @property
    def verdict(self) -> str:
        """What became of its claim: broken, held or not shown."""
        return fate(self.claims)[0]

    @property
    def handed_on_ms(self) -> float | None:
        """How long what a killed worker held took to be handed on, the median."""
        own = [each for each in self.results if way(each) == KILLED]
        times = [each.ms for result in own for each in result.recoveries if each.ms is not None]
        return statistics.median(times) if times else None

    def measured(self, name: str) -> tuple[float, ...]:
        """A measurement of its races that passed or failed, but for the first, which warms up."""
        found = (each.measurements.get(name) for each in self.races[1:] if each.verdict != "inconclusive")
        return tuple(each.value for each in found if each is not None and each.value is not None)


def way(result: Result) -> str:
    """How a result was looked for."""
    if result.scenario == "claim-recovery":
        return WAYS.get(str(result.asked.options.get("faults")), "faults")
    return "explored" if result.explored else "raced"


def _broken(result: Result) -> list[str]:
    return [each.invariant for each in result.judgements if each.violated]


def fate(results: Sequence[Result]) -> tuple[str, str]:
    """What became of what these results are about, as a word and in words: an invariant was broken; all passed; or neither, and why."""
    if broken := dict.fromkeys(name for each in results for name in _broken(each)):
        return "broken", f"broken: {', '.join(broken)}"
    reasons = [each.reasons for each in results if each.verdict != "pass"]
    if not reasons:
        return "held", "held"
    why = next(
        (wording.plain(said[0]).partition(". ")[0].rstrip(".") for said in reasons if said), "no reason was given"
    )
    return "not shown", f"not shown: {why}."


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
    """The third quartile over the first, of at least one value."""
    first = quantile(values, 0.25)
    return quantile(values, 0.75) / first if first > 0 else float("inf")


def claim(trial: Trial) -> str:
    """What became of the claim, in words."""
    return fate(trial.claims)[1]


def away(trial: Trial) -> str:
    """What became of what a worker held that was away for longer than its lease, and came back."""
    own = [each for each in trial.results if way(each) == AWAY]
    return fate(own)[1] if own else "–"


def shown(trial: Trial) -> list[str]:
    """By which ways of looking, and how much each covered."""
    said = []
    for name in dict.fromkeys(way(each) for each in trial.claims):
        own = [each for each in trial.claims if way(each) == name]
        bad = sum(bool(_broken(each)) for each in own)
        if name == "explored":
            (one, *_) = own
            said.append(f"explored, {wording.schedules(one.coverage) or one.verdict}" + (": broken" if bad else ""))
            continue
        good = sum(each.verdict == "pass" for each in own)
        said.append(f"{name}, " + (f"broken in {bad} of {len(own)}" if bad else f"{good} of {len(own)} passed"))
    return said


def again(trial: Trial) -> str:
    """The command that shows it once more: of what broke it, else of what it passed."""
    worst = next((each for each in trial.claims if _broken(each)), trial.results[0])
    if worst.explored:
        return f"contend explore {worst.scenario} --system {trial.system} --database {trial.database}"
    faults = worst.asked.options.get("faults")
    struck = f" --option faults={faults} --option lease_seconds=1" if faults else ""
    return f"contend run {worst.scenario} --system {trial.system} --database {trial.database}{struck}"


@dataclass(frozen=True, slots=True)
class Row:
    """What is told of one queue on one database; figures are the median of repeats, or why there is none."""

    queue: str
    version: str
    database: str
    verdict: str
    claim: str
    shown_by: str
    again: str
    handed_on: str
    away: str
    jobs_a_second: str
    statements_a_job: str
    settings: str
    says: str
    where: str


def row(trial: Trial) -> Row:
    """What is told of a queue."""
    handed_on = trial.handed_on_ms
    return Row(
        queue=trial.system,
        version=trial.release.version,
        database=wording.database(trial.database),
        verdict=trial.verdict,
        claim=claim(trial),
        shown_by="; ".join(shown(trial)),
        again=again(trial),
        handed_on="–" if handed_on is None else wording.milliseconds(handed_on),
        away=away(trial),
        jobs_a_second=figure(trial.measured(RATE)),
        statements_a_job=figure(trial.measured(STATEMENTS)),
        settings=trial.release.settings,
        says=trial.release.says,
        where=trial.release.where,
    )


def figure(values: Sequence[float]) -> str:
    """The median, or why none is given."""
    if len(values) < FEWEST:
        return "–"
    if (wide := spread(values)) > WITHHELD_ABOVE:
        return f"withheld, spread {wide:.2f}"
    return wording.number(statistics.median(values))


@dataclass(frozen=True, slots=True)
class Record:
    """What is committed of one trial: when and where it was run, and its rows."""

    created: str
    contend: str
    python: str
    cpu: str
    cores: int
    databases: tuple[str, ...]
    rows: tuple[Row, ...]

    @classmethod
    def of(cls, run: Run) -> Record:
        """The record of a run."""
        versions = {name: wording.plain(said.get("version", "")) for name, said in run.conditions.items()}
        return cls(
            run.created,
            run.contend,
            str(run.machine.get("python", "?")),
            str(run.machine.get("cpu", "?")),
            int(str(run.machine.get("cores", 0))),
            tuple(f"{wording.database(name)} {version}" for name, version in versions.items()),
            tuple(row(each) for each in trials(run.results)),
        )

    @classmethod
    def read(cls, file: Path) -> Record:
        """Read a record that was kept."""
        told = json.loads(file.read_text(encoding="utf-8"))
        rows = tuple(Row(**each) for each in told["rows"])
        return cls(**{**told, "databases": tuple(told["databases"]), "rows": rows})


def markdown(record: Record) -> str:
    """The table, and below it how each queue was set up and what its authors say."""
    heads = "queue | version | on | claim | shown by | again | handed on after a kill | late completion | jobs a second | statements a job"
    where = f"Python {record.python}, on {record.cores} cores ({record.cpu}); {', '.join(record.databases)}"
    lines = [f"Run on {record.created[:10]} by contend {record.contend}, {where}.", ""]
    lines += [f"| {heads} |", "|" + "---|" * (heads.count("|") + 1)]
    for each in record.rows:
        cells = [each.queue, each.version, each.database, _strong(each), each.shown_by, f"`{each.again}`"]
        lines.append(_line([*cells, each.handed_on, each.away, each.jobs_a_second, each.statements_a_job]))
    notes = dict.fromkeys((each.queue, each.version, each.settings, each.says, each.where) for each in record.rows)
    lines.append("")
    for queue, version, settings, says, where in notes:
        words = f" Its authors say: “{says}” ({where})" if says else ""
        lines.append(f"- **{queue}** {version}: {settings}.{words}")
    return "\n".join(lines)


def brief(record: Record) -> str:
    """The table as the README has it."""
    lines = ["| queue | on | claim | shown by |", "|---|---|---|---|"]
    lines += [
        _line([f"{each.queue} {each.version}", each.database, _strong(each), each.shown_by]) for each in record.rows
    ]
    return "\n".join(lines)


def _strong(row: Row) -> str:
    return f"**{row.claim}**" if row.verdict == "broken" else row.claim


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(each.replace('|', '∣') for each in cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a bundle, or a record that was kept of one, as Markdown; with `--json`, keep the record."""
    parser = argparse.ArgumentParser(prog="python -m reports.trial", description="Print a trial as Markdown.")
    parser.add_argument("path", type=Path, metavar="BUNDLE|FILE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep what the tables are made of")
    parser.add_argument("--brief", action="store_true", help="print the table as the README has it")
    given = parser.parse_args(arguments)
    record = Record.read(given.path) if given.path.suffix == ".json" else Record.of(load(given.path))
    if given.json:
        given.json.write_text(json.dumps(asdict(record), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(brief(record) if given.brief else markdown(record))  # noqa: T201  # a command line


if __name__ == "__main__":
    main()
