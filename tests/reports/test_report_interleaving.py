"""A schedule as a table: every statement in the column of its worker and the row of its step, the contradiction where it came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from synthetic_bundle import READ, WRITE, ended, exploration, explored, explored_double_claim, step, write
from test_page import Page, page_of

from reports.interleaving import MOST_AFTERWARDS, MOST_STEPS, Breaking, lay_out
from reports.outcomes import MOST_OUTCOMES, outcomes
from reports.page import write_page
from reports.saved import Operation, Result, load


def read(folder: Path, document: dict[str, Any]) -> Result:
    (kept,) = load(write(folder, [document])).results
    return kept


def broken_by(kept: Result, number: int) -> Breaking | None:
    (schedule,) = kept.schedules
    laid = lay_out(schedule, kept.operations[number])
    assert laid is not None
    return laid.breaking


def claim(process: str, jobs: tuple[object, ...], kind: str = "claim", outcome: str = "ok") -> Operation:
    return Operation(1, process, kind, 1.0, 2.0, outcome, 2, len(jobs), jobs, "")


# --- laying out ----------------------------------------------------------------------------------------------------


def test_what_a_worker_did_stands_in_its_column_in_the_row_of_the_step(tmp_path: Path) -> None:
    kept = read(tmp_path / "b", explored_double_claim("mine.py:Queue"))
    laid = lay_out(kept.schedules[0], None)
    assert laid is not None
    assert laid.workers == ("w0", "w1")
    cells = [[cell and (cell.begins, [said for said, _ in cell.ended]) for cell in row.cells] for row in laid.rows]
    assert cells == [
        [("claim", [READ]), None],
        [None, ("claim", [READ])],
        [(WRITE, []), None],
        [("", [WRITE]), ("", [WRITE])],
        [("", ["COMMIT"]), None],
        [None, ("complete", ["2: DELETE FROM jobs"])],
    ]
    assert [row.number for row in laid.rows] == [1, 2, 3, 4, 5, 6]
    assert [row.forced for row in laid.rows] == [False] * 5 + [True]
    waits, went_on = laid.rows[2].cells[0], laid.rows[3].cells
    assert waits is not None
    assert (waits.blocked_by, waits.operation, waits.waited) == (("w1",), False, False)
    assert [cell and cell.waited for cell in went_on] == [True, False]
    assert [len(own) for own in laid.answers] == [1, 2]
    assert [(process, answer.jobs) for process, answer in laid.afterwards] == [("quiet", (2, 5)), ("quiet", ())]


def test_a_statement_is_shown_with_its_values_and_known_by_its_shape(tmp_path: Path) -> None:
    sql = "UPDATE jobs\n  SET status = 'done' WHERE id = 4"
    steps = [step(0, "claim", ended(0, READ)), step(0, WRITE, ended(0, WRITE, sql=sql)), step(1, WRITE, ended(1, ""))]
    kept = read(tmp_path / "b", explored_double_claim("q", schedule={"steps": steps}))
    laid = lay_out(kept.schedules[0], None)
    assert laid is not None
    cells = [(cell.begins, cell.ended) for row in laid.rows for cell in row.cells if cell]
    assert cells == [
        ("claim", ((READ, ""),)),
        ("", (("UPDATE jobs SET status = 'done' WHERE id = 4", ""),)),
        (WRITE, (("write", ""),)),
    ]


def test_what_is_answered_afterwards_is_cut_and_counted(tmp_path: Path) -> None:
    answers = [[], [], *[[["claim", "ok", [n], None, ""]] for n in range(MOST_AFTERWARDS + 3)]]
    text = page_of(tmp_path / "b", [explored_double_claim("q", schedule={"answers": answers})]).text
    assert f"claim → job {MOST_AFTERWARDS - 1} and 3 more This schedule" in text


def test_a_long_schedule_is_cut_and_what_is_cut_is_counted(tmp_path: Path) -> None:
    steps = [step(0, "claim", ended(0, READ)), *[step(0, WRITE, ended(0, WRITE))] * (MOST_STEPS + 6)]
    document = explored_double_claim("mine.py:Queue", schedule={"steps": steps})
    laid = lay_out(read(tmp_path / "b", document).schedules[0], None)
    assert laid is not None
    assert (len(laid.rows), laid.left_out) == (MOST_STEPS, 7)
    assert "… 7 more, which are in the run" in page_of(tmp_path / "page", [document]).text


# --- the contradiction ---------------------------------------------------------------------------------------------


def test_the_contradiction_is_after_the_last_statement_of_the_answer_that_broke_it(tmp_path: Path) -> None:
    kept = read(tmp_path / "b", explored_double_claim("mine.py:Queue"))
    assert broken_by(kept, 66) == Breaking(worker=0, answer=0, step=5)
    assert broken_by(kept, 67) == Breaking(worker=1, answer=0, step=4)  # before its next operation begins


def test_what_ends_in_the_step_of_another_is_the_end_of_an_operation_too(tmp_path: Path) -> None:
    steps = [step(0, "claim", blocked_by=["w1"]), step(1, "claim", ended(1, WRITE), ended(0, WRITE))]
    answers = [[["claim", "ok", [4, 3], None, ""]]] * 2
    kept = read(tmp_path / "b", explored_double_claim("q", schedule={"steps": steps, "answers": answers}))
    assert broken_by(kept, 66) == Breaking(worker=0, answer=0, step=2)


def test_who_is_refused_what_it_waited_for_begins_nothing(tmp_path: Path) -> None:
    steps = [
        step(0, "claim", blocked_by=["w1"]),
        step(1, "claim", blocked_by=["w0"]),
        step(0, "claim", ended(0, WRITE, "40P01"), forced=True),
    ]
    answers = [[["claim", "ok", [4, 3], None, ""]]] * 2
    kept = read(tmp_path / "b", explored_double_claim("q", schedule={"steps": steps, "answers": answers}))
    assert broken_by(kept, 66) == Breaking(worker=0, answer=0, step=3)


@pytest.mark.parametrize(
    "operation",
    [
        claim("quiet", (4, 3)),
        claim("w0", (4, 5)),
        claim("w0", (4, 3), kind="complete"),
        claim("w0", (4, 3), outcome="fail"),
    ],
)
def test_an_answer_that_is_not_in_the_schedule_is_marked_nowhere(tmp_path: Path, operation: Operation) -> None:
    laid = lay_out(read(tmp_path / "b", explored_double_claim("q")).schedules[0], operation)
    assert laid is not None
    assert laid.breaking is None


def test_an_answer_that_was_given_afterwards_is_marked_there(tmp_path: Path) -> None:
    late = [["complete", "ok", [4, 3], None, ""]]
    answers = [[["claim", "ok", [4, 3], None, ""]], [["claim", "ok", [4, 3], None, ""]], late, late, late]
    document = explored_double_claim("q", schedule={"answers": answers, "afterwards": ["w0", "w1", "quiet"]})
    kept = read(tmp_path / "b", document)
    for place, process in enumerate(("w0", "w1", "quiet")):
        laid = lay_out(kept.schedules[0], claim(process, (4, 3), kind="complete"))
        assert laid is not None
        assert laid.breaking == Breaking(worker=None, answer=place, step=None)
    document["operations"][0].update(kind="complete")
    text = page_of(tmp_path / "page", [document], "fail").text
    assert "afterwards w0 complete → jobs 4, 3 ✗ contradiction w1 complete → jobs 4, 3 quiet complete" in text
    del document["series"]["schedules"][0]["afterwards"]  # as an older contend says it
    assert "✗ contradiction" not in page_of(tmp_path / "old", [document], "fail").text.partition("afterwards")[2][:90]


def test_a_page_says_where_the_spec_is_or_why_there_is_none(tmp_path: Path) -> None:
    there = page_of(tmp_path / "a", [explored_double_claim("q", schedule={"spec": "runs/x/no-double-claim.spec"})]).text
    assert "without the system, for PostgreSQL’s isolationtester, are in runs/x/no-double-claim.spec" in there
    missing = page_of(tmp_path / "b", [explored_double_claim("q", schedule={"no_spec": "COPY sends its rows."})]).text
    assert "no spec of it for PostgreSQL’s isolationtester. COPY sends its rows." in missing


def test_an_answer_given_twice_is_not_guessed_at(tmp_path: Path) -> None:
    steps = [step(0, "claim", ended(0, READ)), step(0, "claim", ended(0, READ)), step(1, "claim", ended(1, READ))]
    answer = ["claim", "ok", [4, 3], None, ""]
    kept = read(
        tmp_path / "b", explored_double_claim("q", schedule={"steps": steps, "answers": [[answer, answer], [answer]]})
    )
    assert broken_by(kept, 66) is None
    assert broken_by(kept, 67) == Breaking(worker=1, answer=0, step=3)


def test_operations_whose_begin_cannot_be_seen_are_marked_nowhere(tmp_path: Path) -> None:
    steps = [step(0, WRITE, ended(0, WRITE)), step(1, "claim", ended(1, READ))]
    assert broken_by(read(tmp_path / "b", explored_double_claim("q", schedule={"steps": steps})), 66) is None


# --- on the page ---------------------------------------------------------------------------------------------------


def test_a_finding_is_shown_in_its_schedule_and_not_by_the_clock(tmp_path: Path) -> None:
    page = page_of(tmp_path / "b", [explored_double_claim("mine.py:Queue")], "fail")
    begin = page.text.index("w1 and w0 were both handed job 3")
    found = page.text[begin : page.text.index("What the schedules came to")]
    for words in (
        f"step w0 w1 1 claim {READ}",
        f"3 {WRITE} … blocked by w1",
        f"4 no longer blocked {WRITE} {WRITE} 5 COMMIT ✗ contradiction 6",
        "6 nobody could go on complete 2: DELETE FROM jobs → SQLITE_BUSY",
        "answers claim → jobs 4, 3 ✗ contradiction claim → jobs 4, 3 complete failed: database is locked",
        "afterwards quiet claim → jobs 2, 5 quiet complete → nothing This schedule",
        "This schedule went the same 10 of 10 times; 9 schedules break it.",
        "contend replay runs/20261122-194900/results/01-x --finding 1",
    ):
        assert words in found
    assert "milliseconds" not in page.text
    scopes = [attrs.get("scope") for tag, attrs in page.elements if tag == "th"]
    assert set(scopes) <= {"row", "col"}
    assert page.source.count("<mark>") == 2  # the job, in both answers


def test_a_schedule_that_went_otherwise_says_so(tmp_path: Path) -> None:
    otherwise = [{"expected": "w0: COMMIT", "got": "it cannot go on"}]
    shown = explored_double_claim("q", schedule={"same": 7, "schedules": 1, "diverged": otherwise})
    assert (
        "This schedule went the same 7 of 10 times, so something else than the order of statements decides, too; "
        "1 schedule breaks it. Expected was w0: COMMIT, and it cannot go on came."
    ) in page_of(tmp_path / "b", [shown]).text


def test_a_schedule_that_never_came_again_leaves_the_operations_in_time(tmp_path: Path) -> None:
    shown = explored_double_claim("q", schedule={"same": 0, "steps": [], "answers": []})
    text = page_of(tmp_path / "b", [shown]).text
    assert "went the same 0 of 10 times" in text
    assert "7.200 ✗ contradiction" in text


def test_an_exploration_says_nothing_of_time_or_of_who_got_more(tmp_path: Path) -> None:
    page = page_of(tmp_path / "b", [explored("mine.py:Queue")])
    assert not {"costs", "workers"} & set(page.values("id"))
    assert {"costs", "workers"} <= set(page_of(tmp_path / "race", [{**explored("q"), "mode": "race"}]).values("id"))


def test_an_exploration_is_told_from_a_race_of_the_same_queue(tmp_path: Path) -> None:
    race = {**explored_double_claim("mine.py:Queue"), "mode": "race", "series": {}}
    text = page_of(tmp_path / "b", [race, explored_double_claim("mine.py:Queue")], "fail").text
    assert "✗ fail 15 × no-double-claim ✗ fail explored: 15 × no-double-claim" in text
    assert "mine.py:Queue claim-race on SQLite: no-double-claim: 15 found" in text
    assert "mine.py:Queue claim-race on SQLite, explored: no-double-claim: 15 found" in text
    assert "Invariant mine.py:Queue mine.py:Queue explored no-double-claim" in text


def test_the_same_exploration_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = write(tmp_path / "b", [explored_double_claim("mine.py:Queue"), explored("reference:immediate-batch")])
    assert write_page(folder, tmp_path / "one").read_bytes() == write_page(folder, tmp_path / "two").read_bytes()


# --- outcomes ------------------------------------------------------------------------------------------------------


def outcome_section(page: Page) -> str:
    return page.text[page.text.index("What the schedules came to") : page.text.index("What held and what broke")]


def test_outcomes_are_told_with_the_number_of_schedules_that_came_to_each(tmp_path: Path) -> None:
    section = outcome_section(page_of(tmp_path / "b", [explored("mine.py:Queue")]))
    assert "All 10 schedules, which stand for 20." in section
    assert (
        "schedules one worker another 7 claim → jobs 4, 3 claim → jobs 4, 3 2 claim → jobs 2, 5 claim → jobs 4, 3 "
        "1 claim → nothing claim → jobs 4, 3"
    ) in section
    assert "at random" not in section
    assert "more schedule" not in section
    assert "there are without reduction 20" in section
    assert "until the first violation was known 357 ms" in section


def test_what_the_table_of_outcomes_leaves_out_is_counted(tmp_path: Path) -> None:
    many = [{"answers": [[["claim", "ok", [n], None, ""]]], "schedules": 2} for n in range(MOST_OUTCOMES + 3)]
    sample = [{"depth": 2, "schedules": 80, "found_with": 0.5936}, {"depth": 3, "schedules": 6, "found_with": 0.0341}]
    otherwise = [{"schedule": 3, "expected": "w0: claim", "got": "w0: COMMIT"}]
    more = exploration(schedules=115, waited=40, outcomes=many, random=sample, diverged=otherwise, divergences=1204)
    document = explored("mine.py:Queue", series={"exploration": [more]})
    (laid,) = outcomes([read(tmp_path / "b", document)])
    assert (len(laid.shown), laid.rest, laid.random, laid.columns) == (MOST_OUTCOMES, 115 - 2 * MOST_OUTCOMES, 86, 1)
    section = outcome_section(page_of(tmp_path / "page", [document]))
    assert "91 more schedules came to other outcomes." in section
    assert "The 86 schedules tried at random were judged as well, and are not counted in this table." in section
    assert "1,204 schedules went otherwise when begun again" in section
    assert "Expected was w0: claim, and w0: COMMIT came." in section
    assert "of which a worker had to wait in 40" in section
    assert "random, for 3 steps in order 6, found with ≥ 0.0341" in section


def test_a_race_has_no_outcomes(tmp_path: Path) -> None:
    race = {**explored("q"), "mode": "race", "series": {}}
    page = page_of(tmp_path / "b", [race])
    assert "outcomes" not in page.values("id")
    assert "contend replay" not in page.text
