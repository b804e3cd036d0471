"""The reference queue with other ways than claiming to choose: telling progress, deleting, submitting, on each database."""

from __future__ import annotations

from reference_impl.deletion import ChunkedDeletion
from reference_impl.postgres import SkipLockedCte
from reference_impl.reporting import DebouncedProgress, DirectProgress, RedisProgress
from reference_impl.sqlite import ImmediateBatch


class SqliteDirect(DirectProgress, ImmediateBatch):
    """`DirectProgress` on SQLite."""


class PostgresDirect(DirectProgress, SkipLockedCte):
    """`DirectProgress` on Postgres."""


class SqliteBatched(ImmediateBatch):
    """The queue's own batched progress on SQLite."""


class PostgresBatched(SkipLockedCte):
    """The queue's own batched progress on Postgres."""


class SqliteDebounced(DebouncedProgress, ImmediateBatch):
    """`DebouncedProgress` on SQLite."""


class PostgresDebounced(DebouncedProgress, SkipLockedCte):
    """`DebouncedProgress` on Postgres."""


class SqliteRedis(RedisProgress, ImmediateBatch):
    """`RedisProgress` on SQLite."""


class PostgresRedis(RedisProgress, SkipLockedCte):
    """`RedisProgress` on Postgres."""


class SqliteDeleteChunked(ChunkedDeletion, ImmediateBatch):
    """`ChunkedDeletion` on SQLite."""


class PostgresDeleteChunked(ChunkedDeletion, SkipLockedCte):
    """`ChunkedDeletion` on Postgres."""
