"""The bundle: the folder one run leaves. Written in stages, each whole before the next begins, so that a killed run still loads.

    bundle.json            what was asked, on which machine; stage is open, then judged     (stage 0)
    results/<place>/       one result: context.json, events/, witness/, logs/, timing/
      history/*.parquet    the merged history                                             (stage 1)
      result.json          the verdict with its evidence                                  (stage 2)
      *.spec               of an exploration: the schedule that breaks an invariant, for PostgreSQL's isolationtester
    results.json           the document of `--json`
    report.html            the page

Nothing in a bundle is ever unpickled or executed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from harness.errors import BundleUnreadable, OutputUnwritable
from harness.scratch import own, reap

SCHEMA: Final = 1
_RUNNING: Final = ".running"  # locked by the process whose run this is, for as long as it goes on


class _Hold:
    """A lock on a file, kept until it is let go or its process is gone, however it ends. Children do not inherit it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor: int | None = None
        while self.descriptor is None:
            self.descriptor = own(path, wait=True, mode=0o644)

    def let_go(self) -> None:
        """Unlock and clear away; may be called again."""
        if self.descriptor is not None:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
            os.close(self.descriptor)
            self.descriptor = None

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        """Unlock what a run that ended by an error left locked; `os` may be gone by then."""
        if self.descriptor is not None:
            close(self.descriptor)
            self.descriptor = None


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: its folder and what `bundle.json` says."""

    folder: Path
    about: Mapping[str, Any]
    _hold: _Hold | None = field(default=None, compare=False, repr=False)

    @property
    def running(self) -> bool:
        """Whether the run that makes this bundle still goes on, in this process or another on this machine."""
        if self.about.get("stage") != "open":
            return False
        try:
            descriptor = os.open(self.folder / _RUNNING, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return False

    @classmethod
    def create(cls, out: Path, about: Mapping[str, Any]) -> Bundle:
        """Make a new bundle below `out` and point `out/latest` at it. Raises `OutputUnwritable`."""
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        folder = out / name
        with writing(out):
            (folder / "results").mkdir(parents=True)
            _clear_after_killed_runs(out)
            bundle = cls(folder, {"schema": SCHEMA, "stage": "open", **about}, _Hold(folder / _RUNNING))
            _write_json(folder / "bundle.json", bundle.about)
            latest = out / "latest"
            pointer = out / f".latest-{secrets.token_hex(4)}"
            pointer.symlink_to(name)
            if latest.is_symlink() or not latest.exists():
                pointer.replace(latest)
            else:
                pointer.unlink()
        return bundle

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Open a bundle, or the latest one in a folder of bundles. Raises `BundleUnreadable`."""
        folder = path
        if not (folder / "bundle.json").is_file() and (folder / "latest" / "bundle.json").is_file():
            folder = folder / "latest"
        if not folder.exists():
            raise BundleUnreadable(f"There is no bundle at {path}. Give the folder a run printed, such as runs/latest.")
        if not (folder / "bundle.json").is_file():
            raise BundleUnreadable(f"{path} is not a bundle: it has no bundle.json. Give the folder a run printed.")
        about = read_json(folder / "bundle.json")
        schema = about.get("schema")
        if not isinstance(schema, int) or schema < 1:
            raise BundleUnreadable(f"{path} is not a bundle: its bundle.json names no schema.")
        if schema > SCHEMA:
            raise BundleUnreadable(
                f"{path} was written with bundle schema {schema}; this contend reads up to {SCHEMA}. Install a newer contend."
            )
        return cls(folder, about)

    def place(self, number: int, *words: str) -> Path:
        """Make the folder of one result; `words` name it for a reader."""
        name = "-".join(_plain(word) for word in words if word)
        folder = self.folder / "results" / f"{number:02d}-{name}"
        with writing(folder):
            folder.mkdir(parents=True)
        return folder

    def places(self) -> list[Path]:
        """The folders of the results in the order they were run. Raises `BundleUnreadable` where there is none."""
        found = sorted(folder for folder in (self.folder / "results").glob("*") if folder.is_dir())
        if not found:
            raise BundleUnreadable(f"{self.folder} holds no results: the run was ended before its first one.")
        return found

    def finish(self, document: Mapping[str, Any], **about: Any) -> Bundle:
        """Save the document of the whole run and close the bundle."""
        with writing(self.folder):
            _write_json(self.folder / "results.json", document)
            closed = Bundle(self.folder, {**self.about, **about, "stage": "judged"})
            _write_json(self.folder / "bundle.json", closed.about)
        if self._hold is not None:
            self._hold.let_go()
        return closed


def _clear_after_killed_runs(out: Path) -> None:
    """Remove what runs that were killed had half written in their bundles; what they had recorded stays."""
    for mark in out.glob(f"*/{_RUNNING}"):
        with contextlib.suppress(OSError):
            descriptor = os.open(mark, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                folder = mark.parent.resolve()  # perhaps found by way of a pointer
                for place in (folder, *(folder / "results").glob("*")):
                    reap(place)
                    for draft in place.glob(".*.[0-9]*"):
                        draft.unlink()
                for pointer in out.glob(".latest-*"):
                    if pointer.is_symlink() and str(pointer.readlink()) == folder.name:
                        pointer.unlink()
                mark.unlink()
            finally:
                os.close(descriptor)


def _plain(word: str) -> str:
    kept = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._") else "-" for letter in word)
    return "-".join(part for part in kept.split("-") if part)[:40] or "x"


def save_json(path: Path, value: object) -> None:
    """Write JSON so that a reader finds the old file or the new one whole. Raises `OutputUnwritable`."""
    with writing(path):
        _write_json(path, value)


def _write_json(path: Path, value: object) -> None:
    with replacing(path) as draft:
        draft.write_text(json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a draft beside a file, which takes its place once it is written: a reader finds the old one or the new one whole."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object of a bundle. Raises `BundleUnreadable`, naming the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleUnreadable(f"{path} cannot be read: {error.strerror}. The bundle is incomplete.") from error
    except ValueError as error:
        raise BundleUnreadable(f"{path} is damaged: {error}. The bundle was cut short or changed.") from error
    if not isinstance(value, dict):
        raise BundleUnreadable(f"{path} holds {type(value).__name__}, expected a JSON object.")
    return value


@contextlib.contextmanager
def writing(path: Path) -> Any:
    """Turn an error of the file system into one clear sentence. Raises `OutputUnwritable`."""
    try:
        yield
    except OSError as error:
        free = ""
        with contextlib.suppress(OSError):
            near = next(folder for folder in (path, *path.parents) if folder.exists())
            free = f" ({shutil.disk_usage(near).free // 2**20} MiB free)"
        raise OutputUnwritable(
            f"Cannot write {error.filename or path}: {error.strerror}{free}. "
            "Expected a folder that can be written; choose another with --out. What was recorded before is kept."
        ) from error
