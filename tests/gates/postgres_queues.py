"""Small queues on Postgres for the tests of exploring, each with one trait; right unless it says WRONG."""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

import psycopg
import psycopg_pool
from psycopg.rows import scalar_row
from sqlalchemy import create_engine, text

TABLE = "CREATE TABLE jobs (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, state text NOT NULL DEFAULT 'ready')"
SKIP_LOCKED = """
    WITH next AS (SELECT id FROM jobs WHERE state = 'ready' ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
    UPDATE jobs SET state = 'running' FROM next WHERE jobs.id = next.id RETURNING jobs.id
"""
SCALAR = """
    UPDATE jobs SET state = 'running'
    WHERE id = ANY(ARRAY(SELECT id FROM jobs WHERE state = 'ready' ORDER BY id LIMIT %s)) RETURNING id
"""
READY = " SELECT id FROM jobs WHERE state = 'ready' ORDER BY id LIMIT %s"
NEXT_IN_LANE = "SELECT job FROM lane_{} WHERE state = 'ready' ORDER BY job LIMIT %s FOR UPDATE"
ENTER_LANE = "INSERT INTO lane_{} VALUES (%s)"
RUN_IN_LANE = "UPDATE lane_{} SET state = 'running' WHERE job = %s"
NOTE_IN_LANE = "INSERT INTO notes_{} VALUES (%s)"
RUN = "UPDATE jobs SET state = 'running' WHERE id = %s"


class Small:
    """The claim is one UPDATE in autocommit mode."""

    databases: ClassVar = ("postgres",)
    take: ClassVar = SKIP_LOCKED
    autocommit: ClassVar = True

    def __init__(self, url: str) -> None:
        self.db = psycopg.connect(url, autocommit=self.autocommit, row_factory=scalar_row)

    def install(self) -> None:
        with self.db.transaction():
            self.db.execute(TABLE)

    def enqueue(self, jobs: list[dict[str, Any]]) -> list[int]:
        with self.db.transaction():
            return [self.db.execute("INSERT INTO jobs DEFAULT VALUES RETURNING id").fetchone() or 0 for _ in jobs]

    def claim(self, worker: str, limit: int) -> list[int]:
        return sorted(self.db.execute(self.take, [limit]).fetchall())

    def complete(self, worker: str, handles: list[int]) -> None:
        with self.db.transaction():
            self.db.execute("UPDATE jobs SET state = 'done' WHERE id = ANY(%s)", [handles])


class Halfway(Small):
    """WRONG: takes one job and commits, and then fails with an error that says that nothing happened."""

    def claim(self, worker: str, limit: int) -> list[int]:
        if worker.startswith("w"):
            self.db.execute(self.take, [1])
            self.db.execute("INSERT INTO jobs OVERRIDING SYSTEM VALUE SELECT min(id) FROM jobs")  # which is there
        return super().claim(worker, limit)


class Scalar(Small):
    """WRONG: READ COMMITTED looks again at the outer WHERE only, which says nothing of the state."""

    take: ClassVar = SCALAR


class Guarded(Small):
    """WRONG: who comes second claims nothing, though there is work."""

    take: ClassVar = SCALAR.replace("WHERE id =", "WHERE state = 'ready' AND id =")


class Plain(Small):
    """No parameters: simple Queries."""

    def claim(self, worker: str, limit: int) -> list[int]:
        return sorted(self.db.execute((self.take % limit).encode()).fetchall())


class PlainScalar(Plain):
    """WRONG, as `Scalar`."""

    take: ClassVar = SCALAR


class Block(Small):
    """The claim locks what it reads in a transaction block."""

    autocommit: ClassVar = False
    lock: ClassVar = " FOR UPDATE SKIP LOCKED"

    def claim(self, worker: str, limit: int) -> list[int]:
        with self.db.transaction():
            jobs = self.db.execute((READY + self.lock).encode(), [limit]).fetchall()
            for job in jobs:
                self.db.execute(RUN, [job])
        return jobs


class BlockWithoutLock(Block):
    """WRONG: it locks nothing."""

    lock: ClassVar = ""


