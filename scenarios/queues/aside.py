"""A loop that only another thread can end, as that of a queue whose own process waits for a signal."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final

LOOK_SECONDS: Final = 0.05  # between two looks at whether the loop is to end


def run_aside(loop: Callable[[], object], end: Callable[[], object], stop: threading.Event) -> None:
    """Run a loop in a thread of its own until it is over, and raise what it raised.

    `end` is called again and again from when `stop` is set, as the loop may have yet to begin, and once more when it is over.
    """
    with ThreadPoolExecutor(1) as aside:
        running = aside.submit(loop)
        while not running.done():
            if stop.is_set():
                end()
            wait([running], LOOK_SECONDS)
        end()
        running.result()
