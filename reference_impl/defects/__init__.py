"""The zoo: named broken variants of the queue, each of which must stay caught. None is ever removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from reference_impl import postgres, sqlite, ways
from reference_impl.defects.advisory_lock_leak import PostgresAdvisoryLockLeak
from reference_impl.defects.advisory_lock_stale import PostgresAdvisoryLockStale
from reference_impl.defects.attempt_miscount import PostgresAttemptMiscount, SqliteAttemptMiscount
from reference_impl.defects.batch_deadlock import PostgresBatchDeadlock
from reference_impl.defects.claimed_not_running import PostgresClaimedNotRunning, SqliteClaimedNotRunning
from reference_impl.defects.clock_skew import PostgresClockSkew, SqliteClockSkew
from reference_impl.defects.count_then_claim import PostgresCountThenClaim, SqliteCountThenClaim
from reference_impl.defects.delete_unguarded import PostgresDeleteUnguarded, SqliteDeleteUnguarded
from reference_impl.defects.fetchone_returning import SqliteFetchoneReturning
from reference_impl.defects.filter_after_limit import PostgresFilterAfterLimit, SqliteFilterAfterLimit
from reference_impl.defects.guarded_subquery import PostgresGuardedSubquery, SqliteGuardedSubquery
from reference_impl.defects.id_watermark_delete import PostgresIdWatermarkDelete
from reference_impl.defects.immediate_in_name import SqliteImmediateInName
from reference_impl.defects.loop_delete import PostgresLoopDelete, SqliteLoopDelete
from reference_impl.defects.no_recovery import PostgresNoRecovery, SqliteNoRecovery
from reference_impl.defects.one_bad_row import PostgresBadRow, PostgresOneBadRow, SqliteBadRow, SqliteOneBadRow
from reference_impl.defects.partial_submit import PostgresPartialSubmit, SqlitePartialSubmit
from reference_impl.defects.poison_uncapped import PostgresPoisonUncapped, SqlitePoisonUncapped
from reference_impl.defects.pool_hog import PostgresPoolHog, SqlitePoolHog
from reference_impl.defects.pop_and_delete import PostgresPopAndDelete, SqlitePopAndDelete
from reference_impl.defects.progress_lost_final import PostgresLostFinal, SqliteLostFinal
from reference_impl.defects.progress_lost_update import PostgresLostUpdate, SqliteLostUpdate
from reference_impl.defects.progress_stale_overwrite import PostgresStaleOverwrite, SqliteStaleOverwrite
from reference_impl.defects.progress_throttled_too_long import PostgresThrottledTooLong, SqliteThrottledTooLong
from reference_impl.defects.rescue_finished import PostgresRescueFinished, SqliteRescueFinished
from reference_impl.defects.retry_after_commit import PostgresRetryAfterCommit
from reference_impl.defects.reused_token import PostgresReusedToken, SqliteReusedToken
from reference_impl.defects.rowid_reuse import SqliteRowidReuse
from reference_impl.defects.silent_single_worker import SilentSingleWorker
from reference_impl.defects.skip_locked_serializable import PostgresSkipLockedSerializable
from reference_impl.defects.sqlite_text_time import SqliteTextTime
from reference_impl.defects.stale_candidate import PostgresStaleCandidate
from reference_impl.defects.startup_steals import PostgresStartupSteals, SqliteStartupSteals
from reference_impl.defects.starved_heartbeat import PostgresStarvedHeartbeat, SqliteStarvedHeartbeat
from reference_impl.defects.state_only_fence import PostgresStateOnlyFence, SqliteStateOnlyFence
from reference_impl.defects.swallowed_busy import SqliteSwallowedBusy
from reference_impl.defects.too_many_variables import PostgresTooManyVariables, SqliteTooManyVariables
from reference_impl.defects.torn_status import PostgresTornStatus, SqliteTornStatus
from reference_impl.defects.transient_as_failure import PostgresTransientAsFailure, SqliteTransientAsFailure
from reference_impl.defects.unfenced_completion import PostgresUnfencedCompletion, SqliteUnfencedCompletion
from reference_impl.defects.unique_check_then_insert import PostgresUniqueCheckThenInsert, SqliteUniqueCheckThenInsert
from reference_impl.defects.unordered_returning import PostgresUnorderedReturning, SqliteUnorderedReturning
from reference_impl.defects.wrong_clock import PostgresWrongClock, SqliteWrongClock
from reference_impl.enqueueing import PostgresEnqueueOnce
from reference_impl.limits import PostgresLimited, SqliteLimited
from reference_impl.queue import Queue

Certain = Literal["race", "explore", "zoo"]


@dataclass(frozen=True, slots=True)
class Defect:
    """A broken variant: its class for each database it exists on, the bug, where it was seen, and what must catch it.

    `caught_by` has the name of the invariant that must catch it for each scenario that provokes it, the main one first. `certain`: it is
    caught for certain in every race, in explorations only, or only by what provokes it in the zoo. `right` is the right way of doing the
    same where a defect needs circumstances of its own, which are part of its class.
    """

    name: str
    systems: Mapping[str, type[Queue]]
    bug: str
    seen_in: str
    caught_by: Mapping[str, str]
    certain: Certain = "race"
    right: Mapping[str, type[Queue]] = field(default_factory=dict)


def _both(sqlite: type[Queue], postgres: type[Queue]) -> dict[str, type[Queue]]:
    return {"sqlite": sqlite, "postgres": postgres}


_TABLE: Final = (
    Defect(
        "select-then-update",
        _both(sqlite.SelectThenUpdate, postgres.SelectThenUpdate),
        bug="Reads ids, later updates by id only.",
        seen_in="Cloacina, django-q#213, payload#13549",
        caught_by={"claim-race": "no-double-claim"},
        certain="zoo",
    ),
    Defect(
        "scalar-subquery",
        {"postgres": postgres.ScalarSubquery},
        bug="The guard stands only inside an unlocked sub-select.",
        seen_in="goqite, rtcstats#336",
        caught_by={"claim-race": "no-double-claim"},
        certain="zoo",
    ),
    Defect(
        "stale-candidate",
        {"postgres": PostgresStaleCandidate},
        bug="The outer UPDATE does not look again at a candidate chosen earlier.",
        seen_in="awa#134",
        caught_by={"claim-race": "no-double-claim"},
        certain="zoo",
    ),
    Defect(
        "immediate-in-name",
        {"sqlite": SqliteImmediateInName},
        bug='`isolation_level="IMMEDIATE"`, and the SELECT outside.',
        seen_in="huey#123, dbos#564",
        caught_by={"claim-race": "no-double-claim"},
        certain="zoo",
    ),
    Defect(
        "deferred-upgrade",
        {"sqlite": sqlite.DeferredBatch},
        bug="Reads, then writes, inside a plain BEGIN.",
        seen_in="Cloacina T-0622, jentic-one#529",
        caught_by={"claim-race": "lock-errors"},
        certain="zoo",
    ),
    Defect(
        "in-subquery-limit",
        {"postgres": postgres.InSubqueryLimit},
        bug="`IN (… LIMIT n FOR UPDATE SKIP LOCKED)` locks more than n.",
        seen_in="delayed_job_active_record#177, odd-jobs#115",
        caught_by={"claim-race": "batch-limit"},
        certain="zoo",
    ),
    Defect(
        "guarded-subquery",
        _both(SqliteGuardedSubquery, PostgresGuardedSubquery),
        bug="The loser returns nothing while work remains.",
        seen_in="huey#253, nanoclaw#3329",
        caught_by={"claim-race": "no-false-empty"},
        certain="zoo",
    ),
    Defect(
        "unordered-returning",
        _both(SqliteUnorderedReturning, PostgresUnorderedReturning),
        bug="RETURNING is taken for ORDER BY.",
        seen_in="pgmq, Oban (by reading)",
        caught_by={"claim-race": "claim-order"},
        certain="zoo",
    ),
    Defect(
        "filter-after-limit",
        _both(SqliteFilterAfterLimit, PostgresFilterAfterLimit),
        bug="What may be claimed is asked after LIMIT: head-of-line blocking.",
        seen_in="pg-boss#756, procrastinate#1599",
        caught_by={"claim-race": "no-false-empty"},
        certain="zoo",
    ),
    Defect(
        "fetchone-returning",
        {"sqlite": SqliteFetchoneReturning},
        bug="An unfinished RETURNING holds the write lock.",
        seen_in="a shape we reproduced",
        caught_by={"claim-race": "lock-errors"},
        certain="zoo",
    ),
    Defect(
        "advisory-lock-leak",
        {"postgres": PostgresAdvisoryLockLeak},
        bug="A try-lock in WHERE takes more locks than there are rows in the answer.",
        seen_in="GoodJob#1735, Que#298",
        caught_by={"claim-race": "no-false-empty"},
        certain="zoo",
    ),
    Defect(
        "advisory-lock-stale",
        {"postgres": PostgresAdvisoryLockStale},
        bug="The lock is taken on a job that is finished already.",
        seen_in="Que, GoodJob#1113",
        caught_by={"claim-recovery": "terminal-once"},
        certain="zoo",
    ),
    Defect(
        "loop-update",
        _both(sqlite.CompareAndSet, postgres.SelectThenUpdate),
        bug="1 + N statements a claim.",
        seen_in="Cloacina T-0055",
        caught_by={"claim-batch": "statement-budget"},
        certain="zoo",
    ),
    Defect(
        "skip-locked-serializable",
        {"postgres": PostgresSkipLockedSerializable},
        bug="40001 is taken for “no job”.",
        seen_in="Couchers#9439",
        caught_by={"claim-race": "no-false-empty"},
        certain="zoo",
    ),
    Defect(
        "reused-token",
        _both(SqliteReusedToken, PostgresReusedToken),
        bug="The fence is the worker's name.",
        seen_in="aegra#547, bull#308",
        caught_by={"claim-recovery": "fenced-completion"},
        certain="zoo",
    ),
    Defect(
        "rescue-finished",
        _both(SqliteRescueFinished, PostgresRescueFinished),
        bug="The sweep overwrites a finished job.",
        seen_in="River#1302, solid_queue#589, rq#2424",
        caught_by={"claim-recovery": "terminal-once"},
        certain="zoo",
    ),
    Defect(
        "claimed-not-running",
        _both(SqliteClaimedNotRunning, PostgresClaimedNotRunning),
        bug="A window that no sweep sees.",
        seen_in="Cloacina T-0914, aegra#547",
        caught_by={"claim-race": "no-lost-job"},
        certain="zoo",
    ),
    Defect(
        "no-recovery",
        _both(SqliteNoRecovery, PostgresNoRecovery),
        bug="A killed worker's job stays claimed for ever.",
        seen_in="django-tasks#46, kombu",
        caught_by={"claim-race": "no-lost-job", "claim-recovery": "no-lost-job"},
        certain="zoo",
    ),
    Defect(
        "startup-steals",
        _both(SqliteStartupSteals, PostgresStartupSteals),
        bug="Recovery at the start resets the jobs of live peers.",
        seen_in="persist-queue, GoodJob#90",
        caught_by={"late-start": "single-owner"},
        certain="explore",
    ),
    Defect(
        "wrong-clock",
        _both(SqliteWrongClock, PostgresWrongClock),
        bug="Stale by when it was claimed, not by its heartbeat.",
        seen_in="procrastinate#1300, celery#5935",
        caught_by={"claim-recovery": "single-owner"},
        certain="zoo",
    ),
    Defect(
        "starved-heartbeat",
        _both(SqliteStarvedHeartbeat, PostgresStarvedHeartbeat),
        bug="The heartbeat waits for the connection that is busy with the work.",
        seen_in="Prefect#21276, pgqueuer#430",
        caught_by={"claim-recovery": "single-owner"},
        certain="zoo",
    ),
    Defect(
        "poison-uncapped",
        _both(SqlitePoisonUncapped, PostgresPoisonUncapped),
        bug="Recovery without a cap.",
        seen_in="sidekiq#4633, Cloacina T-0926",
        caught_by={"claim-recovery": "attempts-counted"},
        certain="zoo",
    ),
    Defect(
        "one-bad-row",
        _both(SqliteOneBadRow, PostgresOneBadRow),
        bug="One row aborts the whole sweep.",
        seen_in="awa#388, River#1318",
        caught_by={"claim-race": "no-lost-job"},
        certain="zoo",
        right=_both(SqliteBadRow, PostgresBadRow),
    ),
    Defect(
        "pop-and-delete",
        _both(SqlitePopAndDelete, PostgresPopAndDelete),
        bug="Deleted on claim: lost when its worker dies.",
        seen_in="huey#253",
        caught_by={"claim-race": "no-lost-job"},
        certain="zoo",
    ),
    Defect(
        "attempt-miscount",
        _both(SqliteAttemptMiscount, PostgresAttemptMiscount),
        bug="Attempts are not the executions begun.",
        seen_in="pg-boss, Oban#652",
        caught_by={"claim-recovery": "attempts-counted"},
        certain="zoo",
    ),
    Defect(
        "transient-as-failure",
        _both(SqliteTransientAsFailure, PostgresTransientAsFailure),
        bug="A lock or serialization error met while claiming is recorded as a failure of the job.",
        seen_in="laravel#59199",
        caught_by={"claim-recovery": "attempts-counted"},
        certain="zoo",
    ),
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
        certain="zoo",
    ),
    Defect(
        "progress-lost-update",
        _both(SqliteLostUpdate, PostgresLostUpdate),
        bug="All progress is in one document that is read, changed and written back.",
        seen_in="antenna#1337",
        caught_by={"progress-updates": "progress-monotonic"},
        certain="explore",
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
        certain="zoo",
    ),
    Defect(
        "state-only-fence",
        _both(SqliteStateOnlyFence, PostgresStateOnlyFence),
        bug="Completes what is running, though it is the successor's attempt.",
        seen_in="River, pg-boss (by reading)",
        caught_by={"claim-recovery": "fenced-completion"},
        certain="zoo",
    ),
    Defect(
        "retry-after-commit",
        {"postgres": PostgresRetryAfterCommit},
        bug="What was committed before its answer was lost is done again.",
        seen_in="murmur#122",
        caught_by={"enqueue-race": "no-phantom-claim"},
        certain="zoo",
    ),
    Defect(
        "unique-check-then-insert",
        _both(SqliteUniqueCheckThenInsert, PostgresUniqueCheckThenInsert),
        bug="Looks whether a job is there before it adds it: two add it.",
        seen_in="django-q#231, River#619",
        caught_by={"enqueue-race": "no-phantom-claim"},
        certain="zoo",
    ),
    Defect(
        "id-watermark-delete",
        {"postgres": PostgresIdWatermarkDelete},
        bug="Deletes up to an id, and with the others what was committed late.",
        seen_in="brandur/sorg#159",
        caught_by={"bulk-delete": "delete-exact"},
        certain="zoo",
        right={"postgres": PostgresEnqueueOnce},
    ),
    Defect(
        "rowid-reuse",
        {"sqlite": SqliteRowidReuse},
        bug="An id is given again, and a late delete hits the new job.",
        seen_in="huey, deltachat-core#641",
        caught_by={"bulk-delete": "delete-exact"},
        certain="zoo",
    ),
    Defect(
        "count-then-claim",
        _both(SqliteCountThenClaim, PostgresCountThenClaim),
        bug="Counts what is running, then claims: more are running than may be.",
        seen_in="pgqueuer#761",
        caught_by={"claim-race": "batch-limit"},
        certain="zoo",
        right=_both(SqliteLimited, PostgresLimited),
    ),
    Defect(
        "sqlite-text-time",
        {"sqlite": SqliteTextTime},
        bug="Times of two formats are compared as text.",
        seen_in="Oban#1391",
        caught_by={"claim-race": "no-false-empty"},
        certain="zoo",
    ),
    Defect(
        "swallowed-busy",
        {"sqlite": SqliteSwallowedBusy},
        bug="“database is locked” is ignored where a job is completed.",
        seen_in="Cloacina I-0140, mydia#283",
        caught_by={"claim-recovery": "no-swallowed-error"},
        certain="zoo",
    ),
    Defect(
        "clock-skew",
        _both(SqliteClockSkew, PostgresClockSkew),
        bug="A lease is judged by each worker's own clock.",
        seen_in="django-q#236",
        caught_by={"claim-recovery": "single-owner"},
        certain="zoo",
    ),
    Defect(
        "torn-status",
        _both(SqliteTornStatus, PostgresTornStatus),
        bug="Runs and jobs are read at two moments, so that a job stands there without its run.",
        seen_in="the shape of hero_proc#129's status handler",
        caught_by={"cleanup-churn": "submit-atomic", "atomic-submit": "submit-atomic"},
        certain="explore",
    ),
)
DEFECTS: Final[Mapping[str, Defect]] = {defect.name: defect for defect in _TABLE}
