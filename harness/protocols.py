"""Every plug-in point on one page: the system under test, the database, the witness, the gate, the fault.

All are structural (`typing.Protocol`): nothing needs to inherit from us. Concrete ones are registered in one literal table per kind.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from selectors import BaseSelector
from typing import Any, Final, Literal, Protocol

from harness.levers import Levers

JobId = int | str
Semantics = Literal["exactly-once-claim", "at-least-once", "at-most-once"]

# The methods every system must have; a system that lacks one is refused with the names of all it lacks.
REQUIRED: Final[tuple[str, ...]] = ("install", "enqueue", "claim", "complete")
LOOP: Final = "work"  # the method that stands for claim and complete in a system that runs a loop of its own
# The methods a system may have. Having the method is having the capability; each unlocks scenarios and invariants.
OPTIONAL: Final[tuple[str, ...]] = (
    "fail",
    "heartbeat",
    "recover",
    "work",
    "report_progress",
    "flush_progress",
    "read_progress",
    "submit_run",
    "read_run",
    "add_actions",
    "delete_many",
    "clean_by_tag",
    "wipe_all",
    "status_all",
    "close",
)


# What a statement may do to what others see or can have: nothing; depend on what they do; change it. When in doubt, write.
Effect = Literal["local", "read", "write"]
MORE: Final[Mapping[Effect, int]] = {"local": 0, "read": 1, "write": 2}  # the more, the later
Reach = frozenset[str] | None  # the tables a statement may touch; None: any


class System(Protocol):
    """A job queue under test: a class taking a database URL, built once per process.

    Class attributes, all optional: `databases` (tuple of sqlite, postgres), `semantics`, `lease_seconds`, `ordered`, `max_workers`,
    `services` (what else it needs running: redis, whose URL comes as the option `redis_url`). One that runs a loop of its own has
    `work(worker, handler, stop)` in place of claim and complete (`harness.pulling`).
    An exception a method raises is read by `outcome.classify`; nothing a system raises is swallowed.
    """

    def install(self) -> None:
        """Make the tables in an empty database; called once per run."""

    def enqueue(self, jobs: list[dict[str, Any]]) -> list[JobId]:
        """Add jobs (keys payload, priority, tag, run) and return one id per job, in order. A larger priority goes first."""

    def claim(self, worker: str, limit: int) -> list[Any]:
        """Hand at most `limit` jobs to `worker`: for each the id, or an object or dict with `job` (and `token`, `attempt`)."""

    def complete(self, worker: str, handles: list[Any]) -> object:
        """Finish the jobs of these handles, as `claim` gave them.

        May return the list of handles accepted, where a stale one is refused; any other return value means all of them.
        """


@dataclass(frozen=True, slots=True)
class Handle:
    """One claimed job as the harness understands it; `given` is what the system handed out and is passed back untouched."""

    job: JobId
    token: object = None
    attempt: int | None = None
    given: object = None


@dataclass(frozen=True, slots=True)
class Dump:
    """The SQL that makes what is in a Postgres database, with its rows, in an empty one, and the SQL that drops just that again.

    `settings` are what whoever connects finds set for the database or the role (ALTER DATABASE … SET), by name.
    """

    setup: str
    teardown: str
    settings: Mapping[str, str]


class Server(Protocol):
    """A running database engine that can make clean databases."""

    def conditions(self) -> Mapping[str, str]:
        """What a reader must know to compare figures: version, durability settings, where it ran. Never a password."""

    def fresh(self) -> AbstractContextManager[str]:
        """Give the URL of an empty database of its own, removed on leaving, whoever is still connected to it."""

    def clone(self, url: str) -> AbstractContextManager[str]:
        """Give the URL of a copy of one of our databases, which nobody is connected to; removed on leaving as a fresh one is."""

    def serving(self, url: str) -> Sequence[int]:
        """The processes of this machine that serve those connected to a database, by id; none where it works in the caller's own."""

    def processes(self) -> Sequence[int]:
        """All the server's processes, the one that started the others first; none where it has none, or they are not ours to harm."""

    def flush_seconds(self) -> float:
        """What making one small commit durable takes here, in seconds."""

    def hold(self, url: str) -> AbstractContextManager[None]:
        """Hold the database's one write lock, where it has one, as a long transaction of a neighbour would."""

    def snapshot(self, url: str) -> AbstractContextManager[Callable[[], None]]:
        """Remember what is in a database; give a function that puts it back, whoever is connected (and in no transaction).

        It raises `RunAbandoned` where somebody holds a lock.
        """

    def dump(self, url: str) -> Dump | None:
        """Tell what is in a database of Postgres; None of any other engine. Raises `DatabaseUnavailable` where it cannot be told."""

    def analyze(self, url: str) -> None:
        """Let the planner take its statistics of the tables now (ANALYZE), as a background job would at this moment."""


