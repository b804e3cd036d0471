"""What can be changed inside one process while it runs: where it stops, what it may write, what time it believes it is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

CLOSED: Final = (
    "nothing can be changed inside a command"  # a process of ours only speaks for it, and has its levers for nothing
)
_LOOK_SECONDS: Final = 0.0005


@dataclass(frozen=True, slots=True)
class Levers:
    """Shared integers, set by the coordinator and read in the process, but for `stands`, which is the other way round.

    `brake`: above 0, the number of the order to stop before the next statement outside a transaction; else the last one's, negative.
    `stands`: the order by which it stopped last. `full`: not 0 where the SQLite files of its connections may not grow. `ahead`: by how
    many nanoseconds its own clock, not the database's, is ahead.
    """

    brake: Any
    stands: Any
    full: Any
    ahead: Any

    def pull(self, *, on: bool) -> None:
        """Order the process to stop, or let it go on."""
        number = abs(self.brake.value)
        self.brake.value = number + 1 if on else -number

    def holds(self) -> bool:
        """Whether it has stopped as ordered."""
        return bool(self.stands.value == self.brake.value)

    def wait_here(self) -> None:
        """Called in the process before such a statement: wait, where that is ordered, until it is not any more."""
        order = self.brake.value
        while order > 0 and self.brake.value == order:
            self.stands.value = order
            time.sleep(_LOOK_SECONDS)
