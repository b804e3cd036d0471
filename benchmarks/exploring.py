"""How long explorations take: schedules a second, seconds until a violation is shown, and PostgreSQL's own isolationtester beside them.

The tester is given the statements of the reference's claims, and its step time-out at 1 s; it knows no application code, and no reset but
making the table anew.

Measured by itself: how long it takes until it is known that a statement is blocked, from when it has been given to the server. The tester
asks for the first time after 10 ms.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from contend.campaign import execute
from contend.exploration import request
from harness.databases import choose
from harness.databases.binaries import find_binaries
from harness.gates import on_the_wire
from harness.measurement import quantile
from harness.runners.explore import Workers

RUNS = 5
BLOCKED_SECONDS = 20.0  # of exploring claims that wait for each other: some thousand statements that are blocked
SHOWN_RUNS = 50


def _explore(system: str, database: str, *words: str) -> tuple[dict[str, Any], float]:
    """What an exploration came to, and how long the whole command took."""
    with tempfile.TemporaryDirectory(prefix="contend-bench-") as folder:
        started = time.perf_counter()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "contend", "explore", "claim-race", "--system", system, "--database", database),
                *(*words, "--seed", "1", "--out", folder, "--json"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - started
        (result,) = json.loads(done.stdout)["results"]
        found: dict[str, Any] = result["series"]["exploration"][0]
        return found, seconds


def _rate(found: dict[str, Any]) -> float:
    return float((found["schedules"] + found["redundant"]) / (found["seconds"] - found["looking_seconds"]))


def _tester(spec: str, url: str) -> tuple[int, float]:
    """How many orders the isolationtester went through, and the seconds that took."""
    program = find_binaries().folder.parent / "lib/pgxs/src/test/isolation/isolationtester"
    with Path(__file__).with_name(spec).open(encoding="utf-8") as text:
        started = time.perf_counter()
        done = subprocess.run(
            [program, url], stdin=text, capture_output=True, text=True, check=True,
            env={**os.environ, "PG_TEST_TIMEOUT_DEFAULT": "1"},
        )  # fmt: skip  # one argument a line would hide the command
        return done.stdout.count("starting permutation"), time.perf_counter() - started


def _blocked_seconds() -> list[float]:
    """Of each statement that was blocked: from when it had been sent to the server until the explorer knew that it is.

    Both moments are taken around the code that runs in every exploration, here only, so that it pays for none of it.
    """
    sent: dict[str, float] = {}
    took: list[float] = []
    send, wait = on_the_wire._Session._send, Workers._wait

    def sending(session: Any, group: Any) -> None:
        send(session, group)
        sent[session.process] = time.perf_counter()

    def waiting(workers: Any, running: Any, deadline: float) -> None:
        wait(workers, running, deadline)
        known = time.perf_counter()
        took.extend(known - sent.pop(each.name) for each in running if each.state == "blocked" and each.name in sent)

    on_the_wire._Session._send, Workers._wait = sending, waiting  # type: ignore[method-assign]  # see above
    try:
        with tempfile.TemporaryDirectory(prefix="contend-bench-") as folder:
            execute(
                request(
                    scenario="claim-race",
                    system="reference:for-update",
                    database="postgres",
                    workers=3,
                    batch=1,
                    jobs=None,
                    seed=1,
                    out=Path(folder),
                    options={"reduced": False, "budget": BLOCKED_SECONDS},
                )
            )
    finally:
        on_the_wire._Session._send, Workers._wait = send, wait  # type: ignore[method-assign]  # as they were
    return took


def _median(values: list[float]) -> float:
    return round(quantile(values, 0.5), 3)


def measure() -> dict[str, Any]:
    """Medians of RUNS runs each, side by side; seconds, and schedules a second."""
    sqlite, shown, skipping, passing, blocking = [], [], [], [], []
    tester_passing, tester_blocking = [], []
    with choose("postgres").serve() as server:
        for _ in range(RUNS):
            found, _seconds = _explore(
                "reference:select-then-update", "sqlite", "--option", "reduced=false", "--batch", "4"
            )
            sqlite.append(_rate(found))
            found, _seconds = _explore("reference:select-then-update", "sqlite")
            shown.append(found["shown_seconds"])
            found, _seconds = _explore("reference:skip-locked", "postgres", "--workers", "3", "--batch", "1")
            skipping.append(found["seconds"])
            found, _seconds = _explore(
                "reference:skip-locked", "postgres", "--option", "reduced=false", "--workers", "3", "--batch", "1"
            )
            passing.append(_rate(found))
            found, _seconds = _explore("reference:for-update", "postgres")
            blocking.append(found["seconds"])
            with server.fresh() as url:
                orders, seconds = _tester("passing.spec", url)
                tester_passing.append(orders / seconds)
        with server.fresh() as url:
            tester_blocking.append(_tester("blocking.spec", url)[1])
    scalar = [
        _explore("reference:scalar-subquery", "postgres", "--batch", "1", "--jobs", "1")[0] for _ in range(SHOWN_RUNS)
    ]
    blocked = [1000 * each for each in _blocked_seconds()]
    return {
        "sqlite_schedules_per_second": _median(sqlite),
        "sqlite_shown_seconds": _median(shown),
        "skip_locked_3_workers_exhausted_seconds": _median(skipping),
        "skip_locked_schedules_per_second": _median(passing),
        "isolationtester_permutations_per_second": _median(tester_passing),
        "schedules_to_one_permutation": round(quantile(passing, 0.5) / quantile(tester_passing, 0.5), 3),
        "blocked_known": {
            "statements": len(blocked),
            "p50_ms": round(quantile(blocked, 0.5), 3),
            "p99_ms": round(quantile(blocked, 0.99), 3),
            "most_ms": round(max(blocked), 3),
        },
        "for_update_exhausted_seconds": _median(blocking),
        "isolationtester_exhausted_seconds": _median(tester_blocking),
        "scalar_subquery": {
            "runs": SHOWN_RUNS,
            "found": sum(each["shown_seconds"] is not None for each in scalar),
            "most_shown_seconds": max(each["shown_seconds"] or 0.0 for each in scalar),
        },
    }
