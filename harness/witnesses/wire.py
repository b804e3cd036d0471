"""What Postgres saw, from a proxy between the processes and the server: one process, one loopback port for each name.

A process is known by the port it uses, so any client in any language is witnessed unchanged. Bytes are handed on first, with
the time taken, and read a moment later. Every byte is handed on as it came, except the requests for TLS and GSSAPI encryption,
which the proxy itself declines: passwords and SCRAM pass through, and channel binding, which needs TLS, cannot be had.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import resource
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from struct import pack
from time import monotonic_ns
from typing import IO, Any, Final
from urllib.parse import parse_qs, urlsplit

import orjson

from harness.errors import DatabaseUnavailable, RunAbandoned, UsageError
from harness.levers import Levers
from harness.protocols import Watching
from harness.witnesses.conversation import Conversation
from harness.witnesses.pools import watch_pools
from harness.witnesses.statement import Statement, StatementFile

DEFAULT_PORT: Final = 5432
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 30.0
_BUFFER: Final = memoryview(
    bytearray(1 << 18)
)  # what is read at once; `recv` would get that much new memory every time
_HELD: Final = 1 << 24  # bytes on their way in one direction, above which no more are read: 16 MiB is 20 ms at 800 MB/s
_QUIET_SECONDS: Final = 0.002  # without a byte, after which what has passed is read and written
_MOST_UNREAD: Final = 64  # pieces that have passed and are not yet read, while it is not quiet
_MOST_UNREAD_BYTES: Final = 1 << 20
DECLINED: Final = (80877103, 80877104)  # SSLRequest, GSSENCRequest
_CANCEL: Final = 80877102
_RESET: Final = pack("ii", 1, 0)  # of SO_LINGER: what is not sent yet is dropped, and the other side told so
_HARMLESS: Final = (b"X", b"p")  # Terminate, and an answer to a request for a password
_ENCRYPTED: Final = frozenset({"require", "verify-ca", "verify-full"})
_PROGRAM: Final = "from harness.witnesses.wire import serve; serve()"

# A server as sockets know it: the path of a Unix socket, or a host and a port.
Upstream = str | tuple[str, int]


class Wire:
    """The witness `wire`. `watch` raises `RunAbandoned` on leaving where the proxy died before it was told to stop."""

    name = "wire"

    @contextmanager
    def watch(
        self, url: str, processes: Sequence[str], folder: Path, *, latency_ms: float = 0.0, record: bool = True
    ) -> Iterator[Watching]:
        """Start the proxy before the server at `url`; give each process the URL of its own port.

        With nothing to record and no latency to add there is no proxy, and everyone gets `url` itself. Raises `UsageError`
        where the URL asks for encryption or is none, `DatabaseUnavailable` where its host is unknown, and `RunAbandoned` where
        the proxy does not start.
        """
        if not record and not latency_ms:
            yield Watching(dict.fromkeys(processes, url))
            return
        address = Address.of(url)
        order = _Order(address.upstream, list(processes), str(folder) if record else None, round(latency_ms * 5e5))
        proxy = _Proxy(order)
        with proxy as ports:
            urls = {process: address.through(port) for process, port in zip(processes, ports, strict=True)}
            yield Watching(urls, proxy)

    def enter(self, process: str, folder: Path, levers: Levers | None = None) -> None:  # noqa: ARG002  # they work on SQLite
        """Watch the process's pools; all else is seen from outside."""
        watch_pools(process, folder.with_name("pools"))


