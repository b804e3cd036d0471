"""The users of `ClaimUser` as anybody would write them: the system called in a bare loop, nothing recorded, Locust's own statistics."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from locust import User, constant, events, task

from harness.recorder import build_system
from harness.runners.load import ORDER, Order

LOADED = Order.read(Path(os.environ[ORDER]))


class ClaimUser(User):
    """Claims a batch, completes it, and enqueues as many jobs again."""

    wait_time = constant(0)

    def on_start(self) -> None:
        """Connect."""
        self.queue = build_system(LOADED.source.load(), LOADED.url, LOADED.options)

    def timed(self, name: str, *arguments: Any) -> Any:
        """Call the system, and tell Locust how long it took."""
        began = time.perf_counter()
        answer = getattr(self.queue, name)(*arguments)
        milliseconds = 1000 * (time.perf_counter() - began)
        self.environment.events.request.fire(
            request_type="queue", name=name, response_time=milliseconds, response_length=0, exception=None, context={}
        )
        return answer

    @task
    def turn(self) -> None:
        """Claim, complete, enqueue."""
        handles = self.timed("claim", "bare", LOADED.batch)
        if handles:
            self.timed("complete", "bare", handles)
            self.timed(
                "enqueue", [{"payload": "load", "priority": n % 3, "tag": "contend"} for n in range(len(handles))]
            )


@events.quitting.add_listener
def save(environment: Any, **_more: object) -> None:
    """Write how many requests there were, as `scenarios/locustfile.py` does."""
    rows = [{"name": each.name, "requests": each.num_requests} for each in environment.stats.entries.values()]
    (LOADED.folder / "load" / "locust.json").write_text(json.dumps(rows), encoding="utf-8")
    (LOADED.folder / "load" / "users-bare.json").touch()
