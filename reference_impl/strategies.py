"""The ways of doing it, in one table: which are right, which are wrong, and what must catch each wrong one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from reference_impl import enqueueing, postgres, sqlite, ways
from reference_impl.queue import Queue

CLAIMING: Final = ("claim-race", "claim-batch")
RECOVERING: Final = (*CLAIMING, "claim-recovery")
DELETING: Final = ("bulk-delete", "cleanup-churn")


@dataclass(frozen=True, slots=True)
class Strategy:
    """A way of claiming, telling progress, deleting or submitting.

    `systems` holds its class for each database it exists on; `about` the scenarios it is there to show; `caught_by`, for each
    scenario in which it is wrong, the invariant that must catch it. `at_level`: how it claims at another isolation level than its own,
    READ COMMITTED, as there the invariant that must catch it is another (repeatable-read, serializable).
    """

    name: str
    systems: Mapping[str, type[Queue]]
    story: str
    about: tuple[str, ...] = CLAIMING
    caught_by: Mapping[str, str] = field(default_factory=dict)
    at_level: Mapping[str, str] = field(default_factory=dict)

    @property
    def right(self) -> bool:
        """Whether no job is ever handed to two workers, lost, refused or handed out beyond the limit."""
        return "claim-race" not in self.caught_by

    @property
    def n_plus_one(self) -> bool:
        """Whether a claim costs a statement for each job."""
        return "claim-batch" in self.caught_by


N_PLUS_ONE: Final = {"claim-batch": "statement-budget"}
_TABLE: Final = (
    Strategy(
        "select-then-update",
        {"sqlite": sqlite.SelectThenUpdate, "postgres": postgres.SelectThenUpdate},
        "Generation 1: reads ready jobs, then updates each by its id alone, so two workers take the same job.",
        caught_by={"claim-race": "no-double-claim", "programs": "no-double-claim", **N_PLUS_ONE},
    ),
    Strategy(
        "deferred-batch",
        {"sqlite": sqlite.DeferredBatch},
        "Generation 2: one UPDATE in a plain BEGIN; no job twice, but a storm of “database is locked” errors.",
        caught_by={"claim-race": "lock-errors"},
    ),
    Strategy(
        "immediate-batch",
        {"sqlite": sqlite.ImmediateBatch},
        "Generation 3: the same in BEGIN IMMEDIATE, which takes the write lock before it reads, with a patient retry.",
        about=RECOVERING,
    ),
    Strategy(
        "compare-and-set",
        {"sqlite": sqlite.CompareAndSet},
        "Generation 4: one guarded UPDATE for each job by its id; right without a transaction, but N+1.",
        caught_by=N_PLUS_ONE,
    ),
    Strategy(
        "update-returning",
        {"sqlite": sqlite.UpdateReturning},
        "One UPDATE … RETURNING that chooses and takes the jobs under SQLite's single write lock.",
    ),
    Strategy(
        "single-worker",
        {"sqlite": sqlite.SingleWorker},
        "One process only, and a guard that refuses the second by name instead of a line in the manual.",
        about=(*CLAIMING, "worker-guard"),
    ),
    Strategy(
        "scalar-subquery",
        {"postgres": postgres.ScalarSubquery},
        "One UPDATE whose guard stands only in an unlocked sub-select: who waited for a row is given it all the same.",
        caught_by={"claim-race": "no-double-claim"},
        at_level={"repeatable-read": "lock-errors", "serializable": "lock-errors"},
    ),
    Strategy(
        "for-update",
        {"postgres": postgres.ForUpdate},
        "SELECT … FOR UPDATE, then one UPDATE: right, each worker waiting for the one before.",
        at_level={"repeatable-read": "lock-errors", "serializable": "lock-errors"},
    ),
    Strategy(
        "skip-locked",
        {"postgres": postgres.SkipLocked},
        "SELECT … FOR UPDATE SKIP LOCKED, then one UPDATE: right, and nobody waits.",
        at_level={"serializable": "lock-errors"},
    ),
    Strategy(
        "skip-locked-cte",
        {"postgres": postgres.SkipLockedCte},
        "The same in one statement and one round trip.",
        about=RECOVERING,
        at_level={"serializable": "lock-errors"},
    ),
    Strategy(
        "in-subquery-limit",
        {"postgres": postgres.InSubqueryLimit},
        "SKIP LOCKED inside IN (… LIMIT n), which the planner may run once for each row: a claim exceeds its limit.",
        caught_by={"claim-race": "batch-limit"},
    ),
    Strategy(
        "direct",
        {"sqlite": ways.SqliteDirect, "postgres": ways.PostgresDirect},
        "A write for every change of progress: 44 for one job, and as many waits for a connection.",
        about=("progress-updates", "pool-pressure"),
        caught_by={"progress-updates": "write-budget", "pool-pressure": "pool-exhausted"},
    ),
    Strategy(
        "batched",
        {"sqlite": ways.SqliteBatched, "postgres": ways.PostgresBatched},
        "Progress waits for the flush interval or for 10 changes, and is written for all jobs with one statement.",
        about=("progress-updates", "pool-pressure"),
    ),
    Strategy(
        "debounced",
        {"sqlite": ways.SqliteDebounced, "postgres": ways.PostgresDebounced},
        "Progress is written once it has been quiet for a while, and at the latest after the flush interval.",
        about=("progress-updates", "pool-pressure"),
    ),
    Strategy(
        "redis",
        {"sqlite": ways.SqliteRedis, "postgres": ways.PostgresRedis},
        "Progress goes to Redis at once, where the screen reads it, and to the database every flush interval.",
        about=("progress-updates",),
    ),
    Strategy(
        "delete-many",
        {"sqlite": sqlite.ImmediateBatch, "postgres": postgres.SkipLockedCte},
        "Any number of ids in one parameter of one DELETE, which looks again at what is running.",
        about=DELETING,
    ),
    Strategy(
        "delete-chunked",
        {"sqlite": ways.SqliteDeleteChunked, "postgres": ways.PostgresDeleteChunked},
        "IN (…) lists of at most 1,000 ids, fewer where the engine takes fewer variables, all in one transaction.",
        about=("bulk-delete",),
    ),
    Strategy(
        "submit-run",
        {"sqlite": sqlite.ImmediateBatch, "postgres": postgres.SkipLockedCte},
        "A run and all its jobs in one transaction and a constant number of statements.",
        about=("atomic-submit",),
    ),
    Strategy(
        "enqueue-once",
        {"sqlite": enqueueing.SqliteEnqueueOnce, "postgres": enqueueing.PostgresEnqueueOnce},
        "Of the jobs with one key there is one, by a unique index, so that what was not answered may be enqueued again.",
        about=("enqueue-race",),
    ),
)
STRATEGIES: Final[Mapping[str, Strategy]] = {strategy.name: strategy for strategy in _TABLE}


def system(name: str, database: str) -> type[Queue]:
    """The class behind a strategy on a database (sqlite, postgres).

    Raises LookupError, naming what there is, for an unknown strategy or one that the database does not have.
    """
    if name not in STRATEGIES:
        raise LookupError(f"There is no strategy named {name!r}. Known: {', '.join(STRATEGIES)}.")
    systems = STRATEGIES[name].systems
    if database not in systems:
        raise LookupError(f"{name} does not exist on {database!r}, only on {', '.join(systems)}.")
    return systems[database]
