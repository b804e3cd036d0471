"""The load: Locust's users call the system in processes of their own, and every call is in the history.

Locust is never imported here, as importing it patches the process: `Locust` runs its command, `HandedOut` waits for one that somebody
else runs. Both give an *order* to the users' processes, and read back what those have measured: latencies in HDR histograms
(Gil Tene's, hdrhistogram.org), operations by the second, and whether arrivals kept their rate.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final, Self, TextIO

import orjson
from hdrh.histogram import HdrHistogram

from harness.errors import RunAbandoned, UsageError
from harness.outcome import Outcome
from harness.processes import Source
from harness.runners import apart

ORDER: Final = "CONTEND_ORDER"  # the environment variable that names the file with the order
FOLDER: Final = "CONTEND_USERS"  # the one that names a folder for what the users of this machine record, where it is not the master's
FINISHED: Final = "finished"  # a file in that folder: the master has let them finish, and has it all
LOWEST_US: Final = 1
HIGHEST_US: Final = 60_000_000
DIGITS: Final = 3
QUANTILES: Final = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 1.0)
CONTROL_SECONDS: Final = 10  # of load are enough to catch a control
KEPT: Final = 0.95  # of the arrivals due must have begun, or the rate was not kept
LATE_MS: Final = 1000.0  # an arrival that began so late at the end of a run was not kept either
GRACE_SECONDS: Final = 90.0  # for Locust to come up, and for users to finish what they are at
SAY_SECONDS: Final = 5.0
JOIN_SECONDS: Final = 10.0  # for a master to be reached

# What a load says of its users, beside how many there are; options of `contend load` by the same names.
USER_OPTIONS: Final = ("run_time", "spawn_rate", "processes", "rate", "ramp")


def processes_for(users: int, database: str, asked: int) -> int:
    """Say how many processes of Locust work where `asked` were wanted (0: as fits): on SQLite a call stops all users of its process."""
    return asked or (users if database == "sqlite" else 1)


# Has users work as ordered and comes back when they are done; gives problems, in words.
Crowd = Callable[["Order", Callable[[str], None]], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Order:
    """All that the users' processes must know. `folder` is the result's; `process` the one whose threads users are, or empty.

    Users of one `process` share its system and its connections; else each has a system of its own. `rate` is how many turns a second
    all of them begin together (null: each begins its next when the last is over). `full` asks for as long as was wanted: a
    control may take less.
    """

    scenario: str
    url: str
    source: Source
    options: Mapping[str, Any]
    folder: Path
    witness: str
    process: str
    batch: int
    seed: int
    users: int
    run_time: int  # seconds
    spawn_rate: float  # users a second
    processes: int  # 1: Locust's own
    rate: float | None
    ramp: bool
    full: bool

    def save(self) -> Path:
        """Write the order where the users' processes find it; only this user may read it, as the URL holds a password."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(self.to_json().encode())
        return self.path

    def to_json(self) -> str:
        """Give the order as JSON text."""
        target = self.source.target
        source = {**asdict(self.source), "target": target}
        if isinstance(target, bytes):
            source["target"] = {"base64": base64.b64encode(target).decode()}
        return orjson.dumps({**asdict(self), "source": source, "folder": str(self.folder)}, default=str).decode()

    @property
    def path(self) -> Path:
        """The file it is saved in."""
        return self.folder / "load" / "order.json"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read an order that `save` has written."""
        return cls.from_json(path.read_text(encoding="utf-8"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read an order that `to_json` has given."""
        told = orjson.loads(text)
        source = told["source"]
        if isinstance(source["target"], dict):
            source["target"] = base64.b64decode(source["target"]["base64"])
        return cls(**{**told, "source": Source(**source), "folder": Path(told["folder"])})


@dataclass(frozen=True, slots=True)
class Master:
    """Where workers on other machines find the master, how many there must be, and how long it waits for them."""

    host: str
    port: int
    workers: int
    wait_seconds: int


