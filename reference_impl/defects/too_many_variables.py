"""A variable for each id: refused as soon as there are more ids than the engine takes variables."""

from __future__ import annotations

from reference_impl.deletion import UnboundedDeletion
from reference_impl.postgres import SkipLockedCte
from reference_impl.sqlite import ImmediateBatch


class SqliteTooManyVariables(UnboundedDeletion, ImmediateBatch):
    """Seen in hermes-agent #102679, sourcegraph #31110. Caught by delete-exact.

    Debian builds SQLite with a limit of 250,000, which hides it; upstream's is 32,766, and it was 999 before 3.32.
    """


class PostgresTooManyVariables(UnboundedDeletion, SkipLockedCte):
    """The same on Postgres, whose protocol counts them in 16 bits."""
