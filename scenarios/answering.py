"""One of everything asked of a system, alone, and every answer looked at: what `contend doctor --system` shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from harness.errors import MalformedAnswer
from harness.protocols import Handle, JobId
from harness.scenario import Client, Reply

PRIORITIES: Final = (0, 1, 2, 0, 1)  # of the jobs to begin with
TAG: Final = "doctor"
MOST_CLAIMS: Final = 100  # until a queue must be empty that never held more than a few jobs
# What each optional method is for: what cannot be run without it.
UNLOCKS: Final[dict[str, str]] = {
    "fail": "jobs given back, in `contend explore programs`",
    "heartbeat": "leases that are extended, in claim-recovery",
    "recover": "claim-recovery",
    "report_progress": "progress-updates and pool-pressure",
    "flush_progress": "progress that waits in the worker, in progress-updates",
    "read_progress": "progress-updates and pool-pressure",
    "submit_run": "atomic-submit, bulk-delete and cleanup-churn",
    "read_run": "atomic-submit",
    "add_actions": "actions in bulk-delete",
    "delete_many": "bulk-delete",
    "clean_by_tag": "cleanup-churn",
    "wipe_all": "wiping in cleanup-churn",
    "status_all": "cleanup-churn",
}


class _Wrong(Exception):
    """An answer that cannot be right."""


def ask_everything(client: Client, ordered: bool, exclusive: bool) -> list[list[Any]]:  # noqa: FBT001  # told by name
    """Ask for all that is offered; gives [method, whether it was right, what was seen] for each, up to one that broke the contract."""
    rows: list[list[Any]] = []
    asked = _Asked(client, ordered=ordered, exclusive=exclusive)
    steps: list[tuple[str, Callable[[], str]]] = [
        ("install", asked.install),
        ("enqueue", asked.enqueue),
        ("claim", asked.claim),
        ("complete", asked.complete),
        *((name, getattr(asked, name)) for name in UNLOCKS if client.offers(name)),
        ("close", asked.close),
    ]
    for name, step in steps:
        try:
            rows.append([name, True, step()])
        except MalformedAnswer as error:
            return [*rows, [name, False, str(error)]]
        except _Wrong as wrong:
            rows.append([name, False, str(wrong)])
    return rows


class _Asked:
    """What was asked of a system, and what it has answered so far."""

    def __init__(self, client: Client, *, ordered: bool, exclusive: bool) -> None:
        self._client = client
        self._ordered = ordered
        self._exclusive = exclusive
        self._jobs: list[JobId] = []  # enqueued last
        self._held: list[tuple[Handle, ...]] = []  # claimed first, to be completed
        self._told: Handle | None = None  # whose progress was reported
        self._run: JobId | None = None

    def install(self) -> str:
        _ok(self._client.install())
        return "done"

    def enqueue(self) -> str:
        jobs = self._add(PRIORITIES)
        return f"{len(jobs)} jobs, {_listed(jobs)}"

    def claim(self) -> str:
        client = self._client
        first = _ok(client.claim(2))
        second = _ok(client.claim(1))
        for reply, limit in ((first, 2), (second, 1)):
            if not reply.handles:
                raise _Wrong(
                    f"none of {len(PRIORITIES)} jobs that were ready was handed out: the claim of {limit} came back empty"
                )
            if len(reply.handles) > limit:
                raise _Wrong(f"{len(reply.handles)} jobs were handed out where at most {limit} were asked for")
        taken = [handle.job for handle in (*first.handles, *second.handles)]
        unknown = [job for job in taken if job not in self._jobs]
        if unknown:
            raise _Wrong(f"{_listed(unknown)} handed out, which enqueue never gave the id of ({_listed(self._jobs)})")
        if self._exclusive and len({*taken}) < len(taken):
            raise _Wrong(f"a job was handed out twice: {_listed(taken)}")
        best = self._jobs[PRIORITIES.index(max(PRIORITIES))]
        if self._ordered and taken[0] != best:
            raise _Wrong(
                f"it says `ordered`, and {taken[0]!r} was handed out before {best!r}, whose priority is larger"
            )
        self._held = [first.handles, second.handles]
        token = "with tokens" if first.handles[0].token is not None else "without tokens"
        return f"{_listed(taken)}, {token}"

    def complete(self) -> str:
        for handles in self._held:
            self._all_accepted(self._client.complete(handles), len(handles), "complete")
        finished = {handle.job for handles in self._held for handle in handles}
        for _ in range(MOST_CLAIMS):
            reply = _ok(self._client.claim(1))
            if not reply.handles:
                return f"{len(finished)} jobs; then the others, and no job more"
            if self._exclusive and reply.handles[0].job in finished:
                raise _Wrong(f"{reply.handles[0].job!r} was handed out again after it was completed")
            _ok(self._client.complete(reply.handles))
        raise _Wrong(f"after {MOST_CLAIMS} jobs claimed and completed, of {len(PRIORITIES)}, the queue is not empty")

    def fail(self) -> str:
        handle = self._one()
        self._all_accepted(self._client.fail([handle]), 1, "fail")
        again = _ok(self._client.claim(1)).handles
        if again:
            _ok(self._client.complete(again))
        return "given back, and handed out again at once" if again else "given back, and not handed out again at once"

    def heartbeat(self) -> str:
        handle = self._one()
        self._all_accepted(self._client.heartbeat([handle]), 1, "heartbeat")
        _ok(self._client.complete([handle]))
        return "a claim extended"

    def recover(self) -> str:
        handle = self._one()
        count = _ok(self._client.recover()).value
        _ok(self._client.complete([handle]))
        return f"{count} of 1 held job made claimable again"

    def report_progress(self) -> str:
        self._told = self._one()
        _ok(self._client.report_progress(self._told.job, 0.5))
        return "half of a job"

    def flush_progress(self) -> str:
        _ok(self._client.flush_progress(None))
        return "of all jobs"

    def read_progress(self) -> str:
        held = self._told or self._one()
        fraction = _ok(self._client.read_progress(held.job)).value
        flushed = self._client.offers("flush_progress")
        if self._client.offers("report_progress") and fraction != 0.5 and (flushed or fraction is not None):
            raise _Wrong(f"{fraction!r} is read where 0.5 was reported{' and flushed' if flushed else ''}")
        _ok(self._client.complete([held]))
        return f"{fraction!r}"

    def submit_run(self) -> str:
        self._run = _ok(self._client.submit_run(TAG, _jobs((0, 0)))).value
        return f"run {self._run!r} of 2 jobs"

    def read_run(self) -> str:
        if self._run is None:
            return "not asked: no run was submitted"
        reply = _ok(self._client.read_run(self._run))
        if not reply.value or len(reply.handles) != 2:
            raise _Wrong(f"of run {self._run!r}, submitted with 2 jobs, {len(reply.handles)} were read")
        return f"run {self._run!r} with its 2 jobs"

    def add_actions(self) -> str:
        (job,) = self._add((0,))
        ids = _ok(self._client.add_actions(job, ["first", "second"])).value
        return f"{_listed(ids)} of job {job!r}"

    def delete_many(self) -> str:
        (job,) = self._add((0,))
        first, again = (_ok(self._client.delete_many("jobs", [job])).value for _ in range(2))
        if (first, again) != (1, 0):
            raise _Wrong(f"deleting a job said {first}, and once more {again}, where 1 and 0 are right")
        return "a job that was ready, once"

    def clean_by_tag(self) -> str:
        return self._cleaned(lambda: self._client.clean_by_tag(TAG))

    def wipe_all(self) -> str:
        return self._cleaned(self._client.wipe_all)

    def status_all(self) -> str:
        (job,) = self._add((0,))
        listed = [handle.job for handle in _ok(self._client.status_all()).handles]
        if job not in listed:
            raise _Wrong(f"job {job!r}, which is there, is not listed")
        return f"{len(listed)} jobs listed"

    def close(self) -> str:
        reply = self._client.close()
        if reply is not None:
            _ok(reply)
        return "closed"

    def _cleaned(self, clean: Callable[[], Reply]) -> str:
        self._add((0,))
        counts = _ok(clean()).value
        return ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing to delete"

    def _add(self, priorities: Sequence[int]) -> list[JobId]:
        self._jobs = [handle.job for handle in _ok(self._client.enqueue(_jobs(priorities))).handles]
        return self._jobs

    def _one(self) -> Handle:
        """A job in our hands, enqueued now unless one was ready."""
        self._add((0,))
        handles = _ok(self._client.claim(1)).handles
        if not handles:
            raise _Wrong("a job was enqueued, and the claim after it came back empty")
        return handles[0]

    @staticmethod
    def _all_accepted(reply: Reply, given: int, what: str) -> None:
        accepted = len(_ok(reply).handles)
        if accepted != given:
            raise _Wrong(f"{accepted} of {given} handles, claimed just now, were accepted by `{what}`")


def _jobs(priorities: Sequence[int]) -> list[dict[str, Any]]:
    return [{"payload": f"job {n}", "priority": p, "tag": TAG, "run": None} for n, p in enumerate(priorities)]


def _ok(reply: Reply) -> Reply:
    if reply.outcome != "ok":
        certainly = "it certainly did not happen" if reply.outcome == "fail" else "nobody can tell whether it happened"
        raise _Wrong(f"an error, and {certainly}: {reply.problem}")
    return reply


def _listed(ids: Sequence[object]) -> str:
    return ", ".join(map(repr, ids))
