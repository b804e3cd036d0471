"""Right queues on SQLite, each with one thing it should not do: at its tenth claim of a worker, by default."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from reference_impl.sqlite import UpdateReturning

LONG = 600


class Evil(UpdateReturning):
    """Calls `evil` once in each worker."""

    claims = 0

    def claim(self, worker: str, limit: int) -> list[Any]:
        self.claims += 1
        if self.claims == 10 and worker.startswith("w"):
            self.evil(worker)
        return super().claim(worker, limit)

    def evil(self, worker: str) -> None: ...


def held(what: str) -> Iterator[tuple[int, str]]:
    """The descriptors of this process whose files are called so."""
    for link in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):
            name = str(link.readlink())
            if what in name:
                yield int(link.name), name


def events() -> Path:
    return Path(next(name for _, name in held("/events/"))).parent


class GarbageInEvents(Evil):
    words = bytes(range(256)) + b"\n"

    def evil(self, worker: str) -> None:
        for number, _ in held("/events/"):
            os.write(number, self.words)


class HalfALine(GarbageInEvents):
    words = b'{"e":"invoke","op":'


class ForeignOperation(GarbageInEvents):
    words = b'{"e":"ok","op":99999,"t":1}\n'


class HugeLine(GarbageInEvents):
    words = b'{"e":"' + b"x" * 30_000_000 + b'"}\n'


class Nul(GarbageInEvents):
    words = b"\0\0\0\0\n"


class SpeaksForAnother(GarbageInEvents):
    words = b'{"e":"process","process":"w0","role":"worker","pid":1,"t":1}\n'


class EndsTwice(GarbageInEvents):
    words = b'{"e":"end","t":9000000000000000,"how":"done"}\n'


class GarbageInWitness(Evil):
    words = b"\0\xff\n"

    def evil(self, worker: str) -> None:
        for file in (events().parent / "witness").glob(f"{worker}*"):
            with file.open("ab") as witness:
                witness.write(self.words)


class RepeatsAnother(Evil):
    """Writes what another worker wrote as if it were its own."""

    def evil(self, worker: str) -> None:
        for number, name in held("/events/"):
            for other in sorted(Path(name).parent.glob("w*.ndjson")):
                if str(other) != name:
                    os.write(number, b"".join(other.read_bytes().splitlines(keepends=True)[1:5]))


class RemovesItsEvents(Evil):
    def evil(self, worker: str) -> None:
        for _, name in held("/events/"):
            Path(name).unlink()


class CutsItsEvents(Evil):
    def evil(self, worker: str) -> None:
        for _, name in held("/events/"):
            os.truncate(name, Path(name).stat().st_size // 2)


class RemovesTheResult(Evil):
    def evil(self, worker: str) -> None:
        shutil.rmtree(events().parent, ignore_errors=True)


class ClosesAll(Evil):
    def evil(self, worker: str) -> None:
        os.closerange(0, 1000)


class ExitsWell(Evil):
    def evil(self, worker: str) -> None:
        os._exit(0)


class ForksAndGoesOn(Evil):
    """Parent and child both go on as the worker."""

    def evil(self, worker: str) -> None:
        os.fork()


class AnswersForUs(Evil):
    """Writes to the pipe on which a worker answers."""

    words = b"\x7f\xff\xff\xffhello"

    def evil(self, worker: str) -> None:
        for number, _ in held("socket:"):
            with contextlib.suppress(OSError):
                os.write(number, self.words)


class AnswersAtOnce(AnswersForUs):
    words = b'\0\0\0\x0e{"value":null}'


class FillsMemory(Evil):
    """Takes all memory it may have, and keeps it."""

    kept: ClassVar[list[bytearray]] = []

    def evil(self, worker: str) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (300 << 20, 300 << 20))
        size = 10 << 20
        while size > 16:
            try:
                self.kept.append(bytearray(size))
            except MemoryError:
                size //= 2


class WritesNoMore(Evil):
    """As on a disk that is full for this process."""

    def evil(self, worker: str) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


class NeverReturns(Evil):
    def evil(self, worker: str) -> None:
        if worker == "w1":
            time.sleep(LONG)


class EatsSignals(UpdateReturning):
    """Ignores what asks it to end, and does not."""

    def __init__(self, url: str) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        super().__init__(url)

    def close(self) -> None:
        time.sleep(LONG)


# --- what is odd, but takes nothing from the history -----------------------------------------------------------------


class LeavesADaemon(Evil):
    """A grandchild in a session of its own that ignores every signal it can."""

    def evil(self, worker: str) -> None:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for number in set(range(1, 65)) - {signal.SIGKILL, signal.SIGSTOP, 32, 33}:
                    signal.signal(number, signal.SIG_IGN)
                time.sleep(LONG)
            os._exit(0)


class IgnoresItsChildren(Evil):
    def evil(self, worker: str) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)


class RunsOutOfMemory(Evil):
    def evil(self, worker: str) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (600 << 20, 600 << 20))
        kept = []
        while True:
            kept.append(bytearray(10 << 20))


class RunsOutOfFiles(Evil):
    kept: ClassVar[list[int]] = []

    def evil(self, worker: str) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        try:
            while True:
                self.kept.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass


class Leaves(Evil):
    def evil(self, worker: str) -> None:
        sys.exit(0)
