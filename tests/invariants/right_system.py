"""A queue that does everything right, in a simulated world: whatever history it leaves, nobody may call it broken.

Many processes talk to one `Store`. A call takes effect at one moment between its invocation and its return; it may fail with nothing
done, or end with nobody knowing; processes are killed. What a right queue is free to do as it likes, `Manners` says.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from literal_history import Acquisition, History, Op, Process, Statement

MS = 1_000_000
INTERVAL_NS = 200 * MS
LEASE_NS = 150 * MS
Step = Generator[int, None, Any]  # yields how long it waits


@dataclass(frozen=True)
class Manners:
    """What a right queue may do in one way or another."""

    ids_again: bool = False  # an id that became free is given again
    text_ids: bool = False
    removes_finished: bool = False
    swallows_late: bool = False  # progress told of a job that is no longer held; else it is refused
    lists_runs: bool = True
    lease: bool = False
    fenced: bool = True  # else a completion that comes too late is accepted: at-least-once
    at_most_once: bool = False  # a job is gone once it is handed out
    faults: bool = False  # calls fail or end unknown, and a process is killed

    @property
    def tells(self) -> bool:
        """Whether it keeps the progress of a job that has ended, so that it can show it."""
        return not (self.removes_finished or self.at_most_once)

    def context(self) -> dict[str, object]:
        """What such a system promises."""
        semantics = "exactly-once-claim" if self.fenced else "at-least-once"
        return {
            "semantics": "at-most-once" if self.at_most_once else semantics,
            "lease_ns": LEASE_NS if self.lease else None,
            "flush_interval_ns": INTERVAL_NS,
            "most_running": None,
            "faults": True,
        }


@dataclass
class Job:
    run: object
    order: int
    tag: str
    status: str = "ready"
    token: int = 0
    until: int = 0
    progress: float | None = None


class Store:
    """The database: every method happens at one moment."""

    def __init__(self, manners: Manners) -> None:
        self.manners = manners
        self.jobs: dict[object, Job] = {}
        self.runs: dict[object, str] = {}
        self.actions: dict[object, object] = {}
        self.orders = count()
        self.next = {"job": 1, "run": 1, "action": 1}

    def _id(self, kind: str, taken: Iterable[object]) -> object:
        number = self.next[kind]
        if self.manners.ids_again:
            used = set(taken)
            number = next(n for n in count(1) if self._named(n) not in used)
        self.next[kind] = number + 1
        return self._named(number)

    def _named(self, number: int) -> object:
        return f"id-{number}" if self.manners.text_ids else number

    def enqueue(self, number: int, run: object = None, tag: str = "a") -> tuple[object, ...]:
        ids = []
        for _ in range(number):
            ids.append(self._id("job", self.jobs))
            self.jobs[ids[-1]] = Job(run, next(self.orders), tag)
        return tuple(ids)

    def submit(self, number: int, tag: str) -> object:
        run = self._id("run", self.runs)
        self.runs[run] = tag
        self.enqueue(number, run, tag)
        return run

    def add_actions(self, job: object, number: int) -> tuple[object, ...]:
        ids = []
        for _ in range(number if job in self.jobs else 0):
            ids.append(self._id("action", self.actions))
            self.actions[ids[-1]] = job
        return tuple(ids)

    def free(self, job: Job, now: int) -> bool:
        return job.status == "ready" or (job.status == "running" and self.manners.lease and job.until <= now)

    def claim(self, limit: int, now: int) -> list[tuple[object, int]]:
        best = sorted((job.order, id_) for id_, job in self.jobs.items() if self.free(job, now))[:limit]
        for _, id_ in best:
            job = self.jobs[id_]
            job.status, job.token, job.until, job.progress = "running", next(self.orders) + 1, now + LEASE_NS, None
        claimed = [(id_, self.jobs[id_].token) for _, id_ in best]
        if self.manners.at_most_once:
            self._drop(id_ for id_, _ in claimed)
        return claimed

    def end(self, status: str, handles: list[tuple[object, int]]) -> list[int]:
        """Finish or give back; gives the positions accepted."""
        accepted = []
        for place, (id_, token) in enumerate(handles):
            job = self.jobs.get(id_)
            if job and (
                (job.token == token and job.status == "running") or (not self.manners.fenced and status == "done")
            ):
                job.status = status
                accepted.append(place)
                if status == "done" and self.manners.removes_finished:
                    self._drop([id_])
        return list(range(len(handles))) if self.manners.at_most_once else accepted

    def write_progress(self, changes: dict[object, tuple[int, float]]) -> None:
        for id_, (token, fraction) in changes.items():
            job = self.jobs.get(id_)
            if job and job.token == token and job.status == "running":
                job.progress = max(fraction, job.progress or 0.0)

    def _drop(self, ids: Iterable[object]) -> None:
        for id_ in list(ids):
            self.jobs.pop(id_, None)
            self.actions = {action: job for action, job in self.actions.items() if job != id_}

    def _running(self, now: int) -> set[object]:
        return {id_ for id_, job in self.jobs.items() if not self.free(job, now) and job.status == "running"}

    def _busy_runs(self, now: int) -> set[object]:
        return {self.jobs[id_].run for id_ in self._running(now)}

    def delete(self, kind: str, ids: Iterable[object], now: int) -> int:
        running, wanted = self._running(now), set(ids)
        if kind == "jobs":
            gone = wanted & self.jobs.keys() - running
            self._drop(gone)
        elif kind == "runs":
            gone = wanted & self.runs.keys() - self._busy_runs(now)
            self._drop([id_ for id_, job in self.jobs.items() if job.run in gone])
            self.runs = {run: tag for run, tag in self.runs.items() if run not in gone}
        else:
            gone = {action for action in wanted & self.actions.keys() if self.actions[action] not in running}
            self.actions = {action: job for action, job in self.actions.items() if action not in gone}
        return len(gone)

    def clean(self, tag: str | None, now: int) -> int:
        busy, before = self._busy_runs(now) - {None}, len(self.jobs) + len(self.runs) + len(self.actions)
        runs = {run for run, own in self.runs.items() if tag in (None, own) and run not in busy}
        running = self._running(now)
        jobs = [
            id_
            for id_, job in self.jobs.items()
            if job.run in runs or (job.run is None and tag in (None, job.tag) and id_ not in running)
        ]
        self._drop(jobs)
        self.runs = {run: own for run, own in self.runs.items() if run not in runs}
        return before - len(self.jobs) - len(self.runs) - len(self.actions)

    def status(self) -> tuple[tuple[object, ...], dict[str, object]]:
        own = dict.fromkeys(self.runs if self.manners.lists_runs else (), 0)
        for job in self.jobs.values():
            if job.run is not None:
                own[job.run] = own.get(job.run, 0) + 1
        listed = [{"run": run, "jobs": number, "listed": True} for run, number in own.items()]
        return tuple(self.jobs), {"runs": listed}

    def read_run(self, run: object) -> tuple[object, ...] | None:
        return tuple(id_ for id_, job in self.jobs.items() if job.run == run) if run in self.runs else None


@dataclass
class Call:
    """What came of a call, as its caller knows it."""

    outcome: str
    jobs: tuple[Any, ...] = ()
    value: Any = None
    returned: int | None = None
    accepted: tuple[int, ...] | None = None


@dataclass
class World:
    """Time, chance, and all that is written down."""

    rng: random.Random
    manners: Manners
    store: Store
    now: int = 0
    ops: list[Op] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    acquisitions: list[Acquisition] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    _events: list[tuple[int, int, str, Step]] = field(default_factory=list)
    _count: Any = field(default_factory=count)

    def start(self, process: str, step: Step, after: int = 0) -> None:
        heapq.heappush(self._events, (self.now + after, next(self._count), process, step))

    def run(self) -> None:
        while self._events:
            self.now, _, process, step = heapq.heappop(self._events)
            try:
                wait = next(step)
            except StopIteration:
                continue
            self.start(process, step, wait)

    def while_ms(self, most: float) -> int:
        return 1 + int(self.rng.uniform(0, most) * MS)

    def alive(self, process: str) -> bool:
        return process.partition(".")[0] not in self.dead

    def call(
        self, process: str, kind: str, effect: Callable[[], Call], *, writes: bool = True, slow: float = 6, **asked: Any
    ) -> Generator[int, None, Call]:
        """A call of the system: it happens at one moment, or fails, or nobody knows; its process may die in it."""
        if not self.alive(process):
            return Call("info")
        worker, start = process.partition(".")[0], self.now
        fate = self.rng.random() if self.manners.faults and writes else 1.0
        yield self.while_ms(slow)
        late = not self.alive(process)
        happens = fate >= 0.06 and (not late or self.rng.random() < 0.5)
        answer = Call("fail")
        if happens:
            at = self.now
            answer = effect()
            if kind != "report_progress":
                self.statements.append(Statement(worker, at, at + 1, "write" if writes else "read", commits=writes))
                self.acquisitions.append(Acquisition(worker, start, at - 1, at + 2))
        yield self.while_ms(slow)
        if late or not self.alive(process):
            self.ops.append(Op(process, kind, start, None, outcome="info", **asked))
            return Call("info")
        error = None
        if answer.outcome == "ok" and fate < 0.09:
            answer, error = Call("info"), "connection"
        elif answer.outcome == "fail":
            error = "refused" if happens else self.rng.choice(("lock", "deadlock"))
        told = {k: v for k, v in vars(answer).items() if k not in ("outcome", "jobs") and v is not None}
        jobs = {"jobs": answer.jobs} if answer.jobs else {}
        self.ops.append(
            Op(process, kind, start, self.now, outcome=answer.outcome, error=error, **{**asked, **told, **jobs})
        )
        return answer


class Worker:
    """A process that claims and works, its threads, and what it has told and not yet written."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.held: dict[object, int] = {}
        self.buffer: dict[object, tuple[int, float]] = {}
        self.busy = 0

    def flush(self) -> None:
        self.world.store.write_progress(self.buffer)
        self.buffer.clear()

    def in_background(self, until: int) -> Step:
        world = self.world
        while world.now < until and world.alive(self.name):
            yield int(world.rng.uniform(0.3, 0.9) * INTERVAL_NS)
            if self.buffer and world.alive(self.name):
                self.flush()
                world.statements.append(Statement(self.name, world.now, world.now + 1, commits=True))

    def report(self, process: str, job: object, fraction: float) -> Step:
        def effect() -> Call:
            token = self.held.get(job)
            if token is None:
                return Call("ok" if self.world.manners.swallows_late else "fail")
            kept = self.buffer.get(job, (token, 0.0))
            self.buffer[job] = (token, max(fraction, kept[1]) if kept[0] == token else fraction)
            return Call("ok")

        return (yield from self.world.call(process, "report_progress", effect, slow=1, jobs=(job,), value=fraction))

    def end(self, process: str, kind: str, handles: list[tuple[object, int]]) -> Step:
        def effect() -> Call:
            self.flush()
            accepted = self.world.store.end("done" if kind == "complete" else "ready", handles)
            for job, token in handles:
                if self.held.get(job) == token:
                    del self.held[job]
            return Call("ok", accepted=None if len(accepted) == len(handles) else tuple(accepted))

        return (yield from self.world.call(process, kind, effect, jobs=tuple(job for job, _ in handles)))

    def scan(self, process: str, handle: tuple[object, int]) -> Step:
        world, job = self.world, handle[0]
        start = world.now
        for step in range(world.rng.randint(0, 4) if world.manners.tells else 0):
            yield from self.report(process, job, round(0.2 * (step + world.rng.choice((0, 1))), 2))
            yield world.while_ms(60)
        world.ops.append(Op(process, "scan", start, world.now if world.alive(process) else None, jobs=(job,)))
        how = world.rng.choice(("complete", "complete", "complete", "fail", "close"))
        for _ in range(3 if how != "close" else 0):
            if (yield from self.end(process, how, [handle])).outcome != "fail":
                break
        if world.manners.tells and world.rng.random() < 0.3:
            yield from self.report(process, job, 1.0)
        self.busy -= 1

    def work(self, until: int) -> Step:
        world, threads = self.world, world_threads(self.name)
        world.start(self.name, self.in_background(until))
        while world.now < until and world.alive(self.name):
            limit = world.rng.randint(1, 3)

            def claim(limit: int = limit) -> Call:
                claimed = world.store.claim(limit, world.now)
                return Call("ok", tuple(job for job, _ in claimed), value=claimed)

            answer = yield from self._claim(claim, limit)
            handles = answer.value or []
            self.busy = len(handles)
            for thread, handle in zip(threads, handles, strict=False):
                world.start(thread, self.scan(thread, handle))
            while self.busy and world.alive(self.name):
                yield 5 * MS
            yield world.while_ms(20)
        if world.alive(self.name):

            def close() -> Call:
                self.flush()
                return Call("ok")

            yield from world.call(self.name, "close", close)

    def _claim(self, effect: Callable[[], Call], limit: int) -> Generator[int, None, Call]:
        """Claim; what is in hand is known from the moment the answer is."""
        world = self.world
        answer = yield from world.call(self.name, "claim", effect, requested=limit)
        if answer.outcome == "ok" and answer.jobs:
            claimed = answer.value
            world.ops[-1] = Op(**{**vars(world.ops[-1]), "value": None, "tokens": tuple(token for _, token in claimed)})
            self.held |= dict(claimed)
        return answer


