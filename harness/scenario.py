"""What a scenario is: a load, the invariants that judge it, and what must have happened for a pass to mean anything.

A scenario is data. Its *drive* is what the coordinator does on the stage; its *programs* are what a worker process does with the
system. Programs are module-level functions, so that a spawned process can find them by name.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from harness.history import Phase
from harness.outcome import Outcome
from harness.protocols import Handle, JobId, Promise

Mode = Literal["race", "explore", "load"]
Profile = Literal["quick", "full"]
ANY: Final = "any"  # operation that a worker may be in when it is harmed
HOLDING: Final = "holding"  # no operation, but a job in hand: where what it does with jobs is no operation


@dataclass(frozen=True, slots=True)
class Load:
    """How much of what: `workers` processes, `jobs` enqueued, `batch` asked for in one claim, `seed` of every random choice."""

    workers: int
    jobs: int
    batch: int
    seed: int = 0
    timed: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)  # passed to a system whose constructor takes them


def lease_of(promise: Promise, load: Load) -> float | None:
    """For how many seconds a claim of this system holds in such a run: as its options say, else as it declares; None: no leases."""
    declared = promise.lease_seconds
    return None if declared is None else float(load.options.get("lease_seconds", declared))


@dataclass(frozen=True, slots=True)
class Reply:
    """What a program learns of one operation: its outcome and, when ok, the answer: handles of jobs, or another `value`."""

    outcome: Outcome
    handles: tuple[Handle, ...] = ()
    problem: str = ""  # the error in words, unless ok
    value: Any = None  # submit_run: the run's id; read_run: its jobs or None; read_progress; delete_many: how many; …


class Client(Protocol):
    """A system as a program sees it: every call is recorded before and after, every answer checked, every error an outcome."""

    process: str
    phase: Phase
    rng: random.Random

    def open(self) -> Reply:
        """Build the system in this process, as an operation of its own. `fail` where the system refused."""

    def close(self) -> Reply | None:
        """Let the system close what it opened; None where it has no `close`."""

    def install(self) -> Reply:
        """Make the system's tables."""

    def enqueue(self, jobs: Sequence[dict[str, Any]]) -> Reply:
        """Add jobs; the handles of the reply carry their ids in order."""

    def claim(self, limit: int) -> Reply:
        """Claim at most `limit` jobs."""

    def complete(self, handles: Iterable[Handle]) -> Reply:
        """Complete what was claimed; the handles of the reply are those accepted."""

    def fail(self, handles: Iterable[Handle]) -> Reply:
        """Give claimed jobs back; the handles of the reply are those accepted."""

    def heartbeat(self, handles: Iterable[Handle]) -> Reply:
        """Extend the leases of what was claimed; the handles of the reply are those still held."""

    def halt(self) -> None:
        """Claim no more for now: a system that runs a loop of its own stops it, and what it hands over until it has is completed."""

    def recover(self) -> Reply:
        """Make claimable again what was claimed by somebody whose lease has run out; the value of the reply is how many jobs."""

    def let_pass(self, seconds: float, *, moved: bool) -> None:
        """Let time pass for the whole run of an exploration: by moving its clock ahead, or by waiting."""

    def ahead(self, seconds: float) -> AbstractContextManager[None]:
        """Move the run's clock ahead for a while, unrecorded."""

    def offers(self, capability: str) -> bool:
        """Whether the system has this method."""

    def report_progress(self, job: JobId, fraction: float) -> Reply:
        """Tell that `fraction` of a job is done."""

    def flush_progress(self, job: JobId | None = None) -> Reply:
        """Have what was reported of a job, or of all, written."""

    def read_progress(self, job: JobId) -> Reply:
        """Read what a screen would show of a job; the reply's value is the fraction or None."""

    def submit_run(self, tag: str, jobs: Sequence[dict[str, Any]]) -> Reply:
        """Submit a run with its jobs; the reply's value is the run's id."""

    def read_run(self, run: JobId) -> Reply:
        """Read a run; the reply's handles are its jobs, its value whether there is such a run."""

    def add_actions(self, job: JobId, names: Sequence[str]) -> Reply:
        """Add actions to a job; the reply's value is the list of their ids."""

    def delete_many(self, kind: str, ids: Sequence[JobId], *, lazily: bool = False) -> Reply:
        """Delete jobs, runs or actions; the reply's value is how many went. `lazily` gives the system a generator of the ids."""

    def clean_by_tag(self, tag: str) -> Reply:
        """Delete what is not running of a tag; the reply's value is how many went, by kind."""

    def wipe_all(self) -> Reply:
        """Delete everything that is not running; the reply's value is how many went, by kind."""

    def status_all(self) -> Reply:
        """Read every job (and run); the reply's handles are the jobs listed."""

    def work_on(self, job: JobId) -> AbstractContextManager[None]:
        """Mark what happens inside as the work on one job: an operation `scan`."""

    def threads(self, number: int) -> Sequence[Client]:
        """Give that many clients of the same system, one for each thread: what a thread does is recorded as its own."""

    def round(self, requested: int) -> AbstractContextManager[list[Handle]]:
        """Mark several operations as one round; put into the list what the round obtained."""

    def follow(self, program: Program, arguments: Mapping[str, Any]) -> int:
        """In an explored process: run a program once for each schedule, as its turnstile says; gives how many."""

    def unrecorded(self) -> Any:
        """Give the system itself, for a timed block: what is called on it is neither recorded nor checked."""

    def pause(self, seconds: float) -> None:
        """Wait, as work or a poll interval would."""

    def advance(self, jobs: int) -> None:
        """Say that `jobs` more jobs are finished, for every process to see."""

    def finished(self) -> int:
        """How many jobs all processes together have finished."""

    def over(self) -> bool:
        """Whether programs that go on until they are told are told to end."""


