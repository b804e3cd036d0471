"""What a bundle shows of each result, as far as a later run can be held to it; and the file a team commits.

Verdicts, what was covered, counts, slopes, and ratios that cancel the machine: never a bare time, never a count of what chance
decides. The same bundles give the same bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from harness import measurement
from harness.bundle import replacing
from harness.errors import BaselineUnreadable, OutputUnwritable, UsageError
from harness.verdict import Verdict
from reports.saved import Counted, Result, Run, Timing

SCHEMA: Final = 1
MACHINE: Final = ("cpu", "cores", "memory_gib")  # what makes two machines the same one; versions of software do not
CANCELLING_MS: Final = 1.0  # with this much network a ratio of times is one of round trips, on any machine
TELLING: Final = 100  # the size of a round to compare by, where it was timed
_CONFIDENCE: Final = 1.959964  # of the normal distribution, two-sided 95 %
# A hard ratio has to be worse than the baseline's by this factor, interval against interval.
BATCH_FACTOR: Final = 1.5
FLATNESS_FACTOR: Final = 2.0
FAIRNESS_FACTOR: Final = 2.0


class Key(NamedTuple):
    """What a result is called, in a bundle as in a baseline. `turn` tells apart results of the same name, from 1."""

    scenario: str
    system: str
    database: str
    mode: str
    turn: int = 1

    def __str__(self) -> str:
        """The name as people read it; a race, the usual mode, is not mentioned."""
        words = [self.scenario, self.system, self.database, *([self.mode] if self.mode != "race" else [])]
        return " ".join([*words, *([f"#{self.turn}"] if self.turn > 1 else [])])


@dataclass(frozen=True, slots=True)
class Count:
    """A count, in its unit; fewer is better. `value` is None of one that varied, and so is held to nothing."""

    unit: str
    value: float | None


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio with its 95 % interval; more is better. One that is not `portable` means something only on the same machine."""

    median: float
    low: float
    high: float
    factor: float
    portable: bool


@dataclass(frozen=True, slots=True)
class Load:
    """How much was asked for; None where a bundle does not say."""

    workers: int | None
    jobs: int | None
    batch: int | None
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Coverage:
    """The floor of what was covered: what varies from run to run is only said to have been there.

    `had` names what there was more than none of (whether claims overlapped is evidence, or chance); `judged` the invariants that
    could be applied; `evidence` what was looked for and seen.
    `schedules` is a floor: half of those explored, as a budget of seconds explores more or fewer. `exhausted`: all of them.
    """

    workers: int
    had: tuple[str, ...]
    judged: tuple[str, ...]
    evidence: tuple[str, ...]
    schedules: int = 0
    exhausted: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """What one result came to. `broken` names the invariants of severity violation that had findings."""

    role: str
    verdict: Verdict
    caught: bool
    broken: tuple[str, ...]
    load: Load
    coverage: Coverage
    counts: Mapping[str, Count]
    ratios: Mapping[str, Ratio]


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a team commits: each result by its key, and the machine it was made on."""

    machine: Mapping[str, Any]
    contend: str
    profile: str
    entries: Mapping[Key, Entry]

    @property
    def borne(self) -> list[Key]:
        """Results that are not as they should be: no pass, or a known-wrong system that was not caught."""
        return [
            key
            for key, entry in self.entries.items()
            if not (entry.caught if entry.role == "control" else entry.verdict == "pass")
        ]


def same_machine(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two descriptions are of one machine, as far as can be seen; of one that says nothing, no."""
    mine, yours = ([_whole(about.get(name)) for name in MACHINE] for about in (one, other))
    return mine == yours and any(value is not None for value in mine)


def _whole(value: object) -> object:
    return round(value) if isinstance(value, float) and math.isfinite(value) else value


def keyed(run: Run) -> dict[Key, Result]:
    """The results of a run by key, in the order they were made; twins are part of the result they are the control of."""
    found: dict[Key, Result] = {}
    for result in run.results:
        if result.twin:
            continue
        key = Key(result.scenario, result.system, result.database, result.mode)
        while key in found:
            key = key._replace(turn=key.turn + 1)
        found[key] = result
    return found


