"""A system that runs a loop of its own: what its handler is given, what becomes of the loop, and runs of such systems."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contend.cli import run_command_line
from harness import pulling
from harness.errors import MalformedAnswer
from harness.processes import promise_of
from harness.pulling import Pulled

LOOPS = """\
import sqlite3
from reference_impl.sqlite import ImmediateBatch, SelectThenUpdate

class Loop:
    databases = ("sqlite",)
    idle_seconds = 0.5
    queue = ImmediateBatch

    def __init__(self, url):
        self._queue = self.queue(url)

    def install(self):
        self._queue.install()

    def enqueue(self, jobs):
        return self._queue.enqueue(jobs)

    def work(self, worker, handler, stop):
        while not stop.is_set():
            claimed = self._queue.claim(worker, 2)
            for handle in claimed:
                handler(handle.job)
                self._queue.complete(worker, [handle])
            if not claimed:
                stop.wait(0.01)

class Wrong(Loop):
    queue = SelectThenUpdate

class Loses(Loop):
    def work(self, worker, handler, stop):
        while not stop.is_set():
            for handle in self._queue.claim(worker, 2):
                if handle.job != 7:
                    handler(handle.job)
                self._queue.complete(worker, [handle])

class Late(Loop):
    def work(self, worker, handler, stop):
        while not stop.is_set():
            for handle in self._queue.claim(worker, 2):
                if handle.job == 7:
                    stop.wait()
                handler(handle.job)
                self._queue.complete(worker, [handle])

class Leased(Loop):
    lease_seconds = 30.0

    def __init__(self, url, lease_seconds=30.0, **options):
        self._queue = self.queue(url, lease_seconds=lease_seconds)

    def work(self, worker, handler, stop):
        while not stop.is_set():
            self._queue.recover()
            for handle in self._queue.claim(worker, 1):
                handler(handle.job)
                self._queue.complete(worker, [handle])
            stop.wait(0.01)

class Returns(Loop):
    def work(self, worker, handler, stop):
        pass
