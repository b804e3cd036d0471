"""Locust users that call a queue, with every call in contend's history: `locust -f scenarios/locustfile.py [ClaimUser|ScanUser|ChurnUser]`.

`contend load` runs this file with an order (the environment variable CONTEND_ORDER). Without one, this file has `contend load` make the
database and judge the history, and runs the users itself: with Locust's own screen, charts and processes.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import IO, Any, ClassVar, Final, cast

import gevent
import gevent.event
from locust import User, constant, events, runners, stats, task
from locust.env import Environment
from locust.exception import StopUser
from locust.rpc import Message
from locust.runners import STATE_MISSING, LocalRunner, MasterRunner, WorkerRunner

from harness import witnesses
from harness.recorder import RecordedSystem, Recorder, build_system
from harness.runners import apart
from harness.runners.load import FINISHED, FOLDER, ORDER, Clockwork, Order
from harness.scenario import Reply
from harness.scratch import scratch
from scenarios import scanning
from scenarios.claiming import POLL_SECONDS, complete
from scenarios.cleanup_churn import TAGS, WORK_SECONDS
from scenarios.loads import USER_CLASSES

ORDER_SECONDS: Final = 120.0  # for a server to come up and a queue to be filled
FINISH_SECONDS: Final = 60.0  # for all users to finish their turns before Locust quits, which would interrupt them
STOP_SECONDS: Final = 2.0  # for the same when users are stopped on the screen; a worker is not ready again before that
LOOK_SECONDS: Final = 0.05
FIRST_QUESTIONS: Final = 10  # of a worker on another machine, about the master's time
MASTER_SECONDS: Final = 15  # without a word of the master, after which a worker gives up; it speaks every second
SEND_SECONDS: Final = 0.5  # between two pieces of history that a worker on another machine sends


def three_digits(milliseconds: float) -> float:
    """Round as Locust does, to few different values, but to three digits and not to whole milliseconds."""
    return float(f"{milliseconds:.3g}")


runners.MASTER_HEARTBEAT_TIMEOUT = MASTER_SECONDS  # read each time; Locust's own is a minute
stats.bucket_response_time = three_digits  # type: ignore[assignment]  # made to be replaced; in master and workers alike


class Crew:
    """What the users of one process share: the order, the clockwork, and one system where the order says so."""

    def __init__(self) -> None:
        """Wait for an order."""
        self.clockwork = Clockwork()
        self.finishing = False  # users are to end after the turn they are in
        self._order: gevent.event.AsyncResult = gevent.event.AsyncResult()
        self._shared: RecordedSystem | None = None
        self._building = threading.Lock()  # Locust has made it one for greenlets
        self._place = itertools.count()
        self._runner: Any = None
        self._watched = False
        self.sender: Callable[[], None] | None = None  # sends what there is to a master on another machine
        self._prefix = ""  # of users' names, on another machine than the master's

    @property
    def order(self) -> Order:
        """The order, once it is here."""
        return cast("Order", self._order.get(timeout=ORDER_SECONDS))

    def begin(self, order: Order, runner: Any, prefix: str = "") -> None:
        """Take the order; from now on users can work. `prefix` tells this machine's users from others'."""
        self._runner, self._prefix = runner, prefix
        if not self._watched and order.witness != "none":
            witnesses.choose(order.witness).enter(order.process or "users", order.folder / "witness")
        self._watched = True
        self._order.set(order)

    def join(self, notice: Callable[[str, int, Reply], None]) -> RecordedSystem:
        """Give a user its client, with a name no other user of this run has. Raises what building the system raises."""
        order = self.order

        def recorded(name: str, role: str, notice: Callable[[str, int, Reply], None] | None) -> RecordedSystem:
            def build() -> Any:
                return build_system(order.source.load(name), order.url, order.options)

            recorder = Recorder(order.folder / "events" / f"{name}.ndjson", name, role)
            return RecordedSystem(recorder, name, build, seed=order.seed, notice=notice)

        if order.process:
            with self._building:
                if self._shared is None:
                    shared = recorded(order.process, "worker", None)
                    shared.build()
                    self._shared = shared
            client = recorded(f"{order.process}.{next(self._place)}", "thread", notice)
            client.share(self._shared)
        else:
            client = recorded(_take_name(order.folder / "events", self._prefix), "worker", notice)
            client.build()
        self.clockwork.users += 1
        return client

    def leave(self, client: RecordedSystem) -> None:
        """A user is done; its connections are given back."""
        if not self.order.process:
            client.close()
        client.end()
        self.clockwork.users -= 1

    def give_up(self, problem: str) -> None:
        """Tell what broke a user; the run is inconclusive, and ends."""
        path = self.order.folder / "load" / f"problem-{os.getpid()}.txt"
        if not path.exists():
            path.write_text(problem[:500], encoding="utf-8")
        gevent.spawn(self._runner.quit)

    def save(self) -> None:
        """Write what this process has measured so far; a screen may start users again."""
        if self._order.ready():
            self.clockwork.save(self.order.folder / "load" / f"users-{os.getpid()}.json")

    def finish(self) -> None:
        """Write what this process has measured, and close what its users shared."""
        if self._shared is not None:
            self._shared.close()
            self._shared.end()
            self._shared = None
        self.save()


def _take_name(folder: Path, prefix: str) -> str:
    for number in itertools.count():
        name = f"{prefix}w{number}"
        try:
            os.close(os.open(folder / f"{name}.ndjson", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        except FileExistsError:
            continue
        return name
    raise AssertionError  # there is always another number


CREW = Crew()


class QueueUser(User):
    """One user: turn after turn, or, at a given rate, each when it is due."""

    abstract = True
    wait_time = constant(0)
    _number: ClassVar[itertools.count[int]] = itertools.count()

    def on_start(self) -> None:
        """Get a client of the queue."""
        self.order = CREW.order
        self._due_ns = 0  # when the turn at hand should have begun; 0 once its first operation has ended
        self._begun = 0
        self._every_ns = 0
        try:
            self.queue = CREW.join(self._notice)
        except BaseException as error:  # whatever a system's constructor does, the run says so
            CREW.give_up(f"The system {self.order.source.shown} could not be built: {type(error).__name__}: {error}")
            raise StopUser from error
        if self.order.rate:
            self._every_ns = round(1e9 * self.order.users / self.order.rate)
            rng = Random(f"{self.order.seed}/{self.queue.process}")  # noqa: S311  # repeatable, not secret
            self._first_ns = time.monotonic_ns() + round(rng.random() * self._every_ns)

    def on_stop(self) -> None:
        """Count the arrivals, and give the client back."""
        if not hasattr(self, "queue"):
            return
        if self._every_ns:
            passed = time.monotonic_ns() - self._first_ns
            due = max(0, passed // self._every_ns + 1)
            begun = min(self._begun, due)
            late = max(0, passed - begun * self._every_ns) / 1e6 if begun < due else 0.0
            CREW.clockwork.arrived(due=due, begun=begun, late_ms=late)
        CREW.leave(self.queue)

    @task
    def take_turn(self) -> None:
        """Begin a turn when it is due."""
        if CREW.finishing:
            raise StopUser
        if self._every_ns:
            self._due_ns = self._first_ns + self._begun * self._every_ns
            ahead = self._due_ns - time.monotonic_ns()
            if ahead > 0:
                gevent.sleep(ahead / 1e9)
            if CREW.finishing:
                raise StopUser
            self._begun += 1
        try:
            self.turn(self.queue)
        except (
            Exception
        ) as error:  # an error of the system is a reply; this is an answer against its contract, or our own fault
            CREW.give_up(f"{self.queue.process}: {type(error).__name__}: {error}")
            raise StopUser from error
        if self.order.url.startswith("sqlite:"):
            gevent.idle()  # nothing it waits for would let Locust's messages through

    def turn(self, queue: RecordedSystem) -> None:
        """What a user does again and again."""
        raise NotImplementedError

    def _notice(self, kind: str, began_ns: int, reply: Reply) -> None:
        """Tell Locust of an operation; the first of a turn that was due counts from then."""
        if self._due_ns:
            began_ns, self._due_ns = self._due_ns, 0
        milliseconds = CREW.clockwork.took(kind, began_ns, reply.outcome)
        error = None if reply.outcome == "ok" else RuntimeError(reply.problem)
        self.environment.events.request.fire(
            request_type="queue", name=kind, response_time=milliseconds, response_length=0, exception=error, context={}
        )


class ClaimUser(QueueUser):
    """Claims a batch, completes it, and enqueues as many jobs again."""

    def turn(self, queue: RecordedSystem) -> None:
        """Claim, complete, enqueue."""
        reply = queue.claim(self.order.batch)
        if not reply.handles:
            queue.pause(queue.rng.uniform(0, POLL_SECONDS))
            return
        complete(queue, reply)
        queue.enqueue([{"payload": "load", "priority": n % 3, "tag": "contend"} for n in range(len(reply.handles))])


class ScanUser(QueueUser):
    """Claims a deep scan, works on it and tells of its progress; all users share the pool of their process."""

    def turn(self, queue: RecordedSystem) -> None:
        """One deep scan."""
        options = self.order.options
        reply = queue.claim(self.order.batch)
        if not reply.handles:
            queue.pause(queue.rng.uniform(0, scanning.SCREEN_SECONDS))
        for handle in reply.handles:
            scanning.scan(
                queue,
                handle.job,
                experts=options["experts"],
                changes=options["changes"],
                pause_seconds=options["pause_seconds"],
                think_seconds=options["think_seconds"],
            )
            scanning.end(queue, handle, "complete")


class ChurnUser(QueueUser):
    """Mostly reads the status; now and then submits a run and works on jobs, or cleans up."""

    def turn(self, queue: RecordedSystem) -> None:
        """Read, work, or clean up."""
        draw = queue.rng.random()
        if draw < 0.6:
            queue.status_all()
        elif draw < 0.9:
            queue.submit_run(queue.rng.choice(TAGS), [{"payload": None, "priority": 0}] * self.order.batch)
            reply = queue.claim(self.order.batch)
            if reply.handles:
                queue.pause(queue.rng.uniform(0, WORK_SECONDS))
                complete(queue, reply)
        else:
            queue.clean_by_tag(queue.rng.choice(TAGS))


# --- Locust's own events ---------------------------------------------------------------------------------------------


class Judge:
    """The `contend load` that makes the database and judges, where Locust was started by hand."""

    def __init__(self, environment: Environment, scenario: str) -> None:
        """Start it; it goes on until `verdict`."""
        options: Any = environment.parsed_options
        command = [sys.executable, "-m", "contend", "load", scenario, "--hand-out", "--database", options.database]
        command += ["--system", options.system] if options.system else []
        command += ["--users", str(options.num_users)] if options.num_users else []
        command += ["--batch", str(options.batch)] if options.batch else []
        command += ["--rate", str(options.rate)] if options.rate else []
        command += ["--processes", str(options.expect_workers if options.master else 1)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def order(self) -> Path | None:
        """The file of the order; None where `contend load` ended instead, having said why."""
        line = cast("IO[str]", self._process.stdout).readline()
        return Path(json.loads(line)["order"]) if line else None

    def verdict(self) -> int:
        """Say that the users are done, and wait for the verdict, which it prints; gives its exit status."""
        self._process.communicate()
        return self._process.returncode


@events.init_command_line_parser.add_listener
def add_options(parser: ArgumentParser) -> None:
    """The options of contend beside Locust's own."""
    ours = parser.add_argument_group("contend")
    ours.add_argument(
        "--system", default="", help="which queue, as for `contend run`; the database's reference if left out"
    )
    ours.add_argument("--database", default="postgres", help="sqlite, postgres or a postgresql:// URL")
    ours.add_argument("--batch", type=int, default=0, help="jobs asked for in one claim")
    ours.add_argument("--rate", type=float, default=0.0, help="turns a second, all users together")


