"""Bundles as a run leaves them, made of plain dictionaries; a test changes what it is about."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BATCHES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
Json = dict[str, Any]


def operation(number: int, process: str, kind: str, invoked: float, completed: float | None, **more: Any) -> Json:
    """One operation as a bundle keeps it."""
    base: Json = {
        "operation": number,
        "process": process,
        "kind": kind,
        "phase": "main",
        "outcome": "ok",
        "requested": None,
    }
    return {**base, "invoked_ms": invoked, "completed_ms": completed, "jobs": [], "tokens": [], "error": None, **more}


def judged(invariant: str, state: str = "holds", count: int = 0, severity: str = "violation", reason: str = "") -> Json:
    """What one invariant said."""
    return {"invariant": invariant, "state": state, "severity": severity, "count": count, "reason": reason}


def result(system: str, database: str = "sqlite", scenario: str = "claim-race", **more: Any) -> Json:
    """A passing race of the system, with the given keys replaced."""
    workers = [
        {"process": f"w{i}", "pid": 100 + i, "claims": 25, "jobs": 230 + 7 * i, "empty": 3, "errors": 0}
        for i in range(8)
    ]
    base: Json = {
        "scenario": scenario,
        "system": system,
        "database": database,
        "mode": "race",
        "verdict": "pass",
        "reasons": [],
        "findings": [],
        "coverage": {
            "workers": 8,
            "jobs": 2000,
            "claims": 214,
            "overlapping_claims": 641,
            "operations": 2019,
            "opens": 0,
            "control": "caught",
        },
        "measurements": {
            "claims_per_second": {"value": 1890.4, "unit": "claims/s"},
            "jobs_per_second": {"value": 18904.0, "unit": "jobs/s"},
            "statements_per_claim": {"value": 4.0, "unit": "statements"},
            "transactions_per_claim": {"value": 1.0, "unit": "transactions"},
            "round_trips_per_claim": {"value": 4.0 if database == "postgres" else None, "unit": "round trips"},
            "lock_errors": {"value": 0, "unit": "errors"},
            "claim_ms_p50": {"value": 0.41, "unit": "ms"},
            "claim_ms_p99": {"value": 12.3, "unit": "ms"},
            "slowest_claim_ms": {"value": 212.0, "unit": "ms"},
        },
        "role": "subject",
        "expected": None,
        "story": "",
        "right": True,
        "judgements": [
            judged("no-double-claim"),
            judged("no-lost-job"),
            judged("no-phantom-claim"),
            judged("batch-limit"),
            judged("no-false-empty"),
            judged("claim-order"),
            judged("terminal-once"),
            judged("attempts-counted"),
            judged("fenced-completion"),
            judged("no-swallowed-error"),
            judged("lock-errors"),
            judged("every-worker-served", severity="warning"),
            judged("witness-agrees"),
        ],
        "evidence": [
            {"name": "every worker took part", "present": True, "reason": "8 of 8 workers claimed", "remedy": ""},
            {"name": "claims overlapped", "present": True, "reason": "641 claims of different workers", "remedy": ""},
        ],
        "operations": [],
        "processes": workers,
        "series": {},
        "durability": {"journal_mode": "wal", "synchronous": "FULL"} if database == "sqlite" else {"fsync": "on"},
        "doubts": [],
        "commands": {
            "again": f"contend run {scenario} --system {system} --database {database} --seed 7",
            "check": "contend check runs/20261122-194900",
        },
    }
    return {**base, **more}


def broken(base: Json, invariant: str, count: int, evidence: list[Json], operations: list[Json], **more: Any) -> Json:
    """The same result with one invariant broken."""
    judgements = [j for j in base["judgements"] if j["invariant"] != invariant]
    return {
        **base,
        "verdict": "fail",
        "reasons": [f"{invariant}: {count} found"],
        "judgements": [judged(invariant, "broken", count), *judgements],
        "findings": [
            *base["findings"],
            {"invariant": invariant, "count": count, "evidence": evidence, "replay": base["commands"]["again"]},
        ],
        "operations": [*base["operations"], *operations],
        **more,
    }


def double_claim(system: str, database: str, **more: Any) -> Json:
    """A control that handed job 7 to two workers, caught by it."""
    operations = [
        operation(
            12, "w0", "claim", 10.1, 11.4, requested=10, jobs=[7, 8, 9, 10, 11, 12, 13, 14, 15, 16], tokens=[1] * 10
        ),
        operation(
            19, "w3", "claim", 10.6, 12.6, requested=10, jobs=[7, 8, 9, 10, 11, 12, 13, 14, 15, 16], tokens=[2] * 10
        ),
        operation(31, "w1", "claim", 14.0, 15.1, requested=10, jobs=[21, 22, 23], tokens=[1] * 3),
        operation(33, "w2", "claim", 15.4, 16.1, requested=10, jobs=[22, 23], tokens=[1] * 2),
    ]
    evidence: list[Json] = [
        {
            "job": 7,
            "holder": "w0",
            "taker": "w3",
            "apart_ns": 1_200_000,
            "finished_before": False,
            "operations": [12, 19],
        },
        {
            "job": 8,
            "holder": "w0",
            "taker": "w3",
            "apart_ns": 1_200_000,
            "finished_before": False,
            "operations": [12, 19],
        },
        {
            "job": 22,
            "holder": "w1",
            "taker": "w2",
            "apart_ns": 1_000_000,
            "finished_before": True,
            "operations": [31, 33],
        },
    ]
    shown = {"role": "control", "expected": "no-double-claim", "right": False, **more}
    return broken(result(system, database), "no-double-claim", 1203, evidence, operations, **shown)


READ, WRITE = "SELECT id FROM jobs WHERE status = ? LIMIT ?", "UPDATE jobs SET status = ? WHERE id = ?"


def ended(worker: int, shape: str, error: str | None = None, connection: int = 1, **more: Any) -> Json:
    """A statement that ended in a step."""
    return {"worker": worker, "connection": connection, "kind": "write", "shape": shape, "error": error, **more}


def step(worker: int, what: str, *ran: Json, **more: Any) -> Json:
    """One step of a schedule."""
    return {"worker": worker, "what": what, "blocked_by": [], "forced": False, "ran": list(ran), **more}


def exploration(**more: Any) -> Json:
    """What an exploration of all schedules came to."""
    one, other, nothing = (["claim", "ok", jobs, None, ""] for jobs in ([4, 3], [2, 5], []))
    return {
        "schedules": 10,
        "exhausted": True,
        "redundant": 1,
        "stands_for": 20,
        "preemptions_below": None,
        "longest": 6,
        "random": [],
        "diverged": [],
        "divergences": 0,
        "outcomes": [
            {"answers": [[one], [one]], "schedules": 7},
            {"answers": [[other], [one]], "schedules": 2},
            {"answers": [[nothing], [one]], "schedules": 1},
        ],
        "seconds": 0.063,
        "shown_seconds": 0.357,
        **more,
    }


def explored(system: str, database: str = "sqlite", **more: Any) -> Json:
    """An exploration that held: all 10 schedules of two workers."""
    covered = {"workers": 2, "claims": 20, "operations": 131, "schedules": 10, "exhausted": True, "saved": 10}
    found = {
        "mode": "explore",
        "coverage": {**covered, "control": "caught"},
        "series": {"exploration": [exploration()]},
    }
    return {**result(system, database), **found, **more}


def explored_double_claim(system: str, database: str = "sqlite", schedule: Json | None = None, **more: Any) -> Json:
    """An exploration that found job 3 handed to w1 and then, in step 5, to w0; `schedule` replaces keys of the one that shows it."""
    answer = ["claim", "ok", [4, 3], None, ""]
    shown = {
        "invariant": "no-double-claim",
        "schedule": 2,
        "schedules": 9,
        "times": 10,
        "same": 10,
        "diverged": [],
        "choices": [0, 1, 1, 0, 1],
        "said": ["claim", "claim", WRITE, WRITE, "complete"],
        "workers": ["w0", "w1"],
        "steps": [
            step(0, "claim", ended(0, READ)),
            step(1, "claim", ended(1, READ)),
            step(0, WRITE, blocked_by=["w1"]),
            step(1, WRITE, ended(1, WRITE), ended(0, WRITE)),
            step(0, "COMMIT", ended(0, "COMMIT")),
            step(1, "complete", ended(1, "DELETE FROM jobs", "SQLITE_BUSY", 2), forced=True),
        ],
        "answers": [
            [answer],
            [answer, ["complete", "fail", [], None, "database is locked"]],
            [],
            [["claim", "ok", [2, 5], None, ""], ["complete", "ok", [], None, ""]],
        ],
        "afterwards": ["w0", "quiet"],
        **(schedule or {}),
    }
    operations = [
        operation(66, "w0", "claim", 4.8, 7.2, requested=2, jobs=[4, 3]),
        operation(67, "w1", "claim", 5.1, 6.3, requested=2, jobs=[4, 3]),
    ]
    facts = {"job": 3, "holder": "w1", "taker": "w0", "apart_ns": 914_535, "finished_before": False}
    evidence = [{**facts, "operations": [66, 67]}, {**facts, "job": 4, "operations": [66, 67]}]
    found = broken(explored(system, database), "no-double-claim", 15, evidence, operations)
    found["findings"][0]["replay"] = "contend replay runs/20261122-194900/results/01-x --finding 1"
    found["series"] = {**found["series"], "schedules": [shown]}
    return {**found, **more}


def batches(
    system: str,
    database: str,
    per_job: float,
    base: float,
    *,
    scenario: str = "claim-batch",
    sizes: Sequence[int] = BATCHES,
    acquired: bool = False,
    baseline: str = "reference:select-then-update",
    timed: bool = False,
    **more: Any,
) -> Json:
    """A result whose rounds (claims, deletes, submits) take `base + per_job * size` statements, and as many acquisitions."""
    statements = {b: base + per_job * b for b in sizes}
    times = [
        {
            "latency_ms": latency,
            "batch": b,
            "baseline": baseline,
            "baseline_ms": [(1 + b) * (0.09 + latency) * s for s in (0.9, 1.0, 1.04, 1.2, 0.97)],
            "system_ms": [(0.35 + 0.004 * b + latency) * s for s in (0.92, 1.0, 1.1, 1.3, 0.99)],
            "ratio": {"median": m, "low": m * 0.92, "high": m * 1.1, "pairs": 5},
        }
        for latency in ((0, 1, 5, 20) if database == "postgres" else (0,))
        for b in sizes
        if latency * b < 5000
        for m in ((1 + b) * (0.09 + latency) / (0.35 + 0.004 * b + latency),)
    ]
    series = {
        "counts": [
            {
                "batch": b,
                "statements": n,
                "transactions": 1.0,
                "round_trips": n if database == "postgres" else None,
                "acquisitions": n if acquired else 0,
            }
            for b, n in statements.items()
        ],
        "times": times if timed else [],
        "left_out": [{"latency_ms": 20.0, "batch": 1000, "reason": "one N+1 claim would take about 20.0 s"}]
        if timed and database == "postgres"
        else [],
    }
    measurements = {
        "statements_per_job": {"value": per_job, "unit": "statements/job"},
        "statements_per_claim_at_100": {"value": statements[100], "unit": "statements"},
        **(measured(reader_ms_p99=0.2, pool_peak=1.0) if acquired else {}),
    }
    judgements = [judged("statement-budget"), judged("witness-agrees")]
    base_result = result(
        system, database, scenario, series=series, measurements=measurements, judgements=judgements,
        coverage={"operations": 410, "control": "caught"}, processes=[],
    )  # fmt: skip
    return {**base_result, **more}


def n_plus_1(system: str, database: str, base: float = 1.0, **more: Any) -> Json:
    """A control whose round costs one statement for each job, caught by it."""
    operations = [
        operation(3, "w0", "round", 1.0, 9.0, requested=1, jobs=[1]),
        operation(9, "w0", "round", 20.0, 95.0, requested=1000, jobs=list(range(1000))),
    ]
    evidence: list[Json] = [{"operations": [3, 9], "statements_per_job": 1.0, "statements_per_claim": 1.0}]
    return broken(
        batches(system, database, 1.0, base, right=False, **more),
        "statement-budget", 1, evidence, operations, role="control", expected="statement-budget",
    )  # fmt: skip


SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)


def quantiles(least: float, worst: float) -> list[Json]:
    """Times in ms by share, from the least to the worst."""
    return [{"share": share, "ms": least + (worst - least) * share**4} for share in SHARES]


def measured(unit: str = "ms", **values: float) -> Json:
    """Measurements of one unit."""
    return {name: {"value": value, "unit": unit} for name, value in values.items()}


def progress(system: str, database: str, writes: float, behind: list[Json], **more: Any) -> Json:
    """A progress-updates result: six scans under the eyes of a screen."""
    base = result(
        system, database, "progress-updates",
        coverage={"operations": 1442, "workers": 3, "scans": 6, "reports": 215, "reads": 1206, "kills": 1, "control": "caught"},
        measurements={**measured("writes", writes_per_job=writes)},
        judgements=[judged("write-budget"), judged("progress-fresh"), judged("progress-final"), judged("reads-answered")],
        processes=[{"process": f"w{i}", "claims": 1, "jobs": 2, "empty": 0, "errors": 0} for i in range(3)],
        series={"counts": [], "staleness": behind}, context={"scenario": "progress-updates", "flush_interval_ns": 500_000_000},
    )  # fmt: skip
    at = {each["share"]: each["ms"] for each in behind}
    if at:
        base["measurements"] |= measured(staleness_ms_p99=at[0.99], staleness_ms_worst=at[1.0])
    return {**base, **more}


def pool(system: str, database: str, waiting: Sequence[int], longest: float, timeouts: int = 0, **more: Any) -> Json:
    """A pool-pressure result in which so many waited for a connection, one number for each 10 ms."""
    base = result(
        system, database, "pool-pressure",
        coverage={"operations": 478, "workers": 1, "scans": 10, "reports": 440, "acquisitions": 471, "control": "caught"},
        measurements={
            **measured("acquisitions", pool_acquisitions=442.0 if timeouts else 16.0),
            **measured(pool_wait_ms_p50=longest / 50, pool_wait_ms_p99=longest * 0.9, pool_wait_ms_max=longest),
            **measured("time-outs", pool_timeouts=timeouts), **measured("connections", pool_peak=2.0),
            **measured("writes", writes_per_job=40.8),
        },
        judgements=[judged("pool-exhausted"), judged("progress-final")], processes=[],
        series={
            "counts": [],
            "pool_waiting": [{"ms": 10.0 * i, "waiting": n, "in_use": min(n, 2)} for i, n in enumerate(waiting)],
        },
    )  # fmt: skip
    return {**base, **more}


def churn(system: str, database: str, slow: float, deletion: float, **more: Any) -> Json:
    """A cleanup-churn result whose slowest read took `slow` ms and the median deletion `deletion` ms."""
    base = result(
        system, database, "cleanup-churn",
        coverage={"operations": 1307, "workers": 5, "reads": 226, "deletions": 103, "submits": 294, "control": "caught"},
        measurements=measured(
            reader_ms_p50=0.3, reader_ms_p99=slow * 0.8, reader_ms_max=slow,
            deletion_ms_p50=deletion, deletion_ms_max=deletion * 9,
        ),
        judgements=[judged("delete-spares-running"), judged("delete-one-transaction"), judged("reads-answered")],
        series={"counts": [], "reader_latency": quantiles(0.15, slow)},
    )  # fmt: skip
    return {**base, **more}


def recovered(
    system: str = "reference:skip-locked-cte",
    database: str = "postgres",
    *,
    faults: Sequence[tuple[str, Sequence[str] | None, float, float | None]] = (
        ("pause-worker", ["w3"], 0.08, 1.21),
        ("freeze-server", None, 2.0, 2.5),
        ("kill-worker", ["w1"], 3.0, 3.02),
    ),
    **more: Any,
) -> Json:
    """A claim-recovery result: w3 is paused and w2 gets its two jobs, w1 is killed and only one of its two is had again."""
    holds = [
        ("w3", "1", 0.05, 1.41, "refused"), ("w3", "2", 0.05, 1.41, "refused"), ("w0", "3", 0.05, 0.4, "complete"),
        ("w2", "1", 1.2, 1.5, "complete"), ("w2", "2", 1.2, 1.5, "complete"), ("w1", "5", 2.8, 4.1, "lost"),
        ("w1", "6", 2.8, 5.0, "lost"), ("w0", "5", 4.1, 4.4, "complete"), ("quiet", "7", 4.9, 4.95, "complete"),
    ]  # fmt: skip
    taken = [
        ("w3", "1", "pause-worker", "w2", 0.08, 1.2, 1120.0), ("w3", "2", "pause-worker", "w2", 0.08, 1.2, 1120.0),
        ("w1", "5", "kill-worker", "w0", 3.0, 4.1, 1100.5), ("w1", "6", "kill-worker", None, 3.0, None, None),
    ]  # fmt: skip
    columns = {
        "faults": ("fault", "workers", "from_seconds", "until_seconds"),
        "holds": ("worker", "job", "from_seconds", "until_seconds", "how"),
        "recoveries": ("worker", "job", "fault", "next_worker", "struck_seconds", "handed_on_seconds", "ms"),
    }
    rows = {"faults": faults, "holds": holds, "recoveries": taken}
    series: Json = {name: [dict(zip(columns[name], row, strict=True)) for row in rows[name]] for name in columns}
    series["not_planned"] = [{"fault": "fill-disk", "reason": "it would take a file system of our own"}]
    base = result(
        system, database, "claim-recovery",
        coverage={"operations": 1430, "workers": 4, "claims": 70, "jobs": 182, "kills": 1, "faults": len(faults), "control": "caught"},
        measurements={
            **measured("jobs", recovered_jobs=3.0), **measured(recovery_ms_p50=1120.0, recovery_ms_max=1120.0),
        },
        judgements=[judged("single-owner"), judged("fenced-completion")], series={"counts": [], **series},
        semantics="exactly-once-claim",
    )  # fmt: skip
    return {**base, **more}


def loaded(
    system: str, database: str, *, failures: int = 0, seconds: int = 20, late: str | None = None, **more: Any
) -> Json:
    """A load run of ten users, as it leaves its figures."""
    shares = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 1.0)
    figures = {
        "operations": [
            {"name": name, "count": 40_000, "failures": failures, "p50_ms": scale, "p90_ms": 2 * scale, "p99_ms": 9 * scale,
             "p999_ms": 40 * scale, "max_ms": 211.5, "percentiles": [[share, scale + (211.5 - scale) * share**40] for share in shares]}
            for name, scale in (("claim", 1.2), ("complete", 0.7))
        ],
        "timeline": [
            {"second": n, "operations": 4000 + 37 * (n % 5), "errors": failures // seconds, "users": min(10, 2 * n)}
            for n in range(seconds)
        ],
        "locust": [{"name": "claim", "requests": 40_000, "failures": failures, "median_ms": 1.2, "rate": 2000.4}],
        "late": late,
    }  # fmt: skip
    base = result(system, database, mode="load", series={"counts": [], "load": figures}, processes=[])
    return {**base, **more}


def beyond_claiming(database: str) -> list[Json]:
    """Roughly what a default run leaves of progress, pools, deletion and submits on one database."""
    sizes = (1, 10, 100, 1_000, 10_000)
    loop: Json = {"role": "control", "expected": "delete-one-transaction", "right": False}
    deleting: Json = {"scenario": "bulk-delete", "acquired": True, "baseline": "defect:loop-delete"}
    looped = broken(
        batches("defect:loop-delete", database, 1.0, 0.0, sizes=sizes[:4], **deleting), "delete-one-transaction", 13,
        [{"operations": [7], "process": "w0", "kind": "delete_many", "requested": 1000, "deleted": 1000,
          "transactions": 1000, "acquisitions": 1000}],
        [operation(7, "w0", "delete_many", 3.0, 281.0, requested=1000, jobs=list(range(20)))], **loop,
    )  # fmt: skip
    looped["series"]["left_out"] = [{"latency_ms": 0, "batch": 10_000, "reason": "it would take about 3 s to count"}]
    waited = [
        operation(
            n, f"w0.{n}", "report_progress", 40.0 + n, 90.0 + n, outcome="fail", requested=1, jobs=[n],
            error={"class": "sqlalchemy.exc.TimeoutError", "code": None, "message": "QueuePool limit of size 2 reached"},
        )
        for n in range(1, 4)
    ]  # fmt: skip
    return [
        broken(
            progress("reference:direct", database, 44.0, quantiles(0, 0)), "write-budget", 3,
            [{"process": "w2", "jobs": 2, "writes": 88, "writes_per_job": 44.0, "operations": [12, 13]}],
            [operation(n, f"w2.{n - 12}", "scan", 1.0 + n, 900.0 + n, jobs=[n]) for n in (12, 13)],
            role="control", expected="write-budget", right=False,
        ),
        progress("reference:batched", database, 4.0, quantiles(0, 490)),
        progress("reference:debounced", database, 1.2, quantiles(0, 420)),
        progress("reference:redis", database, 1.2, quantiles(0, 0)),
        broken(
            pool("reference:direct", database, [1, 5, 8, 8, 3, 0] * 20, 52.5, 32), "pool-exhausted", 32,
            [{"process": "w0", "pool": 1, "size": 2, "waited_ns": 50_200_000, "operations": [1, 2, 3]}], waited,
            role="control", expected="pool-exhausted", right=False,
        ),
        pool("reference:batched", database, [0, 1, 0, 0], 0.8),
        pool("reference:debounced", database, [0, 0], 0.6),
        looped,
        batches("reference:delete-many", database, 0.0, 1.0, sizes=sizes, timed=True, **deleting),
        broken(
            churn("defect:loop-delete", database, 16.6, 5.7), "delete-one-transaction", 70,
            [{"operations": [49], "process": "cleaner", "kind": "wipe_all", "requested": None, "deleted": 3,
              "transactions": 21, "acquisitions": 0}],
            [operation(49, "cleaner", "wipe_all", 36.0, 58.0)], **loop,
        ),
        churn("reference:delete-many", database, 10.7, 0.6),
        n_plus_1("defect:partial-submit", database, scenario="atomic-submit", sizes=sizes[:4]),
        batches(
            "reference:submit-run", database, 0.0, 2.0, scenario="atomic-submit", sizes=sizes[:4], timed=True,
            baseline="defect:partial-submit",
        ),
    ]  # fmt: skip


def catalogue() -> list[Json]:
    """Roughly what a default run leaves."""
    locked = [
        operation(
            n, f"w{n % 4}", "claim", 3.0 + n, 3.2 + n, outcome="fail", requested=10,
            error={"class": "sqlite3.OperationalError", "code": "SQLITE_BUSY", "message": "database is locked"},
        )
        for n in range(1, 5)
    ]  # fmt: skip
    too_many = [operation(41, "w5", "claim", 4.0, 6.5, requested=5, jobs=list(range(1, 52)))]
    deferred = broken(
        result("reference:deferred-batch"), "lock-errors", 15357,
        [
            {"operations": [n], "kind": "claim", "process": f"w{n % 4}", "error_code": "SQLITE_BUSY",
             "errors": 15357, "claims_with_jobs": 200}
            for n in range(1, 5)
        ],

        locked, role="control", expected="lock-errors", right=False,
        story="BEGIN + SELECT + one UPDATE + COMMIT: no double claim, but a storm of “database is locked”.",
    )  # fmt: skip
    deferred["measurements"]["lock_errors"]["value"] = 15357
    cas = result("reference:compare-and-set", story="One guarded UPDATE for each task by its known id.")
    cas["measurements"]["statements_per_claim"]["value"] = 11.2
    batch_limit = broken(
        result("reference:in-subquery-limit", "postgres"), "batch-limit", 1,
        [{"operations": [41], "process": "w5", "requested": 5, "returned": 51}],

        too_many, role="control", expected="batch-limit", right=False,
    )  # fmt: skip
    untold = judged("claim-order", "not applicable", reason="The system does not declare `ordered = True`.")
    skip_locked = result("reference:skip-locked", "postgres")
    skip_locked["judgements"] = [untold if j["invariant"] == "claim-order" else j for j in skip_locked["judgements"]]
    return [
        double_claim(
            "reference:select-then-update", "sqlite",
            story="One SELECT and N UPDATEs, with no transaction around them: two workers claim the same task.",
        ),
        deferred,
        result("reference:immediate-batch", story="BEGIN IMMEDIATE and a retry: clean, if unfair."),
        cas,
        result("reference:update-returning"),
        double_claim("reference:select-then-update", "postgres"),
        double_claim("reference:scalar-subquery", "postgres"),
        result("reference:for-update", "postgres"),
        skip_locked,
        result("reference:skip-locked-cte", "postgres", doubts=["Other processes used 41 % of the machine meanwhile."]),
        batch_limit,
        n_plus_1("reference:select-then-update", "sqlite"),
        batches("reference:immediate-batch", "sqlite", 0.0, 4.0, timed=True),
        n_plus_1("reference:compare-and-set", "sqlite"),
        n_plus_1("reference:select-then-update", "postgres"),
        batches("reference:skip-locked", "postgres", 0.0, 4.0),
        batches("reference:skip-locked-cte", "postgres", 0.0, 1.0, timed=True),
        result(
            "reference:single-worker", scenario="worker-guard", measurements={}, processes=[],
            coverage={"operations": 44},
            judgements=[judged("worker-guard")],
        ),
        *beyond_claiming("sqlite"),
        *beyond_claiming("postgres"),
    ]  # fmt: skip


def write(folder: Path, results: list[Json] | None = None, verdict: str = "pass", **head: Any) -> Path:
    """Write a bundle and give its folder; `head` replaces keys of bundle.json, a result's `context` is its context.json."""
    kept = catalogue() if results is None else results
    start: Json = {
        "schema": 1,
        "stage": "judged",
        "contend": "0.1.0",
        "created": "2026-11-22T19:49:00Z",
        "argv": ["run"],
        "seed": 7,
        "profile": "quick",
        "machine": {
            "cpu": "Some CPU @ 2.40GHz",
            "cores": 2,
            "memory_gib": 24.0,
            "python": "3.11.7",
            "system": "Linux 6.1",
        },
        "conditions": {
            "sqlite": {"version": "3.40.1", "journal_mode": "wal", "synchronous": "FULL"},
            "postgres": {"version": "18.6", "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"},
        },
        "doubts": ["Only 2 cores for 8 workers: rates say more about the machine than about the claim."],
        "finished": True,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bundle.json").write_text(json.dumps({**start, **head}))
    for i, each in enumerate(kept):
        scenario, database = (re.sub(r"[^a-z-]", "", each[key])[:20] for key in ("scenario", "database"))
        name = f"{i:02d}-{scenario}-{i}-{database}"
        (folder / "results" / name).mkdir(parents=True)
        kept_as = {key: value for key, value in each.items() if key != "context"}
        (folder / "results" / name / "result.json").write_text(json.dumps({**kept_as, "folder": name}))
        if "context" in each:
            (folder / "results" / name / "context.json").write_text(json.dumps(each["context"]))
    listed = {
        "results": [r for r in kept if r["role"] == "subject"],
        "controls": [r for r in kept if r["role"] != "subject"],
    }
    summary: Json = {"schema": 1, "verdict": verdict, "bundle": "runs/20261122-194900", **listed}
    (folder / "results.json").write_text(json.dumps(summary))
    return folder
