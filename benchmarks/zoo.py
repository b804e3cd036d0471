"""How well the defects of the zoo are detected, and by what: `python -m benchmarks zoo`, which `python -m reports.zoo` shows.

Each defect on each database: provoked as the zoo does it, again and again; raced alone (the operations an exploration puts in order, let
loose); explored; explored with crashes; and raced with faults. Then the right ways of doing the same, through the very same provocations.

Every result is saved before the next is measured. Stopped, it goes on where it was when it is called again.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from contend.campaign import EMBEDDED, Request, let_happen, machine, plan
from harness import databases
from harness.errors import ContendError
from harness.protocols import Server
from harness.run import Case, judge, schedules_covered
from reference_impl.defects import DEFECTS
from scenarios import catalogue
from scenarios.explorations import EXPLORATIONS
from scenarios.zoo import COLLECTION, PROVOCATIONS

ROOT: Final = Path(__file__).parent.parent
FILE: Final = Path(__file__).parent / "results" / "zoo.json"
WAYS: Final = ("race", "explore", "crash", "faults")
RECOVERY: Final = "claim-recovery"
CRASH: Final = {"crash": True, "lease_seconds": 0.5}
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """How often each provocation, how many races alone, how many runs of right ones, and the seed of the first of each."""

    times: int = 10
    tries: int = 60
    right_runs: int = 200
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Detection:
    """A defect on a database, and what must catch it, in whichever way it is looked for."""

    defect: str
    database: str

    @property
    def expected(self) -> str:
        """The invariant."""
        return DEFECTS[self.defect].caught_by[PROVOCATIONS[self.defect].scenario]

    def provoked(self, seed: int) -> Case:
        """As the zoo provokes it."""
        request = Request((COLLECTION,), (f"defect:{self.defect}",), (self.database,), seed=seed)
        return plan(request).cases[0]

    def case(self, way: str, asked: Asked) -> Case | str:
        """How it is looked for in another way, or why it cannot be."""
        match way:
            case "race":
                return self._explored(asked.seed, {"crash": False, "tries": asked.tries})
            case "explore":
                return self._explored(asked.seed, {"crash": False})
            case "crash":
                return self._explored(asked.seed, CRASH)
        if (PROVOCATIONS[self.defect].scenario, PROVOCATIONS[self.defect].mode) == (RECOVERY, "race"):
            return self.provoked(asked.seed)
        return self._case(Request((RECOVERY,), seed=asked.seed))

    def _explored(self, seed: int, options: Mapping[str, Any]) -> Case | str:
        provocation = PROVOCATIONS[self.defect]
        if provocation.scenario not in EXPLORATIONS:
            return f"{provocation.scenario} is raced only"
        options = {**provocation.options, **options}
        batch = provocation.batch
        return self._case(Request((provocation.scenario,), batch=batch, mode="explore", seed=seed, options=options))

    def _case(self, request: Request) -> Case | str:
        scenario = catalogue.find(*request.scenarios, request.mode)
        if self.expected not in scenario.invariants:
            how = "explored" if request.mode == "explore" else "raced with faults"
            return f"{scenario.name} {how} is not judged by {self.expected}"
        planned = plan(replace(request, systems=(f"defect:{self.defect}",), databases=(self.database,)))
        if not planned.cases:
            return planned.skipped[0].reason
        (case,) = planned.cases
        return replace(case, load=replace(case.load, timed=False))


def detections(defects: Sequence[str], engines: Sequence[str]) -> list[Detection]:
    """Those there are, in the order of the zoo."""
    return [
        Detection(name, engine)
        for engine in engines
        for name in PROVOCATIONS
        if engine in DEFECTS[name].systems and (not defects or name in defects)
    ]


def right_ones(defects: Sequence[str], engines: Sequence[str], seed: int) -> list[Case]:
    """The right ways through the provocations of these defects."""
    wanted = {
        (engine, PROVOCATIONS[name].scenario, PROVOCATIONS[name].mode)
        for engine in engines
        for name in defects or PROVOCATIONS
    }
    cases = plan(Request((COLLECTION,), (), tuple(engines), seed=seed)).cases
    return [
        case
        for case in cases
        if case.role == "subject" and (case.engine, case.scenario.name, case.scenario.mode) in wanted
    ]


class Servers:
    """The databases, each started when it is first used and stopped in the end."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._started: dict[tuple[str, bool], Server] = {}

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def of(self, case: Case) -> Server:
        """The one for a case."""
        explored = case.scenario.mode == "explore"
        key = (case.engine, explored)
        if key not in self._started:
            engine = databases.choose(case.engine)
            engine = databases.for_exploring(engine) if explored else engine
            self._started[key] = self._stack.enter_context(engine.serve())
        return self._started[key]