class Texts(Small):
    """The claim is one text of many statements."""

    lock: ClassVar = " FOR UPDATE SKIP LOCKED"

    def claim(self, worker: str, limit: int) -> list[int]:
        return self.several(
            "BEGIN", "CREATE TEMP TABLE mine ON COMMIT DROP AS" + READY % limit + self.lock,
            "UPDATE jobs SET state = 'running' WHERE id IN (SELECT id FROM mine)", "SELECT id FROM mine", "COMMIT",
        )  # fmt: skip  # as it is sent

    def several(self, *statements: str) -> list[int]:
        cursor = self.db.execute("; ".join(statements).encode())
        found: list[int] = []
        while True:
            found += cursor.fetchall() if cursor.description else []
            if not cursor.nextset():
                return found


class TextsWithoutLock(Texts):
    """WRONG: it locks nothing."""

    lock: ClassVar = ""


class TextsScalar(Texts):
    """WRONG: an UPDATE as that of `Scalar`, and then a look at what it did, in one text without BEGIN."""

    def install(self) -> None:
        super().install()
        self.db.execute("ALTER TABLE jobs ADD worker text")

    def claim(self, worker: str, limit: int) -> list[int]:
        take = (SCALAR % limit).replace("SET", f"SET worker = '{worker}',").replace("RETURNING id", "")
        return self.several(take, f"SELECT id FROM jobs WHERE state = 'running' AND worker = '{worker}'")  # noqa: S608  # no stranger's


class Function(Small):
    """A function of the database claims: a SELECT that writes."""

    take: ClassVar = "SELECT take(%s)"
    lock: ClassVar = "FOR UPDATE SKIP LOCKED"

    def install(self) -> None:
        super().install()
        self.db.execute(
            """CREATE FUNCTION take(most int) RETURNS SETOF int LANGUAGE plpgsql AS $$
            DECLARE job int;
            BEGIN
                FOR job IN SELECT id FROM jobs WHERE state = 'ready' ORDER BY id LIMIT most FOR UPDATE SKIP LOCKED LOOP
                    UPDATE jobs SET state = 'running' WHERE id = job;
                    RETURN NEXT job;
                END LOOP;
            END $$""".replace("FOR UPDATE SKIP LOCKED", self.lock).encode()
        )


class FunctionWithoutLock(Function):
    """WRONG: it locks nothing."""

    lock: ClassVar = ""


class Pooled(Small):
    """Each claim takes a connection from a pool of four."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.pool = psycopg_pool.ConnectionPool(url, open=True, kwargs={"autocommit": True})
        self.pool.wait()

    def claim(self, worker: str, limit: int) -> list[int]:
        with self.pool.connection() as connection:
            return sorted(job for (job,) in connection.execute(self.take, [limit]).fetchall())


class PooledScalar(Pooled):
    """WRONG, as `Scalar`."""

    take: ClassVar = SCALAR


class Resetting(Pooled):
    """Its pool goes on in a thread of its own once a claim has ended."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.pool = psycopg_pool.ConnectionPool(url, open=True, min_size=1, max_size=1, reset=reset)
        self.pool.wait()

    def claim(self, worker: str, limit: int) -> list[int]:
        with self.pool.connection() as connection:
            return sorted(job for (job,) in connection.execute(self.take, [limit]).fetchall())


def reset(connection: psycopg.Connection) -> None:
    """Forget what a claim left behind."""
    connection.execute("SELECT pg_advisory_unlock_all()")
    connection.commit()


class Reconnecting(Small):
    """Each claim makes a connection of its own."""

    url = ""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url

    def claim(self, worker: str, limit: int) -> list[int]:
        with psycopg.connect(self.url, row_factory=scalar_row) as connection:
            return sorted(connection.execute(self.take, [limit]).fetchall())


class ReconnectingScalar(Reconnecting):
    """WRONG, as `Scalar`."""

    take: ClassVar = SCALAR


