"""What one process says it did: every intent and every outcome, written with `write(2)` before going on.

A SIGKILL loses nothing already said, as the kernel has it. `RecordedSystem` is the one seam between contend and a system: it
records each call, reads each answer, and turns each exception into an outcome, so that nothing above it has to defend itself.
"""

from __future__ import annotations

import inspect
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import orjson

from harness.clock import PythonClock, WorldClock
from harness.errors import MalformedAnswer
from harness.history import Phase
from harness.outcome import Failure, classify
from harness.protocols import LOOP, Handle, JobId
from harness.pulling import Pulled
from harness.scenario import Program, Reply
from harness.turnstile import Turnstile


class Recorder:
    """Appends the events of one process to one NDJSON file; the shapes are in `harness.history`.

    Not for several threads: each thread that records owns a recorder of its own, made by `of_thread`. `schedule` is written beside
    what follows (0: there is but one); nothing is written of schedule None.
    """

    def __init__(self, path: Path, process: str, role: str, clock: WorldClock | None = None) -> None:
        """Create the file and say that the process is alive; or go on with the file of one of this name that was killed.

        Times are of the `clock`, where it may be moved.
        """
        self._path = path
        self._process = process
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._op = 0
        self.clock = clock
        self._now_ns = now_ns = time.monotonic_ns if clock is None else clock.now_ns
        self.schedule: int | None = 0
        if not os.fstat(self._fd).st_size:
            self._write({"e": "process", "process": process, "role": role, "pid": os.getpid(), "t": now_ns()})

    def of_thread(self, number: int) -> Recorder:
        """Make the recorder of a thread: of the process `<process>.<number>`, in a file of its own."""
        name = f"{self._process}.{number}"
        return Recorder(self._path.with_name(f"{name}.ndjson"), name, "thread")

    def _write(self, event: dict[str, Any]) -> None:
        if self.schedule is None:
            return
        if self.schedule:
            event["schedule"] = self.schedule
        line = orjson.dumps(event, default=str, option=orjson.OPT_APPEND_NEWLINE)
        written = os.write(self._fd, line)
        while written < len(line):  # a nearly full disk or a signal may cut a write short
            written += os.write(self._fd, line[written:])

    def invoke(self, kind: str, phase: Phase, **fields: Any) -> int:
        """Say what is about to be done; gives the number to say the outcome under."""
        self._op += 1
        op = self._op
        self._write({"e": "invoke", "op": op, "kind": kind, "phase": phase, **fields, "t": self._now_ns()})
        return op

    def ok(self, op: int, **fields: Any) -> None:
        """Say that it happened, and the answer."""
        self._write({"e": "ok", "op": op, "t": self._now_ns(), **fields})

    def failed(self, op: int, failure: Failure) -> None:
        """Say that it did not happen (fail) or that nobody can tell (info)."""
        error = {
            "kind": failure.kind,
            "class": failure.error_class,
            "code": failure.code,
            "message": failure.message,
        }
        self._write({"e": failure.outcome, "op": op, "t": self._now_ns(), "error": error})

    @contextmanager
    def harm(self, kind: str, processes: Sequence[str], **told: Any) -> Iterator[None]:
        """Say that harm is done to processes, as an operation that names them, while the context lasts; what is `told` stands with both."""
        op = self.invoke(kind, "main", jobs=list(processes), requested=len(processes), **told)
        yield
        self.ok(op, jobs=list(processes), **told)

    def end(self, how: str = "done") -> None:
        """Say that the process ends as it meant to, and close the file."""
        self._write({"e": "end", "t": time.monotonic_ns(), "how": how})
        os.close(self._fd)


def read_job(job: object, where: str) -> JobId:
    """Check a job id: an int of at most 64 bits or a str."""
    if isinstance(job, str) or (isinstance(job, int) and not isinstance(job, bool) and -(2**63) <= job < 2**63):
        return job
    raise MalformedAnswer(
        f"{where} gave the job id {_quote(job)}; expected an int of at most 64 bits or a str. Convert it, for example with str()."
    )


