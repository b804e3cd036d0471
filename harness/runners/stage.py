"""The stage of one run: a clean database, a witness beside it, and a crew of real processes."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from harness.clock import WorldClock
from harness.errors import RunAbandoned, SystemUnusable
from harness.history import Phase
from harness.levers import Levers
from harness.processes import CONTEXT, Birth, Crew, Source
from harness.protocols import Fault, Gate, Held, Network, Promise, Server, ServiceFactory, Witness
from harness.recorder import Recorder
from harness.runners import apart
from harness.runners.explore import Explorer, Fate, Look, Recall, Replay, Workers, as_explored, doubts, told
from harness.runners.generate import Generator
from harness.runners.isolation import export
from harness.runners.load import Crowd, Order, figures, problems, processes_for
from harness.runners.nemesis import Nemesis
from harness.scenario import Answer, Cast, Load, Part, Profile, Program, Programs, Stage
from harness.turnstile import Line, Turnstile

BUILD_SECONDS = 60.0


@dataclass
class _Company:
    """The processes of one exploration: each part's own, the last of which is the quiet one."""

    stage: RealStage
    held: Held
    url: str
    parts: Sequence[Part]
    clock: WorldClock | None
    _born: dict[str, Line] = field(
        default_factory=dict
    )  # in the place of one that was killed, while its schedule goes on

    def start(self) -> dict[str, Line]:
        """Start all; gives their lines."""
        lines = {part.name: self._bear(part) for part in self.parts}
        self._begin(self.parts)
        return lines

    def kill(self, name: str) -> None:
        """Kill a process, and have another come up in its place."""
        self.stage.crew.kill(name)
        self._born[name] = self._bear(self._named(name))

    def replace(self, name: str) -> Line:
        """Have the one in the place of a killed process build its system; gives its line."""
        self._begin([self._named(name)])
        return self._born.pop(name)

    def _named(self, name: str) -> Part:
        return next(part for part in self.parts if part.name == name)

    def _begin(self, parts: Sequence[Part]) -> None:
        self.stage.crew.begin(
            [
                Part(p.name, as_explored(p.program), {"program": p.program, "arguments": dict(p.arguments)})
                for p in parts
            ]
        )

    def _bear(self, part: Part) -> Line:
        stage, quiet = self.stage, part is self.parts[-1]
        line, far = Line.pair()
        turnstile = Turnstile(far)
        stage.crew.start(
            Birth(
                name=part.name,
                role="quiet" if quiet else "worker",
                source=stage.source,
                url=self.url if quiet else self.held.urls[part.name],
                options=stage.options(),
                folder=stage.crew.folder,
                witness=None if quiet else self.held.witness(turnstile),
                seed=stage.load.seed,
                tally=CONTEXT.RawArray("q", 1),
                slot=0,
                turnstile=turnstile,
                clock=self.clock,
            )
        )
        far.close()
        return line