@events.init.add_listener
def begin(environment: Environment, runner: Any, **_more: object) -> None:
    """Get an order: ours, or from a judge of our own, or from the master."""
    options: Any = environment.parsed_options
    if ORDER in os.environ or options.processes:
        _end_with_parent()
    RecordedSystem.interruption = (KeyboardInterrupt, gevent.GreenletExit)
    environment.stop_timeout = environment.stop_timeout or STOP_SECONDS
    if isinstance(runner, WorkerRunner):
        if ORDER in os.environ:
            CREW.begin(Order.read(Path(os.environ[ORDER])), runner)
        else:
            Apart(runner, here=bool(options.processes)).ask()
        _finish_when_told(runner)
        return
    if not isinstance(runner, LocalRunner | MasterRunner):
        return
    if len(environment.user_classes) > 1:  # nobody chose
        environment.user_classes = [ClaimUser]
    environment.events.quitting.add_listener(_save_statistics)
    _let_users_finish(runner)
    if isinstance(runner, MasterRunner):
        _answer_workers(environment, runner)
    if ORDER in os.environ:
        CREW.begin(Order.read(Path(os.environ[ORDER])), runner)
    else:
        _judge_ourselves(environment, runner)


_OWN = contextlib.ExitStack()  # what a worker that was started by hand holds: the master has it all, too
atexit.register(_OWN.close)


