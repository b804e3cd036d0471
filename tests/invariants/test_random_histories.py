"""The SQL and the slow models agree on thousands of small random histories, many schedules at a time."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from literal_history import CONTEXT, History, Op, Process, Statement
from random_work import INTERVAL_NS, TICK, random_work
from slow_models import MODELS, Small, settle
from slow_models_of_work import MODELS as MODELS_OF_WORK

from harness.invariants import judging
from harness.verdict import Finding

PROCESSES = ("w0", "w1", "w2", "quiet")
JOBS = (1, 2, "1", 3)
ALL_MODELS = {**MODELS, **MODELS_OF_WORK}
ERRORS = ("lock", "deadlock", "connection", "constraint")
KINDS = ("claim", "claim", "claim", "complete", "complete", "fail", "heartbeat", "enqueue", "kill", "open", "close")


@st.composite
def operations(draw: st.DrawFn, schedule: int) -> tuple[list[Op], list[Statement]]:
    """A few processes, each doing one thing after another at small whole times, mostly enqueuing first."""
    ops: list[Op] = []
    statements: list[Statement] = []
    if draw(st.booleans()):
        jobs = tuple(draw(st.lists(st.sampled_from(JOBS), min_size=1, max_size=3, unique_by=json.dumps)))
        priorities = tuple(draw(st.sampled_from((0, 0, 1, None))) for _ in jobs)
        ops.append(
            Op(
                "setup",
                "enqueue",
                0,
                draw(st.integers(1, 4)),
                jobs,
                priorities=priorities,
                schedule=schedule,
                phase="setup",
            )
        )
    for process in PROCESSES:
        now = draw(st.integers(0, 6)) + (30 if process == "quiet" else 0)
        for _ in range(draw(st.integers(0, 4))):
            start, done = now, now + draw(st.integers(1, 5))
            op, now = draw(one(process, start, done, schedule)), done + draw(st.integers(0, 4))
            ops.append(op)
            statements += [draw(statement(process, start, done, schedule)) for _ in range(draw(st.integers(0, 2)))]
    return ops, statements


@st.composite
def one(draw: st.DrawFn, process: str, start: int, done: int, schedule: int) -> Op:
    kind = draw(st.sampled_from(KINDS)) if process != "quiet" else "claim"
    outcome = draw(st.sampled_from(("ok", "ok", "ok", "ok", "ok", "ok", "fail", "info")))
    more: dict[str, Any] = {
        "outcome": outcome,
        "schedule": schedule,
        "phase": "quiet" if process == "quiet" else "main",
    }
    if outcome != "ok":
        more["error"] = draw(st.sampled_from((*ERRORS, None)))
    if kind in ("open", "close"):
        return Op(process, kind, start, done, **more)
    if kind == "kill":
        return Op(process, kind, start, done, (draw(st.sampled_from(PROCESSES)),), **more)
    jobs = tuple(
        draw(
            st.lists(st.sampled_from(JOBS), max_size=2, unique_by=None if draw(st.integers(0, 9)) == 0 else json.dumps)
        )
    )
    if kind in ("claim", "complete") and draw(st.booleans()):
        more["tokens"] = tuple(draw(st.sampled_from((None, 1, 2))) for _ in jobs)
    if kind == "claim":
        more["requested"] = draw(st.integers(1, 2))
        if draw(st.booleans()):
            more["attempts"] = tuple(draw(st.sampled_from((1, 1, 2, 3, None))) for _ in jobs)
    elif kind == "enqueue":
        more["requested"] = len(jobs)
        if outcome == "ok":
            more["priorities"] = tuple(draw(st.sampled_from((0, 1))) for _ in jobs)
    elif draw(st.integers(0, 3)) == 0:
        more["accepted"] = tuple(n for n in range(len(jobs)) if draw(st.booleans()))
    never = outcome == "info" and draw(st.booleans())
    return Op(process, kind, start, None if never else done, jobs, **more)


@st.composite
def statement(draw: st.DrawFn, process: str, start: int, done: int, schedule: int) -> Statement:
    started = draw(st.integers(start, done))
    kind = draw(st.sampled_from(("read", "write", "write", "commit", "rollback", "begin", "other")))
    error = draw(st.sampled_from((None, None, None, *ERRORS)))
    return Statement(
        draw(st.sampled_from((process,) * 9 + ("stranger",))),
        started,
        started + draw(st.integers(0, 2)),
        kind,
        error,
        commits=error is None and (kind == "commit" or (kind == "write" and draw(st.booleans()))),
        connection=draw(st.integers(1, 2)),
        schedule=schedule,
    )


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Up to 12 schedules in one history; a longer round encloses what w0 did in some of them."""
    ops: list[Op] = []
    statements: list[Statement] = []
    processes: list[Process] = []
    for schedule in range(draw(st.integers(1, 12))):
        some, seen = draw(operations(schedule))
        statements += distinct(seen)
        ops += some
        for n in range(draw(st.integers(0, 3))):
            ops.append(Op("w0", "round", 20 * n, 20 * n + draw(st.integers(1, 25)), requested=1, schedule=schedule))
        for name in PROCESSES:
            if draw(st.booleans()):
                ended = draw(st.sampled_from((None, 20, 60)))
                how = draw(st.sampled_from(("done", "error")))
                processes.append(Process(name, "quiet" if name == "quiet" else "worker", 0, ended, how, schedule))
    return History(ops, statements, processes)