"""


class Given:
    """A loop that hands over these jobs and then waits, or does what it is told."""

    idle_seconds = 0.05

    def __init__(self, *jobs: int, then: Callable[[threading.Event], object] = threading.Event.wait) -> None:
        self.jobs, self.then, self.came_back = list(jobs), then, [0][:0]

    def work(self, _worker: str, handler: Callable[[int], None], stop: threading.Event) -> None:
        while self.jobs:
            job = self.jobs.pop(0)
            handler(job)
            self.came_back.append(job)
        self.then(stop)


def test_an_execution_begins_with_its_claim_and_ends_with_its_complete() -> None:
    loop = Given(1, 2)
    pulled = Pulled(loop)
    (first,) = pulled.claim("w0", 5)
    assert (first.job, loop.came_back) == (1, [])
    pulled.complete("w0", [first])
    (second,) = pulled.claim("w0", 5)
    assert (second.job, loop.came_back) == (2, [1])
    pulled.complete("w0", [second])
    assert pulled.claim("w0", 5) == []


def test_executions_of_several_threads_are_claimed_up_to_the_limit() -> None:
    class Threads(Given):
        def work(self, _worker: str, handler: Callable[[int], None], stop: threading.Event) -> None:
            threads = [threading.Thread(target=handler, args=(job,), daemon=True) for job in self.jobs]
            for each in threads:
                each.start()
            stop.wait()
            for each in threads:
                each.join()

    pulled = Pulled(Threads(1, 2, 3))
    got: list[Any] = []
    while len(got) < 3:
        more = pulled.claim("w0", 2)
        assert len(more) <= 2
        got += more
    pulled.complete("w0", got)
    pulled.halt()
    assert {each.job for each in got} == {1, 2, 3}
    assert not pulled.waiting


def test_what_a_loop_hands_over_while_it_stops_is_not_lost() -> None:
    def one_more(stop: threading.Event) -> None:
        stop.wait()
        handler(9)

    loop = Given(then=one_more)
    pulled = Pulled(loop)
    handler = pulled._hand_over
    assert pulled.claim("w0", 1) == []
    pulled.halt()
    assert pulled.waiting
    (last,) = pulled.claim("w0", 1)
    pulled.complete("w0", [last])
    pulled.halt()
    assert (last.job, pulled.waiting) == (9, False)


def test_what_the_loop_raises_is_raised_by_the_claim_and_the_next_begins_another() -> None:
    def locked(_stop: threading.Event) -> None:
        raise sqlite3.OperationalError("database is locked")

    loop = Given(then=locked)
    pulled = Pulled(loop)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        pulled.claim("w0", 1)
    loop.jobs, loop.then = [4], threading.Event.wait
    assert [each.job for each in pulled.claim("w0", 1)] == [4]


def test_a_loop_that_returns_before_it_is_told_or_not_when_it_is_breaks_the_contract(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(MalformedAnswer, match="before its stop was set"):
        Pulled(Given(then=lambda _stop: None)).claim("w0", 1)
    deaf = Pulled(Given(then=lambda _stop: time.sleep(60)))
    deaf.claim("w0", 1)
    monkeypatch.setattr(pulling, "HALT_SECONDS", 0.05)
    with pytest.raises(MalformedAnswer, match="did not return"):
        deaf.halt()


def test_a_loop_stands_for_claim_and_complete_and_who_has_both_is_asked() -> None:
    class Asked(Given):
        def install(self) -> None: ...
        def enqueue(self, jobs: list[Any]) -> list[int]: ...  # type: ignore[empty-body]  # never called

    class Both(Asked):
        def claim(self, worker: str, limit: int) -> list[int]: ...  # type: ignore[empty-body]  # never called
        def complete(self, worker: str, handles: list[Any]) -> None: ...

    assert promise_of(Asked, "Asked").capabilities == ("install", "enqueue", "work")
    assert promise_of(Both, "Both").capabilities == ("install", "enqueue", "claim", "complete")


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    (tmp_path / "loops.py").write_text(LOOPS)
    monkeypatch.chdir(tmp_path)

    def given(name: str, *arguments: str) -> Any:
        capsys.readouterr()
        command = ["run", "claim-race", "--system", f"loops.py:{name}", "--database", "sqlite", "--json", *arguments]
        status = run_command_line(command)
        return status, json.loads(capsys.readouterr().out)["results"][0]

    return given


def test_executions_are_judged_as_claims_are(run: Callable[..., Any]) -> None:
    status, result = run("Loop", "--jobs", "200")
    assert (status, result["verdict"]) == (0, "pass")
    states = {each["invariant"]: each["state"] for each in result["judgements"]}
    assert (states["no-lost-job"], states["no-double-claim"], states["witness-agrees"]) == ("holds", "holds", "holds")
    assert (
        states["terminal-once"] == "not applicable"
    )  # whether a completion was accepted is between the library and its database
    (said,) = (each["reason"] for each in result["judgements"] if each["invariant"] == "no-false-empty")
    assert "own loop" in said


@pytest.mark.parametrize(("name", "invariant"), [("Wrong", "no-double-claim"), ("Loses", "no-lost-job")])
def test_a_loop_that_runs_a_job_twice_or_never_fails(run: Callable[..., Any], name: str, invariant: str) -> None:
    status, result = run(name, "--jobs", "200")
    assert status == 1
    assert invariant in {finding["invariant"] for finding in result["findings"]}


def test_what_a_loop_hands_over_when_it_is_told_to_stop_is_done(run: Callable[..., Any]) -> None:
    status, result = run("Late", "--jobs", "100")
    assert (status, result["verdict"], result["findings"]) == (0, "pass", [])
    (place,) = Path("runs/latest/results").glob("01-*")
    lines = [json.loads(line) for file in place.glob("events/*.ndjson") for line in file.read_text().splitlines()]
    halts = [each["t"] for each in lines if each.get("kind") == "halt" and each["phase"] == "main"]
    assert max(halts) < min(each["t"] for each in lines if each.get("phase") == "quiet")


def test_a_loop_is_killed_with_a_job_in_hand_which_another_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shows no signs of life to be killed in; the control, whose jobs nobody recovers, is one that a kill alone shows."""
    (tmp_path / "loops.py").write_text(LOOPS)
    monkeypatch.chdir(tmp_path)
    options = ["--option", "faults=kill-worker", "--option", "lease_seconds=1", "--jobs", "100", "--json"]
    asked = ["run", "claim-recovery", "--system", "loops.py:Leased", "--database", "sqlite", *options]
    status = run_command_line(asked)
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert (status, result["verdict"], result["coverage"]["control"]) == (0, "pass", "caught"), result["reasons"]
    assert result["measurements"]["recovered_jobs"]["value"] >= 1


def test_a_loop_that_returns_is_no_pass(run: Callable[..., Any]) -> None:
    status, result = run("Returns", "--workers", "2", "--jobs", "20")
    assert status == 2
    assert any("work returned before its stop was set" in reason for reason in result["reasons"])


@pytest.mark.parametrize("command", [["run", "claim-batch"], ["explore", "claim-race"]])
def test_what_needs_to_say_when_a_job_is_claimed_is_not_applicable_to_a_loop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    (tmp_path / "loops.py").write_text(LOOPS)
    monkeypatch.chdir(tmp_path)
    assert run_command_line([*command, "--system", "loops.py:Loop", "--database", "sqlite"]) == 254
    assert "its own loop (`work`) asks for jobs" in capsys.readouterr().err