class Apart:
    """A worker of Locust that has no order: it asks the master, and, on another machine, sends it what its users did."""

    def __init__(self, runner: WorkerRunner, *, here: bool) -> None:
        """`here` says that it was forked from the master, so that they share its folder and its clock."""
        self._runner = runner
        self._here = here
        self._clock = apart.Clock()
        self._outbox: apart.Outbox | None = None
        runner.register_message("contend-order", self._take)
        runner.register_message("contend-clock", self._heard)

    def ask(self) -> None:
        """Ask for the order."""
        self._runner.send_message("contend-order")

    def _take(self, msg: Message, **_more: object) -> None:
        order = Order.from_json(msg.data["order"])
        if self._here:
            CREW.begin(order, self._runner)
            return
        own = os.environ.get(FOLDER)
        folder = Path(own) if own else _OWN.enter_context(scratch("users"))
        for name in ("events", "load", "witness", "pools"):
            (folder / name).mkdir(exist_ok=True)
        self._outbox = apart.Outbox(folder / "events")
        CREW.sender = self.send
        gevent.spawn(self._go_on, replace(order, folder=folder), msg.data["name"])

    def _go_on(self, order: Order, prefix: str) -> None:
        for _ in range(FIRST_QUESTIONS):  # while nobody is busy yet, answers are quick
            self._ask_time()
            gevent.sleep(LOOK_SECONDS)
        CREW.begin(order, self._runner, prefix)
        while True:
            self._ask_time()
            gevent.sleep(SEND_SECONDS)
            self.send()

    def _ask_time(self) -> None:
        self._runner.send_message("contend-clock", {"asked": time.monotonic_ns()})

    def _heard(self, msg: Message, **_more: object) -> None:
        self._clock.answered(msg.data["asked"], msg.data["here"], time.monotonic_ns())

    def send(self) -> None:
        """Send what is new in the users' files, and what they have measured."""
        if self._outbox is None:
            return
        CREW.save()
        folder = CREW.order.folder / "load"
        piece = {
            "files": self._outbox.take() if (bounds := self._clock.bounds(time.monotonic_ns())) else {},
            "clock": bounds,
            "figures": [file.read_text(encoding="utf-8") for file in sorted(folder.glob("users-*.json"))],
            "problems": [file.read_text(encoding="utf-8") for file in sorted(folder.glob("problem-*.txt"))],
        }
        self._runner.send_message("contend-piece", piece)


