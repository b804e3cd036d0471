"""`contend load`: the request for one run under Locust's users, and the crowd that carries it out."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import scenarios
from contend.campaign import Request
from harness import databases
from harness.errors import RunAbandoned, UsageError
from harness.runners.load import Crowd, HandedOut, Locust, Master, Order, processes_for, work_for
from harness.scratch import keep, scratch
from scenarios.loads import LOADS, USER_CLASSES

FILES: Final = Path(scenarios.__file__).parent
SYSTEMS: Final[Mapping[str, Mapping[str, str]]] = {  # what is loaded where no system is named
    "claim-race": {"sqlite": "reference:update-returning", "postgres": "reference:skip-locked-cte"},
    "pool-pressure": {"postgres": "reference:batched"},
    "cleanup-churn": {"sqlite": "reference:delete-many", "postgres": "reference:delete-many"},
}


def request(
    scenario: str,
    *,
    system: str | None,
    database: str,
    users: int | None,
    options: Mapping[str, Any],
    master: Master | None = None,
    **more: Any,
) -> Request:
    """Make the request; `options` has the users' (`USER_OPTIONS`), those left out are the scenario's. Raises `UsageError`."""
    engine = databases.choose(database).name
    if engine not in LOADS[scenario].databases:
        raise UsageError(
            f"The load {scenario} runs on {' and '.join(LOADS[scenario].databases)}, not on {engine}: "
            "its users share one pool, and a call to SQLite stops all users of its process."
        )
    number = users or LOADS[scenario].loads["quick"].workers
    if master is not None:
        _check_master(master, scenario, number)
        options = {**options, "processes": master.workers}
    processes = processes_for(number, engine, options.get("processes", 0))
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


def _check_master(master: Master, scenario: str, users: int) -> None:
    if scenario != "claim-race":
        raise UsageError("Workers on other machines are for claim-race: leave --master out, or name no other scenario.")
    if users < master.workers:
        raise UsageError(f"{master.workers} workers for {users} users: some would have none. Lower --expect-workers.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((master.host, master.port))
        except OSError as error:
            raise UsageError(
                f"The master cannot listen at {master.host}:{master.port} ({error.strerror}). Choose another --master-bind-port."
            ) from error


def work(host: str, port: int) -> int:
    """Be a worker of a master elsewhere; gives the exit status. What was recorded is kept where the master did not get it all."""
    with scratch("users") as folder:
        if work_for(host, port, FILES / "locustfile.py", folder):
            return 0
        if not any((folder / "events").glob("*")):
            raise RunAbandoned(
                f"The master at {host}:{port} went away before any user had worked. Look at what it says."
            )
        keep(folder)
    raise RunAbandoned(
        f"The master at {host}:{port} went away before the users had finished. What they did is kept in {folder / 'events'}."
    )


def crowd(*, hand_out: bool, master: Master | None = None) -> Crowd:
    """Give what runs the users: Locust, or, for the system under test only, whoever reads our standard output."""
    locust = Locust(FILES / "locustfile.py", FILES / "ramp.py", USER_CLASSES, master)
    handed = HandedOut(sys.stdout, sys.stdin)

    def at_work(order: Order, say: Callable[[str], None]) -> Sequence[str]:
        return (handed if hand_out and order.full else locust)(order, say)

    return at_work
