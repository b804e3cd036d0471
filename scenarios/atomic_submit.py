"""atomic-submit: a run is there with all its jobs or not at all, for whoever reads and however the submitter dies."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Final

from harness.protocols import Handle, JobId
from harness.scenario import Client, Load, Part, Scenario, Stage
from scenarios.claiming import SETUP_SECONDS, install, must
from scenarios.price import Comparison, compare

SIZES: Final[Mapping[str, tuple[int, ...]]] = {"quick": (1, 10, 100, 1_000), "full": (1, 10, 100, 1_000, 10_000)}
TIMED: Final[Mapping[str, tuple[int, ...]]] = {"quick": (1, 100), "full": (1, 10, 100, 1_000)}
LATENCIES_MS: Final = {"sqlite": (0.0,), "postgres": (0.0, 1.0)}
BASELINE: Final = "defect:partial-submit"
ROUND_SECONDS: Final = 120.0
GRACE_SECONDS: Final = 60.0
MOST_RUNS: Final = 15  # of one submitter, so that a status stays short
LOOK_SECONDS: Final = 0.001  # between two looks for the next run
VICTIM: Final = "w0"
COUNTER: Final = "counter"


def submit(client: Client, size: int) -> JobId:
    """Submit one run of `size` jobs; gives its id."""
    run: JobId = must(client.submit_run("submitted", _jobs(size)), "submit_run").value
    return run


def try_to_submit(client: Client, size: int) -> None:
    """Submit one run of `size` jobs, whatever comes of it."""
    client.submit_run("submitted", _jobs(size))


def submit_round(client: Client, size: int) -> None:
    """Submit one run of `size` jobs, as one round."""
    with client.round(size) as obtained:
        if client.submit_run("round", _jobs(size)).outcome == "ok":
            obtained.extend(map(Handle, range(size)))


def submit_again_and_again(client: Client, size: int, seconds: float) -> None:
    """Submit runs one after the other, until there are enough or the time is over."""
    deadline = time.monotonic() + seconds
    for _ in range(MOST_RUNS):
        client.submit_run("submitted", _jobs(size))
        if time.monotonic() > deadline:
            break
    client.advance(1)


def submit_until_killed(client: Client, size: int) -> None:
    """Submit runs one after the other, to be killed in the middle of one."""
    while True:
        client.submit_run("submitted", _jobs(size))


def look_for_runs(client: Client, known: JobId, until: int, seconds: float) -> None:
    """Look for the run after the last one known, where ids are numbers, and at the status of all, until all submitters are done."""
    deadline = time.monotonic() + seconds
    looked = 0
    while time.monotonic() < deadline and client.finished() < until:
        if isinstance(known, int) and client.read_run(known + 1).value:
            known += 1
            continue
        if looked % 20 == 0 and client.offers("status_all"):
            client.status_all()
        looked += 1
        client.pause(LOOK_SECONDS)


def read_what_is_left(client: Client, known: JobId) -> None:
    """Read every run from the first, where ids are numbers, and the status of all."""
    missing = 0
    while isinstance(known, int) and missing < 3:  # a number may be used up by a submit that did not happen
        missing = 0 if client.read_run(known).value else missing + 1
        known += 1
    if client.offers("status_all"):
        client.status_all()


def prepare(client: Client, jobs: int) -> None:  # noqa: ARG001  # each turn makes its own
    """Make the tables."""
    install(client)


def timed_submit(client: Client, size: int) -> float:
    """Submit one run; gives the milliseconds that took."""
    jobs = _jobs(size)
    started = time.perf_counter_ns()
    must(client.submit_run("timed", jobs), "submit_run")
    return (time.perf_counter_ns() - started) / 1e6


def _jobs(size: int) -> list[dict[str, object]]:
    return [{"payload": f"job {number}", "priority": number % 3} for number in range(size)]


def drive(stage: Stage) -> None:
    """Count in rounds; then let submitters go under the eyes of readers and kill one of them in a submit; read what is left."""
    load = stage.load
    workers = [f"w{number}" for number in range(load.workers)]
    readers = ["reader0", "reader1"]
    cast = {COUNTER: "setup", **dict.fromkeys(workers, "worker"), **dict.fromkeys(readers, "reader"), "quiet": "quiet"}
    stage.start(cast)
    stage.insist(COUNTER, install, within=SETUP_SECONDS, phase="setup")
    stage.ready([*workers, *readers, "quiet"])
    first = stage.insist(COUNTER, submit, within=SETUP_SECONDS, phase="setup", size=load.batch)
    seconds = load.options["seconds"]
    steady = {"size": load.batch, "seconds": seconds}
    look = {"known": first, "until": len(workers) - 1, "seconds": seconds + GRACE_SECONDS / 2}
    stage.begin(
        [
            Part(VICTIM, submit_until_killed, {"size": load.batch}),
            *(Part(name, submit_again_and_again, steady) for name in workers[1:]),
            *(Part(name, look_for_runs, look) for name in readers),
        ]
    )
    after = random.Random(load.seed).uniform(0.0, 0.02)  # noqa: S311  # repeatable, not secret
    stage.kill(VICTIM, inside="submit_run", after_seconds=after)
    stage.gather([*workers, *readers], within=seconds + GRACE_SECONDS)
    stage.end([*workers[1:], *readers])
    for size in SIZES[stage.profile]:
        stage.insist(COUNTER, submit_round, within=ROUND_SECONDS, size=size)
    stage.insist("quiet", read_what_is_left, within=SETUP_SECONDS, phase="quiet", known=first)
    stage.end([COUNTER, "quiet"])
    if stage.load.timed:
        compare(
            stage,
            Comparison(
                BASELINE, prepare, timed_submit, TIMED[stage.profile], LATENCIES_MS[stage.database], "submitting"
            ),
            stage.profile,
        )


ATOMIC_SUBMIT = Scenario(
    name="atomic-submit",
    claim="A run is there with all its jobs or not at all, for whoever reads and however its submitter dies.",
    drive=drive,
    invariants=("submit-atomic", "statement-budget", "reads-answered", "no-swallowed-error", "witness-agrees"),
    evidence=(
        "processes-ended",
        "operations-accounted",
        "rounds-completed",
        "submits-read",
        "killed-inside",
        "control-caught",
    ),
    control={"sqlite": BASELINE, "postgres": BASELINE},
    loads={
        "quick": Load(workers=3, jobs=1, batch=50, options={"seconds": 1.0}),
        "full": Load(workers=4, jobs=1, batch=200, options={"seconds": 10.0}),
    },
    needs=("submit_run", "read_run"),
    faults=True,
    timed={"sqlite": ("reference:submit-run",), "postgres": ("reference:submit-run",)},
)
