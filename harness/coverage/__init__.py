"""What a run covered and what it cost, asked of its history: the evidence a pass needs, and the figures shown beside it.

Each piece of evidence is one small `.sql` file: one row, `present` and the `reason` where it is not; its header says the remedy.
"""

from __future__ import annotations

import contextlib
import json
import statistics
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

import duckdb

from harness.errors import InvariantBroken
from harness.measurement import fit_line
from harness.merging import open_tables
from harness.verdict import Evidence

EVIDENCE: Final[dict[str, str]] = {
    "processes-ended": "processes_ended.sql",
    "operations-accounted": "operations_accounted.sql",
    "every-worker-took-part": "every_worker_took_part.sql",
    "claims-overlapped": "claims_overlapped.sql",
    "rounds-completed": "rounds_completed.sql",
    "opens-overlapped": "opens_overlapped.sql",
    "holder-killed": "holder_killed.sql",
    "jobs-at-once": "jobs_at_once.sql",
    "killed-inside": "killed_inside.sql",
    "faults-landed": "faults_landed.sql",
    "jobs-handed-on": "jobs_handed_on.sql",
    "change-stood": "change_stood.sql",
    "more-jobs-than-connections": "more_jobs_than_connections.sql",
    "cleaned-beside-work": "cleaned_beside_work.sql",
    "readers-overlapped": "readers_overlapped.sql",
    "submits-read": "submits_read.sql",
}
GIVEN: Final = ("control-caught",)  # evidence that is not in the history; whoever runs the control gives it


