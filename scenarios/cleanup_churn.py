"""cleanup-churn: clean-up by tag while jobs come and go and fifty readers look on."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from harness.scenario import Client, Load, Part, Reply, Scenario, Stage
from scenarios.claiming import COMPLETE_TRIES, POLL_SECONDS, SETUP_SECONDS, install

TAGS: Final = ("nightly", 'it\'s 100% "quoted"', "ünï")
GRACE_SECONDS: Final = 60.0
WORK_SECONDS: Final = 0.04  # the longest pretended work on a job
LOOK_SECONDS: Final = 0.3  # between two looks of a reader
CLEAN_SECONDS: Final = 0.01  # between two clean-ups
AHEAD: Final = 2  # runs submitted before one is claimed, so that a clean-up finds some that are about to run
PER_CLEAN: Final = 2  # runs of one worker for each clean-up, at most, or a slow one would never come to its end
CLEANS: Final = 16  # clean-ups there must have been before it may end, on a machine however slow
LONGEST_SECONDS: Final = 6.0
CLEANER: Final = "cleaner"


class _Time:
    """Says when it is over: after so many seconds and so many clean-ups, which the cleaner counts for all."""

    def __init__(self, client: Client, seconds: float) -> None:
        self._client = client
        self._from = time.monotonic()
        self._seconds = seconds

    def goes_on(self) -> bool:
        """Whether there is more to do."""
        passed = time.monotonic() - self._from
        enough = passed >= self._seconds and self._client.finished() >= CLEANS
        return not enough and passed < max(self._seconds, LONGEST_SECONDS)


def churn(client: Client, batch: int, seconds: float) -> None:
    """Submit runs of `batch` jobs, claim as many jobs, work, complete; again until the time is over."""
    time_left = _Time(client, seconds)
    submitted = 0
    while time_left.goes_on():
        if submitted > PER_CLEAN * (client.finished() + PER_CLEAN):
            client.pause(CLEAN_SECONDS)
            continue
        for _ in range(AHEAD):
            client.submit_run(client.rng.choice(TAGS), [{"payload": None, "priority": 0} for _ in range(batch)])
        submitted += AHEAD
        while (reply := client.claim(batch)).handles and time_left.goes_on():
            client.pause(client.rng.uniform(0, WORK_SECONDS))
            _complete(client, reply)
        _complete(client, reply)


def _complete(client: Client, reply: Reply) -> None:
    for _ in range(COMPLETE_TRIES if reply.handles else 0):
        if client.complete(reply.handles).outcome != "fail":
            return
        client.pause(client.rng.uniform(0, POLL_SECONDS))


def clean(client: Client, seconds: float) -> None:
    """Clean up by one tag after the other, and everything in between, until the time is over."""
    time_left = _Time(client, seconds)
    turn = 0
    while time_left.goes_on():
        if turn % 2 and client.offers("wipe_all"):
            client.wipe_all()
        else:
            client.clean_by_tag(TAGS[turn % len(TAGS)])
        turn += 1
        client.advance(1)
        client.pause(CLEAN_SECONDS)


def look_on(client: Client, readers: int, seconds: float) -> None:
    """Read the status of everything, again and again, in `readers` threads with a connection each."""
    time_left = _Time(client, seconds)

    def look(mine: Client) -> None:
        while time_left.goes_on():
            mine.status_all()
            mine.pause(mine.rng.uniform(0.5, 1.5) * LOOK_SECONDS)

    with ThreadPoolExecutor(readers) as pool:
        for done in [pool.submit(look, mine) for mine in client.threads(readers)]:
            done.result()


def drive(stage: Stage) -> None:
    """Let churn, clean-up and readers go at the same moment; then clean up once more, and read what is left."""
    load, options = stage.load, stage.load.options
    workers = [f"w{number}" for number in range(load.workers)]
    readers = [f"reader{number}" for number in range(options["reader_processes"])]
    cast = {
        "setup": "setup",
        **dict.fromkeys(workers, "worker"),
        CLEANER: "cleaner",
        **dict.fromkeys(readers, "reader"),
    }
    stage.start(cast)
    stage.insist("setup", install, within=SETUP_SECONDS, phase="setup")
    stage.ready([*workers, CLEANER, *readers])
    seconds = options["seconds"]
    each = -(-options["readers"] // len(readers))
    stage.begin(
        [
            *(Part(name, churn, {"batch": load.batch, "seconds": seconds}) for name in workers),
            Part(CLEANER, clean, {"seconds": seconds}),
            *(Part(name, look_on, {"readers": each, "seconds": seconds}) for name in readers),
        ]
    )
    stage.gather([*workers, CLEANER, *readers], within=max(seconds, LONGEST_SECONDS) + GRACE_SECONDS)
    stage.end(list(cast))


def check(load: Load) -> str | None:
    """Say what is wrong with the numbers of readers and seconds."""
    readers, processes = (load.options.get(name) for name in ("readers", "reader_processes"))
    if not isinstance(readers, int) or not isinstance(processes, int) or not 1 <= processes <= readers <= 1000:
        return f"readers is {readers!r} in {processes!r} reader_processes; expected 1 to 1,000, and no more processes than readers."
    seconds = load.options.get("seconds")
    if not isinstance(seconds, (int, float)) or not 0 < seconds <= 3600:
        return f"seconds is {seconds!r}; expected a number from 0 to 3,600."
    return None


CLEANUP_CHURN = Scenario(
    name="cleanup-churn",
    claim="Clean-up by tag while jobs come and go and 50 readers look on: nothing running goes, no reader fails or sees the half of it.",
    drive=drive,
    invariants=(
        "delete-spares-running",
        "delete-one-transaction",
        "submit-atomic",
        "reads-answered",
        "no-double-claim",
        "terminal-once",
        "lock-errors",
        "no-swallowed-error",
        "witness-agrees",
    ),
    evidence=("processes-ended", "operations-accounted", "cleaned-beside-work", "readers-overlapped", "control-caught"),
    control={"sqlite": "defect:delete-unguarded", "postgres": "defect:delete-unguarded"},
    loads={
        "quick": Load(workers=5, jobs=20, batch=4, options={"readers": 50, "reader_processes": 10, "seconds": 1.0}),
        "full": Load(workers=5, jobs=20, batch=4, options={"readers": 50, "reader_processes": 50, "seconds": 5.0}),
    },
    needs=("claim", "complete", "submit_run", "clean_by_tag", "status_all"),
    check=check,
    beside=("defect:loop-delete",),
)
