"""pool-pressure: ten jobs at once on a pool of two connections; nobody may wait for a connection until the wait is given up."""

from __future__ import annotations

from typing import Final

from harness.scenario import Load, Scenario, Stage
from scenarios import scanning
from scenarios.claiming import SETUP_SECONDS, install

SECONDS: Final = 90.0
WORKER: Final = "w0"
# Another writer of the same SQLite file, as there is in a deployment: a write waits for it, and holds its connection meanwhile. On
# Postgres it is the network that makes a write hold its connection for long.
HOLD_SECONDS: Final = 0.2
PAUSE_SECONDS: Final = 0.05
LATENCY_MS: Final = 20.0


def drive(stage: Stage) -> None:
    """One worker scans all jobs at once, on a bounded pool, beside a neighbour that writes to the same file."""
    load = stage.load
    stage.start({"setup": "setup", WORKER: "worker", "quiet": "quiet"})
    stage.insist("setup", install, within=SETUP_SECONDS, phase="setup")
    jobs = stage.insist("setup", scanning.enqueue_scans, within=SETUP_SECONDS, phase="setup", jobs=load.jobs)
    stage.ready([WORKER, "quiet"])
    shape = {name: load.options[name] for name in ("experts", "changes", "pause_seconds", "think_seconds")}
    with stage.busy_writer(hold_seconds=HOLD_SECONDS, pause_seconds=PAUSE_SECONDS):
        stage.insist(
            WORKER,
            scanning.scan_jobs,
            within=SECONDS,
            batch=load.jobs,
            ends=["complete"] * load.jobs,
            together=True,
            **shape,
        )
    stage.end([WORKER])
    stage.insist("quiet", scanning.read_all, within=SETUP_SECONDS, phase="quiet", jobs=jobs)
    stage.end(["setup", "quiet"])


OPTIONS: Final = {
    "experts": scanning.EXPERTS,
    "changes": scanning.CHANGES,
    "pause_seconds": 0.003,
    "think_seconds": 0,
    "flush_interval": 0.5,
    "max_batch_size": 10,
    "pool_size": 2,
    "pool_timeout": 0.05,
}
POOL_PRESSURE = Scenario(
    name="pool-pressure",
    claim="Ten jobs at once on a pool of two connections: nobody waits for a connection until the pool gives up.",
    drive=drive,
    invariants=(
        "pool-exhausted",
        "progress-final",
        "no-double-claim",
        "no-swallowed-error",
        "reads-answered",
        "witness-agrees",
    ),
    evidence=("processes-ended", "operations-accounted", "more-jobs-than-connections", "control-caught"),
    control={"sqlite": "reference:direct", "postgres": "reference:direct"},
    loads={
        "quick": Load(workers=1, jobs=10, batch=10, options=OPTIONS),
        "full": Load(workers=1, jobs=10, batch=10, options={**OPTIONS, "pause_seconds": 0.05}),
    },
    needs=("claim", "complete", "report_progress", "read_progress"),
    latency_ms={"postgres": LATENCY_MS},
    check=scanning.check,
)
