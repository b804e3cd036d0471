"""Our own Postgres cluster: started from nothing in a private folder, and gone without a trace however contend ends.

A run's folder holds `lock` (held while its owner lives), `data`, `log` and `socket` (a link where its path is long).
The server belongs to its keeper (`keeper.py`), which stops it and removes the folder once contend is gone, by whatever
signal. Where the keeper is killed too, the kernel stops the server (PR_SET_PDEATHSIG); the next start removes the rest.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import secrets
import select
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.databases import keeper
from harness.databases.binaries import REMEDY, Binaries, find_binaries
from harness.databases.reaper import reap_abandoned
from harness.databases.template import ROLE, copy_cluster, environment, reachable_programs, template, template_name
from harness.databases.workspace import Run, Workspace, open_workspace
from harness.errors import DatabaseUnavailable

START_SECONDS: Final = 60.0
START_TRIES: Final = 4
# Longest path of a Unix socket is 103 bytes (macOS) or 107 (Linux), and `/.s.PGSQL.65535` comes after the folder.
SOCKET_FOLDER_BYTES: Final = 84

SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "autovacuum": "off",  # statistics and dead rows change when a scenario says so, not when a daemon wakes up
    "log_lock_waits": "on",
    "shared_memory_type": "mmap",
    # Neither leaves a file in /dev/shm when everything is killed; what fits comes from memory reserved at the start.
    "dynamic_shared_memory_type": "mmap",
    "min_dynamic_shared_memory": "16MB",
    "huge_pages": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "cluster_name": "contend",
}
# We come in by the socket without a password, as the kernel says who we are; all others need it, on loopback only.
HBA: Final = "local all all peer map=owner\nhost all all 127.0.0.1/32 scram-sha-256\n"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running server of our own, with its data and socket folders; the role `contend` is its superuser."""

    binaries: Binaries
    data: Path
    socket: Path
    port: int
    password: str = field(repr=False)

    @property
    def admin(self) -> str:
        """The connection string of the owner, by the socket, where the kernel vouches for us (not a URL)."""
        return f"host={self.socket} port={self.port} user={ROLE} dbname=postgres"

    @property
    def pid(self) -> int:
        """The postmaster, by id."""
        return int((self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0])

    def url(self, database: str) -> str:
        """Give the loopback URL of a database, with the password."""
        return f"postgresql://{ROLE}:{self.password}@127.0.0.1:{self.port}/{database}"


class _StartFailed(DatabaseUnavailable):
    """The server ended before it was ready."""

    def __init__(self, message: str, *, port_taken: bool) -> None:
        super().__init__(message)
        self.port_taken = port_taken


@contextlib.contextmanager
def serve_cluster(binaries: Binaries | None = None, folder: Path | None = None) -> Iterator[Cluster]:
    """Start a cluster of our own and stop it on leaving; raises `DatabaseUnavailable` where it cannot start.

    `binaries` are found by `find_binaries` unless given; `folder` is the place for runs and what is kept between them.
    """
    binaries = binaries or find_binaries()
    user = _server_user()
    space = open_workspace(folder, passed_by_server=user is not None)
    reap_abandoned(space)
    with contextlib.ExitStack() as stack:
        kept = space.kept(template_name(binaries))
        for tries_left in reversed(range(START_TRIES)):
            is_new = not kept.is_dir()
            try:
                cluster = stack.enter_context(_started(binaries, space, user))
                break
            except _StartFailed as error:
                # A port may be taken between choosing and binding; a kept cluster may be broken (a disk that lied).
                if not tries_left or (is_new and not error.port_taken):
                    raise
                if not error.port_taken:
                    shutil.rmtree(kept, ignore_errors=True)
        yield cluster


@contextlib.contextmanager
def _started(binaries: Binaries, space: Workspace, user: pwd.struct_passwd | None) -> Iterator[Cluster]:
    """Run one cluster in a new run folder; the folder goes with it."""
    run = space.claim()
    try:
        if user is not None:
            run.folder.chmod(0o711)  # the server user passes through to its own folders and sees nothing else
        programs = reachable_programs(binaries, space, run, user)
        data = run.folder / "data"
        copy_cluster(template(programs, space, run, user), data, user)
        (data / "pg_hba.conf").write_text(HBA, encoding="utf-8")
        (data / "pg_ident.conf").write_text(f'owner "{pwd.getpwuid(os.geteuid()).pw_name}" {ROLE}\n', encoding="utf-8")
        cluster = Cluster(programs, data, _socket_folder(run.folder, user), _free_port(), secrets.token_urlsafe(24))
        kept_by = _start_keeper(cluster, run, user)
    except BaseException as error:
        keeper.remove(run.folder)
        if isinstance(error, OSError):
            # Of many files that could not be copied each has its reason; the first is enough.
            why = error.args[0][0][2] if isinstance(error, shutil.Error) else error
            raise DatabaseUnavailable(
                f"A Postgres of our own cannot be made in {space.root}: {why}. See that there is room for 100 MiB, "
                "or give a server with `--database postgresql://…`."
            ) from error
        raise
    finally:
        os.close(run.lock)  # the keeper has its own copy
    try:
        _wait_ready(cluster, kept_by, run.folder / "log")
        _set_password(cluster)
        yield cluster
    finally:
        _stop(kept_by)