Program = Callable[..., object]  # program(client, **arguments) → an answer the coordinator gets, picklable


@dataclass(frozen=True, slots=True)
class Part:
    """What one process is to do while others do something else."""

    name: str
    program: Program | None
    arguments: Mapping[str, Any] = field(default_factory=dict)


Cast = tuple[Sequence[Part], Part]  # the parts that are explored, and what is done after them, when nobody is held


@dataclass(frozen=True, slots=True)
class Example:
    """One schedule that was made up: the jobs it begins with, a program of (operation, number) for each worker, and where to switch.

    At each choice an entry of `switches` says how many workers to pass over, beginning with the one that was on; after the last, none.
    """

    jobs: int
    programs: tuple[tuple[tuple[str, int], ...], ...]
    switches: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Programs:
    """Made-up programs: `examples` gives a Hypothesis strategy of `Example`; `warm_up` has every operation there is.

    A worker's program gets its `operations` and the ids of the `jobs` that are there. The part that runs in the end also runs before,
    in phase setup, and gets the number of jobs to `enqueue`.
    """

    examples: Callable[[], Any]
    warm_up: Example


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from telling a process to run a program: its value, or what went wrong, in words."""

    process: str
    value: Any = None
    problem: str = ""  # empty: the program ended as it meant to
    unusable: bool = False  # the system could not even be built


class Stage(Protocol):
    """What a drive has to work with: processes, a clean database, a witness beside them."""

    @property
    def load(self) -> Load:
        """How much of what."""

    @property
    def database(self) -> str:
        """The engine: sqlite or postgres."""

    @property
    def profile(self) -> Profile:
        """How thorough to be."""

    @property
    def promise(self) -> Promise:
        """What the system says of itself."""

    def start(
        self,
        cast: Mapping[str, str],
        *,
        systems: Mapping[str, str] | None = None,
        apart: bool = False,
        lent: Sequence[str] = (),
    ) -> None:
        """Start processes, name → role; they come up in the background, each with a system waiting to be built.

        `systems` gives some of them another system, by name (a baseline). With `apart` each gets a clean database of its own. `lent`
        names processes that are not ours to start but use the same database: `populate` gives them its address.
        """

    def populate(self, name: str, *, shared: bool) -> None:
        """Have the users of a load generator call the system, for as long as the load says; in a load only.

        They use the address lent to `name`. With `shared` they are threads of one process of that name, with its system and
        connections; else each has its own. Their figures are saved with the result. Raises `RunAbandoned` where nobody worked.
        """

    def explore(
        self, prepare: Callable[[Stage, str], Cast], programs: Programs | None = None, *, moves_time: bool = False
    ) -> None:
        """Have processes run their parts in every order their statements can have; in an exploration only.

        `prepare` makes what every schedule begins with, in the process it is given, and gives the parts; the last runs after each, held
        by nobody. Parts of the same program and arguments are alike but for their names. With `programs`, what the parts do is made up
        as well; with `moves_time`, a part may let time pass. Raises `SystemUnusable` and `RunAbandoned`.
        """

    def tell(
        self, names: Sequence[str], program: Program, *, within: float, phase: Phase = "main", **arguments: Any
    ) -> list[Answer]:
        """Have processes run a program at the same moment and wait for all of them, at most `within` seconds.

        A process that died, hung or raised is a problem in its answer and of the run, and a hung one is killed.
        """

    def insist(self, name: str, program: Program, *, within: float, phase: Phase = "main", **arguments: Any) -> Any:
        """Have one process run a program the run cannot do without; gives its value. Raises `RunAbandoned`."""

    def ready(self, names: Sequence[str]) -> None:
        """Build the system in these processes now, so that what follows starts warm."""

    def begin(self, parts: Sequence[Part], *, phase: Phase = "main") -> None:
        """Have processes run their parts, beginning at the same moment, and return at once; `gather` waits for them."""

    def gather(self, names: Sequence[str], *, within: float) -> list[Answer]:
        """Wait at most `within` seconds for what these processes began. One killed on purpose meanwhile is no problem of the run."""

    def kill(self, name: str, *, inside: str | None = None, after_seconds: float = 0.0) -> None:
        """SIGKILL a process on purpose and record it as an operation of `nemesis`.

        With `inside` it waits until the process is in an operation of that kind, and then for `after_seconds`.
        """

    def missing(self, fault: str) -> str | None:
        """Why a fault cannot be done in this run, or None. Raises `UnknownName`."""

    def strike(
        self,
        fault: str,
        workers: Sequence[str],
        *,
        inside: str | None = None,
        within_seconds: float | None = None,
    ) -> AbstractContextManager[None]:
        """Do harm to workers, or to the database of all of them, while the context lasts; each is an operation of `nemesis`.

        With `inside`, each of the workers is stopped before a statement of such an operation (`ANY`: of whichever), then harmed; with
        `within_seconds` at a random moment in one instead, by the seed, and `HOLDING` while it has a job in hand. Raises `FaultMissed`
        where that did not come about.
        """

    def handed_on(self, name: str, *, within: float) -> bool:
        """Wait until a job that a process holds now is handed to another, at most `within` seconds; whether that came."""

    def stop(self) -> None:
        """Tell programs that go on until they are told that they are to end: `Client.over`."""

    def end(self, names: Sequence[str]) -> None:
        """Let processes close their system and end."""

    def analyze(self) -> None:
        """Have the database take its planner statistics now."""

    def timing(self, latency_ms: float) -> AbstractContextManager[Stage]:
        """Give a stage beside this one for timing: nothing traced, nothing judged, every round trip that much longer."""

    def busy_writer(self, *, hold_seconds: float, pause_seconds: float) -> AbstractContextManager[None]:
        """Beside what runs inside, have another writer hold the database's write lock, let go, and so on: a neighbour, on SQLite.

        Each hold is an operation `hold` of `nemesis`. On Postgres, where writers do not exclude each other, it does nothing.
        """

    def save(self, name: str, series: Sequence[Mapping[str, Any]]) -> None:
        """Keep a table of figures with the result, for the page."""

    def say(self, line: str) -> None:
        """Tell whoever watches what is going on."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One claim about a queue and how we provoke it.

    `faults` says that harm is done on purpose. `latency_ms` is added to every round trip, by engine. `check` says what is wrong with a
    load, or None; `applies` why a system cannot be driven through it, or None. `evidence` names what must have happened (see
    `harness.coverage`). `control` names, for each database, the known-broken system the same settings must catch, and `control_under` one
    in its place where the settings of a load cannot show what is wrong with it, or None. `timed` names the systems whose time is measured
    when the whole catalogue runs; a system asked for by name always is. `beside` names known-wrong systems that are shown next to the
    right ones though they are not the control. `quick` names, for each database, the only systems that the quick profile shows; None: all
    there are. `brief` are options of the quick profile where no scenario was asked for by name, so that a run of everything does not take
    too long. `sampled`: its schedules do this and that, so that not every invariant can be decided of each of them; it must be of some.
    `loops`: a system that runs a loop of its own can be driven through it.
    """

    name: str
    claim: str
    drive: Callable[[Stage], None]
    invariants: tuple[str, ...]
    evidence: tuple[str, ...]
    control: Mapping[str, str]
    loads: Mapping[Profile, Load]
    control_under: Callable[[Load], str | None] = lambda _load: None
    needs: tuple[str, ...] = ()
    databases: tuple[str, ...] = ("sqlite", "postgres")
    mode: Mode = "race"
    witnessed: bool = True
    faults: bool = False
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    applies: Callable[[Promise], str | None] = lambda _promise: None
    check: Callable[[Load], str | None] = lambda _load: None
    timed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    quick: Mapping[str, tuple[str, ...]] | None = None
    brief: Mapping[str, Any] = field(default_factory=dict)
    sampled: bool = False
    loops: bool = False


MAXIMUM: Final[Mapping[str, int]] = {"workers": 200, "jobs": 10_000_000, "batch": 100_000}
