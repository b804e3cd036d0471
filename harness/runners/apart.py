"""Users on other machines: their histories come to the master in pieces, and are put on its clock as far as that can be known.

A worker's clock is bounded as by Cristian (Probabilistic clock synchronization, 1989): the master's answer to a question was made
between the question and the answer. An event is then between two moments of the master's clock: an invocation counts from the
earlier, a completion from the later one. So operations look a little longer than they were, and whatever is certainly before something
else on the master's clock really was.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from harness.recorder import Recorder

FOLDER: Final = (
    "apart"  # in `load`, with a folder for each worker: its files as they came, and what is known of its clock
)
SINCE: Final = "since_ns.txt"  # when a worker took its order, by the master's clock
UNSURE: Final = "unsure_ns.txt"  # a line for each piece: how far its times may be off
ANSWERS: Final = 1000  # the last so many are remembered
DRIFT: Final = 10_000  # clocks drift apart by less than one part in so many (quartz: 20 to 100 parts in a million)


class Clock:
    """What must be added to a worker's times to get the master's, as far as its answers say.

    An answer is worth less the longer ago it was, as clocks drift apart; the quickest of many is worth most.
    """

    def __init__(self) -> None:
        """Know nothing."""
        self._answers: deque[tuple[int, int, int]] = deque(maxlen=ANSWERS)  # low, high, when heard

    def answered(self, asked_ns: int, masters_ns: int, heard_ns: int) -> None:
        """Learn from one question: asked and heard by the worker's clock, answered by the master's."""
        self._answers.append((masters_ns - heard_ns, masters_ns - asked_ns, heard_ns))

    def bounds(self, now_ns: int) -> tuple[int, int] | None:
        """At least and at most so many nanoseconds, at `now_ns` by the worker's clock; None before the first answer."""
        if not self._answers:
            return None
        return (
            max(low - (now_ns - heard) // DRIFT for low, _, heard in self._answers),
            min(high + (now_ns - heard) // DRIFT for _, high, heard in self._answers),
        )


class Outbox:
    """The whole lines of a worker's files that have not been sent yet."""

    def __init__(self, folder: Path) -> None:
        """`folder` holds NDJSON files that grow."""
        self._folder = folder
        self._sent: dict[str, int] = {}

    def take(self) -> dict[str, str]:
        """Give what is new, by file; a line that is not finished comes the next time."""
        new: dict[str, str] = {}
        for file in sorted(self._folder.glob("*.ndjson")):
            with file.open("rb") as events:
                events.seek(self._sent.get(file.stem, 0))
                whole, end, _ = events.read().rpartition(b"\n")
            if end:
                self._sent[file.stem] = self._sent.get(file.stem, 0) + len(whole) + 1
                new[file.stem] = (whole + end).decode()
        return new


def receive(folder: Path, worker: str, files: Mapping[str, str], bounds: Sequence[int] | None) -> None:
    """Put a piece of a worker's history on the master's clock and keep it. `folder` is the result's, `worker` the master's name for it.

    Without `bounds` of its clock there can be no files; that it may do something from now on is kept all the same.
    """
    place = folder / "load" / FOLDER / worker
    place.mkdir(parents=True, exist_ok=True)
    if bounds is None:
        (place / SINCE).write_text(str(time.monotonic_ns()), encoding="utf-8")
        return
    low, high = bounds
    for name, text in files.items():
        _write(
            place / f"{Path(name).name}.ndjson", [_shifted(orjson.loads(line), low, high) for line in text.splitlines()]
        )
    with (place / UNSURE).open("a", encoding="utf-8") as file:
        file.write(f"{high - low}\n")


def settle(folder: Path, now_ns: int) -> list[str]:
    """Put all that was received among the history's events; gives problems, in words.

    A worker that was lost may have done more than it sent: claims, enqueues and the completion of what it held, of unknown outcome.
    """
    problems = []
    unsure = [0]
    for place in sorted((folder / "load" / FOLDER).glob("*")):
        files = sorted(place.glob("*.ndjson"))
        if not files:
            problems.append(f"The worker {place.name} took its order and was never heard of again.")
            since = int((place / SINCE).read_text(encoding="utf-8"))
            began = {"e": "process", "process": place.name, "role": "worker", "pid": 0, "t": since}
            _write(folder / "events" / f"{place.name}.ndjson", [began, *_unknown([began], now_ns)])
            continue
        unsure += map(int, (place / UNSURE).read_text(encoding="utf-8").split())
        for file in files:
            events = [orjson.loads(line) for line in file.read_bytes().splitlines()]
            if not any(event["e"] == "end" for event in events):
                events += _unknown(events, now_ns)
            _write(folder / "events" / file.name, events)
    if max(unsure):
        recorder = Recorder(folder / "events" / "clocks.ndjson", "clocks", "nemesis")
        recorder.ok(recorder.invoke("clock", "main"), value=max(unsure))
        recorder.end()
    return problems


def _write(path: Path, events: Iterable[Mapping[str, Any]]) -> None:
    """Append events to a file."""
    with path.open("ab") as file:
        file.writelines(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE) for event in events)


def _shifted(event: dict[str, Any], low: int, high: int) -> dict[str, Any]:
    early = event["e"] in ("process", "invoke")
    return {**event, "t": event["t"] + (low if early else high)}


def _unknown(events: list[dict[str, Any]], now_ns: int) -> Iterator[dict[str, Any]]:
    """Say what a user of a lost worker may have done after the last it told: of unknown outcome, from then until now."""
    since = max((event["t"] for event in events), default=now_ns)
    op = max((event.get("op", 0) for event in events), default=0)
    begun = {event["op"]: event for event in events if event["e"] == "invoke"}
    held: dict[str, tuple[Any, Any]] = {}
    for event in events:
        if event["e"] == "ok" and begun[event["op"]]["kind"] == "claim":
            tokens = event.get("tokens") or [None] * len(event["jobs"])
            held.update(
                {orjson.dumps(job).decode(): (job, token) for job, token in zip(event["jobs"], tokens, strict=True)}
            )
        elif event["e"] == "ok" and begun[event["op"]]["kind"] == "complete":
            for job in begun[event["op"]].get("jobs", []):
                held.pop(orjson.dumps(job).decode(), None)
    for kind in _KINDS:
        op += 1
        yield {"e": "invoke", "op": op, "kind": kind, "phase": "main", "t": since}
        yield {"e": "info", "op": op, "t": now_ns, "error": _LOST}
    if held:
        jobs, tokens = zip(*held.values(), strict=True)
        yield {
            "e": "invoke",
            "op": op + 1,
            "kind": "complete",
            "phase": "main",
            "t": since,
            "jobs": jobs,
            "tokens": tokens,
        }
        yield {"e": "info", "op": op + 1, "t": now_ns, "error": _LOST}


_KINDS: Final = ("claim", "enqueue")  # of which a result nobody knows may explain what others saw
_LOST: Final = {
    "kind": "connection",
    "class": "harness.runners.apart",
    "code": None,
    "message": "the worker was lost: what it did since its last word is not known",
}
