"""`contend explore` and `contend replay`: the request for one exploration, and for one schedule of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contend.campaign import Request
from harness.bundle import Bundle, read_json
from harness.errors import UsageError
from harness.runners import generate
from harness.runners.explore import Replay
from scenarios.explorations import EXPLORATIONS


def request(
    *, scenario: str, system: str, database: str, workers: int | None, batch: int | None, jobs: int | None, **more: Any
) -> Request:
    """Make the request; as many jobs as all workers ask for, where nobody says how many."""
    usual = EXPLORATIONS[scenario].loads["full"]
    workers, batch = workers or usual.workers, batch or usual.batch
    return Request(
        (scenario,),
        (system,),
        (database,),
        workers=workers,
        batch=batch,
        jobs=jobs or workers * batch,
        profile="full",
        mode="explore",
        **more,
    )


def replay(path: Path, finding: int, *, database: str | None, **more: Any) -> Request:
    """Make the request that carries out the schedule of a finding again: of a bundle, or of one result's folder in it.

    Findings count from 1, through all results. `database` is needed only where a URL was given then, as no bundle keeps it. Raises
    `UsageError` where there is no such finding, or it comes of no exploration.
    """
    places = [path] if (path / "result.json").exists() else Bundle.open(path).places()
    found = [
        (document, each)
        for document in (read_json(place / "result.json") for place in places if (place / "result.json").exists())
        if not document.get("twin")
        for each in document["findings"]
    ]
    if not found:
        raise UsageError(f"There is no finding in {path}, so nothing to replay.")
    if not 1 <= finding <= len(found):
        raise UsageError(f"{path} has {len(found)} findings; there is no finding {finding}.")
    document, chosen = found[finding - 1]
    schedule = next((s for s in document["series"].get("schedules", []) if s["invariant"] == chosen["invariant"]), None)
    if schedule is None:
        raise UsageError(
            f"Finding {finding}, {chosen['invariant']}, comes of no exploration, so there is no schedule to replay. "
            f"The same settings again: {document['commands']['again']}"
        )
    return _request(document, schedule, database, more)


def _request(
    document: Mapping[str, Any], schedule: Mapping[str, Any], database: str | None, more: Mapping[str, Any]
) -> Request:
    load, engine = document["load"], database or document["database"]
    if database is None and "$DATABASE_URL" in document["commands"]["again"]:
        raise UsageError("The finding was made on a database given by its URL, which no bundle keeps: give --database.")
    return Request(
        (document["scenario"],),
        (document["system"],),
        (engine,),
        workers=load["workers"],
        jobs=load["jobs"],
        batch=load["batch"],
        seed=load["seed"],
        options=load["options"],
        profile="full",
        mode="explore",
        replay=Replay(
            schedule["invariant"],
            tuple(schedule["choices"]),
            tuple(schedule["said"]),
            generate.read(schedule["example"]) if "example" in schedule else None,
        ),
        **more,
    )
