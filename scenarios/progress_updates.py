"""progress-updates: what a job tells of its progress reaches the screen in time, never goes back, is never lost, and costs few writes."""

from __future__ import annotations

import random
from typing import Final

from harness.scenario import Load, Part, Scenario, Stage
from scenarios import scanning
from scenarios.claiming import SETUP_SECONDS, install

SECONDS: Final = 60.0
VICTIM: Final = "w0"
EARLIEST_SECONDS: Final = 0.1  # of its scan, at which the victim is killed
LATEST_SECONDS: Final = 0.4


def drive(stage: Stage) -> None:
    """Let workers scan under the eyes of a screen, and kill one of them in its work; then read what is left."""
    load = stage.load
    workers = [f"w{number}" for number in range(load.workers)]
    stage.start({"setup": "setup", **dict.fromkeys(workers, "worker"), "screen": "screen", "quiet": "quiet"})
    stage.insist("setup", install, within=SETUP_SECONDS, phase="setup")
    jobs = stage.insist(
        "setup", scanning.enqueue_scans, within=SETUP_SECONDS, phase="setup", jobs=load.workers * load.batch
    )
    stage.ready([*workers, "screen", "quiet"])
    shape = {name: load.options[name] for name in ("experts", "changes", "pause_seconds", "think_seconds")}
    places = range(load.workers * load.batch)
    ends = [scanning.ENDS[place % len(scanning.ENDS)] for place in places]
    parts = [
        Part(name, scanning.scan_jobs, {"batch": load.batch, "ends": ends[at : at + load.batch], **shape})
        for name, at in zip(workers, places[:: load.batch], strict=True)
    ]
    survivors = len(jobs) - load.batch if load.workers > 1 else len(jobs)
    stage.begin([*parts, Part("screen", scanning.watch_screen, {"jobs": jobs, "until": survivors, "seconds": SECONDS})])
    if load.workers > 1:
        after = random.Random(load.seed).uniform(EARLIEST_SECONDS, LATEST_SECONDS)  # noqa: S311  # repeatable, not secret
        stage.kill(VICTIM, inside="scan", after_seconds=after)
    stage.gather([*workers, "screen"], within=2 * SECONDS)
    stage.end(workers)
    stage.insist("quiet", scanning.read_all, within=SETUP_SECONDS, phase="quiet", jobs=jobs)
    stage.end(["setup", "screen", "quiet"])


SHAPE: Final = {"experts": scanning.EXPERTS, "changes": scanning.CHANGES, "max_batch_size": 10}
PROGRESS_UPDATES = Scenario(
    name="progress-updates",
    claim="A job's progress is on the screen in time, never goes back, is never lost, and costs at most 10 writes.",
    drive=drive,
    invariants=(
        "write-budget",
        "progress-fresh",
        "progress-monotonic",
        "progress-final",
        "no-double-claim",
        "no-swallowed-error",
        "reads-answered",
        "witness-agrees",
    ),
    evidence=(
        "processes-ended",
        "operations-accounted",
        "jobs-at-once",
        "killed-inside",
        "change-stood",
        "control-caught",
    ),
    control={"sqlite": "reference:direct", "postgres": "reference:direct"},
    loads={
        "quick": Load(
            workers=3,
            jobs=6,
            batch=2,
            options={**SHAPE, "flush_interval": 0.4, "pause_seconds": 0.012, "think_seconds": 1.3},
        ),
        "full": Load(
            workers=4,
            jobs=12,
            batch=3,
            options={**SHAPE, "flush_interval": 5.0, "pause_seconds": 0.2, "think_seconds": 13.0},
        ),
    },
    needs=("claim", "complete", "report_progress", "read_progress"),
    faults=True,
    check=scanning.check,
)
