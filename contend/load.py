"""`contend load`: the request for one run under Locust's users, and the crowd that carries it out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import scenarios
from contend.campaign import Request
from harness import databases
from harness.errors import UsageError
from harness.runners.load import Crowd, HandedOut, Locust, Order
from scenarios.loads import LOADS, USER_CLASSES

SYSTEMS: Final[Mapping[str, Mapping[str, str]]] = {  # what is loaded where no system is named
    "claim-race": {"sqlite": "reference:update-returning", "postgres": "reference:skip-locked-cte"},
    "pool-pressure": {"postgres": "reference:batched"},
    "cleanup-churn": {"sqlite": "reference:delete-many", "postgres": "reference:delete-many"},
}


def request(
    scenario: str, *, system: str | None, database: str, users: int | None, options: Mapping[str, Any], **more: Any
) -> Request:
    """Make the request; `options` has the users' (`USER_OPTIONS`), those left out are the scenario's. Raises `UsageError`."""
    engine = databases.choose(database).name
    if engine not in LOADS[scenario].databases:
        raise UsageError(
            f"The load {scenario} runs on {' and '.join(LOADS[scenario].databases)}, not on {engine}: "
            "its users share one pool, and a call to SQLite stops all users of its process."
        )
    number = users or LOADS[scenario].loads["quick"].workers
    processes = options.get("processes") or (number if engine == "sqlite" else 1)
    if engine == "sqlite" and number > processes:
        raise UsageError(
            f"{number} users in {processes} processes on SQLite: a call to SQLite stops all users of its process. "
            f"Use as many processes as users (--processes {number})."
        )
    if processes > number:
        raise UsageError(f"{processes} processes for {number} users: some would have none. Lower --processes.")
    if processes > 1 and scenario == "pool-pressure":
        raise UsageError("The users of pool-pressure share one pool, so one process: leave --processes out.")
    return Request(
        (scenario,),
        (system or SYSTEMS[scenario][engine],),
        (database,),
        workers=number,
        options=options,
        mode="load",
        **more,
    )


def crowd(*, hand_out: bool) -> Crowd:
    """Give what runs the users: Locust, or, for the system under test only, whoever reads our standard output."""
    folder = Path(scenarios.__file__).parent
    locust = Locust(folder / "locustfile.py", folder / "ramp.py", USER_CLASSES)
    handed = HandedOut(sys.stdout, sys.stdin)

    def at_work(order: Order, say: Callable[[str], None]) -> Sequence[str]:
        return (handed if hand_out and order.full else locust)(order, say)

    return at_work
