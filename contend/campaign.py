"""A campaign: the cases asked for, one after the other, each with its control, into one bundle and one document."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import contend
from harness import bundle as bundles
from harness import databases, faults, gates, witnesses
from harness.bundle import Bundle
from harness.databases import redis_server
from harness.errors import ContendError, RunAbandoned, UsageError
from harness.invariants import judging
from harness.processes import Source
from harness.protocols import LOOP, Database, Server, ServiceFactory, Witness
from harness.run import Case, Draft, Performed, Result, Role, Subject, judge, perform, settle, too_few
from harness.runners.explore import Replay
from harness.runners.load import Crowd
from harness.scenario import Load, Mode, Profile, Scenario
from harness.scratch import scratch
from harness.verdict import CARRIED_THROUGH, Evidence, Verdict, merge
from scenarios import catalogue, queues, systems, zoo
from scenarios.explorations import EXPLORATIONS

WITNESS: Final[Mapping[str, str]] = {"sqlite": "sqlite-trace", "postgres": "wire"}
EMBEDDED: Final = ("sqlite", "postgres")
# What is explored besides with --profile full: other isolation levels, and SQLite's other journal.
LEVELS: Final = ("sqlite-rollback", "postgres-repeatable-read", "postgres-serializable")
# What a system that sets up its own database must be told, so that it does not undo what was asked for.
OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {"sqlite-rollback": {"journal_mode": "delete"}}


@contextlib.contextmanager
def _redis() -> Iterator[str]:
    with redis_server.serve_redis() as server:
        pid = server.pid
        yield server.url
        server.start()  # does nothing where it still runs
        if server.pid != pid:
            raise RunAbandoned(
                "The Redis of this run died while it was in use, so what was seen is not the system's doing alone."
            )


# What a system may need beside its database: how it is started for one run, and why it cannot be, if so.
SERVICES: Final[Mapping[str, ServiceFactory]] = {"redis": _redis}
MISSING: Final[Mapping[str, Callable[[], str | None]]] = {"redis": redis_server.missing}


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for. Empty tuples mean everything there is; `workers`, `jobs`, `batch` of None mean the scenario's own."""

    scenarios: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    workers: int | None = None
    jobs: int | None = None
    batch: int | None = None
    profile: Profile = "quick"
    seed: int | None = None
    out: Path = Path("runs")
    options: Mapping[str, Any] = field(default_factory=dict)
    argv: tuple[str, ...] = ()
    mode: Mode = "race"
    replay: Replay | None = None  # of an exploration, the one schedule to carry out
    timed: bool = True  # whether a race is followed by timing those it is usual to time


@dataclass(frozen=True, slots=True)
class Skipped:
    """A case that does not apply, with the reason."""

    scenario: str
    system: str
    database: str
    reason: str


class Watcher:
    """Is told what goes on; this one says nothing. `contend.screen` has those that do."""

    def planned(self, cases: int) -> None:
        """So many cases are to come."""

    def began(self, case: Case) -> None:
        """A case has begun."""

    def said(self, line: str) -> None:
        """Something worth a line happened."""

    def ended(self, result: Result) -> None:
        """A case has its verdict."""


