"""contend: proves on the real database that a job queue never hands one job to two workers, loses none, and pays no N+1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contend.campaign import race

__version__ = "0.1.0"
__all__ = ["__version__", "race"]


def __getattr__(name: str) -> Any:
    """Import what is asked for only then, so that `contend --help` and an unused import cost nothing."""
    if name == "race":
        from contend.campaign import race  # noqa: PLC0415  # see above

        return race
    raise AttributeError(f"module 'contend' has no attribute {name!r}")
