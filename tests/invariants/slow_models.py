"""What each invariant means, once more: slow and obvious Python over all pairs, to be compared with the SQL.

Every model takes the settled operations of one schedule and gives its certain violations as a set of keys: the operations and the
job concerned, as far as they are determined.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

from literal_history import Acquisition, History, Op, Process, Statement

END = 10**18
Key = tuple[Any, ...]
NO_PLACE = (0, 0, 0)


def worker_of(process: str) -> str:
    return process.split(".", maxsplit=1)[0]


@dataclass(frozen=True)
class Done:
    """An operation as the merged history has it: numbered, with its final outcome."""

    number: int
    op: Op
    outcome: str

    @property
    def start(self) -> int:
        return self.op.start

    @property
    def worker(self) -> str:
        """The process, of which the operation's own may be a thread."""
        return worker_of(self.op.process)

    @property
    def done(self) -> int:
        return END if self.op.done is None else self.op.done

    @property
    def jobs(self) -> list[str]:
        """Jobs as JSON text; an answer that never came has none."""
        return [json.dumps(job) for job in self.op.jobs] if self.outcome == "ok" or not self.op.answers else []

    def accepted(self, position: int) -> bool:
        return self.outcome != "ok" or self.op.accepted is None or position in self.op.accepted


@dataclass(frozen=True)
class Handle:
    """One job of one operation."""

    by: Done
    position: int
    job: str

    @property
    def token(self) -> object:
        return self.by.op.tokens[self.position] if self.by.op.tokens else None

    @property
    def attempt(self) -> int | None:
        return self.by.op.attempts[self.position] if self.by.op.attempts else None

    @property
    def priority(self) -> int:
        return (self.by.op.priorities[self.position] if self.by.op.priorities else 0) or 0


@dataclass(frozen=True)
class Small:
    """One schedule of a history, settled."""

    ops: Sequence[Done]
    statements: Sequence[tuple[Statement, int | None]]
    processes: Sequence[Process]
    context: dict[str, Any]
    acquisitions: Sequence[Acquisition] = ()

    def of(self, *kinds: str) -> list[Done]:
        """Operations of these kinds that happened, or may have."""
        return [done for done in self.ops if done.op.kind in kinds and done.outcome != "fail"]

    @property
    def deletions(self) -> list[Done]:
        """All that may have deleted something."""
        return self.of("delete_many", "clean_by_tag", "wipe_all")

    def handles(self, kind: str, *outcomes: str, accepted: bool = False) -> list[Handle]:
        return [
            Handle(done, position, job)
            for done in self.ops
            if done.op.kind == kind and done.outcome in outcomes
            for position, job in enumerate(done.jobs)
            if not accepted or done.accepted(position)
        ]

    @property
    def claims(self) -> list[Done]:
        return [done for done in self.ops if done.op.kind == "claim"]

    @property
    def reused(self) -> set[str]:
        jobs = [h.job for h in self.handles("enqueue", "ok")]
        claimed = {h.job for h in self.handles("claim", "ok")}
        return {job for job in jobs if jobs.count(job) > 1} | {job for job in claimed if self._made_again(job)}

    def _made_again(self, job: str) -> bool:
        """Whether the job may have been finished, and its id given to another, before its last claim."""
        claims = [h.by for h in self.handles("claim", "ok") if h.job == job]
        ends = [h.by.start for h in self.handles("complete", "ok", "info", accepted=True) if h.job == job]
        last = max(c.done for c in claims)
        if len(claims) < 2 or not ends or min(ends) > last:
            return False
        mine = [h.by for h in self.handles("enqueue", "ok") if h.job == job]
        makers = [
            m
            for m in self.of("submit_run", "enqueue")
            if m.op.kind == "submit_run" or m.outcome == "info" or m in mine[-1:]
        ]
        return any(m.done >= min(ends) and m.start <= last for m in makers)

    def died(self, process: str) -> int:
        ends = [p.ended for p in self.processes if p.name == process and p.ended is not None]
        kills = [h.by.start for h in self.handles("kill", "ok", "info") if json.loads(h.job) == process]
        return min([*ends, *kills], default=END)