@dataclass
class Campaign:
    """The cases of one request, in order, and what came of them."""

    request: Request
    seed: int
    cases: list[Case]
    skipped: list[Skipped]
    engines: dict[str, Database]
    watcher: Watcher = field(default_factory=Watcher)
    results: list[Result] = field(default_factory=list)
    controls: list[Result] = field(default_factory=list)
    crowd: Crowd | None = None  # has the users of a load at work
    serve: Callable[[Database], AbstractContextManager[Server]] = lambda engine: engine.serve()
    stopped: str = ""  # why it ended before its last case, in a sentence; empty where it did not
    _places: int = 0

    def carry_out(self, bundle: Bundle) -> Verdict:
        """Run every case, saving each before the next; an interruption keeps what there is. Gives the merged verdict."""
        conditions: dict[str, Mapping[str, str]] = {}
        self.watcher.planned(len(self.cases))
        try:
            for label, engine in self.engines.items():
                for explored in (False, True):
                    mine = [c for c in self.cases if c.engine == label and (c.scenario.mode == "explore") is explored]
                    if not mine:
                        continue
                    with self.serve(databases.for_exploring(engine) if explored else engine) as server:
                        conditions.setdefault(label, dict(server.conditions()))
                        self._all(mine, bundle, server)
        except KeyboardInterrupt:
            self.stopped = f"Interrupted after {len(self.results)} of {len(self.cases)} results; they are kept."
        except ContendError as error:
            self.stopped = str(error)
            raise
        finally:
            self.finish(bundle, conditions)
        return self.verdict()

    def _all(self, cases: Sequence[Case], bundle: Bundle, server: Server) -> None:
        """Run cases one after the other, each judged while the next one runs; nothing is judged while times are taken."""
        with ThreadPoolExecutor(1, thread_name_prefix="judge") as judges:
            waiting: Future[Draft] | None = None
            try:
                for case in cases:
                    if waiting is not None and case.load.timed and case.scenario.timed:
                        wait([waiting])
                    self.watcher.began(case)
                    place, performed = self._perform(case, bundle, server)
                    if waiting is not None:
                        self._settle(waiting.result(), bundle, server)
                    waiting = judges.submit(judge, case, place, performed)
                if waiting is not None:
                    self._settle(waiting.result(), bundle, server)
            except KeyboardInterrupt:
                if waiting is not None and waiting.result().case not in [result.case for result in self.results]:
                    self._settle(waiting.result(), bundle, None)
                raise

    def _settle(self, draft: Draft, bundle: Bundle, server: Server | None) -> None:
        """Give a case its verdict; without a server no control is run any more."""
        result = settle(draft, partial(self._control, draft, bundle, server), save=True)
        self.results.append(result)
        self.watcher.ended(result)

    def _perform(self, case: Case, bundle: Bundle, server: Server) -> tuple[Path, Performed]:
        self._places += 1
        place = bundle.place(self._places, case.scenario.name, case.subject.name, case.engine)
        replay = self.request.replay if case.role == "subject" else None
        return place, let_happen(case, place, server, watch=self.watcher.said, crowd=self.crowd, replay=replay)

    def _control(self, draft: Draft, bundle: Bundle, server: Server | None) -> Evidence:
        """Run the known-broken twin under the same settings, once for all cases that share them."""
        case = draft.case
        name = case.scenario.control_under(case.load) or case.scenario.control[case.database]
        load = replace(case.load, timed=False)
        for known in (*self.results, *self.controls):
            same = known.case.scenario.name == case.scenario.name and known.case.engine == case.engine
            if same and known.case.subject.name == name and replace(known.case.load, timed=False) == load:
                break
        else:
            if server is None:
                return Evidence(
                    "control-caught",
                    present=False,
                    reason="The run was interrupted before its control.",
                    remedy="Run again.",
                )
            self.watcher.said(f"running the control {name} under the same settings")
            twin = replace(
                case, subject=systems.find(name)[case.database].on(case.engine), load=load, role="control", twin=True
            )
            place, performed = self._perform(twin, bundle, server)
            known = settle(judge(twin, place, performed), _no_control, save=True)
            self.controls.append(known)
        if known.caught and (reason := too_few(draft.series, known.document["series"])):
            return Evidence("control-caught", present=False, reason=reason, remedy="Raise --budget.")
        return Evidence(
            "control-caught",
            known.caught,
            ""
            if known.caught
            else f"The control {name} was not caught under the same settings, so a pass would prove nothing.",
            ""
            if known.caught
            else "Leave out --option tries, so that orders are chosen."
            if case.load.options.get("tries")
            else "Raise --workers or --jobs.",
        )

    def verdict(self) -> Verdict:
        """Merge the verdicts of all results; anything unfinished is inconclusive at best."""
        verdicts: list[Verdict] = [result.verdict for result in self.results]
        return merge([*verdicts, "inconclusive"] if self.stopped else verdicts)

    def document(self, bundle: Bundle) -> dict[str, Any]:
        """The document of `--json`."""
        return {
            "schema": 1,
            "verdict": self.verdict(),
            "bundle": str(bundle.folder),
            "report": str(bundle.folder / "report.html"),
            "results": [result.document for result in self.results],
            "controls": [result.document for result in self.controls],
            "not_applicable": [
                {"scenario": s.scenario, "system": s.system, "database": s.database, "reason": s.reason}
                for s in self.skipped
            ],
            **({"stopped": self.stopped} if self.stopped else {}),
        }

    def finish(self, bundle: Bundle, conditions: Mapping[str, Mapping[str, str]]) -> None:
        """Save the document, what the databases were like, and the reasons for doubt."""
        bundle.finish(self.document(bundle), conditions=dict(conditions), doubts=doubts(), finished=not self.stopped)