def _answer_workers(environment: Any, runner: MasterRunner) -> None:
    """Give orders to workers that ask, tell them the time, and keep what they send. Registered at once: a worker asks only once."""
    names: dict[str, str] = {}

    def give(msg: Message, **_more: object) -> None:
        names[msg.node_id] = name = f"m{len(names) + 1}"
        if not environment.parsed_options.processes:
            apart.receive(CREW.order.folder, name, {}, None)  # from now on it may do something
        data = {"order": CREW.order.to_json(), "name": name}
        runner.send_message("contend-order", data, msg.node_id)

    def tell_time(msg: Message, **_more: object) -> None:
        runner.send_message("contend-clock", {**msg.data, "here": time.monotonic_ns()}, msg.node_id)

    def keep(msg: Message, **_more: object) -> None:
        name, folder = names[msg.node_id], CREW.order.folder
        apart.receive(folder, name, msg.data["files"], msg.data["clock"])
        for number, text in enumerate(msg.data["figures"]):
            (folder / "load" / f"users-{name}-{number}.json").write_text(text, encoding="utf-8")
        for number, text in enumerate(msg.data["problems"]):
            (folder / "load" / f"problem-{name}-{number}.txt").write_text(text, encoding="utf-8")

    runner.register_message("contend-order", lambda msg, **_more: gevent.spawn(give, msg))
    runner.register_message("contend-clock", tell_time)
    runner.register_message("contend-piece", keep)