def settle(history: History, context: dict[str, Any]) -> Iterator[Small]:
    """Number the operations, give each statement its operation and each operation its final outcome, as merging must."""
    order = sorted(
        range(len(history.ops)),
        key=lambda n: (history.ops[n].start, history.ops[n].schedule, history.ops[n].process, n),
    )
    dones = []
    for number, n in enumerate(order, 1):
        op = history.ops[n]
        dones.append(Done(number, op, "info" if op.done is None else op.outcome))
    waits = [s.done - s.start for s in history.statements if s.kind in ("begin", "write", "commit")]
    context = context | {"slowest_ns": max(waits, default=0)}
    for schedule in sorted({op.schedule for op in history.ops}):
        ops = [done for done in dones if done.op.schedule == schedule]
        statements = [(s, _inside(s, ops)) for s in history.statements if s.schedule == schedule]
        ops = [replace(d, outcome="info") if d.outcome == "fail" and _wrote(d, statements) else d for d in ops]
        acquisitions = [a for a in history.acquisitions if a.schedule == schedule]
        yield Small(ops, statements, [p for p in history.processes if p.schedule == schedule], context, acquisitions)


def _inside(statement: Statement, ops: Sequence[Done]) -> int | None:
    started = [
        d
        for d in ops
        if d.op.process == statement.process and d.start <= statement.start and d.op.kind not in ("round", "scan")
    ]
    latest = max(started, key=lambda d: d.start, default=None)
    return latest.number if latest and statement.start <= latest.done else None


def _wrote(done: Done, statements: Sequence[tuple[Statement, int | None]]) -> bool:
    mine = sorted((s for s, number in statements if number == done.number), key=lambda s: (s.done, s.start))
    for n, write in enumerate(mine):
        if write.kind != "write" or write.error:
            continue
        for later in mine[n:]:
            if later.connection != write.connection:
                continue
            if later.commits and not later.error:
                return True
            if later.kind in ("commit", "rollback") and not later.error:
                break
            if later.kind == "commit" and later.error in ("connection", "timeout"):
                return True
    return False


def no_double_claim(h: Small) -> set[Key]:
    found = set()
    claims = h.handles("claim", "ok")
    for job in {c.job for c in claims} - h.reused:
        mine = sorted((c for c in claims if c.job == job), key=lambda c: (c.by.done, c.by.number, c.position))
        for a, b in pairwise(mine):
            if a.by == b.by or not _may_follow(h, a, b):
                found.add((frozenset({a.by.number, b.by.number}), job))
    # an answer that names a job twice is wrong whoever enqueued it
    for a in claims:
        if a.job in h.reused and any(b.by == a.by and b.job == a.job and b.position != a.position for b in claims):
            found.add((frozenset({a.by.number}), a.job))
    return found


def single_owner(h: Small) -> set[Key]:
    lease = h.context["lease_ns"]
    if lease is None:
        return set()
    found: set[Key] = set()
    claims = h.handles("claim", "ok")
    for job in {c.job for c in claims} - h.reused:
        mine = sorted((c for c in claims if c.job == job), key=lambda c: (c.by.done, c.by.number, c.position))
        for a, b in pairwise(mine):
            ends = [x for x in h.handles("complete", "ok", "info", accepted=True) if x.job == job]
            ends += [x for x in h.handles("fail", "ok", "info", accepted=True) if x.job == job]
            own = any(x.by.worker == a.by.worker and a.by.done <= x.by.start < b.by.done for x in ends)
            done = any(x.by.op.kind == "complete" and x.by.outcome == "ok" and x.by.done <= b.by.start for x in ends)
            beats = [
                x for x in h.handles("heartbeat", "ok", accepted=True) if x.job == job and x.by.worker == a.by.worker
            ]
            since = max(
                [a.by.start, *(x.by.start for x in beats if a.by.done <= x.by.start and x.by.done <= b.by.start)]
            )
            if a.by != b.by and not own and not done and h.died(a.by.worker) > b.by.done and since + lease > b.by.done:
                found.add((frozenset({a.by.number, b.by.number}), job))
    return found


def _may_follow(h: Small, a: Handle, b: Handle) -> bool:
    def of_holder(handles: list[Handle]) -> list[Handle]:
        return [x for x in handles if x.job == a.job and x.by.worker == a.by.worker]

    given = of_holder(h.handles("fail", "ok", "info", accepted=True))
    if any(a.by.done <= x.by.start < b.by.done for x in given):
        return True
    if any(x.job == a.job and x.by.done <= b.by.start for x in h.handles("complete", "ok", accepted=True)):
        return False
    if h.died(a.by.worker) <= b.by.done:
        return True
    beats = of_holder(h.handles("heartbeat", "ok", accepted=True))
    held = max([a.by.start, *(x.by.start for x in beats if a.by.done <= x.by.start and x.by.done <= b.by.start)])
    return h.context["lease_ns"] is not None and b.by.done >= held + h.context["lease_ns"]


