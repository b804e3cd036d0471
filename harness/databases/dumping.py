"""What is in a Postgres database, as SQL text that makes it anew and as text that drops it: told by the server's own pg_dump."""

from __future__ import annotations

import os
import re
import subprocess
from itertools import takewhile
from typing import Any, Final

from harness.databases.binaries import find_binaries
from harness.errors import DatabaseUnavailable
from harness.witnesses.shapes import fill, statements

DUMP_SECONDS: Final = 30.0
STATISTICS_SINCE: Final = 18
MOST_CHARACTERS: Final = 1_000_000
_OPTIONS: Final = (
    *("--inserts", "--clean", "--if-exists", "--exclude-schema=contend_snapshot", "--lock-wait-timeout=2000"),
    *(
        "--no-owner",
        "--no-privileges",
        "--no-comments",
        "--no-security-labels",
        "--no-publications",
        "--no-subscriptions",
    ),
    *("--no-tablespaces", "--no-table-access-method"),
)
# For psql alone (since 18.0 and the last releases before it), at the begin and at the end, with a word made up for this dump.
_RESTRICT: Final = re.compile(r"^\\restrict (\w+)$", re.MULTILINE)
# What pg_dump sets for itself; a body may name what is made only later.
_SETS: Final = re.compile(r"SET (?!check_function_bodies)\w+ = ", re.IGNORECASE)
_HEAD: Final = re.compile(r"SET |SELECT pg_catalog\.set_config\(", re.IGNORECASE)
_DROPS: Final = re.compile(r"DROP |ALTER [^;]* DROP ", re.IGNORECASE)


def dump(conninfo: str, version: int) -> tuple[str, str]:
    """Give the SQL that makes what is in a database, its rows included, and the SQL that drops just that again.

    With what the planner knows, where the server, of that major `version`, can be told it. Roles and their rights and comments on objects
    are left out. Raises `DatabaseUnavailable`.
    """
    import psycopg  # noqa: PLC0415  # a run on SQLite alone does not pay for it

    binaries = find_binaries()
    program = binaries.folder / "pg_dump"
    knows = min(version, int(re.findall(r"\d+", binaries.version)[0])) >= STATISTICS_SINCE
    parts: dict[str, Any] = psycopg.conninfo.conninfo_to_dict(conninfo)
    password = parts.pop("password", None)  # a command line is there for all to read
    try:
        done = subprocess.run(
            [
                program,
                *_OPTIONS,
                *(["--statistics"] if knows else []),
                f"--dbname={psycopg.conninfo.make_conninfo(**parts)}",
            ],
            env=os.environ | ({} if password is None else {"PGPASSWORD": password}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
            timeout=DUMP_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DatabaseUnavailable(
            f"pg_dump, beside the programs of Postgres, did not run: {type(error).__name__}."
        ) from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[0]
        raise DatabaseUnavailable(f"pg_dump could not tell what is in the database: {said.rstrip('.')}.")
    if len(done.stdout) > MOST_CHARACTERS:
        raise DatabaseUnavailable(f"What is in the database takes more than {MOST_CHARACTERS:,} characters.")
    return _parted(done.stdout)


def _parted(text: str) -> tuple[str, str]:
    for word in _RESTRICT.findall(text)[:1]:
        text = text.replace(f"\n\\restrict {word}\n", "\n").replace(f"\n\\unrestrict {word}\n", "\n")
    said = [fill(part, ()).strip() for part in statements(text)]
    kept = [part for part in said if not _SETS.match(part)]
    head = list(takewhile(_HEAD.match, kept))
    drops = list(takewhile(_DROPS.match, kept[len(head) :]))
    return _joined([*head, *kept[len(head) + len(drops) :]]), _joined(drops)


def _joined(parts: list[str]) -> str:
    return "".join(f"{part};\n" for part in parts)
