"""The slow models of progress, deleting and submitting; see `slow_models`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from slow_models import END, Done, Handle, Key, Small, worker_of

CLOSE = 1e-6  # fractions that are as good as the same
TELLING = ("enqueue", "claim", "complete", "fail", "heartbeat", "status_all", "read_run", "add_actions")
REASONS = ("lock", "deadlock", "serialization", "connection", "pool")  # for which a deletion may rightly fail


def text(value: object) -> str:
    """JSON as the merged history has it."""
    return json.dumps(value, separators=(",", ":"))


@dataclass(frozen=True)
class Hold:
    """The time a job was certainly in a worker's hands: from `start` to before `until`; `free` is when others may have got it."""

    claim: Done
    job: str
    until: int
    ended: Done | None
    free: int

    @property
    def start(self) -> int:
        return self.claim.done

    @property
    def worker(self) -> str:
        return self.claim.worker


def ends_of(h: Small, job: str, *outcomes: str, refused: bool = False) -> list[Handle]:
    both = h.handles("complete", *outcomes, accepted=not refused) + h.handles("fail", *outcomes, accepted=not refused)
    return sorted((e for e in both if e.job == job), key=lambda e: e.by.number)


def claims_of(h: Small, job: str) -> list[Done]:
    return [c for c in h.claims if c.outcome == "ok" and job in c.jobs]


def holds(h: Small) -> list[Hold]:
    return [_hold(h, c, job) for c in h.claims if c.outcome == "ok" for job in dict.fromkeys(c.jobs)]


def _hold(h: Small, claim: Done, job: str) -> Hold:
    mine = [
        e
        for e in ends_of(h, job, "ok", "info", refused=True)
        if e.by.worker == claim.worker and e.by.start >= claim.done
    ]
    others = [e for e in ends_of(h, job, "ok", "info") if e.by.done >= claim.start]
    next_claims = [c for c in claims_of(h, job) if c.number != claim.number and c.done >= claim.done]
    lease = h.context["lease_ns"]
    until = min(
        [x.by.start for x in mine + others]
        + [c.start for c in next_claims]
        + ([claim.start + lease] if lease is not None else [])
        + [h.died(claim.worker)]
    )
    ended = mine[0] if mine else None
    finished = bool(
        ended
        and ended.by.op.kind == "complete"
        and ended.by.outcome == "ok"
        and ended.by.accepted(ended.position)
        and ended.by.start == until
    )
    return Hold(claim, job, until, ended.by if ended else None, END if finished else until)


@dataclass(frozen=True)
class Reading:
    """What a screen read of a job, in the attempt whose claim returned at `claimed`."""

    by: Done
    job: str
    fraction: float | None
    attempt: int
    claimed: int | None

    @property
    def shown(self) -> float:
        return -1.0 if self.fraction is None else self.fraction


def readings(h: Small) -> list[Reading]:
    found = []
    for r in h.handles("read_progress", "ok"):
        claims = [c for c in claims_of(h, r.job) if c.start <= r.by.done]
        claimed = max((c.done for c in claims), default=None)
        frees = [hold.free for hold in holds(h) if hold.job == r.job and hold.start == claimed]
        unknown = [u for u in h.claims if u.outcome == "info" and u.start <= r.by.done]
        disturbed = claimed is not None and claimed >= r.by.start
        taken = any(u.done >= free for u in unknown for free in frees)
        gone = r.by.op.value is None and any(d.start <= r.by.done for d in h.deletions)
        if not (disturbed or taken or gone):
            found.append(Reading(r.by, r.job, r.by.op.value, len(claims), claimed))
    return found


def reports(h: Small, job: str, worker: str, start: int, until: int) -> list[Done]:
    """What the worker certainly told of a job in that time."""
    told = [r.by for r in h.handles("report_progress", "ok") if r.job == job]
    return [t for t in told if t.worker == worker and t.start >= start and t.done <= until]


