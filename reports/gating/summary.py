"""The gate for a code review: a Markdown summary, and GitHub's annotations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reports.gating.escaping import command_data, command_property, markdown, plain
from reports.gating.tiers import Gate, Level
from reports.gating.told import WORDS, sentence, summed_up, tighten

MOST_ROWS: Final = 200  # a step summary may hold 1 MiB
MOST_ANNOTATIONS: Final = 10  # of one kind and step; GitHub shows no more
_KINDS: Final[dict[Level, str]] = {"fail": "error", "inconclusive": "error", "doubt": "warning", "warning": "warning"}


def summary(gate: Gate, bundle: Path, baseline: Path) -> str:
    """A heading with the verdict, a table of the reasons, and what to do where the baseline could ask for more."""
    parts = [f"## contend gate: {gate.verdict}", "", f"{markdown(summed_up(gate))}.", ""]
    if gate.machine:
        parts += [markdown(gate.machine), ""]
    if gate.reasons:
        parts += ["| | tier | about | what happened, what was expected, what to do |", "|---|---|---|---|"]
        for reason in gate.reasons[:MOST_ROWS]:
            cells = (WORDS[reason.level], reason.tier, markdown(reason.about), markdown(sentence(reason)))
            parts.append(f"| {' | '.join(cells)} |")
        if len(gate.reasons) > MOST_ROWS:
            parts.append(f"\n…and {len(gate.reasons) - MOST_ROWS} more.")
        parts.append("")
    if gate.tightens:
        parts += [f"Better than the baseline. To hold on to it: {markdown(tighten(bundle, baseline))}", ""]
    return "\n".join(parts)


def workflow_commands(gate: Gate) -> Iterator[str]:
    """Workflow commands: an error for what blocks, a warning for what does not but should be seen."""
    shown = dict.fromkeys(("error", "warning"), 0)
    for reason in gate.reasons:
        kind = "error" if gate.blocks(reason) else _KINDS.get(reason.level)
        if kind is None or shown[kind] >= MOST_ANNOTATIONS:
            continue
        shown[kind] += 1
        title = command_property(plain(f"contend gate, {reason.tier}: {reason.about}"))
        yield f"::{kind} title={title}::{command_data(sentence(reason))}"
