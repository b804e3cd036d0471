"""bulk-delete: any number of ids in one transaction, exactly those that are there and not running, whatever the list looks like."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from harness.protocols import Handle, JobId
from harness.scenario import Client, Load, Part, Scenario, Stage
from scenarios.claiming import SETUP_SECONDS, install, must
from scenarios.price import Comparison, compare

SIZES: Final[Mapping[str, tuple[int, ...]]] = {
    "quick": (1, 10, 100, 1_000, 10_000),
    "full": (1, 10, 100, 1_000, 10_000, 100_000),
}
TIMED: Final[Mapping[str, tuple[int, ...]]] = {"quick": (1, 100), "full": (1, 10, 100, 1_000, 10_000)}
LATENCIES_MS: Final = {"sqlite": (0.0,), "postgres": (0.0, 1.0)}
BEYOND: Final = {
    "sqlite": 40_000,
    "postgres": 70_000,
}  # more ids than SQLite's usual 32,766 variables, or the protocol's 65,535
LONGEST_SECONDS: Final = (
    2.0  # a size at which the last one lets expect more than this is left out, and the page says so
)
ROUND_SECONDS: Final = 300.0
VICTIMS: Final = 8_000
BASELINE: Final = "defect:loop-delete"
WORKER: Final = "w0"
VICTIM: Final = "victim"
LARGEST: Final = 2**32 - 1  # of an unsigned 32-bit id, and the next


def make_jobs(client: Client, number: int) -> list[JobId]:
    """Enqueue that many jobs; gives their ids."""
    reply = must(
        client.enqueue([{"payload": None, "priority": each % 3, "tag": "bulk"} for each in range(number)]), "enqueue"
    )
    return [handle.job for handle in reply.handles]


def delete_round(client: Client, size: int) -> float:
    """Delete `size` jobs with one call, as one round; gives the seconds it took."""
    jobs = make_jobs(client, size)
    started = time.monotonic()
    with client.round(size) as obtained:
        if client.delete_many("jobs", jobs).outcome == "ok":
            obtained.extend(map(Handle, jobs))
    return time.monotonic() - started


def delete_beyond(client: Client, size: int) -> None:
    """Delete more than the engine takes variables, given as a generator."""
    client.delete_many("jobs", make_jobs(client, size), lazily=True)


def delete_edges(client: Client) -> None:
    """Delete what is unknown, what comes twice, nothing at all, what is running, and what runs and jobs take with them."""
    jobs = make_jobs(client, 8)
    client.delete_many("jobs", [])
    client.delete_many("runs", [])
    client.delete_many("jobs", [*jobs[:2], *jobs[:2], jobs[1]])
    client.delete_many("jobs", [jobs[0], LARGEST, LARGEST + 1, 0, jobs[2]])
    client.delete_many("jobs", [jobs[3], jobs[3]], lazily=True)
    _spare_running(client)
    if all(client.offers(name) for name in ("submit_run", "read_run")):
        _delete_runs(client)


def _spare_running(client: Client) -> None:
    held = client.claim(2).handles
    client.delete_many("jobs", [handle.job for handle in held])
    client.status_all()
    client.complete(held[:1])
    client.delete_many("jobs", [handle.job for handle in held])  # the one that is done may go now
    client.complete(held[1:])


def _delete_runs(client: Client) -> None:
    runs = [client.submit_run("bulk", [{"payload": None, "priority": 9}] * 3).value for _ in range(3)]
    jobs = [[handle.job for handle in client.read_run(run).handles] for run in runs]
    actions: list[JobId] = []
    if client.offers("add_actions"):
        actions = [each for job in jobs[0] for each in client.add_actions(job, ["fetch", "store"]).value]
        client.delete_many("actions", [actions[0], actions[0], LARGEST])
        client.delete_many("jobs", jobs[0][:1])
        client.delete_many("actions", actions[:2])  # gone with their job
    held = client.claim(1).handles  # of priority 9, so of one of these runs
    client.delete_many("runs", [*runs, runs[0], LARGEST])
    client.delete_many("jobs", [job for each in jobs for job in each])
    if actions:
        client.delete_many("actions", actions)
    client.complete(held)
    client.delete_many("runs", runs)


def be_killed(client: Client, jobs: list[JobId]) -> None:
    """Delete many; to be killed in the middle of it."""
    client.delete_many("jobs", jobs)


def read_status(client: Client) -> None:
    """Read what is left."""
    client.status_all()


def drive(stage: Stage) -> None:
    """Count in rounds of growing size; try the edges; go beyond the limit; kill a process in a deletion; read what is left."""
    stage.start({WORKER: "worker", VICTIM: "worker", "quiet": "quiet"})
    stage.insist(WORKER, install, within=SETUP_SECONDS, phase="setup")
    left_out = count(stage)
    stage.insist(WORKER, delete_edges, within=ROUND_SECONDS)
    if not left_out:
        stage.insist(WORKER, delete_beyond, within=ROUND_SECONDS, size=BEYOND[stage.database])
    stage.ready([VICTIM, "quiet"])
    jobs = stage.insist(WORKER, make_jobs, within=SETUP_SECONDS, number=VICTIMS)
    stage.begin([Part(VICTIM, be_killed, {"jobs": jobs})])
    stage.kill(VICTIM, inside="delete_many")
    stage.gather([VICTIM], within=ROUND_SECONDS)
    stage.end([WORKER])
    stage.insist("quiet", read_status, within=SETUP_SECONDS, phase="quiet")
    stage.end(["quiet"])
    if stage.load.timed:
        compare(
            stage,
            Comparison(BASELINE, prepare, timed_delete, TIMED[stage.profile], LATENCIES_MS[stage.database], "deleting"),
            stage.profile,
        )


def count(stage: Stage) -> list[dict[str, Any]]:
    """Delete each size once, as far as that is quick enough; gives what was left out."""
    left_out: list[dict[str, Any]] = []
    expected = 0.0
    before = 0
    for size in SIZES[stage.profile]:
        if expected * size > LONGEST_SECONDS and before >= 100:
            left_out.append(
                {"latency_ms": 0, "batch": size, "reason": f"it would take about {expected * size:.0f} s to count"}
            )
            continue
        expected = stage.insist(WORKER, delete_round, within=ROUND_SECONDS, size=size) / size
        before = size
    stage.save("left_out", left_out)
    return left_out


def prepare(client: Client, jobs: int) -> None:  # noqa: ARG001  # each turn makes its own
    """Make the tables."""
    install(client)


def timed_delete(client: Client, size: int) -> float:
    """Make jobs, then delete them; gives the milliseconds that took."""
    jobs = make_jobs(client, size)
    started = time.perf_counter_ns()
    must(client.delete_many("jobs", jobs), "delete_many")
    return (time.perf_counter_ns() - started) / 1e6


BULK_DELETE = Scenario(
    name="bulk-delete",
    claim="Any number of ids is deleted in one transaction: exactly what is there and not running, whatever the list holds.",
    drive=drive,
    invariants=(
        "delete-exact",
        "delete-one-transaction",
        "delete-spares-running",
        "statement-budget",
        "no-swallowed-error",
        "reads-answered",
        "witness-agrees",
    ),
    evidence=("processes-ended", "operations-accounted", "rounds-completed", "killed-inside", "control-caught"),
    control={"sqlite": BASELINE, "postgres": BASELINE},
    loads={
        "quick": Load(workers=1, jobs=sum(SIZES["quick"]), batch=1, options={"pool_size": 2}),
        "full": Load(workers=1, jobs=sum(SIZES["full"]), batch=1, options={"pool_size": 2}),
    },
    needs=("claim", "complete", "delete_many", "status_all"),
    faults=True,
    timed={"sqlite": ("reference:delete-many",), "postgres": ("reference:delete-many",)},
)
