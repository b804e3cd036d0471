"""The databases a run can use, by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from harness.databases.filesystem import file_system_type
from harness.databases.postgres import Postgres
from harness.databases.sqlite import Sqlite
from harness.errors import UnknownName
from harness.protocols import Database
from harness.scratch import MEMORY

DATABASES: Final[Mapping[str, Database]] = {
    "sqlite": Sqlite(journal_mode="wal"),
    "sqlite-rollback": Sqlite(journal_mode="delete"),
    "postgres": Postgres(),
    "postgres-repeatable-read": Postgres(settings={"default_transaction_isolation": "repeatable read"}),
    "postgres-serializable": Postgres(settings={"default_transaction_isolation": "serializable"}),
}
# What an exploration may do without: each schedule begins anew, so nothing need outlive the server.
EXPLORING: Final[Mapping[str, str]] = {"synchronous_commit": "off"}
URL_SCHEMES: Final = ("postgresql://", "postgres://")


def choose(spec: str) -> Database:
    """Give the database named by `spec`: a name of the table, or a Postgres URL. Raises `UnknownName` for any other."""
    if spec.startswith(URL_SCHEMES):
        return Postgres(url=spec)
    if spec not in DATABASES:
        raise UnknownName("database", spec.partition("://")[0], [*DATABASES, "postgresql://…"])
    return DATABASES[spec]


def for_exploring(engine: Database) -> Database:
    """Give the engine as an exploration wants it: nothing waits for a disk."""
    if isinstance(engine, Postgres):
        return replace(engine, settings={**engine.settings, **EXPLORING})
    if isinstance(engine, Sqlite) and file_system_type(MEMORY) == "tmpfs" and os.access(MEMORY, os.W_OK):
        return replace(engine, memory=MEMORY)
    return engine
