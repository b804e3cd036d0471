"""Small queues with leases, for the tests of crashes: each reads the time in its own way, or forgets somebody."""

from __future__ import annotations

import sqlite3
import time
from typing import Any, ClassVar

import psycopg


class Leased:
    """Right: a lease by Python's clock, on SQLite."""

    databases: ClassVar[tuple[str, ...]] = ("sqlite",)
    lease_seconds: ClassVar[float] = 30.0

    def __init__(self, url: str) -> None:
        self.db = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)

    def run(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return self.db.execute(sql, values).fetchall()

    def install(self) -> None:
        self.run(
            "CREATE TABLE jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, state TEXT NOT NULL DEFAULT 'ready', until, token INTEGER DEFAULT 0)"
        )

    def enqueue(self, jobs: list[dict[str, Any]]) -> list[int]:
        return [self.run("INSERT INTO jobs DEFAULT VALUES RETURNING id")[0][0] for _ in jobs]

    def claim(self, worker: str, limit: int) -> list[dict[str, int]]:
        rows = self.run(
            "UPDATE jobs SET state = 'running', until = ?, token = token + 1 "
            "WHERE id IN (SELECT id FROM jobs WHERE state = 'ready' ORDER BY id LIMIT ?) RETURNING id, token",
            self.now() + self.lease_seconds,
            limit,
        )
        return [{"job": job, "token": token} for job, token in sorted(rows)]

    def complete(self, worker: str, handles: list[dict[str, int]]) -> list[dict[str, int]]:
        sql = "UPDATE jobs SET state = 'done' WHERE id = ? AND token = ? AND state = 'running' RETURNING id"
        return [handle for handle in handles if self.run(sql, handle["job"], handle["token"])]

    def recover(self) -> int:
        return len(
            self.run("UPDATE jobs SET state = 'ready' WHERE state = 'running' AND until <= ? RETURNING id", self.now())
        )

    def now(self) -> float:
        return time.time()


class BySqlite(Leased):
    """Right: by SQLite's clock."""

    def now(self) -> float:
        return float(self.run("SELECT (julianday('now') - 2440587.5) * 86400")[0][0])


class ByOwnClock(Leased):
    """Right, but by a clock that nobody can move."""

    lease_seconds: ClassVar[float] = 0.2

    def now(self) -> float:
        return time.monotonic()


class BySlowOwnClock(ByOwnClock):
    """The same, and nobody waits for so long."""

    lease_seconds: ClassVar[float] = 2.5


class Forgetful(Leased):
    """WRONG: nobody looks after the jobs of a worker that died."""

    lease_seconds: ClassVar[float] = 0.2

    def recover(self) -> int:
        return 0


class Popping(Leased):
    """WRONG unless it is declared: a job is gone once it is claimed."""

    lease_seconds: ClassVar[float] = 0.2

    def claim(self, worker: str, limit: int) -> list[dict[str, int]]:
        rows = self.run("DELETE FROM jobs WHERE id IN (SELECT id FROM jobs ORDER BY id LIMIT ?) RETURNING id", limit)
        return [{"job": job, "token": 1} for (job,) in sorted(rows)]

    def complete(self, worker: str, handles: list[dict[str, int]]) -> list[dict[str, int]]:
        return handles


class Declared(Popping):
    """Right: it says so."""

    semantics = "at-most-once"


class Unseen(Leased):
    """WRONG: between claimed and running there is a moment in which no sweep sees a job."""

    def claim(self, worker: str, limit: int) -> list[dict[str, int]]:
        rows = self.run(
            "UPDATE jobs SET state = 'claimed', token = token + 1 "
            "WHERE id IN (SELECT id FROM jobs WHERE state = 'ready' ORDER BY id LIMIT ?) RETURNING id, token",
            limit,
        )
        for job, _ in rows:
            self.run("UPDATE jobs SET state = 'running', until = ? WHERE id = ?", self.now() + self.lease_seconds, job)
        return [{"job": job, "token": token} for job, token in sorted(rows)]


class OnPostgres(Leased):
    """Right: by Postgres' now()."""

    databases: ClassVar[tuple[str, ...]] = ("postgres",)
    clock: ClassVar[str] = "now()"

    def __init__(self, url: str) -> None:
        self.server = psycopg.connect(url, autocommit=True)
        self.url = url

    def run(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        if self.server.closed:
            self.server = psycopg.connect(self.url, autocommit=True)
        cursor = self.server.execute(sql.replace("?", "%s").encode(), values)
        return cursor.fetchall() if cursor.description else []

    def install(self) -> None:
        self.run(
            "CREATE TABLE jobs (id serial PRIMARY KEY, state text NOT NULL DEFAULT 'ready', until float, token int DEFAULT 0)"
        )

    def claim(self, worker: str, limit: int) -> list[dict[str, int]]:
        rows = self.run(
            f"""WITH best AS (SELECT id FROM jobs WHERE state = 'ready' ORDER BY id LIMIT ? FOR UPDATE SKIP LOCKED)
            UPDATE jobs SET state = 'running', until = extract(epoch FROM {self.clock}) + ?, token = token + 1
            FROM best WHERE jobs.id = best.id RETURNING jobs.id, token""",  # noqa: S608  # the class's own
            limit,
            self.lease_seconds,
        )
        return [{"job": job, "token": token} for job, token in sorted(rows)]

    def recover(self) -> int:
        return len(
            self.run(
                f"UPDATE jobs SET state = 'ready' WHERE state = 'running' AND until <= extract(epoch FROM {self.clock}) RETURNING id"  # noqa: S608  # as above
            )
        )


class ByKeyword(OnPostgres):
    """Right, by what no function stands in for."""

    lease_seconds: ClassVar[float] = 0.15
    clock: ClassVar[str] = "CURRENT_TIMESTAMP"