def no_lost_job(h: Small) -> set[Key]:
    recoveries = [r for r in h.of("recover") if r.op.phase == "quiet"]
    if recoveries and all(r.outcome != "ok" and r.op.error == "connection" for r in recoveries):
        return set()
    empties = [c.start for c in h.claims if c.op.phase == "quiet" and c.outcome == "ok" and not c.jobs]
    found: set[Key] = set()
    for enqueued in h.handles("enqueue", "ok"):
        job = enqueued.job
        drained = max(empties, default=-1)
        twice = sum(e.job == job for e in h.handles("enqueue", "ok")) > 1
        if twice or drained < enqueued.by.done or any(d.done >= enqueued.by.start for d in h.deletions):
            continue
        claims = sorted((c for c in h.handles("claim", "ok") if c.job == job), key=lambda c: c.by.done)
        unknown = [c for c in h.claims if c.outcome == "info"]
        attempts = len({c.by.number for c in claims})
        if any(min(c.done, h.died(c.worker)) >= enqueued.by.start for c in unknown):
            attempts += len(unknown)
        if attempts >= (h.context["max_attempts"] or END):
            continue
        if not claims:
            taken = any(min(c.done, h.died(c.worker)) >= enqueued.by.start for c in unknown)
            if h.context["semantics"] == "at-most-once" and any(
                h.died(c.worker) < END and min(c.done, h.died(c.worker)) >= enqueued.by.start for c in unknown
            ):
                continue
            if not taken or all(_given_up(h, c) < drained for c in unknown):
                found.add((job,))
            continue
        last = claims[-1]
        ends = h.handles("complete", "ok", "info", accepted=True) + h.handles("fail", "ok", "info", accepted=True)
        if any(x.job == job and x.by.done >= last.by.start for x in ends) or drained < last.by.done:
            continue
        beats = [x.by.start for x in h.handles("heartbeat", "ok", accepted=True) if x.job == job]
        lease = h.context["lease_ns"]
        if lease is not None and drained < max([last.by.done, *beats]) + lease:
            continue
        if h.context["semantics"] == "at-most-once" and _gone(h, last.by.op.process):
            continue
        found.add((job,))
    return found


def _given_up(h: Small, claim: Done) -> int:
    """When what a claim of unknown outcome took is free again at the latest, or is held by one who is dead."""
    died = h.died(claim.worker)
    ended = min(claim.done, died)
    if ended == END:
        return END
    if h.context["lease_ns"] is not None:
        return ended + int(h.context["lease_ns"])
    return ended if died < END else END


def _gone(h: Small, process: str) -> bool:
    ended = [p.how if p.ended is not None else None for p in h.processes if p.name == process]
    return bool(ended or h.died(process) < END) and "done" not in ended


def no_phantom_claim(h: Small) -> set[Key]:
    found: set[Key] = set()
    for c in h.handles("claim", "ok"):
        enqueues = [e.by.start for e in h.handles("enqueue", "ok") if e.job == c.job]
        makers = [m for m in h.of("enqueue", "submit_run") if m.op.kind == "submit_run" or m.outcome == "info"]
        unknown = any(m.start <= c.by.done for m in makers)
        if c.by.done < min(enqueues, default=END) and not unknown:
            found.add((c.by.number, c.job))
    return found


def _free(h: Small) -> list[tuple[Handle, int]]:
    """Each time a job was certainly free: what made it so (its `by.done` is the start), and until when."""
    free = []
    uses = [u for kind in ("claim", "complete", "delete_many") for u in h.handles(kind, "ok", "info", "fail")]
    for s in h.handles("enqueue", "ok") + h.handles("fail", "ok", accepted=True):
        later = [u for u in uses if u.job == s.job and u.by.done >= s.by.start]
        if s.by.op.kind == "fail" and not any(u.by.op.kind == "claim" for u in later):
            continue
        unknown = [c for c in h.claims if c.outcome == "info"]
        thefts = [x.start for x in unknown + h.deletions if x.done >= s.by.start]
        until = min([u.by.start for u in later] + thefts, default=END)
        if until > s.by.done:
            free.append((s, until))
    return free


