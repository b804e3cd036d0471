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
from typing import Any

import orjson

from harness.errors import MalformedAnswer
from harness.history import Phase
from harness.outcome import Failure, classify
from harness.protocols import Handle, JobId
from harness.scenario import Reply


class Recorder:
    """Appends the events of one process to one NDJSON file; the shapes are in `harness.history`.

    Not for several threads: each thread that records owns a recorder of its own.
    """

    def __init__(self, path: Path, process: str, role: str) -> None:
        """Create (or go on with) the file and say that the process is alive."""
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._op = 0
        self._write({"e": "process", "process": process, "role": role, "pid": os.getpid(), "t": time.monotonic_ns()})

    def _write(self, event: dict[str, Any]) -> None:
        line = orjson.dumps(event, default=str, option=orjson.OPT_APPEND_NEWLINE)
        written = os.write(self._fd, line)
        while written < len(line):  # a nearly full disk or a signal may cut a write short
            written += os.write(self._fd, line[written:])

    def invoke(self, kind: str, phase: Phase, **fields: Any) -> int:
        """Say what is about to be done; gives the number to say the outcome under."""
        self._op += 1
        op = self._op
        self._write({"e": "invoke", "op": op, "kind": kind, "phase": phase, **fields, "t": time.monotonic_ns()})
        return op

    def ok(self, op: int, **fields: Any) -> None:
        """Say that it happened, and the answer."""
        self._write({"e": "ok", "op": op, "t": time.monotonic_ns(), **fields})

    def failed(self, op: int, failure: Failure) -> None:
        """Say that it did not happen (fail) or that nobody can tell (info)."""
        error = {
            "kind": failure.kind,
            "class": failure.error_class,
            "code": failure.code,
            "message": failure.message,
        }
        self._write({"e": failure.outcome, "op": op, "t": time.monotonic_ns(), "error": error})

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


class RecordedSystem:
    """A system under test with every call recorded and every answer checked: the `Client` of a program.

    Raises `MalformedAnswer`, after recording it, when the system breaks its contract; every other error is an outcome.
    """

    def __init__(
        self, recorder: Recorder, process: str, build: Callable[[], Any], *, seed: int = 0, tally: Any = None
    ) -> None:
        """`build` makes the system in this process; `tally` is a shared counter of finished jobs."""
        self.process = process
        self.phase: Phase = "main"
        self.rng = random.Random(f"{seed}/{process}")  # noqa: S311  # repeatable, not secret
        self._recorder = recorder
        self._build = build
        self._tally = tally
        self._system: Any = None

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

    def close(self) -> None:
        """Close the system where it can be closed; an error while closing is recorded as an operation `close`."""
        if self._system is not None and hasattr(self._system, "close"):
            system, self._system = self._system, None
            self._call("close", {}, self._nothing(system.close))

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
        op = self._recorder.invoke(kind, self.phase, **fields)
        try:
            handles = call()
        except MalformedAnswer as error:
            self._recorder.failed(op, Failure("info", "malformed", "harness.errors.MalformedAnswer", None, str(error)))
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # even SystemExit from a system is its answer, never ours
            failure = classify(error)
            self._recorder.failed(op, failure)
            return Reply(failure.outcome, problem=f"{failure.error_class}: {failure.message}")
        self._recorder.ok(op, **extra())
        return Reply("ok", handles)

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
        op = recorder.invoke("claim", self.phase, requested=limit)
        try:
            handles = read_claim(claim(self.process, limit))
        except MalformedAnswer as error:
            recorder.failed(op, Failure("info", "malformed", "harness.errors.MalformedAnswer", None, str(error)))
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # as in _call
            failure = classify(error)
            recorder.failed(op, failure)
            return Reply(failure.outcome, problem=f"{failure.error_class}: {failure.message}")
        recorder.ok(
            op,
            jobs=[handle.job for handle in handles],
            tokens=[handle.token for handle in handles],
            attempts=[handle.attempt for handle in handles],
        )
        return Reply("ok", handles)

    def complete(self, handles: Iterable[Handle]) -> Reply:
        """Complete claimed jobs; the reply's handles are those accepted."""
        return self._finish("complete", tuple(handles))

    def fail(self, handles: Iterable[Handle]) -> Reply:
        """Give claimed jobs back; the reply's handles are those accepted."""
        return self._finish("fail", tuple(handles))

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

    @contextmanager
    def round(self, requested: int) -> Iterator[list[Handle]]:
        """Mark what happens inside as one round of `requested` jobs; the list is filled with what was obtained."""
        obtained: list[Handle] = []
        op = self._recorder.invoke("round", self.phase, requested=requested)
        yield obtained
        self._recorder.ok(op, jobs=[handle.job for handle in obtained])

    def pause(self, seconds: float) -> None:
        """Wait, as work or a poll interval would."""
        time.sleep(seconds)

    def advance(self, jobs: int) -> None:
        """Count finished jobs where every process can see it."""
        with self._tally.get_lock():
            self._tally.value += jobs

    def finished(self) -> int:
        """How many jobs all processes together have finished."""
        return int(self._tally.value)


def build_system(factory: Callable[..., Any], url: str, options: Mapping[str, Any]) -> Any:
    """Call a system's constructor with its URL and as many of the scenario's options as it takes."""
    parameters = inspect.signature(factory).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    taken = {name: value for name, value in options.items() if takes_all or name in parameters}
    return factory(url, **taken)
