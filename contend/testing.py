"""contend in a test: race or explore a queue's class, with what went wrong as the failure's own text; count what it asks of a database."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
from rich.console import Console

from contend import exploration, screen
from contend.campaign import Request, Watcher, execute
from harness import databases
from harness.protocols import Database, Server
from harness.scenario import Profile
from harness.scratch import scratch
from harness.verdict import Verdict
from harness.witnesses.sqlite_trace import watching
from harness.witnesses.wire import Wire
from scenarios import systems

WIDTH: Final = 118  # characters of a failure's text
Serve = Callable[[Database], AbstractContextManager[Server]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a race or an exploration came to: the verdict, the findings as plain data, and the document they come from."""

    verdict: Verdict
    findings: list[dict[str, Any]]
    document: Mapping[str, Any]

    def assert_passed(self) -> None:
        """Raise AssertionError unless the verdict is a pass, telling the finding: its sentence, a column a process, how to see it again."""
        __tracebackhide__ = True
        if self.verdict != "pass":
            raise AssertionError(self.told())

    def told(self) -> str:
        """The verdict in words, with the first finding of each invariant that is broken."""
        out = io.StringIO()
        console = Console(file=out, width=WIDTH, color_system=None, highlight=False, emoji=False, markup=False)
        for result in self.document["results"]:
            console.print(f"{result['verdict']}: {'; '.join(result['reasons'])}", soft_wrap=True)
            for line in screen.schedule_lines(result) or screen.finding_lines(result):
                console.print(line, soft_wrap=isinstance(line, str))
        console.print(f"Report: {self.document['report']}", soft_wrap=True)
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def race(
    system: type[Any] | str,
    *,
    scenario: str = "claim-race",
    database: str = "sqlite",
    workers: int | None = None,
    jobs: int | None = None,
    batch: int | None = None,
    seed: int | None = None,
    profile: Profile = "quick",
    out: Path = Path("runs"),
    options: Mapping[str, Any] | None = None,
    watch: Callable[[str], None] | None = None,
    serve: Serve | None = None,
) -> Outcome:
    """Race a queue's class (or a system by name) through one scenario on one database, with its control, and judge it.

    The class may be defined anywhere, inside a function too. `serve` starts the database where it is not to be started anew. Raises
    `ContendError` where the run cannot be made.
    """
    with ExitStack() as stack:
        name = _named(system, stack)
        request = Request(
            (scenario,),
            (name,),
            (database,),
            workers,
            jobs,
            batch,
            profile,
            seed,
            out,
            options or {},
            ("contend.race",),
        )
        return _outcome(request, watch, serve)


def explore(
    system: type[Any] | str,
    *,
    scenario: str = "claim-race",
    database: str = "sqlite",
    workers: int | None = None,
    jobs: int | None = None,
    batch: int | None = None,
    seed: int | None = None,
    crash: bool = False,
    budget: float | None = None,
    out: Path = Path("runs"),
    options: Mapping[str, Any] | None = None,
    watch: Callable[[str], None] | None = None,
    serve: Serve | None = None,
) -> Outcome:
    """Run a queue's class (or a system by name) one statement at a time, in every order there is, and judge each.

    With `crash` something befalls a worker at each boundary of its statements. `budget` is in seconds. Else as `race`.
    """
    more = {
        **({"crash": True} if crash else {}),
        **({"budget": budget} if budget is not None else {}),
        **(options or {}),
    }
    with ExitStack() as stack:
        request = exploration.request(
            scenario=scenario,
            system=_named(system, stack),
            database=database,
            workers=workers,
            batch=batch,
            jobs=jobs,
            seed=seed,
            out=out,
            options=more,
            argv=("contend.explore",),
        )
        return _outcome(request, watch, serve)


def _named(system: type[Any] | str, stack: ExitStack) -> str:
    return system if isinstance(system, str) else stack.enter_context(systems.lend(system))


