"""Pass, fail or inconclusive: three verdicts, one merge rule, one function that may emit a pass.

fail > inconclusive > pass. A pass is never the absence of a finding: it is given only when every piece of evidence asked for
is there (DESIGN section 5, after Jepsen's `merge-valid` and its `stats` checker).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

Verdict = Literal["pass", "fail", "inconclusive"]
InvariantState = Literal["holds", "broken", "not applicable", "undecidable", "crashed"]
Severity = Literal["violation", "warning"]

EXIT_STATUS: Final[Mapping[Verdict, int]] = {"pass": 0, "fail": 1, "inconclusive": 2}
CARRIED_THROUGH: Final = "run-carried-through"  # the evidence that is missing where the run itself went wrong
_RANK: Final[Mapping[Verdict, int]] = {"pass": 0, "inconclusive": 1, "fail": 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One violation as data: which invariant, which operations (numbers of the history), and the facts of the row.

    Sentences are made of it in `reports`.
    """

    invariant: str
    operations: tuple[int, ...]
    facts: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one invariant said of one history.

    `count` is the number of violations; `findings` are the first of them. `reason` says why it is not applicable,
    undecidable or crashed, and is empty otherwise.
    """

    invariant: str
    state: InvariantState
    severity: Severity
    count: int = 0
    findings: tuple[Finding, ...] = ()
    reason: str = ""
    schedules: tuple[int, ...] = ()  # those in which it is broken; (0,) where there was but one

    @property
    def violated(self) -> bool:
        """Whether it is broken, and that is more than a warning."""
        return self.state == "broken" and self.severity == "violation"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that must have happened for a pass to mean anything; `remedy` says what to change where it did not."""

    name: str
    present: bool
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Ruling:
    """A verdict and its reasons, the most important first."""

    verdict: Verdict
    reasons: tuple[str, ...] = field(default=())


def rule(judgements: Sequence[Judgement], evidence: Sequence[Evidence]) -> Ruling:
    """Give the verdict on one result. The only place that may say pass.

    Any broken invariant of severity violation fails. Otherwise a crashed or undecidable invariant, missing evidence, no
    invariant at all that could be applied, or no evidence asked for is inconclusive. A broken warning is a reason, not a verdict.
    """
    broken = [j for j in judgements if j.violated]
    if broken:
        return Ruling("fail", tuple(f"{j.invariant}: {j.count} found" for j in broken))
    lacking = sorted(
        (e for e in evidence if not e.present), key=lambda e: e.name != CARRIED_THROUGH
    )  # the cause of most others
    told = [f"{e.reason} {e.remedy}".strip() for e in lacking]
    causes = sum(e.name == CARRIED_THROUGH for e in lacking)
    unjudged = [f"{j.invariant} {j.state}: {j.reason}" for j in judgements if j.state in ("crashed", "undecidable")]
    doubts = [*told[:causes], *unjudged, *told[causes:]]
    if not evidence:
        doubts.append("No evidence was asked for, so a pass would say nothing.")
    if not any(j.state == "holds" for j in judgements):
        doubts.append("No invariant could be applied, so a pass would say nothing.")
    if doubts:
        return Ruling("inconclusive", tuple(doubts))
    return Ruling("pass", tuple(f"{j.invariant} (warning): {j.count} found" for j in judgements if j.state == "broken"))


def merge(verdicts: Iterable[Verdict]) -> Verdict:
    """Give the worst of several verdicts; of none at all, inconclusive, as nothing was shown."""
    return max(verdicts, key=_RANK.__getitem__, default="inconclusive")
