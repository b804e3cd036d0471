"""The databases a run can use, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from harness.databases.postgres import Postgres
from harness.databases.sqlite import Sqlite
from harness.errors import UnknownName
from harness.protocols import Database

DATABASES: Final[Mapping[str, Database]] = {
    "sqlite": Sqlite(journal_mode="wal"),
    "sqlite-rollback": Sqlite(journal_mode="delete"),
    "postgres": Postgres(),
}
URL_SCHEMES: Final = ("postgresql://", "postgres://")


def choose(spec: str) -> Database:
    """Give the database named by `spec`: a name of the table, or a Postgres URL. Raises `UnknownName` for any other."""
    if spec.startswith(URL_SCHEMES):
        return Postgres(url=spec)
    if spec not in DATABASES:
        raise UnknownName("database", spec.partition("://")[0], [*DATABASES, "postgresql://…"])
    return DATABASES[spec]
