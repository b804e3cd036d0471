"""What `contend load` costs: its users against the same users in a bare loop under Locust; and its rate at 50 users against the race's."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import duckdb

import contend
import scenarios
from harness.databases import choose
from harness.measurement import paired_ratio, quantile
from harness.processes import Source
from harness.runners.load import Locust, Order
from reference_impl.strategies import system

SYSTEM = "skip-locked-cte"
USERS = 10
MANY = 50
BATCH = 5
SECONDS = 4
PAIRS = 8
RACES = 3


def _calls(file: Path, url: str, queue: type, users: int) -> float:
    """Calls a second of the users of a locustfile, on an empty database."""
    ready: Any = queue(url)
    ready.install()
    ready.enqueue([{"payload": n, "priority": n % 3} for n in range(100)])
    ready.close()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name in ("events", "logs", "load"):
            (place / name).mkdir()
        order = Order(
            scenario="claim-race", url=url, source=Source.of(queue), options={}, folder=place, witness="none", process="", batch=BATCH,
            seed=1, users=users, run_time=SECONDS, spawn_rate=1000.0, processes=1, rate=None, ramp=False, full=True,
        )  # fmt: skip  # twenty lines would hide the rest
        problems = Locust(file, file, {"claim-race": "ClaimUser"})(order, lambda _line: None)
        if problems:
            raise RuntimeError(problems[0])
        rows = json.loads((place / "load" / "locust.json").read_text(encoding="utf-8"))
    return float(sum(row["requests"] for row in rows if row["name"] != "close")) / SECONDS


def _race() -> float:
    """Calls a second of a race's workers, from its history."""
    with tempfile.TemporaryDirectory() as folder:
        raced = contend.race(f"reference:{SYSTEM}", database="postgres", batch=BATCH, jobs=4000, out=Path(folder))
        (place,) = (Path(raced.document["bundle"]) / "results").glob(f"*{SYSTEM}*")
        with duckdb.connect() as connection:
            connection.read_parquet(str(place / "history" / "operations.parquet")).create_view("operations")
            found = connection.execute(
                "SELECT count(*) / (max(completed_ns) - min(invoked_ns)) * 1e9 FROM operations WHERE phase = 'main' AND kind <> 'close'"
            ).fetchone()
    return float(found[0]) if found else 0.0


def measure() -> dict[str, Any]:
    """Calls a second: ours to bare at USERS in ABBA pairs; at MANY users and in a race, in turns."""
    queue = system(SYSTEM, "postgres")
    ours = Path(scenarios.__file__).with_name("locustfile.py")
    bare = Path(__file__).with_name("bare_locustfile.py")
    rates: dict[Path, list[float]] = {ours: [], bare: []}
    many: list[float] = []
    with choose("postgres").serve() as server:
        for pair in range(PAIRS):
            for file in (ours, bare) if pair % 2 == 0 else (bare, ours):
                with server.fresh() as url:
                    rates[file].append(_calls(file, url, queue, USERS))
        races = []
        for _ in range(RACES):
            with server.fresh() as url:
                many.append(_calls(ours, url, queue, MANY))
            races.append(_race())
    ratio = paired_ratio(rates[ours], rates[bare], seed=1)
    against = paired_ratio(many, races, seed=1)
    return {
        "users": USERS,
        "calls_s": round(quantile(rates[ours], 0.5), 1),
        "bare_calls_s": round(quantile(rates[bare], 0.5), 1),
        "ours_to_bare": {"median": ratio.median, "low": ratio.low, "high": ratio.high, "pairs": ratio.pairs},
        "at_50_users_calls_s": round(quantile(many, 0.5), 1),
        "race_calls_s": round(quantile(races, 0.5), 1),
        "load_to_race": {"median": against.median, "low": against.low, "high": against.high, "pairs": against.pairs},
    }
