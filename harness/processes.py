"""Real processes: each in a session of its own, told what to do over a pipe, and gone when the run is.

They are forked from a small server process that has imported what every one of them needs and nothing of a system under test.

A process comes up in the background, builds the system when told to, then runs *programs*. It answers in JSON, so nothing a
system under test made is ever unpickled here. Its standard output and error go to `logs/<name>.txt` of the result's folder.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import importlib.util
import inspect
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, get_args

import dill
import multiprocess
import multiprocess.process
import multiprocess.util
import orjson
from multiprocess import forkserver
from multiprocess.connection import wait

from harness import foster, signals
from harness.clock import PythonClock, WorldClock
from harness.command import CommandError, CommandSystem
from harness.errors import MalformedAnswer, ProtocolBroken, SystemUnusable
from harness.history import Phase
from harness.levers import Levers
from harness.protocols import LOOP, OPTIONAL, REQUIRED, SERVICES, Promise, Semantics, Witness
from harness.recorder import RecordedSystem, Recorder, build_system
from harness.scenario import Answer, Part, Program
from harness.scratch import SHORT, scratch
from harness.turnstile import Turnstile

CONTEXT = multiprocess.get_context("forkserver")
CONTEXT.set_forkserver_preload(["harness.nursery", "harness.processes", "harness.witnesses.sqlite_trace", "psycopg"])
SOCKET_ROOM = (
    60  # characters of a temporary folder that leave room for multiprocess's own folder and socket in an address
)
UP_SECONDS = 60.0  # a process that has not come up by then is hung: eight take about 1 s on 2 busy cores
GO_SECONDS = 0.01  # how far ahead a common start is set, so that every process has got the word before it
UP, END = 0, -1  # answers that are not to a command
ANSWER_BYTES = 1 << 26
END_SECONDS = 20.0  # closing takes milliseconds; a starved machine may make it seconds


@dataclass(frozen=True, slots=True)
class Source:
    """Where a system's class comes from, so that any process can load it for itself.

    `module`: target `package.module`; `file`: target a path; `shipped`: target the class as dill bytes (a class defined inside
    a function). `name` is the class's qualified name within it; `shown` is what the user calls the system. `command`: there is no class;
    target is a command line, `name` the folder it is started in.
    """

    kind: Literal["module", "file", "shipped", "command"]
    target: str | bytes
    name: str
    shown: str

    @classmethod
    def of(cls, system: type) -> Source:
        """Take the source of a class at hand, wherever it was defined; a class made inside a function is shipped by value."""
        if "<locals>" in system.__qualname__ or system.__module__ == "__main__":
            return cls("shipped", dill.dumps(system, recurse=True), system.__qualname__, system.__qualname__)
        return cls("file", str(Path(inspect.getfile(system)).resolve()), system.__qualname__, system.__qualname__)

    def load(self, process: str = "") -> Callable[..., Any]:
        """Import the class in the calling process, of that name. Raises whatever importing it raises."""
        if self.kind == "command":
            return functools.partial(CommandSystem, str(self.target), self.name, process)
        if isinstance(self.target, bytes):
            loaded: Callable[..., Any] = dill.loads(self.target)  # noqa: S301  # made by this run, never read from a bundle
            return loaded
        if self.kind == "module":
            if os.getcwd() not in sys.path:  # noqa: PTH109  # sys.path holds strings; the user's folder, as with `python -m`
                sys.path.insert(0, os.getcwd())  # noqa: PTH109
            found: Any = importlib.import_module(self.target)
        else:
            found = _import_file(Path(self.target))
        for part in self.name.split("."):
            found = getattr(found, part)
        if not callable(found):
            raise TypeError(f"{self.name} is {type(found).__name__}, not a class")
        return found  # type: ignore[no-any-return]  # callable, as just checked


def _import_file(path: Path) -> Any:
    """Import a file by its path; one that lies in a package as a part of it, so that its relative imports find its own neighbours."""
    root = path.parent
    while (root / "__init__.py").exists():
        root = root.parent
    if root != path.parent:
        sys.path.insert(0, str(root))
        found = importlib.import_module(".".join(path.relative_to(root).with_suffix("").parts))
        if Path(str(found.__file__)).resolve() != path:
            raise ImportError(f"{path} is hidden by {found.__file__}, which was imported before under the same name")
        return found
    name = path.stem
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))  # its neighbours are importable, as when Python runs a script
    present = sys.modules.get(name)
    if present is not None and getattr(present, "__file__", None) == str(path):
        return present
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def promise_of(factory: object, shown: str) -> Promise:
    """Read what a system's class promises, or a command. Raises `SystemUnusable`, listing every fault at once."""
    command = isinstance(factory, CommandSystem)
    lacking = "its hello does not list {}" if command else "it has no method {}()"
    loops = not command and callable(getattr(factory, LOOP, None)) and not callable(getattr(factory, "claim", None))
    required = tuple(name for name in REQUIRED if name not in ("claim", "complete")) if loops else REQUIRED
    faults = [lacking.format(name) for name in required if not callable(getattr(factory, name, None))]
    default = Promise()
    databases = getattr(factory, "databases", default.databases)
    if not isinstance(databases, tuple | list) or not databases or not set(databases) <= {"sqlite", "postgres"}:
        faults.append(f"databases is {databases!r}, expected a tuple of 'sqlite' and 'postgres'")
    semantics = getattr(factory, "semantics", default.semantics)
    if semantics not in get_args(Semantics):
        faults.append(f"semantics is {semantics!r}, expected one of {', '.join(get_args(Semantics))}")
    lease = getattr(factory, "lease_seconds", None)
    if lease is not None and (not isinstance(lease, int | float) or isinstance(lease, bool) or lease <= 0):
        faults.append(f"lease_seconds is {lease!r}, expected a positive number of seconds")
    most = getattr(factory, "max_workers", None)
    if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
        faults.append(f"max_workers is {most!r}, expected a positive int or None")
    services = getattr(factory, "services", ())
    if not isinstance(services, tuple | list) or not set(services) <= set(SERVICES):
        faults.append(f"services is {services!r}, expected a tuple of {', '.join(map(repr, SERVICES))}")
    if faults:
        needed = ", ".join(REQUIRED if command else (f"{name}()" for name in REQUIRED))
        raise SystemUnusable(
            f"The system {shown} cannot be used: {'; '.join(faults)}. "
            + (
                f"A command answers its hello with capabilities, among them {needed}: see docs/any-language.md."
                if command
                else f"A system is a class with {needed}, built with a database URL; work() may stand for claim() and complete()."
            )
        )
    offered = factory.capabilities if isinstance(factory, CommandSystem) else OPTIONAL  # it can be closed anyway
    offered = tuple(name for name in offered if loops or name != LOOP)  # who has both is asked for jobs
    capabilities = (*required, *(n for n in OPTIONAL if n in offered and callable(getattr(factory, n, None))))
    return Promise(
        databases=tuple(databases),
        semantics=semantics,
        lease_seconds=None if lease is None else float(lease),
        ordered=bool(getattr(factory, "ordered", False)),
        max_workers=most,
        capabilities=capabilities,
        services=tuple(services),
    )


