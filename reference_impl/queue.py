"""The reference queue, whatever the engine: jobs, the runs they were submitted in, and the actions they have.

A job is ready, then running, then done; `fail` makes a running one ready again, or has it wait for a while. Claims exactly once while the
lease holds, execution at least once: who claims has a lease, by the database's own clock, which `heartbeat` extends; when it has run out,
`recover` makes the job ready for another, or dead once it has had all its attempts. What the one before still says of it is refused, as
each claim has a token. A run goes only with all its jobs, a job with its actions, and nothing that is running is ever deleted.

A strategy of claiming differs from another in one method, `_take`; a way of telling progress in `_writer`; a way of deleting in
`delete_many` and `clean_by_tag`; an engine in the abstract methods at the end.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Final, Literal

from reference_impl.lease import BEATS_A_LEASE, LEASE_SECONDS, MOST_ATTEMPTS, Claim, Heartbeat, SweepIncomplete
from reference_impl.progress import (
    FLUSH_INTERVAL_SECONDS,
    MAX_BATCH_SIZE,
    PATIENCE_SECONDS,
    Batched,
    Buffered,
    Change,
    ProgressWriter,
)

Row = tuple[Any, ...]
Kind = Literal["jobs", "runs", "actions"]
KINDS: Final[tuple[Kind, ...]] = ("jobs", "runs", "actions")
POOL_TIMEOUT_SECONDS: Final = 30.0
_STATUS: Final = ("job", "run", "tag", "status", "priority", "worker", "token", "attempt", "progress", "reason")


class NotHeld(Exception):
    """Progress was reported of a job that this process has not claimed, or no longer holds. Nothing was changed."""

    definite = True


class Queue(ABC):
    """A job queue in three tables, `jobs`, `runs` and `actions`, of the database at `url`.

    Any thread may use it: each has a connection of its own, opened at its first use, or with `pool_size` all share a bounded pool.
    Errors of the driver are raised as they are; none is swallowed. Options a queue does not know are ignored.

    Options: `pool_size` (None; connections all threads share) and `pool_timeout` (30 s to wait for one); `flush_interval` (5 s) and
    `max_batch_size` (10), of progress; `patience_seconds` (30), how long what finds the database busy is tried again; `lease_seconds` (30)
    of a claim; `max_attempts` (25), after which a job is dead; `retry_seconds` (0), the pause after a first attempt that failed.
    """

    databases: ClassVar[tuple[str, ...]]
    semantics: ClassVar[Literal["exactly-once-claim", "at-least-once", "at-most-once"]] = "exactly-once-claim"
    ordered: ClassVar[bool] = True
    max_workers: ClassVar[int | None] = None
    lease_seconds: float = LEASE_SECONDS

    def __init__(
        self,
        url: str,
        *,
        pool_size: int | None = None,
        pool_timeout: float = POOL_TIMEOUT_SECONDS,
        flush_interval: float = FLUSH_INTERVAL_SECONDS,
        max_batch_size: int = MAX_BATCH_SIZE,
        patience_seconds: float = PATIENCE_SECONDS,
        lease_seconds: float | None = None,
        max_attempts: int = MOST_ATTEMPTS,
        retry_seconds: float = 0.0,
        redis_url: str | None = None,
        **_options: object,
    ) -> None:
        """Raises ValueError for a URL or an option that makes no sense."""
        self.url = url
        self.pool_size = None if pool_size is None else read_whole("pool_size", pool_size)
        self.pool_timeout = _seconds("pool_timeout", pool_timeout)
        self.flush_interval = _seconds("flush_interval", flush_interval)
        self.max_batch_size = read_whole("max_batch_size", max_batch_size)
        self.patience_seconds = _seconds("patience_seconds", patience_seconds, zero=True)
        if lease_seconds is not None:
            self.lease_seconds = _seconds("lease_seconds", lease_seconds)
        self.max_attempts = read_whole("max_attempts", max_attempts)
        self.retry_seconds = _seconds("retry_seconds", retry_seconds, zero=True)
        self.redis_url = redis_url
        self._held: dict[int, int] = {}  # job → token of what this process claimed and did not finish
        self._progress = self._writer()

    @abstractmethod
    def install(self) -> None:
        """Make the tables in an empty database."""

    def enqueue(self, jobs: Sequence[dict[str, Any]]) -> list[int]:
        """Add jobs, all or none, in one statement, and give their ids in the same order.

        Keys of a job, all optional: `payload` (anything JSON can hold), `priority` (an integer, the larger first, 0
        without), `tag` (text), `run` (the id of a run that exists).
        """
        if not jobs:
            return []
        return sorted(job for (job,) in self._run("enqueue", jobs=read_jobs(jobs)))

    def claim(self, worker: str, limit: int) -> list[Claim]:
        """Hand at most `limit` ready jobs to `worker`: larger priority first, then the older. Empty: there was none."""
        if limit < 1:
            raise ValueError(f"A claim of {limit} jobs was asked for; ask for at least 1.")
        claims = self._in_order(self._take(worker, limit))
        self._held.update((claim.job, claim.token) for claim in claims)
        return claims

    def complete(self, worker: str, handles: Sequence[Claim]) -> list[Claim]:  # noqa: ARG002  # the token decides, not the name
        """Finish the jobs of these claims in one statement; give those accepted, in the order given.

        What was reported of their progress is written before; where that cannot be, the error is raised and nothing is finished.
        Refused, and not in the answer: a claim whose job was handed on, given back or finished since, or that comes
        twice.
        """
        return self._end("complete", handles)

    def fail(self, worker: str, handles: Sequence[Claim]) -> list[Claim]:  # noqa: ARG002  # as in complete
        """Give the jobs of these claims back in one statement: ready again, at once or after a pause, or dead after all their attempts.

        Else as `complete`.
        """
        return self._end("fail", handles)

    def heartbeat(self, worker: str, handles: Sequence[Claim]) -> list[Claim]:  # noqa: ARG002  # as in complete
        """Have the leases of these claims end `lease_seconds` from now, in one statement; give those still held, in the order given."""
        kept = self._fenced("heartbeat", handles)
        self._let_go([handle for handle in handles if handle not in kept])
        return kept

    def keep_alive(self, worker: str, handles: Sequence[Claim]) -> Heartbeat:
        """Beat while a `with` block works on these claims, three times a lease, with a thread and a connection of its own."""
        return Heartbeat(
            handles, lambda claims: self.heartbeat(worker, claims), self._apart, self.lease_seconds / BEATS_A_LEASE
        )

    def recover(self) -> int:
        """Make every job ready whose lease or pause has run out, or dead after all its attempts; give how many were made ready.

        One statement. Where a row stops it, each job has one of its own, and what cannot be made ready is dead with the reason; raises
        `SweepIncomplete` for what cannot be made that either.
        """
        try:
            return self._sweep(None)
        except self._bad_row as error:
            return self._sweep_each(error)

    def report_progress(self, job: int, fraction: float) -> None:
        """Tell that `fraction` (0 to 1) of a job this process holds is done. Never lowers what was told of the same claim.

        Raises ValueError for a fraction that is none, and `NotHeld` for a job that this process does not hold.
        """
        try:
            sound = 0 <= fraction <= 1
        except TypeError:
            sound = False
        if not sound:
            raise ValueError(
                f"The progress of job {job!r} was reported as {fraction!r}; expected a number from 0 to 1."
            )
        token = self._held.get(job)
        if token is None:
            raise NotHeld(
                f"Progress was reported of job {job!r}, which is not in this process's hands. Claim it first."
            )
        self._progress.report(job, token, fraction)

    def flush_progress(self, job: int | None = None) -> None:
        """Return when what was reported of the job, or of all, is in the database. Raises `ProgressUnwritten` where it cannot be."""
        self._progress.flush(None if job is None else [job])

    def read_progress(self, job: int) -> float | None:
        """What a screen shows of a job: the progress of its last claim, None before the first report or of an unknown job."""
        rows = self._run("read_progress", job=job)
        if not rows:
            return None
        ((token, written),) = rows
        known = [fraction for fraction in (written, self._progress.latest(job, token)) if fraction is not None]
        return max(known, default=None)

    def submit_run(self, tag: str, jobs: Sequence[dict[str, Any]]) -> int:
        """Make a run with all its jobs, or nothing, in one transaction and a constant number of statements; gives the run's id.

        Keys of a job as in `enqueue`; its `run` is this one, its `tag` the run's unless it has its own.
        """
        return self._submit(read_tag(tag), read_jobs(jobs))

    def read_run(self, run: int) -> dict[str, Any] | None:
        """A run with the ids of its jobs, as {"run": …, "jobs": […]}; None where there is no such run."""
        rows = self._run("read_run", run=run)
        return {"run": run, "jobs": [job for _, job in rows if job is not None]} if rows else None

    def add_actions(self, job: int, names: Sequence[str]) -> list[int]:
        """Add actions to a job, all or none, and give their ids in order. They go when the job goes."""
        return sorted(action for (action,) in self._run("add_actions", job=job, names=json.dumps(list(names))))

    def delete_many(self, kind: str, ids: Iterable[int]) -> int:
        """Delete jobs, runs or actions by their ids, all or none, in one statement; gives how many went.

        Nothing running goes: not a running job, not its actions, not its run. A run goes with its jobs, a job with its actions; those
        are not counted. Ids that are unknown or come twice do no harm, and no ids cost nothing. Raises ValueError for an unknown kind.
        """
        known = read_kind(kind)
        wanted = sorted(set(read_ids(ids)))
        return self._delete(known, wanted) if wanted else 0

    def clean_by_tag(self, tag: str) -> dict[str, int]:
        """Delete what is not running of a tag, in one transaction; gives how many {"jobs", "runs", "actions"} went.

        A run of the tag goes with all its jobs while none of them is running, and so does every job of the tag outside any run.
        """
        return self._clean(read_tag(tag))

    def wipe_all(self) -> dict[str, int]:
        """As `clean_by_tag`, of every tag and of none."""
        return self._clean(None)

    def status_all(self) -> list[dict[str, Any]]:
        """Every run and every job at one moment: {"run", "tag"} for a run, then for each job the keys below, oldest first.

        A job has job, run, tag, status (ready, running, waiting, done or dead), priority, worker, token, attempt, progress and reason.
        """
        return read_status(self._run("status_all"))

    def close(self) -> None:
        """Write what was reported, then close every connection. Closing twice is harmless."""
        try:
            self._progress.close()
        finally:
            self._disconnect()

    def _writer(self) -> ProgressWriter:
        """Make what progress is written with; called once, while the queue is made."""
        return Buffered(
            self._write_progress,
            Batched(self.flush_interval, self.max_batch_size),
            patience_seconds=self.patience_seconds,
        )

    def _write_progress(self, changes: Sequence[Change]) -> None:
        """Write the progress of any number of claims with one statement."""
        triples = [(change.job, change.token, change.fraction) for change in changes]
        self._change("write_progress", changes=json.dumps(triples))

    def _end(self, statement: str, handles: Sequence[Claim]) -> list[Claim]:
        self._progress.flush([handle.job for handle in handles])
        accepted = self._fenced(statement, handles)
        self._let_go(handles)
        return accepted

    def _let_go(self, handles: Sequence[Claim]) -> None:
        for handle in handles:
            if self._held.get(handle.job) == handle.token:
                del self._held[handle.job]

    def _mark(self, statement: str, worker: str, **parameters: object) -> list[Row]:
        """Run a statement that sets jobs running, with a lease for this worker."""
        return self._run(statement, worker=worker, lease=self._lease, **parameters)

    @property
    def _lease(self) -> str:
        return f"+{self.lease_seconds:.3f} seconds"  # as both engines read it

    def _sweep(self, job: int | None) -> int:
        swept = self._run("sweep", job=job, most=self.max_attempts)
        return sum(status == "ready" for _, status in swept)

    def _sweep_each(self, stopped_by: Exception) -> int:
        recovered, errors = 0, {}
        for (job,) in self._run("find_due"):
            try:
                recovered += self._sweep(job)
            except self._bad_row as error:
                try:
                    self._run("bury", job=job, reason=f"could not be made ready: {error}")
                except self._bad_row:
                    errors[job] = error
        if errors:
            raise SweepIncomplete(recovered, errors) from stopped_by
        return recovered

    def _in_order(self, rows: Iterable[Row]) -> list[Claim]:
        """Make claims of what `_take` gave, the best job first: neither engine promises an order of RETURNING."""
        best_first = sorted(rows, key=lambda row: (-row[0], row[1]))
        return [Claim(job, token, attempt) for _, job, token, attempt in best_first]

    @abstractmethod
    def _take(self, worker: str, limit: int) -> Iterable[Row]:
        """The strategy: set at most `limit` ready jobs running; rows of (priority, job, token, attempt), unordered."""

    @abstractmethod
    def _run(self, statement: str, **parameters: object) -> list[Row]:
        """Run the statement of this name to its end, in its own transaction unless one is open, and give its rows."""

    @abstractmethod
    def _change(self, statement: str, **parameters: object) -> int:
        """As `_run`, of a statement that gives no rows; gives how many rows it changed."""

    @property
    @abstractmethod
    def _bad_row(self) -> tuple[type[Exception], ...]:
        """The errors by which the database says that a row cannot be changed as asked: not that it is busy or gone."""

    @abstractmethod
    def _apart(self) -> AbstractContextManager[object]:
        """Let this thread hold a connection of its own meanwhile, whatever the others share; closed on leaving."""

    @abstractmethod
    def _acquire(self) -> AbstractContextManager[Any]:
        """Hold a connection; within another acquisition of the same thread, the same one."""

    @abstractmethod
    def _writing(self) -> AbstractContextManager[None]:
        """Hold one connection and one transaction that may write: all that is run inside is committed, or nothing of it."""

    @abstractmethod
    def _submit(self, tag: str, jobs: str) -> int:
        """Make a run with the jobs of a JSON array, in one transaction; give its id."""

    @abstractmethod
    def _delete(self, kind: Kind, ids: Sequence[int]) -> int:
        """Delete by at least one id, with one statement and one parameter; give how many went."""

    @abstractmethod
    def _delete_listed(self, kind: Kind, ids: Sequence[int]) -> int:
        """As `_delete`, with a variable for each id, as many as there may be."""

    @abstractmethod
    def _most_variables(self) -> int:
        """How many variables a statement may have."""

    @abstractmethod
    def _clean(self, tag: str | None) -> dict[str, int]:
        """Delete what is not running of a tag (None: of every tag and of none), in one transaction; give the counts by kind."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Close every connection. Closing twice is harmless."""

    def _fenced(self, statement: str, handles: Sequence[Claim]) -> list[Claim]:
        """Run a statement on the claims that are still their jobs' last ones; give those it was carried out for, in the order given."""
        if not handles:
            return []
        pairs = json.dumps([(handle.job, handle.token) for handle in handles])
        unanswered = set(
            self._run(statement, handles=pairs, lease=self._lease, most=self.max_attempts, pause=self.retry_seconds)
        )
        accepted = []
        for handle in handles:
            if (handle.job, handle.token) in unanswered:
                unanswered.remove((handle.job, handle.token))
                accepted.append(handle)
        return accepted


