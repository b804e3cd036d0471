"""The ways of claiming, in one table: which are right, which are wrong, and what must catch each wrong one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reference_impl import postgres, sqlite
from reference_impl.queue import Queue


@dataclass(frozen=True, slots=True)
class Strategy:
    """A way of claiming.

    `systems` holds its class for each database it exists on; `caught_by` the invariant that must catch it in a race,
    None where it is right; `n_plus_one` says that a claim costs a statement for each job, which `statement-budget`
    must catch in claim-batch.
    """

    name: str
    systems: Mapping[str, type[Queue]]
    story: str
    caught_by: str | None = None
    n_plus_one: bool = False

    @property
    def right(self) -> bool:
        """Whether no job is ever handed to two workers, lost, refused or handed out beyond the limit."""
        return self.caught_by is None


_TABLE: Final = (
    Strategy(
        "select-then-update",
        {"sqlite": sqlite.SelectThenUpdate, "postgres": postgres.SelectThenUpdate},
        "Generation 1: reads ready jobs, then updates each by its id alone, so two workers take the same job.",
        caught_by="no-double-claim",
        n_plus_one=True,
    ),
    Strategy(
        "deferred-batch",
        {"sqlite": sqlite.DeferredBatch},
        "Generation 2: one UPDATE in a plain BEGIN; no job twice, but a storm of “database is locked” errors.",
        caught_by="lock-errors",
    ),
    Strategy(
        "immediate-batch",
        {"sqlite": sqlite.ImmediateBatch},
        "Generation 3: the same in BEGIN IMMEDIATE, which takes the write lock before it reads, with a patient retry.",
    ),
    Strategy(
        "compare-and-set",
        {"sqlite": sqlite.CompareAndSet},
        "Generation 4: one guarded UPDATE for each job by its id; right without a transaction, but N+1.",
        n_plus_one=True,
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
    ),
    Strategy(
        "scalar-subquery",
        {"postgres": postgres.ScalarSubquery},
        "One UPDATE whose guard stands only in an unlocked sub-select: who waited for a row is given it all the same.",
        caught_by="no-double-claim",
    ),
    Strategy(
        "for-update",
        {"postgres": postgres.ForUpdate},
        "SELECT … FOR UPDATE, then one UPDATE: right, each worker waiting for the one before.",
    ),
    Strategy(
        "skip-locked",
        {"postgres": postgres.SkipLocked},
        "SELECT … FOR UPDATE SKIP LOCKED, then one UPDATE: right, and nobody waits.",
    ),
    Strategy(
        "skip-locked-cte",
        {"postgres": postgres.SkipLockedCte},
        "The same in one statement and one round trip.",
    ),
    Strategy(
        "in-subquery-limit",
        {"postgres": postgres.InSubqueryLimit},
        "SKIP LOCKED inside IN (… LIMIT n), which the planner may run once for each row: a claim exceeds its limit.",
        caught_by="batch-limit",
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