def promise_to_json(promise: Promise) -> dict[str, Any]:
    """Give the promise as plain JSON values."""
    return {name: getattr(promise, name) for name in Promise.__dataclass_fields__}


def promise_from_json(value: Mapping[str, Any]) -> Promise:
    """Read a promise back from plain JSON values."""
    lists = ("databases", "capabilities", "services")
    return Promise(**{**value, **{name: tuple(value[name]) for name in lists}})


@dataclass(frozen=True, slots=True)
class Birth:
    """All that a process is born with."""

    name: str
    role: str
    source: Source
    url: str
    options: Mapping[str, Any]
    folder: Path
    witness: Witness | None
    seed: int
    tally: Any  # a shared array with a slot for each process; no lock, as a killed process would keep it
    slot: int
    turnstile: Turnstile | None = None  # where it is to be explored
    clock: WorldClock | None = None  # where time may be moved
    levers: Levers | None = None  # where harm may be done inside it
    over: Any = None  # a shared flag: not 0 once the programs are to come to an end


class _Tally:
    """The shared counter of finished jobs, in the shape `RecordedSystem` wants: one slot is ours, the sum is everybody's."""

    def __init__(self, slots: Any, slot: int) -> None:
        self._slots = slots
        self._slot = slot

    @property
    def value(self) -> int:
        return sum(self._slots)

    @value.setter
    def value(self, value: int) -> None:
        self._slots[self._slot] += value - self.value

    def get_lock(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


def _die_with_coordinator() -> None:
    """Have this process killed when the coordinator dies by any signal (Linux, prctl(2) PR_SET_PDEATHSIG).

    The server that forked us ends once nobody holds the other end of its pipe, and the kernel then kills us. We were given that end
    too, so that we could start processes of our own: it goes, or a hung process would keep the server and all others alive.
    """
    alive = forkserver._forkserver  # there is no public name for it
    if alive._forkserver_alive_fd is not None:
        os.close(alive._forkserver_alive_fd)
        alive._forkserver_alive_fd = None
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() == 1:
        os._exit(1)


def _speak_into_log(birth: Birth) -> None:
    """Have standard output and error go to the log. Who has a log has events, if none yet."""
    with contextlib.suppress(OSError):  # said again by who opens it, with the log to say it in
        (birth.folder / "events" / f"{birth.name}.ndjson").touch()
    try:
        log = os.open(birth.folder / "logs" / f"{birth.name}.txt", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    except FileNotFoundError:
        os._exit(1)  # an interrupted coordinator has cleared the folder away: there is nobody to say it to
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)


def _live(birth: Birth, pipe: Any, environment: Mapping[str, str]) -> None:
    """Run in the child: take commands until told to end or until the coordinator is gone."""
    os.setsid()
    _die_with_coordinator()
    os.environ.clear()
    os.environ.update(environment)  # the server's is of the time it was started
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.excepthook = sys.__excepthook__
    _speak_into_log(birth)
    recorder = Recorder(birth.folder / "events" / f"{birth.name}.ndjson", birth.name, birth.role, birth.clock)
    client = RecordedSystem(
        recorder,
        birth.name,
        functools.partial(_build, birth),
        seed=birth.seed,
        tally=_Tally(birth.tally, birth.slot),
        turnstile=birth.turnstile,
        over=birth.over,
        skew=None if birth.levers is None else PythonClock(birth.levers.ahead),
    )
    pipe.send_bytes(orjson.dumps({"to": UP, "value": "up"}))
    while True:
        try:
            command = pipe.recv()
        except EOFError:
            os._exit(1)
        if command is None:
            break
        number, program, phase, at, arguments = command
        client.phase = phase
        try:
            if not client.built and program is not None and not getattr(program, "opens", False):
                _build_or_say(client, birth.source.shown)
            if at:
                time.sleep(max(0.0, at - time.monotonic()))
            value = None if program is None else program(client, **arguments)
            answer = {"value": value}
        except SystemUnusable as error:
            answer = {"problem": str(error), "unusable": True}
        except MalformedAnswer as error:
            answer = {"problem": str(error)}
        except BaseException as error:  # noqa: BLE001  # whatever ended the program is told, in words, and never a pass
            traceback.print_exc()
            answer = {"problem": f"{type(error).__name__}: {error}"[:500]}
        pipe.send_bytes(orjson.dumps({"to": number, **answer}, default=str))
    last = {"value": "ended"}
    try:
        client.close()
    except MalformedAnswer as error:
        last = {"problem": str(error)}
    client.end()
    pipe.send_bytes(orjson.dumps({"to": END, **last}))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # a system's own threads or atexit hooks must not keep a finished run waiting


def _build(birth: Birth) -> Any:
    """Make the system, watched and by the clock of the run from the moment it is imported."""
    if birth.witness is not None:
        birth.witness.enter(birth.name, birth.folder / "witness", birth.levers)
    if birth.clock is not None:
        birth.clock.enter()
    return build_system(birth.source.load(birth.name), birth.url, birth.options)


def _build_or_say(client: RecordedSystem, shown: str) -> None:
    try:
        client.build()
    except (SystemUnusable, MalformedAnswer):
        raise
    except BaseException as error:
        traceback.print_exc()
        text = "".join(traceback.format_exception_only(error)).strip().replace("\n", " ")
        raise SystemUnusable(
            f"The system {shown} could not be built: {text[:400].rstrip('.')}. "
            + (
                "That is the error it answered its hello with."
                if isinstance(error, CommandError)
                else "Expected a class that is built with one database URL; see the log in the bundle for the traceback."
            )
        ) from error


def opens(program: Program) -> Program:
    """Mark a program that builds the system itself, as a recorded operation, with `client.open()`."""
    program.opens = True  # type: ignore[attr-defined]  # a mark on the function, read in the spawned process
    return program


def make_room_for_sockets() -> None:
    """Have the server's socket in a folder of ours, below /tmp where TMPDIR is too long for one: an address has 107 characters.

    Call it before a process of `CONTEXT` is started. The folder goes when we do, or at the next start where we are killed:
    multiprocess's own would stay.
    """
    config = (
        multiprocess.process.current_process()._config
    )  # where multiprocess keeps its folder; there is no public name
    if config.get("tempdir") is None:
        kept = contextlib.ExitStack()
        short = len(os.fsencode(tempfile.gettempdir())) <= SOCKET_ROOM
        config["tempdir"] = str(kept.enter_context(scratch("sockets", None if short else SHORT)))
        multiprocess.util.Finalize(None, kept.close, exitpriority=-100)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Keep new processes from importing the program that started us.

    `multiprocess` would run it again in each of them: slow under pytest, and endless where a script has no `__main__` guard.
    """
    main = sys.modules["__main__"]
    kept = {name: getattr(main, name) for name in ("__spec__", "__file__") if hasattr(main, name)}
    main.__spec__ = None
    if "__file__" in kept:
        del main.__file__
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(main, name, value)


_FORKING = threading.Lock()
_LIVING: set[int] = set()  # the workers of every crew of this process


@dataclass
class _Member:
    process: Any
    pipe: Any
    command: bool  # it speaks for one, which is the worker as much as it is itself
    up: bool = False
    gone: str = ""
    doing: str = ""
    asked: int = UP  # what it was asked last, by number
    said: bytearray = field(default_factory=bytearray)  # of its answer, as far as it is here

    def answer(self) -> bytes | None:
        """Take what there is of its answer, without waiting; gives it where it is complete. Raises `EOFError` where there is no more.

        An answer is as `multiprocess` frames it: four bytes of its length, then itself. Longer than any can be, what is here is none.
        """
        while self.pipe.poll():
            if not (taken := os.read(self.pipe.fileno(), 1 << 16)):
                raise EOFError
            self.said += taken
            length = int.from_bytes(self.said[:4], "big")
            if len(self.said) >= 4 and (length > ANSWER_BYTES or len(self.said) >= 4 + length):
                message = bytes(self.said[4 : 4 + length])
                del self.said[: 4 + length]
                return message
        return None


@dataclass
class Crew:
    """The processes of one run, by name. Leaving the context ends every one of them, and whatever they started.

    `problems` collects, in words, every process that died, hung or went wrong without being meant to.
    """

    folder: Path
    watch: Callable[[str], None] = lambda _line: None
    problems: list[str] = field(default_factory=list)
    _members: dict[str, _Member] = field(default_factory=dict)

    def __enter__(self) -> Self:
        """Make the folders that processes write to."""
        for name in ("events", "witness", "logs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Kill what is left, with everything it started: each process leads a session of its own."""
        for name in self._members:
            self._reap(name)
        with _FORKING:
            _LIVING.difference_update(member.process.pid for member in self._members.values())
            if self._members:
                foster.end_children(forkserver._forkserver._forkserver_pid, _LIVING)

    def start(self, birth: Birth) -> None:
        """Start one process; it comes up in the background."""
        make_room_for_sockets()
        near, far = CONTEXT.Pipe()
        process = CONTEXT.Process(target=_live, args=(birth, far, dict(os.environ)), name=birth.name, daemon=True)
        with _without_main(), _FORKING:
            process.start()
            _LIVING.add(process.pid)
        far.close()
        self._members[birth.name] = _Member(process, near, birth.source.kind == "command")

    def fileno(self, name: str) -> int:
        """A file that can be read from once the process has answered, or is gone."""
        return int(self._members[name].pipe.fileno())

    def at_work(self, name: str) -> bool:
        """Whether a process that was told to do something lives and has not answered yet."""
        member = self._members[name]
        return not member.gone and member.process.is_alive() and not member.pipe.poll()

    def pid(self, name: str) -> int:
        """The process's id."""
        return int(self._members[name].process.pid)

    def tell(
        self, names: Sequence[str], program: Program | None, *, within: float, phase: Phase = "main", **arguments: Any
    ) -> list[Answer]:
        """Run a program in processes at the same moment; wait for every answer, at most `within` seconds.

        One answer for each name, in order. A process that dies or does not answer in time is named in its answer and in
        `problems`; one that did not answer is killed.
        """
        self.begin([Part(name, program, arguments) for name in names], phase=phase)
        return self.gather(names, within=within)

    def begin(self, parts: Sequence[Part], *, phase: Phase = "main") -> None:
        """Have processes run their parts at the same moment, and return at once; `gather` waits for them."""
        names = [part.name for part in parts]
        down = [name for name in names if not self._members[name].up and not self._members[name].gone]
        came_up = self._hear(down, UP_SECONDS, "come up")
        for name, answer in came_up.items():
            self._members[name].up = not answer.problem
        alive = [part for part in parts if not self._members[part.name].gone]
        at = time.monotonic() + GO_SECONDS if len(alive) > 1 else 0.0
        for part in alive:
            member = self._members[part.name]
            member.asked += 1
            member.doing = getattr(part.program, "__name__", "building the system")
            with contextlib.suppress(BrokenPipeError, ConnectionError):  # it died: heard of when it is gathered
                member.pipe.send((member.asked, part.program, phase, at, dict(part.arguments)))

    def gather(self, names: Sequence[str], *, within: float) -> list[Answer]:
        """Wait for the answers of what these processes began, as `tell` does. One killed on purpose meanwhile is no problem."""
        alive = [name for name in names if not self._members[name].gone]
        answers = self._hear(alive, within, "finish")
        gone = {name: Answer(name, problem=self._members[name].gone) for name in names if name not in answers}
        return [(answers | gone)[name] for name in names]

    def _hear(self, names: Sequence[str], within: float, what: str) -> dict[str, Answer]:
        answers: dict[str, Answer] = {}
        deadline = time.monotonic() + within
        while len(answers) < len(names):
            waiting = [name for name in names if name not in answers]
            members = {name: self._members[name] for name in waiting}
            sources = [member.pipe for member in members.values()] + [m.process.sentinel for m in members.values()]
            ready = wait(sources, max(0.0, deadline - time.monotonic()))
            for name, member in members.items():
                if member.pipe in ready or member.process.sentinel in ready:
                    message = None
                    with contextlib.suppress(EOFError, OSError):
                        message = member.answer()
                        if message is None and member.process.sentinel not in ready:
                            continue  # there is more to come
                    answers[name] = self._lost(name, what) if message is None else self._read(name, message)
            if not ready:
                for name in waiting:
                    self._reap(name)
                    answers[name] = self._problem(
                        name, f"{name} did not {self._what(name, what)} within {within:g} s and was killed."
                    )
        return answers

    def _read(self, name: str, message: bytes) -> Answer:
        try:
            told = orjson.loads(message)
        except ValueError:
            told = None
        if not isinstance(told, dict) or told.get("to") != self._members[name].asked:
            self._reap(name)
            return self._problem(
                name,
                f"{name} said {message[:80]!r} where it was to answer, and was killed: the system writes to what is not its own.",
            )
        if told.get("unusable"):
            return Answer(name, problem=told["problem"], unusable=True)
        if told.get("problem"):
            return self._problem(name, f"{name}: {told['problem']}", fatal=False)
        return Answer(name, told["value"])

    def _lost(self, name: str, what: str) -> Answer:
        member = self._members[name]
        member.process.join(1)
        code = member.process.exitcode
        how = signal.Signals(-code).name if code is not None and code < 0 else f"exit status {code}"
        self._reap(name)
        last = self._last_words(name)
        return self._problem(name, f"{name} died ({how}) before it could {self._what(name, what)}.{last}")

    def _what(self, name: str, what: str) -> str:
        return f"{what} {self._members[name].doing}" if what == "finish" else what

    def _last_words(self, name: str) -> str:
        with contextlib.suppress(OSError):
            text = (self.folder / "logs" / f"{name}.txt").read_text(errors="replace").strip()
            if text:
                return f" Its last words: {text.splitlines()[-1][:200]!r}."
        return ""

    def _problem(self, name: str, text: str, *, fatal: bool = True) -> Answer:
        self.problems.append(text)
        self.watch(text)
        if fatal:
            self._members[name].gone = text
        return Answer(name, problem=text)

    def kill(self, name: str) -> None:
        """SIGKILL a process, and only it, on purpose: not a problem. Returns when it is dead.

        One that speaks for a command is killed with all it started, and all are dead: so are their connections.
        """
        member = self._members[name]
        if member.command:
            signals.tell_group(member.process.pid, signal.SIGKILL)
        member.process.kill()
        member.process.join()
        if member.command:
            signals.wait_group_gone(member.process.pid)
        member.gone = f"{name} was killed on purpose."

    def end(self, names: Sequence[str]) -> None:
        """Let processes close their system and end; one that does not is killed and named."""
        alive = [name for name in names if not self._members[name].gone]
        for name in alive:
            with contextlib.suppress(BrokenPipeError, ConnectionError):
                self._members[name].asked = END
                self._members[name].pipe.send(None)
        for name, answer in self._hear(alive, END_SECONDS, "close the system and end").items():
            if not answer.problem:
                self._members[name].gone = "ended"
            self._reap(name)

    def _reap(self, name: str) -> None:
        process = self._members[name].process
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == process.pid:  # never our own group: it may not have reached setsid yet
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # what it started, should it have ended before


def examine(source: Source, folder: Path, *, url: str = "", within: float = 30.0) -> Promise:
    """Load a system in a process of its own and read what it promises; a command is asked, on the database at `url`.

    So a syntax error, an endless import or a patched library stays out of the coordinator. Raises `SystemUnusable`, and of a command
    `ProtocolBroken`.
    """
    with Crew(folder) as crew:
        crew.start(Birth("examine", "examine", source, url, {}, folder, None, 0, CONTEXT.RawArray("q", 1), 0))
        (answer,) = crew.tell(["examine"], _examine, within=within, source=source, url=url)
        if answer.problem:
            problem = answer.problem.removeprefix("examine: ")
            raise (
                ProtocolBroken(problem) if source.kind == "command" and not answer.unusable else SystemUnusable(problem)
            )
        return promise_from_json(answer.value)


@opens
def _examine(_client: object, source: Source, url: str) -> dict[str, Any]:
    if source.kind == "command":
        return promise_to_json(_asked(source, url))
    try:
        factory = source.load()
    except SyntaxError as error:
        raise SystemUnusable(
            f"The system {source.shown} cannot be loaded: {error.filename}, line {error.lineno}: {error.msg}. Correct the file."
        ) from error
    except BaseException as error:
        text = "".join(traceback.format_exception_only(error)).strip().replace("\n", " ")
        raise SystemUnusable(
            f"The system {source.shown} cannot be loaded: {text[:400].rstrip('.')}. "
            "Expected package.module:Class or path/to/file.py:Class."
        ) from error
    return promise_to_json(promise_of(factory, source.shown))


def _asked(source: Source, url: str) -> Promise:
    """What a command promises in the answer to its hello; it is let go of again."""
    try:
        system = source.load("examine")(url)
    except CommandError as error:
        raise SystemUnusable(f"The system {source.shown} answered its hello with an error: {error}") from error
    try:
        return promise_of(system, source.shown)
    finally:
        with contextlib.suppress(CommandError):
            system.close()