def finishes(h: Small, job: str) -> list[Done]:
    return [f.by for f in h.handles("complete", "ok", accepted=True) if f.job == job]


def progress_monotonic(h: Small) -> set[Key]:
    found: set[Key] = set()
    all_readings = readings(h)
    for r in all_readings:
        same = [b for b in all_readings if (b.job, b.attempt) == (r.job, r.attempt)]
        before = [b.shown for b in same if b.by.done <= r.by.start]
        if before and r.shown < max(before) - CLOSE:
            found.add((r.by.number, "went back"))
        over = [
            s for s in same if any(f.start >= (s.claimed or 0) and f.done <= s.by.start for f in finishes(h, r.job))
        ]
        if r in over:
            first = min(over, key=lambda s: s.by.number)
            if r.shown > first.shown + CLOSE:
                found.add((r.by.number, "changed after its end"))
    return found


def progress_fresh(h: Small) -> set[Key]:
    if h.context["flush_interval_ns"] is None:
        return set()
    allowed = h.context["flush_interval_ns"] + 500_000_000 + h.context["slowest_ns"]
    found: set[Key] = set()
    for r in readings(h):
        for hold in holds(h):
            if hold.job == r.job and hold.start == r.claimed:
                told = reports(h, r.job, hold.worker, hold.start, min(r.by.start, hold.until))
                late = [t.done for t in told if t.op.value > r.shown + CLOSE]
                lost = hold.until if hold.ended is None or hold.until < hold.ended.start else END
                if late and min(r.by.start, h.died(hold.worker), lost) - min(late) > allowed:
                    found.add((r.by.number, r.job))
    return found


def progress_final(h: Small) -> set[Key]:
    found: set[Key] = set()
    stops = [(e.by, e.job) for kind in ("complete", "fail") for e in h.handles(kind, "ok", accepted=True)]
    for hold in holds(h):
        if hold.ended is None:
            closes = [d for d in h.ops if d.op.kind == "close" and d.outcome == "ok" and d.op.process == hold.worker]
            stops += [(d, hold.job) for d in closes if d.start >= hold.start]
    for stop, job in stops:
        last = max((c.done for c in claims_of(h, job) if c.done <= stop.start), default=None)
        for hold in holds(h):
            until = min(stop.start, hold.ended.start if hold.ended else END)
            if hold.job == job and hold.start == last and hold.worker == stop.worker and hold.until >= until:
                told = max((t.op.value for t in reports(h, job, stop.worker, hold.start, until)), default=-1.0)
                after = [r for r in readings(h) if r.job == job and r.by.start >= stop.done and r.claimed == last]
                if any(r.shown < told - CLOSE for r in after):
                    found.add((stop.number, job))
    return found


def write_budget(h: Small) -> set[Key]:
    telling = ("report_progress", "flush_progress", "complete", "fail", "close")
    kinds = {d.number: d.op.kind for d in h.ops}
    writes = [
        (s, n) for s, n in h.statements if s.kind == "write" and not s.error and (n is None or kinds[n] in telling)
    ]
    found: set[Key] = set()
    for worker in {worker_of(d.op.process) for d in h.ops}:
        stretches: list[list[Done]] = []
        for scan in (d for d in h.ops if d.op.kind == "scan" and d.worker == worker):
            if stretches and scan.start <= max(d.done for stretch in stretches for d in stretch):
                stretches[-1].append(scan)
            else:
                stretches.append([scan])
        begins = [stretch[0].start for stretch in stretches]
        for n, stretch in enumerate(stretches):
            until = begins[n + 1] if n + 1 < len(begins) else END
            number = sum(s.process == worker and begins[n] <= s.start < until for s, _ in writes)
            for e in h.of("complete", "fail"):
                if e.worker == worker and begins[n] <= e.start < until:
                    number -= min(len(e.op.jobs), max(1, sum(inside == e.number for _, inside in writes)))
            if number > 10 * len(stretch):
                found.add((frozenset(d.number for d in stretch),))
    return found


