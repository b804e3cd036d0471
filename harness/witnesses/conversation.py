"""One Postgres connection, followed message by message: what was asked, what was answered, what was committed.

Does no input or output and reads no clock, so recorded bytes are enough to test it. Protocol 3, as in
https://www.postgresql.org/docs/current/protocol-flow.html and protocol-message-formats.html. Values are never looked at: of a
Bind only the two names at its head are read, of a password message nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final, Literal, NamedTuple

from harness.history import StatementKind
from harness.outcome import ErrorKind, sqlstate
from harness.witnesses.shapes import kind, shape, statements
from harness.witnesses.statement import Statement

_WHOLE: Final = 1 << 32  # read all of a message
_HEAD: Final = 4096  # bytes: enough for the names, tags and codes at the head of a message
_TYPE_AND_LENGTH: Final = Struct("!BI")  # the length counts itself but not the type

# How many bytes of each type of message are read; types that are not here pass unread.
ASKED: Final[Mapping[int, int]] = {**dict.fromkeys(b"PQ", _WHOLE), **dict.fromkeys(b"BECSFcf", _HEAD)}
ANSWERED: Final[Mapping[int, int]] = dict.fromkeys(b"1CIsVEZKGW", _HEAD)


class Frames:
    """Cuts one direction of a connection into messages, however the network cut it, without copying what is not read."""

    def __init__(self, read: Mapping[int, int]) -> None:
        self._read = read
        self._skip = 0  # bytes still to come that nobody reads
        self._begun: list[bytes] = []  # the pieces of a message that must be read and is not all there
        self._have = self._need = 0  # bytes: how long they are, and how long they must be

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Give the type and the part to read of each message that these bytes bring far enough.

        Raises `ValueError` at an impossible length: this is not the protocol.
        """
        if self._begun:
            self._begun.append(data)
            self._have += len(data)
            if self._have < self._need:
                return []
            data = b"".join(self._begun)
            self._begun = []
        messages = []
        read, cut = self._read.get, _TYPE_AND_LENGTH.unpack_from
        place, end = self._skip, len(data)
        while place < end:
            need = 5
            if place + 5 <= end:
                what, length = cut(data, place)
                if length < 4:
                    raise ValueError(f"a message of type {what} and length {length} is not the Postgres protocol")
                most = read(what)
                if most is None:
                    place += 1 + length
                    continue
                need = 1 + length if length < most else 1 + most
                if place + need <= end:
                    messages.append((what, data[place + 5 : place + need]))
                    place += 1 + length
                    continue
            self._begun = [data[place:]]
            self._have, self._need = end - place, need
            place = end
        self._skip = place - end
        return messages


class _Text(NamedTuple):
    """A statement's text, read."""

    kind: StatementKind
    shape: str

    @classmethod
    def of(cls, sql: str) -> _Text:
        return cls(kind(sql), shape(sql))


_UNKNOWN: Final = _Text("other", "")


@dataclass(slots=True)
class _Step:
    """Something the client sent that the server will answer, in order."""

    what: Literal["parse", "execute", "query", "sync", "copy end"]
    statement: Statement | None = None
    rest: Sequence[_Text] = ()  # of a query: the statements after this one
    awaited: bool = False  # a new round trip cannot begin before this is answered


