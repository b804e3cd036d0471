"""Real processes: told what to do, noticed when they die or hang, and gone with everything they started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness import signals
from harness.errors import SystemUnusable
from harness.processes import CONTEXT, Birth, Crew, Source, examine, opens, promise_of
from harness.scenario import Part


class Queue:
    """A system that does as little as a system may."""

    def __init__(self, url: str) -> None:
        self.url = url

    def install(self) -> None: ...
    def enqueue(self, jobs: list[dict[str, Any]]) -> list[int]:
        return list(range(len(jobs)))

    def claim(self, worker: str, limit: int) -> list[int]:
        return [limit]

    def complete(self, worker: str, handles: list[Any]) -> None: ...


def hello(client: Any) -> list[Any]:
    return [client.process, os.getpid()]


def claim(client: Any) -> list[Any]:
    return [handle.job for handle in client.claim(3).handles]


def die(client: Any) -> None:
    if client.process == "w1":
        sys.stderr.write("these are my last words\n")
        os.kill(os.getpid(), signal.SIGKILL)


def hang(client: Any) -> None:
    if client.process == "w1":
        time.sleep(1000)


def fall_over(client: Any) -> None:
    raise ValueError("fell over")


def have_a_child(client: Any) -> int:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"]).pid


def moment(client: Any) -> int:
    return time.monotonic_ns()


def twice(client: Any, number: int) -> int:
    return 2 * number


def tick(client: Any, path: str) -> None:
    with open(path, "ab", buffering=0) as log:  # noqa: PTH123  # unbuffered
        while True:
            log.write(b".")


def word(client: Any) -> str:
    return os.environ["CONTEND_TEST_WORD"]


def leave_a_daemon(client: Any, path: str) -> None:
    """Have a grandchild in a session of its own that nothing of ours knows."""
    if os.fork() == 0:
        os.setsid()
        daemon = os.fork()
        if daemon:
            Path(path).with_suffix(".part").write_text(str(daemon))
            Path(path).with_suffix(".part").rename(path)
            os._exit(0)
        time.sleep(1000)


def write_to_our_pipe(client: Any, words: str) -> None:
    for link in list(Path("/proc/self/fd").iterdir()):
        if link.exists() or link.is_symlink():
            with contextlib.suppress(OSError):
                if str(link.readlink()).startswith("socket:"):
                    os.write(int(link.name), bytes.fromhex(words))
    time.sleep(1000)


@opens
def do_nothing(client: Any) -> None: ...


Troupe = Callable[..., Crew]


@pytest.fixture
def troupe(tmp_path: Path) -> Iterator[Troupe]:
    crews = []

    def make(workers: int = 2, system: type = Queue) -> Crew:
        crew = Crew(tmp_path / "place").__enter__()
        crews.append(crew)
        tally = CONTEXT.RawArray("q", workers)
        for slot in range(workers):
            source = Source.of(system)
            crew.start(Birth(f"w{slot}", "worker", source, "sqlite:///x", {}, crew.folder, None, 1, tally, slot))
        return crew

    yield make
    for crew in crews:
        pids = [member.process.pid for member in crew._members.values()]
        crew.__exit__()
        assert not [pid for pid in pids if psutil.pid_exists(pid)]


def test_processes_run_a_program_and_answer_in_order(troupe: Troupe) -> None:
    crew = troupe()
    answers = crew.tell(["w1", "w0"], hello, within=20)
    assert [answer.value for answer in answers] == [["w1", crew.pid("w1")], ["w0", crew.pid("w0")]]
    assert crew.problems == []


def test_a_common_start_is_within_a_few_milliseconds(troupe: Troupe) -> None:
    crew = troupe(4)
    crew.tell(["w0", "w1", "w2", "w3"], hello, within=20)
    spread = min(_spread(crew) for _ in range(5))
    assert spread < 20


def _spread(crew: Crew) -> float:
    moments = [answer.value for answer in crew.tell(["w0", "w1", "w2", "w3"], moment, within=20)]
    return float(max(moments) - min(moments)) / 1e6


def test_a_class_defined_inside_a_function_is_shipped(troupe: Troupe) -> None:
    jobs = [41, 42]

    class Local(Queue):
        def claim(self, worker: str, limit: int) -> list[int]:
            return jobs

    (answer,) = troupe(1, Local).tell(["w0"], claim, within=20)
    assert answer.value == [41, 42]


def test_a_dead_process_is_named_at_once_with_its_last_words(troupe: Troupe) -> None:
    crew = troupe()
    started = time.monotonic()
    answers = crew.tell(["w0", "w1"], die, within=60)
    assert time.monotonic() - started < 30
    assert answers[0].problem == ""
    assert "w1 died (SIGKILL)" in answers[1].problem
    assert "these are my last words" in answers[1].problem
    assert crew.problems == [answers[1].problem]


def test_a_dead_process_stays_dead_and_says_so_again(troupe: Troupe) -> None:
    crew = troupe()
    crew.tell(["w0", "w1"], die, within=60)
    again = crew.tell(["w0", "w1"], hello, within=20)
    assert again[0].value is not None
    assert "died" in again[1].problem


def test_a_hung_process_is_named_and_killed(troupe: Troupe) -> None:
    crew = troupe()
    crew.tell(["w0", "w1"], hello, within=20)
    pid = crew.pid("w1")
    answers = crew.tell(["w0", "w1"], hang, within=0.3)
    assert "w1 did not finish hang within 0.3 s and was killed" in answers[1].problem
    assert not psutil.pid_exists(pid)


def test_a_program_that_raises_is_a_problem_but_the_process_lives_on(troupe: Troupe) -> None:
    crew = troupe(1)
    assert "fell over" in crew.tell(["w0"], fall_over, within=20)[0].problem
    assert crew.tell(["w0"], hello, within=20)[0].value[0] == "w0"


def test_a_constructor_that_raises_is_said_in_one_sentence(troupe: Troupe) -> None:
    class Broken(Queue):
        def __init__(self, url: str) -> None:
            raise RuntimeError("no such luck")

    (answer,) = troupe(1, Broken).tell(["w0"], hello, within=20)
    assert answer.unusable
    assert "RuntimeError: no such luck" in answer.problem


def test_what_a_worker_started_ends_with_it(troupe: Troupe) -> None:
    crew = troupe(1)
    child = crew.tell(["w0"], have_a_child, within=20)[0].value
    assert psutil.pid_exists(child)
    crew.end(["w0"])
    psutil.wait_procs([psutil.Process(child)] if psutil.pid_exists(child) else [], timeout=5)
    assert not psutil.pid_exists(child)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody is given the children of the dead")
def test_a_daemon_that_a_worker_started_ends_with_the_crew_however_the_worker_ends(
    troupe: Troupe, tmp_path: Path
) -> None:
    crew = troupe(2)
    crew.tell(["w0"], leave_a_daemon, within=20, path=str(tmp_path / "w0"))
    crew.tell(["w1"], leave_a_daemon, within=20, path=str(tmp_path / "w1"))
    daemons = [psutil.Process(int(_read(tmp_path / name))) for name in ("w0", "w1")]
    crew.kill("w1")
    crew.end(["w0"])
    other = troupe(1)  # a crew beside it loses nobody
    (answer,) = other.tell(["w0"], hello, within=20)
    crew.__exit__()
    _, alive = psutil.wait_procs(daemons, timeout=10)
    assert alive == []
    assert other.tell(["w0"], hello, within=20) == [answer]


def _read(path: Path) -> str:
    until = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.01)
    return path.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("0000000568656c6c6f", "w0 said b'hello' where it was to answer, and was killed"),
        ("7fffffff68656c6c6f", "w0 said b'hello' where it was to answer"),  # of two billion bytes these are the first
        ("0000000e7b2276616c7565223a6e756c6c7d", "where it was to answer"),  # an answer to nothing: {"value":null}
        ("0000010068656c", "did not finish write_to_our_pipe within"),  # the rest of it never comes
    ],
)
def test_what_is_no_answer_is_quoted_and_nobody_waits_for_its_end(troupe: Troupe, words: str, said: str) -> None:
    crew = troupe(1)
    crew.tell(["w0"], hello, within=20)
    (answer,) = crew.tell(["w0"], write_to_our_pipe, within=2, words=words)
    assert said in answer.problem
    assert crew.problems == [answer.problem]


def test_killing_on_purpose_is_no_problem(troupe: Troupe) -> None:
    crew = troupe()
    crew.tell(["w0", "w1"], hello, within=20)
    crew.kill("w0")
    crew.end(["w0", "w1"])
    assert crew.problems == []


def test_processes_do_different_things_from_the_same_moment(troupe: Troupe) -> None:
    crew = troupe(2)
    crew.tell(["w0", "w1"], hello, within=20)
    crew.begin([Part("w0", moment), Part("w1", twice, {"number": 21})])
    started, doubled = crew.gather(["w0", "w1"], within=20)
    assert (doubled.value, started.problem) == (42, "")
    assert abs(started.value - time.monotonic_ns()) < 60e9


def test_one_killed_on_purpose_in_the_middle_is_an_answer_but_no_problem(troupe: Troupe) -> None:
    crew = troupe(2)
    crew.tell(["w0", "w1"], hello, within=20)
    crew.begin([Part("w0", hello), Part("w1", hang)])
    crew.kill("w1")
    answers = crew.gather(["w0", "w1"], within=20)
    assert answers[0].value[0] == "w0"
    assert answers[1].problem == "w1 was killed on purpose."
    assert crew.problems == []


def test_a_stopped_process_does_nothing_until_it_is_let_go(troupe: Troupe, tmp_path: Path) -> None:
    crew = troupe(1)
    crew.tell(["w0"], hello, within=20)
    log = tmp_path / "ticks"
    crew.begin([Part("w0", tick, {"path": str(log)})])
    _until(lambda: log.exists() and log.stat().st_size > 10)
    signals.stop(crew.pid("w0"))
    size = log.stat().st_size
    assert psutil.Process(crew.pid("w0")).status() == psutil.STATUS_STOPPED
    os.sched_yield()
    assert log.stat().st_size == size
    assert crew.at_work("w0")
    signals.go_on([crew.pid("w0")])
    _until(lambda: log.stat().st_size > size)
    crew.kill("w0")
    assert not crew.at_work("w0")


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline


def test_the_environment_of_a_process_is_that_of_now(troupe: Troupe, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server they are forked from was started long ago, with the environment of then."""
    troupe(1).tell(["w0"], hello, within=20)
    monkeypatch.setenv("CONTEND_TEST_WORD", "now")
    assert troupe(1).tell(["w0"], word, within=20)[0].value == "now"