def read_status(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Read rows of the statements `status_…` as `Queue.status_all` gives them."""
    named = (dict(zip(_STATUS, row, strict=True)) for row in rows)
    return [row if row["job"] is not None else {"run": row["run"], "tag": row["tag"]} for row in named]


def read_jobs(jobs: Sequence[dict[str, Any]]) -> str:
    """The jobs that are to be added as a JSON array, with a value for every key there is."""
    return json.dumps(
        [
            {
                "payload": json.dumps(job.get("payload")),
                "priority": int(job.get("priority") or 0),
                "tag": job.get("tag"),
                "run": job.get("run"),
            }
            for job in jobs
        ]
    )


def read_kind(kind: str) -> Kind:
    """Check what kind of thing is to be deleted. Raises ValueError, naming those there are."""
    for known in KINDS:
        if kind == known:
            return known
    raise ValueError(f"There is nothing of the kind {kind!r} to delete; known are {', '.join(KINDS)}.")


def read_ids(ids: Iterable[object]) -> Iterator[int]:
    """Give the ids that a row can have. Raises TypeError for what is no whole number."""
    for each in ids:
        if not isinstance(each, int) or isinstance(each, bool):
            raise TypeError(
                f"{each!r} is no id; expected whole numbers, as enqueue, submit_run and add_actions give them."
            )
        if 0 < each < 2**63:
            yield each


def read_tag(tag: object) -> str:
    """Check a tag: any text. Raises TypeError."""
    if not isinstance(tag, str):
        raise TypeError(f"The tag {tag!r} is {type(tag).__name__}; expected a text.")
    return tag


def read_whole(name: str, value: object) -> int:
    """Check an option that is a whole number of at least 1. Raises ValueError."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is {value!r}; expected a whole number of at least 1.")
    return value


def _seconds(name: str, value: object, *, zero: bool = False) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value < math.inf or (value == 0 and not zero):  # type: ignore[operator]  # a number, as just seen
        raise ValueError(
            f"{name} is {value!r}; expected a number of seconds {'of at least' if zero else 'greater than'} 0."
        )
    return float(value)  # type: ignore[arg-type]  # as above