class Database(Protocol):
    """An engine by name; `serve` starts it (or reaches it) and stops it, leaving no process, file or socket behind."""

    @property
    def name(self) -> str:
        """The engine's name, `sqlite` or `postgres`, as systems name it in `databases`."""

    def serve(self) -> AbstractContextManager[Server]:
        """Start or reach the engine. Raises `DatabaseUnavailable`, naming what was tried and what to do."""


class Network(Protocol):
    """The network between processes and their database, as far as it can be harmed. Processes are known by name."""

    def brake(self, process: str, *, on: bool) -> None:
        """Have the next statement of a process wait on its way, or let it go on."""

    def braked(self, process: str) -> bool:
        """Whether a statement of the process waits."""

    def backends(self, process: str) -> Sequence[int]:
        """The server's processes that serve its connections, by id."""

    def cut(self, process: str) -> int:
        """End its connections, both ways; gives how many there were."""

    def lose(self, process: str, *, on: bool) -> None:
        """Have the answer to its next statement that commits something it wrote get lost, and its connection end; or not any more."""

    def lost(self, process: str) -> bool:
        """Whether an answer got lost since that was last asked for."""

    def stall(self, process: str, *, on: bool) -> int:
        """Let no byte of its connections pass, and end none of them; or end them all. Gives how many there are."""

    def delay(self, process: str, ms: float, jitter_ms: float = 0.0) -> None:
        """Add so much to each of its round trips, half each way, and on each way up to `jitter_ms` more."""


@dataclass(frozen=True, slots=True)
class Watching:
    """What a witness gives: the URL each process must use, by name, and the network it stands on, where there is one."""

    urls: Mapping[str, str]
    network: Network | None = None

    def __getitem__(self, process: str) -> str:
        return self.urls[process]


class Witness(Protocol):
    """What the database itself saw: statements, transactions, round trips and connections of each process."""

    name: str

    def watch(
        self, url: str, processes: Sequence[str], folder: Path, *, latency_ms: float = 0.0, record: bool = True
    ) -> AbstractContextManager[Watching]:
        """Stand between the processes and the database at `url`; give each process the URL it must use.

        Statements are appended to NDJSON files in `folder` (`harness.history` has their shape) unless `record` is false.
        `latency_ms` is added to every round trip, half each way. On leaving, everything seen is on disk.
        """

    def enter(self, process: str, folder: Path, levers: Levers | None = None) -> None:
        """Begin watching from inside the calling process, before the system is imported; nothing to do for a proxy.

        What the `levers` ask of the process's connections is done where the witness stands between it and them.
        """


@dataclass(frozen=True, slots=True)
class Ran:
    """A statement that an explored process has run: on which of its connections, and with which error, if any (its code)."""

    connection: int
    kind: str
    shape: str
    effect: Effect
    error: str | None = None
    sql: str = ""  # with its values, where they are known
    committed_ns: int = 0  # when it committed what may have been written, in monotonic nanoseconds; 0: it did not
    open: bool = False  # its transaction goes on after it
    text: str = ""  # as the database can be given it again, with its values; empty where that cannot be told


# What may befall an explored process: it is killed (SIGKILL) while it stops, or after its next statement has run and before it has the
# answer; its connections are cut while it stops, or after its next statement has run, with the answer lost.
Crash = Literal["killed", "killed-after", "cut", "cut-after"]


class GateListener(Protocol):
    """Is told of explored processes by a gate."""

    def held(self, process: str, connection: int, kind: str, shape: str, effect: Effect, *, reach: Reach) -> None:
        """A process wants to run a statement, and it is held back."""

    def moves(self, process: str) -> None:
        """A statement that was let on has been answered: the process works."""

    def gone(self, process: str) -> None:
        """The connection of a statement that is held has ended: it will never run, and the process works."""