def entry_of(result: Result) -> Entry:
    """What a later run can be held to of this result. A control is there to be caught: its counts and ratios bind nobody."""
    bound = result.role == "subject"
    return Entry(
        role=result.role,
        verdict=result.verdict,
        caught=result.caught,
        broken=_sorted(j.invariant for j in result.judgements if j.violated),
        load=Load(result.asked.workers, result.asked.jobs, result.asked.batch, result.asked.options),
        coverage=_coverage(result),
        counts={each.name: Count(each.unit, steady(each)) for each in (result.counted or ()) if bound},
        ratios=dict(_ratios(result)) if bound else {},
    )


def steady(counted: Counted) -> float | None:
    """A count that was the same both times; None of one that varied or was counted only once."""
    return counted.first if counted.first == counted.second and not counted.varies else None


def _coverage(result: Result) -> Coverage:
    numbers = {name: value for name, value in result.coverage.items() if type(value) is int and value > 0}
    numbers.pop("overlapping_claims", 0)
    schedules, exhausted = numbers.pop("schedules", 0), result.coverage.get("exhausted") is True
    return Coverage(
        workers=numbers.pop("workers", 0),
        had=_sorted(numbers),
        judged=_sorted(j.invariant for j in result.judgements if j.state in ("holds", "broken")),
        evidence=_sorted(e.name for e in result.evidence if e.present),
        schedules=0 if exhausted else schedules // 2,
        exhausted=exhausted,
    )


def _ratios(result: Result) -> Iterable[tuple[str, Ratio]]:
    """Batch against N+1 at the latency that cancels the machine, else without any; flatness; how fairly workers were served."""
    for latency in (CANCELLING_MS, 0.0):
        timed = [each for each in result.times if each.latency_ms == latency and each.ratio is not None]
        if timed:
            yield _against_n_plus_1(min(timed, key=lambda each: (each.batch != TELLING, -each.batch)))
            break
    for flat in result.flatness:
        name = f"speed beside {flat.many} waiting jobs over that beside {flat.few}"
        yield name, _measured(flat.ratio, FLATNESS_FACTOR, portable=True)
    if any(e.name == "every-worker-took-part" and e.present for e in result.evidence):
        got = [max(0, each.claims - each.empty - each.errors) for each in result.processes]
        if len(got) > 1 and sum(got) > 0:
            yield "share of the least served worker", _fairness(got)


def _against_n_plus_1(timed: Timing) -> tuple[str, Ratio]:
    assert timed.ratio is not None  # noqa: S101  # only such are asked for
    name = f"times quicker than {timed.baseline}, {timed.batch} in a round, {timed.latency_ms:g} ms added"
    return name, _measured(timed.ratio, BATCH_FACTOR, portable=timed.latency_ms == CANCELLING_MS)


def _measured(ratio: measurement.Ratio, factor: float, *, portable: bool) -> Ratio:
    return Ratio(round(ratio.median, 4), round(ratio.low, 4), round(ratio.high, 4), factor, portable)


def _fairness(got: Sequence[int]) -> Ratio:
    """The claims of the worker that got fewest, as a part of an even share: 1 is even, 0 starved. The interval is Wilson's (1927)."""
    n, least, workers = sum(got), min(got), len(got)
    share, z = least / n, _CONFIDENCE
    middle, wide = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = ((middle + sign * wide) / (1 + z * z / n) for sign in (-1, 1))
    median, low, high = (round(max(each, 0.0) * workers, 4) for each in (share, low, high))
    return Ratio(median, low, high, FAIRNESS_FACTOR, portable=True)


def made_of(runs: Sequence[Run]) -> Baseline:
    """The baseline of one run, or of several that repeat each other: what all of them show. Raises `UsageError`.

    A count that is not the same in all of them is one that varies; intervals of ratios are joined; of verdicts the worst counts.
    """
    first = runs[0]
    for run in runs:
        if not run.finished:
            raise UsageError(
                f"The run in {run.folder} was not finished, so it shows only a part. "
                "Make a baseline of a finished one: contend run, then contend baseline."
            )
        if keyed(run).keys() != keyed(first).keys():
            odd = sorted(keyed(run).keys() ^ keyed(first).keys())
            raise UsageError(
                f"{run.folder} does not repeat {first.folder}: only one of them has {odd[0]}. "
                "Give bundles of the same `contend run`."
            )
        if not same_machine(run.machine, first.machine):
            raise UsageError(
                f"{run.folder} was made on another machine than {first.folder}. Give bundles of one machine."
            )
    entries = {key: _joined([entry_of(keyed(run)[key]) for run in runs]) for key in sorted(keyed(first))}
    if not entries:
        raise UsageError(f"{first.folder} holds no results, so nothing could be held to it. Run `contend run` first.")
    machine = {name: first.machine[name] for name in MACHINE if name in first.machine}
    return Baseline(machine, first.contend, first.profile, entries)


