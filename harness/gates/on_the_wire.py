"""The gate of Postgres: a proxy that holds each statement back, for any client in any language.

What runs nothing (Parse, Describe, Close) goes with the Execute after it, or passes at once where the client waits for its answer, so
that it makes no difference whether a client prepares its statements. After each Execute comes a Flush of ours, so that a pipeline, too,
is held between its statements. A statement outside a transaction block is two steps, as it is on the server, where its locks are held
until its Sync is read: that is held as well, unless nothing but reads came before it. A simple Query is taken apart into its statements;
those outside a block go as extended ones, for the same reason, and the client gets the answers to a simple one.
Protocol 3: https://www.postgresql.org/docs/current/protocol-flow.html.

Who is blocked is asked of the server (`pg_blocking_pids`), never guessed from time.

Who goes first of several that a lock lets go on is ours to say where the server is ours: its backends are held still (`stillness`) while
they wait. Of two that wait for one row, the first has a lock on the place in its queue (a heavyweight lock of type `tuple`) and lets go
of it once it has seen that the row was changed; then both are after the new version (heapam.c). So the second is let past by letting the
first go on up to there: to the signal that wakes the second, and out of the lightweight lock that is held meanwhile, as nobody could ask
for a lock before.
"""

from __future__ import annotations

import re
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from selectors import EVENT_READ, BaseSelector
from typing import TYPE_CHECKING, Any, Final

from harness.errors import RunAbandoned
from harness.gates.stillness import Still, call_of
from harness.gates.tables import Tables
from harness.gates.values import bound, types_of
from harness.protocols import MORE, Crash, Effect, GateListener, Held, Ran, Reach, Witness
from harness.turnstile import LONGEST_SQL
from harness.witnesses.shapes import LONGEST_SHAPE, kind, shape, statements
from harness.witnesses.unwatched import Unwatched
from harness.witnesses.wire import DECLINED, Address, Upstream

if TYPE_CHECKING:
    import psycopg

FIRST_PROBE_SECONDS: Final = 0.0003  # after a statement was let on: most have been answered by then
LONGEST_PROBE_SECONDS: Final = 0.005  # between two questions who is blocked
SEND_SECONDS: Final = 10.0
FUNCTION_CALL: Final = "function call"  # what has no text is called
LONGEST_TEXT: Final = 20_000  # characters of a statement that is told in full
# After so many ms of waiting a connection of the first process, of the second, … looks whether it is in a deadlock, in place of the
# server's 1 s for all. Its victim is whoever looks first: with one time for all that is chance, as their waits begin within 3 ms.
DEADLOCK_MS: Final = 200  # of the first
DEADLOCK_MORE_MS: Final = 100  # of each further one
_BUFFER: Final = 1 << 18
_SYNC: Final = b"S\0\0\0\4"
_LINES: Final = re.compile(r"\s*\n\s*")
_FLUSH: Final = b"H\0\0\0\4"
HOLD_SECONDS: Final = (
    0.02  # within which the server can be asked again, once backends are still: none holds a lock of its own
)
HOLD_TRIES: Final = 20
LOOK_SECONDS: Final = 0.0001
ANSWER_SECONDS: Final = 10.0  # within which the server says who waits for whom
_BLOCKING: Final = "SELECT pid, pg_blocking_pids(pid) FROM unnest(%s::int[]) AS pid"
# Of backends that wait: for which others, and whether for no more than a place in a row's queue.
_PREPARE_WAITS: Final = """
    PREPARE contend_waits (int[]) AS SELECT pid, pg_blocking_pids(pid),
        EXISTS (SELECT FROM pg_locks AS l WHERE l.pid = p.pid AND NOT l.granted AND l.locktype = 'tuple')
    FROM unnest($1) AS p (pid)
"""
# Functions and views that are not Postgres's own: what they do is not in the text of a SELECT.
_MADE: Final = """
    SELECT proname FROM pg_proc
    WHERE pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
        AND pronamespace::regnamespace::text <> 'contend_clock'
    UNION SELECT viewname FROM pg_views WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
"""
# What concerns the session alone: nobody notices it, and it takes neither a lock nor a snapshot.
_OWN: Final = re.compile(
    r"(?:(?:SHOW|RESET|SAVEPOINT|RELEASE|DEALLOCATE|CLOSE)\b|SET\b(?! (?:TRANSACTION SNAPSHOT|CONSTRAINTS))|PREPARE\b(?! TRANSACTION))",
    re.IGNORECASE,
)
_PREPARED: Final = re.compile(r"\bPREPARED\b", re.IGNORECASE)  # a transaction of nobody's session
# Their bodies may have semicolons of their own.
_CREATES: Final = re.compile(r"CREATE (?:OR REPLACE )?(?:FUNCTION|PROCEDURE|RULE)\b", re.IGNORECASE)
_LEVEL: Final = re.compile(r"ISOLATION|SERIALIZABLE|REPEATABLE", re.IGNORECASE)  # a snapshot of more than one statement
_SEEN: Final = re.compile(r"[^\n]")
_LOCKS: Final = re.compile(r"^FETCH\b|\bFOR\s+(?:NO\s+KEY\s+|KEY\s+)?(?:UPDATE|SHARE)\b", re.IGNORECASE)
_WORDS: Final = re.compile(r"\w+")
_CALLED: Final = re.compile(r"([\w.\"]+)\s*\(")
# Words that stand before a parenthesis in a plain SELECT, and functions that read nothing but what they are given.
_HARMLESS: Final = frozenset(
    """
    select from where and or not in exists any all some as on using over filter values union except intersect by then else when is
    copy like between limit offset with materialized recursive lateral join left right inner case distinct array row cast within group
    count sum min max avg coalesce nullif greatest least now clock_timestamp statement_timestamp transaction_timestamp
    current_setting lower upper length substring substr trim concat replace round floor ceil abs mod extract date_trunc to_char
    array_agg json_agg jsonb_agg string_agg json_build_object jsonb_build_object to_json to_jsonb row_to_json unnest
    generate_series row_number rank dense_rank lag lead first_value interval numeric varchar char timestamp date float make_interval
    bool_or bool_and every jsonb_array_elements json_array_elements array_length cardinality version pg_backend_pid current_schema
    to_regtype
    """.split()  # noqa: SIM905  # a list of 130 strings fills a screen
)