def pool_exhausted(h: Small) -> set[Key]:
    found: set[Key] = set()
    for a in h.acquisitions:
        if a.error == "timeout":
            mine = [
                d
                for d in h.ops
                if d.worker == a.process and d.op.error == "pool" and d.outcome != "ok" and d.op.done is not None
            ]
            numbers = [d.number for d in mine if d.start <= a.asked and d.done >= a.ended]
            found.add((a.process, a.ended - a.asked, tuple(numbers[:6])))
    return found


@dataclass(frozen=True)
class Made:
    """A job, run or action that was made between `asked` and `done`."""

    thing: str
    asked: int
    done: int
    parent: str | None


@dataclass(frozen=True)
class Taker:
    """What may have taken a thing away between `start` and `done`; `sure` where it certainly has."""

    number: int
    start: int
    done: int
    sure: bool
    known: int = END  # who takes it knows of nothing under this id that was made later


class Shelf:
    """All that was made and taken away in one schedule: what `delete-exact` reasons about."""

    def __init__(self, h: Small) -> None:
        self.h = h
        self.made = set(self._made())
        self.things = {m.thing for m in self.made}
        self.holds = holds(h)

    def _made(self) -> Iterator[Made]:
        h = self.h
        submits = [d for d in h.ops if d.op.kind == "submit_run" and d.outcome == "ok"]
        for e in h.handles("enqueue", "ok"):
            yield Made(e.job, e.by.start, e.by.done, None)
        for d in submits:
            yield Made(text(d.op.value), d.start, d.done, None)
        for a in h.handles("add_actions", "ok"):
            yield Made(text(json.loads(a.job)), a.by.start, a.by.done, text(a.by.op.value["job"]))
        read: dict[tuple[str, str, int, int], int] = {}
        for r in h.handles("read_run", "ok"):
            run = text({"run": r.by.op.value["run"]})
            before = [s for s in submits if text(s.op.value) == run and s.start <= r.by.done]
            start, done = max(((s.start, s.done) for s in before), default=(0, END))
            read[r.job, run, start, done] = min(r.by.done, read.get((r.job, run, start, done), END))
        for (job, run, start, done), known in read.items():
            yield Made(job, start, min(known, done), run)

    def parents(self, thing: str) -> tuple[set[str], bool]:
        """What a thing may go with, and whether that is certain."""
        parents = {m.parent for m in self.made if m.thing == thing}
        return {p for p in parents if p is not None}, len(parents) == 1

    def kin(self, thing: str) -> list[tuple[str, bool]]:
        """The thing and all whose deletion takes it along, perhaps (False) or certainly."""
        found = [(thing, True)]
        parents, sure = self.parents(thing)
        for parent in parents:
            found.append((parent, sure))
            grand, also = self.parents(parent)
            found += [(each, sure and also) for each in grand]
        return found

    def guards(self, thing: str) -> list[tuple[Hold, bool]]:
        """The holds during which a thing must not go, perhaps (False) or certainly."""
        found = []
        for hold in self.holds:
            found += [(hold, sure) for of, sure in self.kin(thing) if of == hold.job] if thing in self.things else []
            parents, sure = self.parents(hold.job)
            found += [(hold, sure)] if thing in parents else []
        return found

    def held(self, thing: str, start: int, done: int) -> tuple[bool, bool]:
        """Whether a thing was running at any time in between: perhaps, and certainly all the time."""
        perhaps = certainly = False
        for hold, sure in self.guards(thing):
            ends = [e.by.done for e in ends_of(self.h, hold.job, "ok") if e.by.start >= hold.start]
            if hold.claim.start <= done and min(ends, default=END) >= start:
                perhaps = True
                certainly |= sure and hold.start <= start and hold.until >= done
        return perhaps, certainly

    def takers(self, thing: str) -> Iterator[Taker]:
        for d in self.h.deletions:
            if d.op.kind != "delete_many":
                yield Taker(d.number, d.start, d.done, sure=False)
                continue
            for of, sure in self.kin(thing):
                if of in asked(d):
                    perhaps, certainly = self.held(of, d.start, d.done)
                    if not certainly:
                        known = self.known(d, thing) if of == thing else END
                        yield Taker(d.number, d.start, d.done, sure and d.outcome == "ok" and not perhaps, known)
        for of, _ in self.kin(thing):
            for e in ends_of(self.h, of, "ok", "info"):
                yield Taker(e.by.number, e.by.start, e.by.done, sure=False)
            if self.h.context["semantics"] == "at-most-once":
                for c in claims_of(self.h, of):
                    yield Taker(c.number, c.start, c.done, sure=False)

    def known(self, d: Done, thing: str) -> int:
        """When the worker that deletes a thing was last told of it; the end of time: it never was, that we know of."""
        telling = [x for kind in TELLING for x in self.h.handles(kind, "ok", accepted=True)]
        times = [x.by.done for x in telling if x.job == thing and x.by.worker == d.worker and x.by.done <= d.start]
        return max(times, default=END)

    def there(self, thing: str, start: int, done: int, but: int, known: int = END) -> tuple[bool, bool]:
        """Whether a thing was there from `start` to `done`, whatever operation `but` did: certainly, and perhaps.

        What was made after `known` does not count.
        """
        others = [t for t in self.takers(thing) if t.number != but]
        mine = [m for m in self.made if m.thing == thing and m.asked <= min(done, known)]
        certainly = any(
            m.done <= start and not any(t.done >= m.asked and t.start <= done for t in others) for m in mine
        )
        perhaps = any(
            not any(t.sure and m.asked <= t.known and t.start >= m.done and t.done <= start for t in others)
            for m in mine
        )
        return certainly, perhaps