class Conversation:
    """The state of one connection, fed with the bytes of both directions; hands each statement to `write` when it is settled.

    Times are nanoseconds given by the caller. A statement is settled at the server's ReadyForQuery, which says what was committed.
    `pid` is the server's process, `status` its transaction state (I idle, T in a transaction, E in a failed one); both are empty
    until the server is ready. `committed` counts how often something that was written was committed.
    """

    def __init__(self, connection: int, opened: int, write: Callable[[Iterable[Statement]], None]) -> None:
        self.pid = 0
        self.status = ""
        self.committed = 0
        self._wrote = False  # something that is not yet committed
        self._write = write
        self._connection = connection
        self._opening: Statement | None = Statement(connection, opened, "connect", "")
        self._asked, self._answered = Frames(ASKED), Frames(ANSWERED)
        self._steps: deque[_Step] = deque()
        self._prepared: dict[bytes, _Text] = {}
        self._portals: dict[bytes, _Text] = {}
        self._awaited = 0  # steps whose answer ends a round trip
        self._quiet_since = 0  # when the client had the last answer it waited for
        self._group_executes = False  # since the last Sync
        self._skipping = False  # the server ignores everything up to the next Sync, after an error
        self._copying = False  # the server takes COPY data, and ignores Sync
        self._settling: list[Statement] = []
        self._in_block = False  # in a transaction that a BEGIN opened
        self._loose: Statement | None = None  # the last statement outside such a block, committed by the next Sync

    def asked(self, data: bytes, now: int) -> None:
        """Take note of bytes the client sent, read at `now`. Raises `ValueError` where they are not the protocol."""
        for what, body in self._asked.feed(data):
            if what == 0x53:  # Sync
                self._sync()
            elif not self._skipping:
                self._ask(what, body, now)

    def answered(self, data: bytes, now: int) -> None:
        """Take note of bytes the server sent, which the client has at `now`. Raises `ValueError` as `asked` does."""
        for what, body in self._answered.feed(data):
            self._answer(what, body, now)

    def lost(self, now: int) -> None:
        """Take note that nothing more will come; whatever is unanswered may or may not have happened."""
        unanswered = [step.statement for step in self._steps if step.statement is not None and step.awaited]
        if self._opening is not None:
            unanswered.append(self._opening)
            self._opening = None
        for statement in unanswered:
            statement.t1 = now
            statement.error = ("connection", None)
        self._steps.clear()
        self._settle(unanswered)

    # What the client sends.

    def _ask(self, what: int, body: bytes, now: int) -> None:
        match what:
            case 0x50:  # Parse: statement, SQL
                name, _, rest = body.partition(b"\0")
                self._prepared[name] = text = _Text.of(_decode(rest))
                self._steps.append(_Step("parse", self._begin(text, now)))
            case 0x42:  # Bind: portal, statement
                portal, name, _ = body.split(b"\0", 2)
                self._portals[portal] = self._prepared.get(name, _UNKNOWN)
            case 0x45:  # Execute: portal
                self._group_executes = True
                self._await("execute", self._portals.get(body.partition(b"\0")[0], _UNKNOWN), now)
            case 0x51:  # Query
                texts = [_Text.of(sql) for sql in statements(_decode(body))]
                self._await("query", texts[0] if texts else _UNKNOWN, now, texts[1:])
            case 0x46:  # FunctionCall
                self._await("query", _Text("other", "function call"), now)
            case 0x43:  # Close: S or P, name
                (self._prepared if body[:1] == b"S" else self._portals).pop(body[1:].partition(b"\0")[0], None)
            case 0x63 | 0x66:  # CopyDone, CopyFail
                if self._copying:
                    self._copying = False
                else:
                    self._steps.append(_Step("copy end"))

    def _begin(self, text: _Text, now: int) -> Statement:
        return Statement(self._connection, now, text.kind, text.shape)

    def _await(self, what: Literal["execute", "query"], text: _Text, now: int, rest: Sequence[_Text] = ()) -> None:
        statement = self._begin(text, now)
        if not self._awaited and now >= self._quiet_since:
            statement.trips = 1
        self._awaited += 1
        self._steps.append(_Step(what, statement, rest, awaited=True))

    def _sync(self) -> None:
        if not self._copying:
            self._steps.append(_Step("sync", awaited=self._group_executes))
            self._awaited += self._group_executes
            self._group_executes = self._skipping = False

    # What the server sends.

    def _answer(self, what: int, body: bytes, now: int) -> None:
        if self._opening is not None:
            self._open(what, body, now)
            return
        steps = self._steps
        while steps and steps[0].what == "copy end":  # the server was not copying any more, so it ignored it
            steps.popleft()
        first = steps[0].what if steps else ""
        match what:
            case 0x31 if first == "parse":  # ParseComplete
                self._drop(now)
            # CommandComplete, EmptyQueryResponse, PortalSuspended, FunctionCallResponse
            case 0x43 | 0x49 | 0x73 | 0x56 if first in ("execute", "query"):
                self._complete(steps[0], body if what == 0x43 else b"", now, empty=what == 0x49)
            case 0x45:  # ErrorResponse
                self._fail(_error(body), now)
            case 0x47 | 0x57 if steps:  # CopyInResponse, CopyBothResponse
                self._copy_in()
            case 0x5A:  # ReadyForQuery
                self._ready(body[:1].decode("ascii"), now)

    def _open(self, what: int, body: bytes, now: int) -> None:
        opening = self._opening
        if opening is None:
            return
        if what == 0x4B:  # BackendKeyData
            self.pid = int.from_bytes(body[:4], "big")
        elif what in b"EZ":
            opening.t1 = self._quiet_since = now
            if what == 0x45:
                opening.error = _error(body)
            else:
                self.status = body[:1].decode("ascii")
            self._opening = None
            self._write([opening])

    def _drop(self, now: int) -> None:
        """The first step is answered in full."""
        if self._steps.popleft().awaited:
            self._awaited -= 1
            self._quiet_since = now

    def _complete(self, step: _Step, tag: bytes, now: int, *, empty: bool) -> None:
        statement = step.statement or Statement(
            self._connection, now, "other", ""
        )  # more answers than we read statements
        statement.t1 = now
        self._settling.append(statement)
        ends = statement.kind in ("commit", "rollback")  # not ROLLBACK TO, whose tag is ROLLBACK too
        if tag == b"COMMIT\0":
            statement.commits = self._in_block or self._loose is not None
            self._in_block, self._loose = False, None
        elif tag == b"ROLLBACK\0" and ends:  # also a COMMIT of a failed transaction
            self._in_block, self._loose = False, None
        elif tag in (b"BEGIN\0", b"START TRANSACTION\0"):
            self._in_block, self._loose = True, None  # what came before in this group belongs to the block
        elif not self._in_block and not empty:
            self._loose = statement
        if step.what == "query":
            step.statement = self._begin(step.rest[0], now) if step.rest else None
            step.rest = step.rest[1:]
        else:
            self._drop(now)

    def _fail(self, error: tuple[ErrorKind, str | None], now: int) -> None:
        self._loose = None  # the implicit transaction is undone
        self._copying = False
        steps = self._steps
        group = []  # what the server skips: everything up to the next Sync
        if not steps or steps[0].what != "query":
            while steps and steps[0].what != "sync":
                group.append(steps.popleft())
            self._awaited -= sum(step.awaited for step in group)
            self._skipping = not steps
        failed = next((s.statement for what in ("execute", "parse") for s in group if s.what == what), None)
        if steps and steps[0].what == "query":
            failed = steps[0].statement or self._begin(_UNKNOWN, now)
            steps[0].statement, steps[0].rest = None, ()
        if failed is not None:
            failed.t1, failed.error = now, error
            self._settling.append(failed)
        elif steps and self._settling:  # at the Sync: the transaction could not be committed (40001, a deferred check)
            self._settling[-1].commits, self._settling[-1].error = False, error
        if not steps:
            self._quiet_since = now

    def _copy_in(self) -> None:
        """COPY takes data now; a Sync sent along with its Execute, before that was known, is ignored by the server."""
        ahead = list(self._steps)[1:]
        done = next((place for place, step in enumerate(ahead) if step.what == "copy end"), None)
        self._copying = done is None
        ignored = ahead if done is None else ahead[: done + 1]
        self._awaited -= sum(step.awaited for step in ignored)
        self._group_executes |= done is None and any(step.awaited for step in ignored)
        self._steps = deque([self._steps[0], *ahead[len(ignored) :]])

    def _ready(self, status: str, now: int) -> None:
        if self._steps and self._steps[0].what in ("sync", "query"):
            self._drop(now)
        self.status = status
        if status == "I" and self._loose is not None and not self._in_block:
            self._loose.commits = True
        self._loose = None
        self._in_block = status != "I"
        self._settle([])

    def _settle(self, more: list[Statement]) -> None:
        settled, self._settling = [*self._settling, *more], []
        for statement in settled:
            self._wrote = (self._wrote or statement.kind == "write") and statement.kind != "rollback"
            if statement.commits and statement.error is None:
                self.committed += self._wrote
                self._wrote = False
        if settled:
            self._write(settled)


def _decode(body: bytes) -> str:
    return body.partition(b"\0")[0].decode("utf-8", "replace")


def _error(body: bytes) -> tuple[ErrorKind, str | None]:
    """Read the SQLSTATE of an ErrorResponse: fields of one letter and a text, of which C is the code."""
    code = next((part[1:].decode("ascii", "replace") for part in body.split(b"\0") if part[:1] == b"C"), "")
    return sqlstate(code)[0], code or None