class WireGate:
    """See `harness.protocols.Gate`."""

    name = "on-the-wire"

    @contextmanager
    def guard(self, url: str, processes: Sequence[str], serving: Callable[[], Sequence[int]] = tuple) -> Iterator[Held]:
        """Listen on a loopback port for each process. Raises `UsageError` where the URL asks for encryption, or is none."""
        import psycopg  # noqa: PLC0415  # who explores SQLite needs no driver

        address = Address.of(url)
        with ExitStack() as stack:
            probe = stack.enter_context(psycopg.connect(url, autocommit=True))
            ports = {
                name: stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64)) for name in processes
            }
            urls = {name: address.through(port.getsockname()[1]) for name, port in ports.items()}
            for port in ports.values():
                port.settimeout(0)
            parameters, ours = _parameters(probe, processes), probe.info.backend_pid in serving()
            held = _OnTheWire(urls, ports, address.upstream, probe, parameters, ours=ours)
            stack.callback(held.close)
            yield held


class _OnTheWire:
    """See `harness.protocols.Held`."""

    own_files = True
    crashes: Sequence[Crash] = ("killed", "cut", "cut-after")

    def __init__(
        self,
        urls: Mapping[str, str],
        ports: Mapping[str, socket.socket],
        upstream: Upstream,
        probe: psycopg.Connection,
        parameters: Mapping[str, bytes],
        *,
        ours: bool,
    ) -> None:
        self.urls = urls
        self._backends = _Backends(probe, ours=ours)
        self.parameters = parameters  # for every connection of a process
        self.sessions: dict[str, list[_Session]] = {name: [] for name in urls}
        self.turning = False
        self.made: frozenset[str] | None = None  # names of functions and views, as they are when it first turns
        self.tables: Tables | None = None  # as above
        self._levels = False
        self.listener: GateListener | None = None
        self.selector: BaseSelector | None = None
        self._ports = ports
        self._upstream = upstream
        self._probe = probe
        self._credit = dict.fromkeys(urls, 0)
        self._numbers = dict.fromkeys(urls, 0)
        self._ran: dict[str, list[Ran]] = {name: [] for name in urls}
        self._probe_at = 0.0
        self._gap = FIRST_PROBE_SECONDS
        self.losing: set[str] = set()  # processes whose next statement is not answered

    def witness(self, turnstile: Any) -> Witness:  # noqa: ARG002  # all is seen from outside
        """Nothing: a process is held from outside."""
        return Unwatched()

    def attend(self, selector: BaseSelector, listener: GateListener) -> None:
        """Listen on the ports."""
        self.selector, self.listener = selector, listener
        for name, port in self._ports.items():
            selector.register(port, EVENT_READ, lambda name=name, port=port: self._accept(name, port))

    def _accept(self, process: str, port: socket.socket) -> None:
        assert self.selector is not None  # noqa: S101  # nobody accepts before `attend`
        try:
            client, _ = port.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            server = _connect(self._upstream)
        except OSError:
            client.close()
            return
        for end in (client, server):
            end.settimeout(SEND_SECONDS)
        self.sessions[process].append(_Session(self, process, client, server))

    def turn(self, *, on: bool) -> None:
        """Begin or end holding statements back; nobody has anything left over from before."""
        self.turning = on
        self.losing.clear()
        if on and self.made is None:
            self.made = frozenset(name.lower() for (name,) in self._probe.execute(_MADE))
            self.tables = Tables(self._probe, _HARMLESS)
            self.read("")
        for name, session in self.sessions.items():
            self._credit[name] = self._numbers[name] = 0
            self._ran[name] = []
            for each in session:
                each.asked, each.number = False, 0
        if not on:  # a thread of a process that nobody looks at any more may still be held
            for each in [each for mine in self.sessions.values() for each in mine]:
                each.advance()

    def read(self, text: str) -> None:
        """Note what a process says: where it is of isolation levels, a statement may depend on more than the tables it touches."""
        self._levels = self._levels or _LEVEL.search(text) is not None
        if self._levels and self.tables is not None:
            self.tables.forget()

    def number(self, process: str) -> int:
        """Give a number to a connection of a process that is used for the first time in a schedule."""
        self._numbers[process] += 1
        return self._numbers[process]

    def allow(self, process: str) -> bool:
        """Let one statement pass; see `harness.protocols.Held`."""
        self._credit[process] = 1
        for session in self.sessions[process]:
            if session.asked:
                session.advance()
                return True
        return False

    def cut(self, process: str) -> None:
        """End every connection of a process; see `harness.protocols.Held`."""
        for session in [*self.sessions[process]]:
            session.cut()

    def holds(self, process: str) -> bool:
        """Whether a transaction of a process holds anything; see `harness.protocols.Held`."""
        return any(session.holding for session in self.sessions[process])

    def cut_after(self, process: str) -> None:
        """Lose the next answer; see `harness.protocols.Held`."""
        self.losing.add(process)

    def pays(self, process: str) -> bool:
        """Whether a statement of a process may pass now."""
        if not self.turning:
            return True
        paid, self._credit[process] = self._credit[process], 0
        return bool(paid)

    def note(self, process: str, ran: Ran) -> None:
        """Note a statement that has ended."""
        self._ran[process].append(ran)

    def ran(self, process: str) -> Sequence[Ran]:
        """Give the statements that ended since this was last asked."""
        ran, self._ran[process] = self._ran[process], []
        return ran

    def begun(self) -> None:
        """A statement went to the server."""
        self._gap = FIRST_PROBE_SECONDS
        self._probe_at = time.monotonic() + self._gap

    def at_work(self, process: str) -> str:
        """The statement at the server; see `harness.protocols.Held`."""
        session = self._at_work(process)
        return "" if session is None or session.at_server is None else session.at_server.sql

    def due(self) -> float | None:
        """In how many seconds to ask who is blocked: not at all while nothing is at the server."""
        if not any(session.at_server is not None for mine in self.sessions.values() for session in mine):
            return None
        return max(0.0, self._probe_at - time.monotonic())

    def blocked(self, processes: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Ask the server who waits for whom, and look again whether an answer came meanwhile."""
        asked = {
            session.pid: session
            for process in processes
            for session in self.sessions[process]
            if session.at_server is not None and session.pid
        }
        owners = {session.pid: session.process for mine in self.sessions.values() for session in mine}
        found: dict[str, Sequence[str]] = {}
        if asked:
            for pid, blockers in self._probe.execute(_BLOCKING, [list(asked)]).fetchall():
                if blockers and not select.select([asked[pid].server], [], [], 0)[0]:
                    found[asked[pid].process] = [
                        owners.get(blocker, f"another connection (pid {blocker})") for blocker in sorted(set(blockers))
                    ]
        self._gap = min(1.5 * self._gap, LONGEST_PROBE_SECONDS)
        self._probe_at = time.monotonic() + self._gap
        return found

    def hold(self, processes: Sequence[str]) -> bool:
        """Hold the backends of these still; see `harness.protocols.Held`."""
        at_work = {name: session.pid for name in processes if (session := self._at_work(name)) is not None}
        return self._backends.hold(at_work)

    def could_wake(self) -> Sequence[str]:
        """Ask the server whose lock is free by now; see `harness.protocols.Held`."""
        return self._backends.could_wake()

    def wake(self, process: str) -> bool:
        """Let its backend go on; see `harness.protocols.Held`."""
        self.begun()
        return self._backends.wake(process)

    def let_go(self) -> None:
        """Let every backend go on."""
        self._backends.let_go()

    @property
    def unheld(self) -> str:
        """Why backends could not be held still; empty: they could."""
        return self._backends.unheld

    def _at_work(self, process: str) -> _Session | None:
        return next((each for each in self.sessions[process] if each.at_server is not None), None)

    def close(self) -> None:
        """End every session."""
        self.let_go()
        for mine in self.sessions.values():
            for session in mine:
                session.close()


class _Backends:
    """The backends of explored processes that wait for locks, held still while others go on."""

    def __init__(self, probe: psycopg.Connection, *, ours: bool) -> None:
        self.unheld = "" if ours else "the server is not one that contend has started"
        self._probe = probe
        self._still: dict[str, Still] = {}
        self._idle = ""  # the system call in which the backend that answers us waits for a question

    def hold(self, pids: Mapping[str, int]) -> bool:
        """Hold these still where they can be; each sleeps, with no lightweight lock that another might want."""
        if self.unheld:
            return False
        for number in range(1, HOLD_TRIES + 1):
            try:
                if not self._idle:
                    self._probe.execute(_PREPARE_WAITS)
                    while (call := self._call()) == "running":
                        pass
                    self._idle = call
                for name, pid in pids.items():
                    self._still[name] = Still(pid)
            except OSError as error:
                self.let_go()
                if not isinstance(error, ProcessLookupError):
                    self.unheld = f"a process of the server cannot be held still: {error.strerror or error}"
                return False
            until = time.monotonic() + number * HOLD_SECONDS
            self._waits(lambda until=until: self.let_go() if time.monotonic() > until else None)  # type: ignore[misc]
            if self._still:
                return True
        self.unheld = f"processes of the server were never asleep in {HOLD_TRIES} looks"
        return False

    def could_wake(self) -> Sequence[str]:
        """Whose lock is free, and who is but behind such a one in the queue for a row."""
        waits = self._waits()
        could: list[str] = []
        for _ in self._still:
            pids = [self._still[name].pid for name in could]
            could = [name for name, (others, row) in waits.items() if not others or (row and {*others} <= {*pids})]
        return could

    def wake(self, process: str) -> bool:
        """Let one go on by itself, past those before it in the queue for a row; false where one of them stays in it."""
        try:
            while (before := self._before(process)) is not None:
                if not self._leaves_queue(before):
                    return False
        except OSError as error:
            raise RunAbandoned(f"A process of the server could not be held still any longer: {error}.") from error
        self._still.pop(process).let_go()
        return True

    def _before(self, process: str) -> str | None:
        """Who could go on and is before another in the queue for a row."""
        waits = self._waits()
        others, row = waits[process]
        return next((name for name in waits if row and not waits[name][0] and self._pid(name) in others), None)

    def _leaves_queue(self, first: str) -> bool:
        """Let one go on until it has woken the next in the queue for a row; false where it waits, and keeps its place."""
        still = self._still[first]
        others = [self._pid(name) for name in self._still if name != first]
        still.at_signal = False
        still.go_on()
        while not still.at_signal:
            waits = self._waits(lambda: self._leave(still) if still.at_signal else still.look_for_signal(others))
            if waits[first][0] and not still.at_signal:
                still.stop()
                return False
        self._waits(partial(self._leave, still))
        return True

    def _pid(self, process: str) -> int:
        return self._still[process].pid

    def _leave(self, still: Still) -> None:
        """Let a backend go on while ours sleeps for a lightweight lock that it has: leaving it, it wakes ours by a system call."""
        if self._call() not in (self._idle, "running"):
            still.go_on()
            still.stopped()

    def _call(self) -> str:
        return call_of(self._probe.info.backend_pid)

    def let_go(self) -> None:
        """Let all go on by themselves."""
        while self._still:
            self._still.popitem()[1].let_go()

    def _waits(self, meanwhile: Callable[[], None] = lambda: None) -> Mapping[str, tuple[Sequence[int], bool]]:
        """For each that is held still: the others it waits for, and whether for no more than a place in a row's queue.

        `meanwhile` is called again and again until the server has answered.
        """
        names = {still.pid: name for name, still in self._still.items()}
        ours = self._probe.pgconn
        ours.send_query(f"EXECUTE contend_waits ('{{{','.join(map(str, names))}}}')".encode())
        found: dict[str, tuple[Sequence[int], bool]] = {}
        until = time.monotonic() + ANSWER_SECONDS
        while True:
            while ours.is_busy():
                if time.monotonic() > until:
                    self.let_go()
                    raise RunAbandoned(f"The server did not say within {ANSWER_SECONDS:g} s who waits for whom.")
                if select.select([ours.socket], [], [], LOOK_SECONDS)[0]:
                    ours.consume_input()
                else:
                    meanwhile()
            result = ours.get_result()
            if result is None:
                return found
            for row in range(result.ntuples):
                pid, others, waits_for_row = (result.get_value(row, column) or b"" for column in range(3))
                blockers = sorted({int(each) for each in others.strip(b"{}").split(b",") if each})
                found[names[int(pid)]] = blockers, waits_for_row == b"t"


def _parameters(probe: psycopg.Connection, processes: Sequence[str]) -> Mapping[str, bytes]:
    """Say in the words of a StartupMessage how soon each process looks for a deadlock, where our role may say so."""
    import psycopg  # noqa: PLC0415  # as above

    try:
        probe.execute("SET deadlock_timeout TO DEFAULT")
    except psycopg.errors.InsufficientPrivilege:
        return dict.fromkeys(processes, b"")
    return {
        name: f"deadlock_timeout\0{DEADLOCK_MS + place * DEADLOCK_MORE_MS}\0".encode()
        for place, name in enumerate(processes)
    }


def _connect(upstream: Upstream) -> socket.socket:
    if isinstance(upstream, str):
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.connect(upstream)
        return server
    server = socket.create_connection(upstream)
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return server


@dataclass(slots=True)
class _Group:
    """Messages that go to the server together: they end in the one statement they run, in a Sync, or in neither."""

    messages: bytes
    text: str | None = None  # the statement they run
    values: tuple[bytes, bytes] | None = (
        None  # the types of its parameters and what was bound to it, as the messages have them
    )
    sync: bool = False
    ready: bool = False  # they are answered in full, with ReadyForQuery
    query: int = 0  # the number of the simple Query whose statement this is
    alone: bool = True  # it is the only one of that
    last: bool = True  # or the last
    translated: bool = False
    effect: Effect = "local"
    reach: Reach = frozenset()
    error: str | None = None

    @property
    def kind(self) -> str:
        return "commit" if self.text is None else kind(self.text)

    @property
    def shape(self) -> str:
        return "COMMIT (of the statement before)" if self.text is None else shape(self.text)

    @property
    def sql(self) -> str:
        """The statement with its values, or as much of it as people read."""
        return self.shown(self.again)

    def shown(self, again: str) -> str:
        """As `sql`, from `again`."""
        if not self.text or len(self.text) > LONGEST_SQL:
            return self.shape
        return _LINES.sub(" ", again).strip()[:LONGEST_SQL]

    @property
    def again(self) -> str:
        """The statement as a server can be given it again, with its values; empty where that cannot be told."""
        if self.text is None:
            return "COMMIT"
        if len(self.text) > LONGEST_TEXT or self.text == FUNCTION_CALL:
            return ""
        return self.text if self.values is None else bound(self.text, self.values[1], types_of(self.values[0]))


class _Session:
    """One connection of a process and the one made for it to the server."""

    def __init__(self, gate: _OnTheWire, process: str, client: socket.socket, server: socket.socket) -> None:
        self.process = process
        self.number = 0  # in the order of their first use in a schedule: a pool may hand out another each time
        self.client, self.server = client, server
        self.pid = 0
        self.at_server: _Group | None = None
        self.asked = False  # the listener knows that the first of the queue is held
        self._gate = gate
        self._startup: bytes | None = b""
        self._from = {client: bytearray(), server: bytearray()}
        self._messages: list[bytes] = []  # that run nothing so far
        self._queue: deque[_Group] = deque()
        self._queries = 0
        self._prepared: dict[bytes, tuple[str, bytes]] = {}  # a statement's text, and the types of its parameters
        self._portals: dict[bytes, tuple[str, bytes, bytes]] = {}  # these, and the values bound to it
        self._status = ""
        self._failed = False  # the server skips all until it reads a Sync
        self._lost_after: _Group | None = None  # the statement that is not answered
        self._withheld = b""  # the last answer to a translated Query: the server gives it once it has committed
        self._holds: Effect = "local"  # the transaction block
        self._implicit: Effect = "local"  # the transaction that ends with the next Sync
        self._touched: Reach = frozenset()  # either of them
        assert gate.selector is not None  # noqa: S101  # as whoever accepted us has it
        self._selector = gate.selector
        self._selector.register(client, EVENT_READ, lambda: self._read(client, self._asked))
        self._selector.register(server, EVENT_READ, lambda: self._read(server, self._answered))

    def close(self) -> None:
        """End both connections."""
        for end in (self.client, self.server):
            with suppress(KeyError, ValueError):
                self._selector.unregister(end)
            end.close()
        self.at_server, self.asked = None, False
        self._queue.clear()

    def _read(self, end: socket.socket, take: Callable[[list[tuple[int, bytes]]], None]) -> None:
        if end.fileno() < 0:  # both ends had something to say, and what the first said was the end
            return
        try:
            data = end.recv(_BUFFER)
        except OSError:
            data = b""
        if not data:
            self._lost(end)
            return
        if self._startup is not None and end is self.client:
            data = self._start(self._startup + data)
        unread = self._from[end]
        unread += data
        messages, place = [], 0
        while len(unread) - place >= 5:
            size = 1 + int.from_bytes(unread[place + 1 : place + 5], "big")
            if len(unread) - place < size:
                break
            messages.append((unread[place], bytes(unread[place : place + size])))
            place += size
        del unread[:place]
        take(messages)

    @property
    def holding(self) -> bool:
        """Whether its transaction holds anything that others could notice."""
        return self._status not in ("", "I") or self._implicit != "local"

    def cut(self) -> None:
        """End both connections, and let the process notice. What the server's held is free then."""
        self._lost(self.client)

    def _lost(self, end: socket.socket) -> None:
        """One end has ended, and so does the other. What the server's held is free once it has ended itself."""
        if end is self.client and self.at_server is None:
            with suppress(OSError):
                self.server.shutdown(socket.SHUT_WR)
                while self.server.recv(_BUFFER):
                    pass
        asked = self.asked
        self.close()
        self._gate.sessions[self.process].remove(self)
        if self._gate.listener is not None:
            (self._gate.listener.gone if asked else self._gate.listener.moves)(self.process)

    def _start(self, data: bytes) -> bytes:
        """Take the untyped messages; gives what follows them."""
        while len(data) >= 8:
            length, code = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
            if code in DECLINED:
                self.client.sendall(b"N")
                data = data[8:]
                continue
            if len(data) < length:
                break
            self._startup = None
            message = data[:length]
            self._gate.read(message.decode("latin-1"))
            if code >> 16 == 3 and b"deadlock_timeout" not in message:  # no CancelRequest
                message = message[:-1] + self._gate.parameters[self.process] + b"\0"
                message = len(message).to_bytes(4, "big") + message[4:]
            self._tell_server(message)
            return data[length:]
        self._startup = data
        return b""

    def _tell_server(self, data: bytes) -> None:
        with suppress(OSError):  # it is gone: that is read from it next, and what it said before
            self.server.sendall(data)

    # What the client sends.

    def _asked(self, messages: list[tuple[int, bytes]]) -> None:
        for what, message in messages:
            body = message[5:]
            match what:
                case 0x64 | 0x63 | 0x66 if (
                    self.at_server is not None and not self.at_server.ready
                ):  # CopyData, -Done, -Fail
                    self._tell_server(message if what == 0x64 else message + _FLUSH)
                    continue
                case 0x58 if self.at_server is None:  # Terminate
                    self._tell_server(message)
                    self._lost(self.client)
                    return
                case 0x70 | 0x58 | 0x64 | 0x63 | 0x66:  # a password, or as above to what is answered in full
                    self._tell_server(message)
                    continue
                case 0x51:  # Query
                    self._end() if self._messages else None
                    self._queue += self._statements(message)
                    continue
                case 0x48 if not self._messages:  # Flush: each statement has its own
                    continue
            self._messages.append(message)
            match what:
                case 0x50:  # Parse: statement, SQL
                    name, _, rest = body.partition(b"\0")
                    sql, _, types = rest.partition(b"\0")
                    self._prepared[name] = sql.decode("utf-8", "replace"), types
                    self._gate.read(self._prepared[name][0])
                case 0x42:  # Bind: portal, statement
                    portal, name, values = body.split(b"\0", 2)
                    self._portals[portal] = (*self._prepared.get(name, ("", b"")), values)
                case 0x45:  # Execute: portal
                    text, types, values = self._portals.get(body.partition(b"\0")[0], ("", b"", b""))
                    self._end(text=text, values=(types, values))
                case 0x46:  # FunctionCall
                    self._end(text=FUNCTION_CALL, ready=True)
                case 0x53:  # Sync
                    self._end(sync=True, ready=True)
                case 0x48:  # Flush
                    self._end()
        self.advance()

    def _end(
        self,
        *,
        text: str | None = None,
        values: tuple[bytes, bytes] | None = None,
        sync: bool = False,
        ready: bool = False,
    ) -> None:
        self._queue.append(_Group(b"".join(self._messages), text, values=values, sync=sync, ready=ready))
        self._messages.clear()

    def _statements(self, message: bytes) -> list[_Group]:
        """Take the statements of a simple Query apart, each at its place in the text, which errors refer to."""
        sql = message[5:-1].decode("utf-8", "surrogateescape")
        self._gate.read(sql)
        texts = statements(sql)
        if not texts:
            return [_Group(message, ready=True)]
        if not self._gate.turning or (len(texts) > 1 and any(_CREATES.match(shape(text)) for text in texts)):
            return [_Group(message, _readable("; ".join(texts)), ready=True)]
        self._queries += 1
        if len(texts) == 1:
            return [_Group(message, _readable(texts[0]), ready=True, query=self._queries)]
        parts, place = [], 0
        for text in texts:
            place = sql.index(text, place)
            part = _message(b"Q", (_SEEN.sub(" ", sql[:place]) + text).encode("utf-8", "surrogateescape") + b"\0")
            place += len(text)
            parts.append(_Group(part, _readable(text), ready=True, query=self._queries, alone=False, last=False))
        parts[-1].last = True
        return parts

    def advance(self) -> None:
        """Send what may go, and say what may not."""
        while self._queue and self.at_server is None:
            group = self._queue[0]
            if self._failed and not group.sync:  # the server would read it and do nothing
                self._queue.popleft()
                continue
            group.effect = self._effect(group)
            group.reach = frozenset() if group.effect == "local" else self._reach(group)
            if not self.number:
                self.number = self._gate.number(self.process)
            if group.effect != "local" and not self._gate.pays(self.process):
                if not self.asked and self._gate.listener is not None:
                    self.asked = True
                    self._gate.listener.held(
                        self.process, self.number, group.kind, group.shape, group.effect, reach=group.reach
                    )
                return
            self._queue.popleft()
            self.asked = False
            self._send(group)

    def _send(self, group: _Group) -> None:
        if group.query and self._to_translate(group):
            group.translated, group.ready = True, False
            group.messages = _extended(group.messages[5:])
            if group.last:
                self._queue.appendleft(_Group(_SYNC, sync=True, ready=True))
        messages = group.messages
        if group.text is not None and not group.ready:
            if self._queue and self._queue[0].sync and not self._seen_to_end(group):
                messages += self._queue.popleft().messages
                group.ready = True
            else:
                messages += _FLUSH
        if group.text is not None or group.ready:
            self.at_server = group
            self._gate.begun()
            if group.effect != "local" and self.process in self._gate.losing:
                self._gate.losing.discard(self.process)
                self._lost_after = group
        self._tell_server(messages)

    def _to_translate(self, group: _Group) -> bool:
        """Whether a statement of a simple Query is to be held before its end, too: one that begins a transaction of its own."""
        return self._status == "I" and group.kind != "begin" and not (group.alone and group.effect == "local")

    def _seen_to_end(self, group: _Group) -> bool:
        """Whether others notice the Sync after a statement: it ends a transaction that has not only read, unless it is in a block."""
        return self._gate.turning and self._status == "I" and "write" in (group.effect, self._implicit)

    def _effect(self, group: _Group) -> Effect:
        if group.sync:
            return "write" if self._status == "I" and self._implicit == "write" else "local"
        if group.text is None:
            return "local"
        return max((self._effect_of(text) for text in statements(group.text) or [""]), key=MORE.__getitem__)

    def _reach(self, group: _Group) -> Reach:
        """The tables of a statement; of the end of a transaction those of all its statements."""
        if self._gate.tables is None or self._touched is None:
            return None
        if group.kind in ("commit", "rollback"):
            return None if group.text is not None and _PREPARED.search(group.text) else self._touched
        return self._gate.tables.touched(group.text or "")

    def _effect_of(self, text: str) -> Effect:
        what, form = kind(text), shape(text)
        if what == "begin":
            return "local"
        if what in ("commit", "rollback"):
            return "write" if _PREPARED.search(form) else self._holds
        if _OWN.match(form):
            return "local"
        if what != "read" or _LOCKS.search(form) or len(form) == LONGEST_SHAPE:
            return "write"
        if self._gate.made and not self._gate.made.isdisjoint(_WORDS.findall(form.lower())):
            return "write"
        called = {name.lower().removeprefix("pg_catalog.") for name in _CALLED.findall(form)}
        return "read" if called <= _HARMLESS else "write"

    # What the server sends.

    def _answered(self, messages: list[tuple[int, bytes]]) -> None:
        out = b"".join([self._answer(what, message) for what, message in messages])
        if self._lost_after is not None:
            if self.at_server is not self._lost_after:
                self.cut()
            return
        if out:
            with suppress(OSError):  # the client is gone
                self.client.sendall(out)

    def _answer(self, what: int, message: bytes) -> bytes:
        """Take note of an answer; gives what the client gets to see of it."""
        group, body = self.at_server, message[5:]
        match what:
            case 0x4B:  # BackendKeyData
                self.pid = int.from_bytes(body[:4], "big")
            case 0x5A:  # ReadyForQuery
                return self._ready(message)
            case 0x45:  # ErrorResponse
                self._refused(body)
            case 0x31 | 0x32 | 0x6E if group is not None and group.translated:  # ParseComplete, BindComplete, NoData
                return b""
            case 0x47 if (
                group is not None and group.text is not None
            ):  # CopyInResponse: the server reads over a Sync until the end
                if not group.translated and group.messages[:1] != b"Q":
                    group.ready = False
                    if self._queue and self._queue[0].sync:
                        self._queue.popleft()
            case 0x43 | 0x49 | 0x73 if (
                group is not None and group.text is not None
            ):  # CommandComplete, EmptyQueryResponse, PortalSuspended
                if not group.ready:
                    self._status = _status_after(group.kind, body, self._status)
                if group.translated and group.last:
                    self._withheld, message = message, b""
                if not group.ready:
                    self._over(group)
        return message

    def _refused(self, body: bytes) -> None:
        group = self.at_server
        if group is None:
            self._failed = True
            return
        group.error = next(
            (part[1:].decode("ascii", "replace") for part in body.split(b"\0") if part[:1] == b"C"), "error"
        )
        self._withheld = b""
        while group.query and self._queue and self._queue[0].query == group.query:
            self._queue.popleft()
        if group.ready:
            return
        self._failed, self._implicit = True, "local"  # nothing is left to commit
        if group.translated and not group.last:
            self._queue.appendleft(_Group(_SYNC, sync=True, ready=True))
        self._over(group)

    def _ready(self, message: bytes) -> bytes:
        group = self.at_server
        self._status = message[5:6].decode("ascii")
        withheld, self._withheld = self._withheld, b""
        self._failed = False
        if group is None:
            return message
        self._over(group)
        if group.query and not group.last and not group.translated and group.error is None:
            return b""
        return withheld + message

    def _over(self, group: _Group) -> None:
        """A group has been answered."""
        self.at_server = None
        ended = group.ready or group.error is not None or group.kind in ("commit", "rollback")
        if self._status == "I" and ended:
            self._touched = frozenset()
        else:
            self._touched = None if self._touched is None or group.reach is None else self._touched | group.reach
        if self._status == "I":
            self._implicit = "local" if ended else max(self._implicit, group.effect, key=MORE.__getitem__)
            self._holds = "local"
        else:
            self._holds = max(self._holds, self._implicit, group.effect, key=MORE.__getitem__)
            self._implicit = "local"
        if group.text is not None or group.effect != "local" or group.error is not None:
            wrote = self._status == "I" and ended and group.error is None and group.effect == "write"
            committed = time.monotonic_ns() if wrote and group.kind != "rollback" else 0
            again = group.again if self._gate.turning else ""
            ran = Ran(
                self.number,
                group.kind,
                group.shape,
                group.effect,
                group.error,
                group.shown(again) if self._gate.turning else "",
                committed,
                open=self._status != "I" or not ended,
                text=again,
            )
            self._gate.note(self.process, ran)
        if self._gate.listener is not None:
            self._gate.listener.moves(self.process)
        self.advance()


def _status_after(kind: str, tag: bytes, status: str) -> str:
    """Say whether a transaction block is open after a statement, before the server does with ReadyForQuery."""
    if kind == "begin":
        return "T"
    if kind in ("commit", "rollback") or tag.startswith(b"PREPARE TRANSACTION"):
        return "I"
    return status


def _readable(sql: str) -> str:
    return sql.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _message(what: bytes, body: bytes) -> bytes:
    return what + (len(body) + 4).to_bytes(4, "big") + body


def _extended(text: bytes) -> bytes:
    """Say a simple Query in the extended protocol, without its Sync; `text` ends in a zero."""
    return b"".join(
        (
            _message(b"P", b"\0" + text + b"\0\0"),
            _message(b"B", b"\0\0" + b"\0\0" * 3),
            _message(b"D", b"P\0"),
            _message(b"E", b"\0" + b"\0\0\0\0"),
        )
    )
