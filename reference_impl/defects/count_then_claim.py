"""Counts what is running, then claims, with nothing to keep others from doing so in between: all find the same room."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from reference_impl.limits import Limited, PostgresLimited, SqliteLimited


class _Unguarded(Limited):
    def _alone(self) -> AbstractContextManager[None]:
        return nullcontext()


class SqliteCountThenClaim(_Unguarded, SqliteLimited):
    """Seen in pgqueuer#761: more jobs are running than there may be. Caught by batch-limit."""


class PostgresCountThenClaim(_Unguarded, PostgresLimited):
    """The same on Postgres, where SKIP LOCKED keeps two from one job, not from two."""
