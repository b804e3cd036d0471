"""Chooses what may be deleted, then deletes it by id without looking again."""

from __future__ import annotations

from reference_impl.deletion import UnguardedDeletion
from reference_impl.postgres import SkipLockedCte
from reference_impl.sqlite import ImmediateBatch


class SqliteDeleteUnguarded(UnguardedDeletion, ImmediateBatch):
    """Seen in Oban Lite, armada #3608. Caught by delete-spares-running."""


class PostgresDeleteUnguarded(UnguardedDeletion, SkipLockedCte):
    """The same on Postgres."""
