"""One run on one screen: `perform` prepares and races, explores or loads; `judge` looks at what was recorded; `settle` rules and saves.

Whatever is concrete (the scenario, the system, the server, the witness) arrives as an argument.
"""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import duckdb

from harness import bundle as bundles
from harness import coverage, merging
from harness.errors import ContendError, SystemUnusable, is_of_database, said_by_database
from harness.history import CONTEXT
from harness.invariants import judging
from harness.measurement import Ratio, doubts_about
from harness.processes import Source
from harness.protocols import Fault, Gate, Promise, Release, Server, ServiceFactory, Witness
from harness.runners.explore import Replay
from harness.runners.load import USER_OPTIONS, Crowd
from harness.runners.stage import open_stage
from harness.scenario import Load, Profile, Scenario, lease_of
from harness.verdict import CARRIED_THROUGH, Evidence, Judgement, Ruling, Verdict, rule

Role = Literal["subject", "control"]


@dataclass(frozen=True, slots=True)
class Subject:
    """A system to be run: its name, where its class is, what it promises, and what is already known of it.

    `caught_by` maps a scenario to the invariant that must catch a system known to be wrong in it; empty for one that is right, or
    of which nothing is known (`known` false). `about` names the scenarios a system is there to show; in others it runs when asked for.
    `at_level` replaces parts of `caught_by` on a database of that name, for another isolation level than the system was made for. A
    wrong one is shown only where it is `certain` to be caught: in every race, in explorations, or only by what provokes it in the zoo.
    """

    name: str
    source: Source
    promise: Promise
    known: bool = False
    about: tuple[str, ...] = ()
    caught_by: Mapping[str, str] | None = None
    at_level: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    story: str = ""
    certain: Literal["race", "explore", "zoo"] = "race"
    seen_in: str = ""  # where a defect was met in the world
    release: Release | None = None  # of a package that others have made

    def on(self, engine: str) -> Subject:
        """The system as it is on a database of that name."""
        known = self.at_level.get(engine)
        return self if known is None else replace(self, caught_by={**(self.caught_by or {}), **known})

    def expected(self, scenario: Scenario) -> str | None:
        """The invariant that must catch this system in a scenario, or None: it is right, or what it does wrong is not judged there."""
        name = (self.caught_by or {}).get(scenario.name)
        return name if name in scenario.invariants else None


