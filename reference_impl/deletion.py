"""Ways of deleting many: in a loop, in chunks of an `IN (…)` list. The queue's own is one statement with one parameter."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from reference_impl.queue import Queue, read_ids, read_kind

CHUNK = 1000  # ids in one statement, where the engine takes as many variables


class ChunkedDeletion(Queue):
    """Right: `DELETE … WHERE id IN (?, ?, …)` for as many ids as the engine takes variables, all chunks in one transaction.

    Takes the ids as they come, so that memory does not grow with their number.
    """

    def delete_many(self, kind: str, ids: Iterable[int]) -> int:
        """As `Queue.delete_many`, in a constant number of transactions but not of statements."""
        known = read_kind(kind)
        left = read_ids(ids)
        first = next(left, None)
        if first is None:
            return 0
        deleted = 0
        with self._writing():
            size = min(CHUNK, self._most_variables())
            chunk = [first, *islice(left, size - 1)]
            while chunk:
                deleted += self._delete_listed(known, chunk)
                chunk = list(islice(left, size))
        return deleted


class LoopDeletion(Queue):
    """WRONG: deletes one id after the other, each with its own connection and transaction (hero_proc #129).

    N acquisitions, N transactions; between any two of them others see the half of it, and where it is killed it stays at that.
    """

    def delete_many(self, kind: str, ids: Iterable[int]) -> int:
        """As `Queue.delete_many`, but not all or none."""
        known = read_kind(kind)
        return sum(self._delete(known, [each]) for each in dict.fromkeys(read_ids(ids)))

    def _clean(self, tag: str | None) -> dict[str, int]:
        jobs = self.delete_many("jobs", [job for (job,) in self._run("find_deletable", tag=tag)])
        runs = sum(self._change("delete_run_if_empty", id=run) for (run,) in self._run("find_runs", tag=tag))
        return {"jobs": jobs, "runs": runs, "actions": 0}


class UnguardedDeletion(Queue):
    """WRONG: chooses what is not running, then deletes it by id alone, though it may have begun to run (Oban Lite, armada #3608)."""

    def _clean(self, tag: str | None) -> dict[str, int]:
        chosen = [job for (job,) in self._run("find_deletable", tag=tag)]
        with self._writing():
            jobs = sum(self._change("delete_job_unguarded", id=job) for job in chosen)
            runs = sum(self._change("delete_run_if_empty", id=run) for (run,) in self._run("find_runs", tag=tag))
        return {"jobs": jobs, "runs": runs, "actions": 0}


class UnboundedDeletion(Queue):
    """WRONG: a variable for each id, however many (hermes-agent #102679, sourcegraph #31110): refused beyond the engine's limit."""

    def delete_many(self, kind: str, ids: Iterable[int]) -> int:
        """As `Queue.delete_many`, for as many ids as the engine takes variables."""
        wanted = sorted(set(read_ids(ids)))
        return self._delete_listed(read_kind(kind), wanted) if wanted else 0