@dataclass
class RealStage:
    """The `Stage` of a scenario. Made by `open_stage`, which clears it away again."""

    load: Load
    profile: Profile
    database: str
    promise: Promise
    source: Source
    server: Server
    witness: Witness
    folder: Path
    scenario: str
    crew: Crew
    find: Callable[[str], Source]  # another system by name, for baselines
    stack: ExitStack
    services: Mapping[str, ServiceFactory] = field(default_factory=dict)
    record: bool = True
    latency_ms: float = 0.0
    crowd: Crowd | None = None
    gate: Gate | None = None
    look: Look | None = None
    replay: Replay | None = None
    series: dict[str, Any] = field(default_factory=dict)
    _urls: list[str] = field(default_factory=list)
    _lent: dict[str, str] = field(default_factory=dict)
    _service_urls: dict[str, str] = field(default_factory=dict)
    faults: Mapping[str, Fault] = field(default_factory=dict)
    _nemesis: Nemesis | None = None
    _network: Network | None = None
    _roles: dict[str, str] = field(default_factory=dict)
    _levers: dict[str, Levers] = field(default_factory=dict)
    _over: Any = field(default_factory=partial(CONTEXT.RawValue, "b", 0))

    def start(
        self,
        cast: Mapping[str, str],
        *,
        systems: Mapping[str, str] | None = None,
        apart: bool = False,
        lent: Sequence[str] = (),
        clock: WorldClock | None = None,
    ) -> None:
        """Start processes; see `harness.scenario.Stage`."""
        while len(self._urls) < (len(cast) if apart else 1):
            self._urls.append(self.stack.enter_context(self.server.fresh()))
        witness = self.witness
        seen = self.stack.enter_context(
            witness.watch(
                self._urls[0],
                [*cast, *lent],
                self.folder / "witness",
                latency_ms=self.latency_ms,
                record=self.record,
            )
        )
        self._lent.update({name: seen[name] for name in lent})
        self._network = seen.network
        self._roles.update(cast)
        for name in self.promise.services:
            if name not in self._service_urls:
                self._service_urls[name] = self.stack.enter_context(self.services[name]())
        options = self.options()
        tally = CONTEXT.RawArray("q", len(cast))
        for place, (name, role) in enumerate(cast.items()):
            url = seen[name]
            if (
                apart
            ):  # the witness knows a process by the address it uses; the database is only the last part of the URL
                url = url.removesuffix(self._urls[0].rpartition("/")[2]) + self._urls[place].rpartition("/")[2]
                url = self._urls[place] if self._urls[place].startswith("sqlite:") else url
            other = (systems or {}).get(name)
            self.crew.start(
                Birth(
                    name=name,
                    role=role,
                    source=self.find(other) if other else self.source,
                    url=url,
                    options=options,
                    folder=self.crew.folder,
                    witness=witness if self.record else None,
                    seed=self.load.seed,
                    tally=tally,
                    slot=place,
                    clock=clock,
                    levers=self._lever(name),
                    over=self._over,
                )
            )

    def _lever(self, name: str) -> Levers | None:
        """What can be changed inside a process, in a run that does harm to it."""
        if not self.faults:
            return None
        return self._levers.setdefault(name, Levers(*(CONTEXT.RawValue("q", 0) for _ in range(4))))

    def options(self) -> dict[str, Any]:
        """What a system of this run is built with."""
        return {**self.load.options, **{f"{name}_url": url for name, url in self._service_urls.items()}}

    def populate(self, name: str, *, shared: bool) -> None:
        """Have the users of a load generator work; see `harness.scenario.Stage`. Raises `RunAbandoned` where none did."""
        assert self.crowd is not None  # noqa: S101  # only a load has a scenario that asks for it
        options = self.load.options
        order = Order(
            scenario=self.scenario,
            url=self._lent[name],
            source=self.source,
            options=self.options(),
            folder=self.crew.folder.resolve(),
            witness=self.witness.name,
            process=name if shared else "",
            batch=self.load.batch,
            seed=self.load.seed,
            users=self.load.workers,
            run_time=options["run_time"],
            spawn_rate=options["spawn_rate"],
            processes=processes_for(self.load.workers, self.database, options["processes"]),
            rate=options["rate"],
            ramp=options["ramp"],
            full=self.load.timed,
        )
        try:
            self.crew.problems.extend(self.crowd(order, self.say))
        finally:
            order.path.unlink(missing_ok=True)  # it holds the database's address, with its password
            self.crew.problems.extend(apart.settle(order.folder, time.monotonic_ns()))
            self.series["load"] = figures(order.folder / "load")
            self.crew.problems.extend(problems(order.folder / "load"))
        if not self.series["load"]["operations"]:
            raise RunAbandoned("No user did anything, so there is nothing to judge. See logs/ of the result.")

    @property
    def crashes(self) -> bool:
        """Whether something befalls a worker in each schedule of an exploration."""
        return bool(self.load.options.get("crash"))

    def explore(
        self, prepare: Callable[[Stage, str], Cast], programs: Programs | None = None, *, moves_time: bool = False
    ) -> None:
        """Have processes run their parts in every order; see `harness.scenario.Stage`."""
        assert self.gate is not None and self.look is not None  # noqa: S101, PT018  # only an exploration asks for it
        clock = self._movable_clock() if moves_time else None
        self.start({"setup": "setup"}, clock=clock)
        parts, quiet = prepare(self, "setup")
        self.end(["setup"])
        recall = Recall(self.crew.folder / "events" / "setup.ndjson")
        url, names = self._urls[0], [part.name for part in parts]
        alike = [(part.program, dict(part.arguments)) for part in parts]
        with ExitStack() as stack:
            held = stack.enter_context(self.gate.guard(url, names, partial(self.server.serving, url)))
            restore = stack.enter_context(self.server.snapshot(url))
            company = _Company(self, held, url, (*parts, quiet), clock)
            lines = company.start()
            twins = {part.name: alike.index((part.program, dict(part.arguments))) for part in parts}
            step_seconds = self.load.options["step_seconds"]
            fate = Fate(self.nemesis.recorder, company.kill, company.replace) if self.crashes else None
            with Workers(
                names,
                lines,
                twins,
                held=held,
                quiet=quiet.name,
                step_seconds=step_seconds,
                clock=clock,
                fate=fate,
            ) as workers:
                failed = workers.start({name: self.crew.fileno(name) for name in lines}, within=BUILD_SECONDS)
                if failed:
                    (answer,) = self.crew.gather([failed], within=0)
                    raise SystemUnusable(answer.problem) if answer.unusable else RunAbandoned(answer.problem)
                explorer = Explorer(workers, restore, recall, self.look, self.crew.watch, self.folder / "witness")
                try:
                    if self.replay is not None:
                        self.series["schedules"] = explorer.replay(self.replay)
                    elif programs is not None:
                        generator = Generator(explorer, programs, self.folder, self.load.seed)
                        self.series["schedules"] = generator.run(self.load.options["budget"], shrunk=self.load.timed)
                    elif self.load.options["tries"]:
                        explorer.race(self.load.options["tries"])
                        self.series["schedules"] = []  # none was chosen, so none can be told or repeated
                    else:
                        explorer.explore(
                            self.load.options["budget"],
                            self.load.seed,
                            reduced=self.load.options["reduced"],
                            stop_when_found=not self.load.timed,
                        )
                        self.series["schedules"] = explorer.report()
                    title = f"{self.scenario} with {self.source.shown}, explored"
                    dump = partial(self.server.dump, url)
                    self.series["schedules"] = export(
                        self.series["schedules"], restore, dump, self.folder, title, plain=not moves_time
                    )
                finally:
                    recall.end()
                    self.series["exploration"] = [told(explorer.found)]
                    self.crew.problems.extend(doubts(explorer.found, self.series.get("schedules", [])))
                with workers.let_go():
                    self.crew.gather([*names, quiet.name], within=BUILD_SECONDS)
                    self.end([*names, quiet.name])

    def ready(self, names: Sequence[str]) -> None:
        """Build the system in these processes. Raises `SystemUnusable` where it could not be built in any of them."""
        answers = self.crew.tell(names, build_only, within=BUILD_SECONDS)
        unusable = [answer for answer in answers if answer.unusable]
        if unusable and len(unusable) == len(answers):
            raise SystemUnusable(unusable[0].problem)
        self.crew.problems.extend(f"{answer.process}: {answer.problem}" for answer in unusable)

    def tell(
        self, names: Sequence[str], program: Program, *, within: float, phase: Phase = "main", **arguments: Any
    ) -> list[Answer]:
        """Have processes run a program together; see `harness.scenario.Stage`."""
        return self.crew.tell(names, program, within=within, phase=phase, **arguments)

    def insist(self, name: str, program: Program, *, within: float, phase: Phase = "main", **arguments: Any) -> Any:
        """Have one process run a program the run cannot do without. Raises `SystemUnusable` or `RunAbandoned`."""
        (answer,) = self.crew.tell([name], program, within=within, phase=phase, **arguments)
        if answer.unusable:
            raise SystemUnusable(answer.problem)
        if answer.problem:
            raise RunAbandoned(answer.problem)
        return answer.value

    def begin(self, parts: Sequence[Part], *, phase: Phase = "main") -> None:
        """Have processes run their parts at the same moment, and return at once."""
        self.crew.begin(parts, phase=phase)

    def gather(self, names: Sequence[str], *, within: float) -> list[Answer]:
        """Wait for what these processes began; see `harness.scenario.Stage`."""
        return self.crew.gather(names, within=within)

    @property
    def nemesis(self) -> Nemesis:
        """Whoever does harm in this run; there once the processes were started."""
        if self._nemesis is None:
            rng = random.Random(f"{self.load.seed}/nemesis")  # noqa: S311  # repeatable, not secret
            self._nemesis = Nemesis(
                self.crew,
                self.database,
                self._urls[0],
                self.server,
                self._network,
                rng,
                self.faults,
                list(self._roles),
                self._levers,
                closed=self.source.kind == "command",
            )
            self.stack.callback(self._nemesis.end)
        return self._nemesis

    def kill(self, name: str, *, inside: str | None = None, after_seconds: float = 0.0) -> None:
        """SIGKILL a process; its death is an operation of `nemesis` that names it. See `harness.scenario.Stage`."""
        self.nemesis.kill_inside(name, inside, after_seconds)

    def missing(self, fault: str) -> str | None:
        """Why a fault cannot be done in this run, or None. Raises `UnknownName`."""
        return self.nemesis.missing(fault)

    def strike(
        self,
        fault: str,
        workers: Sequence[str],
        *,
        inside: str | None = None,
        within_seconds: float | None = None,
    ) -> contextlib.AbstractContextManager[None]:
        """Do harm; see `harness.scenario.Stage`."""
        return self.nemesis.strike(fault, workers, inside, within_seconds)

    def handed_on(self, name: str, *, within: float) -> bool:
        """Wait until a job that a process holds now is handed to another; whether that came."""
        return self.nemesis.handed_on(name, within)

    def stop(self) -> None:
        """Tell programs that go on until they are told that they are to end."""
        self._over.value = 1

    def _movable_clock(self) -> WorldClock:
        self._urls.append(self.stack.enter_context(self.server.fresh()))
        clock = WorldClock(CONTEXT.RawValue("q", 0), self._urls[0])
        clock.prepare()
        return clock

    @contextlib.contextmanager
    def busy_writer(self, *, hold_seconds: float, pause_seconds: float) -> Iterator[None]:
        """Have another writer hold the write lock again and again; see `harness.scenario.Stage`."""
        if self.database != "sqlite":
            yield
            return
        over = threading.Event()
        recorder = Recorder(self.crew.folder / "events" / "neighbour.ndjson", "neighbour", "nemesis")

        def write() -> None:
            while not over.wait(pause_seconds):
                op = recorder.invoke("hold", "main")
                with self.server.hold(self._urls[0]):
                    over.wait(hold_seconds)
                recorder.ok(op)

        thread = threading.Thread(target=write, name="neighbour")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            recorder.end()

    def end(self, names: Sequence[str]) -> None:
        """Let processes close their system and end."""
        self.crew.end(names)

    def analyze(self) -> None:
        """Have the database take its planner statistics now."""
        self.server.analyze(self._urls[0])

    @contextlib.contextmanager
    def timing(self, latency_ms: float) -> Iterator[RealStage]:
        """Give a stage beside this one whose processes are timed: untraced, and its events kept apart from the history."""
        folder = self.folder / "timing" / f"{latency_ms:g}ms"
        with ExitStack() as stack:
            crew = Crew(folder, self.crew.watch, self.crew.problems)
            stage = RealStage(
                load=self.load,
                profile=self.profile,
                database=self.database,
                promise=self.promise,
                source=self.source,
                server=self.server,
                witness=self.witness,
                folder=folder,
                scenario=self.scenario,
                crew=crew,
                find=self.find,
                stack=stack,
                services=self.services,
                record=False,
                latency_ms=latency_ms,
            )
            with crew:
                yield stage

    def save(self, name: str, series: Sequence[Mapping[str, Any]]) -> None:
        """Keep a table of figures with the result."""
        self.series[name] = list(series)

    def say(self, line: str) -> None:
        """Tell whoever watches what is going on."""
        self.crew.watch(line)