@contextlib.contextmanager
def open_history(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the merged history of a result's folder: the five tables of `harness.history`, as views."""
    with duckdb.connect() as connection:
        connection.execute("SET memory_limit = '1GB'")
        open_tables(connection, folder / "history")
        yield connection


def _sql(name: str) -> str:
    return resources.files("harness.coverage").joinpath(name).read_text(encoding="utf-8")


def _rows(history: duckdb.DuckDBPyConnection, name: str, **parameters: object) -> list[dict[str, Any]]:
    try:
        cursor = history.execute(_sql(name), parameters) if parameters else history.execute(_sql(name))
        columns = [column[0] for column in cursor.description or ()]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    except duckdb.Error as error:
        raise InvariantBroken(f"The query {name} could not be run over the history: {error}") from error


def evidence(history: duckdb.DuckDBPyConnection, names: Sequence[str]) -> list[Evidence]:
    """Look for each piece of evidence in a history; those in `GIVEN` are left to the caller. Raises `InvariantBroken`."""
    found = []
    for name in names:
        if name in GIVEN:
            continue
        (row,) = _rows(history, EVIDENCE[name])
        remedy = next(line for line in _sql(EVIDENCE[name]).splitlines() if line.startswith("-- Remedy: "))
        present = bool(row["present"])
        found.append(
            Evidence(
                name,
                present,
                "" if present else str(row["reason"]),
                "" if present else remedy.removeprefix("-- Remedy: "),
            )
        )
    return found


def covered(history: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Count what a history covered: operations, workers, claims, overlapping_claims, jobs, statements; and what else there was of."""
    (row,) = _rows(history, "covered.sql")
    always = ("operations", "workers", "claims", "overlapping_claims", "jobs", "statements", "opens")
    return {name: int(value) for name, value in row.items() if value or name in always}


def workers(history: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Say of each worker what it did and got: process, pid, claims, jobs, empty, errors."""
    return _rows(history, "workers.sql")


def rounds(history: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Count, for each size of a round: batch, jobs, statements, transactions, round_trips, acquisitions, claims."""
    return _rows(history, "rounds.sql")


def series(history: duckdb.DuckDBPyConnection) -> dict[str, list[dict[str, Any]]]:
    """Give the tables of figures a page draws, by name, without those the history holds nothing for."""
    tables = {
        "counts": rounds(history),
        "staleness": _rows(history, "staleness.sql"),
        "pool_waiting": _rows(history, "pool_waiting.sql"),
        "reader_latency": _rows(history, "reader_latency.sql"),
        "faults": _rows(history, "faults_done.sql"),
        "holds": _rows(history, "holds.sql"),
        "recoveries": _rows(history, "recoveries.sql"),
    }
    return {name: rows for name, rows in tables.items() if rows or name == "counts"}


def operations(history: duckdb.DuckDBPyConnection, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Give the operations of these numbers, with the jobs they named and their times in ms."""
    found = _rows(history, "operations.sql", numbers=sorted(set(numbers)))
    for row in found:
        row["jobs"] = [json.loads(job) for job in row["jobs"]]
        row["tokens"] = [None if token is None else json.loads(token) for token in row["tokens"]]
        error = {name: row.pop(f"error_{name}") for name in ("class", "code", "message")}
        row["error"] = error if error["class"] else None
    return found


def counted(history: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Count twice what should not vary, to a hundredth: the `name` of each count, its `unit`, and its `first` and `second` value.

    Counts of a claim are means over every other claim; the cost of a round, and of each further job in it, comes from every other
    size. Where the two differ, or the claims do (`varies`), the count depends on chance. `second` is None where there was but one.
    """
    found = [
        {**row, "first": _hundredths(row["first"]), "second": _hundredths(row["second"])}
        for row in _rows(history, "counted_twice.sql")
        if row["first"] is not None
    ]
    made = [row for row in rounds(history) if row["jobs"]]
    halves = made[::2], made[1::2]
    if all(len({row["jobs"] for row in half}) > 1 for half in halves):
        for name in ("statements", "transactions", "round_trips", "acquisitions"):
            if not any(row[name] for row in made):
                continue
            lines = [fit_line([float(r["jobs"]) for r in half], [float(r[name]) for r in half]) for half in halves]
            unit = name.replace("_", " ")
            for kind, values in (
                ("job", [line.slope for line in lines]),
                ("round", [line.intercept for line in lines]),
            ):
                first, second = map(_hundredths, values)
                about = {"name": f"{name}_per_{kind}", "unit": f"{unit}/{kind}", "varies": False}
                found.append({**about, "first": first, "second": second})
    return found


def _hundredths(value: float | None) -> float | None:
    return None if value is None else round(float(value), 2) + 0.0  # no minus zero


def measurements(history: duckdb.DuckDBPyConnection) -> dict[str, dict[str, Any]]:
    """Measure a history: name → value and unit, without those it holds nothing for.

    Where rounds were made, the fitted cost of one more job stands beside: `statements_per_job` and its kin.
    """
    found = {
        row["name"]: {"value": round(float(row["value"]), 6), "unit": row["unit"]}
        for row in _rows(history, "measurements.sql")
        if row["value"] is not None
    }
    behind = {row["share"]: row["ms"] for row in _rows(history, "staleness.sql")}
    for name, share in (("staleness_ms_p50", 0.5), ("staleness_ms_p99", 0.99), ("staleness_ms_worst", 1.0)):
        if share in behind:
            found[name] = {"value": round(float(behind[share]), 6), "unit": "ms"}
    recovered = sorted(float(row["ms"]) for row in _rows(history, "recoveries.sql") if row["ms"] is not None)
    if recovered:
        found["recovered_jobs"] = {"value": float(len(recovered)), "unit": "jobs"}
        found["recovery_ms_p50"] = {"value": statistics.median(recovered), "unit": "ms"}
        found["recovery_ms_max"] = {"value": recovered[-1], "unit": "ms"}
    counted = [row for row in rounds(history) if row["jobs"]]
    sizes = [float(row["jobs"]) for row in counted]
    if len(set(sizes)) > 1:
        for name in ("statements", "transactions", "round_trips"):
            counts = [float(row[name]) for row in counted]
            if any(counts):
                slope = fit_line(sizes, counts).slope
                found[f"{name}_per_job"] = {"value": round(slope, 6), "unit": f"{name.replace('_', ' ')}/job"}
    return found