@dataclass(frozen=True, slots=True)
class Address:
    """A Postgres URL and the server it names. Never printed: it may hold a password."""

    url: str
    upstream: Upstream

    @classmethod
    def of(cls, url: str) -> Address:
        """Read a URL as libpq does: `host` and `port` of the query win over those before the path.

        Raises `UsageError` for what is no URL of one server, or asks for encryption, which a proxy cannot read.
        """
        try:
            parts = urlsplit(url)
            port: int | str = parts.port or DEFAULT_PORT
        except ValueError:
            parts, port = urlsplit(""), 0
        if not parts.scheme.startswith("postgres"):
            raise UsageError("The wire proxy needs a URL such as postgresql://user:password@host:5432/database.")
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        if query.get("sslmode") in _ENCRYPTED or query.get("channel_binding") == "require":
            raise UsageError(
                "The URL asks for an encrypted connection, which the wire proxy cannot read. "
                "Take out sslmode and channel_binding, or run without a witness."
            )
        host = query.get("hostaddr") or query.get("host") or parts.hostname or "localhost"
        port = query.get("port", port)
        if "," in host or not str(port).isdigit():
            raise UsageError(f"The wire proxy goes to one server, not to the hosts {host!r} and ports {str(port)!r}.")
        if host.startswith("/"):
            return cls(url, f"{host}/.s.PGSQL.{port}")
        return cls(url, (host, int(port)))

    def through(self, port: int) -> str:
        """Give the URL with the host and port of the proxy; all else is as it was, to the letter."""
        parts = urlsplit(self.url)
        user = parts.netloc.rpartition("@")[0]
        kept = [x for x in parts.query.split("&") if x.partition("=")[0] not in ("host", "hostaddr", "port")]
        netloc = f"{user}@127.0.0.1:{port}" if user else f"127.0.0.1:{port}"
        return parts._replace(netloc=netloc, query="&".join(kept)).geturl()


@dataclass(frozen=True, slots=True)
class _Order:
    """What the proxy's process is told, on its standard input."""

    upstream: Upstream
    processes: list[str]
    folder: str | None  # None: nothing is recorded
    delay_ns: int  # each way


