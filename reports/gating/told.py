"""The gate's reasons as lines for a terminal and as one JSON document."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from harness.verdict import EXIT_STATUS
from reports.gating.escaping import plain
from reports.gating.tiers import Gate, Level, Reason

WORDS: Final[dict[Level, str]] = {
    "fail": "FAIL",
    "inconclusive": "INCONCLUSIVE",
    "doubt": "doubt",
    "warning": "warning",
    "better": "better",
    "note": "note",
}


def sentence(reason: Reason) -> str:
    """A reason on one line, without what it is about: what happened; what was expected; what to do."""
    expected = f"; expected {reason.expected}" if reason.expected else ""
    return plain(f"{reason.happened.rstrip('.')}{expected}. {reason.remedy}".strip())


def lines(gate: Gate, bundle: Path, baseline: Path) -> list[str]:
    """Every reason on a line of its own, then the machine if it is another one, then the verdict with what was compared."""
    told = [
        f"{WORDS[reason.level]:<12} {reason.tier:<11} {plain(reason.about)}: {sentence(reason)}"
        for reason in gate.reasons
    ]
    skipped = [check for check in gate.checks if check.skipped and not check.reasons]
    told += [f"{'not compared':<12} {check.tier:<11} {plain(check.about)}: {plain(check.skipped)}" for check in skipped]
    if gate.machine:
        told.append(plain(gate.machine))
    if gate.tightens:
        told.append(f"Better than the baseline. To hold on to it: {plain(tighten(bundle, baseline))}")
    return [*told, f"{gate.verdict.upper()}: {summed_up(gate)}."]


def summed_up(gate: Gate) -> str:
    """How much was compared and what came of it, in a few words."""
    tiers = Counter(check.tier for check in gate.checks if not check.skipped)
    levels = Counter(reason.level for reason in gate.reasons)
    compared = ", ".join(f"{count} of {tier}" for tier, count in tiers.items()) or "nothing"
    found = ", ".join(f"{levels[level]} {WORDS[level]}" for level in WORDS if levels[level])
    return f"compared {compared}{f'; {found}' if found else '; all as in the baseline'}"


def tighten(bundle: Path, baseline: Path) -> str:
    """The command that makes this bundle the baseline."""
    return shlex.join(["contend", "baseline", str(bundle), "--out", str(baseline)])


def document(gate: Gate, bundle: Path, baseline: Path) -> dict[str, Any]:
    """The document of `contend gate --json`."""
    return {
        "schema": 1,
        "verdict": gate.verdict,
        "exit_status": EXIT_STATUS[gate.verdict],
        "strict": gate.strict,
        "bundle": str(bundle),
        "baseline": str(baseline),
        "machine": gate.machine or "the same",
        "reasons": [{**asdict(reason), "blocks": gate.blocks(reason)} for reason in gate.reasons],
        "checks": [
            {"tier": check.tier, "about": check.about, "reasons": len(check.reasons), "skipped": check.skipped}
            for check in gate.checks
        ],
        "tighten": tighten(bundle, baseline) if gate.tightens else None,
    }