def world_threads(name: str) -> list[str]:
    return [f"{name}.{number}" for number in range(3)]


def make_work(world: World, process: str, until: int, known: dict[str, list[Any]]) -> Step:
    """Enqueue, submit, and add actions."""
    rng, store = world.rng, world.store
    while world.now < until:
        what = rng.choice(("enqueue", "submit_run", "add_actions"))
        number, tag = rng.randint(1, 3), rng.choice("ab")
        if what == "enqueue":

            def enqueue(number: int = number) -> Call:
                return Call("ok", store.enqueue(number))

            answer = yield from world.call(process, what, enqueue, requested=number)
            known["jobs"] += answer.jobs
        elif what == "submit_run":

            def submit(number: int = number, tag: str = tag) -> Call:
                return Call("ok", value={"run": store.submit(number, tag)})

            answer = yield from world.call(process, what, submit, requested=number)
            known["runs"] += [answer.value["run"]] if answer.value else []
            if answer.value and not (world.manners.faults and rng.random() < 0.2):
                yield from read_run(world, process, answer.value["run"], known)
        elif known["jobs"]:
            job = rng.choice(known["jobs"])

            def add(job: object = job, number: int = number) -> Call:
                if job not in store.jobs:
                    return Call("fail")
                return Call(
                    "ok", tuple({"action": each} for each in store.add_actions(job, number)), value={"job": job}
                )

            answer = yield from world.call(process, what, add, requested=number)
            known["actions"] += [each["action"] for each in answer.jobs]
        yield world.while_ms(60)