def asked(d: Done) -> set[str]:
    """What a deletion names."""
    return {text(each) for each in d.op.jobs}


def delete_exact(h: Small) -> set[Key]:
    shelf = Shelf(h)
    since = [
        d.start for d in h.ops if d.op.kind in ("enqueue", "submit_run", "claim", "add_actions") and d.outcome == "info"
    ]
    for d in h.ops:
        if d.op.kind == "submit_run" and d.outcome == "ok":
            jobs = {m.thing for m in shelf.made if m.parent == text(d.op.value) and m.asked == d.start}
            since += [d.start] if len(jobs) < (d.op.requested or 0) else []
    strange = {x.job for kind in ("claim", "status_all") for x in h.handles(kind, "ok")} - shelf.things
    doubt = 0 if strange else min(since, default=END)
    statuses = [d for d in h.ops if d.op.kind == "status_all" and d.outcome == "ok"]
    status = max(statuses, key=lambda d: d.number, default=None)
    found: set[Key] = set()
    for d in h.ops:
        if d.op.kind != "delete_many":
            continue
        if d.outcome != "ok" and d.op.done is not None and d.op.error is not None and d.op.error not in REASONS:
            found.add((d.number, "it was refused"))
        if d.outcome == "ok" and doubt > d.done:
            least, most = _bounds(shelf, d)
            if not least <= d.op.value["deleted"] <= most:
                found.add((d.number, "the count is wrong"))
        if d.outcome == "info" and status and status.start >= d.start and doubt > status.done:
            lasting = _lasting(shelf, d, status)
            if 0 < len(lasting & set(status.jobs)) < len(lasting):
                found.add((d.number, "half of it was deleted"))
    if status and doubt > status.done:
        for thing in shelf.things:
            certainly, perhaps = shelf.there(thing, status.start, status.done, status.number)
            known = any(m.thing == thing and m.asked <= status.done for m in shelf.made)
            if not thing.startswith("{") and known and certainly and thing not in status.jobs:
                found.add((status.number, thing, "nobody deleted it, and it is gone"))
            if not thing.startswith("{") and known and not perhaps and thing in status.jobs:
                found.add((status.number, thing, "it was deleted, and is still there"))
    return found