def _joined(entries: Sequence[Entry]) -> Entry:
    first = entries[0]
    if len(entries) == 1:
        return first
    worst = max(entries, key=lambda entry: ("pass", "inconclusive", "fail").index(entry.verdict))
    coverages = [entry.coverage for entry in entries]
    return Entry(
        role=first.role,
        verdict=worst.verdict,
        caught=all(entry.caught for entry in entries),
        broken=_sorted({name for entry in entries for name in entry.broken}),
        load=first.load,
        coverage=Coverage(
            workers=min(each.workers for each in coverages),
            had=_common(each.had for each in coverages),
            judged=_common(each.judged for each in coverages),
            evidence=_common(each.evidence for each in coverages),
            schedules=min(each.schedules for each in coverages),
            exhausted=all(each.exhausted for each in coverages),
        ),
        counts={
            name: Count(
                count.unit,
                count.value if all(entry.counts.get(name) == count for entry in entries) else None,
            )
            for name, count in first.counts.items()
        },
        ratios={
            name: Ratio(
                ratio.median,
                min(entry.ratios[name].low for entry in entries),
                max(entry.ratios[name].high for entry in entries),
                ratio.factor,
                ratio.portable,
            )
            for name, ratio in first.ratios.items()
            if all(name in entry.ratios for entry in entries)
        },
    )


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names))


