"""The turnstile inside an explored process: where it stops, and waits to be let on.

A process stops before each operation of its program (`operation`) and before each statement that another could notice
(`statement`). One word lets it on through whatever nobody notices and one statement that somebody may, to its next stop. It talks
to `harness.runners.explore` in JSON over a pipe of its own:

    to the process     {"schedule":3,"phase":"main","free":false}
                                          begin the program; record what it does as schedule 3 (null: not at all); free: without a stop
                       null                  end
                       "go"                  go on through one statement
                       "refuse"              let SQLite's refusal reach the program, as when its busy time-out is over
    from the process   {"stop":"ready", …}    the system is built
                       {"stop":"operation","kind":"claim", …}    before an operation
                       {"stop":"statement","at":[1,"write","UPDATE …"], …}    before a statement (SQLite; Postgres is held on the wire)
                       {"stop":"busy", …}    SQLite refused the statement as another has the lock; "go" tries again
                       {"stop":"done","answers":[…],"more":false, …}    the program has ended; more: its explored part has

Every stop has `ran`, the statements run since the last one ([connection, kind, shape, effect, error's code or null]), and `open`:
whether a transaction of this process holds anything. `effect` is local, read or write (`harness.protocols.Effect`).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import orjson

from harness.history import Phase
from harness.protocols import Effect
from harness.scenario import Reply


@dataclass(frozen=True, slots=True)
class Told:
    """One schedule as a process learns of it: its number in the history (None: it is not recorded) and the phase."""

    number: int | None
    phase: Phase


class Turnstile:
    """One end of the pipe, in the explored process. Made by whoever explores and handed over when the process is started."""

    def __init__(self, pipe: Any) -> None:
        """`pipe` is a connection of `multiprocess`, so this can be sent to a process that is being started."""
        self._pipe = pipe
        self._turning = False  # within a schedule
        self._credit = 0  # statements that may pass
        self._ran: list[tuple[int, str, str, Effect, str | None]] = []
        self._answers: list[list[Any]] = []
        self._open: set[int] = set()  # connections whose transaction holds something
        self._thread = 0

    def ready(self) -> None:
        """Say that the process can be told of its first schedule."""
        self._stop("ready")

    def next_schedule(self) -> Told | None:
        """Wait for the next schedule; None: there is none any more."""
        try:
            told = orjson.loads(self._pipe.recv_bytes())
        except EOFError:
            return None
        if told is None:
            return None
        self._turning, self._credit = not told["free"], 0
        self._thread = threading.get_ident()
        self._ran, self._answers = [], []
        return Told(told["schedule"], told["phase"])

    def done(self, problem: str = "", *, more: bool = False) -> None:
        """Say that the program has ended, or with `more` the part of it that is explored, and how its operations did."""
        self._turning = False
        self._stop("done", answers=self._answers, problem=problem, more=more)

    def operation(self, kind: str) -> None:
        """Stop before an operation."""
        if self._turning and self._mine():
            self._stop("operation", kind=kind)
            self._hear()

    def answered(self, kind: str, reply: Reply) -> None:
        """Note how an operation did, for whoever compares schedules."""
        if self._thread == threading.get_ident():
            jobs = [handle.job for handle in reply.handles]
            said = reply.problem.partition("\n")[0][
                :200
            ]  # below it Postgres names processes and transactions, new ones each time
            self._answers.append([kind, reply.outcome, jobs, reply.value, said])

    def statement(self, connection: int, kind: str, shape: str, effect: Effect) -> None:
        """Stop before a statement, unless nobody can notice it or it was already let on."""
        if not self._turning or effect == "local" or not self._mine():
            return
        if not self._credit:
            self._stop("statement", at=[connection, kind, shape])
            self._hear()
        self._credit = 0

    def ran(self, connection: int, kind: str, shape: str, effect: Effect, *, error: str | None, holds: bool) -> None:
        """Note that a statement has run, and whether its connection's transaction holds anything now."""
        (self._open.add if holds else self._open.discard)(connection)
        if self._turning:
            self._ran.append((connection, kind, shape, effect, error))

    def holding(self, connection: int) -> None:
        """Note that a connection holds its locks beyond its statement, as rows of it are still to be read."""
        self._open.add(connection)

    def closed(self, connection: int) -> None:
        """Note that a connection holds nothing any more."""
        self._open.discard(connection)

    def busy(self) -> bool:
        """Stop because SQLite refused a statement; whether to try again, rather than let the refusal reach the program."""
        if not self._turning or not self._mine():
            return False
        self._stop("busy")
        again = self._hear()
        self._credit = 1 if again else 0
        return again

    def _mine(self) -> bool:
        """Whether this is the program's own thread; another cannot be held without holding both."""
        if threading.get_ident() == self._thread:
            return True
        self._stop("thread")
        return False

    def _stop(self, what: str, **more: Any) -> None:
        told = {"stop": what, "ran": self._ran, "open": bool(self._open), **more}
        self._ran = []
        self._pipe.send_bytes(orjson.dumps(told, default=str))

    def _hear(self) -> bool:
        told = orjson.loads(self._pipe.recv_bytes())
        self._credit = 1
        return bool(told == "go")
