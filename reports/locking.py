"""Lock errors beside claims: how often a caller was told that the database is locked, deadlocked or could not serialize."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports import wording
from reports.comparison import called, value
from reports.saved import Result


@dataclass(frozen=True, slots=True)
class Locked:
    """One result's lock errors a claim, and how long its bar is, in percent of the longest."""

    result: Result
    errors: float
    claims: int
    each: float
    share: int


@dataclass(frozen=True, slots=True)
class Locking:
    """The lock errors of one database's races."""

    title: str
    rows: tuple[Locked, ...]


def locking(results: Sequence[Result], database: str) -> Locking | None:
    """Lock errors a claim of one database's races, the most first; None where nobody met any."""
    met = [
        (result, errors, claims)
        for result in results
        if (errors := value(result, "lock_errors")) is not None
        and isinstance(claims := result.coverage.get("claims"), int)
        and claims > 0
    ]
    most = max((errors / claims for _, errors, claims in met), default=0.0)
    if not most:
        return None
    rows = tuple(
        Locked(result, errors, claims, errors / claims, round(100 * errors / claims / most))
        for result, errors, claims in sorted(met, key=lambda each: -each[1] / each[2])
    )
    spared = sum(not row.errors for row in rows)
    others = (
        ""
        if not spared
        else ", none with the other"
        if spared == len(rows) - 1 == 1
        else f", none with {spared} others"
    )
    title = (
        f"{wording.database(database)}: {wording.number(rows[0].each)} lock errors a claim with "
        f"{called(rows[0].result)}{others}"
    )
    return Locking(title, rows)