def once(case: Case, server: Server, expected: str | None) -> Json:
    """Run a case once: whether the invariant `expected` was broken (without: any), and after how much.

    `seconds` are from its start to the verdict; its server runs already. Raises `KeyboardInterrupt` for a run that was interrupted.
    """
    with tempfile.TemporaryDirectory(prefix="contend-zoo-") as folder:
        started = time.monotonic()
        try:
            performed = let_happen(case, Path(folder), server)
            draft = judge(case, Path(folder), performed)
        except ContendError as error:
            seconds = round(time.monotonic() - started, 3)
            return {"found": False, "seconds": seconds, "verdict": "inconclusive", "problem": str(error)}
        seconds = time.monotonic() - started
    if any(problem.startswith("Interrupted after") for problem in performed.problems):
        raise KeyboardInterrupt
    broken = {j.invariant: len(j.schedules) for j in draft.judgements if j.state == "broken"}
    ruling = draft.ruling
    explored = next(iter(draft.series.get("exploration", [])), {})
    return {
        "found": expected in broken if expected else bool(broken),
        "seconds": round(seconds, 3),
        "verdict": ruling.verdict,
        "broken": broken,
        "overlaps": draft.told["coverage"].get("overlapping_claims", 0),
        **schedules_covered(draft.series),
        **({"shown_seconds": explored["shown_seconds"]} if explored else {}),
        **({"problem": ruling.reasons[0]} if ruling.verdict == "inconclusive" and ruling.reasons else {}),
    }


def steps(document: Json, asked: Asked, defects: Sequence[str], servers: Servers) -> Iterator[str]:
    """Measure what the document lacks, one result after the other, each put into it; gives a line about each."""
    engines = document["databases"]
    for each in detections(defects, engines):
        entry = document["defects"].setdefault(
            f"{each.defect}/{each.database}", {**asdict(each), "expected": each.expected, "provoked": []}
        )
        case = each.provoked(asked.seed)
        entry["scenario"], entry["mode"] = case.scenario.name, case.scenario.mode
        while len(entry["provoked"]) < asked.times:
            case = each.provoked(asked.seed + len(entry["provoked"]))
            entry["provoked"].append(once(case, servers.of(case), each.expected))
            yield f"{_name(entry)} provoked: {_told(entry['provoked'][-1])}"
        for way in WAYS:
            if way in entry:
                continue
            looked = each.case(way, asked)
            if isinstance(looked, str):
                entry[way] = {"reason": looked}
                continue
            first = each.provoked(asked.seed)
            same = (looked.scenario.name, looked.scenario.mode, looked.load) == (
                first.scenario.name,
                first.scenario.mode,
                first.load,
            )
            entry[way] = (
                entry["provoked"][0] if same and entry["provoked"] else once(looked, servers.of(looked), each.expected)
            )
            yield f"{_name(entry)} {way}: {_told(entry[way])}"
    yield from _right(document, asked, defects, servers)