class Locust:
    """The crowd of `contend load`: Locust without its screen, in a session of its own that ends with us."""

    def __init__(
        self, locustfile: Path, ramp: Path, user_classes: Mapping[str, str], master: Master | None = None
    ) -> None:
        """`user_classes` names the class of `locustfile` whose users work in a scenario; `ramp` holds a load shape.

        With a `master` the users are on other machines; those of a control are always here.
        """
        self._files = (locustfile, ramp)
        self._classes = user_classes
        self._master = master

    def __call__(self, order: Order, say: Callable[[str], None]) -> Sequence[str]:
        """Run Locust for as long as the order says. Raises `RunAbandoned` where it could not be run at all."""
        log = order.folder / "logs" / "locust.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, ORDER: str(order.save())}
        joining = self._master.wait_seconds if self._master is not None else 0
        with log.open("wb") as output, _started(self._command(order), environment, output) as locust:
            status = _wait(locust, _run_time(order), joining, say)
        if status is None:
            return [
                f"Locust had not ended {GRACE_SECONDS:g} s after its run time, and was killed. See logs/locust.txt."
            ]
        if status and order.full and self._master and not list((order.folder / "load").glob(f"{apart.FOLDER}/*")):
            raise RunAbandoned(
                f"Of {self._master.workers} workers not all had joined the master after {self._master.wait_seconds} s. "
                f"On the other machines, run: contend load --worker --master-host HOST --master-port {self._master.port}."
            )
        if status and not list((order.folder / "load").glob("users-*.json")):
            last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise RunAbandoned(f"Locust ended with status {status} before any user had worked: {last[0][:300]}.")
        return [f"Locust ended with status {status}. See logs/locust.txt."] if status else []

    def _command(self, order: Order) -> list[str]:
        files = self._files if order.ramp else self._files[:1]
        command = [
            sys.executable, "-m", "locust", "-f", ",".join(map(str, files)), self._classes[order.scenario], "--headless",
            "--users", str(order.users), "--spawn-rate", f"{order.spawn_rate:g}", "--run-time", f"{_run_time(order)}s",
            "--exit-code-on-error", "0", "--only-summary",
        ]  # fmt: skip  # one word a line would be longer than a screen
        if order.full and self._master is not None:
            command += [
                "--master",
                "--master-bind-host",
                self._master.host,
                "--master-bind-port",
                str(self._master.port),
            ]
            command += ["--expect-workers", str(self._master.workers)]
            command += ["--expect-workers-max-wait", str(self._master.wait_seconds)]
        elif order.processes > 1:
            port = str(_free_port())
            command += [
                "--processes",
                str(order.processes),
                "--master-bind-host",
                "127.0.0.1",
                "--master-bind-port",
                port,
            ]
            command += ["--master-host", "127.0.0.1", "--master-port", port]
        return command


class HandedOut:
    """The crowd of somebody else's Locust: gives away the order, and waits until told that the users are done."""

    def __init__(self, tell: TextIO, hear: TextIO) -> None:
        """Tell the file of the order on `tell`, as one line of JSON; `hear` ends, or says anything, when the users are done."""
        self._tell = tell
        self._hear = hear

    def __call__(self, order: Order, say: Callable[[str], None]) -> Sequence[str]:
        """Wait for the users of another process."""
        say("the database is ready for the users of Locust")
        self._tell.write(json.dumps({"order": str(order.save())}) + "\n")
        self._tell.flush()
        self._hear.readline()
        return []