@dataclass(frozen=True, slots=True)
class Case:
    """One scenario joined to one system on one database, with its load.

    `database` is the engine (sqlite, postgres); `engine` what the user calls it (sqlite-rollback, $DATABASE_URL). A `twin` was run
    only as the control of another case, not because it was asked for.
    """

    scenario: Scenario
    subject: Subject
    database: str
    engine: str
    load: Load
    profile: Profile
    role: Role = "subject"
    twin: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What one run came to; `document` is its `result.json`."""

    case: Case
    ruling: Ruling
    judgements: tuple[Judgement, ...]
    document: Mapping[str, Any]

    @property
    def caught(self) -> bool:
        """Whether the invariant that must catch this system did."""
        expected = self.case.subject.expected(self.case.scenario)
        return any(j.invariant == expected and j.state == "broken" for j in self.judgements)

    @property
    def verdict(self) -> Verdict:
        """What this result means for the whole run: a control is as it must be when it was caught."""
        if self.case.role == "control":
            return "pass" if self.caught else "inconclusive"
        return self.ruling.verdict


@dataclass(frozen=True, slots=True)
class Performed:
    """What a run left beside its files: what went wrong with it, in words, the tables of figures it saved, how long it took."""

    problems: Sequence[str] = ()
    series: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Draft:
    """One run as its own history judges it, before its control is asked for."""

    case: Case
    place: Path
    judgements: tuple[Judgement, ...]
    evidence: tuple[Evidence, ...]
    told: Mapping[str, Any]
    series: Mapping[str, Any]
    seconds: float

    @property
    def ruling(self) -> Ruling:
        """The verdict by what is here."""
        return rule(self.judgements, self.evidence)


def perform(
    case: Case,
    place: Path,
    *,
    server: Server,
    witness: Witness,
    find: Callable[[str], Source],
    services: Mapping[str, ServiceFactory] | None = None,
    watch: Callable[[str], None] = lambda _line: None,
    crowd: Crowd | None = None,
    gate: Gate | None = None,
    replay: Replay | None = None,
    faults: Mapping[str, Fault] | None = None,
) -> Performed:
    """Let a case happen; what was recorded is in the folder `place`.

    `services` starts what a system may need beside its database, by name. `find` gives the source of another system by name;
    `crowd` has the users of a load at work, `gate` holds the statements of an exploration, of
    which only the schedule `replay` is carried out, if there is one; `faults` are those the scenario may plan, by name.
    Whatever goes wrong with the run itself is a problem, in words, and what was recorded is kept. Raises `SystemUnusable` where the
    system cannot even be built.
    """
    started = time.monotonic()
    bundles.save_json(place / "context.json", context_of(case, witness))
    problems: list[str] = []
    series: Mapping[str, Any] = {}
    try:
        with open_stage(
            load=case.load,
            profile=case.profile,
            database=case.database,
            promise=case.subject.promise,
            source=case.subject.source,
            server=server,
            witness=witness,
            folder=place,
            find=find,
            watch=watch,
            services=services or {},
            scenario=case.scenario.name,
            crowd=crowd,
            gate=gate,
            replay=replay,
            faults=faults,
            look=partial(broken_so_far, case, place),
            latency_ms=case.scenario.latency_ms.get(case.database, 0.0),
        ) as stage:
            problems, series = stage.crew.problems, stage.series
            case.scenario.drive(stage)
    except SystemUnusable:
        raise
    except ContendError as error:
        problems.append(str(error))
    except Exception as error:
        if not is_of_database(error):
            raise
        problems.append(said_by_database(error))
    return Performed(problems, series, time.monotonic() - started)


def broken_so_far(case: Case, place: Path, excerpt: Path | None = None, only: str = "") -> Mapping[str, Sequence[int]]:
    """Judge what was recorded so far of a run that goes on: for each invariant that is broken, the schedules that break it.

    `excerpt` is a folder with part of what was recorded; `only` the one invariant to judge by.
    """
    context, folder = bundles.read_json(place / "context.json"), excerpt or place
    merging.merge(folder)
    try:
        names = (only,) if only else case.scenario.invariants
        judgements = judging.judge(folder, names, {name: context.get(name) for name in CONTEXT})
    finally:
        shutil.rmtree(folder / "history")
    return {j.invariant: j.schedules for j in judgements if j.violated}


def context_of(case: Case, witness: Witness) -> dict[str, Any]:
    """What was promised and asked for: the `context` row that invariants read."""
    promise = case.subject.promise
    lease = lease_of(promise, case.load)
    return {
        "scenario": case.scenario.name,
        "system": case.subject.name,
        "database": case.database,
        "semantics": promise.semantics,
        "ordered": promise.ordered,
        "lease_ns": None if lease is None else int(lease * 1e9),
        "capabilities": list(promise.capabilities),
        "workers": case.load.workers,
        "jobs": case.load.jobs,
        "batch": case.load.batch,
        "faults": case.scenario.faults,
        "witness": witness.name,
        "flush_interval_ns": _interval_ns(case.load.options),
        "most_running": _limit(case.load.options, "most_running"),
        "max_attempts": _limit(case.load.options, "max_attempts"),
        "engine": case.engine,
        "seed": case.load.seed,
        "options": dict(case.load.options),
        "role": case.role,
        "twin": case.twin,
        "mode": case.scenario.mode,
    }


def _interval_ns(options: Mapping[str, Any]) -> int | None:
    interval = options.get("flush_interval")
    sound = isinstance(interval, int | float) and 0 < interval < 1e9  # a system is left to refuse any other
    return int(interval * 1e9) if sound and interval else None


def _limit(options: Mapping[str, Any], name: str) -> int | None:
    most = options.get(name)
    sound = isinstance(most, int) and not isinstance(most, bool) and 0 < most < 2**63  # as above
    return most if sound else None


def judge(
    case: Case,
    place: Path,
    performed: Performed,
    extra_invariants: Sequence[Path] = (),
    *,
    merged: Path | None = None,
) -> Draft:
    """Merge what was recorded and judge it; needs no database, so a saved run can be judged again, and any thread may do it.

    Where it is not merged yet, the history goes into the folder `merged`, or beside what was recorded.
    """
    found: list[Evidence] = []
    judgements: list[Judgement] = []
    told: dict[str, Any] = {"coverage": {}, "measurements": {}, "counted": [], "processes": [], "operations": []}
    series = performed.series
    try:
        history = place
        if not (place / "history" / "operations.parquet").exists():
            history = merged or place
            merging.merge(place, history)
        context = bundles.read_json(place / "context.json")
        row = {name: context.get(name) for name in CONTEXT}
        names, sampled = case.scenario.invariants, case.scenario.sampled
        judgements = judging.judge(history, names, row, extra_invariants, sampled=sampled)
        with coverage.open_history(history) as opened:
            found = coverage.evidence(opened, case.scenario.evidence)
            told = describe(opened, judgements)
            series = {**series, **coverage.series(opened)}
    except (ContendError, duckdb.Error) as error:
        said = str(error).splitlines()[0].rstrip(".")
        remedy = "What was recorded is kept: once the cause is gone, `contend check` judges it."
        found.append(
            Evidence("history-judged", present=False, reason=f"The history could not be judged: {said}.", remedy=remedy)
        )
    problems = dict.fromkeys(performed.problems)  # what ended the run may have been noticed twice
    found += [Evidence(CARRIED_THROUGH, present=False, reason=problem) for problem in problems]
    return Draft(case, place, tuple(judgements), tuple(found), told, series, performed.seconds)


def settle(draft: Draft, control: Callable[[], Evidence], *, save: bool) -> Result:
    """Give the verdict. `control` runs the control, and is asked only where a pass depends on it."""
    if "control-caught" in draft.case.scenario.evidence and draft.ruling.verdict == "pass":
        draft = replace(draft, evidence=(*draft.evidence, control()))
    result = _result(draft)
    if save:
        bundles.save_json(draft.place / "result.json", result.document)
    return result


def describe(history: duckdb.DuckDBPyConnection, judgements: Sequence[Judgement]) -> dict[str, Any]:
    """Read the figures a reader wants beside the verdict."""
    named = [number for j in judgements for finding in j.findings[:3] for number in finding.operations]
    return {
        "coverage": coverage.covered(history),
        "measurements": coverage.measurements(history),
        "counted": coverage.counted(history),
        "processes": coverage.workers(history),
        "operations": coverage.operations(history, named),
    }


def _result(draft: Draft) -> Result:
    case, place, judgements, ruling = draft.case, draft.place, draft.judgements, draft.ruling
    caught = next((e for e in draft.evidence if e.name == "control-caught"), None)
    expected = case.subject.expected(case.scenario)
    itself = any(j.invariant == expected and j.state == "broken" for j in judgements)
    result = Result(case, ruling, judgements, {})
    explored = schedules_covered(draft.series)
    measured = (
        {} if explored else draft.told["measurements"]
    )  # held back, nothing takes the time or the statements it takes
    covered = {name: value for name, value in draft.told["coverage"].items() if not explored or name != "statements"}
    reasons = list(ruling.reasons)
    if case.role == "control":
        reasons.insert(
            0, f"caught, as it must be, by {expected}" if result.caught else f"not caught: {expected} found nothing"
        )
    document = {
        "scenario": case.scenario.name,
        "system": case.subject.name,
        "database": case.database if case.engine.startswith("$") else case.engine,
        "mode": case.scenario.mode,
        "verdict": ruling.verdict,
        "reasons": reasons,
        "findings": [
            {
                "invariant": j.invariant,
                "count": j.count,
                **({"schedules": _broken_by(draft.series, j)} if explored else {}),
                "evidence": [{**f.facts, "operations": list(f.operations)} for f in j.findings],
                "replay": replay_line(case)
                if not explored or "raced" in explored
                else shlex.join(["contend", "replay", str(place), "--finding", str(n)]),
            }
            for n, j in enumerate((j for j in judgements if j.state == "broken"), 1)
        ],
        "coverage": {
            **covered,
            **explored,
            "control": "caught" if itself or (caught and caught.present) else "missed" if caught else "not run",
        },
        "measurements": measured,
        "counted": [] if explored else draft.told["counted"],
        "role": case.role,
        "twin": case.twin,
        "expected": expected,
        "right": expected is None if case.subject.known else None,
        "story": case.subject.story,
        "seen_in": case.subject.seen_in,
        **({"release": asdict(case.subject.release)} if case.subject.release else {}),
        "semantics": case.subject.promise.semantics,
        "claim": case.scenario.claim,
        "judgements": [{k: v for k, v in asdict(j).items() if k not in ("findings", "schedules")} for j in judgements],
        "evidence": [asdict(e) for e in draft.evidence],
        "operations": draft.told["operations"],
        "processes": draft.told["processes"],
        "series": dict(draft.series),
        "load": {**asdict(case.load), "options": dict(case.load.options)},
        "profile": case.profile,
        "doubts": doubts_about([Ratio(**row["ratio"]) for row in draft.series.get("times", [])]),
        "seconds": round(draft.seconds, 3),
        "commands": {"again": replay_line(case), "check": f"contend check {place.parent.parent}"},
    }
    return replace(result, document=document)


def _broken_by(series: Mapping[str, Any], judgement: Judgement) -> int:
    """How many schedules break an invariant, not counting those that show what another does."""
    told = (each["schedules"] for each in series.get("schedules", []) if each["invariant"] == judgement.invariant)
    return int(next(told, len(judgement.schedules)))


def schedules_covered(series: Mapping[str, Any]) -> dict[str, Any]:
    """What an exploration covered; nothing where the run was none.

    `schedules` tried, `raced` of them whose order was left to the machine, `exhausted` where those are all there are; `saved`, by
    reduction, of all there are (absent where they cannot be counted); `preemptions`, up to which all were tried; `crash_points`, at which
    a worker was killed or cut off; `found_with`, the least probability of having found what takes that many (`depth`) steps in a certain
    order.
    """
    for explored in series.get("exploration", []):
        stands_for, below = explored["stands_for"], explored["preemptions_below"]
        return {
            "schedules": explored["schedules"] + sum(each["schedules"] for each in explored["random"]),
            **({"programs": explored["programs"]} if explored.get("programs") else {}),
            **({"raced": explored["raced"]} if explored.get("raced") else {}),
            "exhausted": explored["exhausted"],
            **({"saved": stands_for - explored["schedules"]} if stands_for else {}),
            **({"preemptions": below - 1} if below else {}),
            **({"crash_points": explored["crash_points"]} if explored.get("crash_points") else {}),
            **(
                {"depth": explored["random"][-1]["depth"], "found_with": round(explored["random"][-1]["found_with"], 6)}
                if explored["random"]
                else {}
            ),
        }
    return {}


def too_few(series: Mapping[str, Any], control: Mapping[str, Any]) -> str:
    """Say, by the `series` of an exploration that passed, that it tried fewer schedules than its control took to be caught; else nothing.

    Both had the same time, but a busy machine may have left one of them next to none.
    """
    covered = schedules_covered(series)
    found = [each["schedule"] for each in control.get("schedules", []) if "example" not in each]
    if not covered or covered["exhausted"] or not found or covered["schedules"] >= min(found):
        return ""
    return (
        f"Schedules tried: {covered['schedules']:,}, fewer than the {min(found):,} after which its control was caught."
    )


def replay_line(case: Case) -> str:
    """The command that runs the same case again. A race is not the same race twice; the same settings are."""
    load = case.load
    loaded = case.scenario.mode == "load"
    words = ["contend", {"race": "run"}.get(case.scenario.mode, case.scenario.mode), case.scenario.name]
    words += ["--system", case.subject.name, "--database", case.engine]
    for option in ("workers", "jobs", "batch", "seed"):
        if option == "seed" or getattr(load, option):
            words += ["--users" if loaded and option == "workers" else f"--{option}", str(getattr(load, option))]
    usual = case.scenario.loads[case.profile].options
    for name, value in load.options.items():
        if usual.get(name) == value:
            continue
        if case.scenario.mode == "explore" and name == "budget":
            words += ["--budget", f"{value:g}"]
        elif case.scenario.mode == "explore" and name == "crash":
            words += ["--crash"] if value else []
        elif loaded and name in USER_OPTIONS:
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [json.dumps(value)])]
        else:
            words += ["--option", f"{name}={json.dumps(value)}"]
    return " ".join(word if word.startswith("$") else shlex.quote(word) for word in words)
