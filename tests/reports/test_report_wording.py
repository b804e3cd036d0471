"""Facts said in words: one sentence for each invariant, numbers that read well, foreign text made harmless."""

from __future__ import annotations

from typing import Any

import pytest
from markupsafe import Markup

from reports import wording

SENTENCES: list[tuple[str, dict[str, Any], str]] = [
    (
        "no-double-claim",
        {
            "job": 7,
            "holder": "w0",
            "taker": "w3",
            "apart_ns": 1_200_000,
            "finished_before": False,
            "operations": [12, 19],
        },
        (
            "w0 and w3 were both handed job 7: w3’s claim completed 1.20 ms after w0’s, "
            "and nothing had released the job in between."
        ),
    ),
    (
        "no-double-claim",
        {
            "job": 7,
            "holder": "w0",
            "taker": "w3",
            "apart_ns": 1_200_000,
            "finished_before": True,
            "operations": [12, 19],
        },
        (
            "w0 and w3 were both handed job 7: w3’s claim completed 1.20 ms after w0’s, "
            "though the job had been finished by then."
        ),
    ),
    (
        "no-double-claim",
        {
            "job": "a",
            "holder": "w0",
            "taker": "w0",
            "apart_ns": 90_000,
            "finished_before": False,
            "operations": [12, 19],
        },
        (
            "w0 was handed job a twice: its second claim completed 90 µs after the first, "
            "and nothing had released the job in between."
        ),
    ),
    (
        "no-double-claim",
        {"job": 7, "holder": "w0", "taker": "w0", "apart_ns": 0, "finished_before": False, "operations": [12]},
        "w0 was handed job 7 more than once by a single claim.",
    ),
    (
        "no-lost-job",
        {"job": 7, "fate": "never handed out", "holder": None, "operations": [1, 80]},
        "Job 7 was enqueued and never handed to anyone, though at the end the queue said it was empty.",
    ),
    (
        "no-lost-job",
        {"job": 7, "fate": "never finished", "holder": "w2", "operations": [1, 5, 80]},
        (
            "Job 7 was handed to w2 and then neither completed nor given back, "
            "though at the end the queue said it was empty."
        ),
    ),
    (
        "no-phantom-claim",
        {"job": 7, "token": 1, "process": "w0", "enqueued_later": False, "operations": [3]},
        "w0 was handed job 7, which nobody had enqueued.",
    ),
    (
        "no-phantom-claim",
        {"job": 7, "process": "w0", "enqueued_as_job": '"7"', "enqueued_later": False, "operations": [3]},
        'w0 was handed job 7, which nobody had enqueued; "7" was, which is another id.',
    ),
    (
        "no-phantom-claim",
        {"job": 7, "process": "w0", "enqueued_later": True, "operations": [3, 4]},
        "w0 was handed job 7 before anybody had begun to enqueue it.",
    ),
    (
        "batch-limit",
        {"process": "w5", "requested": 5, "returned": 51, "operations": [41]},
        "w5 asked for at most 5 jobs and was handed 51.",
    ),
    (
        "no-false-empty",
        {"job": 7, "process": "w2", "waiting_ns": 3_200_000, "operations": [1, 9]},
        "w2 was told that the queue is empty while job 7 was free; it had been waiting for 3.20 ms.",
    ),
    (
        "claim-order",
        {
            "job": 7,
            "priority": 1,
            "better_job": 1234,
            "better_priority": 5,
            "process": "w2",
            "wrong": "a better job was free",
        },
        "w2 was handed job 7, of priority 1, while 1234, of 5, was free.",
    ),
    (
        "claim-order",
        {
            "job": 7,
            "priority": 0,
            "better_job": 5,
            "better_priority": 0,
            "process": "w2",
            "wrong": "a better job was free",
        },
        "w2 was handed job 7 while job 5, enqueued before it, was free.",
    ),
    (
        "claim-order",
        {"job": 7, "priority": 0, "better_job": 5, "process": "w2", "wrong": "the answer is out of order"},
        "w2 was handed job 7 before job 5 in one answer, though the latter comes first.",
    ),
    (
        "terminal-once",
        {"job": 7, "earlier_process": "w0", "process": "w1", "apart_ns": 2_000_000, "operations": [8, 9]},
        "Job 7 was completed by w0 and, 2 ms later, by w1, and both were accepted.",
    ),
    (
        "attempts-counted",
        {"job": 7, "attempt": 1, "expected_at_least": 2, "expected_at_most": 2, "process": "w1", "operations": [9]},
        "w1 was handed job 7 as attempt 1, but it was attempt 2.",
    ),
    (
        "attempts-counted",
        {"job": 7, "attempt": 9, "expected_at_least": 2, "expected_at_most": 3, "process": "w1", "operations": [9]},
        "w1 was handed job 7 as attempt 9, but it was attempt 2 to 3.",
    ),
    (
        "attempts-counted",
        {"job": 7, "attempt": 2, "expected_at_least": 2, "expected_at_most": 3, "process": "w1", "operations": [4, 9]},
        "w1 was handed job 7 as attempt 2, which another claim of the job had been given as well, or one after it.",
    ),
    (
        "fenced-completion",
        {"job": 7, "token": 1, "process": "w0", "later_process": "w3", "later_token": 2, "operations": [9, 12]},
        "w0’s completion of job 7 was accepted although w3 had been handed the job since.",
    ),
    (
        "no-swallowed-error",
        {"kind": "complete", "process": "w0", "errors": 1, "error_code": "SQLITE_BUSY", "statement": "COMMIT"},
        "w0’s complete said ok although the last word of the database in it was SQLITE_BUSY, on COMMIT.",
    ),
    (
        "lock-errors",
        {"kind": "claim", "process": "w1", "error_code": "SQLITE_BUSY", "errors": 15357, "claims_with_jobs": 200},
        "w1’s claim ended with SQLITE_BUSY, one of 15,357 such errors; 200 claims got jobs.",
    ),
    (
        "every-worker-served",
        {"process": "w5", "claims": 12, "jobs_of_all": 2000},
        "w5 got none of the 2,000 jobs that were handed out.",
    ),
    (
        "statement-budget",
        {"statements_per_job": 1.0, "statements_per_claim": 1.0},
        "Each further job in a batch adds 1 to its statements: about 1 is N+1, about 0 is batched.",
    ),
    (
        "witness-agrees",
        {"process": "w0", "kind": "claim", "jobs": 3, "statements": 0, "contradiction": "no write"},
        "w0 said that its claim had succeeded, but the database had seen no write that could have done it.",
    ),
    (
        "witness-agrees",
        {"process": "w9", "kind": None, "statements": 44, "contradiction": "unknown process"},
        "The database saw 44 statements of w9, a process that took no part in the run.",
    ),
    (
        "worker-guard",
        {"process": "w0", "other_process": "w3", "together_ns": 4_000_000, "operations": [1, 2]},
        "w0 and w3 were both admitted to a single-worker file, for 4 ms at the same time.",
    ),
]