def let_happen(
    case: Case,
    place: Path,
    server: Server,
    *,
    watch: Callable[[str], None] = lambda _line: None,
    crowd: Crowd | None = None,
    replay: Replay | None = None,
) -> Performed:
    """Perform a case with the witness, the gate, the faults and the services there are for it; see `harness.run.perform`."""
    return perform(
        case,
        place,
        server=server,
        witness=_witness(case),
        find=lambda name: systems.find(name)[case.database].source,
        services=SERVICES,
        watch=watch,
        crowd=crowd,
        replay=replay,
        gate=gates.choose(case.database) if case.scenario.mode == "explore" else None,
        faults=faults.FAULTS if case.scenario.faults else None,
    )


def _no_control() -> Evidence:
    """A control has no control of its own: only a pass would ask for one, and then it was not caught."""
    return Evidence("control-caught", present=False, reason="This is the control itself, and it passed.")


def _witness(case: Case) -> Witness:
    seen = case.scenario.witnessed and not (_is_command(case.subject) and case.database == "sqlite")
    return witnesses.choose(WITNESS[case.database] if seen else "none")


def _is_command(subject: Subject) -> bool:
    return subject.source.kind == "command"


def _unseen(scenario: Scenario, database: str) -> str | None:
    """Why a command cannot be driven through a scenario: what must be seen of it is inside a process of Python; None: it can."""
    if scenario.mode == "explore" and database == "sqlite":
        return (
            "SQLite works inside the command's own process, where contend can hold nothing back: race it with `contend run`, "
            "or explore it on Postgres"
        )
    control = systems.find(scenario.control[database])[database]
    needed = control.expected(scenario)
    asked = judging.load(needed) if needed else None
    if asked is None or "witness" not in asked.requires:
        return None
    if "acquisition" in asked.needs:
        return f"its claim is judged by {needed}, and connection pools are seen in Python only"
    if database == "sqlite":
        return f"its claim is judged by {needed}, and what a command asks of SQLite is not seen"
    return None


def doubts() -> list[str]:
    """Reasons not to believe the times of a run on this machine, as far as they can be seen."""
    found = []
    cores = os.cpu_count() or 1
    with contextlib.suppress(OSError):
        load = os.getloadavg()[0]
        if load > 2 * cores:
            found.append(
                f"The machine was busy: a load of {load:.1f} on {cores} cores, of which a run causes part itself."
            )
    return found


