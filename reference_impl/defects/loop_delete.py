"""Deletes one by one: N acquisitions, N transactions, and whoever looks in between sees the half of it."""

from __future__ import annotations

from reference_impl.deletion import LoopDeletion
from reference_impl.postgres import SkipLockedCte
from reference_impl.sqlite import ImmediateBatch


class SqliteLoopDelete(LoopDeletion, ImmediateBatch):
    """Seen in hero_proc #129 (`handle_clean_by_tag`). Caught by delete-one-transaction."""


class PostgresLoopDelete(LoopDeletion, SkipLockedCte):
    """The same on Postgres."""