def _common(names: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return _sorted(set.intersection(*(set(each) for each in names)))


# --- the file ----------------------------------------------------------------------------------------------------------


def document(baseline: Baseline) -> dict[str, Any]:
    """The baseline as it is committed."""
    return {
        "schema": SCHEMA,
        "contend": baseline.contend,
        "profile": baseline.profile,
        "machine": dict(baseline.machine),
        "results": [
            {
                **key._asdict(),
                "role": entry.role,
                "verdict": entry.verdict,
                "caught": entry.caught,
                "broken": list(entry.broken),
                "load": {
                    "workers": entry.load.workers,
                    "jobs": entry.load.jobs,
                    "batch": entry.load.batch,
                    "options": dict(entry.load.options),
                },
                "coverage": {
                    "workers": entry.coverage.workers,
                    "had": list(entry.coverage.had),
                    "judged": list(entry.coverage.judged),
                    "evidence": list(entry.coverage.evidence),
                    "schedules_at_least": entry.coverage.schedules,
                    "exhausted": entry.coverage.exhausted,
                },
                "counts": {
                    name: {"unit": c.unit, "unstable": True} if c.value is None else {"unit": c.unit, "value": c.value}
                    for name, c in entry.counts.items()
                },
                "ratios": {
                    name: {"median": r.median, "low": r.low, "high": r.high, "factor": r.factor, "portable": r.portable}
                    for name, r in entry.ratios.items()
                },
            }
            for key, entry in sorted(baseline.entries.items())
        ],
    }


def save(baseline: Baseline, path: Path) -> None:
    """Write the file, whole or not at all: sorted keys, plain ASCII. Raises `OutputUnwritable`."""
    text = json.dumps(document(baseline), indent=1, sort_keys=True, ensure_ascii=True) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as draft:
            draft.write_text(text, encoding="ascii")
    except OSError as error:
        raise OutputUnwritable(
            f"Cannot write {path}: {error.strerror}. Expected a file that can be written; choose another with --out."
        ) from error


def load(path: Path) -> Baseline:
    """Read a committed baseline. Raises `BaselineUnreadable`, saying what is wrong and how to make a new one."""
    make = f"Make one: contend baseline BUNDLE --out {path}"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BaselineUnreadable(f"There is no baseline at {path}. {make}") from None
    except OSError as error:
        raise BaselineUnreadable(f"The baseline {path} cannot be read: {error.strerror}. {make}") from error
    except UnicodeDecodeError as error:
        raise BaselineUnreadable(f"The baseline {path} is damaged: it is not text. {make}") from error
    if not text.strip():
        raise BaselineUnreadable(f"The baseline {path} is empty. {make}")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BaselineUnreadable(f"The baseline {path} is damaged: {error}. {make}") from error
    schema = value.get("schema") if isinstance(value, dict) else None
    if type(schema) is not int:
        raise BaselineUnreadable(f"{path} is not a baseline: it names no schema. {make}")
    if schema != SCHEMA:
        age = "older" if schema < SCHEMA else "newer"
        cure = (
            make
            if schema < SCHEMA
            else f"Install that contend, or make a new one: contend baseline BUNDLE --out {path}"
        )
        raise BaselineUnreadable(
            f"The baseline {path} was written by an {age} contend, with schema {schema}; expected {SCHEMA}. {cure}".replace(
                "an newer", "a newer"
            )
        )
    try:
        found = _read(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = f"`{error.args[0]}` is missing" if isinstance(error, KeyError) else str(error)
        raise BaselineUnreadable(f"The baseline {path} is damaged or was edited: {said}. {make}") from error
    if not found.entries:
        raise BaselineUnreadable(f"The baseline {path} is empty: it holds no results, so nothing is held to it. {make}")
    return found


def _read(value: Mapping[str, Any]) -> Baseline:
    entries: dict[Key, Entry] = {}
    for row in _typed(value["results"], list, "results"):
        scenario, system, database, mode = (_typed(row[name], str, name) for name in Key._fields[:4])
        key = Key(scenario, system, database, mode, _typed(row["turn"], int, "turn"))
        if key in entries:
            raise ValueError(f"{key} is there twice")
        entries[key] = _read_entry(row)
    return Baseline(
        _typed(value["machine"], dict, "machine"),
        _typed(value["contend"], str, "contend"),
        _typed(value["profile"], str, "profile"),
        entries,
    )


def _read_entry(row: Mapping[str, Any]) -> Entry:
    load, coverage = _typed(row["load"], dict, "load"), _typed(row["coverage"], dict, "coverage")
    for name, words in (("verdict", ("pass", "fail", "inconclusive")), ("role", ("subject", "control"))):
        if row[name] not in words:
            raise ValueError(f"`{name}` is {row[name]!r}, expected one of {', '.join(words)}")
    workers, jobs, batch = (
        None if load[name] is None else _typed(load[name], int, name) for name in ("workers", "jobs", "batch")
    )
    return Entry(
        role=row["role"],
        verdict=row["verdict"],
        caught=_typed(row["caught"], bool, "caught"),
        broken=_names(row, "broken"),
        load=Load(workers, jobs, batch, _typed(load["options"], dict, "options")),
        coverage=Coverage(
            workers=_typed(coverage["workers"], int, "workers"),
            had=_names(coverage, "had"),
            judged=_names(coverage, "judged"),
            evidence=_names(coverage, "evidence"),
            schedules=_typed(coverage["schedules_at_least"], int, "schedules_at_least"),
            exhausted=_typed(coverage["exhausted"], bool, "exhausted"),
        ),
        counts={
            name: Count(
                _typed(count["unit"], str, "unit"), None if count.get("unstable") is True else _number(count, "value")
            )
            for name, count in _typed(row["counts"], dict, "counts").items()
        },
        ratios={
            name: Ratio(
                _number(ratio, "median"),
                _number(ratio, "low"),
                _number(ratio, "high"),
                _number(ratio, "factor"),
                portable=_typed(ratio["portable"], bool, "portable"),
            )
            for name, ratio in _typed(row["ratios"], dict, "ratios").items()
        },
    )


def _names(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(_typed(each, str, f"an item of {name}") for each in _typed(row[name], list, name))


def _number(row: Mapping[str, Any], name: str) -> float:
    value = row[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"`{name}` is {str(value)[:40]!r}, expected a number")
    return float(value)


def _typed(value: Any, kind: type, name: str) -> Any:
    if type(value) is not kind:
        raise ValueError(f"`{name}` is {str(value)[:40]!r}, expected {_KINDS[kind]}")
    return value


_KINDS: Final = {str: "a text", int: "a whole number", bool: "true or false", list: "a list", dict: "an object"}