def _let_users_finish(runner: LocalRunner | MasterRunner) -> None:
    """Have Locust wait for the turns of all users before it quits; by itself it would interrupt them."""
    quit_at_once = runner.quit
    finished: set[str] = set()

    def waited_for() -> set[str]:
        clients = runner.clients.all if isinstance(runner, MasterRunner) else []
        return {client.id for client in clients if client.state != STATE_MISSING}

    def finish_and_quit() -> None:
        CREW.finishing = True
        if isinstance(runner, MasterRunner):
            runner.send_message("contend-finish")
        with gevent.Timeout(FINISH_SECONDS, exception=False):
            while CREW.clockwork.users or waited_for() - finished:
                gevent.sleep(LOOK_SECONDS)
        quit_at_once()

    if isinstance(runner, MasterRunner):
        runner.register_message("contend-finished", lambda msg, **_more: finished.add(msg.node_id))
    runner.quit = finish_and_quit  # type: ignore[method-assign]  # there is no event that may wait


def _finish_when_told(runner: WorkerRunner) -> None:
    """Have a worker's users end after their turn when the master says so, and tell it when they have."""

    def finish() -> None:
        CREW.finishing = True
        while CREW.clockwork.users:
            gevent.sleep(LOOK_SECONDS)
        CREW.save()
        if CREW.sender is not None:
            CREW.sender()
            (CREW.order.folder / FINISHED).touch()
        runner._send_stats()  # there is no public name for it; the master hears them in this order
        runner.send_message("contend-finished")

    runner.register_message("contend-finish", lambda **_more: gevent.spawn(finish))


def _judge_ourselves(environment: Environment, runner: Any) -> None:
    scenario = {name: scenario for scenario, name in USER_CLASSES.items()}[environment.user_classes[0].__name__]
    judge = Judge(environment, scenario)
    path = judge.order()
    if path is None:
        sys.exit(judge.verdict())
    CREW.begin(Order.read(path), runner)

    def settle(environment: Environment, **_more: object) -> None:
        environment.process_exit_code = judge.verdict()

    environment.events.quitting.add_listener(settle)


def _save_statistics(environment: Environment, **_more: object) -> None:
    """Write Locust's own figures beside ours."""
    rows = [
        {
            "name": entry.name,
            "requests": entry.num_requests,
            "failures": entry.num_failures,
            "median_ms": entry.median_response_time,
            "rate": round(entry.total_rps, 3),
        }
        for entry in sorted(environment.stats.entries.values(), key=lambda entry: entry.name)
    ]
    (CREW.order.folder / "load" / "locust.json").write_text(json.dumps(rows), encoding="utf-8")


@events.test_stop.add_listener
def save(**_more: object) -> None:
    """Keep what was measured when the users stop."""
    CREW.save()


@events.quitting.add_listener
def finish(**_more: object) -> None:
    """Keep what was measured, also where Locust was interrupted."""
    CREW.finish()


def _end_with_parent() -> None:
    """Have this process killed when its parent dies by any signal (Linux, prctl(2) PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)