def distinct(statements: list[Statement]) -> list[Statement]:
    """Leave out statements that ended at the same moment, as two cannot be told apart in time."""
    return list({(s.process, s.done): s for s in statements}.values())


def key(finding: Finding) -> tuple[Any, ...]:
    """What a model says of the same finding."""
    job = json.dumps(finding.facts.get("job"))
    wrong = finding.facts.get("wrong")
    return {
        "write-budget": (frozenset(finding.operations),),
        "pool-exhausted": (finding.facts.get("process"), finding.facts.get("waited_ns"), finding.operations),
        "progress-fresh": (*finding.operations[1:], job),
        "progress-monotonic": (*finding.operations[1:], wrong),
        "submit-atomic": (finding.facts.get("run"), wrong),
        "delete-one-transaction": finding.operations,
        "batch-limit": (finding.operations, finding.facts.get("held")),
        "reads-answered": finding.operations,
        "no-double-claim": (frozenset(finding.operations), job),
        "single-owner": (frozenset(finding.operations), job),
        "terminal-once": (frozenset(finding.operations), job),
        "no-lost-job": (job,),
        "every-worker-served": (finding.facts.get("process"),),
        "statement-budget": ("slope",),
        "worker-guard": (frozenset(finding.operations),),
        "witness-agrees": finding.operations or (finding.facts.get("process"),),
    }.get(finding.invariant, ())


WHOLE_KEYS = {  # a finding has all that a model says
    "batch-limit",
    "single-owner",
    "no-double-claim",
    "terminal-once",
    "no-lost-job",
    "worker-guard",
    "statement-budget",
    "witness-agrees",
    "every-worker-served",
    "write-budget",
    "pool-exhausted",
    "progress-fresh",
    "progress-monotonic",
    "submit-atomic",
    "delete-one-transaction",
    "reads-answered",
}


def candidates(finding: Finding) -> set[tuple[Any, ...]]:
    """What a model may say of the same finding, where the finding names more operations than the model's key."""
    job, wrong = json.dumps(finding.facts.get("job")), finding.facts.get("wrong")
    return {k for n in finding.operations for k in ((n,), (n, job), (n, wrong), (n, job, wrong))}


@pytest.mark.parametrize("lease_ns", [None, 9])
@pytest.mark.parametrize(
    "changes",
    [
        {"semantics": "exactly-once-claim"},
        {"semantics": "at-most-once", "database": "postgres"},
        {"max_attempts": 1},
    ],
    ids=["exactly", "at-most", "one-attempt"],
)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories())
def test_sql_and_models_find_the_same_violations(
    history: History, lease_ns: int | None, changes: Mapping[str, object]
) -> None:
    judge_both_ways(history, {**CONTEXT, "lease_ns": lease_ns, **changes}, tuple(MODELS))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lease_ns": 12 * TICK},
        {"semantics": "at-least-once", "database": "postgres", "most_running": 1},
        {"semantics": "at-most-once", "most_running": 2},
    ],
    ids=["exactly", "leased", "at-least", "at-most"],
)
@pytest.mark.parametrize("seed", range(2))
def test_sql_and_models_find_the_same_violations_of_work(changes: Mapping[str, object], seed: int) -> None:
    context = {**CONTEXT, "flush_interval_ns": INTERVAL_NS, **changes}
    judge_both_ways(random_work(seed, 150), context, judging.NAMES)


def test_every_invariant_has_a_model() -> None:
    assert set(ALL_MODELS) == set(judging.NAMES)


def judge_both_ways(history: History, context: dict[str, object], names: Sequence[str]) -> None:
    smalls = list(settle(history, context))
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(judging, "FINDINGS_SHOWN", 1_000_000)
        judgements = judging.judge(history.save(Path(folder) / "h"), names, context)
    for judgement in judgements:
        assert judgement.state != "crashed", judgement
        if judgement.state == "not applicable" or judgement.reason.startswith(("The history has no", "Nobody")):
            continue
        compare(judgement.invariant, judgement.findings, smalls)


def compare(name: str, findings: tuple[Finding, ...], smalls: list[Small]) -> None:
    """Every finding is one of the model's, and every one of the model's was found, schedule by schedule."""
    schedule_of = {done.number: n for n, small in enumerate(smalls) for done in small.ops}
    nowhere = [str(key(finding)) for finding in findings if not finding.operations]
    for n, small in enumerate(smalls):
        expected = ALL_MODELS[name](small)
        mine = [finding for finding in findings if finding.operations and schedule_of[finding.operations[0]] == n]
        whole = {key(finding) for finding in mine}
        if name in WHOLE_KEYS:
            missing, extra = expected - whole, whole - expected
        else:
            found = [candidates(finding) & expected for finding in mine]
            missing = expected.difference(*found)
            extra = {
                k for finding, matches in zip(mine, found, strict=True) if not matches for k in candidates(finding)
            }
        for k in list(missing):  # a finding without operations cannot be told apart by schedule
            if str(k) in nowhere:
                nowhere.remove(str(k))
                missing.discard(k)
        assert (missing, extra) == (set(), set()), f"{name} {missing=} {extra=} {mine} in {small}"
    assert nowhere == []
