"""The zoo: named broken variants of the queue, each of which must stay caught. None is ever removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reference_impl import ways
from reference_impl.defects.batch_deadlock import PostgresBatchDeadlock
from reference_impl.defects.delete_unguarded import PostgresDeleteUnguarded, SqliteDeleteUnguarded
from reference_impl.defects.loop_delete import PostgresLoopDelete, SqliteLoopDelete
from reference_impl.defects.partial_submit import PostgresPartialSubmit, SqlitePartialSubmit
from reference_impl.defects.pool_hog import PostgresPoolHog, SqlitePoolHog
from reference_impl.defects.progress_lost_final import PostgresLostFinal, SqliteLostFinal
from reference_impl.defects.progress_lost_update import PostgresLostUpdate, SqliteLostUpdate
from reference_impl.defects.progress_stale_overwrite import PostgresStaleOverwrite, SqliteStaleOverwrite
from reference_impl.defects.progress_throttled_too_long import PostgresThrottledTooLong, SqliteThrottledTooLong
from reference_impl.defects.silent_single_worker import SilentSingleWorker
from reference_impl.defects.state_only_fence import PostgresStateOnlyFence, SqliteStateOnlyFence
from reference_impl.defects.too_many_variables import PostgresTooManyVariables, SqliteTooManyVariables
from reference_impl.defects.torn_status import PostgresTornStatus, SqliteTornStatus
from reference_impl.defects.unfenced_completion import PostgresUnfencedCompletion, SqliteUnfencedCompletion
from reference_impl.queue import Queue


@dataclass(frozen=True, slots=True)
class Defect:
    """A broken variant: its class for each database it exists on, the bug, where it was seen, and what must catch it.

    `caught_by` has the name of the invariant that must catch it for each scenario that provokes it, the main one first. `by_luck`: a race
    catches it now and then only, an exploration always.
    """

    name: str
    systems: Mapping[str, type[Queue]]
    bug: str
    seen_in: str
    caught_by: Mapping[str, str]
    by_luck: bool = False


def _both(sqlite: type[Queue], postgres: type[Queue]) -> dict[str, type[Queue]]:
    return {"sqlite": sqlite, "postgres": postgres}


_TABLE: Final = (
    Defect(
        "silent-single-worker",
        {"sqlite": SilentSingleWorker},
        bug="A second process on a single-worker file goes ahead.",
        seen_in="Cloacina T-0049",
        caught_by={"worker-guard": "worker-guard"},
    ),
    Defect(
        "batch-deadlock",
        {"postgres": PostgresBatchDeadlock},
        bug="Two batches lock the same jobs in different order.",
        seen_in="hatchet#2201, airflow#27473",
        caught_by={"claim-race": "lock-errors"},
    ),
    Defect(
        "progress-per-step",
        _both(ways.SqliteDirect, ways.PostgresDirect),
        bug="A write for every step of a job.",
        seen_in="issue 061",
        caught_by={"progress-updates": "write-budget"},
    ),
    Defect(
        "progress-stale-overwrite",
        _both(SqliteStaleOverwrite, PostgresStaleOverwrite),
        bug="A late flush lowers progress or revives a finished job.",
        seen_in="antenna#1338, bull#850",
        caught_by={"progress-updates": "progress-monotonic"},
    ),
    Defect(
        "progress-lost-final",
        _both(SqliteLostFinal, PostgresLostFinal),
        bug="No flush when the job fails.",
        seen_in="issue 061",
        caught_by={"progress-updates": "progress-final"},
    ),
    Defect(
        "progress-lost-update",
        _both(SqliteLostUpdate, PostgresLostUpdate),
        bug="All progress is in one document that is read, changed and written back.",
        seen_in="antenna#1337",
        caught_by={"progress-updates": "progress-monotonic"},
        by_luck=True,
    ),
    Defect(
        "progress-throttled-too-long",
        _both(SqliteThrottledTooLong, PostgresThrottledTooLong),
        bug="A throttle swallows the last change.",
        seen_in="open-mercato#4537",
        caught_by={"progress-updates": "progress-fresh"},
    ),
    Defect(
        "pool-hog",
        _both(SqlitePoolHog, PostgresPoolHog),
        bug="A connection is held across the work.",
        seen_in="issue 062, hatchet#4364",
        caught_by={"pool-pressure": "pool-exhausted"},
    ),
    Defect(
        "loop-delete",
        _both(SqliteLoopDelete, PostgresLoopDelete),
        bug="N acquisitions and N transactions to delete N.",
        seen_in="hero_proc#129",
        caught_by={"bulk-delete": "delete-one-transaction", "cleanup-churn": "delete-one-transaction"},
    ),
    Defect(
        "delete-unguarded",
        _both(SqliteDeleteUnguarded, PostgresDeleteUnguarded),
        bug="Chooses what may be deleted, then deletes it by id without looking again.",
        seen_in="Oban Lite, armada#3608",
        caught_by={"cleanup-churn": "delete-spares-running"},
    ),
    Defect(
        "too-many-variables",
        _both(SqliteTooManyVariables, PostgresTooManyVariables),
        bug="A variable for each id, beyond what the engine takes.",
        seen_in="hermes-agent#102679, sourcegraph#31110",
        caught_by={"bulk-delete": "delete-exact"},
    ),
    Defect(
        "partial-submit",
        _both(SqlitePartialSubmit, PostgresPartialSubmit),
        bug="A run is committed before its jobs.",
        seen_in="hero_proc#128, radis#276",
        caught_by={"atomic-submit": "submit-atomic"},
    ),
    Defect(
        "unfenced-completion",
        _both(SqliteUnfencedCompletion, PostgresUnfencedCompletion),
        bug="Completes by id only, whosever the job is now.",
        seen_in="Cloacina T-0481, dbos#773",
        caught_by={"claim-recovery": "fenced-completion"},
    ),
    Defect(
        "state-only-fence",
        _both(SqliteStateOnlyFence, PostgresStateOnlyFence),
        bug="Completes what is running, though it is the successor's attempt.",
        seen_in="River, pg-boss (by reading)",
        caught_by={"claim-recovery": "fenced-completion"},
    ),
    Defect(
        "torn-status",
        _both(SqliteTornStatus, PostgresTornStatus),
        bug="Runs and jobs are read at two moments, so that a job stands there without its run.",
        seen_in="the shape of hero_proc#129's status handler",
        caught_by={"cleanup-churn": "submit-atomic"},
    ),
)
DEFECTS: Final[Mapping[str, Defect]] = {defect.name: defect for defect in _TABLE}
