"""Our own Redis: on a private socket with a password, nothing on disk, and gone without a trace however contend ends.

A run's folder holds `lock` (held while its owner lives), `log` and `socket` (a link where its path will not do), a
folder with `redis.conf` and `redis.sock`. As with Postgres, the server belongs to its keeper (`keeper.py`). It runs as
whoever runs contend, root included: folder and socket are that user's alone, so who can reach the server is that user
already. A user such as `nobody` would share its password with every other daemon that runs as `nobody`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import secrets
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.databases import keeper
from harness.databases.reaper import reap_abandoned
from harness.databases.template import environment
from harness.databases.workspace import Run, open_workspace
from harness.errors import DatabaseUnavailable

PROGRAM: Final = "redis-server"
# Where it is installed, for a PATH that does not say so, as cron's and a service's.
ALSO_IN: Final = ("/usr/bin", "/usr/local/bin", "/usr/sbin")
REMEDY: Final = "Install it (Debian: `apt-get install redis-server`; macOS: `brew install redis`)."
START_SECONDS: Final = 20.0
SOCKET: Final = "redis.sock"
SETTINGS: Final = "redis.conf"
SOCKET_BYTES: Final = 103  # the longest path of a Unix socket: this on macOS, 107 on Linux


def find_redis() -> Path | None:
    """Give the `redis-server` program, from PATH or a usual place; None where there is none."""
    places = [place for place in os.environ.get("PATH", "").split(os.pathsep) if place]
    found = shutil.which(PROGRAM, path=os.pathsep.join([*places, *ALSO_IN]))
    return Path(found).absolute() if found else None


def missing() -> str | None:
    """Say why Redis cannot be used here and what to do, or None where it can: it needs a server and a client."""
    if find_redis() is None:
        return f"The program {PROGRAM} is neither on PATH nor in {', '.join(ALSO_IN)}. {REMEDY}"
    if importlib.util.find_spec("redis") is None:
        return "The Python package `redis` is not installed. Install it with `pip install 'contend[redis]'`."
    return None


@dataclass(slots=True, eq=False)
class RedisServer:
    """A Redis of our own. `pid` and `version` are those of the last start (0 where it failed); `url` outlasts them."""

    program: Path
    run: Run
    socket: Path
    password: str = field(repr=False)
    pid: int = field(default=0, init=False)
    version: str = field(default="", init=False)
    _keeper: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @property
    def url(self) -> str:
        """What `redis.Redis.from_url` takes. It has the password in it: not to be printed."""
        return f"unix://:{self.password}@{self.socket}?db=0"

    def start(self) -> None:
        """Start an empty one, unless one runs; returns when it answers. Raises `DatabaseUnavailable` if it does not."""
        if self._keeper is not None and self.pid and not _ended(self._keeper):
            return
        kept_by = self._start_keeper()
        last, self._keeper, self.pid = self._keeper, kept_by, 0
        if last is not None:
            last.kill()  # asked to stop it would remove the folder, which is the new one's from now on
            last.communicate()
        self.pid, self.version = self._wait_ready(kept_by)

    def stop(self) -> None:
        """Kill it (SIGKILL), and return when it has ended; clients find their connections broken and are refused."""
        if self._keeper is not None and self.pid and not _ended(self._keeper):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            _ended(self._keeper, seconds=10)

    def restart(self) -> None:
        """Kill it and start an empty one in its place: what it held is gone, as memory is."""
        self.stop()
        self.start()

    def end(self) -> None:
        """Stop it for good: its keeper removes the folder and leaves."""
        if self._keeper is None:
            return
        self.stop()
        try:
            # Not only closed: a process forked from ours may hold the other end open.
            self._keeper.communicate(b".", timeout=sum(seconds for _, seconds in keeper.SHUTDOWN) + 10)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.communicate()

    def _start_keeper(self) -> subprocess.Popen[bytes]:
        order = {
            "folder": str(self.run.folder),
            # Without its settings it would listen on port 6379 for anybody; with no port and no socket it refuses to run.
            "command": [str(self.program), str(self.socket.parent / SETTINGS), "--port", "0"],
            "user": None,
            "group": None,
            "environment": environment(),
        }
        return keeper.keep(order, self.run.lock)

    def _wait_ready(self, kept_by: subprocess.Popen[bytes]) -> tuple[int, str]:
        limit = time.monotonic() + START_SECONDS
        what = f"it did not answer within {START_SECONDS:.0f} s"
        while time.monotonic() < limit:
            if _ended(kept_by, seconds=0.005):
                assert kept_by.stdout is not None  # noqa: S101  # it was started with a pipe
                what = os.read(kept_by.stdout.fileno(), 1000).decode(errors="replace").strip() or "its keeper died"
                break
            with contextlib.suppress(OSError, ValueError, KeyError):
                return self._ask()
        log = self.run.folder / "log"
        said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        raise DatabaseUnavailable(
            f"Redis ({self.program}) did not start: {what}. "
            f"The end of its log: {' | '.join(said.splitlines()[-8:]) or 'empty'}. "
            f"Does `{self.program} --version` work? If not: {REMEDY}"
        )

    def _ask(self) -> tuple[int, str]:
        """Ask it for its process and version, in the protocol's inline form, so that no client is needed here."""
        with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rb") as answers:
            connection.settimeout(1)
            connection.connect(str(self.socket))
            connection.sendall(f"AUTH {self.password}\r\nPING\r\nINFO server\r\n".encode())
            for expected in (b"+OK\r\n", b"+PONG\r\n"):
                if (answer := answers.readline()) != expected:
                    raise ValueError(answer)
            info = answers.read(int(answers.readline().removeprefix(b"$"))).decode()
        facts = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
        return int(facts["process_id"]), facts["redis_version"]