def _start_keeper(cluster: Cluster, run: Run, user: pwd.struct_passwd | None) -> subprocess.Popen[bytes]:
    settings = SETTINGS | {"port": str(cluster.port), "unix_socket_directories": str(cluster.socket)}
    if cluster.binaries.library("pg_stat_statements"):
        settings["shared_preload_libraries"] = "pg_stat_statements"
    order = {
        "folder": str(run.folder),
        "command": [
            str(cluster.binaries.folder / "postgres"),
            "-D",
            str(cluster.data),
            *(f"--{name.replace('_', '-')}={value}" for name, value in settings.items()),
        ],
        "user": user.pw_uid if user else None,
        "group": user.pw_gid if user else None,
        "environment": environment(),
    }
    return keeper.keep(order, run.lock)


def _wait_ready(cluster: Cluster, kept_by: subprocess.Popen[bytes], log: Path) -> None:
    """Return once the server takes connections; raises `_StartFailed` with the end of its log where it does not."""
    limit = time.monotonic() + START_SECONDS
    assert kept_by.stdout is not None  # noqa: S101  # it was started with a pipe
    what = f"it was not ready after {START_SECONDS:.0f} s"
    while time.monotonic() < limit:
        if select.select([kept_by.stdout], [], [], 0.005)[0]:
            what = os.read(kept_by.stdout.fileno(), 1000).decode(errors="replace").strip() or "its keeper died"
            break
        # Line 8 is the postmaster's state: https://www.postgresql.org/docs/current/storage-file-layout.html
        with contextlib.suppress(OSError):
            lines = (cluster.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            if len(lines) > 7 and lines[7].strip() == "ready":
                return
    said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    raise _StartFailed(
        f"Postgres {cluster.binaries.version} ({cluster.binaries.origin}) did not start: {what}. "
        f"The end of its log: {' | '.join(said.splitlines()[-8:]) or 'empty'}. {REMEDY}",
        port_taken="could not create any TCP/IP sockets" in said,
    )


def _stop(kept_by: subprocess.Popen[bytes]) -> None:
    """Let the keeper stop the server and remove the folder; returns when both are gone."""
    if kept_by.stdin:
        with contextlib.suppress(OSError):  # a keeper that was killed reads no more
            kept_by.stdin.write(b".")  # not only closed: a process forked from ours may hold the other end open
            kept_by.stdin.close()
    try:
        kept_by.wait(timeout=sum(seconds for _, seconds in keeper.SHUTDOWN) + 10)
    except subprocess.TimeoutExpired:
        kept_by.kill()
        kept_by.wait()
    if kept_by.stdout:
        kept_by.stdout.close()


def _set_password(cluster: Cluster) -> None:
    import psycopg  # noqa: PLC0415  # a run on SQLite alone does not pay for it

    with psycopg.connect(cluster.admin, autocommit=True, connect_timeout=30) as connection:
        # Hashed here, so that neither a log nor pg_stat_statements ever sees it.
        verifier = connection.pgconn.encrypt_password(cluster.password.encode(), ROLE.encode(), b"scram-sha-256")
        connection.execute(
            psycopg.sql.SQL("ALTER ROLE {} PASSWORD {}").format(psycopg.sql.Identifier(ROLE), verifier.decode())
        )


def _socket_folder(run: Path, user: pwd.struct_passwd | None) -> Path:
    """Make the private folder of the socket; elsewhere, with a link in the run, where its path will not do."""
    folder = run / "socket"
    if len(os.fsencode(folder)) > SOCKET_FOLDER_BYTES or not re.fullmatch(r"[\w/.+-]+", str(folder)):
        elsewhere = Path(tempfile.mkdtemp(prefix="contend-", dir="/tmp"))  # short, and mkdtemp makes it private
        folder.symlink_to(elsewhere)
        folder = elsewhere
    else:
        folder.mkdir(mode=0o700)
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    return folder


def _server_user() -> pwd.struct_passwd | None:
    """The user the server runs as: ourselves (None), or for root an unprivileged one, as Postgres refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("nobody", "daemon"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise DatabaseUnavailable(
        "Postgres does not run as root, and neither a user `nobody` nor `daemon` exists. "
        "Run contend as an ordinary user, or give a server with `--database postgresql://…`."
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
