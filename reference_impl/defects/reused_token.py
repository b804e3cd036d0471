"""Fences by the worker's name, which is the machine's: all workers of one machine pass for each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reference_impl.lease import Claim
from reference_impl.postgres import SkipLockedCte
from reference_impl.queue import Queue
from reference_impl.sqlite import ImmediateBatch

NAME = "host"


class _Named(Queue):
    def claim(self, worker: str, limit: int) -> list[Claim]:  # noqa: ARG002  # that is the bug
        """As `Queue.claim`, for the machine; every claim has the same token."""
        return [replace(claim, token=1) for claim in super().claim(NAME, limit)]

    def _fenced(self, statement: str, handles: Sequence[Claim]) -> list[Claim]:
        return super()._fenced("complete_by_name" if statement == "complete" else statement, handles)


class SqliteReusedToken(_Named, ImmediateBatch):
    """Seen in aegra#547, bull#308. Caught by fenced-completion."""


class PostgresReusedToken(_Named, SkipLockedCte):
    """The same on Postgres."""