def clean_up(world: World, process: str, until: int, known: dict[str, list[Any]], *, by_tag: bool) -> Step:
    """Delete what is known, what is not, and what comes twice; by tag now and then."""
    rng, store = world.rng, world.store
    while world.now < until:
        yield world.while_ms(80)
        if by_tag and rng.random() < 0.3:
            tag = rng.choice(("a", "b", None))

            def clean(tag: str | None = tag) -> Call:
                number = store.clean(tag, world.now)
                return Call("ok", value={"all": number}, returned=number)

            yield from world.call(process, "clean_by_tag" if tag else "wipe_all", clean)
            continue
        kind = rng.choice(("jobs", "jobs", "runs", "actions"))
        ids = [rng.choice([*known[kind], 999, -1]) for _ in range(rng.randint(0, 6))]
        named = tuple(ids) if kind == "jobs" else tuple({kind[:-1]: each} for each in ids)

        def delete(kind: str = kind, ids: list[Any] = ids) -> Call:
            return Call("ok", value={"kind": kind, "deleted": store.delete(kind, ids, world.now)})

        if ids:
            yield from world.call(process, "delete_many", delete, jobs=named, requested=len(ids), value={"kind": kind})


def read_run(world: World, process: str, run: object, known: dict[str, list[Any]]) -> Step:
    def read() -> Call:
        jobs = world.store.read_run(run)
        known["jobs"] += [job for job in jobs or () if job not in known["jobs"]]
        return Call("ok", jobs or (), value={"run": run, "jobs": None if jobs is None else len(jobs)})

    return (yield from world.call(process, "read_run", read, writes=False, value={"run": run}))