class Alchemy(Small):
    """Through SQLAlchemy."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))

    def claim(self, worker: str, limit: int) -> list[int]:
        with self.engine.begin() as connection:
            return sorted(connection.execute(text(self.take.replace("%s", ":most")), {"most": limit}).scalars())


class AlchemyScalar(Alchemy):
    """WRONG, as `Scalar`."""

    take: ClassVar = SCALAR


class Pipelined(Small):
    """A block in a pipeline."""

    def claim(self, worker: str, limit: int) -> list[int]:
        with self.db.pipeline(), self.db.transaction():
            return sorted(self.db.execute(self.take, [limit]).fetchall())


class PipelinedScalar(Pipelined):
    """WRONG, as `Scalar`."""

    take: ClassVar = SCALAR


class Snapshot(Block):
    """REPEATABLE READ, and again where another was first."""

    lock: ClassVar = ""
    level: ClassVar = psycopg.IsolationLevel.REPEATABLE_READ
    tries: ClassVar = 20

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.db.isolation_level = self.level

    def claim(self, worker: str, limit: int) -> list[int]:
        for left in reversed(range(self.tries)):
            try:
                return super().claim(worker, limit)
            except psycopg.errors.SerializationFailure:
                if not left:
                    raise
        return []


class SnapshotOnce(Snapshot):
    """WRONG: it does not try again."""

    tries: ClassVar = 1


class Serializable(Snapshot):
    """SERIALIZABLE, and again where another was first."""

    level: ClassVar = psycopg.IsolationLevel.SERIALIZABLE


class SerializableOnce(Serializable):
    """WRONG: it does not try again."""

    tries: ClassVar = 1


class Ledger(Small):
    """WRONG at REPEATABLE READ, as each takes what the other's snapshot does not show (write skew): claims are rows of their own."""

    level: ClassVar = psycopg.IsolationLevel.REPEATABLE_READ

    def install(self) -> None:
        super().install()
        self.db.execute("CREATE TABLE taken (job int)")

    def claim(self, worker: str, limit: int) -> list[int]:
        self.db.isolation_level = self.level
        ready = READY.replace("ORDER", "AND NOT EXISTS (SELECT FROM taken WHERE job = id) ORDER")
        jobs: list[int] | None = None
        while jobs is None:
            with contextlib.suppress(psycopg.errors.SerializationFailure):
                jobs = self.take_free(ready, limit)
        return jobs

    def take_free(self, ready: str, limit: int) -> list[int]:
        with self.db.transaction():
            jobs = self.db.execute(ready.encode(), [limit]).fetchall()
            for job in jobs:
                self.db.execute("INSERT INTO taken VALUES (%s)", [job])
        return jobs


class SerializableLedger(Ledger):
    """Right at SERIALIZABLE."""

    level: ClassVar = psycopg.IsolationLevel.SERIALIZABLE


class Crossing(Block):
    """WRONG: workers lock the same rows in different orders."""

    def claim(self, worker: str, limit: int) -> list[int]:
        order = "DESC" if worker == "w1" else "ASC"
        with self.db.transaction():
            jobs = self.db.execute(READY, [limit]).fetchall()
            jobs = sorted(jobs, reverse=order == "DESC")
            return sorted(
                job for job in jobs if self.db.execute(RUN + " AND state = 'ready' RETURNING id", [job]).fetchall()
            )


class CrossingPipelined(Small):
    """WRONG, as `Crossing`, with one executemany in a pipeline."""

    def claim(self, worker: str, limit: int) -> list[int]:
        jobs = sorted(self.db.execute(READY, [limit]).fetchall(), reverse=worker == "w1")
        with self.db.transaction(), self.db.cursor() as cursor:
            cursor.executemany(RUN + " AND state = 'ready' RETURNING id", [[job] for job in jobs], returning=True)
            found: list[int] = []
            while jobs:
                found += cursor.fetchall()
                if not cursor.nextset():
                    break
        return sorted(found)


class Lanes(Block):
    """A worker takes from a table of its own, and notes in another what it took."""

    def install(self) -> None:
        super().install()
        with self.db.transaction():
            for name in ("w0", "w1"):
                self.db.execute(f"CREATE TABLE lane_{name} (job int, state text DEFAULT 'ready')".encode())
                self.db.execute(f"CREATE TABLE notes_{name} (job int)".encode())

    def enqueue(self, jobs: list[dict[str, Any]]) -> list[int]:
        numbers = super().enqueue(jobs)
        with self.db.transaction():
            for number in numbers:
                self.db.execute(ENTER_LANE.format(f"w{number % 2}").encode(), [number])
        return numbers

    def claim(self, worker: str, limit: int) -> list[int]:
        found: list[int] = []
        with self.db.transaction():
            for lane in [worker] if worker in ("w0", "w1") else ["w0", "w1"]:
                jobs = self.db.execute(NEXT_IN_LANE.format(lane).encode(), [limit - len(found)]).fetchall()
                for job in jobs:
                    self.db.execute(RUN_IN_LANE.format(lane).encode(), [job])
                    self.db.execute(NOTE_IN_LANE.format(lane).encode(), [job])
                found += jobs
        return found