def read_handle(given: object, where: str) -> Handle:
    """Read one claimed job: the id itself, or an object or dict with `job` and perhaps `token` and `attempt`."""
    if isinstance(given, str | int):
        return Handle(read_job(given, where), given=given)
    if isinstance(given, Mapping) or (hasattr(given, "keys") and hasattr(given, "__getitem__")):
        present = set(given.keys())
        fields = {name: given[name] for name in ("job", "token", "attempt") if name in present}
    else:
        fields = {name: getattr(given, name) for name in ("job", "token", "attempt") if hasattr(given, name)}
    if "job" not in fields:
        raise MalformedAnswer(
            f"{where} gave {_quote(given)}; expected the job's id, or an object or dict with `job` (and `token`, `attempt`)."
        )
    attempt = fields.get("attempt")
    if attempt is not None and (not isinstance(attempt, int) or isinstance(attempt, bool)):
        raise MalformedAnswer(f"{where} gave the attempt {_quote(attempt)}; expected an int counting from 1.")
    return Handle(read_job(fields["job"], where), fields.get("token"), attempt, given)


def read_claim(answer: object) -> tuple[Handle, ...]:
    """Read the answer of `claim`: a list of handles, empty where there is nothing to do."""
    if not isinstance(answer, list | tuple):
        raise MalformedAnswer(
            f"claim returned {_quote(answer)}; expected a list with one handle per claimed job. "
            "Return [] when there is nothing to claim."
        )
    return tuple(read_handle(given, "claim") for given in answer)


def read_enqueue(answer: object, jobs: int) -> tuple[Handle, ...]:
    """Read the answer of `enqueue`: one id per job, in order, no two alike."""
    if not isinstance(answer, list | tuple) or len(answer) != jobs:
        raise MalformedAnswer(
            f"enqueue of {jobs} jobs returned {_quote(answer)}; expected a list of {jobs} ids, one per job, in order."
        )
    handles = tuple(Handle(read_job(given, "enqueue"), given=given) for given in answer)
    if len({handle.job for handle in handles}) != jobs:
        raise MalformedAnswer(f"enqueue of {jobs} jobs returned an id twice; expected one id of its own per job.")
    return handles


def read_fraction(answer: object) -> float | None:
    """Read the answer of `read_progress`: a number from 0 to 1, or None before the first report."""
    if answer is None:
        return None
    if isinstance(answer, int | float) and not isinstance(answer, bool) and 0 <= answer <= 1:
        return float(answer)
    raise MalformedAnswer(f"read_progress returned {_quote(answer)}; expected a number from 0 to 1, or None.")


def read_count(answer: object, where: str, what: str = "rows it deleted") -> int:
    """Read a number of rows."""
    if isinstance(answer, int) and not isinstance(answer, bool) and answer >= 0:
        return answer
    raise MalformedAnswer(f"{where} returned {_quote(answer)}; expected the number of {what}, an int from 0.")


def read_counts(answer: object, where: str) -> dict[str, int]:
    """Read numbers of rows by kind."""
    if not isinstance(answer, Mapping):
        raise MalformedAnswer(f"{where} returned {_quote(answer)}; expected a dict of the rows deleted by kind.")
    return {str(kind): read_count(count, where) for kind, count in answer.items()}


def read_run_of(answer: object) -> tuple[Handle, ...] | None:
    """Read the answer of `read_run`: the jobs of a run, or None where there is no such run."""
    if answer is None:
        return None
    if not isinstance(answer, Mapping) or not isinstance(answer.get("jobs"), list | tuple):
        raise MalformedAnswer(f'read_run returned {_quote(answer)}; expected {{"run": id, "jobs": [ids]}} or None.')
    return tuple(Handle(read_job(job, "read_run"), given=job) for job in answer["jobs"])


