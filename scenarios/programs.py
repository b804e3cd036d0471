"""Programs of operations that nobody thought of: what each worker does is made up, with the schedule, from what the system offers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from harness.protocols import Handle, JobId
from harness.scenario import Cast, Client, Example, Load, Part, Programs, Stage
from scenarios.claiming import SETUP_SECONDS, claim_few, enqueue, install

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

LONGEST: Final = 5  # operations of one program
SWITCHES: Final = 16
CLAIMS: Final = 3  # more of them than of other operations, without which there is little to do
# Of what a system offers: what a worker may do at any time, and what it does to the jobs it holds. A number goes with each: of jobs
# claimed or enqueued, which of the jobs there are, or how many tenths of the work are done, which is told, written and read.
ANY_TIME: Final = ("claim", "enqueue", "delete_many", "read_progress", "status_all", "recover")
HOLDING: Final = ("complete", "fail", "heartbeat", "report_progress")

Program = tuple[tuple[str, int], ...]


def perform(client: Client, operations: Sequence[tuple[str, int]], jobs: Sequence[JobId]) -> Iterator[None]:
    """Do what a program says; complete what is still held when all have done their part."""
    held: tuple[Handle, ...] = ()
    for kind, number in operations:
        if kind == "claim":
            held += client.claim(number).handles
        elif kind == "enqueue":
            client.enqueue([{"payload": "made up", "priority": 0, "tag": "contend"}] * number)
        elif kind in ("delete_many", "read_progress"):
            job = jobs[number % len(jobs)]
            client.delete_many("jobs", [job]) if kind == "delete_many" else client.read_progress(job)
        elif kind in ("status_all", "recover"):
            getattr(client, kind)()
        elif held:
            held = _to_those_held(client, kind, number, held)
    yield
    if held:
        client.complete(held)


def _to_those_held(client: Client, kind: str, number: int, held: tuple[Handle, ...]) -> tuple[Handle, ...]:
    """Do something to the jobs that are held; gives those that still are."""
    if kind == "report_progress":
        client.report_progress(held[0].job, number / 10)
        if client.offers("flush_progress"):
            client.flush_progress(held[0].job)
        if client.offers("read_progress"):
            client.read_progress(held[0].job)
    elif kind == "heartbeat":
        reply = getattr(client, kind)(held)
        return held if reply.outcome != "ok" else tuple(reply.handles)
    elif getattr(client, kind)(held).outcome != "fail":
        return ()
    return held


def tend(client: Client, most: int, enqueue: int = 0) -> None:
    """Enqueue so many jobs; with none, claim and complete until nothing is left, or more was handed out than there can be."""
    if enqueue:
        client.enqueue([{"payload": f"job {each}", "priority": 0, "tag": "contend"} for each in range(enqueue)])
        return
    for _ in range(2 * most + 2):
        reply = client.claim(most)
        if not reply.handles:
            break
        client.complete(reply.handles)


def workers(stage: Stage, setup: str) -> Cast:
    """An empty queue, with what the planner knows of it from when it held one job; workers, to be told what to do."""
    stage.insist(setup, install, within=SETUP_SECONDS, phase="setup")
    stage.insist(setup, enqueue, within=SETUP_SECONDS, phase="setup", jobs=1)
    stage.analyze()
    stage.insist(setup, claim_few, within=SETUP_SECONDS, phase="setup", batch=1)
    load = stage.load
    most = load.jobs + load.workers * LONGEST
    return [Part(f"w{n}", perform) for n in range(load.workers)], Part("quiet", tend, {"most": most})


def programs(load: Load, capabilities: Sequence[str]) -> Programs:
    """Programs of at most so many workers, jobs and jobs a claim, of the operations that a system offers."""
    offered = [kind for kind in (*ANY_TIME, *HOLDING) if kind in capabilities and hasattr(Client, kind)]
    most = _most(load)
    every = tuple((kind, most.get(kind, 0)) for kind in offered)
    return Programs(partial(_examples, load, tuple(offered)), Example(load.jobs, (every,) * load.workers))


def _most(load: Load) -> Mapping[str, int]:
    return {
        "claim": load.batch,
        "enqueue": 2,
        "report_progress": 9,
        "delete_many": load.jobs - 1,
        "read_progress": load.jobs - 1,
    }


def _examples(load: Load, offered: Sequence[str]) -> SearchStrategy[Example]:
    from hypothesis import strategies as st  # noqa: PLC0415  # it takes a third of a second, which who makes nothing up need not wait

    most, least = _most(load), {"claim": 1, "enqueue": 1, "report_progress": 1}
    operations: list[Any] = [
        st.tuples(st.just(kind), st.integers(least.get(kind, 0), most.get(kind, 0)))
        for kind in (*("claim",) * CLAIMS, *offered)
    ]
    program = st.lists(st.one_of(operations), min_size=1, max_size=LONGEST).map(sensible)
    return st.builds(
        _example,
        st.integers(1, load.jobs),
        st.lists(program.filter(bool), min_size=1, max_size=load.workers),
        st.lists(st.integers(0, load.workers - 1), min_size=SWITCHES // 4, max_size=SWITCHES),
    )


def _example(jobs: int, programs: Sequence[Program], switches: Sequence[int]) -> Example:
    while switches and not switches[-1]:
        switches = switches[:-1]
    return Example(jobs, tuple(programs), tuple(switches))


def sensible(program: Sequence[tuple[str, int]]) -> Program:
    """Leave out what does something to jobs before any was claimed."""
    claimed = next((place for place, (kind, _) in enumerate(program) if kind == "claim"), len(program))
    return tuple(each for place, each in enumerate(program) if place > claimed or each[0] not in HOLDING)