def _undisturbed(h: Small, c: Done) -> bool:
    return c.outcome == "ok" and not any(
        o.outcome != "ok" and o.start <= c.done and o.done >= c.start for o in h.claims
    )


def no_false_empty(h: Small) -> set[Key]:
    return {
        (c.number,)
        for c in h.claims
        if _undisturbed(h, c) and not c.jobs and any(s.by.done < c.start and until > c.done for s, until in _free(h))
    }


def _better(k: Handle, j: Handle) -> bool:
    if k.priority != j.priority:
        return k.priority > j.priority
    if k.by == j.by:
        return k.position < j.position
    return k.by.done < j.by.start


def claim_order(h: Small) -> set[Key]:
    found: set[Key] = set()
    enqueued = {e.job: e for e in h.handles("enqueue", "ok") if e.job not in h.reused}
    waiting = [(s, until) for s, until in _free(h) if s.by.op.kind == "enqueue" and s.job in enqueued]
    for c in h.handles("claim", "ok"):
        if c.job not in enqueued or not _undisturbed(h, c.by) or c.by.done < enqueued[c.job].by.start:
            continue
        j = enqueued[c.job]
        if any(_better(k, j) and k.by.done < c.by.start and until > c.by.done for k, until in waiting):
            found.add((c.by.number, c.job, "a better job was free"))
        after = [x for x in h.handles("claim", "ok") if x.by == c.by and x.position == c.position + 1]
        after = [x for x in after if x.job in enqueued and x.by.done >= enqueued[x.job].by.start]
        for x in after:
            if any(k.job == x.job and _better(k, j) and until >= c.by.start for k, until in waiting):
                found.add((c.by.number, c.job, "the answer is out of order"))
    return found


def terminal_once(h: Small) -> set[Key]:
    found: set[Key] = set()
    finished = h.handles("complete", "ok", accepted=True)
    for job in {f.job for f in finished} - h.reused:
        by = {f.by.number: f.by.done for f in finished if f.job == job}
        order = sorted(by, key=lambda n: (by[n], n))
        found |= {(frozenset(pair), job) for pair in pairwise(order)}
    return found


def attempts_counted(h: Small) -> set[Key]:
    found: set[Key] = set()
    unknown = [c for c in h.claims if c.outcome == "info"]
    best: dict[tuple[int, str], tuple[Done, int]] = {}
    for c in h.handles("claim", "ok"):
        if c.attempt is not None and c.job not in h.reused:
            key = (c.by.number, c.job)
            best[key] = (c.by, max(c.attempt, best[key][1] if key in best else c.attempt))
    everyone = {(c.by.number, c.job): c.by for c in h.handles("claim", "ok")}
    for (number, job), (claim, attempt) in best.items():
        others = [(o, best.get((n, j), (o, None))[1]) for (n, j), o in everyone.items() if j == job and n != number]
        least = 1 + sum(o.done < claim.start for o, _ in others)
        most = 1 + sum(o.start <= claim.done for o, _ in others) + sum(u.start <= claim.done for u in unknown)
        not_above = any(a is not None and o.done < claim.start and a >= attempt for o, a in others)
        same = any(a == attempt and o.number < number for o, a in others)
        if not least <= attempt <= most or not_above or same:
            found.add((number, job))
    for (number, job), claim in everyone.items():
        before = sum(j == job and o.done < claim.start for (_, j), o in everyone.items())
        by_its_own_account = best[number, job][1] if (number, job) in best else 0
        if job not in h.reused and max(before + 1, by_its_own_account) > (h.context["max_attempts"] or END):
            found.add((number, job))
    return found


def fenced_completion(h: Small) -> set[Key]:
    found: set[Key] = set()
    claims = h.handles("claim", "ok")
    for f in h.handles("complete", "ok", accepted=True):
        mine = [
            a.by.done
            for a in claims
            if (a.job, a.by.worker, a.token) == (f.job, f.by.worker, f.token) and a.by.done <= f.by.start
        ]
        if mine and f.job not in h.reused:
            for b in claims:
                other = b.job == f.job and (b.by.worker, b.token) != (f.by.worker, f.token)
                if other and b.by.start >= max(mine) and b.by.done < f.by.start:
                    found.add((f.by.number, f.job))
    return found