def read_status(answer: object) -> tuple[list[JobId], list[dict[str, Any]]]:
    """Read the answer of `status_all`: the jobs listed, and for each run how many of them are its own and whether it is listed itself.

    A row with a `job` is a job; one without is a run, by its `run`. A system that lists no runs lists none: then all are.
    """
    rows = answer if isinstance(answer, list | tuple) else [answer]
    jobs: list[JobId] = []
    own: dict[JobId, int] = {}
    listed: set[JobId] = set()
    for row in rows:
        if not isinstance(row, Mapping) or (row.get("job") is None and row.get("run") is None):
            raise MalformedAnswer(
                f"status_all returned {_quote(row)}; expected a list of dicts, each with `job` (and `run`), or with `run` alone."
            )
        run = None if row.get("run") is None else read_job(row["run"], "status_all")
        if row.get("job") is None:
            listed.add(run)  # type: ignore[arg-type]  # one of the two is there
            own.setdefault(run, 0)  # type: ignore[arg-type]  # as above
        else:
            jobs.append(read_job(row["job"], "status_all"))
            if run is not None:
                own[run] = own.get(run, 0) + 1
    return jobs, [{"run": run, "jobs": count, "listed": run in listed or not listed} for run, count in own.items()]


def _quote(answer: object) -> str:
    text = repr(answer)
    return f"{text if len(text) <= 80 else text[:77] + '…'} ({type(answer).__name__})"


def accepted_positions(answer: object, handles: Sequence[Handle]) -> list[int] | None:
    """Read which handles a complete, fail or heartbeat accepted; None means all.

    A list or tuple made of handles that were given (or of their ids) names those accepted; any other answer means all of them.
    """
    if not isinstance(answer, list | tuple):
        return None
    left = {id(handle.given): place for place, handle in enumerate(handles)}
    by_job = {handle.job: place for place, handle in enumerate(handles)}
    positions = []
    for given in answer:
        place = left.get(id(given))
        if place is None:
            try:
                place = by_job.get(read_handle(given, "complete").job)
            except MalformedAnswer:
                return None
        if place is None:
            return None
        positions.append(place)
    return sorted(set(positions))


def interrupted(error: BaseException) -> Failure:
    """The failure of a call that something from outside ended."""
    return Failure("info", "other", type(error).__name__, None, "interrupted from outside")


