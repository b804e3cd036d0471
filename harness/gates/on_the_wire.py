"""The gate of Postgres: a proxy that holds back each group of messages that would run something.

It speaks for any client in any language. A group ends with a Sync, a Flush or is one simple Query; one that runs nothing (Parse,
Describe, Close) passes at once, so that it makes no difference whether a client prepares its statements. A statement outside a
transaction block is two steps, as it is on the server, where its locks are held until its Sync is read: the statement goes with a
Flush in place of the Sync, and the Sync follows when it is let on. A simple Query outside a block is sent as an extended one, for the
same reason. Protocol 3: https://www.postgresql.org/docs/current/protocol-flow.html.

Who is blocked is asked of the server (`pg_blocking_pids`), never guessed from time.
"""

from __future__ import annotations

import re
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from selectors import EVENT_READ, BaseSelector
from typing import TYPE_CHECKING, Any, Final

from harness.protocols import Effect, GateListener, Held, Ran, Witness
from harness.witnesses.shapes import kind, shape, statements
from harness.witnesses.unwatched import Unwatched
from harness.witnesses.wire import Address, Upstream

if TYPE_CHECKING:
    import psycopg

FIRST_PROBE_SECONDS: Final = 0.0004  # after a statement was let on: most have been answered by then
LONGEST_PROBE_SECONDS: Final = 0.005  # between two questions who is blocked
SEND_SECONDS: Final = 10.0
_BUFFER: Final = 1 << 18
_DECLINED: Final = (80877103, 80877104)  # SSLRequest, GSSENCRequest
_SYNC: Final = b"S\0\0\0\4"
_FLUSH: Final = b"H\0\0\0\4"
_BLOCKING: Final = "SELECT pid, pg_blocking_pids(pid) FROM unnest(%s::int[]) AS pid"
_MORE: Final[Mapping[Effect, int]] = {"local": 0, "read": 1, "write": 2}
# What concerns the session alone: nobody notices it, and it takes neither a lock nor a snapshot.
_OWN: Final = re.compile(
    r"(?:SET|SHOW|RESET|SAVEPOINT|RELEASE|DEALLOCATE|CLOSE|LISTEN|UNLISTEN|PREPARE)\b(?!\s+TRANSACTION\s+SNAPSHOT)",
    re.IGNORECASE,
)
_LOCKS: Final = re.compile(r"\bFOR\s+(?:NO\s+KEY\s+|KEY\s+)?(?:UPDATE|SHARE)\b", re.IGNORECASE)
_CALLED: Final = re.compile(r"([\w.\"]+)\s*\(")
# Words that stand before a parenthesis in a plain SELECT, and functions that read nothing but what they are given.
_HARMLESS: Final = frozenset(
    """
    select from where and or not in exists any all some as on using over filter values union except intersect by then else when is
    like between limit offset with materialized recursive lateral join left right inner case distinct array row cast within group
    count sum min max avg coalesce nullif greatest least now clock_timestamp statement_timestamp transaction_timestamp
    current_setting lower upper length substring substr trim concat replace round floor ceil abs mod extract date_trunc to_char
    array_agg json_agg jsonb_agg string_agg json_build_object jsonb_build_object to_json to_jsonb row_to_json unnest
    generate_series row_number rank dense_rank lag lead first_value interval numeric varchar char timestamp date float make_interval
    bool_or bool_and every jsonb_array_elements json_array_elements array_length cardinality version pg_backend_pid
    """.split()  # noqa: SIM905  # a list of 130 strings fills a screen
)


class WireGate:
    """See `harness.protocols.Gate`."""

    name = "on-the-wire"

    @contextmanager
    def guard(self, url: str, processes: Sequence[str]) -> Iterator[Held]:
        """Listen on a loopback port for each process. Raises `UsageError` where the URL asks for encryption, or is none."""
        import psycopg  # noqa: PLC0415  # who explores SQLite needs no driver

        address = Address.of(url)
        with ExitStack() as stack:
            probe = stack.enter_context(psycopg.connect(url, autocommit=True))
            ports = {
                name: stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64)) for name in processes
            }
            urls = {name: address.through(port.getsockname()[1]) for name, port in ports.items()}
            held = _OnTheWire(urls, ports, address.upstream, probe)
            stack.callback(held.close)
            yield held