class _Proxy:
    """The proxy's process, from outside: the `Network` it is. It ends when its standard input does, so it cannot outlive us."""

    def __init__(self, order: _Order) -> None:
        self._order = order
        self._one_at_a_time = threading.Lock()

    def __enter__(self) -> list[int]:
        self._words: IO[bytes] = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        order, answer = self._process.stdin, self._process.stdout
        assert order is not None and answer is not None  # noqa: S101, PT018  # both are pipes
        try:
            order.write(orjson.dumps(self._order, option=orjson.OPT_APPEND_NEWLINE))
            order.flush()
            ready, _, _ = select.select([answer], [], [], _START_SECONDS)
            line = answer.readline() if ready else b""
        except BrokenPipeError:
            line = b""
        if not line:
            self._process.kill()
            raise self._abandon("did not start")
        reply = orjson.loads(line)
        if "unreachable" in reply:
            self._process.wait()
            self._close()
            raise DatabaseUnavailable(
                f"The wire proxy cannot find the server: {reply['unreachable']}. Correct the host in the URL."
            )
        return [int(port) for port in reply["ports"]]

    def brake(self, process: str, *, on: bool) -> None:
        """Have the next statement of a process wait on its way, or let it go on."""
        self._tell("brake", process, on=on)

    def braked(self, process: str) -> bool:
        """Whether a statement of the process waits."""
        return bool(self._tell("look", process)["braked"])

    def backends(self, process: str) -> Sequence[int]:
        """The server's processes that serve its connections, by id."""
        return [int(pid) for pid in self._tell("look", process)["backends"]]

    def cut(self, process: str) -> int:
        """End its connections, both ways; gives how many there were."""
        return int(self._tell("cut", process)["sessions"])

    def lose(self, process: str, *, on: bool) -> None:
        """Have the answer to its next statement that commits something it wrote get lost, and its connection end; or not any more."""
        self._tell("lose", process, on=on)

    def lost(self, process: str) -> bool:
        """Whether an answer got lost since `lose` was last asked for."""
        return bool(self._tell("look", process)["lost"])

    def stall(self, process: str, *, on: bool) -> int:
        """Let no byte of its connections pass, and end none of them; or end them all. Gives how many there are."""
        return int(self._tell("stall", process, on=on)["sessions"])

    def delay(self, process: str, ms: float, jitter_ms: float = 0.0) -> None:
        """Add so much to each of its round trips, half each way, and on each way up to `jitter_ms` more."""
        self._tell("delay", process, way_ns=round(ms * 5e5), jitter_ns=round(jitter_ms * 1e6))

    def _tell(self, do: str, process: str, **how: object) -> dict[str, Any]:
        order, answer = self._process.stdin, self._process.stdout
        assert order is not None and answer is not None  # noqa: S101, PT018  # both are pipes
        with self._one_at_a_time:
            try:
                order.write(orjson.dumps({"do": do, "to": process, **how}, option=orjson.OPT_APPEND_NEWLINE))
                order.flush()
                line = answer.readline()
            except BrokenPipeError:
                line = b""
        if not line:
            raise RunAbandoned(f"The wire proxy was to {do} at {process} and is gone, so nobody saw what came after.")
        found: dict[str, Any] = orjson.loads(line)
        return found

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        died = self._process.poll() is not None
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        if died or self._process.wait() != 0:
            abandoned = self._abandon("died while it was in use" if died else "did not stop well")
            if error is None:
                raise abandoned
            error.add_note(str(abandoned))
        self._close()

    def _abandon(self, what: str) -> RunAbandoned:
        status = self._process.wait()
        self._words.seek(0)
        words = self._words.read()[-2000:].decode("utf-8", "replace").strip()
        self._close()
        return RunAbandoned(
            f"The wire proxy {what} (exit status {status}), so nobody saw all that the database did. "
            f"Its last words: {words or 'none'}. Run again; please report it if it happens twice."
        )

    def _close(self) -> None:
        for stream in (self._words, self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


# From here on: inside the proxy's process.


def serve() -> None:
    """Be the proxy: take an order from standard input, answer with the ports, work until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for our parent, who ends us when it is done
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    order = orjson.loads(sys.stdin.buffer.readline())
    try:
        server = _Server.find(order["upstream"])
    except OSError as error:
        print(orjson.dumps({"unreachable": str(error)}).decode(), flush=True)  # noqa: T201  # the answer, on a pipe
        return
    loop = _Loop()
    ports = []
    for process in order["processes"]:
        lines = None
        if order["folder"] is not None:
            lines = _Lines(StatementFile(Path(order["folder"]), process))
            loop.files.append(lines)
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        ports.append(listener.getsockname()[1])
        loop.ports[process] = _Port(loop, listener, server, lines, order["delay_ns"])
    gc.freeze()
    print(orjson.dumps({"ports": ports}).decode(), flush=True)  # noqa: T201  # the answer, on a pipe
    loop.run(until_ends=sys.stdin.fileno())


@dataclass(frozen=True, slots=True)
class _Server:
    """The server, its name already looked up."""

    family: int
    address: str | tuple[object, ...]

    @classmethod
    def find(cls, upstream: str | list[object]) -> _Server:
        if isinstance(upstream, str):
            return cls(socket.AF_UNIX, upstream)
        host, port = upstream
        family, _, _, _, address = socket.getaddrinfo(str(host), str(port), type=socket.SOCK_STREAM)[0]
        return cls(family, address)

    def connect(self) -> socket.socket:
        """Begin to connect. Where the server refuses, gives a socket that is at its end."""
        connection = socket.socket(self.family, socket.SOCK_STREAM)
        try:
            if self.family == socket.AF_UNIX:
                connection.connect(self.address)  # at once, or as soon as the server accepts
                connection.settimeout(0)
            else:
                connection.settimeout(0)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with contextlib.suppress(BlockingIOError):
                    connection.connect(self.address)
        except OSError:
            connection.close()
            connection, other = socket.socketpair()
            connection.settimeout(0)
            other.close()
        return connection


class _Loop:
    """Waits for sockets, and for bytes whose time has come. Everything else happens in the callbacks it calls."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        # A heap: when it is due, a number to keep the order, and what then has something to send.
        self.due: list[tuple[int, int, _Pipe]] = []
        self.numbers = count()
        self.sessions: set[_Session] = set()
        self.ports: dict[str, _Port] = {}
        self.files: list[_Lines] = []
        self._unread: list[tuple[Callable[..., None], tuple[object, ...]]] = []
        self._unread_bytes = 0

    def run(self, until_ends: int) -> None:
        """Work, and do what each line of this file says, until it ends; then take in what had already arrived."""
        ended, begun = False, b""

        def hear(_: int) -> None:
            nonlocal ended, begun
            read = os.read(until_ends, 1 << 16)
            ended = not read
            *lines, begun = (begun + read).split(b"\n")
            for line in lines:
                print(orjson.dumps(self._obey(orjson.loads(line))).decode(), flush=True)  # noqa: T201  # the answer, on a pipe

        self.selector.register(until_ends, selectors.EVENT_READ, (3, hear))
        while not ended:
            timeout = _QUIET_SECONDS if self._unread else None
            if self.due:
                timeout = (self.due[0][0] - monotonic_ns()) / 1e9
            worked = self.turn(timeout)
            if not worked or len(self._unread) >= _MOST_UNREAD or self._unread_bytes >= _MOST_UNREAD_BYTES:
                self.read_now()
        self.selector.unregister(until_ends)
        until = monotonic_ns() + max(port.longest_ns for port in self.ports.values()) + 1_000_000_000
        while (self.turn(0) or self.due) and monotonic_ns() < until:
            pass
        for session in list(self.sessions):
            session.lost()
        self.read_now()

    def _obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Do what `_Proxy` asks of the port of one process; tell how it stands there."""
        self.read_now()  # what it says of the port is to be of now
        port = self.ports[order["to"]]
        sessions = [session for session in self.sessions if session.port is port]
        match order["do"]:
            case "brake":
                port.brake = order["on"]
                for session in sessions if not port.brake else ():
                    session.release()
            case "lose":
                port.lose, port.lost = order["on"], False
            case "stall":
                port.stalled = order["on"]
                for session in sessions:
                    session.stall() if port.stalled else session.cut()
            case "delay":
                port.way_ns, port.jitter_ns = order["way_ns"], order["jitter_ns"]
            case "cut":
                for session in sessions:
                    session.cut()
        return {
            "sessions": len(sessions),
            "braked": any(session.braked for session in sessions),
            "lost": port.lost,
            "backends": [pid for session in sessions if (pid := session.backend)],
        }

    def read_later(self, read: Callable[..., None], *what: object, size: int = 0) -> None:
        """Call `read` with `what` once it is quiet, or enough has come together; in the order of these calls.

        Whoever was just woken may wait for our CPU: read at once, a round trip took 113 µs more than without a proxy, read in
        company 82 (medians of 6,000 `SELECT 1` on two busy cores).
        """
        self._unread.append((read, what))
        self._unread_bytes += size

    def read_now(self) -> None:
        """Read and write all that has passed."""
        unread, self._unread, self._unread_bytes = self._unread, [], 0
        for read, what in unread:
            read(*what)
        for file in self.files:
            file.write()

    def turn(self, timeout: float | None) -> bool:
        """Wait for at most `timeout` seconds (None: for ever) and do what there is to do; false where there was nothing."""
        if self.due and timeout is not None and timeout > 0:
            select.select([self.selector], [], [], timeout)  # epoll would round the time up to a whole millisecond
            timeout = 0
        events = self.selector.select(timeout)
        if len(events) > 1:
            # What a client sent before an answer reached it does not wait for that answer, so clients come first.
            events.sort(key=_place)
        for key, mask in events:
            key.data[1](mask)
        now = monotonic_ns() if self.due else 0
        while self.due and self.due[0][0] <= now:
            heappop(self.due)[2].flush(now)
        return bool(events)


def _place(event: tuple[selectors.SelectorKey, int]) -> int:
    place: int = event[0].data[0]
    return place


class _Lines:
    """Statements on their way to a file."""

    def __init__(self, file: StatementFile) -> None:
        self._file = file
        self._statements: list[Statement] = []
        self.add = self._statements.extend

    def write(self) -> None:
        """Write those there are."""
        if self._statements:
            self._file.write(self._statements)
            self._statements.clear()


class _Port:
    """The port of one process: each connection to it is a session of that process."""

    def __init__(
        self, loop: _Loop, listener: socket.socket, server: _Server, lines: _Lines | None, way_ns: int
    ) -> None:
        self.way_ns, self.jitter_ns = way_ns, 0  # added to each way, and at most so much more
        self.brake = False  # the next statement of each session waits
        self.lose = self.lost = False  # the next answer that tells of a commit is to get lost; one did
        self.stalled = False  # no byte passes
        self._loop = loop
        self._listener = listener
        self._server = server
        self._lines = lines
        self._connections = 0
        listener.settimeout(0)
        loop.selector.register(listener, selectors.EVENT_READ, (2, self._accept))

    def _accept(self, _: int) -> None:
        try:
            client, _address = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        client.settimeout(0)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _Session(self._loop, self, client, self._server.connect(), self._converse if self._lines is not None else None)

    @property
    def longest_ns(self) -> int:
        """The longest that one way may take."""
        return self.way_ns + self.jitter_ns

    def delay_ns(self) -> int:
        """How long the next bytes take on their way."""
        return self.way_ns + (random.randrange(self.jitter_ns) if self.jitter_ns else 0)  # noqa: S311  # no secret

    def _converse(self) -> Conversation:
        assert self._lines is not None  # noqa: S101  # given only where there is one
        self._connections += 1
        return Conversation(self._connections, monotonic_ns(), self._lines.add)


class _Pipe:
    """Bytes on their way to one socket: in order, each not before its time, as fast as the socket takes them."""

    def __init__(self, loop: _Loop, sink: socket.socket, changed: Callable[[], None]) -> None:
        self._loop = loop
        self._sink = sink
        self._changed = changed  # called when `blocked` or `full` may have changed
        self._queue: deque[tuple[int, memoryview | None]] = deque()  # None: the end
        self._held = 0
        self.blocked = False
        self.ended = False  # nothing more can be sent

    @property
    def full(self) -> bool:
        """Whether so much is on its way that no more should be read."""
        return self._held > _HELD

    def send(self, data: bytes, now: int, delay: int) -> None:
        """Send bytes, to arrive `delay` ns after `now`."""
        if not delay and not self._queue and not self.blocked:
            try:
                sent = self._sink.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:  # the other side is gone; what it would have got is lost, as it is without a proxy
                self.ended = True
                return
            if sent == len(data):
                return
            data = data[sent:]
            self.blocked = True
        if self.ended:
            return
        self._queue.append((now + delay, memoryview(data)))
        self._held += len(data)
        if delay:
            heappush(self._loop.due, (now + delay, next(self._loop.numbers), self))
        self._changed()

    def end(self, now: int, delay: int) -> None:
        """Let the socket end once everything has been sent."""
        self._queue.append((now + delay, None))
        if delay:
            heappush(self._loop.due, (now + delay, next(self._loop.numbers), self))
        self.flush(now)

    def flush(self, now: int) -> None:
        """Send what is due, as far as the socket takes it."""
        queue, was = self._queue, (self.blocked, self.full)
        self.blocked = False
        while queue and queue[0][0] <= now:
            due, data = queue[0]
            try:
                if data is None:
                    self.ended = True
                    self._sink.shutdown(socket.SHUT_WR)
                    sent = 0
                else:
                    sent = 0 if self.ended else self._sink.send(data)
            except BlockingIOError:
                self.blocked = True
                break
            except OSError:
                self.ended = True
                sent = 0
            if data is not None and not self.ended and sent < len(data):
                queue[0] = (due, data[sent:])
                self._held -= sent
                self.blocked = True
                break
            queue.popleft()
            self._held -= len(data) if data is not None else 0
        if was != (self.blocked, self.full):
            self._changed()


class _Session:
    """One client's connection and the one made for it to the server. Ends when both sides have ended."""

    def __init__(
        self,
        loop: _Loop,
        port: _Port,
        client: socket.socket,
        server: socket.socket,
        converse: Callable[[], Conversation] | None,
    ) -> None:
        self._loop = loop
        self.port = port
        self._stalled = port.stalled
        self._waiting = b""  # a statement held back by the brake
        self._client, self._server = client, server
        self._converse = converse
        self._conversation: Conversation | None = None
        self._startup: bytes | None = b""  # the untyped messages a connection begins with, while they last
        self._client_open = self._server_open = True
        self._masks = {client: 0, server: 0}
        self._to_client = _Pipe(loop, client, self._watch)
        self._to_server = _Pipe(loop, server, self._watch)
        loop.sessions.add(self)
        self._watch()

    def lost(self) -> None:
        """Take note that nothing more comes from the server; a connection it never took is one that failed."""
        if self._startup is not None and self._converse is not None:
            self._conversation, self._startup = self._converse(), None
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            self._loop.read_later(conversation.lost, monotonic_ns())

    @property
    def braked(self) -> bool:
        """Whether a statement is held back."""
        return bool(self._waiting)

    @property
    def backend(self) -> int:
        """The server's process; 0 where it is not known."""
        return 0 if self._conversation is None else self._conversation.pid

    def release(self) -> None:
        """Let on what the brake held back."""
        data, self._waiting = self._waiting, b""
        if data:
            self._ask(data, monotonic_ns())
            self._watch()

    def stall(self) -> None:
        """Let no byte pass any more."""
        self._stalled = True
        self._watch()

    def cut(self) -> None:
        """End both connections at once, as a network does that is gone: with a reset."""
        self.lost()
        for end in (self._client, self._server):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._client_open = self._server_open = False
        self._over()

    def _watch(self) -> None:
        """Wait for what can be done now."""
        read, write = selectors.EVENT_READ, selectors.EVENT_WRITE
        heard = self._client_open and not self._to_server.full and not self._waiting
        client = read * heard | write * self._to_client.blocked
        server = read * (self._server_open and not self._to_client.full) | write * self._to_server.blocked
        if self._stalled:
            client = server = 0
        self._wait_for(self._client, client, (0, self._from_client))
        self._wait_for(self._server, server, (1, self._from_server))

    def _wait_for(self, end: socket.socket, mask: int, data: tuple[int, Callable[[int], None]]) -> None:
        selector, was = self._loop.selector, self._masks[end]
        if mask == was:
            return
        self._masks[end] = mask
        if not was:
            selector.register(end, mask, data)
        elif mask:
            selector.modify(end, mask, data)
        else:
            selector.unregister(end)

    def _from_client(self, mask: int) -> None:
        if self not in self._loop.sessions:  # it was cut while this event waited its turn
            return
        if mask & selectors.EVENT_WRITE:
            self._to_client.flush(monotonic_ns())
        if not mask & selectors.EVENT_READ or (data := _receive(self._client)) is None:
            return
        now = monotonic_ns()
        if not data:
            # The server may still be at work, and commit: it is told of the end, and watched until it ends too.
            self._client_open = False
            self._to_server.end(now, self.port.delay_ns())
            self._over()
        elif self._startup is not None:
            self._start(self._startup + data, now)
        elif self.port.brake and data[:1] not in _HARMLESS:
            self._waiting = data
            self._watch()
        else:
            self._ask(data, now)

    def _ask(self, data: bytes, now: int) -> None:
        self._to_server.send(data, now, self.port.delay_ns())
        if self._conversation is not None:
            self._loop.read_later(self._conversation.asked, data, now, size=len(data))

    def _start(self, data: bytes, now: int) -> None:
        """Take the untyped messages: requests for encryption, which are declined, then a StartupMessage or CancelRequest."""
        while len(data) >= 8:
            length, code = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
            if code in DECLINED:
                self._to_client.send(b"N", now, 2 * self.port.delay_ns())
                data = data[8:]
                continue
            if len(data) < length:
                break
            self._startup = None
            self._to_server.send(data, now, self.port.delay_ns())
            if code != _CANCEL and self._converse is not None and self._server_open:
                self._conversation = self._converse()
                self._loop.read_later(self._conversation.asked, data[length:], now)
            return
        self._startup = data

    def _from_server(self, mask: int) -> None:
        if self not in self._loop.sessions:
            return
        if mask & selectors.EVENT_WRITE:
            self._to_server.flush(monotonic_ns())
        if not mask & selectors.EVENT_READ or (data := _receive(self._server)) is None:
            return
        now = monotonic_ns()
        if not data:
            self._server_open = False
            self.lost()
            self._to_client.end(now, self.port.delay_ns())
            self._over()
            return
        delay = self.port.delay_ns()
        if self.port.lose and self._conversation is not None and self._tells_of_commit(self._conversation, data, now):
            self.port.lose, self.port.lost = False, True
            self.cut()
            return
        self._to_client.send(data, now, delay)
        if self._conversation is not None and not self.port.lose:
            self._loop.read_later(self._conversation.answered, data, now + delay, size=len(data))

    def _tells_of_commit(self, conversation: Conversation, data: bytes, now: int) -> bool:
        """Read an answer before it is handed on: whether something that was written is committed by then."""
        self._loop.read_now()
        before = conversation.committed
        conversation.answered(data, now)
        return conversation.committed > before

    def _over(self) -> None:
        self._watch()
        if not self._client_open and not self._server_open:
            self._to_client.ended = self._to_server.ended = True
            self._wait_for(self._client, 0, (0, self._from_client))
            self._wait_for(self._server, 0, (1, self._from_server))
            self._client.close()
            self._server.close()
            self._loop.sessions.discard(self)


def _receive(end: socket.socket) -> bytes | None:
    """Read what has come: empty at the end, also after a reset; None where there was nothing after all."""
    try:
        return bytes(_BUFFER[: end.recv_into(_BUFFER)])
    except BlockingIOError:
        return None
    except OSError:
        return b""