def look(world: World, process: str, until: int, known: dict[str, list[Any]]) -> Step:
    """Read progress, runs and the status of all."""
    rng, store = world.rng, world.store
    while world.now < until:
        what = rng.choice(("read_progress", "read_progress", "read_run", "status_all"))
        if what == "read_progress" and known["jobs"]:
            job = rng.choice(known["jobs"])

            def progress(job: object = job) -> Call:
                return Call("ok", value=store.jobs[job].progress if job in store.jobs else None)

            yield from world.call(process, what, progress, writes=False, jobs=(job,))
        elif what == "read_run" and known["runs"]:
            yield from read_run(world, process, rng.choice(known["runs"]), known)
        elif what == "status_all":

            def status() -> Call:
                jobs, value = store.status()
                return Call("ok", jobs, value=value)

            yield from world.call(process, what, status, writes=False)
        yield world.while_ms(40)


def kill_one(world: World, process: str) -> Step:
    start = world.now
    yield world.while_ms(2)
    world.dead.add(process)
    yield world.while_ms(2)
    world.ops.append(Op("nemesis", "kill", start, world.now, jobs=(process,)))


def right_history(seed: int, schedule: int, manners: Manners, store: type[Store] = Store) -> History:
    """What a right system leaves behind in some seconds; it is right if its store is."""
    rng = random.Random(f"{seed}/{schedule}")
    world = World(rng, manners, store(manners))
    known: dict[str, list[Any]] = {"jobs": [], "runs": [], "actions": []}
    until = 900 * MS
    deletes = rng.random() < 0.6
    for name in ("w0", "w1"):
        world.start(name, Worker(world, name).work(until), after=world.while_ms(30))
    world.start("maker", make_work(world, "maker", until // 2, known))
    for name in ("s1", "s2"):
        world.start(name, look(world, name, 3 * until, known))
    if deletes:
        for name in ("c1", "c2"):
            world.start(name, clean_up(world, name, until, known, by_tag=rng.random() < 0.5))
    if manners.faults and rng.random() < 0.5:
        world.start("nemesis", kill_one(world, "w0"), after=world.while_ms(900))
    world.run()
    names = sorted({op.process for op in world.ops} | {"w0", "w1", "s1", "s2", "maker", "c1", "c2"})
    processes = [
        Process(name, "worker", 0, None if not world.alive(name) else world.now + 1, "done", schedule) for name in names
    ]
    return History(
        [Op(**{**vars(op), "schedule": schedule}) for op in world.ops],
        [Statement(**{**vars(s), "schedule": schedule}) for s in world.statements],
        processes,
        [Acquisition(**{**vars(a), "schedule": schedule}) for a in world.acquisitions],
    )
