"""The reference queue, whatever the engine: what a claim is, and everything about a job but how it is claimed.

A job is ready, then running, then done; `fail` makes a running one ready again. A strategy differs from another in one
method, `_take`; an engine in one, `_run`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """One job in the hands of one worker.

    `token` rises with every claim of the job, so (job, token) names this claim and no other: a job that was handed on
    since no longer listens to it. `attempt` counts the executions begun, from 1.
    """

    job: int
    token: int
    attempt: int


class Queue(ABC):
    """A job queue in one table, `jobs`, of the database at `url`.

    One per process, used by one thread at a time. The connection is opened at the first use at the latest. Errors of the driver
    are raised as they are; none is swallowed. Options a queue does not know are ignored.
    """

    databases: ClassVar[tuple[str, ...]]
    semantics: ClassVar[Literal["exactly-once-claim", "at-least-once", "at-most-once"]] = "exactly-once-claim"
    ordered: ClassVar[bool] = True
    max_workers: ClassVar[int | None] = None

    @abstractmethod
    def __init__(self, url: str, **options: object) -> None: ...

    @abstractmethod
    def install(self) -> None:
        """Make the table in an empty database."""

    def enqueue(self, jobs: Sequence[dict[str, Any]]) -> list[int]:
        """Add jobs, all or none, in one statement, and give their ids in the same order.

        Keys of a job, all optional: `payload` (anything JSON can hold), `priority` (an integer, the larger first, 0
        without), `tag` and `run` (text).
        """
        if not jobs:
            return []
        rows = [
            {
                "payload": json.dumps(job.get("payload")),
                "priority": int(job.get("priority") or 0),
                "tag": job.get("tag"),
                "run": job.get("run"),
            }
            for job in jobs
        ]
        return sorted(job for (job,) in self._run("enqueue", jobs=json.dumps(rows)))

    def claim(self, worker: str, limit: int) -> list[Claim]:
        """Hand at most `limit` ready jobs to `worker`: larger priority first, then the older. Empty: there was none."""
        if limit < 1:
            raise ValueError(f"A claim of {limit} jobs was asked for; ask for at least 1.")
        best_first = sorted(self._take(worker, limit), key=lambda row: (-row[0], row[1]))
        return [Claim(job, token, attempt) for _, job, token, attempt in best_first]

    def complete(self, worker: str, handles: Sequence[Claim]) -> list[Claim]:  # noqa: ARG002  # the token decides, not the name
        """Finish the jobs of these claims in one statement; give those accepted, in the order given.

        Refused, and not in the answer: a claim whose job was handed on, given back or finished since, or that comes
        twice.
        """
        return self._fenced("complete", handles)

    def fail(self, worker: str, handles: Sequence[Claim]) -> list[Claim]:  # noqa: ARG002  # as in complete
        """Make the jobs of these claims ready again in one statement; give those accepted, as `complete` does."""
        return self._fenced("fail", handles)

    def status_all(self) -> list[dict[str, Any]]:
        """Every job, oldest first, with the keys below; `status` is ready, running or done."""
        columns = ("job", "status", "priority", "tag", "run", "worker", "token", "attempt")
        return [dict(zip(columns, row, strict=True)) for row in self._run("status_all")]

    @abstractmethod
    def close(self) -> None:
        """Close the connection. Closing twice is harmless."""

    @abstractmethod
    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        """The strategy: set at most `limit` ready jobs running; rows of (priority, job, token, attempt), unordered."""

    @abstractmethod
    def _run(self, statement: str, **parameters: object) -> list[Row]:
        """Run the statement of this name to its end, in its own transaction unless one is open, and give its rows."""

    def _fenced(self, statement: str, handles: Sequence[Claim]) -> list[Claim]:
        if not handles:
            return []
        pairs = json.dumps([(handle.job, handle.token) for handle in handles])
        unanswered = set(self._run(statement, handles=pairs))
        accepted = []
        for handle in handles:
            if (handle.job, handle.token) in unanswered:
                unanswered.remove((handle.job, handle.token))
                accepted.append(handle)
        return accepted
