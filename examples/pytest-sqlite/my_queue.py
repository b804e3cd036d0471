"""A home-made job queue in a SQLite file."""

from __future__ import annotations

import sqlite3


class MyQueue:
    """Jobs in one table; whoever claims a job has it until it is completed."""

    databases = ("sqlite",)

    def __init__(self, url: str) -> None:
        self.connection = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30, isolation_level=None)

    def install(self) -> None:
        self.connection.execute(
            "CREATE TABLE jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, payload TEXT, status TEXT NOT NULL DEFAULT 'ready')"
        )

    def enqueue(self, jobs: list[dict]) -> list[int]:
        insert = "INSERT INTO jobs (payload) VALUES (?) RETURNING id"
        return [self.connection.execute(insert, (job["payload"],)).fetchall()[0][0] for job in jobs]

    def claim(self, worker: str, limit: int) -> list[int]:
        claimed = self.connection.execute(
            "UPDATE jobs SET status = 'running' "
            "WHERE id IN (SELECT id FROM jobs WHERE status = 'ready' ORDER BY id LIMIT ?) RETURNING id",
            (limit,),
        )
        return sorted(job for (job,) in claimed)

    def complete(self, worker: str, handles: list[int]) -> None:
        self.connection.executemany("UPDATE jobs SET status = 'done' WHERE id = ?", [(job,) for job in handles])