@pytest.mark.parametrize(("invariant", "facts", "expected"), SENTENCES)
def test_each_invariant_has_its_sentence(invariant: str, facts: dict[str, Any], expected: str) -> None:
    assert wording.tell(invariant, facts).sentence.striptags() == expected


def test_every_invariant_that_has_a_sentence_is_tested_here() -> None:
    assert {invariant for invariant, _, _ in SENTENCES} == set(wording._SENTENCES)


def test_an_invariant_of_the_user_is_told_by_its_facts() -> None:
    told = wording.tell("no-mondays", {"job": 7, "waiting_ns": 2e6, "operations": [12, 19]})
    assert told.sentence.striptags() == "no-mondays does not hold: job 7, waiting 2 ms, operations 12, 19."
    assert told.rest == {}


@pytest.mark.parametrize("invariant", sorted(wording._SENTENCES))
def test_without_the_facts_it_needs_a_sentence_falls_back(invariant: str) -> None:
    """Older bundles, or a query that was changed, must never break the page or leave a hole in a sentence."""
    assert (
        wording.tell(invariant, {"operations": [5]}).sentence.striptags() == f"{invariant} does not hold: operation 5."
    )
    assert wording.tell(invariant, {}).sentence.striptags() == f"{invariant} does not hold: no facts were kept."


def test_facts_the_sentence_left_out_are_given_beside_it() -> None:
    facts = {"job": 7, "token": 1, "process": "w0", "later_process": "w3", "later_token": 2, "odd": False}
    assert wording.tell("fenced-completion", facts).rest == {
        "token": Markup("<bdi>1</bdi>"),
        "later_token": Markup("<bdi>2</bdi>"),
    }


def test_braces_in_foreign_text_are_text() -> None:
    facts = {"process": "{job}{0}", "requested": 1, "returned": 2}
    assert (
        wording.tell("batch-limit", facts).sentence.striptags() == "{job}{0} asked for at most 1 jobs and was handed 2."
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),
        (0, "0"),
        (0.0, "0"),
        (7.0, "7"),
        (0.000001, "0.00"),
        (0.0042, "0.0042"),
        (0.417, "0.42"),
        (1.2, "1.20"),
        (12.34, "12.3"),
        (99.96, "100"),
        (123.4, "123"),
        (1890.4, "1,890"),
        (155357, "155,357"),
        (-3.14159, "-3.14"),
    ],
)
def test_numbers_read_well(value: float | None, expected: str) -> None:
    assert wording.number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0042, "4.20 µs"), (0.5, "0.50 ms"), (12.0, "12 ms"), (2029.0, "2.03 s"), (-0.2, "-0.20 ms")],
)
def test_durations_have_a_unit_that_fits(value: float, expected: str) -> None:
    assert wording.milliseconds(value) == expected


def test_foreign_text_is_clipped_and_its_control_characters_are_spelled_out() -> None:
    assert wording.plain("a\u202eb\x00\ud800") == "a⟨U+202E⟩b⟨U+0000⟩⟨U+D800⟩"
    assert wording.plain("x" * 1000) == "x" * 300 + "…"
    assert wording.plain({"a": [1, None, True]}) == '{"a": [1, null, true]}'
