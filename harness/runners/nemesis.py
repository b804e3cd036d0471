"""The nemesis (Jepsen's word): whoever does harm in a run, on purpose, and writes it down as a process of that name.

Harm is aimed. `inside` names an operation: the worker is stopped by a brake in the first statement it begins in such an operation, then
the harm is done, then the brake let go. Where there is no brake (a SQLite file opened by a program of another language), and for a kill
some time into an operation, the worker is met in it at a random moment: stopped by a signal, and looked at once more. So it is where
it is to be harmed with a job in hand.
"""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson

from harness import signals
from harness.errors import FaultMissed, RunAbandoned
from harness.levers import Levers
from harness.processes import Crew
from harness.protocols import Fault, Network, Server
from harness.recorder import Recorder
from harness.scenario import ANY, HOLDING

INSIDE_SECONDS: Final = 30.0  # how long a process may take to come to the operation it is to be harmed in
LOOK_SECONDS: Final = 0.0002  # between two looks at what it is doing
_WITHOUT_BRAKE: Final = 20  # operations that were met while a brake was on, and did not stop: there is none


class Ledger:
    """What processes and their threads have written down: what they are in the middle of, and whose each job is."""

    def __init__(self, events: Path) -> None:
        self._events = events
        self._read: dict[Path, int] = {}
        self._kinds: dict[tuple[Path, int], str] = {}
        self._holders: dict[str, str] = {}
        self.ended: dict[str, int] = {}  # operations of each process

    def now(self, name: str) -> set[str]:
        """The kinds of the operations that a process has begun and not ended."""
        self._catch_up(name)
        return {kind for (file, _), kind in self._kinds.items() if _process(file) == name}

    def held_by(self, name: str) -> set[str]:
        """The jobs it was the last to be handed, and has not set out to complete or give back."""
        self._catch_up("")
        return {job for job, holder in self._holders.items() if holder == name}

    def is_in(self, name: str, inside: str) -> bool:
        """Whether a process is in an operation of this kind; `ANY`: of whichever, `HOLDING`: or has a job in hand."""
        if inside == HOLDING:
            return bool(self.held_by(name))
        kinds = self.now(name)
        return inside in kinds or (inside == ANY and bool(kinds))

    def _catch_up(self, name: str) -> None:
        """Take note of what is new of one process, or of all, in the order it happened: a job goes from hand to hand."""
        new: list[tuple[int, Path, dict[str, object]]] = []
        for file in self._events.glob(f"{name}*.ndjson"):
            if name not in ("", _process(file)):
                continue
            with file.open("rb") as events:
                events.seek(self._read.get(file, 0))
                whole, _, _ = events.read().rpartition(b"\n")
            self._read[file] = self._read.get(file, 0) + len(whole) + bool(whole)
            for line in whole.splitlines():
                # What else it wrote there is for merging to complain of.
                with contextlib.suppress(orjson.JSONDecodeError, KeyError, TypeError):
                    event = orjson.loads(line)
                    new.append((int(event["t"]), file, event))
        for _, file, event in sorted(new, key=lambda each: each[0]):
            self._note(file, event)

    def _note(self, file: Path, event: dict[str, object]) -> None:
        if "op" not in event:
            return
        key, process = (file, int(str(event["op"]))), _process(file)
        listed = event.get("jobs")
        jobs = [str(job) for job in listed] if isinstance(listed, list) else []
        if event["e"] == "invoke":
            self._kinds[key] = str(event["kind"])
            if event["kind"] in ("complete", "fail"):
                for job in jobs:
                    if self._holders.get(job) == process:
                        del self._holders[job]
            return
        kind = self._kinds.pop(key, "")
        self.ended[process] = self.ended.get(process, 0) + 1
        if kind == "claim" and event["e"] == "ok":
            self._holders.update(dict.fromkeys(jobs, process))


def _process(file: Path) -> str:
    return file.name.partition(".")[0]


