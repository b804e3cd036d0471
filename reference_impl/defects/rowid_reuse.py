"""Leaves ids to SQLite, which gives the largest one again once its row is gone: who is late deletes somebody else's job."""

from __future__ import annotations

from typing import Any

from reference_impl.sqlite import ImmediateBatch


class SqliteRowidReuse(ImmediateBatch):
    """Seen in huey, deltachat-core#641: `INTEGER PRIMARY KEY` without AUTOINCREMENT.

    Caught by delete-exact: who deletes a job that it knows from before means that one, not the one that has its id now.
    """

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._statements = {name: sql.replace(" AUTOINCREMENT", "") for name, sql in self._statements.items()}
