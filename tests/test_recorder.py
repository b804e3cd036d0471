"""The seam between contend and a system: every call recorded, every answer checked, every error an outcome."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.errors import MalformedAnswer
from harness.protocols import Handle
from harness.recorder import RecordedSystem, Recorder, accepted_positions, build_system, read_claim, read_enqueue


class Scripted:
    """A system that answers what it is told to."""

    def __init__(self, answer: Any = None, error: BaseException | None = None) -> None:
        self.answer, self.error, self.heard = answer, error, []  # type: ignore[var-annotated]  # a list of whatever was heard

    def _reply(self, *heard: Any) -> Any:
        self.heard.append(heard)
        if self.error is not None:
            raise self.error
        return self.answer

    install = enqueue = claim = complete = fail = report_progress = flush_progress = read_progress = _reply
    submit_run = read_run = add_actions = delete_many = clean_by_tag = wipe_all = status_all = _reply


@dataclass(frozen=True)
class Claimed:
    job: int
    token: int


class Row:
    """What sqlite3.Row and its kin look like."""

    def keys(self) -> list[str]:
        return ["job", "attempt"]

    def __getitem__(self, name: str) -> int:
        return {"job": 7, "attempt": 2}[name]


Client = Callable[..., RecordedSystem]


@pytest.fixture
def client(tmp_path: Path) -> Client:
    def make(answer: Any = None, error: BaseException | None = None) -> RecordedSystem:
        recorded = RecordedSystem(
            Recorder(tmp_path / "w0.ndjson", "w0", "worker"), "w0", lambda: Scripted(answer, error)
        )
        recorded.build()
        return recorded

    return make


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "w0.ndjson").read_text().splitlines()]


def test_a_claim_is_recorded_before_and_after(client: Client, tmp_path: Path) -> None:
    reply = client([Claimed(7, 3), {"job": "x", "attempt": 1}, 9]).claim(5)
    assert [(h.job, h.token, h.attempt) for h in reply.handles] == [(7, 3, None), ("x", None, 1), (9, None, None)]
    process, invoke, ok = events(tmp_path)
    assert (process["process"], process["pid"]) == ("w0", os.getpid())
    assert (invoke["e"], invoke["kind"], invoke["requested"]) == ("invoke", "claim", 5)
    assert (ok["e"], ok["op"]) == ("ok", invoke["op"])
    assert (ok["jobs"], ok["tokens"], ok["attempts"]) == ([7, "x", 9], [3, None, None], [None, 1, None])
    assert ok["t"] >= invoke["t"]


def test_a_row_that_only_has_keys_is_a_handle() -> None:
    row = Row()
    assert read_claim([row]) == (Handle(7, None, 2, row),)


@pytest.mark.parametrize(
    "answer",
    [
        "7",
        None,
        7,
        {"job": 7},
        [None],
        [1.5],
        [True],
        [{"token": 3}],
        [{"job": None}],
        [2**63],
        [{"job": 1, "attempt": "2"}],
        iter([1]),
    ],
)
def test_a_malformed_claim_is_quoted_and_recorded_as_unknown(client: Client, tmp_path: Path, answer: Any) -> None:
    with pytest.raises(MalformedAnswer, match="expected"):
        client(answer).claim(5)
    assert events(tmp_path)[-1]["e"] == "info"
    assert events(tmp_path)[-1]["error"]["kind"] == "malformed"


@pytest.mark.parametrize("answer", [None, [1], [1, 2, 3], [1, 1], [1, None], "ab"])
def test_an_enqueue_that_does_not_give_one_id_per_job_is_malformed(answer: Any) -> None:
    with pytest.raises(MalformedAnswer, match="expected"):
        read_enqueue(answer, 2)


@pytest.mark.parametrize("error", [ValueError("boom"), SystemExit(3), GeneratorExit()])
def test_whatever_a_system_raises_is_an_outcome_and_nothing_ends_the_worker(
    client: Client, tmp_path: Path, error: BaseException
) -> None:
    reply = client(error=error).claim(1)
    assert (reply.outcome, reply.handles) == ("info", ())
    assert events(tmp_path)[-1]["error"]["message"] == str(error)


def test_handles_are_passed_back_untouched_and_the_accepted_ones_recorded(client: Client, tmp_path: Path) -> None:
    recorded = client()
    mine = [Claimed(1, 1), Claimed(2, 1), Claimed(3, 1)]
    recorded._system.answer = [mine[2], mine[0]]
    reply = recorded.complete(read_claim(mine))
    assert recorded._system.heard == [("w0", mine)]
    assert [handle.job for handle in reply.handles] == [1, 3]
    assert events(tmp_path)[-1]["accepted"] == [0, 2]


@pytest.mark.parametrize("answer", [None, 3, True, "done", [object()], [99]])
def test_any_other_answer_of_complete_means_that_all_were_accepted(answer: object) -> None:
    assert accepted_positions(answer, read_claim([1, 2])) is None


def test_an_empty_list_from_complete_means_that_none_was_accepted() -> None:
    assert accepted_positions([], read_claim([1, 2])) == []


def test_enqueue_records_the_priorities_and_the_ids(client: Client, tmp_path: Path) -> None:
    client([11, 12]).enqueue([{"payload": 1, "priority": 2}, {"payload": 2}])
    _, invoke, ok = events(tmp_path)
    assert (invoke["priorities"], ok["jobs"]) == ([2, 0], [11, 12])


def test_a_round_encloses_its_claims(client: Client, tmp_path: Path) -> None:
    recorded = client([1, 2])
    with recorded.round(2) as obtained:
        obtained.extend(recorded.claim(2).handles)
    kinds = [(e["e"], e.get("kind")) for e in events(tmp_path)[1:]]
    assert kinds == [("invoke", "round"), ("invoke", "claim"), ("ok", None), ("ok", None)]
    assert events(tmp_path)[-1]["returned"] == 2


# call → (answer of the system, invoke's fields, ok's fields)
RECORDED: list[tuple[Callable[[RecordedSystem], Any], Any, dict[str, Any], dict[str, Any]]] = [
    (lambda c: c.report_progress(7, 0.5), None, {"kind": "report_progress", "jobs": [7], "value": 0.5}, {}),
    (lambda c: c.flush_progress(7), None, {"kind": "flush_progress", "jobs": [7]}, {}),
    (lambda c: c.flush_progress(), None, {"kind": "flush_progress"}, {}),
    (lambda c: c.read_progress(7), 1, {"kind": "read_progress", "jobs": [7]}, {"value": 1.0}),
    (lambda c: c.read_progress(7), None, {"kind": "read_progress", "jobs": [7]}, {"value": None}),
    (lambda c: c.submit_run("t", [{}, {}]), "r1", {"kind": "submit_run", "requested": 2}, {"value": {"run": "r1"}}),
    (
        lambda c: c.read_run(5),
        {"run": 5, "jobs": [7, 8]},
        {"kind": "read_run", "value": {"run": 5}},
        {"jobs": [7, 8], "value": {"run": 5, "jobs": 2}},
    ),
    (lambda c: c.read_run(5), None, {"kind": "read_run"}, {"jobs": [], "value": {"run": 5, "jobs": None}}),
    (
        lambda c: c.add_actions(7, ["a", "b"]),
        [1, 2],
        {"kind": "add_actions", "requested": 2},
        {"jobs": [{"action": 1}, {"action": 2}], "value": {"job": 7}},
    ),
    (
        lambda c: c.delete_many("jobs", [7, 7]),
        1,
        {"kind": "delete_many", "requested": 2, "jobs": [7, 7], "value": {"kind": "jobs"}},
        {"value": {"kind": "jobs", "deleted": 1}},
    ),
    (
        lambda c: c.delete_many("runs", [5], lazily=True),
        0,
        {"kind": "delete_many", "jobs": [{"run": 5}], "value": {"kind": "runs"}},
        {"value": {"kind": "runs", "deleted": 0}},
    ),
    (
        lambda c: c.clean_by_tag("t"),
        {"jobs": 2, "runs": 1},
        {"kind": "clean_by_tag"},
        {"value": {"jobs": 2, "runs": 1}, "returned": 3},
    ),
    (lambda c: c.wipe_all(), {}, {"kind": "wipe_all"}, {"value": {}, "returned": 0}),
    (
        lambda c: c.status_all(),
        [{"run": 5, "tag": "t"}, {"job": 7, "run": 5}, {"job": 8, "run": 6}, {"job": 9}],
        {"kind": "status_all"},
        {
            "jobs": [7, 8, 9],
            "value": {"runs": [{"run": 5, "jobs": 1, "listed": True}, {"run": 6, "jobs": 1, "listed": False}]},
        },
    ),
    (
        lambda c: c.status_all(),
        [{"job": 7, "run": 5}],
        {"kind": "status_all"},
        {"jobs": [7], "value": {"runs": [{"run": 5, "jobs": 1, "listed": True}]}},  # a system that lists no runs at all
    ),
]


@pytest.mark.parametrize(("call", "answer", "invoked", "answered"), RECORDED)
def test_what_a_call_records_is_what_the_history_says(
    *,
    call: Callable[[RecordedSystem], Any],
    answer: Any,
    invoked: dict[str, Any],
    answered: dict[str, Any],
    client: Client,
    tmp_path: Path,
) -> None:
    assert call(client(answer)).outcome == "ok"
    _, invoke, ok = events(tmp_path)
    assert {key: invoke[key] for key in invoked} == invoked
    assert {key: ok[key] for key in answered} == answered
    assert ok["e"] == "ok"


MALFORMED: list[tuple[Callable[[RecordedSystem], Any], list[Any]]] = [
    (lambda c: c.read_progress(7), [1.5, -0.1, "half", float("nan"), True]),
    (lambda c: c.submit_run("t", []), [None, 1.5, True, []]),
    (lambda c: c.read_run(5), [[7], "r", {"run": 5}, {"run": 5, "jobs": 3}, {"jobs": [None]}]),
    (lambda c: c.add_actions(7, ["a"]), [None, [], [1, 2], [None]]),
    (lambda c: c.delete_many("jobs", [7]), [None, -1, True, 1.0, "1"]),
    (lambda c: c.clean_by_tag("t"), [None, [1], {"jobs": -1}, {"jobs": True}]),
    (lambda c: c.status_all(), [None, "jobs", ["job"], [{}], [{"job": None}], [{"job": 1.5}]]),
]


@pytest.mark.parametrize(("call", "answer"), [(call, answer) for call, answers in MALFORMED for answer in answers])
def test_an_answer_that_breaks_its_contract_is_recorded_and_raised(
    call: Callable[[RecordedSystem], Any], answer: Any, client: Client, tmp_path: Path
) -> None:
    with pytest.raises(MalformedAnswer, match="expected"):
        call(client(answer))
    assert events(tmp_path)[-1]["error"]["kind"] == "malformed"


def test_ids_given_lazily_come_as_a_generator(client: Client) -> None:
    recorded = client(2)
    recorded.delete_many("jobs", [7, 8], lazily=True)
    ((kind, ids),) = recorded._system.heard
    assert (kind, iter(ids) is ids, list(ids)) == ("jobs", True, [7, 8])


def test_a_thread_records_for_itself_in_a_file_of_its_own(client: Client, tmp_path: Path) -> None:
    recorded = client([7])
    recorded.phase = "quiet"
    first, second = recorded.threads(2)
    assert recorded.threads(1) == [first]
    assert (first.process, second.process, second.phase) == ("w0.0", "w0.1", "quiet")
    assert second._system is recorded._system
    with second.work_on(7):
        second.claim(1)
    recorded.end()
    mine = [json.loads(line) for line in (tmp_path / "w0.1.ndjson").read_text().splitlines()]
    assert [(event["e"], event.get("kind"), event.get("role")) for event in mine] == [
        ("process", None, "thread"),
        ("invoke", "scan", None),
        ("invoke", "claim", None),
        ("ok", None, None),
        ("ok", None, None),
        ("end", None, None),
    ]
    assert [event["e"] for event in events(tmp_path)] == ["process", "end"]


def test_options_are_given_as_far_as_a_constructor_takes_them() -> None:
    class Plain:
        def __init__(self, url: str) -> None:
            self.got = url

    class Some(Plain):
        def __init__(self, url: str, pool_size: int = 1) -> None:
            self.got = (url, pool_size)  # type: ignore[assignment]  # a recording stand-in

    class All(Plain):
        def __init__(self, url: str, **options: object) -> None:
            self.got = (url, options)  # type: ignore[assignment]  # as above

    options = {"pool_size": 4, "lease_seconds": 1.0}
    assert build_system(Plain, "u", options).got == "u"
    assert build_system(Some, "u", options).got == ("u", 4)
    assert build_system(All, "u", options).got == ("u", options)


def test_the_same_seed_and_name_give_the_same_choices(tmp_path: Path) -> None:
    def draw(name: str, seed: int) -> float:
        return RecordedSystem(Recorder(tmp_path / "r", name, "worker"), name, Scripted, seed=seed).rng.random()

    assert draw("w0", 1) == draw("w0", 1)
    assert len({draw("w0", 1), draw("w1", 1), draw("w0", 2)}) == 3


def test_a_killed_process_loses_nothing_it_had_said(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        recorder = Recorder(tmp_path / "w0.ndjson", "w0", "worker")
        for _ in range(100):
            recorder.invoke("claim", "main", requested=1)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert len(events(tmp_path)) == 101