def test_processes_die_with_their_coordinator(tmp_path: Path) -> None:
    """A SIGKILL of the coordinator leaves no worker behind, neither one that waits for orders nor one that is hung."""
    script = tmp_path / "coordinator.py"
    script.write_text(
        textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from harness.processes import CONTEXT, Birth, Crew, Source
        from harness.scenario import Part
        from test_processes import Queue, hang, hello, leave_a_daemon
        crew = Crew(Path(sys.argv[1])).__enter__()
        for slot in range(2):
            tally = CONTEXT.RawArray("q", 2)
            crew.start(Birth(f"w{slot}", "worker", Source.of(Queue), "x", {}, crew.folder, None, 1, tally, slot))
        pids = [answer.value[1] for answer in crew.tell(["w0", "w1"], hello, within=20)]
        crew.tell(["w0"], leave_a_daemon, within=20, path=sys.argv[2])
        crew.begin([Part("w1", hang)])
        print(*pids, flush=True)
        time.sleep(1000)
        """)
    )
    paths = [str(Path(__file__).parent), *sys.path]
    with subprocess.Popen(
        [sys.executable, script, tmp_path / "place", tmp_path / "daemon"],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    ) as coordinator:
        assert coordinator.stdout is not None
        workers = [psutil.Process(int(pid)) for pid in coordinator.stdout.readline().split()]
        workers.append(psutil.Process(int(_read(tmp_path / "daemon"))))
        coordinator.kill()
    assert len(workers) == 3
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert alive == []


def test_examining_reads_the_promise_in_a_process_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "class Mine:\n    databases = ('sqlite',)\n    ordered = True\n    lease_seconds = 2\n    def __init__(self, url): ...\n"
        + "".join(
            f"    def {name}(self, *a): ...\n" for name in ("install", "enqueue", "claim", "complete", "heartbeat")
        )
    )
    promise = examine(Source("file", str(file), "Mine", "mine.py:Mine"), tmp_path / "place")
    assert (promise.databases, promise.ordered, promise.lease_seconds) == (("sqlite",), True, 2.0)
    assert promise.capabilities == ("install", "enqueue", "claim", "complete", "heartbeat")
    assert "mine" not in sys.modules


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class Mine(:\n", "mine.py, line 1: invalid syntax"),
        ("import nothing_of_that_name\n", "No module named 'nothing_of_that_name'"),
        ("class Other: ...\n", "has no attribute 'Mine'"),
        ("Mine = 3\n", "not a class"),
        ("import sys\nsys.exit(4)\n", "SystemExit: 4"),
        (
            "class Mine:\n    def claim(self, w, n): ...\n",
            "no method install(); it has no method enqueue(); it has no method complete()",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(SystemUnusable) as refused:
        examine(Source("file", str(tmp_path / "mine.py"), "Mine", "mine.py:Mine"), tmp_path / "place")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_all_faults_of_a_class_are_listed_at_once() -> None:
    class Bad:
        databases = "oracle"
        semantics = "always"
        lease_seconds = -1
        max_workers = 0

    with pytest.raises(SystemUnusable) as refused:
        promise_of(Bad, "Bad")
    for word in ("install()", "complete()", "databases", "semantics", "lease_seconds", "max_workers"):
        assert word in str(refused.value)


def test_a_program_marked_opens_runs_without_a_system(troupe: Troupe) -> None:
    class Broken(Queue):
        def __init__(self, url: str) -> None:
            raise RuntimeError("never built")

    assert troupe(1, Broken).tell(["w0"], do_nothing, within=20)[0].problem == ""