def machine() -> dict[str, Any]:
    """What a reader must know of the machine to compare figures."""
    about: dict[str, Any] = {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
    }
    with contextlib.suppress(OSError, ValueError):
        about["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        about["cpu"] = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return about


def plan(request: Request) -> Campaign:
    """Join scenarios, systems and databases into cases, before anything is started. Raises `UsageError` for what cannot be."""
    collected = [name for name in COLLECTIONS if name in request.scenarios]
    asked = tuple(name for name in request.scenarios if name not in COLLECTIONS)
    chosen = [catalogue.find(name, request.mode) for name in asked or (() if collected else catalogue.SCENARIOS)]
    if request.mode == "race" and (not request.scenarios or request.profile == "full"):
        names = asked if request.scenarios else tuple(EXPLORATIONS)
        chosen += [EXPLORATIONS[name] for name in names if name in EXPLORATIONS]
    named = {name: systems.find(name, request.databases or EMBEDDED) for name in request.systems}
    subjects = named or systems.catalogue_order()
    more = LEVELS if request.profile == "full" and not request.databases else ()
    engines = {label_of(spec): databases.choose(spec) for spec in (*(request.databases or EMBEDDED), *more)}
    seed = random.SystemRandom().randrange(1_000_000) if request.seed is None else request.seed
    cases: list[Case] = []
    skipped: list[Skipped] = []
    for label, engine in engines.items():
        if label not in more:
            for name in collected:
                made, left_out = COLLECTIONS[name](request, seed, engine.name, label)
                cases, skipped = [*cases, *made], [*skipped, *left_out]
        for scenario in chosen:
            if label in more and scenario.mode != "explore":
                continue
            quick = request.profile == "quick"
            for name, found in subjects.items():
                if not named and not _shown(scenario, name, found, engine.name, quick=quick):
                    continue
                reason = _unfit(scenario, name, found, engine.name, asked=bool(named), quick=quick)
                if reason:
                    skipped.append(Skipped(scenario.name, name, label, reason))
                    continue
                subject = found[engine.name].on(label)
                wrong = subject.expected(scenario) is not None
                usual = bool(named) or name in scenario.timed.get(engine.name, ())
                timed = scenario.mode == "explore" or (request.timed and usual)
                load = _load(scenario, request, seed, timed=timed, options=OPTIONS.get(label, {}))
                if wrong_load := scenario.check(load):
                    raise UsageError(f"{scenario.name} cannot be run like this: {wrong_load}")
                role: Role = "control" if wrong and not named else "subject"
                cases.append(Case(scenario, subject, engine.name, label, load, request.profile, role))
    return Campaign(request, seed, cases, skipped, engines)


def _zoo(request: Request, seed: int, database: str, label: str) -> tuple[list[Case], list[Skipped]]:
    """Each defect under what provokes it, and the right way of doing the same under the very same."""
    cases: list[Case] = []
    role: Role = "subject" if request.systems else "control"
    for name, provocation in zoo.PROVOCATIONS.items():
        found = systems.find(f"defect:{name}").get(database)
        if found is None or (request.systems and found.name not in request.systems):
            continue
        scenario = catalogue.find(provocation.scenario, provocation.mode)
        if provocation.control:
            scenario = replace(scenario, control={database: found.name})
        asked = replace(
            request, profile="quick", mode=provocation.mode, workers=None, jobs=None, batch=provocation.batch
        )
        options = {**OPTIONS.get(label, {}), **provocation.options}
        load = _load(scenario, asked, seed, timed=False, options=options)
        cases.append(Case(scenario, found.on(label), database, label, load, request.profile, role))
        right = provocation.right(database)
        if right and not request.systems:
            subject = systems.find(right)[database].on(label)
            passing = Case(scenario, subject, database, label, load, request.profile)
            cases += [] if passing in cases else [passing]
    return cases, []


def _trial(request: Request, seed: int, database: str, label: str) -> tuple[list[Case], list[Skipped]]:
    """Each released queue that is installed: raced; to be thorough again and again, in turn, explored, and its workers struck."""
    race, recovery = catalogue.find("claim-race"), catalogue.find("claim-recovery")
    tried: list[tuple[Scenario, int, str]] = [(race, 0, "")]
    if request.profile == "full":
        tried = [(race, number, "") for number in range(queues.REPEATS)]
        tried += [(catalogue.find("claim-race", "explore"), 0, ""), *((recovery, 0, fault) for fault in queues.STRUCK)]
    found: dict[str, Subject] = {}
    skipped: list[Skipped] = []
    for name, queue in queues.QUEUES.items():
        if database not in queue.databases or (request.systems and name not in request.systems):
            continue
        if queue.missing:
            reason = f"{' and '.join(queue.missing)} is not installed: pip install 'contend[trial]'"
            skipped.append(Skipped(queues.COLLECTION, name, label, reason))
        else:
            found[name] = systems.find(name)[database]
    cases: list[Case] = []
    for scenario, number, fault in tried:
        options = {**OPTIONS.get(label, {}), **({"faults": fault} if fault else {})}
        asked = replace(request, profile="quick", mode=scenario.mode, jobs=request.jobs or queues.JOBS[scenario.mode])
        for name, subject in found.items():
            refused = _unfit(scenario, name, {database: subject}, database, asked=True, quick=True)
            refused = refused or (queues.unstruck(subject.promise, fault) if fault else None)
            if refused:
                skipped.append(Skipped(scenario.name, name, label, refused))
                continue
            load = _load(scenario, asked, seed + number, timed=False, options=options)
            if scenario is race and (most := queues.QUEUES[name].most) is not None:
                load = replace(load, jobs=min(load.jobs, most))
            cases.append(Case(scenario, subject, database, label, load, request.profile))
    return cases, skipped


COLLECTIONS: Final = {zoo.COLLECTION: _zoo, queues.COLLECTION: _trial}


def label_of(spec: str) -> str:
    """What a database is called in results: its name; a URL is never shown, as it may hold a password."""
    return "$DATABASE_URL" if "://" in spec else spec


def _shown(scenario: Scenario, name: str, found: Mapping[str, Subject], database: str, *, quick: bool) -> bool:
    """Whether a system belongs to what the catalogue shows in a scenario; asked for by name, any can be run in any."""
    if quick and scenario.quick is not None and name not in scenario.quick.get(database, ()):
        return False
    certain = ("race",) if scenario.mode == "race" else ("race", "explore")
    return any(
        (not subject.about or scenario.name in subject.about) and subject.certain in certain
        for subject in found.values()
    )


def _unfit(
    scenario: Scenario, name: str, found: Mapping[str, Subject], database: str, *, asked: bool, quick: bool
) -> str | None:
    if database not in scenario.databases:
        return f"{scenario.name} is about {' and '.join(scenario.databases)}"
    if database not in found:
        return f"{name} does not run on {database}"
    subject = found[database]
    shown = (scenario.control.get(database), *scenario.beside)
    if not asked and quick and name.startswith("defect:") and name not in shown:
        return "a defect other than the control runs with --profile full, or when asked for by name"
    offered = subject.promise.capabilities
    if LOOP in offered:
        if scenario.mode != "race" or not scenario.loops:
            return "its own loop (`work`) asks for jobs, so that contend cannot say when"
        offered = (*offered, "claim", "complete")
    lacking = [need for need in scenario.needs if need not in offered]
    if lacking:
        return f"no {', '.join(f'`{need}`' for need in lacking)}"
    if _is_command(subject) and (unseen := _unseen(scenario, database)):
        return unseen
    absent = next((reason for name in subject.promise.services if (reason := MISSING[name]())), None)
    return absent or scenario.applies(subject.promise)


def _load(scenario: Scenario, request: Request, seed: int, *, timed: bool, options: Mapping[str, Any]) -> Load:
    load = scenario.loads[request.profile]
    given = {name: value for name in ("workers", "jobs", "batch") if (value := getattr(request, name)) is not None}
    if scenario.mode != request.mode:  # a number of racing workers is none of workers whose statements are put in order
        given = {}
    brief = {} if request.scenarios or request.profile != "quick" else scenario.brief
    return replace(
        load, seed=seed, timed=timed, options={**load.options, **brief, **options, **request.options}, **given
    )


def execute(
    request: Request,
    watcher: Watcher | None = None,
    crowd: Crowd | None = None,
    serve: Callable[[Database], AbstractContextManager[Server]] | None = None,
) -> tuple[Campaign, Bundle, Verdict]:
    """Plan, run, judge and write the page; `crowd` has the users of a load at work, `serve` starts an engine where it is not to be anew.

    Raises `UsageError` where what was asked for cannot be done.
    """
    campaign = plan(request)
    campaign.crowd = crowd
    if serve is not None:
        campaign.serve = serve
    if watcher is not None:
        campaign.watcher = watcher
    if not campaign.cases:
        reasons = "; ".join(f"{s.scenario} with {s.system} on {s.database}: {s.reason}" for s in campaign.skipped[:4])
        raise UsageError(f"Nothing to run: not applicable. {reasons}.")
    bundle = Bundle.create(
        request.out,
        {
            "contend": contend.__version__,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "argv": list(request.argv),
            "seed": campaign.seed,
            "profile": request.profile,
            "machine": machine(),
            "planned": len(campaign.cases),
        },
    )
    verdict = campaign.carry_out(bundle)
    write_page(bundle.folder)
    return campaign, bundle, verdict


def write_page(folder: Path, out: Path | None = None) -> Path:
    """Render the page of a bundle."""
    from reports.page import write_page as render  # noqa: PLC0415  # matplotlib takes a second to import; only pages need it

    with bundles.writing(out or folder):
        return render(folder, out)


def recheck(bundle: Bundle, extra: Sequence[Path] = ()) -> Iterator[Result]:
    """Judge every saved history of a bundle again, with a user's own invariants beside ours; writes nothing into the bundle."""
    files = [file for path in extra for file in (sorted(path.glob("*.sql")) if path.is_dir() else [path])]
    if extra and not files:
        raise UsageError(
            f"There is no .sql file in {', '.join(map(str, extra))}. Give a file or a folder that holds one."
        )
    for file in files:
        judging.load_file(file)
    for place in bundle.places():
        if not (place / "context.json").exists():
            continue  # the run was ended before this result had begun
        context = bundles.read_json(place / "context.json")
        scenario = catalogue.find(str(context.get("scenario")), context.get("mode", "race"))
        saved = bundles.read_json(place / "result.json") if (place / "result.json").exists() else None
        name, database, engine = (str(context.get(key)) for key in ("system", "database", "engine"))
        subject = systems.BUILTIN.get(name, {}).get(database) or Subject(
            name, Source("shipped", b"", "", name), systems.unknown_promise()
        )
        workers, jobs, batch, seed = (int(context[key]) for key in ("workers", "jobs", "batch", "seed"))
        load = Load(workers, jobs, batch, seed, options=context.get("options") or {})
        told = saved or {}
        case = Case(
            scenario,
            subject,
            database,
            engine,
            load,
            "quick",
            context.get("role", told.get("role", "subject")),
            context.get("twin", told.get("twin", False)),
        )
        performed = Performed(_problems(saved), told.get("series", {}), float(told.get("seconds", 0.0)))
        with scratch("checking") as folder:
            draft = judge(case, place, performed, files, merged=folder)
        yield settle(draft, partial(_control_of, saved), save=False)


def _problems(saved: Mapping[str, Any] | None) -> list[str]:
    if saved is None:
        return ["The run was ended before this result was judged, so what it did not get to do is not known."]
    return [e["reason"] for e in saved["evidence"] if e["name"] == CARRIED_THROUGH and not e["present"]]


def _control_of(saved: Mapping[str, Any] | None) -> Evidence:
    for e in (saved or {}).get("evidence", []):
        if e["name"] == "control-caught":
            return Evidence(**e)
    return Evidence(
        "control-caught",
        present=False,
        reason="The bundle does not say whether the control was caught.",
        remedy="Run again.",
    )