class RecordedSystem:
    """A system under test with every call recorded and every answer checked: the `Client` of a program.

    An `interruption` is raised in a call from outside: it is recorded, as nobody knows what the call did, and goes on.

    Raises `MalformedAnswer`, after recording it, when the system breaks its contract; every other error is an outcome.
    """

    interruption: ClassVar[tuple[type[BaseException], ...]] = (KeyboardInterrupt,)

    def __init__(
        self,
        recorder: Recorder,
        process: str,
        build: Callable[[], Any],
        *,
        seed: int = 0,
        tally: Any = None,
        notice: Callable[[str, int, Reply], None] | None = None,
        turnstile: Turnstile | None = None,
        over: Any = None,
        skew: PythonClock | None = None,
    ) -> None:
        """`build` makes the system in this process; `tally` is a shared counter of finished jobs; `notice` is told of each call.

        It gets the kind, when it began (monotonic nanoseconds) and the reply, after both are recorded. The `turnstile` holds
        each call back before anything of it is recorded; then it follows the recorder's clock, where that was moved. `over` is a shared
        flag that says that programs are to end; `skew` a clock of this process that may be wrong.
        """
        self.process = process
        self.phase: Phase = "main"
        self.rng = random.Random(f"{seed}/{process}")  # noqa: S311  # repeatable, not secret
        self._recorder = recorder
        self._build = build
        self._seed = seed
        self._tally = tally
        self._notice = notice
        self._turnstile = turnstile
        self._clock = recorder.clock
        self._over, self._skew = over, skew
        self._system: Any = None
        self._threads: list[RecordedSystem] = []

    @property
    def built(self) -> bool:
        """Whether the system stands in this process."""
        return self._system is not None

    def build(self) -> None:
        """Build the system without recording it; whatever the constructor raises is raised."""
        self._system = self._build()

    def open(self) -> Reply:
        """Build the system as an operation `open`."""
        return self._call("open", {}, self._nothing(self.build))

    def halt(self) -> None:
        """Have a system that runs a loop of its own stop it, and record what it hands over until it has as done."""
        while isinstance(self._system, Pulled) and self._system.running:
            if self._call("halt", {}, self._nothing(self._system.halt)).outcome == "ok" and self._system.waiting:
                self.complete(self.claim(1).handles)

    def close(self) -> Reply | None:
        """Close the system where it can be closed; an error while closing is recorded as an operation `close`."""
        self.halt()
        if self._system is not None and hasattr(self._system, "close"):
            system, self._system = self._system, None
            return self._call("close", {}, self._nothing(system.close))
        return None

    @staticmethod
    def _nothing(call: Callable[[], object]) -> Callable[[], tuple[Handle, ...]]:
        """Make a call that answers with no handles, whatever it returned."""

        def answer() -> tuple[Handle, ...]:
            call()
            return ()

        return answer

    def _call(
        self,
        kind: str,
        fields: dict[str, Any],
        call: Callable[[], tuple[Handle, ...]],
        extra: Callable[[], dict[str, Any]] = dict,
    ) -> Reply:
        self._before(kind)
        began = time.monotonic_ns()
        op = self._recorder.invoke(kind, self.phase, **fields)
        if self._clock is not None:  # only now, as it may be moved at any time by another that nobody holds
            self._clock.sync()
        try:
            handles = call()
        except MalformedAnswer as error:
            self._recorder.failed(op, Failure("info", "malformed", "harness.errors.MalformedAnswer", None, str(error)))
            raise
        except self.interruption as error:
            self._recorder.failed(op, interrupted(error))
            raise
        except BaseException as error:  # noqa: BLE001  # even SystemExit from a system is its answer, never ours
            failure = classify(error)
            self._recorder.failed(op, failure)
            return self._noticed(
                kind, began, Reply(failure.outcome, problem=f"{failure.error_class}: {failure.message}")
            )
        told = extra()
        self._recorder.ok(op, **told)
        return self._noticed(kind, began, Reply("ok", handles, value=told.get("value")))

    def _noticed(self, kind: str, began_ns: int, reply: Reply) -> Reply:
        if self._notice is not None:
            self._notice(kind, began_ns, reply)
        if self._turnstile is not None:
            self._turnstile.answered(kind, reply)
        return reply

    def _ask(self, kind: str, fields: dict[str, Any], call: Callable[[], tuple[Reply, dict[str, Any]]]) -> Reply:
        """As `_call`, of an answer that is more than handles: `call` gives the reply and what is recorded of it."""
        found: tuple[Reply, dict[str, Any]] | None = None

        def answer() -> tuple[Handle, ...]:
            nonlocal found
            found = call()
            return found[0].handles

        reply = self._call(kind, fields, answer, lambda: found[1] if found else {})
        return found[0] if found and reply.outcome == "ok" else reply

    def follow(self, program: Program, arguments: Mapping[str, Any]) -> int:
        """Run a program once for each schedule the turnstile is told of, recorded as it says; gives how many there were.

        A generator is run up to its `yield`, and from there on in the quiet phase: what comes after is not explored. It is left there
        where another schedule begins instead, as one that diverged is not gone on with.
        """
        turnstile = self._turnstile
        assert turnstile is not None  # noqa: S101  # only an explored process is asked
        followed = 0
        rest: Iterator[object] | None = None
        over = object()
        turnstile.ready()
        while (told := turnstile.next_schedule()) is not None:
            self._recorder.schedule = told.number
            self.phase = told.phase
            problem = ""
            try:
                if rest is None or told.phase == "main":
                    run: Any = program(self, **arguments, **told.arguments)
                    rest = run if inspect.isgenerator(run) else iter(())
                    followed += 1
                rest = rest if next(rest, over) is None else None
            except MalformedAnswer as error:
                problem = str(error)
            except Exception as error:  # noqa: BLE001  # whatever ended it is told, in words, and never a pass
                problem = f"{type(error).__name__}: {error}"[:500]
            if problem:
                rest = None
            self._recorder.schedule = 0
            turnstile.done(problem, more=rest is not None)
        return followed

    def unrecorded(self) -> Any:
        """Give the system itself, for a timed block: what is called on it is neither recorded nor checked."""
        return self._system

    def offers(self, capability: str) -> bool:
        """Whether the system has this method."""
        return callable(getattr(self._system, capability, None))

    def threads(self, number: int) -> Sequence[RecordedSystem]:
        """Give that many clients of the same system, each for one thread at a time; the same ones when asked again."""
        while len(self._threads) < number:
            place = len(self._threads)
            recorder = self._recorder.of_thread(place)
            one = RecordedSystem(
                recorder, f"{self.process}.{place}", self._build, seed=self._seed, tally=self._tally, over=self._over
            )
            self._threads.append(one)
        for one in self._threads[:number]:
            one.share(self)
            one.phase = self.phase
        return self._threads[:number]

    def share(self, other: RecordedSystem) -> None:
        """Use the system that stands in another client of this process, as a thread of it does."""
        self._system = other._system

    def end(self) -> None:
        """Say that the process ends as it meant to, and its threads with it."""
        for one in self._threads:
            one._recorder.end()
        self._recorder.end()

    def install(self) -> Reply:
        """Make the system's tables."""
        return self._call("install", {}, self._nothing(self._system.install))

    def enqueue(self, jobs: Sequence[dict[str, Any]]) -> Reply:
        """Add jobs; the reply's handles carry their ids in order."""
        given = [dict(job) for job in jobs]
        found: tuple[Handle, ...] = ()

        def call() -> tuple[Handle, ...]:
            nonlocal found
            found = read_enqueue(self._system.enqueue(given), len(given))
            return found

        fields = {"requested": len(given), "priorities": [job.get("priority", 0) for job in jobs]}
        return self._call("enqueue", fields, call, lambda: {"jobs": [handle.job for handle in found]})

    def claim(self, limit: int) -> Reply:
        """Claim at most `limit` jobs. The one call that is timed to the microsecond, so it is written out straight."""
        recorder = self._recorder
        claim = self._system.claim
        self._before("claim")
        began = time.monotonic_ns()
        op = recorder.invoke("claim", self.phase, requested=limit)
        if self._clock is not None:  # see _call
            self._clock.sync()
        try:
            handles = read_claim(claim(self.process, limit))
        except MalformedAnswer as error:
            recorder.failed(op, Failure("info", "malformed", "harness.errors.MalformedAnswer", None, str(error)))
            raise
        except self.interruption as error:
            recorder.failed(op, interrupted(error))
            raise
        except BaseException as error:  # noqa: BLE001  # as in _call
            failure = classify(error)
            recorder.failed(op, failure)
            return self._noticed(
                "claim", began, Reply(failure.outcome, problem=f"{failure.error_class}: {failure.message}")
            )
        recorder.ok(
            op,
            jobs=[handle.job for handle in handles],
            tokens=[handle.token for handle in handles],
            attempts=[handle.attempt for handle in handles],
        )
        return self._noticed("claim", began, Reply("ok", handles))

    def complete(self, handles: Iterable[Handle]) -> Reply:
        """Complete claimed jobs; the reply's handles are those accepted."""
        return self._finish("complete", tuple(handles))

    def fail(self, handles: Iterable[Handle]) -> Reply:
        """Give claimed jobs back; the reply's handles are those accepted."""
        return self._finish("fail", tuple(handles))

    def heartbeat(self, handles: Iterable[Handle]) -> Reply:
        """Extend the leases of claimed jobs; the reply's handles are those still held."""
        return self._finish("heartbeat", tuple(handles))

    def recover(self) -> Reply:
        """Have jobs made claimable again whose lease has run out; the reply's value is how many."""

        def call() -> tuple[Reply, dict[str, Any]]:
            count = read_count(self._system.recover(), "recover", "jobs made claimable again")
            return Reply("ok", value=count), {"returned": count}

        return self._ask("recover", {}, call)

    def let_pass(self, seconds: float, *, moved: bool) -> None:
        """Let time pass for the whole run: by moving its clock, or by waiting."""
        assert self._clock is not None  # noqa: S101  # only where time may be moved is it asked
        if self._turnstile is not None:
            self._turnstile.operation("wait")
        op = self._recorder.invoke("wait", self.phase, value=seconds)
        if moved:
            self._clock.let_pass(seconds)
        else:
            time.sleep(seconds)
        self._recorder.ok(op)

    @contextmanager
    def ahead(self, seconds: float) -> Iterator[None]:
        """Move the run's clock ahead for a while, unrecorded."""
        assert self._clock is not None  # noqa: S101  # as above
        self._clock.let_pass(seconds)
        try:
            yield
        finally:
            self._clock.let_pass(-seconds)

    def _before(self, kind: str) -> None:
        if self._turnstile is not None:
            self._turnstile.operation(kind)
        if self._skew is not None:
            self._skew.sync()

    def _finish(self, kind: str, handles: tuple[Handle, ...]) -> Reply:
        positions: list[int] | None = None

        def call() -> tuple[Handle, ...]:
            nonlocal positions
            answer = getattr(self._system, kind)(self.process, [handle.given for handle in handles])
            positions = accepted_positions(answer, handles)
            return handles if positions is None else tuple(handles[place] for place in positions)

        fields = {
            "requested": len(handles),
            "jobs": [handle.job for handle in handles],
            "tokens": [handle.token for handle in handles],
        }
        return self._call(kind, fields, call, lambda: {} if positions is None else {"accepted": positions})

    def report_progress(self, job: JobId, fraction: float) -> Reply:
        """Tell that `fraction` of a job is done."""
        return self._call(
            "report_progress",
            {"jobs": [job], "value": fraction},
            self._nothing(lambda: self._system.report_progress(job, fraction)),
        )

    def flush_progress(self, job: JobId | None = None) -> Reply:
        """Have what was reported of a job, or of all, written."""
        fields = {} if job is None else {"jobs": [job]}
        return self._call("flush_progress", fields, self._nothing(lambda: self._system.flush_progress(job)))

    def read_progress(self, job: JobId) -> Reply:
        """Read what a screen would show of a job."""

        def call() -> tuple[Reply, dict[str, Any]]:
            fraction = read_fraction(self._system.read_progress(job))
            return Reply("ok", value=fraction), {"value": fraction}

        return self._ask("read_progress", {"jobs": [job]}, call)

    def submit_run(self, tag: str, jobs: Sequence[dict[str, Any]]) -> Reply:
        """Submit a run with its jobs."""
        given = [dict(job) for job in jobs]

        def call() -> tuple[Reply, dict[str, Any]]:
            run = read_job(self._system.submit_run(tag, given), "submit_run")
            return Reply("ok", value=run), {"value": {"run": run}}

        return self._ask("submit_run", {"requested": len(given)}, call)

    def read_run(self, run: JobId) -> Reply:
        """Read a run and the ids of its jobs."""

        def call() -> tuple[Reply, dict[str, Any]]:
            jobs = read_run_of(self._system.read_run(run))
            number = None if jobs is None else len(jobs)
            told = {"jobs": [handle.job for handle in jobs or ()], "value": {"run": run, "jobs": number}}
            return Reply("ok", jobs or (), value=jobs is not None), told

        return self._ask("read_run", {"value": {"run": run}}, call)

    def add_actions(self, job: JobId, names: Sequence[str]) -> Reply:
        """Add actions to a job."""

        def call() -> tuple[Reply, dict[str, Any]]:
            ids = [handle.job for handle in read_enqueue(self._system.add_actions(job, list(names)), len(names))]
            return Reply("ok", value=ids), {"jobs": [{"action": each} for each in ids], "value": {"job": job}}

        return self._ask("add_actions", {"requested": len(names)}, call)

    def delete_many(self, kind: str, ids: Sequence[JobId], *, lazily: bool = False) -> Reply:
        """Delete jobs, runs or actions by their ids."""
        named = ids if kind == "jobs" else [{kind.removesuffix("s"): each} for each in ids]

        def call() -> tuple[Reply, dict[str, Any]]:
            given = (each for each in ids) if lazily else list(ids)
            deleted = read_count(self._system.delete_many(kind, given), "delete_many")
            return Reply("ok", value=deleted), {"value": {"kind": kind, "deleted": deleted}}

        fields = {"requested": len(ids), "jobs": list(named), "value": {"kind": kind}}
        return self._ask("delete_many", fields, call)

    def clean_by_tag(self, tag: str) -> Reply:
        """Delete what is not running of a tag."""
        return self._clean("clean_by_tag", lambda: self._system.clean_by_tag(tag))

    def wipe_all(self) -> Reply:
        """Delete everything that is not running."""
        return self._clean("wipe_all", lambda: self._system.wipe_all())  # noqa: PLW0108  # looked up where a failure is recorded

    def _clean(self, kind: str, clean: Callable[[], object]) -> Reply:
        def call() -> tuple[Reply, dict[str, Any]]:
            counts = read_counts(clean(), kind)
            return Reply("ok", value=counts), {"value": counts, "returned": sum(counts.values())}

        return self._ask(kind, {}, call)

    def status_all(self) -> Reply:
        """Read every job and run."""

        def call() -> tuple[Reply, dict[str, Any]]:
            jobs, runs = read_status(self._system.status_all())
            return Reply("ok", tuple(Handle(job) for job in jobs), value=runs), {"jobs": jobs, "value": {"runs": runs}}

        return self._ask("status_all", {}, call)

    @contextmanager
    def work_on(self, job: JobId) -> Iterator[None]:
        """Mark what happens inside as the work on one job."""
        op = self._recorder.invoke("scan", self.phase, jobs=[job])
        yield
        self._recorder.ok(op)

    @contextmanager
    def round(self, requested: int) -> Iterator[list[Handle]]:
        """Mark what happens inside as one round of `requested` jobs; the list is filled with what was obtained."""
        obtained: list[Handle] = []
        op = self._recorder.invoke("round", self.phase, requested=requested)
        yield obtained
        self._recorder.ok(op, returned=len(obtained))

    def pause(self, seconds: float) -> None:
        """Wait, as work or a poll interval would."""
        time.sleep(seconds)

    def advance(self, jobs: int) -> None:
        """Count finished jobs where every process can see it; not at all where none is to see it."""
        if self._tally is None:
            return
        with self._tally.get_lock():
            self._tally.value += jobs

    def over(self) -> bool:
        """Whether programs that go on until they are told are told to end."""
        return self._over is not None and bool(self._over.value)

    def finished(self) -> int:
        """How many jobs all processes together have finished."""
        return int(self._tally.value)


def build_system(factory: Callable[..., Any], url: str, options: Mapping[str, Any]) -> Any:
    """Call a system's constructor with its URL and as many of the scenario's options as it takes; one with a loop is `Pulled`."""
    parameters = inspect.signature(factory).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    taken = {name: value for name, value in options.items() if takes_all or name in parameters}
    system = factory(url, **taken)
    return system if hasattr(system, "claim") or not hasattr(system, LOOP) else Pulled(system)
