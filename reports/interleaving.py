"""One schedule laid out as a table: one column per worker, a row for each step, time downward, and the answers at its end.

The contradiction is the step after which the answer came back that cannot be right, or that answer alone where it came afterwards.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from reports import moment
from reports.saved import Answer, Finding, Operation, Result, Schedule, Statement, Step
from reports.wording import crash_words, operation_numbers

MOST_STEPS: Final = 100
MOST_AFTERWARDS: Final = 12


@dataclass(frozen=True, slots=True)
class Cell:
    """What one worker did in one step: the statements that ended, each with its error (empty: none).

    It `begins` what it was let on to, an `operation` or else a statement, where that did not end here under the same name.
    What ended in another's step had `waited` for that one; `waiting` is what a blocked one wants to run, where that is known. `crash` is
    what befell the worker then, in words (empty: nothing).
    """

    begins: str
    operation: bool
    ended: tuple[tuple[str, str], ...]
    blocked_by: tuple[str, ...]
    waiting: str
    waited: bool
    crash: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One step, counted from 1; a worker that did nothing in it has no cell."""

    number: int
    cells: tuple[Cell | None, ...]
    forced: bool


@dataclass(frozen=True, slots=True)
class Breaking:
    """The answer that is the contradiction: whose it is and which of its answers (places), and after which step it came.

    Without a worker and a step it is one of those given afterwards, when nobody was held any more.
    """

    worker: int | None
    answer: int
    step: int | None


@dataclass(frozen=True, slots=True)
class Interleaving:
    """`answers` are those of each worker, `afterwards` those given when nobody was held any more, but for the last `unsaid`.

    The latter come with their process (empty: not known). Of the steps, the last `left_out` are no rows.
    """

    workers: tuple[str, ...]
    rows: tuple[Row, ...]
    left_out: int
    answers: tuple[tuple[Answer, ...], ...]
    afterwards: tuple[tuple[str, Answer], ...]
    unsaid: int
    breaking: Breaking | None


def schedule_of(result: Result, finding: Finding) -> Schedule | None:
    """The schedule that shows a finding; None where none was explored."""
    return next((each for each in result.schedules if each.invariant == finding.invariant), None)


def broken_by(result: Result, finding: Finding) -> Operation | None:
    """The operation whose answer is the contradiction of a finding; None where that cannot be told."""
    facts = finding.evidence[0] if finding.evidence else {}
    first = [result.operations[n] for n in operation_numbers(facts) if n in result.operations]
    return moment.breaking(finding.invariant, facts, first)


def lay_out(schedule: Schedule, broke: Operation | None) -> Interleaving | None:
    """Lay out a schedule in which that operation broke the invariant; None where it did not get to any step."""
    if not schedule.steps:
        return None
    return Interleaving(
        workers=schedule.workers,
        rows=tuple(_row(schedule, number, step) for number, step in enumerate(schedule.steps[:MOST_STEPS], 1)),
        left_out=max(0, len(schedule.steps) - MOST_STEPS),
        answers=schedule.answers,
        afterwards=schedule.afterwards[:MOST_AFTERWARDS],
        unsaid=max(0, len(schedule.afterwards) - MOST_AFTERWARDS),
        breaking=None if broke is None else _breaking(schedule, broke),
    )


def _row(schedule: Schedule, number: int, step: Step) -> Row:
    cells = []
    for place, answers in enumerate(schedule.answers):
        own = place == step.worker
        statements = [each for each in step.ran if each.worker == place]
        named = {_on(each, each.shape or each.kind) for each in statements}
        begins = step.what if own and step.what not in named else ""
        if step.waiting and begins not in {each.kind for each in answers}:  # the same statement, with its values
            begins = ""
        ended = tuple((_on(each, _in_one_line(each.sql) or each.kind), each.error) for each in statements)
        cells.append(
            Cell(
                begins,
                begins in {each.kind for each in answers},
                ended,
                step.blocked_by if own else (),
                _in_one_line(step.waiting) if own else "",
                not own,
                crash_words(step.crash) if own else "",
            )
            if own or ended
            else None
        )
    return Row(number, tuple(cells), step.forced)


def _on(statement: Statement, said: str) -> str:
    """What is said of a statement, with its connection where that is not the worker's first, as a step has it before it runs."""
    return f"{statement.connection}: {said}" if statement.connection > 1 else said


def _in_one_line(sql: str) -> str:
    return re.sub(r"[ \t\r\n]+", " ", sql)


def _breaking(schedule: Schedule, operation: Operation) -> Breaking | None:
    """Find the operation's answer in the schedule; None where it is not there, or cannot be told from another."""
    later = [
        place
        for place, (process, answer) in enumerate(schedule.afterwards)
        if process == operation.process and _is(answer, operation)
    ]
    if operation.process not in schedule.workers:
        return Breaking(None, later[0], None) if len(later) == 1 else None
    worker = schedule.workers.index(operation.process)
    answers = schedule.answers[worker]
    kinds = [answer.kind for answer in answers]
    begun = [n for n in _begins(schedule, worker) if schedule.steps[n - 1].what in kinds]
    its = [place for place, answer in enumerate(answers) if _is(answer, operation)]
    if not its and len(later) == 1:
        return Breaking(None, later[0], None)
    if len(its) != 1 or later or [schedule.steps[n - 1].what for n in begun] != kinds:
        return None
    until = (*begun, len(schedule.steps) + 1)[its[0] + 1]  # where its next operation begins
    took = [n for n, step in enumerate(schedule.steps, 1) if n < until and _moved(step, worker)]
    return Breaking(worker, its[0], took[-1])


def _begins(schedule: Schedule, worker: int) -> list[int]:
    """The steps in which a worker was let on to something new, and not refused what it had already been waiting for."""
    begins, waits = [], False
    for number, step in enumerate(schedule.steps, 1):
        if step.worker == worker:
            if not (waits and step.forced):
                begins.append(number)
            waits = bool(step.blocked_by)
    return begins


def _is(answer: Answer, operation: Operation) -> bool:
    """Whether an answer can be the operation's, of whose jobs only the first were kept."""
    jobs = answer.jobs[: len(operation.jobs)]
    return (answer.kind, answer.outcome, jobs) == (operation.kind, operation.outcome, operation.jobs)


def _moved(step: Step, worker: int) -> bool:
    return step.worker == worker or any(each.worker == worker for each in step.ran)
