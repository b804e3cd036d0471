"""What `contend list` prints: the tables of scenarios, systems, invariants and defects, each from its one literal table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from harness.faults import FAULTS
from harness.invariants import judging
from reference_impl.defects import DEFECTS
from scenarios.catalogue import SCENARIOS
from scenarios.queues import QUEUES
from scenarios.systems import BUILTIN

Rows = list[dict[str, Any]]


def scenarios() -> Rows:
    """Every scenario: what it claims, on which databases, judged by what."""
    return [
        {
            "name": scenario.name,
            "claim": scenario.claim,
            "databases": list(scenario.databases),
            "invariants": list(scenario.invariants),
            "control": dict(scenario.control),
        }
        for scenario in SCENARIOS.values()
    ]


def systems() -> Rows:
    """Every system known by name: where it runs, and what must catch it where it is wrong (`right` is null where nobody knows)."""
    rows = []
    for name, found in BUILTIN.items():
        subject = next(iter(found.values()))
        rows.append(
            {
                "name": name,
                "databases": list(found),
                "right": not subject.caught_by,
                "caught_by": dict(subject.caught_by or {}),
                "story": subject.story,
            }
        )
    for name, queue in QUEUES.items():
        there = f"version {queue.version}" if not queue.missing else "not installed"
        told: dict[str, Any] = {"databases": list(queue.databases), "right": None, "caught_by": {}}
        rows.append({"name": name, **told, "version": queue.version or None, "story": f"A released package, {there}."})
    return rows


def invariants() -> Rows:
    """Every invariant: its claim, and whether a row is a violation or a warning."""
    return [
        {"name": found.name, "severity": found.severity, "claim": found.claim, "row": found.row}
        for found in map(judging.load, judging.NAMES)
    ]


def defects() -> Rows:
    """The zoo: every defect, where it was seen, and what must catch it."""
    return [
        {
            "name": d.name,
            "bug": d.bug,
            "seen_in": d.seen_in,
            "scenario": next(iter(d.caught_by)),
            "caught_by": next(iter(d.caught_by.values())),
            "in_every_scenario": dict(d.caught_by),
        }
        for d in DEFECTS.values()
    ]


def faults() -> Rows:
    """Every fault that can be planned: what happens, and what a history calls it."""
    return [{"name": fault.name, "story": fault.story, "kind": fault.kind} for fault in FAULTS.values()]


TABLES: Final[Mapping[str, Callable[[], Rows]]] = {
    "scenarios": scenarios,
    "systems": systems,
    "invariants": invariants,
    "defects": defects,
    "faults": faults,
}


def as_text(name: str, rows: Rows) -> str:
    """A table for a terminal: a name a line, and what is to be known of it."""
    width = max((len(row["name"]) for row in rows), default=0)
    lines = [name.upper()]
    for row in rows:
        told = row.get("claim") or row.get("story") or row.get("bug") or ""
        mark = ""
        if row.get("caught_by"):
            caught = row["caught_by"]
            mark = f"  [wrong: {', '.join(dict.fromkeys(caught.values())) if isinstance(caught, dict) else caught}]"
        lines.append(f"  {row['name']:<{width}}  {told}{mark}")
    return "\n".join(lines if rows else [*lines, "  none"])