def _outcome(request: Request, watch: Callable[[str], None] | None, serve: Serve | None) -> Outcome:
    watcher = Watcher()
    if watch is not None:
        watcher.said = watch  # type: ignore[method-assign, assignment]  # one listener in place of a class of its own
    campaign, bundle, verdict = execute(request, watcher, serve=serve)
    document = campaign.document(bundle)
    return Outcome(verdict, [finding for result in document["results"] for finding in result["findings"]], document)


class Servers:
    """Servers that stay up from the first time each is asked for until `close`: starting Postgres takes a second."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._running: dict[str, Server] = {}

    def serve(self, engine: Database) -> AbstractContextManager[Server]:
        """Give the server of an engine."""
        key = f"{engine!r} {getattr(engine, 'url', None)}"
        if key not in self._running:
            self._running[key] = self._stack.enter_context(engine.serve())
        return nullcontext(self._running[key])

    def close(self) -> None:
        """Stop them all."""
        self._running.clear()
        self._stack.close()


@dataclass(slots=True)
class Count:
    """What was asked of the database at `url` since the context began, or since `reset`; known once it has ended."""

    url: str
    statements: int = 0  # reads and writes
    transactions: int = 0  # commits
    round_trips: int = 0  # 0 on SQLite, which has none
    shapes: Counter[str] = field(default_factory=Counter)  # of the statements, literals taken out
    _since_ns: int = 0

    def reset(self) -> None:
        """Count from here on: what was done so far was only to prepare."""
        self._since_ns = time.monotonic_ns()


class StatementCount:
    """Counts statements, transactions and round trips on a clean database, or on the one at a URL given as `database`.

    A context, which gives a `Count`. Only connections to its `url` are counted, of SQLite those made in this process while the context
    lasts. Raises AssertionError on leaving where there were more than `limit` statements, `transactions` or `round_trips`, with the
    shapes of the statements.
    """

    def __init__(
        self,
        database: str = "sqlite",
        *,
        limit: int | None = None,
        transactions: int | None = None,
        round_trips: int | None = None,
        serve: Serve = lambda engine: engine.serve(),
    ) -> None:
        self._database, self._serve = database, serve
        self._most = {"statements": limit, "transactions": transactions, "round trips": round_trips}
        self._stack, self._watch = ExitStack(), ExitStack()

    def __enter__(self) -> Count:
        with ExitStack() as stack:
            self._folder = stack.enter_context(scratch("count"))
            url = self._database
            if "://" not in url:
                url = stack.enter_context(stack.enter_context(self._serve(databases.choose(url))).fresh())
            if url.startswith("sqlite:"):
                self._watch.enter_context(watching("test", self._folder))
                self._count = Count(url)
            else:
                self._count = Count(self._watch.enter_context(Wire().watch(url, ["test"], self._folder))["test"])
            self._stack = stack.pop_all()
        return self._count

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        __tracebackhide__ = True
        count = self._count
        with self._stack:
            self._watch.close()
            _tally(count, self._folder / "test.ndjson")
        counted = {
            "statements": count.statements,
            "transactions": count.transactions,
            "round trips": count.round_trips,
        }
        over = [
            f"{counted[what]} {what}, at most {most} allowed"
            for what, most in self._most.items()
            if most is not None and counted[what] > most
        ]
        if over and error is None:
            shapes = "\n".join(f"{times:>6} × {shape}" for shape, times in count.shapes.most_common())
            raise AssertionError(f"{'; '.join(over)}\n{shapes}")


def _tally(count: Count, file: Path) -> None:
    for line in file.read_bytes().splitlines() if file.exists() else ():
        seen = orjson.loads(line)
        if seen["t0"] < count._since_ns:
            continue
        if seen["kind"] in ("read", "write"):
            count.statements += 1
            count.shapes[seen["shape"]] += 1
        count.transactions += seen["commits"]
        count.round_trips += seen["trips"]
