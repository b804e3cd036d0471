"""contend: proves on the real database that a job queue never hands one job to two workers, loses none, and pays no N+1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contend.testing import explore, race

__version__ = "0.1.0"
__all__ = ["__version__", "explore", "race"]


def __getattr__(name: str) -> Any:
    """Import what is asked for only then, so that `contend --help` and an unused import cost nothing."""
    if name in ("race", "explore"):
        from contend import testing  # noqa: PLC0415  # see above

        return getattr(testing, name)
    raise AttributeError(f"module 'contend' has no attribute {name!r}")