def build_only(_client: object) -> int:
    """Do nothing: being told a program builds the system, and the answer is the pid it stands in."""
    return os.getpid()


@contextlib.contextmanager
def open_stage(
    *,
    load: Load,
    profile: Profile,
    database: str,
    promise: Promise,
    source: Source,
    server: Server,
    witness: Witness,
    folder: Path,
    find: Callable[[str], Source],
    watch: Callable[[str], None],
    services: Mapping[str, ServiceFactory],
    scenario: str = "",
    latency_ms: float = 0.0,
    crowd: Crowd | None = None,
    gate: Gate | None = None,
    look: Look | None = None,
    replay: Replay | None = None,
    faults: Mapping[str, Fault] | None = None,
) -> Iterator[RealStage]:
    """Make a stage in `folder`; on leaving, every process is gone, the witness has written all, the databases are dropped."""
    with ExitStack() as stack:
        crew = Crew(folder, watch)
        stage = RealStage(
            load=load,
            profile=profile,
            database=database,
            promise=promise,
            source=source,
            server=server,
            witness=witness,
            folder=folder,
            scenario=scenario,
            crew=crew,
            find=find,
            stack=stack,
            services=services,
            latency_ms=latency_ms,
            crowd=crowd,
            gate=gate,
            look=look,
            replay=replay,
            faults=faults or {},
        )
        with crew:  # leaves before the stack does: processes end before their witness and their database
            yield stage