@contextlib.contextmanager
def serve_redis(folder: Path | None = None) -> Iterator[RedisServer]:
    """Start a Redis of our own and stop it on leaving; raises `DatabaseUnavailable` where it cannot start.

    `folder` is the place for runs, by default the same cache as for our Postgres clusters.
    """
    program = find_redis()
    if program is None:
        raise DatabaseUnavailable(f"There is no {PROGRAM} on PATH or in {', '.join(ALSO_IN)}. {REMEDY}")
    space = open_workspace(folder)
    reap_abandoned(space)
    run = space.claim()
    try:
        server = RedisServer(program, run, _socket_folder(run.folder) / SOCKET, secrets.token_urlsafe(24))
        _write_settings(server.socket.parent, server.password)
        try:
            server.start()
            yield server
        finally:
            server.end()
    finally:
        keeper.remove(run.folder)  # in case its keeper was never started, or killed
        os.close(run.lock)


def _socket_folder(run: Path) -> Path:
    """Make the private folder of the socket; elsewhere, with a link in the run, where its path will not do.

    That is where it is too long, or has what a URL escapes or Redis takes for a pattern of file names.
    """
    folder = run / "socket"
    if len(str(folder / SOCKET)) <= SOCKET_BYTES and re.fullmatch(r"[\w/.+-]+", str(folder), re.ASCII):
        folder.mkdir(mode=0o700)
        return folder
    elsewhere = Path(tempfile.mkdtemp(prefix="contend-", dir="/tmp"))  # short, and mkdtemp makes it private
    folder.symlink_to(elsewhere)
    return elsewhere


def _write_settings(folder: Path, password: str) -> None:
    """Write the file the server reads, as the password must not be in the list of processes."""
    settings = {
        "unixsocket": str(folder / SOCKET),
        "unixsocketperm": "700",
        "requirepass": password,
        "save": '""',
        "appendonly": "no",
        "dir": str(folder),
        "logfile": '""',  # standard output, which the keeper sends to `log`
    }
    file = folder / SETTINGS
    file.touch(mode=0o600)
    file.write_text("".join(f"{name} {value}\n" for name, value in settings.items()), encoding="utf-8")


def _ended(kept_by: subprocess.Popen[bytes], seconds: float = 0) -> bool:
    """Whether the server has ended, waiting up to `seconds` for it: then its keeper has said so, or is dead itself."""
    return kept_by.stdout is None or kept_by.stdout.closed or bool(select.select([kept_by.stdout], [], [], seconds)[0])
