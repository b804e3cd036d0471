"""Facts said in words: one sentence for each invariant, numbers that read well, foreign text made harmless."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from markupsafe import Markup
from synthetic_bundle import result, write

from harness.protocols import Semantics
from reports import wording
from reports.saved import load

INVARIANTS = Path(__file__).parents[2] / "harness" / "invariants"
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
        "batch-limit",
        {"process": "w1", "most_running": 1, "held": 2, "operations": [3, 4]},
        "w1 was handed a job while, with it, 2 were in workers’ hands; 1 may be running at once.",
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
        "single-owner",
        {"job": 7, "owner": "w0", "taker": "w1", "left_ns": 2_000_000_000, "operations": [8, 9]},
        "w1 was handed job 7 although w0 owned it: the lease had 2 s to run, and nobody had ended it.",
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
        "attempts-counted",
        {
            "job": 7,
            "attempt": 2,
            "expected_at_least": 2,
            "expected_at_most": 2,
            "allowed": 1,
            "process": "w1",
            "operations": [4, 9],
        },
        "w1 was handed job 7 as attempt 2, though it may have 1 at most.",
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
    (
        "write-budget",
        {"process": "w2", "jobs": 2, "writes": 90, "writes_per_job": 45.0, "operations": [12, 13]},
        "w2 wrote 90 times to tell the progress of 2 jobs: 45 a job, and 10 is the most that is allowed.",
    ),
    (
        "write-budget",
        {"process": "w2", "jobs": 1, "writes": 44, "writes_per_job": 44.0, "operations": [12]},
        "w2 wrote 44 times to tell the progress of one job, and 10 is the most that is allowed.",
    ),
    (
        "progress-fresh",
        {
            "job": 7,
            "process": "screen",
            "worker": "w1",
            "told": 0.45,
            "shown": 0.225,
            "behind_ns": 1_704_000_000,
            "allowed_ns": 1_030_000_000,
            "operations": [60, 88],
        },
        "screen was shown job 7 at 0.23 although w1 had told 0.45, 1.70 s earlier; a change may take 1.03 s at most.",
    ),
    (
        "progress-fresh",
        {
            "job": 7,
            "process": "screen",
            "worker": "w1",
            "told": 0.45,
            "shown": None,
            "behind_ns": 1_704_000_000,
            "allowed_ns": 1_030_000_000,
            "operations": [60, 88],
        },
        "screen was shown nothing of job 7 although w1 had told 0.45, 1.70 s earlier; a change may take 1.03 s at most.",
    ),
    (
        "progress-monotonic",
        {
            "job": 7,
            "process": "screen",
            "before": 0.5175,
            "after": 0.4725,
            "wrong": "went back",
            "operations": [60, 88],
        },
        "screen was shown job 7 at 0.47 after it had been shown at 0.52: its progress went back.",
    ),
    (
        "progress-monotonic",
        {
            "job": 7,
            "process": "quiet",
            "before": 0.99,
            "after": 1.0,
            "wrong": "changed after its end",
            "operations": [60, 88],
        },
        "Job 7 was finished and shown at 0.99; later quiet was shown it at 1.",
    ),
    (
        "progress-monotonic",
        {
            "job": 7,
            "process": "quiet",
            "before": None,
            "after": 0.5,
            "wrong": "changed after its end",
            "operations": [60, 88],
        },
        "Job 7 was finished and shown without progress; later quiet was shown it at 0.50.",
    ),
    (
        "progress-final",
        {"job": 7, "worker": "w1", "kind": "complete", "told": 0.99, "shown": 0.9, "operations": [60, 61, 88]},
        "w1 told 0.99 of job 7 and then completed it, yet whoever read it after that was shown 0.90.",
    ),
    (
        "progress-final",
        {"job": 7, "worker": "w1", "kind": "fail", "told": 0.99, "shown": 0.9, "operations": [60, 61, 88]},
        "w1 told 0.99 of job 7 and then gave it back, yet whoever read it after that was shown 0.90.",
    ),
    (
        "progress-final",
        {"job": 7, "worker": "w1", "kind": "close", "told": 0.99, "shown": None, "operations": [60, 61, 88]},
        "w1 told 0.99 of job 7 and then closed the queue, yet whoever read it after that was shown no progress.",
    ),
    (
        "pool-exhausted",
        {"process": "w0", "pool": 1, "size": 2, "waited_ns": 50_220_036, "operations": [73]},
        "w0 asked a pool of 2 for a connection, waited for 50.2 ms and was given none.",
    ),
    (
        "pool-exhausted",
        {"process": "w0", "pool": 1, "size": 2, "waited_ns": 0, "operations": [73]},
        "w0 asked a pool of 2 for a connection and was refused at once.",
    ),
    (
        "delete-exact",
        {
            "process": "w0",
            "job": None,
            "wrong": "the count is wrong",
            "requested": 5,
            "expected": 2,
            "deleted": 5,
            "error": None,
            "operations": [40],
        },
        "w0 asked to delete 5, of which 2 could be deleted; the answer was 5.",
    ),
    (
        "delete-exact",
        {
            "process": "w0",
            "job": None,
            "wrong": "it was refused",
            "requested": 40_000,
            "expected": None,
            "deleted": None,
            "error": "sqlite3.OperationalError: too many SQL variables",
            "operations": [40],
        },
        "w0 asked to delete 40,000 and was refused: sqlite3.OperationalError: too many SQL variables.",
    ),
    (
        "delete-exact",
        {
            "process": "victim",
            "job": None,
            "wrong": "half of it was deleted",
            "requested": 20_000,
            "expected": 0,
            "deleted": 411,
            "error": None,
            "operations": [40, 44],
        },
        "victim was cut off while it deleted 20,000, and 411 of them are gone: neither all nor none.",
    ),
    (
        "delete-exact",
        {
            "process": None,
            "job": 7,
            "wrong": "nobody deleted it, and it is gone",
            "requested": None,
            "expected": None,
            "deleted": None,
            "error": None,
            "operations": [44],
        },
        "Job 7 is gone, and nobody had asked to delete it.",
    ),
    (
        "delete-exact",
        {
            "process": None,
            "job": 7,
            "wrong": "it was deleted, and is still there",
            "requested": None,
            "expected": None,
            "deleted": None,
            "error": None,
            "operations": [44],
        },
        "Job 7 is still there, though it was said to be deleted.",
    ),
    (
        "delete-one-transaction",
        {
            "process": "w0",
            "kind": "delete_many",
            "requested": 10,
            "deleted": 10,
            "transactions": 10,
            "acquisitions": 10,
            "operations": [7],
        },
        "w0’s delete_many of 10 took 10 transactions and 10 connections of the pool instead of one of each.",
    ),
    (
        "delete-one-transaction",
        {
            "process": "cleaner",
            "kind": "wipe_all",
            "requested": None,
            "deleted": 3,
            "transactions": 21,
            "acquisitions": 0,
            "operations": [49],
        },
        "cleaner’s wipe_all of 3 took 21 transactions instead of one.",
    ),
    (
        "delete-one-transaction",
        {
            "process": "cleaner",
            "kind": "wipe_all",
            "requested": None,
            "deleted": None,
            "transactions": 1,
            "acquisitions": 4,
            "operations": [49],
        },
        "cleaner’s wipe_all took 4 connections of the pool instead of one.",
    ),
    (
        "delete-one-transaction",
        {
            "process": "w0",
            "kind": "delete_many",
            "requested": 0,
            "deleted": 0,
            "transactions": 0,
            "acquisitions": 1,
            "operations": [7],
        },
        "w0 was given nothing to delete, and troubled the database or its pool all the same.",
    ),
    (
        "delete-spares-running",
        {
            "job": 13,
            "process": "w3",
            "reader": "reader4",
            "wrong": "not listed while it was held",
            "operations": [33, 62],
        },
        "w3 held job 13, but reader4 was shown a status without it meanwhile.",
    ),
    (
        "delete-spares-running",
        {"job": 13, "process": "w3", "reader": None, "wrong": "complete was refused", "operations": [33, 62, 73]},
        "w3 held job 13 and could not complete it, though nobody else had been handed it: something that deletes was at work meanwhile.",
    ),
    (
        "submit-atomic",
        {
            "process": "reader0",
            "run": "2",
            "wrong": "it had some of its jobs only",
            "jobs": 22,
            "submitted": 50,
            "times": 6,
            "operations": [3, 4],
        },
        "reader0 was shown run 2 with 22 jobs; it was submitted with 50.",
    ),
    (
        "submit-atomic",
        {
            "process": "reader0",
            "run": "2",
            "wrong": "its jobs were listed without it",
            "jobs": 22,
            "submitted": None,
            "times": 6,
            "operations": [3, 4],
        },
        "reader0 was shown jobs of run 2, but not the run.",
    ),
    (
        "submit-atomic",
        {
            "process": "reader0",
            "run": "2",
            "wrong": "it was not there",
            "jobs": None,
            "submitted": 50,
            "times": 1,
            "operations": [3, 4],
        },
        "reader0 was told that there is no run 2, though it had been submitted by then.",
    ),
    (
        "reads-answered",
        {
            "process": "reader3",
            "kind": "status_all",
            "outcome": "info",
            "error_class": "sqlite3.OperationalError",
            "error_code": "SQLITE_BUSY",
            "error_message": "database is locked",
            "operations": [9],
        },
        "reader3’s status_all got no answer, but sqlite3.OperationalError: database is locked.",
    ),
    (
        "reads-answered",
        {
            "process": "reader3",
            "kind": "status_all",
            "outcome": "info",
            "error_class": "TimeoutError",
            "error_code": None,
            "error_message": None,
            "operations": [9],
        },
        "reader3’s status_all got no answer, but TimeoutError.",
    ),
    (
        "guard-released",
        {"process": "w4", "after_death_ns": 1_250_000_000, "operations": [30]},
        "w4 was refused 1.25 s after the last holder of the file had died, and nobody was admitted since.",
    ),
]


@pytest.mark.parametrize(("invariant", "facts", "expected"), SENTENCES)
def test_each_invariant_has_its_sentence(invariant: str, facts: dict[str, Any], expected: str) -> None:
    assert wording.tell(invariant, facts).sentence.striptags() == expected


def test_every_invariant_that_has_a_sentence_is_tested_here() -> None:
    assert {invariant for invariant, _, _ in SENTENCES} == set(wording._SENTENCES)


@pytest.mark.parametrize(("invariant", "facts"), [(invariant, facts) for invariant, facts, _ in SENTENCES])
def test_sentences_are_made_of_what_their_query_returns(invariant: str, facts: dict[str, Any]) -> None:
    """A column that was renamed in the query would silently turn its sentence into a list of facts."""
    query = (INVARIANTS / f"{invariant.replace('-', '_')}.sql").read_text(encoding="utf-8")
    columns = set(re.findall(r"\w+", query))
    assert facts.keys() <= columns
    if "wrong" in facts:
        assert f"'{facts['wrong']}'" in query


@pytest.mark.parametrize("invariant", ["progress-monotonic", "progress-final", "delete-exact", "submit-atomic"])
def test_a_violation_of_another_kind_than_those_known_is_told_by_its_facts(invariant: str) -> None:
    facts = {"process": "w0", "worker": "w0", "job": 7, "told": 1, "shown": 0, "kind": "explode", "wrong": "it burst"}
    told = wording.tell(invariant, {**facts, "before": 0, "after": 1, "run": "2"})
    assert told.sentence.striptags().startswith(f"{invariant} does not hold: process w0")
    assert "wrong it burst" in told.sentence.striptags()


def test_what_a_sentence_was_chosen_by_is_not_said_again_beside_it() -> None:
    facts = {"process": "reader0", "run": "2", "wrong": "it had some of its jobs only", "jobs": 2, "submitted": 5}
    assert wording.tell("submit-atomic", {**facts, "times": 6}).rest == {"times": Markup("6")}


@pytest.mark.parametrize(
    ("covered", "said"),
    [
        (
            {
                "operations": 479,
                "workers": 1,
                "jobs": 10,
                "scans": 10,
                "reports": 440,
                "reads": 20,
                "acquisitions": 471,
            },
            "1 worker, 10 jobs, 10 deep scans, 440 changes, 20 reads, 471 acquisitions, 479 operations",
        ),
        (
            {"scans": 1, "reports": 1, "reads": 1, "deletions": 1, "submits": 1, "acquisitions": 1, "kills": 1},
            "1 deep scan, 1 change, 1 read, 1 deletion, 1 submit, 1 acquisition, 1 kill",
        ),
        ({"faults": 12, "kills": 1, "operations": 1430}, "1 kill, 12 faults, 1,430 operations"),
        ({"faults": 1}, "1 fault"),
        (
            {"kills": 2, "submits": 36, "deletions": 21, "opens": 22, "statements": 9, "elephants": 3, "claims": 0},
            "22 openings, 21 deletions, 36 submits, 2 kills, 9 statements, 3 elephants",
        ),
        ({"elephants": 1, "control": "caught"}, "1 elephant, control caught"),
    ],
)
def test_coverage_is_a_phrase_in_the_singular_and_the_plural(
    tmp_path: Path, covered: dict[str, Any], said: str
) -> None:
    (kept,) = load(write(tmp_path / "b", [result("mine.py:Queue", coverage=covered)])).results
    assert wording.coverage(kept) == said


@pytest.mark.parametrize(
    ("promised", "said"),
    [
        ("exactly-once-claim", "each job is claimed exactly once while its lease holds"),
        ("at-least-once", "each job is delivered at least once, so it may be handed out again at any time"),
        ("at-most-once", "each job is delivered at most once, so it may be lost with its worker"),
        ("<b>never</b>", ""),
        (None, ""),
    ],
)
def test_what_a_system_promises_is_a_sentence_or_nothing(tmp_path: Path, promised: str | None, said: str) -> None:
    kept = result("mine.py:Queue") | ({} if promised is None else {"semantics": promised})
    assert wording.semantics(load(write(tmp_path / "b", [kept])).results[0]) == said


def test_every_semantics_a_system_may_declare_has_its_sentence() -> None:
    assert set(wording._SEMANTICS) == set(get_args(Semantics))


@pytest.mark.parametrize(
    ("covered", "said"),
    [
        ({"schedules": 9, "exhausted": True, "saved": 9}, "all 9 schedules, which stand for 18"),
        ({"schedules": 1, "exhausted": True, "saved": 1}, "the only schedule, which stands for 2"),
        ({"schedules": 70, "exhausted": True, "saved": 0}, "all 70 schedules"),
        ({"schedules": 70, "exhausted": True, "workers": 2}, "all 70 schedules, 2 workers"),
        ({"schedules": 1, "exhausted": False}, "1 schedule, not all"),
        ({"schedules": 3, "exhausted": False, "preemptions": 0}, "3 schedules, not all: all without preemption"),
        (
            {"schedules": 1204, "exhausted": False, "preemptions": 2, "depth": 3, "found_with": 0.8799, "workers": 4},
            (
                "1,204 schedules, not all: all with at most 2 preemptions; "
                "what takes 3 steps in a certain order was found with probability ≥ 0.879; 4 workers"
            ),
        ),
        ({"schedules": "many", "exhausted": "yes", "preemptions": "few", "operations": 3}, "3 operations"),
        (
            {"schedules": 4, "exhausted": False, "preemptions": "few", "depth": [3], "found_with": 0.5},
            "4 schedules, not all",
        ),
    ],
)
def test_coverage_of_an_exploration_says_of_how_many_schedules(
    tmp_path: Path, covered: dict[str, Any], said: str
) -> None:
    (kept,) = load(write(tmp_path / "b", [result("mine.py:Queue", mode="explore", coverage=covered)])).results
    assert wording.coverage(kept) == said


@pytest.mark.parametrize(
    ("probability", "said"),
    [(0.0341336, "0.0341"), (0.5, "0.5"), (0.0, "0.0"), (0.99951, "0.999"), (1.0, "0.999"), (0.00001239, "0.0000123")],
)
def test_a_bound_from_below_is_never_rounded_up(probability: float, said: str) -> None:
    assert wording.at_least(probability) == said
    assert float(said) <= probability


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
