"""A loop that another thread ends: it is ended however late it begins, and what it raises is raised."""

from __future__ import annotations

import threading

import pytest

from scenarios.queues.aside import run_aside

LIMIT_SECONDS = 10.0  # after which a loop that nobody ends goes on, to a failure


def test_a_loop_is_ended_though_it_begins_after_it_was_to_stop() -> None:
    stop, asked_twice, begun, over = (threading.Event() for _ in range(4))
    asked: list[bool] = []

    def loop() -> None:
        asked_twice.wait(LIMIT_SECONDS)
        begun.set()
        over.wait(LIMIT_SECONDS)

    def end() -> None:
        asked.append(begun.is_set())
        if len(asked) == 2:
            asked_twice.set()
        if begun.is_set():
            over.set()

    stop.set()
    run_aside(loop, end, stop)
    assert asked[:2] == [False, False]
    assert over.is_set()


def test_what_a_loop_raises_is_raised_once_it_is_ended() -> None:
    ended: list[str] = []

    def loop() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        run_aside(loop, lambda: ended.append("ended"), threading.Event())
    assert ended == ["ended"]