class _OnTheWire:
    """See `harness.protocols.Held`."""

    own_files = True

    def __init__(
        self,
        urls: Mapping[str, str],
        ports: Mapping[str, socket.socket],
        upstream: Upstream,
        probe: psycopg.Connection,
    ) -> None:
        self.urls = urls
        self.sessions: dict[str, list[_Session]] = {name: [] for name in urls}
        self.turning = False
        self.listener: GateListener | None = None
        self.selector: BaseSelector | None = None
        self._ports = ports
        self._upstream = upstream
        self._probe = probe
        self._credit = dict.fromkeys(urls, 0)
        self._ran: dict[str, list[Ran]] = {name: [] for name in urls}
        self._probe_at = 0.0
        self._gap = FIRST_PROBE_SECONDS

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
        client, _ = port.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            server = _connect(self._upstream)
        except OSError:
            client.close()
            return
        for end in (client, server):
            end.settimeout(SEND_SECONDS)
        mine = self.sessions[process]
        mine.append(_Session(self, process, len(mine) + 1, client, server))

    def turn(self, *, on: bool) -> None:
        """Begin or end holding statements back; nobody has anything left over from before."""
        self.turning = on
        for name, session in self.sessions.items():
            self._credit[name] = 0
            self._ran[name] = []
            for each in session:
                each.asked = False

    def allow(self, process: str) -> bool:
        """Let one statement pass; see `harness.protocols.Held`."""
        self._credit[process] = 1
        for session in self.sessions[process]:
            if session.asked:
                session.advance()
                return True
        return False

    def pays(self, process: str) -> bool:
        """Whether a statement of a process may pass now."""
        if not self.turning:
            return True
        paid, self._credit[process] = self._credit[process], 0
        return bool(paid)

    def note(self, process: str, ran: Ran) -> None:
        """Note a statement that has ended."""
        if self.turning:
            self._ran[process].append(ran)

    def ran(self, process: str) -> Sequence[Ran]:
        """Give the statements that ended since this was last asked."""
        ran, self._ran[process] = self._ran[process], []
        return ran

    def begun(self) -> None:
        """A statement went to the server."""
        self._gap = FIRST_PROBE_SECONDS
        self._probe_at = time.monotonic() + self._gap

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
        self._gap = min(2 * self._gap, LONGEST_PROBE_SECONDS)
        self._probe_at = time.monotonic() + self._gap
        return found

    def close(self) -> None:
        """End every session."""
        for mine in self.sessions.values():
            for session in mine:
                session.close()


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
    """Messages that go to the server together, and what they run."""

    messages: list[bytes] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)  # the statements they run, in order
    end: bytes = b"S"  # the type of the last: S, Q, H, F
    left: int = 0  # executions to be answered
    effect: Effect = "local"
    commits: bool = False  # the Sync that ends a statement outside a block
    split: bool = False  # its Sync is kept back
    translated: bool = False  # from a simple Query
    error: str | None = None

    @property
    def kind(self) -> str:
        return "commit" if self.commits else kind(self.texts[0]) if self.texts else "other"

    @property
    def shape(self) -> str:
        return "COMMIT (of the statement before)" if self.commits else "; ".join(shape(text) for text in self.texts)