def no_swallowed_error(h: Small) -> set[Key]:
    found: set[Key] = set()
    for done in h.ops:
        mine = [s for s, number in h.statements if number == done.number]
        bad = [s.done for s in mine if s.error in ("lock", "deadlock", "serialization", "connection")]
        good = [s.done for s in mine if not s.error and s.kind in ("read", "write", "commit")]
        if done.outcome == "ok" and bad and max(good, default=-1) <= max(bad):
            found.add((done.number,))
    return found


def lock_errors(h: Small) -> set[Key]:
    errors = [
        d for d in h.ops if d.outcome != "ok" and d.op.done and d.op.error in ("lock", "deadlock", "serialization")
    ]
    claims = [c for c in h.claims if c.outcome == "ok" and c.jobs]
    return {(d.number,) for d in errors} if len(errors) * 100 > len(claims) else set()


def every_worker_served(h: Small) -> set[Key]:
    got = {
        p.name: sum(len(c.jobs) for c in h.claims if c.op.process == p.name) for p in h.processes if p.role == "worker"
    }
    return {(name,) for name, jobs in got.items() if jobs == 0 and sum(got.values()) > 0}


def statement_budget(h: Small) -> set[Key]:
    points = []
    for r in h.ops:
        if r.op.kind == "round" and r.outcome == "ok" and r.op.phase == "main":
            mine = [c for c in h.claims if c.op.process == r.op.process and r.start <= c.start and c.done <= r.done]
            jobs = sum(len(c.jobs) for c in mine if c.outcome == "ok") if mine else r.op.returned or len(r.op.jobs)
            spent = [s for s, _ in h.statements if s.process == r.op.process and r.start <= s.start <= r.done]
            points.append((jobs, sum(s.kind in ("read", "write") for s in spent)))
    if len({jobs for jobs, _ in points}) < 2:
        return set()
    mean_x, mean_y = (Fraction(sum(p[i] for p in points), len(points)) for i in (0, 1))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    return {("slope",)} if slope > Fraction(1, 2) else set()


def witness_agrees(h: Small) -> set[Key]:
    known = {p.name for p in h.processes} | {d.op.process for d in h.ops}
    found: set[Key] = {(s.process,) for s, _ in h.statements if s.process not in known}
    for d in h.ops:
        enough = (
            ("write",) if h.context["database"] == "sqlite" and d.op.kind != "complete" else ("read", "write", "other")
        )
        seen = [s for s, _ in h.statements if s.process == d.worker and s.kind in enough and not s.error]
        count = len(d.op.accepted) if d.op.accepted is not None and not d.op.answers else len(d.jobs)
        if d.op.kind in ("enqueue", "claim", "complete") and d.outcome == "ok" and count:  # noqa: SIM102  # reads as the claim
            if not any(s.start <= d.done for s in seen):
                found.add((d.number,))
    return found


def worker_guard(h: Small) -> set[Key]:
    admitted = []
    for o in h.ops:
        if o.op.kind == "open" and o.outcome == "ok":
            mine = [d for d in h.ops if d.op.process == o.op.process]
            closes = [d.start for d in mine if d.op.kind == "close" and d.start >= o.done]
            until = min([*closes, h.died(o.op.process)])
            if until == END:
                until = max(d.start if d.op.done is None else d.op.done for d in mine)
            admitted.append((o, until))
    return {
        (frozenset({a.number, b.number}),)
        for a, a_until in admitted
        for b, b_until in admitted
        if a.op.process < b.op.process and max(a.done, b.done) < min(a_until, b_until)
    }


def guard_released(h: Small) -> set[Key]:
    deaths = [d.done for d in h.ops if d.op.kind == "kill" and d.outcome == "ok"]
    if not deaths:
        return set()
    asked = [d for d in h.ops if d.op.kind == "open" and d.start >= max(deaths)]
    admitted = min((d.start for d in asked if d.outcome == "ok"), default=None)
    late = [d for d in asked if d.outcome == "fail" and d.start - max(deaths) >= 10**9]
    return {(d.number,) for d in late if admitted is None or admitted >= d.done}


MODELS: dict[str, Callable[[Small], set[Key]]] = {
    model.__name__.replace("_", "-"): model
    for model in (
        no_double_claim,
        no_lost_job,
        no_phantom_claim,
        no_false_empty,
        claim_order,
        single_owner,
        terminal_once,
        attempts_counted,
        fenced_completion,
        no_swallowed_error,
        lock_errors,
        every_worker_served,
        statement_budget,
        witness_agrees,
        worker_guard,
        guard_released,
    )
}
