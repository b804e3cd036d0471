"""A system in any language: a command that is asked and answers, one JSON object a line (docs/any-language.md).

Each worker process starts the command once, in its own process group, and asks one thing at a time. The command's standard error is
the worker's, so it goes to `logs/<name>.txt`. Whatever it says on its standard output that is not the answer waited for ends the run.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import select
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from harness.errors import ProtocolBroken, SystemUnusable
from harness.outcome import Failure, kind_of

PREFIX: Final = "exec:"  # of a command, where a system is named
LONGEST_LINE: Final = 1 << 20  # bytes of an answer
HELLO_SECONDS: Final = 15.0  # in which a command has started and answered its first line
ANSWER_SECONDS: Final = (
    12.0  # for any other answer; an operation begun at the last moment of a race is still named before its process is
)
END_SECONDS: Final = 5.0  # in which a command ends once its input has
LOOK_SECONDS: Final = 0.2  # between two looks whether a command has ended whose output somebody else keeps open
QUOTED: Final = 160  # characters of a line that are shown

# What a command can be asked, with the names of the arguments, in the order of `harness.protocols.System`.
METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    "install": (),
    "enqueue": ("jobs",),
    "claim": ("worker", "limit"),
    "complete": ("worker", "handles"),
    "fail": ("worker", "handles"),
    "heartbeat": ("worker", "handles"),
    "recover": (),
    "report_progress": ("job", "fraction"),
    "flush_progress": ("job",),
    "read_progress": ("job",),
    "submit_run": ("tag", "jobs"),
    "read_run": ("run",),
    "add_actions": ("job", "names"),
    "delete_many": ("kind", "ids"),
    "clean_by_tag": ("tag",),
    "wipe_all": (),
    "status_all": (),
    "close": (),
}
# What a hello may say beside its capabilities, as a class says it by its attributes.
PROMISES: Final = ("databases", "semantics", "lease_seconds", "ordered", "max_workers", "services")

_LIBC: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG: Final = 1


class CommandError(Exception):
    """An error that a command answered with; `failure` is how it is recorded."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def words_of(command: str, url: str) -> list[str]:
    """The words of a command line with the URL in its place; no shell reads it. Raises `SystemUnusable`."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise SystemUnusable(
            f"The system {PREFIX}{command} cannot be started: {error}. Give a command as a shell would take it."
        ) from error
    if not words:
        raise SystemUnusable(f"The system {PREFIX}{command} names no command. Give exec:./worker --db {{url}}.")
    return [word.replace("{url}", url) for word in words]


class CommandSystem:
    """A system whose methods are asked of a command, started in `folder`: those it lists in the answer to its hello.

    An error it answers with is a `CommandError`. Raises `SystemUnusable` where it cannot be started or offers what there is not, and
    `ProtocolBroken` for whatever it says, or does not say, instead of an answer; nothing more is asked of it then.
    """

    def __init__(
        self,
        command: str,
        folder: str,
        worker: str,
        url: str,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        **options: Any,
    ) -> None:
        """Start the command for a worker of that name. Options of a scenario go to it in its hello."""
        self.command = command
        self._answer_seconds = answer_seconds
        self._asking = threading.Lock()  # threads of a worker share its command, which does one thing at a time
        self._number, self._op = 0, ""  # of the last request
        self._have = bytearray()
        self._broken = ""
        self._log_from = _log_size()
        self._process = self._start(words_of(command, url), folder)
        try:
            said = self._ask("hello", HELLO_SECONDS, {"worker": worker, "url": url, "options": options})
            self.capabilities = self._take_hello(said)
        except BaseException:
            self._kill()
            raise

    def _start(self, words: Sequence[str], folder: str) -> subprocess.Popen[bytes]:
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                cwd=folder,
                preexec_fn=functools.partial(_die_with, os.getpid()),  # noqa: PLW1509  # one system call, loaded before the fork
            )
        except OSError as error:
            raise SystemUnusable(
                f"The system {PREFIX}{self.command} cannot be started: {words[0]}: {error.strerror}. Give a program that is on the "
                f"PATH or a path from {folder}, which this user may execute."
            ) from error
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018  # both are pipes
        os.set_blocking(process.stdin.fileno(), False)
        os.set_blocking(process.stdout.fileno(), False)
        return process

    def _take_hello(self, said: object) -> tuple[str, ...]:
        """Make a method of each capability, and an attribute of whatever else it promises."""
        capabilities: Any = said.get("capabilities") if isinstance(said, dict) else None
        if not isinstance(said, dict) or not _texts(capabilities):
            self._break(
                f"The command answered its hello with {_quote(said)}",
                'a worker says first what it can do: {"capabilities":["install","enqueue","claim","complete"]}',
            )
        unknown = [name for name in capabilities if name not in METHODS]
        lists = [name for name in ("databases", "services") if said.get(name) is not None and not _texts(said[name])]
        if unknown or lists:
            faults = [f"its hello lists {_quote(name)}, which nothing is asked by" for name in unknown]
            faults += [f"its hello gives {name} as {_quote(said[name])}, which is no list of names" for name in lists]
            raise SystemUnusable(
                f"The system {PREFIX}{self.command} cannot be used: {'; '.join(faults)}. There are: {', '.join(METHODS)}."
            )
        for name in capabilities:
            if name != "close":
                setattr(self, name, functools.partial(self._call, name))
        for name in PROMISES:
            if said.get(name) is not None:
                setattr(self, name, said[name])
        return tuple(capabilities)

    def _call(self, name: str, *arguments: object) -> Any:
        given = dict(zip(METHODS[name], arguments, strict=False))
        if "ids" in given:
            given["ids"] = list(given["ids"])  # type: ignore[call-overload]  # any iterable
        return self._ask(name, self._answer_seconds, given)

    def close(self) -> None:
        """Ask it to close, where it can, and end its input; it must end then. Raises `CommandError` where it did not, or ended badly."""
        if self._broken:
            self._kill()
            return
        try:
            if "close" in self.capabilities:
                self._ask("close", self._answer_seconds, {})
            self._see_off()
        finally:
            self._kill()

    def _ask(self, op: str, seconds: float, arguments: Mapping[str, object]) -> Any:
        with self._asking:
            if self._broken:
                raise ProtocolBroken(self._broken)
            self._number += 1
            request = {"id": self._number, "op": op, **arguments}
            text = json.dumps(request, separators=(",", ":"), default=str)
            self._op = op
            try:
                line = self._exchange(text.encode() + b"\n", seconds)
            except ProtocolBroken:
                raise
            except BaseException:  # interrupted: an answer may still come, and would be taken for the next
                self._broken = f"The command was interrupted in `{op}`, so nothing more can be asked of it."
                raise
            return self._answer(line)

    def _exchange(self, request: bytes, seconds: float) -> bytes:
        """Send a line while reading; give the next line that comes."""
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018  # both are pipes
        into, out = self._process.stdin.fileno(), self._process.stdout.fileno()
        poll = select.poll()
        poll.register(out, select.POLLIN)
        poll.register(into, select.POLLOUT)
        deadline = time.monotonic() + seconds
        unsent = memoryview(request)
        searched = 0
        while True:
            end = self._have.find(b"\n", searched)
            searched = len(self._have)
            if end > LONGEST_LINE or (end < 0 and searched > LONGEST_LINE):
                self._break(
                    f"The command printed a line of more than {LONGEST_LINE:,} bytes, which begins {_quote(self._have)}",
                    "an answer holds more than was asked for, or its end of line is missing",
                )
            if end >= 0:
                line = bytes(self._have[:end])
                del self._have[: end + 1]
                return line
            left = deadline - time.monotonic()
            if left <= 0:
                self._late(seconds)
            ready = dict(poll.poll(1000 * min(left, LOOK_SECONDS)))
            if into in ready:
                try:
                    unsent = unsent[os.write(into, unsent) :]
                except BrokenPipeError:  # it may have answered before it closed its input
                    unsent = unsent[:0]
                except BlockingIOError:
                    pass
                if not unsent:
                    poll.unregister(into)
            if out in ready:
                try:
                    more = os.read(out, 1 << 16)
                except BlockingIOError:
                    continue
                if not more:
                    self._gone()
                self._have += more
            elif not ready and self._process.poll() is not None:
                self._gone()

    def _answer(self, line: bytes) -> Any:
        """Read the answer to the last request."""
        quoted = _quote(line)
        try:
            reply = json.loads(line, parse_constant=_no_number)
        except UnicodeDecodeError:
            self._break(f"The command printed {quoted}, which is not UTF-8", "its output has another encoding")
        except (ValueError, RecursionError):
            self._break(
                f"The command printed {quoted}, which is not JSON",
                "something in it prints to standard output, such as a log line or a banner: that belongs on standard error",
            )
        if not isinstance(reply, dict) or "id" not in reply:
            self._break(
                f"The command printed {quoted}, which is no answer, as it has no `id`",
                "something in it prints to standard output, or the `id` of the request is not copied into the answer",
            )
        number = reply["id"]
        if number != self._number or isinstance(number, bool):
            earlier = isinstance(number, int) and number is not True and 0 < number < self._number
            self._break(
                f"The command answered request {_quote(number)}, "
                f"{'which was answered before' if earlier else 'which was not made'}: {quoted}",
                "an answer is sent twice, or not in the order of the requests, which are made one at a time"
                if earlier
                else "it counts by itself: the `id` of the request is to be copied into the answer, as the number it is",
            )
        if ("ok" in reply) == ("error" in reply):
            both = "ok" in reply
            self._break(
                f"The command's answer has {'both `ok` and `error`' if both else 'neither `ok` nor `error`'}: {quoted}",
                "an answer without a value needs a null: JSON.stringify and its like leave out what is undefined",
            )
        if "ok" in reply:
            return reply["ok"]
        raise CommandError(self._failure(reply["error"], quoted))

    def _failure(self, error: object, quoted: str) -> Failure:
        if not isinstance(error, dict) or not isinstance(error.get("message"), str):
            self._break(f"The command's error has no text `message`: {quoted}", "the error was put there as it is")
        definite, named, code = (error.get(name) for name in ("definite", "class", "code"))
        if not isinstance(definite, bool | None) or not isinstance(named, str | None):
            self._break(
                f"The command's error has a `definite` that is not true or false, or a `class` that is no text: {quoted}",
                'a text, such as "true", stands where a value should',
            )
        if not isinstance(code, str | int | None):
            self._break(
                f"The command's error has a `code` that is no text or number: {quoted}", "it is the code's own object"
            )
        code = None if code is None else str(code)
        kind = kind_of(code) or ("refused" if definite else "other")
        return Failure("fail" if definite else "info", kind, named or "error", code, error["message"][:2000])

    def _late(self, seconds: float) -> NoReturn:
        if self._have:
            self._break(
                f"The command printed {_quote(self._have)} without an end of line and nothing more for {seconds:g} s",
                "the end of line is missing, or it stopped in the middle of its answer",
                last_words(self._log_from),
            )
        self._break(
            f"The command did not answer within {seconds:g} s",
            "its answer is in a buffer (flush after each line), it waits for a lock that is never released, or it has stopped reading"
            + ("" if self._op == "hello" else "; one that needs longer is given it by --option answer_seconds=60"),
            last_words(self._log_from),
        )

    def _gone(self) -> NoReturn:
        """It has ended, or at least its output has."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        code = self._process.returncode
        how = "closed its standard output" if code is None else f"ended ({_ended(code)})"
        where = f" in the middle of a line, {_quote(self._have)}" if self._have else ""
        self._break(
            f"The command {how}{where}{'' if where else ' without an answer'}",
            "it reads one line and ends, or an error that nothing caught ended it"
            if code == 0
            else "an error that nothing caught ended it",
            last_words(self._log_from),
        )

    def _break(self, seen: str, cause: str, words: str = "", expected: str = "") -> NoReturn:
        expected = (
            expected or f'Expected one line such as {{"id":{self._number},"ok":…}} as the answer to `{self._op}`.'
        )
        self._broken = f"{seen}. {expected} Likely cause: {cause}.{words}"
        self._kill()
        raise ProtocolBroken(self._broken)

    def _see_off(self) -> None:
        """End its input, hear what it still says, and wait for its end."""
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018  # both are pipes
        self._process.stdin.close()
        out = self._process.stdout.fileno()
        poll = select.poll()
        poll.register(out, select.POLLIN)
        deadline = time.monotonic() + END_SECONDS
        while b"\n" not in self._have and (left := deadline - time.monotonic()) > 0:
            if not poll.poll(1000 * min(left, LOOK_SECONDS)):
                if self._process.poll() is not None:
                    break
                continue
            more = os.read(out, 1 << 16)
            if not more:
                break
            self._have += more
        if self._have:
            self._break(
                f"The command printed {_quote(self._have)} after its last answer",
                "an answer is sent twice, or something in it prints to standard output",
                expected=f"Expected nothing, as `{self._op}` was answered and its input has ended.",
            )
        try:
            code = self._process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            said = f"The command did not end within {END_SECONDS:g} s of the end of its input, and was killed."
            raise CommandError(Failure("info", "timeout", "error", None, said)) from None
        if code:
            said = f"The command ended badly at the end of its input ({_ended(code)}).{last_words(self._log_from)}"
            raise CommandError(Failure("info", "other", "error", str(code), said))

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _die_with(parent: int) -> None:
    """In the child: have it killed when the worker is, by any signal (Linux, prctl(2) PR_SET_PDEATHSIG)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def last_words(since: int) -> str:
    """The last line of this process's log, where standard error is one that can be read: a sentence, or nothing."""
    with contextlib.suppress(OSError):
        size = os.fstat(2).st_size
        text = os.pread(2, 4096, max(since, size - 4096)).decode(errors="replace").strip()
        if text:
            return f" Its last words: {text.splitlines()[-1][:200]!r}."
    return ""


def _log_size() -> int:
    with contextlib.suppress(OSError):
        return os.fstat(2).st_size
    return 0


def _ended(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _quote(said: object) -> str:
    """Show what was said, shortened: a line as it came, with everything escaped that does not print, or a value as JSON."""
    if isinstance(said, bytes | bytearray):
        text = said[: 4 * QUOTED].decode(errors="backslashreplace")
        return f"{text[:QUOTED]!r}… ({len(said):,} bytes)" if len(text) > QUOTED else repr(text)
    text = json.dumps(said)
    return f"{text[:QUOTED]}…" if len(text) > QUOTED else text