class _Session:
    """One connection of a process and the one made for it to the server."""

    def __init__(
        self, gate: _OnTheWire, process: str, number: int, client: socket.socket, server: socket.socket
    ) -> None:
        self.process = process
        self.number = number
        self.client, self.server = client, server
        self.pid = 0
        self.at_server: _Group | None = None
        self.asked = False  # the listener knows that the first of the queue is held
        self._gate = gate
        self._startup: bytes | None = b""
        self._from = {client: b"", server: b""}
        self._group = _Group()
        self._queue: deque[_Group] = deque()
        self._prepared: dict[bytes, str] = {}
        self._portals: dict[bytes, str] = {}
        self._status = ""
        self._holds: Effect = "local"
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
        self.at_server = None
        self._queue.clear()

    def _read(self, end: socket.socket, take: Callable[[list[tuple[int, bytes]]], None]) -> None:
        try:
            data = end.recv(_BUFFER)
        except OSError:
            data = b""
        if not data:
            self.close()
            self._gate.sessions[self.process].remove(self)
            self._gate.listener.moves(self.process) if self._gate.listener else None
            return
        if self._startup is not None and end is self.client:
            data = self._start(self._startup + data)
        data = self._from[end] + data
        messages, place = [], 0
        while len(data) - place >= 5:
            size = 1 + int.from_bytes(data[place + 1 : place + 5], "big")
            if len(data) - place < size:
                break
            messages.append((data[place], data[place : place + size]))
            place += size
        self._from[end] = data[place:]
        take(messages)

    def _start(self, data: bytes) -> bytes:
        """Take the untyped messages; gives what follows them."""
        while len(data) >= 8:
            length, code = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
            if code in _DECLINED:
                self.client.sendall(b"N")
                data = data[8:]
                continue
            if len(data) < length:
                break
            self._startup = None
            self.server.sendall(data[:length])
            return data[length:]
        self._startup = data
        return b""

    # What the client sends.

    def _asked(self, messages: list[tuple[int, bytes]]) -> None:
        for what, message in messages:
            if what in b"pXdcf":  # a password, the end, COPY data of what runs
                self.server.sendall(message)
                continue
            self._group.messages.append(message)
            body = message[5:]
            match what:
                case 0x50:  # Parse: statement, SQL
                    name, _, rest = body.partition(b"\0")
                    self._prepared[name] = rest.partition(b"\0")[0].decode("utf-8", "replace")
                case 0x42:  # Bind: portal, statement
                    portal, name, _ = body.split(b"\0", 2)
                    self._portals[portal] = self._prepared.get(name, "")
                case 0x45:  # Execute: portal
                    self._group.texts.append(self._portals.get(body.partition(b"\0")[0], ""))
                case 0x51:  # Query
                    self._group.texts += statements(body.partition(b"\0")[0].decode("utf-8", "replace"))
                    self._end(b"Q")
                case 0x46:  # FunctionCall
                    self._group.texts.append("function call")
                    self._end(b"F")
                case 0x53:  # Sync
                    self._end(b"S")
                case 0x48 if self._group.texts:  # Flush
                    self._end(b"H")
        self.advance()

    def _end(self, end: bytes) -> None:
        group, self._group = self._group, _Group()
        group.end, group.left = end, len(group.texts)
        self._queue.append(group)

    def advance(self) -> None:
        """Send what may go, and say what may not."""
        while self._queue and self.at_server is None:
            group = self._queue[0]
            group.effect = self._effect(group)
            if group.effect != "local" and not self._gate.pays(self.process):
                if not self.asked and self._gate.listener is not None:
                    self.asked = True
                    self._gate.listener.held(self.process, self.number, group.kind, group.shape, group.effect)
                return
            self._queue.popleft()
            self.asked = False
            self._send(group)

    def _send(self, group: _Group) -> None:
        self.at_server = group
        messages = group.messages
        if (
            self._gate.turning
            and self._status == "I"
            and group.effect != "local"
            and not group.commits
            and len(group.texts) == 1
        ):
            if group.end == b"S":
                group.split = True
                messages = [*messages[:-1], _FLUSH]
            elif (
                group.end == b"Q"
                and group.kind in ("read", "write")
                and not group.texts[0].lstrip().upper().startswith("COPY")
            ):
                group.split = group.translated = True
                messages = _extended(group.texts[0])
        self._gate.begun()
        self.server.sendall(b"".join(messages))

    def _effect(self, group: _Group) -> Effect:
        if group.commits:
            return "write"
        if not group.texts:
            return "local"
        return max((self._effect_of(text) for text in group.texts), key=_MORE.__getitem__)

    def _effect_of(self, text: str) -> Effect:
        what, form = kind(text), shape(text)
        if what == "begin":
            return "local"
        if what in ("commit", "rollback"):
            return self._holds
        if what == "read" and not _LOCKS.search(form):
            called = {name.lower().rpartition(".")[2] for name in _CALLED.findall(form)}
            return "read" if called <= _HARMLESS else "write"
        return "local" if what == "other" and _OWN.match(form) else "write"

    # What the server sends.

    def _answered(self, messages: list[tuple[int, bytes]]) -> None:
        out = []
        for what, message in messages:
            group = self.at_server
            if group is None or not group.translated or what not in b"12n":  # ParseComplete, BindComplete, NoData
                out.append(message)
            if what == 0x4B:  # BackendKeyData
                self.pid = int.from_bytes(message[5:9], "big")
        if out:
            with suppress(OSError):  # the client is gone
                self.client.sendall(b"".join(out))
        for what, message in messages:
            self._answer(what, message[5:])

    def _answer(self, what: int, body: bytes) -> None:
        group = self.at_server
        if what == 0x5A:  # ReadyForQuery
            self._status = body[:1].decode("ascii")
            if group is not None:
                self._over(group)
        elif group is None:
            return
        elif what == 0x45:  # ErrorResponse
            group.error = next(
                (part[1:].decode("ascii", "replace") for part in body.split(b"\0") if part[:1] == b"C"), "error"
            )
            if group.split:  # nothing is left to commit, and the server skips all until it reads a Sync
                group.split = False
                self.server.sendall(_SYNC)
        elif what in b"CIs" and group.left:  # CommandComplete, EmptyQueryResponse, PortalSuspended
            group.left -= 1
            if group.left == 0 and (group.split or group.end == b"H"):
                self._over(group)

    def _over(self, group: _Group) -> None:
        """A group has been answered."""
        self.at_server = None
        if group.split:
            self._queue.appendleft(_Group([_SYNC], commits=True))
        elif self._status in ("T", "E"):
            self._holds = max(self._holds, group.effect, key=_MORE.__getitem__)
        else:
            self._holds = "local"
        if group.texts or group.commits:
            self._gate.note(self.process, Ran(self.number, group.kind, group.shape, group.effect, group.error))
        if self._gate.listener is not None:
            self._gate.listener.moves(self.process)
        if group.split and group.effect == "read":  # it has only read: the end of that is nothing to anybody
            commit = self._queue.popleft()
            self.at_server = commit
            self.server.sendall(_SYNC)
            return
        self.advance()


def _extended(sql: str) -> list[bytes]:
    """Say a simple Query in the extended protocol, without its Sync."""
    text = sql.encode()
    bodies = (
        (b"P", b"\0" + text + b"\0\0\0"),
        (b"B", b"\0\0" + b"\0\0" * 3),
        (b"D", b"P\0"),
        (b"E", b"\0" + b"\0\0\0\0"),
    )
    return [what + (len(body) + 4).to_bytes(4, "big") + body for what, body in bodies] + [_FLUSH]
