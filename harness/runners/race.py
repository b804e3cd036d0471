"""The race: real processes, let loose together on one database, as fast as they can."""

from __future__ import annotations

from collections.abc import Callable

from harness.errors import RunAbandoned
from harness.scenario import Program, Stage

SETUP = "setup"
QUIET = "quiet"
SETUP_SECONDS = 60.0
GRACE_SECONDS = 15.0  # what a worker may take beyond its own time limit before it is called hung


def race(
    stage: Stage, *, prepare: Callable[[Stage, str], None], worker: Program, quiet: Program, seconds: float
) -> None:
    """Prepare with one process, let all workers loose at one moment, then drain with one more.

    `worker` and `quiet` are programs taking `jobs` and `seconds`, the time they may take. Raises `RunAbandoned` where no
    worker came back: then there is nothing to judge.
    """
    workers = [f"w{number}" for number in range(stage.load.workers)]
    stage.start({SETUP: "setup", **dict.fromkeys(workers, "worker"), QUIET: "quiet"})
    prepare(stage, SETUP)
    stage.ready(workers)
    answers = stage.tell(
        workers, worker, within=seconds + GRACE_SECONDS, jobs=stage.load.jobs, batch=stage.load.batch, seconds=seconds
    )
    if all(answer.problem for answer in answers):
        raise RunAbandoned(answers[0].problem)
    stage.tell(
        [QUIET],
        quiet,
        within=seconds + GRACE_SECONDS,
        phase="quiet",
        jobs=stage.load.jobs,
        batch=stage.load.batch,
        seconds=seconds,
    )
    stage.end([SETUP, *workers, QUIET])