@contextlib.contextmanager
def _started(
    command: Sequence[str], environment: Mapping[str, str], output: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run Locust in a session of its own, all of which is gone on leaving; without `output` it speaks where we do."""
    errors = None if output is None else subprocess.STDOUT
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=environment, start_new_session=True
    ) as locust:
        try:
            yield locust
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(locust.pid, signal.SIGKILL)


def _run_time(order: Order) -> int:
    return order.run_time if order.full else min(order.run_time, CONTROL_SECONDS)


def _wait(locust: subprocess.Popen[bytes], run_time: float, joining: float, say: Callable[[str], None]) -> int | None:
    """Give the exit status of Locust, or None where it did not end in time."""
    began = time.monotonic()
    while (left := began + joining + run_time + GRACE_SECONDS - time.monotonic()) > 0:
        try:
            return locust.wait(min(SAY_SECONDS, left))
        except subprocess.TimeoutExpired:
            passed = time.monotonic() - began
            say(
                f"users at work for {passed:.0f} of {run_time:g} s"
                if not joining
                else f"{passed:.0f} s, joining included"
            )
    return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Clockwork:
    """What one process of users measures: latencies by operation, operations by the second, arrivals."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._latencies: dict[str, HdrHistogram] = {}
        self._failures: Counter[str] = Counter()
        self._seconds: dict[int, list[int]] = {}
        self._arrivals = {"due": 0, "begun": 0}
        self._late_ms = 0.0
        self.users = 0

    def took(self, kind: str, started_ns: int, outcome: Outcome) -> float:
        """Count an operation that ends now, from when it was started or should have been; gives its latency in milliseconds."""
        now = time.monotonic_ns()
        if kind not in self._latencies:
            self._latencies[kind] = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
        elapsed_us = (now - started_ns) / 1000
        self._latencies[kind].record_value(min(max(round(elapsed_us), LOWEST_US), HIGHEST_US))
        second = self._seconds.setdefault(now // 1_000_000_000, [0, 0, 0])
        second[0] += 1
        if outcome != "ok":
            second[1] += 1
            self._failures[kind] += 1
        second[2] = max(second[2], self.users)
        return elapsed_us / 1000

    def arrived(self, *, due: int, begun: int, late_ms: float) -> None:
        """Count the arrivals of one user: how many were due by its end, how many had begun, how late the last one was."""
        self._arrivals["due"] += due
        self._arrivals["begun"] += begun
        self._late_ms = max(self._late_ms, late_ms)

    def save(self, path: Path) -> None:
        """Write what was measured, whole or not at all."""
        told = {
            "latencies": {kind: each.encode().decode() for kind, each in self._latencies.items()},
            "failures": self._failures,
            "seconds": {str(second): counts for second, counts in self._seconds.items()},
            "arrivals": self._arrivals,
            "late_ms": self._late_ms,
        }
        scratch = path.with_suffix(".part")
        scratch.write_bytes(orjson.dumps(told))
        scratch.replace(path)


def figures(folder: Path) -> dict[str, Any]:
    """Put together what all processes of users have measured, and Locust's own figures beside it.

    Gives `operations` (name, count, failures, percentiles in milliseconds), `timeline` (operations, errors and users by the second),
    `locust` (its statistics) and `late` (why the rate was not kept, or None).
    """
    latencies: dict[str, HdrHistogram] = {}
    failures: Counter[str] = Counter()
    seconds: dict[int, list[int]] = {}
    due = begun = 0
    late_ms = 0.0
    for file in sorted(folder.glob("users-*.json")):
        told = orjson.loads(file.read_bytes())
        for kind, encoded in told["latencies"].items():
            latencies.setdefault(kind, HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)).decode_and_add(encoded)
        failures.update(told["failures"])
        for second, counts in told["seconds"].items():
            have = seconds.setdefault(int(second), [0, 0, 0])
            have[:] = [a + b for a, b in zip(have, counts, strict=True)]
        due, begun = due + told["arrivals"]["due"], begun + told["arrivals"]["begun"]
        late_ms = max(late_ms, told["late_ms"])
    first = min(seconds, default=0)
    locust = folder / "locust.json"
    return {
        "operations": [_operation(kind, latencies[kind], failures[kind]) for kind in sorted(latencies)],
        "timeline": [
            {"second": second - first, "operations": counts[0], "errors": counts[1], "users": counts[2]}
            for second, counts in sorted(seconds.items())
        ],
        "locust": orjson.loads(locust.read_bytes()) if locust.exists() else [],
        "late": _late(due, begun, late_ms),
    }


def problems(folder: Path) -> list[str]:
    """What broke a user, in words."""
    return [file.read_text(encoding="utf-8") for file in sorted(folder.glob("problem-*.txt"))]


def _operation(kind: str, latency: HdrHistogram, failures: int) -> dict[str, Any]:
    def at(quantile: float) -> float:
        return float(latency.get_value_at_percentile(100 * quantile)) / 1000

    return {
        "name": kind,
        "count": latency.get_total_count(),
        "failures": failures,
        "p50_ms": at(0.5),
        "p90_ms": at(0.9),
        "p99_ms": at(0.99),
        "p999_ms": at(0.999),
        "max_ms": latency.get_max_value() / 1000,
        "percentiles": [[quantile, at(quantile)] for quantile in QUANTILES],
    }


def _late(due: int, begun: int, late_ms: float) -> str | None:
    if begun >= KEPT * due and late_ms < LATE_MS:
        return None
    return (
        f"The rate was not kept: of {due:,} turns due {begun:,} had begun, the last {late_ms / 1000:.1f} s late. "
        "Latencies count from when a turn was due. Lower --rate or add users."
    )


def work_for(master_host: str, master_port: int, locustfile: Path, folder: Path) -> bool:
    """Be a worker for a master elsewhere until it is done; what users do is kept in `folder`, and sent to it.

    Gives whether the master let the users finish and has all they did. Raises `UsageError` where nobody listens there.
    """
    try:
        socket.create_connection((master_host, master_port), timeout=JOIN_SECONDS).close()
    except OSError as error:
        raise UsageError(
            f"No master listens at {master_host}:{master_port} ({error.strerror or error}). Start `contend load --master` first."
        ) from error
    command = [sys.executable, "-m", "locust", "-f", str(locustfile), "--worker", "--headless"]
    command += ["--master-host", master_host, "--master-port", str(master_port)]
    with _started(command, {**os.environ, FOLDER: str(folder)}) as locust:
        locust.wait()
    return (folder / FINISHED).exists()
