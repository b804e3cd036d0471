"""A database's URL as SQLAlchemy takes it, for the queues that stand on it."""

from __future__ import annotations

from typing import Final

from reference_impl.sqlite import path_of

POSTGRES: Final = "postgresql://"


def alchemy(url: str) -> str:
    """The same database by SQLAlchemy's name of its driver: psycopg, or the standard library's sqlite3."""
    if url.startswith(POSTGRES):
        return url.replace(POSTGRES, "postgresql+psycopg://", 1)
    return f"sqlite:///{path_of(url)}"
