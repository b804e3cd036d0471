"""The turnstile inside an explored process: where it stops, and waits to be let on.

A process stops before each operation of its program (`operation`) and before each statement that another could notice
(`statement`). One word lets it on through whatever nobody notices and one statement that somebody may, to its next stop. It talks
to `harness.runners.explore` in JSON, one message a line, over a line of its own:

    to the process     {"schedule":3,"phase":"main","free":false}
                                          begin the program, and go on through one statement; record what it does as schedule 3 (null: not
                                          at all); free: without a stop; perhaps also "arguments" of the program, and where
                                          it races, "at": when to begin, in monotonic nanoseconds
                       null                  end
                       "go"                  go on through one statement
                       "die"                 go on through one statement, and be killed before its caller has the answer
                       "refuse"              let SQLite's refusal reach the program, as when its busy time-out is over
    from the process   {"stop":"ready", …}    the system is built
                       {"stop":"operation","kind":"claim", …}    before an operation
                       {"stop":"statement","at":[1,"write","UPDATE …"], …}    before a statement (SQLite; Postgres is held on the wire)
                       {"stop":"dying", …}   before that
                       {"stop":"busy", …}    SQLite refused the statement as another has the lock; "go" tries again
                       {"stop":"done","answers":[…],"more":false, …}    the program has ended; more: its explored part has

Every stop has `began`, the kind of the first operation; `ran`, the statements run since the last one ([connection, kind, shape, effect,
error's code or null, SQL with its values, when it committed a write or 0]); and `open`: whether a transaction of this process holds
anything. `effect` is local, read or write (`harness.protocols.Effect`).
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from harness.history import Phase
from harness.protocols import Effect
from harness.scenario import Reply

SPIN_SECONDS: Final = 0.00005
LATE_SECONDS: Final = 0.0002  # that a sleeper may wake after its time
_MOST: Final = 1 << 16
LONGEST_SQL: Final = 1000  # characters that are shown


@dataclass(frozen=True, slots=True)
class Told:
    """One schedule as a process learns of it: its number in the history (None: it is not recorded) and the phase."""

    number: int | None
    phase: Phase
    arguments: Mapping[str, Any] = field(default_factory=dict)  # of the program, in this schedule


class Line:
    """One end of the line between an explored process and whoever explores. Can be sent to a process that is being started.

    Whoever waits looks again and again for `SPIN_SECONDS` before it sleeps: to be woken takes longer than most answers do.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._have = b""

    @classmethod
    def pair(cls) -> tuple[Line, Line]:
        """Both ends of a new line."""
        near, far = socket.socketpair()
        return cls(near), cls(far)

    def fileno(self) -> int:
        """The file to wait for."""
        return self._end.fileno()

    def say(self, what: object) -> None:
        """Send a message. Raises `OSError` where the other end is gone."""
        self._end.sendall(orjson.dumps(what, default=str, option=orjson.OPT_APPEND_NEWLINE))

    def hear(self, within: float | None = None) -> Any:
        """Wait for the next message, at most `within` seconds. Raises `EOFError` where the other end is gone, `TimeoutError`."""
        while b"\n" not in self._have:
            more = self._receive(within)
            if not more:
                raise EOFError
            self._have += more
        line, _, self._have = self._have.partition(b"\n")
        return orjson.loads(line)

    def _receive(self, within: float | None) -> bytes:
        until = time.perf_counter() + SPIN_SECONDS
        try:
            while True:
                try:
                    return self._end.recv(_MOST, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    if time.perf_counter() >= until:
                        break
            self._end.settimeout(within)
            return self._end.recv(_MOST)
        except ConnectionError:
            return b""

    def close(self) -> None:
        """Close this end."""
        self._end.close()


class Turnstile:
    """The line's end in the explored process. Made by whoever explores and handed over when the process is started."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._turning = False  # within a schedule
        self.racing = False  # within one in which nobody is held, and others go on at the same time
        self._credit = 0  # statements that may pass
        self._begins = False  # the first operation may pass
        self._dies = False  # after the next statement
        self._began = ""  # its kind
        self._ran: list[tuple[int, str, str, Effect, str | None, str, int]] = []
        self._answers: list[list[Any]] = []
        self._open: set[int] = set()  # connections whose transaction holds something
        self._thread = 0

    def ready(self) -> None:
        """Say that the process can be told of its first schedule."""
        self._stop("ready")

    def next_schedule(self) -> Told | None:
        """Wait for the next schedule; None: there is none any more."""
        try:
            told = self._line.hear()
        except EOFError:
            return None
        if told is None:
            return None
        self._turning, self._credit, self._begins = not told["free"], 1, not told["free"]
        self.racing = "at" in told
        self._dies = told.get("die", False)
        self._thread = threading.get_ident()
        self._ran, self._answers = [], []
        if self.racing:
            _wait_until(told["at"])
        return Told(told["schedule"], told["phase"], told.get("arguments", {}))

    def done(self, problem: str = "", *, more: bool = False) -> None:
        """Say that the program has ended, or with `more` the part of it that is explored, and how its operations did."""
        self._turning = self.racing = False
        self._stop("done", answers=self._answers, problem=problem, more=more)

    def operation(self, kind: str) -> None:
        """Stop before an operation, unless it is the first."""
        if self._begins:
            self._begins, self._began = False, kind
        elif self._turning and self._mine():
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

    def ran(
        self,
        connection: int,
        kind: str,
        shape: str,
        effect: Effect,
        *,
        error: str | None,
        holds: bool,
        sql: str,
        committed_ns: int,
    ) -> None:
        """Note that a statement has run, whether its connection's transaction holds anything now, when it committed a write (0: not)."""
        (self._open.add if holds else self._open.discard)(connection)
        if self._turning or self.racing:
            self._ran.append((connection, kind, shape, effect, error, sql[:LONGEST_SQL], committed_ns))
            if self._dies and effect != "local" and error is None:
                self._stop("dying")
                os.kill(os.getpid(), signal.SIGKILL)

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
        told = {"stop": what, "began": self._began, "ran": self._ran, "open": bool(self._open), **more}
        self._ran = []
        self._line.say(told)

    def _hear(self) -> bool:
        told = self._line.hear()
        self._credit = 1
        self._dies = told == "die"
        return bool(told in ("go", "die"))


def _wait_until(at_ns: int) -> None:
    """Sleep, and for the last of it look again and again, as whoever sleeps wakes late."""
    time.sleep(max(0.0, (at_ns - time.monotonic_ns()) / 1e9 - LATE_SECONDS))
    while time.monotonic_ns() < at_ns:
        pass
