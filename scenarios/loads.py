"""What Locust's users do to a queue, judged like any other run: claiming, deep scans on a bounded pool, clean-up beside work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from harness.scenario import Load, Scenario, Stage
from scenarios import scanning
from scenarios.claim_race import CLAIM_RACE
from scenarios.claiming import SETUP_SECONDS, drain, install, prepare
from scenarios.cleanup_churn import CLEANUP_CHURN
from scenarios.pool_pressure import POOL_PRESSURE

SHARED: Final = "w0"  # the process whose users share one system, and its pool
DRAIN_SECONDS: Final = 60.0
MOST_SCANS: Final = 100  # for each user
MANY: Final = 1_000_000  # jobs that users may enqueue before a drain is called endless
USERS: Final[Mapping[str, Any]] = {
    "run_time": 20,  # seconds
    "spawn_rate": 100.0,  # users a second
    "processes": 0,  # 0: one on Postgres, one for each user on SQLite
    "rate": None,  # turns a second, all users together; null: each begins its next when the last is over
    "ramp": False,  # whether users come in steps over the whole time
}


def claim_under_load(stage: Stage) -> None:
    """Users claim, complete and enqueue as many again; then one process drains the queue."""
    stage.start({"setup": "setup", "quiet": "quiet"}, lent=("users",))
    prepare(stage, "setup")
    stage.populate("users", shared=False)
    stage.tell(["quiet"], drain, within=2 * DRAIN_SECONDS, phase="quiet", jobs=MANY, batch=stage.load.batch,
               seconds=DRAIN_SECONDS)  # fmt: skip  # one line would be too long, nine too many
    stage.end(["setup", "quiet"])


def scan_under_load(stage: Stage) -> None:
    """Users claim a deep scan and tell of its progress, all in one process on one bounded pool; then its last value is read."""
    options = stage.load.options
    shortest = 0.5 * options["experts"] * options["changes"] * options["pause_seconds"] + options["think_seconds"]
    each = min(MOST_SCANS, math.ceil(options["run_time"] / max(shortest, 0.1)) + 1)
    stage.start({"setup": "setup", "quiet": "quiet"}, lent=(SHARED,))
    stage.insist("setup", install, within=SETUP_SECONDS, phase="setup")
    jobs = stage.insist(
        "setup", scanning.enqueue_scans, within=SETUP_SECONDS, phase="setup", jobs=stage.load.workers * each
    )
    stage.populate(SHARED, shared=True)
    stage.insist("quiet", scanning.read_all, within=2 * DRAIN_SECONDS, phase="quiet", jobs=jobs)
    stage.end(["setup", "quiet"])


def churn_under_load(stage: Stage) -> None:
    """Users read the status, submit and work on runs, and clean up."""
    stage.start({"setup": "setup"}, lent=("users",))
    stage.insist("setup", install, within=SETUP_SECONDS, phase="setup")
    stage.populate("users", shared=False)
    stage.end(["setup"])


# Users come one by one, as a crowd of claims is no progress. A write takes its connection for one round trip. Ten users that write
# every change by themselves ask for three times what two connections give: one in five of their writes waits for more than 0.2 s.
# Batched, progress takes one connection for two thirds of the time, and claims take the other for a third.
SCANS: Final = {"spawn_rate": 4.0, "pause_seconds": 0.1, "pool_timeout": 0.2}
SCAN_LATENCY_MS: Final = 60.0
CLAIM_LOAD = Scenario(
    name=CLAIM_RACE.name,
    claim=CLAIM_RACE.claim,
    drive=claim_under_load,
    invariants=tuple(name for name in CLAIM_RACE.invariants if name not in ("witness-agrees", "every-worker-served")),
    evidence=CLAIM_RACE.evidence,
    control=CLAIM_RACE.control,
    loads=dict.fromkeys(("quick", "full"), Load(workers=10, jobs=100, batch=5, options=USERS)),
    needs=CLAIM_RACE.needs,
    mode="load",
    witnessed=False,
    applies=CLAIM_RACE.applies,
)
SCAN_LOAD = Scenario(
    name=POOL_PRESSURE.name,
    claim=POOL_PRESSURE.claim,
    drive=scan_under_load,
    invariants=POOL_PRESSURE.invariants,
    evidence=POOL_PRESSURE.evidence,
    control=POOL_PRESSURE.control,
    loads=dict.fromkeys(
        ("quick", "full"),
        Load(workers=10, jobs=1, batch=1, options={**POOL_PRESSURE.loads["quick"].options, **USERS, **SCANS}),
    ),
    needs=POOL_PRESSURE.needs,
    databases=("postgres",),
    mode="load",
    latency_ms={"postgres": SCAN_LATENCY_MS},
    check=scanning.check,
)
CHURN_LOAD = Scenario(
    name=CLEANUP_CHURN.name,
    claim=CLEANUP_CHURN.claim,
    drive=churn_under_load,
    invariants=tuple(
        name for name in CLEANUP_CHURN.invariants if name not in ("witness-agrees", "delete-one-transaction")
    ),
    evidence=CLEANUP_CHURN.evidence,
    control=CLEANUP_CHURN.control,
    loads=dict.fromkeys(("quick", "full"), Load(workers=10, jobs=20, batch=4, options=USERS)),
    needs=CLEANUP_CHURN.needs,
    mode="load",
    witnessed=False,
)
LOADS: Final[dict[str, Scenario]] = {each.name: each for each in (CLAIM_LOAD, SCAN_LOAD, CHURN_LOAD)}
USER_CLASSES: Final[Mapping[str, str]] = {
    "claim-race": "ClaimUser",
    "pool-pressure": "ScanUser",
    "cleanup-churn": "ChurnUser",
}
