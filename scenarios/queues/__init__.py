"""Queues that others have released, each driven the way its documentation shows, by its public names only.

One small file for each, imported only when it is named, as its package is an optional one: `pip install 'contend[trial]'`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Final

from harness.protocols import Promise
from harness.scenario import Mode

COLLECTION: Final = "trial"  # what `contend run` calls all that are installed
REPEATS: Final = 10  # races of each in the full profile
JOBS: Final[Mapping[Mode, int | None]] = {"race": 300, "explore": None}  # None: the scenario's own
STRUCK: Final = ("kill-worker", "pause-worker")  # what befalls them in claim-recovery: death, and sleep beyond a lease


@dataclass(frozen=True, slots=True)
class Queue:
    """A released queue: the class here that drives it (`module:Class`), on which databases, and the packages that takes, its own first.

    `says` is what its authors say of several processes that claim at once, in their words, and `where`; empty: nothing was found.
    `settings` is how it was set up, as far as that shows in figures: what is claimed at once, how often it asks. `most` jobs are in a race
    of the trial, if it asks so seldom that it would not come to the end of more.
    """

    system: str
    databases: tuple[str, ...]
    packages: tuple[str, ...]
    settings: str
    says: str = ""
    where: str = ""
    most: int | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """The packages that are not installed."""
        return tuple(package for package in self.packages if not _version(package))

    @property
    def version(self) -> str:
        """The version of its own package; empty: it is not installed."""
        return _version(self.packages[0])


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def unstruck(promise: Promise, fault: str) -> str | None:
    """Why nothing could be said of a queue whose worker died or slept, or None: what it holds must be handed on at some time."""
    if fault == "pause-worker" and promise.lease_seconds is None:
        return "what a worker holds is its own for as long as it lives"
    if promise.lease_seconds is None and "recover" not in promise.capabilities:
        return "it does not say when what a dead worker held is handed out again"
    return None


QUEUES: Final[Mapping[str, Queue]] = {
    "awa-pg": Queue(
        "scenarios.queues.awa_pg:Awa",
        databases=("postgres",),
        packages=("awa-pg",),
        settings="`start` with 5 workers a process, polling every 200 ms beside notifications; it claims for all workers that are free",
        says="Awa rejects stale completions and rescues stuck work, but it does not promise “exactly once”.",
        where="https://github.com/hardbyte/awa",
    ),
    "huey": Queue(
        "scenarios.queues.huey:Huey",
        databases=("sqlite",),
        packages=("huey",),
        settings="SqliteHuey as it comes; one task in a claim (`dequeue`), taken out of the table as it is claimed",
        says="multi-process, multi-thread or greenlet task execution models",
        where="https://pypi.org/project/huey/",
    ),
    "liteq": Queue(
        "scenarios.queues.liteq:Liteq",
        databases=("sqlite",),
        packages=("liteq",),
        settings="a worker with a concurrency of 1 a process, which asks for one task every half second, as it always does",
        says="Use BEGIN IMMEDIATE to prevent race conditions between multiple workers",
        where="liteq/worker.py, as released",
        most=30,
    ),
    "litequeue": Queue(
        "scenarios.queues.litequeue:Lite",
        databases=("sqlite",),
        packages=("litequeue",),
        settings="LiteQueue as it comes; one message in a claim (`pop`)",
    ),
    "persist-queue": Queue(
        "scenarios.queues.persist_queue:Ack",
        databases=("sqlite",),
        packages=("persist-queue",),
        settings="SQLiteAckQueue with multithreading and without auto_resume; one item in a claim (`get`)",
        says="Thread-safe: Supports multi-threaded producers and consumers",
        where="https://pypi.org/project/persist-queue/",
    ),
    "kombu": Queue(
        "scenarios.queues.kombu:Simple",
        databases=("sqlite", "postgres"),
        packages=("kombu",),
        settings="SQLAlchemy transport as it comes; one message in a claim (`SimpleQueue.get_nowait`)",
    ),
    "apscheduler": Queue(
        "scenarios.queues.apscheduler:Scheduler",
        databases=("sqlite", "postgres"),
        packages=("apscheduler",),
        settings="SQLAlchemyJobStore as it comes; misfire_grace_time=None, so that nothing is due too long ago; all due jobs in a claim, "
        "for 10 threads; a scheduler whose loop has ended is followed by a new one",
        says="How do I share a single job store among one or more worker processes? Short answer: You can't.",
        where="https://apscheduler.readthedocs.io/en/3.x/faq.html",
    ),
    "django-tasks": Queue(
        "scenarios.queues.django_tasks:Tasks",
        databases=("sqlite", "postgres"),
        packages=("django-tasks-db", "django-tasks", "django"),
        settings="DatabaseBackend and the worker of db_worker, one task in a claim, interval=0.1, startup_delay=False; "
        "on SQLite transaction_mode=IMMEDIATE, as Django's documentation has it; else Django's defaults: a connection for each look",
        says='"claim" the task, so it isn\'t run by another worker process',
        where="https://pypi.org/project/django-tasks-db/, db_worker.py",
    ),
    "django-q2": Queue(
        "scenarios.queues.django_q2:Broker",
        databases=("sqlite", "postgres"),
        packages=("django-q2", "django"),
        settings="the ORM broker, one task in a claim (`dequeue`), poll=0.01; "
        "on SQLite transaction_mode=IMMEDIATE, as Django's documentation has it",
        says="don't process, as another cluster has been faster than us on that task",
        where="https://pypi.org/project/django-q2/, brokers/orm.py",
    ),
    "django-background-tasks": Queue(
        "scenarios.queues.django_background_tasks:Background",
        databases=("sqlite", "postgres"),
        packages=("django-background-tasks", "django"),
        settings="`run_next_task`, one task in a claim, at once again, and after 0.1 s where there was none; "
        "on SQLite transaction_mode=IMMEDIATE, as Django's documentation has it",
        says="Just use one process_tasks per database.",
        where="https://github.com/django-background-tasks/django-background-tasks/issues/149",
    ),
    "pgmq": Queue(
        "scenarios.queues.pgmq:Pgmq",
        databases=("postgres",),
        packages=("pgmq",),
        settings="the SQL its client ships, without the extension; batches in claims (`read_batch`) and completions (`archive_batch`)",
        says="Exactly-once delivery — Guaranteed delivery to a single consumer within a visibility timeout.",
        where="https://pypi.org/project/pgmq/",
    ),
    "pq": Queue(
        "scenarios.queues.pq:Transactional",
        databases=("postgres",),
        packages=("pq", "psycopg2-binary"),
        settings="one job in a `get`, in one transaction (`with queue`) from the claim of a batch to its completion",
        says="uses SKIP LOCKED for concurrency control",
        where="https://pypi.org/project/pq/",
    ),
    "procrastinate": Queue(
        "scenarios.queues.procrastinate:Procrastinate",
        databases=("postgres",),
        packages=("procrastinate",),
        settings="JobManager, 1 connection (looked at before each use); a worker registered for each claim of one job (`fetch_job`)",
        says="This ensures that when a worker starts executing a job, it's the only one",
        where="https://procrastinate.readthedocs.io/en/stable/discussions.html",
    ),
    "pgqueuer": Queue(
        "scenarios.queues.pgqueuer:PgQueuer",
        databases=("postgres",),
        packages=("pgqueuer", "psycopg"),
        settings="Queries on 1 connection of psycopg, entrypoint without a limit; as many jobs in a `dequeue` as are asked for",
        says="workers claim jobs with `FOR UPDATE SKIP LOCKED` (never double-processed)",
        where="https://pypi.org/project/pgqueuer/",
    ),
    "dbos": Queue(
        "scenarios.queues.dbos:Dbos",
        databases=("sqlite", "postgres"),
        packages=("dbos",),
        settings="a queue with worker_concurrency=5 and polling_interval_sec=0.02 (1.0 as it comes); an executor in each process",
        says="one of your processes will pick it up for execution",
        where="https://pypi.org/project/dbos/",
    ),
    "chancy": Queue(
        "scenarios.queues.chancy:Chancy",
        databases=("postgres",),
        packages=("chancy",),
        settings="a pool of 1 connection, no default plugins; a worker announced for each claim; batches in `fetch_jobs` and `flush`",
        says="It's safe to call this method concurrently, as the jobs will be locked for the duration of the transaction",
        where="https://github.com/TkTech/chancy/blob/main/chancy/worker.py",
    ),
    "saq": Queue(
        "scenarios.queues.saq:Saq",
        databases=("postgres",),
        packages=("saq", "psycopg", "psycopg-pool"),
        settings="one job in a claim (`dequeue`), which is empty after 50 ms without a notification; in claim-recovery a sweep before each",
        says="Easily run multiple workers to leverage more cores",
        where="https://pypi.org/project/saq/",
    ),
}