def _bounds(shelf: Shelf, d: Done) -> tuple[int, int]:
    least = most = 0
    for thing in asked(d):
        certainly, perhaps = shelf.there(thing, d.start, d.done, d.number, shelf.known(d, thing))
        held, surely_held = shelf.held(thing, d.start, d.done)
        least += certainly and not held
        most += perhaps and not surely_held
    return least, most


def _lasting(shelf: Shelf, d: Done, status: Done) -> set[str]:
    """The jobs that a deletion, and nothing else until the status, could have taken."""
    found = set()
    for thing in shelf.things:
        by = [of for of, sure in shelf.kin(thing) if sure and of in asked(d)]
        certainly, _ = shelf.there(thing, d.start, status.done, d.number)
        once = sum(m.thing == thing and m.asked <= status.done for m in shelf.made) == 1
        if by and not thing.startswith("{") and certainly and once:  # noqa: SIM102  # reads as the claim
            if not any(shelf.held(of, d.start, d.done)[0] for of in by):
                found.add(thing)
    return found


def delete_spares_running(h: Small) -> set[Key]:
    found: set[Key] = set()
    lease = h.context["lease_ns"]
    for hold in holds(h):
        statuses = [d for d in h.ops if d.op.kind == "status_all" and d.outcome == "ok"]
        during = [s for s in statuses if s.start >= hold.start and s.done <= hold.until]
        if any(hold.job not in s.jobs for s in during):
            found.add((hold.claim.number, hold.job, "not listed while it was held"))
    missing = {job for _, job, _ in found}
    for hold in holds(h):
        e = hold.ended
        if e is None or hold.job in missing or e.op.kind != "complete" or e.outcome != "ok" or hold.until != e.start:
            continue
        refused = not any(e.accepted(p) for p, job in enumerate(e.jobs) if job == hold.job)
        alone = len([c for c in h.handles("claim", "ok") if c.job == hold.job]) == 1 and not ends_of(
            h, hold.job, "ok", "info"
        )
        running = lease is None or e.done <= hold.claim.start + lease
        unknown = h.context["semantics"] == "at-least-once" and any(
            u.outcome == "info" and u.start <= e.done for u in h.claims
        )
        deleted = any(d.start <= e.done and d.done >= hold.claim.start for d in h.deletions)
        if refused and alone and running and deleted and not unknown:
            found.add((hold.claim.number, hold.job, "complete was refused"))
    return found


def delete_one_transaction(h: Small) -> set[Key]:
    found: set[Key] = set()
    for d in h.ops:
        if d.op.kind not in ("delete_many", "clean_by_tag", "wipe_all"):
            continue
        mine = sorted((s for s, n in h.statements if n == d.number), key=lambda s: (s.done, s.start))
        transactions = 0
        for connection in {s.connection for s in mine}:
            wrote = False
            for s in mine:
                if s.connection != connection or s.error:
                    continue
                wrote |= s.kind == "write"
                transactions += wrote and s.commits
                if s.commits or s.kind in ("commit", "rollback"):
                    wrote = False
        asked_for = [a for a in h.acquisitions if a.process == d.op.process and d.start <= a.asked <= d.done]
        got = sum(a.error is None for a in asked_for)
        errors = sum(s.error is not None for s in mine)
        nothing = d.op.kind == "delete_many" and d.op.requested == 0
        if transactions > 1 or got > 1 + errors or (nothing and (mine or asked_for)):
            found.add((d.number,))
    return found


@dataclass(frozen=True)
class Shown:
    """What a read or a status showed of a run; `jobs` is None where it was not there."""

    by: Done
    run: str
    jobs: int | None
    listed: bool


