"""Small queues on SQLite for the tests of exploring, each with one trait."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from typing import Any, ClassVar

from sqlalchemy import create_engine, text


class Small:
    """A queue of ids. Right: the claim is one UPDATE."""

    databases: ClassVar = ("sqlite",)
    take: ClassVar = (
        "UPDATE jobs SET state = 'running' "
        "WHERE id IN (SELECT id FROM jobs WHERE state = 'ready' ORDER BY id LIMIT ?) RETURNING id"
    )

    def __init__(self, url: str) -> None:
        self.db = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)

    def install(self) -> None:
        self.db.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY, state TEXT NOT NULL DEFAULT 'ready')")

    def enqueue(self, jobs: list[dict[str, Any]]) -> list[int]:
        return [self.db.execute("INSERT INTO jobs DEFAULT VALUES").lastrowid or 0 for _ in jobs]

    def claim(self, worker: str, limit: int) -> list[int]:
        return sorted(job for (job,) in self.db.execute(self.take, (limit,)).fetchall())

    def complete(self, worker: str, handles: list[int]) -> None:
        self.db.executemany("UPDATE jobs SET state = 'done' WHERE id = ?", [(job,) for job in handles])

    def ready(self, limit: int) -> list[int]:
        found = self.db.execute("SELECT id FROM jobs WHERE state = 'ready' ORDER BY id LIMIT ?", (limit,))
        return [job for (job,) in found.fetchall()]

    def run(self, jobs: list[int]) -> None:
        for job in jobs:
            self.db.execute("UPDATE jobs SET state = 'running' WHERE id = ?", (job,))


class Naive(Small):
    """WRONG: reads, then updates."""

    def claim(self, worker: str, limit: int) -> list[int]:
        jobs = self.ready(limit)
        self.run(jobs)
        return jobs


class Locking(Small):
    """Right: takes the write lock, reads, updates, commits."""

    def claim(self, worker: str, limit: int) -> list[int]:
        self.db.execute("BEGIN IMMEDIATE")
        jobs = self.ready(limit)
        self.run(jobs)
        self.db.execute("COMMIT")
        return jobs


class Upgrading(Small):
    """WRONG: reads in a plain BEGIN and then writes, which SQLite refuses at once where another wrote meanwhile."""

    def claim(self, worker: str, limit: int) -> list[int]:
        self.db.execute("BEGIN")
        try:
            jobs = self.ready(limit)
            self.run(jobs)
            self.db.execute("COMMIT")
        finally:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
        return jobs


class Dawdling(Naive):
    """As `Naive`, and so long between reading and writing that workers let loose together meet there."""

    def ready(self, limit: int) -> list[int]:
        jobs = super().ready(limit)
        time.sleep(0.1)
        return jobs


class Holding(Locking):
    """As `Locking`, and so long about it that workers let loose together wait for each other."""

    def ready(self, limit: int) -> list[int]:
        jobs = super().ready(limit)
        time.sleep(0.1)
        return jobs


class Legacy(Small):
    """WRONG: the implicit BEGIN of legacy mode comes after the SELECT."""

    def __init__(self, url: str) -> None:
        self.db = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level="IMMEDIATE")

    def install(self) -> None:
        super().install()
        self.db.commit()

    def enqueue(self, jobs: list[dict[str, Any]]) -> list[int]:
        with self.db:
            return super().enqueue(jobs)

    def claim(self, worker: str, limit: int) -> list[int]:
        with self.db:
            jobs = self.ready(limit)
            self.db.executemany("UPDATE jobs SET state = 'running' WHERE id = ?", [(job,) for job in jobs])
        return jobs

    def complete(self, worker: str, handles: list[int]) -> None:
        with self.db:
            super().complete(worker, handles)


class Alchemy(Naive):
    """As `Naive`, through SQLAlchemy."""

    def __init__(self, url: str) -> None:
        self.engine = create_engine(url, isolation_level="AUTOCOMMIT")
        super().__init__(url)

    def claim(self, worker: str, limit: int) -> list[int]:
        with self.engine.connect() as connection:
            found = connection.execute(
                text("SELECT id FROM jobs WHERE state = 'ready' ORDER BY id LIMIT :n"), {"n": limit}
            )
            jobs = [job for (job,) in found]
            for job in jobs:
                connection.execute(text("UPDATE jobs SET state = 'running' WHERE id = :job"), {"job": job})
        return jobs


class Halfway(Small):
    """WRONG: takes one job and commits, and then fails with an error that says that nothing happened."""

    def claim(self, worker: str, limit: int) -> list[int]:
        if worker.startswith("w"):
            self.run(self.ready(1))
            self.db.execute("INSERT INTO jobs (id) VALUES (1)")  # which is there
        return super().claim(worker, limit)


class Reconnecting(Naive):
    """As `Naive`, with a connection of its own for each claim."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.path = url.removeprefix("sqlite:///")

    def claim(self, worker: str, limit: int) -> list[int]:
        kept, self.db = self.db, sqlite3.connect(self.path, isolation_level=None)
        try:
            return super().claim(worker, limit)
        finally:
            self.db.close()
            self.db = kept


class Moody(Locking):
    """What it does depends on chance."""

    def claim(self, worker: str, limit: int) -> list[int]:
        for _ in range(random.randrange(3)):  # that is the point
            self.db.execute("SELECT count(*) FROM jobs")
        return super().claim(worker, limit)


class Threaded(Small):
    """A claim uses the database from a thread of its own, too."""

    def claim(self, worker: str, limit: int) -> list[int]:
        other = threading.Thread(target=self.ready, args=(limit,))
        other.start()
        jobs = super().claim(worker, limit)
        other.join()
        return jobs


class Endless(Small):
    """A claim that never comes back."""

    def claim(self, worker: str, limit: int) -> list[int]:
        while worker.startswith("w"):
            self.ready(limit)
        return super().claim(worker, limit)


class Asleep(Small):
    """A claim that never comes back, and asks nobody anything."""

    def claim(self, worker: str, limit: int) -> list[int]:
        if worker.startswith("w"):
            time.sleep(3600)
        return super().claim(worker, limit)


class Dying(Small):
    """A claim that ends its process."""

    def claim(self, worker: str, limit: int) -> list[int]:
        if worker.startswith("w"):
            os._exit(3)
        return super().claim(worker, limit)


class Leaking(Small):
    """A claim that leaves its transaction open."""

    def claim(self, worker: str, limit: int) -> list[int]:
        if worker.startswith("w"):
            self.db.execute("BEGIN IMMEDIATE")
            return self.ready(limit)
        return super().claim(worker, limit)