class Held(Protocol):
    """The gate of one run. Only while it is turning is anything held back.

    Without `own_files`, all there is to say comes from the processes themselves, by their turnstiles.
    """

    @property
    def own_files(self) -> bool:
        """Whether it waits for files of its own."""

    @property
    def urls(self) -> Mapping[str, str]:
        """The URL each process must use."""

    @property
    def crashes(self) -> Sequence[Crash]:
        """What may befall a process here."""

    def witness(self, turnstile: Any) -> Witness:
        """What a process must enter before its system is imported."""

    def attend(self, selector: BaseSelector, listener: GateListener) -> None:
        """Wait for what happens with a selector, whose keys' `data` is called; tell the listener."""

    def turn(self, *, on: bool) -> None:
        """Begin or end holding statements back."""

    def allow(self, process: str) -> bool:
        """Let one statement of a process pass, the one that is held or else its next; whether one was held."""

    def cut(self, process: str) -> None:
        """End every connection of a process; returns when the database has undone what they had not committed."""

    def holds(self, process: str) -> bool:
        """Whether a transaction of a process holds anything, as far as is seen from outside."""

    def cut_after(self, process: str) -> None:
        """End the connection of a process's next statement when that has run, instead of answering."""

    def ran(self, process: str) -> Sequence[Ran]:
        """Give the statements of a process that ended since this was last asked, or since it last began or ended turning."""

    def at_work(self, process: str) -> str:
        """The statement of a process that was let on and is not answered yet, with its values; empty: there is none."""

    def due(self) -> float | None:
        """In how many seconds it is time to ask who is blocked; None: never."""

    def blocked(self, processes: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Ask the database which of these wait for a lock, and for whom: processes by name, or others in words."""

    def hold(self, processes: Sequence[str]) -> bool:
        """Hold the database still where it works for these, which wait for locks, until `wake` or `let_go`.

        False where it cannot be done, and `unheld` says why (empty: as there is no need).
        """

    @property
    def unheld(self) -> str:
        """Why the database could not be held still; empty: it could, or need not be."""

    def could_wake(self) -> Sequence[str]:
        """Which of those held still could be the next to go on, as far as the database is concerned."""

    def wake(self, process: str) -> bool:
        """Let one of these go on; false where the database does not let it past another, and it is held as before."""

    def let_go(self) -> None:
        """Hold nobody still any more."""


class Gate(Protocol):
    """Holds the statements of explored processes back and lets them on one at a time, as it is told."""

    @property
    def name(self) -> str:
        """Its name."""

    def guard(
        self, url: str, processes: Sequence[str], serving: Callable[[], Sequence[int]] = tuple
    ) -> AbstractContextManager[Held]:
        """Stand before the database at `url`, which these processes are to use; `serving` gives what `Server.serving` does."""


class Site(Protocol):
    """What of a run a fault can reach. Workers are known by name."""

    @property
    def database(self) -> str:
        """The engine: sqlite or postgres."""

    @property
    def url(self) -> str:
        """The database, reached past the witness."""

    @property
    def server(self) -> Server:
        """What made it."""

    @property
    def network(self) -> Network | None:
        """What lies between the workers and it; None where nothing does."""

    @property
    def rng(self) -> random.Random:
        """Makes every random choice of a fault."""

    @property
    def closed(self) -> bool:
        """Whether the workers speak for commands, inside which nothing can be changed."""

    def pid(self, worker: str) -> int:
        """The worker's process, by id."""

    def kill(self, worker: str) -> None:
        """SIGKILL it; returns when it is dead."""

    def stopped(self, worker: str) -> AbstractContextManager[None]:
        """Keep it stopped (SIGSTOP) while the context lasts, whoever else does. Raises `FaultMissed` where it was not well, or is not."""

    def levers(self, worker: str) -> Levers:
        """What can be changed inside it."""


class Fault(Protocol):
    """A harm with a start and an end, done to workers or to their database. By pid, never by name."""

    @property
    def name(self) -> str:
        """Its name, as `contend list faults` has it."""

    @property
    def kind(self) -> str:
        """The kind of operation that a history records it as."""

    @property
    def story(self) -> str:
        """What happens, in a sentence."""

    @property
    def workers(self) -> int:
        """How many workers it is done to, at least; 0: to the database of all of them."""

    def missing(self, site: Site) -> str | None:
        """Why it cannot be done here, or None."""

    def strike(self, site: Site, workers: Sequence[str]) -> AbstractContextManager[None]:
        """Do the harm, to what was healthy before, and see that it took hold; on leaving, heal it.

        Raises `FaultMissed` where it did not take hold, or where what was to be harmed was not well before.
        """


@dataclass(frozen=True, slots=True)
class Promise:
    """What a system says of itself, read from its class once it is loaded."""

    databases: tuple[str, ...] = ("sqlite", "postgres")
    semantics: Semantics = "exactly-once-claim"
    lease_seconds: float | None = None
    ordered: bool = False
    max_workers: int | None = None
    capabilities: tuple[str, ...] = REQUIRED
    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Release:
    """What somebody released and a system drives: the package, its version, how it was set up, and what its authors say, and where."""

    package: str
    version: str
    settings: str
    says: str = ""
    where: str = ""


# Services a system may need beside its database, by name; each is told to it as the option `<name>_url`.
SERVICES: Final[tuple[str, ...]] = ("redis",)
# Starts a service for one run and gives its URL. Raises `DatabaseUnavailable`.
ServiceFactory = Callable[[], AbstractContextManager[str]]

# Makes a system in the calling process; must survive pickling by dill, so that spawned workers can call it.
SystemFactory = Callable[..., Any]