def submit_atomic(h: Small) -> set[Key]:
    submitted = [d for d in h.ops if d.op.kind == "submit_run" and d.outcome == "ok"]
    sizes = {d.op.requested for d in h.ops if d.op.kind == "submit_run" and d.outcome != "ok"}
    taking = ("complete", "fail", "claim") if h.context["semantics"] == "at-most-once" else ("complete", "fail")
    less = [d.start for d in [*h.deletions, *h.of(*taking)]]
    statuses = [d for d in h.ops if d.op.kind == "status_all" and d.outcome == "ok"]
    relating = any(r["jobs"] > 0 for s in statuses for r in s.op.value["runs"])
    listing = any(
        any(not r["listed"] for r in s.op.value["runs"])
        and any(r["listed"] and r["jobs"] > 0 for r in s.op.value["runs"])
        for s in statuses
    )
    shown = [
        Shown(d, text(d.op.value["run"]), d.op.value["jobs"], listed=True)
        for d in h.ops
        if d.op.kind == "read_run" and d.outcome == "ok"
    ]
    for s in statuses if relating else []:
        shown += [Shown(s, text(r["run"]), r["jobs"], r["listed"]) for r in s.op.value["runs"]]
        there = {text(r["run"]) for r in s.op.value["runs"]}
        shown += [
            Shown(s, text(m.op.value["run"]), None, listed=True)
            for m in submitted
            if m.done <= s.start and m.op.requested and text(m.op.value["run"]) not in there
        ]
    found: set[Key] = set()
    for v in shown:
        mine = [m for m in submitted if text(m.op.value["run"]) == v.run and m.start <= v.by.done]
        known = [(m.op.requested, m.done) for m in mine]
        unfinished = [(sizes.copy().pop(), END)] if len(sizes) == 1 else [(None, END)]
        for size, done in known or unfinished:
            found |= {(v.run, wrong) for wrong in _wrong_of(v, size, done, listing, min(less, default=END))}
    return found


def _wrong_of(v: Shown, size: int | None, done: int, listing: bool, since: int) -> Iterator[str]:  # noqa: FBT001
    if not v.listed:
        if listing:
            yield "its jobs were listed without it"
    elif since <= v.by.done:
        return
    elif v.jobs is None:
        if done <= v.by.start:
            yield "it was not there"
    elif size is not None and v.jobs != size:
        yield "it had some of its jobs only"


def reads_answered(h: Small) -> set[Key]:
    reads = [d for d in h.ops if d.op.kind in ("status_all", "read_run", "read_progress")]
    wrong = [d for d in reads if d.outcome != "ok" and d.op.done is not None and d.op.error != "malformed"]
    return {(d.number,) for d in wrong if not any(_first_since(h, d, cut) for cut in h.of("cut"))}


def _first_since(h: Small, read: Done, cut: Done) -> bool:
    """Whether a cut of its process's connection explains that a read was not answered."""
    if read.worker not in [str(job) for job in cut.op.jobs] or cut.start > read.done:
        return False
    between = [d for d in h.ops if d.op.process == read.op.process and d.start >= cut.start and d.done <= read.start]
    return not any(d.outcome == "ok" for d in between)


def batch_limit(h: Small) -> set[Key]:
    found: set[Key] = set()
    most = h.context["most_running"]
    for c in h.claims:
        if c.outcome != "ok" or not c.jobs:
            continue
        if c.op.requested and len(c.jobs) > c.op.requested:
            found.add(((c.number,), None))
        held = [hold for hold in holds(h) if hold.start <= c.done < hold.until]
        if most is not None and len(held) > most and c in [hold.claim for hold in held]:
            found.add((tuple(sorted({hold.claim.number for hold in held})), len(held)))
    return found


MODELS: dict[str, Callable[[Small], set[Key]]] = {
    model.__name__.replace("_", "-"): model
    for model in (
        batch_limit,
        write_budget,
        progress_fresh,
        progress_monotonic,
        progress_final,
        pool_exhausted,
        delete_exact,
        delete_one_transaction,
        delete_spares_running,
        submit_atomic,
        reads_answered,
    )
}