@dataclass
class Nemesis:
    """Does harm to the workers of `crew` and to their database: the `Site` of every fault."""

    crew: Crew
    database: str
    url: str
    server: Server
    network: Network | None
    rng: random.Random
    faults: Mapping[str, Fault]
    everybody: Sequence[str]  # whose database it is
    _levers: Mapping[str, Levers]
    closed: bool = False  # the workers speak for commands: nothing can be changed inside them
    _recorder: Recorder | None = field(default=None, init=False)
    _stopped: Counter[str] = field(default_factory=Counter, init=False)  # how often, by each worker

    @property
    def recorder(self) -> Recorder:
        """Writes down what it does; its file is made when it is first asked for."""
        if self._recorder is None:
            self._recorder = Recorder(self.crew.folder / "events" / "nemesis.ndjson", "nemesis", "nemesis")
        return self._recorder

    def end(self) -> None:
        """Do no more harm."""
        if self._recorder is not None:
            self._recorder.end()

    def pid(self, worker: str) -> int:
        """The worker's process, by id."""
        return self.crew.pid(worker)

    def kill(self, worker: str) -> None:
        """SIGKILL it; returns when it is dead."""
        self.crew.kill(worker)

    @contextmanager
    def stopped(self, worker: str) -> Iterator[None]:
        """Keep it stopped (SIGSTOP) while the context lasts, whoever else does, and the command it speaks for."""
        with self._kept(worker):
            try:
                if self.closed:
                    signals.tell_group(self.crew.pid(worker), signal.SIGSTOP)
                yield
            finally:
                if self.closed:
                    signals.tell_group(self.crew.pid(worker), signal.SIGCONT)

    @contextmanager
    def _kept(self, worker: str) -> Iterator[None]:
        """As `stopped`, of the process alone: a command may hold a lock, and ends what it was asked, but is not heard."""
        if not self._stopped[worker]:
            signals.stop(self.crew.pid(worker))
        self._stopped[worker] += 1
        try:
            yield
        finally:
            self._stopped[worker] -= 1
            if not self._stopped[worker]:
                signals.go_on([self.crew.pid(worker)])

    def levers(self, worker: str) -> Levers:
        """What can be changed inside it."""
        return self._levers[worker]

    @property
    def _brakeless(self) -> bool:
        return self.closed and self.network is None

    def missing(self, name: str) -> str | None:
        """Why a fault cannot be done here, or None."""
        return self.faults[name].missing(self)

    @contextmanager
    def strike(
        self, name: str, workers: Sequence[str], inside: str | None, within_seconds: float | None = None
    ) -> Iterator[None]:
        """Do the harm of that name to these workers, or to everybody's database; on leaving, it is healed.

        With `inside`, each of them is in such an operation when it is struck: before a statement, or with `within_seconds` at a random
        moment after it was first seen in one, at most so much later. Raises `FaultMissed`.
        """
        fault = self.faults[name]
        harmed = list(workers) if fault.workers else []
        with ExitStack() as healing, ExitStack() as braked:
            for worker in workers if inside else ():
                braked.enter_context(
                    self._held(worker, str(inside))
                    if within_seconds is None
                    else self.met(
                        worker,
                        str(inside),
                        time.monotonic() + INSIDE_SECONDS,
                        self.rng.uniform(0, within_seconds),
                    )
                )
            if not harmed and any(self._stopped.values()):
                braked.close()  # by a signal: it may hold the very lock that a harm to the database is to take
            aimed = {"fault": fault.name, "inside": inside}
            healing.enter_context(self.recorder.harm(fault.kind, harmed, value=aimed))
            healing.enter_context(fault.strike(self, harmed or self.everybody))
            braked.close()
            yield

    @contextmanager
    def _held(self, worker: str, inside: str) -> Iterator[None]:
        """Hold a worker inside an operation of this kind, before a statement if that can be."""
        ledger, until = Ledger(self.crew.folder / "events"), time.monotonic() + INSIDE_SECONDS
        try:
            while not (self._brakeless or inside == HOLDING) and self._stops(worker, ledger, until):
                if ledger.is_in(worker, inside):
                    yield
                    return
                self._brake(worker, on=False)
                time.sleep(LOOK_SECONDS)
        finally:
            self._brake(worker, on=False)
        with self.met(worker, inside, until):
            yield

    def _stops(self, worker: str, ledger: Ledger, until: float) -> bool:
        """Put the brake on, and wait until it holds; false where it does not work on this worker."""
        ledger.now(worker)
        before = ledger.ended.get(worker, 0)
        self._brake(worker, on=True)
        while not self._braked(worker):
            self._see_at_work(worker, ledger)
            if ledger.ended.get(worker, 0) - before > _WITHOUT_BRAKE or time.monotonic() > until:
                return False
            time.sleep(LOOK_SECONDS)
        return True

    def _see_at_work(self, worker: str, ledger: Ledger) -> None:
        """Take note of what a worker is in the middle of. Raises `FaultMissed` where it has come to its end."""
        if not self.crew.at_work(worker):
            raise FaultMissed(f"{worker} had come to its end before it could be harmed.")
        ledger.now(worker)

    def _brake(self, worker: str, *, on: bool) -> None:
        if self.network is None:
            self._levers[worker].pull(on=on)
        else:
            self.network.brake(worker, on=on)

    def _braked(self, worker: str) -> bool:
        return self._levers[worker].holds() if self.network is None else self.network.braked(worker)

    @contextmanager
    def met(self, worker: str, inside: str, until: float, after_seconds: float = 0.0) -> Iterator[None]:
        """Meet a worker in an operation of this kind, so long after that was seen, and hold it there by a signal."""
        ledger = Ledger(self.crew.folder / "events")
        while time.monotonic() < until:
            self._see_at_work(worker, ledger)
            if ledger.is_in(worker, inside):
                time.sleep(after_seconds)
                with self._kept(worker):
                    if ledger.is_in(worker, inside):  # it may have gone on meanwhile
                        yield
                        return
            time.sleep(LOOK_SECONDS)
        raise self._not_met(worker, inside)

    def kill_inside(self, worker: str, inside: str | None, after_seconds: float) -> None:
        """Kill a worker, so long after it was seen in an operation of this kind and while it still is in one."""
        if inside is None:
            with self.recorder.harm("kill", [worker]):
                self.crew.kill(worker)
            return
        with (
            self.met(worker, inside, time.monotonic() + INSIDE_SECONDS, after_seconds),
            self.recorder.harm("kill", [worker]),
        ):
            self.crew.kill(worker)

    def handed_on(self, worker: str, within: float) -> bool:
        """Wait until a job that a worker holds now is handed to another; whether that came."""
        ledger = Ledger(self.crew.folder / "events")
        held, until = ledger.held_by(worker), time.monotonic() + within
        while held and time.monotonic() < until:
            if held - ledger.held_by(worker):
                return True
            time.sleep(LOOK_SECONDS * 10)
        return False

    @staticmethod
    def _not_met(worker: str, inside: str) -> RunAbandoned:
        if inside == HOLDING:
            return FaultMissed(
                f"{worker} was not met with a job in hand within {INSIDE_SECONDS:g} s, to be harmed then."
            )
        what = "any operation" if inside == ANY else f"an operation `{inside}`"
        return FaultMissed(f"{worker} was not met in {what} within {INSIDE_SECONDS:g} s, to be harmed in it.")
