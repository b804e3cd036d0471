"""The moment of contradiction: which of the operations behind a violation made its claim false by coming back.

Until then everything could still have been right; with that answer it cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from reports.saved import Operation

# What breaks only when everything is over, or by a sum: no single answer is the one.
_AT_THE_END: Final = frozenset({"no-lost-job", "statement-budget", "write-budget", "every-worker-served"})
# Here `process` is but the first of two by name, so the later answer is the one whoever it was given to.
_EITHER: Final = frozenset({"worker-guard"})
_WHO: Final = ("taker", "reader", "process")  # facts that name who was given the answer, the most telling first


def breaking(invariant: str, facts: Mapping[str, object], operations: Sequence[Operation]) -> Operation | None:
    """The operation that broke the invariant when it completed, of those a violation names; None where there is none.

    It is the last to complete of those of the process that the facts blame, or of all where they blame none.
    """
    if invariant in _AT_THE_END:
        return None
    ended = [op for op in operations if op.completed_ms is not None]
    blamed: object = None if invariant in _EITHER else next((facts[key] for key in _WHO if facts.get(key)), None)
    own = [
        op for op in ended if isinstance(blamed, str) and (op.process == blamed or op.process.startswith(f"{blamed}."))
    ]
    return max(own or ended, key=lambda op: (op.completed_ms or 0.0, op.number), default=None)
