"""A transaction that somebody forgot: it has read, and holds back what cleans up behind writers."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness.errors import FaultMissed
from harness.faults import asking
from harness.protocols import Site


class IdleTransaction:
    """The fault `idle-transaction`."""

    name = "idle-transaction"
    kind = "idle"
    story = "A transaction that has read stays open: no dead row can go (Postgres), no checkpoint can end (SQLite)."
    workers = 0

    def missing(self, site: Site) -> str | None:  # noqa: ARG002  # a fault's signature
        """Possible everywhere."""
        return None

    @contextmanager
    def strike(self, site: Site, workers: Sequence[str]) -> Iterator[None]:  # noqa: ARG002  # all of them have it beside them
        """Open it and see that it holds something back; on leaving, end it."""
        with self._on_file(site) if site.database == "sqlite" else self._on_server(site):
            yield

    @contextmanager
    def _on_file(self, site: Site) -> Iterator[None]:
        file = site.url.removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(file, timeout=30, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            if not connection.in_transaction:
                raise FaultMissed("The transaction that was to stay open did not.")
            yield
            connection.execute("ROLLBACK")

    @contextmanager
    def _on_server(self, site: Site) -> Iterator[None]:
        with (
            contextlib.closing(asking.connect(site.url)) as idle,
            contextlib.closing(asking.connect(site.url)) as other,
        ):
            idle.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            idle.execute("SELECT count(*) FROM pg_class")
            held = other.execute(
                "SELECT backend_xmin IS NOT NULL FROM pg_stat_activity WHERE pid = %s", [idle.info.backend_pid]
            ).fetchone()
            if held != (True,):
                raise FaultMissed("The transaction that was to stay open holds nothing back.")
            yield
            idle.execute("ROLLBACK")