def _right(document: Json, asked: Asked, defects: Sequence[str], servers: Servers) -> Iterator[str]:
    """One run of each right way after the other, and again, until there are enough."""
    runs = document["right"]
    while len(runs) < asked.right_runs:
        first = right_ones(defects, document["databases"], asked.seed)
        number, place = divmod(len(runs), len(first))
        case = right_ones(defects, document["databases"], asked.seed + number)[place]
        about = {"system": case.subject.name, "database": case.engine, "scenario": case.scenario.name}
        runs.append({**about, "mode": case.scenario.mode, **once(case, servers.of(case), None)})
        yield f"right, {len(runs)} of {asked.right_runs}: {about['system']} on {case.engine}, {case.scenario.name}: {_told(runs[-1])}"


def _name(entry: Json) -> str:
    return f"{entry['defect']} on {entry['database']}"


def _told(found: Json) -> str:
    said = ", ".join(f"{name} × {times}" for name, times in found.get("broken", {}).items()) or found["verdict"]
    return f"{said}, {found['seconds']:.1f} s"


def code() -> str:
    """A digest of what is measured, so that no measurement is gone on with after it was changed."""
    digest = hashlib.sha256()
    for folder in ("contend", "harness", "reference_impl", "scenarios"):
        for file in sorted((ROOT / folder).rglob("*")):
            if file.suffix in (".py", ".sql"):
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def begin(file: Path, asked: Asked, engines: Sequence[str]) -> Json:
    """Give the document to go on with, or a new one. Raises `SystemExit` where it was measured otherwise."""
    settings = {"code": code(), "seed": asked.seed, "tries": asked.tries, "databases": list(engines)}
    if file.exists():
        document: Json = json.loads(file.read_text(encoding="utf-8"))
        other = [name for name, value in settings.items() if document.get(name) != value]
        if other:
            sys.exit(f"{file} was measured with another {' and '.join(other)}. Remove it, or give another --json FILE.")
        return document
    stamp = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"schema": 1, "measured": stamp, "machine": machine(), **settings, "load": [], "defects": {}, "right": []}


def save(file: Path, document: Json) -> None:
    """Save it, all or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    new.replace(file)


def main(arguments: Sequence[str]) -> int:
    """Measure, going on where an earlier call was stopped; give the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks zoo", description=__doc__.partition("\n")[0])
    number: Callable[[str], int] = int
    usual = Asked()
    parser.add_argument("--times", type=number, default=usual.times, help="each provocation [%(default)s]")
    parser.add_argument("--tries", type=number, default=usual.tries, help="races alone [%(default)s]")
    parser.add_argument(
        "--right-runs", type=number, default=usual.right_runs, help="of right ones in all [%(default)s]"
    )
    parser.add_argument("--seed", type=number, default=usual.seed, help="of the first of each [%(default)s]")
    parser.add_argument("--database", action="append", choices=EMBEDDED, help="only this one; may be repeated")
    parser.add_argument(
        "--defect", action="append", default=[], choices=list(PROVOCATIONS), help="only this one; as above"
    )
    parser.add_argument("--json", type=Path, default=FILE, metavar="FILE", help="[%(default)s]")
    given = parser.parse_args(arguments)
    asked = Asked(given.times, given.tries, given.right_runs, given.seed)
    document = begin(given.json, asked, given.database or EMBEDDED)
    started = time.monotonic()
    try:
        with Servers() as servers:
            for line in steps(document, asked, given.defect, servers):
                document["load"].append(round(os.getloadavg()[0], 1))
                save(given.json, document)
                print(f"{time.monotonic() - started:6.0f} s  {line}", file=sys.stderr, flush=True)  # noqa: T201  # a command line
    except KeyboardInterrupt:
        said = f"Interrupted. {given.json} keeps what was measured; the same command goes on from there."
        print(said, file=sys.stderr)  # noqa: T201  # as above
        return 2
    save(given.json, document)
    print(given.json)  # noqa: T201  # as above
    return 0
