"""The verdict: one merge rule, and one function that may emit a pass."""

from __future__ import annotations

import itertools

import pytest

from harness.verdict import (
    CARRIED_THROUGH,
    EXIT_STATUS,
    Evidence,
    InvariantState,
    Judgement,
    Ruling,
    Severity,
    Verdict,
    merge,
    rule,
)

WORST_FIRST: list[Verdict] = ["fail", "inconclusive", "pass"]
HOLDS = Judgement("no-double-claim", "holds", "violation")
SEEN = Evidence("claims-overlapped", present=True)


@pytest.mark.parametrize(("first", "second"), list(itertools.product(WORST_FIRST, repeat=2)))
def test_merging_two_verdicts_gives_the_worse(first: Verdict, second: Verdict) -> None:
    assert merge([first, second]) == WORST_FIRST[min(WORST_FIRST.index(first), WORST_FIRST.index(second))]


def test_merging_nothing_is_inconclusive() -> None:
    assert merge([]) == "inconclusive"


def test_exit_statuses_are_those_of_the_contract() -> None:
    assert EXIT_STATUS == {"pass": 0, "fail": 1, "inconclusive": 2}


def test_a_held_invariant_with_all_evidence_passes() -> None:
    assert rule([HOLDS], [SEEN]).verdict == "pass"


@pytest.mark.parametrize("state", ["crashed", "undecidable"])
def test_an_invariant_that_could_not_judge_is_never_a_pass(state: InvariantState) -> None:
    assert rule([HOLDS, Judgement("claim-order", state, "violation")], [SEEN]).verdict == "inconclusive"


@pytest.mark.parametrize(("severity", "verdict"), [("violation", "fail"), ("warning", "pass")])
def test_a_broken_violation_fails_and_a_broken_warning_is_only_a_reason(severity: Severity, verdict: Verdict) -> None:
    ruling = rule([HOLDS, Judgement("every-worker-served", "broken", severity, 2)], [SEEN])
    assert ruling.verdict == verdict
    assert "every-worker-served" in ruling.reasons[0]


def test_a_finding_outweighs_missing_evidence() -> None:
    absent = Evidence("claims-overlapped", present=False, reason="Nothing overlapped.")
    assert rule([Judgement("no-double-claim", "broken", "violation", 1)], [absent]).verdict == "fail"


def test_missing_evidence_is_inconclusive_and_says_the_reason_and_the_remedy() -> None:
    absent = Evidence("claims-overlapped", present=False, reason="Nothing overlapped.", remedy="Raise --workers.")
    ruling = rule([HOLDS], [SEEN, absent])
    assert ruling.verdict == "inconclusive"
    assert ruling.reasons == ("Nothing overlapped. Raise --workers.",)


def test_what_ended_a_run_is_its_first_reason_as_all_else_may_follow_from_it() -> None:
    undecidable = Judgement("no-lost-job", "undecidable", "violation", reason="The history has no `claim`.")
    ended = Evidence("run-carried-through", present=False, reason="w0 died.")
    absent = Evidence("claims-overlapped", present=False, reason="Nothing overlapped.")
    reasons = rule([undecidable], [absent, ended]).reasons
    assert reasons[:3] == ("w0 died.", "no-lost-job undecidable: The history has no `claim`.", "Nothing overlapped.")


def test_no_evidence_asked_for_is_no_pass() -> None:
    assert rule([HOLDS], []).verdict == "inconclusive"


def test_a_run_to_which_no_invariant_applies_is_no_pass() -> None:
    assert rule([Judgement("claim-order", "not applicable", "violation")], [SEEN]).verdict == "inconclusive"
    assert rule([], [SEEN]).verdict == "inconclusive"


def test_a_not_applicable_invariant_leaves_a_pass_alone() -> None:
    assert rule([HOLDS, Judgement("claim-order", "not applicable", "violation")], [SEEN]).verdict == "pass"


def test_what_the_run_itself_ran_into_is_said_first_then_what_could_not_be_judged_then_what_is_missing() -> None:
    judgements = [
        HOLDS,
        *(Judgement(name, "crashed", "violation", reason="No such column.") for name in ("first", "second")),
    ]
    evidence = [
        Evidence("jobs-handed-on", present=False, reason="No job was handed on.", remedy="Plan a fault."),
        Evidence(CARRIED_THROUGH, present=False, reason="The server could not be frozen."),
        SEEN,
        Evidence("faults-landed", present=False, reason="No fault was done."),
        Evidence(CARRIED_THROUGH, present=False, reason="w1 had come to its end."),
    ]
    assert rule(judgements, evidence).reasons == (
        "The server could not be frozen.",
        "w1 had come to its end.",
        "first crashed: No such column.",
        "second crashed: No such column.",
        "No job was handed on. Plan a fault.",
        "No fault was done.",
    )


def test_a_run_that_was_not_carried_through_is_no_pass_and_hides_no_finding() -> None:
    stuck = Evidence(CARRIED_THROUGH, present=False, reason="It got stuck.")
    assert rule([HOLDS], [SEEN, stuck]).verdict == "inconclusive"
    broken = Judgement("no-double-claim", "broken", "violation", 2)
    assert rule([broken], [stuck]) == Ruling("fail", ("no-double-claim: 2 found",))
