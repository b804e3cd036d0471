"""A command as a system: what it answers is taken as it is, and whatever else it does is named, quoted, and never a pass."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.command import CommandError, CommandSystem
from harness.databases.sqlite import Sqlite
from harness.errors import ProtocolBroken, SystemUnusable
from harness.faults import FAULTS
from harness.outcome import Failure, classify
from harness.processes import CONTEXT, Birth, Crew, Source
from harness.runners.nemesis import Nemesis

ODD = Path(__file__).with_name("odd.py")
Start = Callable[..., CommandSystem]


def line_of(at: str = "nothing", what: str = "") -> str:
    return shlex.join([sys.executable, "-S", str(ODD), at, what])


@pytest.fixture
def start() -> Iterator[Start]:
    started = []

    def command(at: str = "nothing", what: str = "", **options: Any) -> CommandSystem:
        system = CommandSystem(line_of(at, what), "/", "w0", "sqlite:////tmp/none.db", **options)
        started.append(system)
        return system

    yield command
    for system in started:
        system._kill()


def test_what_is_asked_and_answered(start: Start) -> None:
    system: Any = start("claim", "answer([request, number, 2**70, 'ü\\ud800'])", flush_interval=5)
    assert system.semantics == "at-least-once"
    assert system.install() is None
    assert system.enqueue([{"payload": "it's\nü", "priority": 1}, {"payload": "\ud800"}]) == [1, 2]
    assert system.claim("w0", 3) == [{"id": 4, "op": "claim", "worker": "w0", "limit": 3}, 4, 2**70, "ü\ud800"]
    assert system.complete("w0", [7]) is None
    assert not hasattr(system, "heartbeat")
    system.close()
    assert system._process.returncode == 0


def test_the_hello_has_the_worker_the_url_and_the_options(start: Start) -> None:
    with pytest.raises(CommandError) as said:
        start(
            "hello",
            "print(json.dumps({'id': number, 'error': {'message': json.dumps(request)}}), flush=True)",
            lease_seconds=2,
        )
    assert json.loads(str(said.value)) == {
        "id": 1,
        "op": "hello",
        "worker": "w0",
        "url": "sqlite:////tmp/none.db",
        "options": {"lease_seconds": 2},
    }


def test_the_url_is_put_into_the_words_of_the_command_and_no_shell_reads_it() -> None:
    url = "postgresql://u:a b;$(touch x)@h/d"
    hello = "import sys,json; input(); print(json.dumps({'id':1,'ok':{'capabilities':['install'],'databases':sys.argv[1:]}}))"
    system: Any = CommandSystem(shlex.join([sys.executable, "-c", hello, "--db", "{url}"]), "/", "w0", url)
    assert system.databases == ["--db", url]
    system._kill()


ERRORS = [
    ({"message": "m", "definite": True}, Failure("fail", "refused", "error", None, "m")),
    ({"message": "m"}, Failure("info", "other", "error", None, "m")),
    ({"message": "m", "definite": False, "code": "40P01"}, Failure("info", "deadlock", "error", "40P01", "m")),
    (
        {"message": "database is locked", "definite": True, "class": "SqliteError", "code": "SQLITE_BUSY"},
        Failure("fail", "lock", "SqliteError", "SQLITE_BUSY", "database is locked"),
    ),
    ({"message": "m", "definite": True, "code": "SQLITE_BUSY_SNAPSHOT"}, Failure("fail", "lock", "error", "SQLITE_BUSY_SNAPSHOT", "m")),
    ({"message": "m", "definite": True, "code": 23505}, Failure("fail", "constraint", "error", "23505", "m")),
    ({"message": "m", "code": None, "class": None, "definite": None}, Failure("info", "other", "error", None, "m")),
    ({"message": "m", "code": "ECONNRESET"}, Failure("info", "other", "error", "ECONNRESET", "m")),
]  # fmt: skip


@pytest.mark.parametrize(("error", "failure"), ERRORS)
def test_an_error_is_an_outcome_and_the_command_goes_on(start: Start, error: dict[str, Any], failure: Failure) -> None:
    system: Any = start("claim", f"print(json.dumps({{'id': number, 'error': {error!r}}}), flush=True)")
    with pytest.raises(CommandError) as raised:
        system.claim("w0", 1)
    assert classify(raised.value) == failure
    assert system.complete("w0", [1]) is None


LOG = "print('Listening on port 3000', flush=True)"
BROKEN = [
    ("claim", LOG, "printed 'Listening on port 3000', which is not JSON", "standard error"),
    ("claim", "print('\\x1b[31m\\x07red' + 'x' * 500, flush=True)", r"'\x1b[31m\x07redxxx", "(509 bytes)"),
    ("claim", "print(flush=True)", "printed '', which is not JSON", "prints to standard output"),
    ("claim", "print('NaN', flush=True)", "printed 'NaN', which is not JSON", ""),
    ("claim", "print('[' * 100000, flush=True)", "which is not JSON", ""),
    ("claim", "sys.stdout.buffer.write(b'\\xff{}\\n'); sys.stdout.flush()", r"printed '\\xff{}', which is not UTF-8", "encoding"),
    ("claim", "print([7], flush=True)", "which is no answer, as it has no `id`", "not copied"),
    ("claim", "print('{}', flush=True)", "which is no answer, as it has no `id`", ""),
    ("claim", "answer([], number=3)", "answered request 3, which was not made", "counts by itself"),
    ("claim", "answer([], number='2')", 'answered request "2", which was not made', "as the number it is"),
    ("claim", "answer([], number=1)", "answered request 1, which was answered before", "not in the order"),
    ("claim", "answer([], number=True)", "answered request true, which was not made", ""),
    ("claim", "print(json.dumps({'id': number}), flush=True)", "neither `ok` nor `error`", "undefined"),
    ("claim", "print(json.dumps({'id': number, 'ok': 1, 'error': None}), flush=True)", "both `ok` and `error`", ""),
    ("claim", "print(json.dumps({'id': number, 'error': 'no'}), flush=True)", "no text `message`", ""),
    ("claim", "print(json.dumps({'id': number, 'error': {'message': '', 'definite': 'yes'}}), flush=True)", "not true or false", ""),
    ("claim", "print(json.dumps({'id': number, 'error': {'message': '', 'code': {}}}), flush=True)", "no text or number", ""),
    ("claim", "answer('x' * 2**20)", "a line of more than 1,048,576 bytes, which begins", "more than was asked for"),
    ("claim", "sys.stdout.write('x' * 2**21); sys.stdout.flush()", "a line of more than 1,048,576 bytes", "end of line"),
    ("claim", "sys.stderr.write('no such table\\n'); sys.exit(3)", "ended (exit status 3) without an answer", "caught"),
    ("claim", "sys.exit()", "ended (exit status 0) without an answer", "reads one line and ends"),
    ("claim", "import os; os.kill(os.getpid(), 9)", "ended (SIGKILL) without an answer", ""),
    ("claim", "sys.stdout.write('{\"id\":2,'); sys.stdout.flush(); sys.exit(1)", "in the middle of a line, '{\"id\":2,'", ""),
    ("claim", "import os, time; os.close(1); time.sleep(99)", "closed its standard output", ""),
    ("hello", LOG, "printed 'Listening on port 3000'", "the answer to `hello`"),
    ("hello", "sys.exit(1)", "ended (exit status 1) without an answer", "the answer to `hello`"),
    ("hello", "answer(None)", "answered its hello with null", "capabilities"),
    ("hello", "answer({'capabilities': 'claim'})", "answered its hello with", "says first what it can do"),
]  # fmt: skip


@pytest.mark.parametrize(("at", "what", "seen", "cause"), BROKEN)
def test_whatever_is_no_answer_is_named_quoted_and_explained(
    start: Start, at: str, what: str, seen: str, cause: str
) -> None:
    with pytest.raises(ProtocolBroken) as broken:
        start(at, what).claim("w0", 1)  # type: ignore[attr-defined]  # made of its capabilities
    said = str(broken.value)
    assert seen in said
    assert cause in said
    assert re.search(r'Expected one line such as {"id":[12],"ok":…} as the answer to `\w+`\. Likely cause: ', said)
    assert len(said) < 700
    assert said.isprintable()


@pytest.mark.parametrize(
    ("what", "seen"),
    [
        ("import time; time.sleep(99)", "did not answer within 0.5 s. Expected"),
        ("import time; sys.stdout.write('{\"id\":2'); sys.stdout.flush(); time.sleep(99)", "printed '{\"id\":2' without an end of line"),
    ],
)  # fmt: skip
def test_one_that_hangs_is_given_up_and_is_gone(start: Start, what: str, seen: str) -> None:
    system: Any = start("claim", what, answer_seconds=0.5)
    with pytest.raises(ProtocolBroken, match=re.escape(seen)) as broken:
        system.claim("w0", 1)
    assert "answer_seconds" in str(broken.value) or "end of line" in str(broken.value)
    assert system._process.returncode == -signal.SIGKILL


def test_once_out_of_step_nothing_more_is_asked(start: Start) -> None:
    system: Any = start("claim", LOG)
    for _ in range(2):
        with pytest.raises(ProtocolBroken, match="Listening on port 3000"):
            system.claim("w0", 1)
    system.close()


def test_a_second_answer_is_met_with_the_next_question(start: Start) -> None:
    system: Any = start("claim", "answer([1]); answer([2])")
    assert system.claim("w0", 1) == [1]
    with pytest.raises(ProtocolBroken, match="answered request 2, which was answered before: ") as broken:
        system.complete("w0", [1])
    assert "as the answer to `complete`" in str(broken.value)


def test_the_last_words_of_one_that_ended_are_told(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    system: Any = start("claim", "sys.stderr.write('before\\nno such table: jobs\\n'); sys.exit(3)")
    with pytest.raises(ProtocolBroken, match="Its last words: 'no such table: jobs'"):
        system.claim("w0", 1)


@pytest.mark.parametrize(
    ("at", "what", "said"),
    [
        ("end", "sys.exit(4)", "ended badly at the end of its input (exit status 4)"),
        ("end", "import time; time.sleep(99)", "did not end within 0.5 s of the end of its input"),
    ],
)
def test_one_that_does_not_end_well_says_so(
    start: Start, at: str, what: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.command.END_SECONDS", 0.5)
    with pytest.raises(CommandError, match=re.escape(said)):
        start(at, what).close()


def test_a_line_after_the_last_answer_is_found(start: Start) -> None:
    system: Any = start("claim", "answer([1]); answer([1])")
    system.claim("w0", 1)
    with pytest.raises(ProtocolBroken, match=r"after its last answer\. Expected nothing, as `claim` was answered"):
        system.close()


def test_close_is_asked_where_it_is_offered(start: Start) -> None:
    system = start("hello", "answer({'capabilities': [*NEEDED, 'close']})")
    system.close()
    assert system._number == 2


def test_long_lines_go_both_ways_at_once(start: Start) -> None:
    """Neither waits for the other to read: the command answers before it has read all of a request larger than a pipe holds."""
    system: Any = start("enqueue", "answer(['x' * 500_000])")
    assert len(system.enqueue([{"payload": "y" * 3_000_000}])[0]) == 500_000
    early = """import sys; input(); print('{"id":1,"ok":{"capabilities":["claim"]}}', flush=True)
print('{"id":2,"ok":"' + 'z' * 900_000 + '"}', flush=True); sys.stdin.read()"""
    other: Any = CommandSystem(shlex.join([sys.executable, "-c", early]), "/", "w0", "")
    assert len(other.claim("w" * 900_000, 1)) == 900_000
    other._kill()


@pytest.mark.parametrize("over", [0, 1])
def test_an_answer_may_be_a_mebibyte_long_and_no_longer(start: Start, over: int) -> None:
    longest = 2**20 - len('{"id": 2, "ok": ""}')
    system: Any = start("claim", f"answer('x' * {longest + over})")
    if not over:
        assert len(system.claim("w0", 1)) == longest
    else:
        with pytest.raises(ProtocolBroken, match="more than 1,048,576 bytes"):
            system.claim("w0", 1)


IN_PIECES = """
import time
for letter in json.dumps({'id': number, 'ok': ['ü', 2]}, ensure_ascii=False).encode() + b'\\r\\n':
    if letter == 10:
        time.sleep(0.1)  # so that the end of the line is read alone
    sys.stdout.buffer.write(bytes([letter]))
    sys.stdout.flush()
"""


def test_an_answer_that_comes_letter_by_letter_is_taken_when_it_is_whole(start: Start) -> None:
    system: Any = start("claim", IN_PIECES)
    assert system.claim("w0", 1) == ["ü", 2]
    assert system.complete("w0", [1]) is None


UNUSABLE = [
    ("no-such-program --db {url}", "no-such-program: No such file or directory. Give a program that is on the PATH"),
    (str(ODD), "odd.py: Permission denied"),
    ("'unbalanced", "No closing quotation"),
    ("  ", "names no command"),
    (line_of("hello", "answer({'capabilities': ['clam']})"), 'its hello lists "clam", which nothing is asked by'),
    (line_of("hello", "answer({'capabilities': NEEDED, 'databases': 'sqlite'})"), 'databases as "sqlite", which is no list'),
]  # fmt: skip


@pytest.mark.parametrize(("command", "said"), UNUSABLE)
def test_one_that_cannot_be_started_or_offers_what_there_is_not_is_refused(command: str, said: str) -> None:
    with pytest.raises(SystemUnusable) as refused:
        CommandSystem(command, "/", "w0", "sqlite:///x")
    assert said in str(refused.value)
    assert f"exec:{command}"[:40] in str(refused.value)


SHELL = """sh -c 'read l; echo "{\\"id\\":1,\\"ok\\":{\\"capabilities\\":[\\"install\\"]}}"; sleep 1000 & echo $! >{url}; read l; wait'"""


def _crew(folder: Path) -> tuple[Crew, Path]:
    """A crew whose one member speaks for a shell with a child of its own, whose pid is in a file."""
    crew = Crew(folder / "place").__enter__()
    pids = folder / "pids"
    source = Source("command", SHELL, "/", "exec:sh")
    crew.start(Birth("w0", "worker", source, str(pids), {}, crew.folder, None, 1, CONTEXT.RawArray("q", 1), 0))
    assert crew.tell(["w0"], None, within=30)[0].problem == ""
    (answer,) = crew.tell(["w0"], family, within=30)
    while not pids.exists() or not pids.read_text().endswith("\n"):
        time.sleep(0.01)
    (crew.folder / "family").write_text(f"{answer.value} {pids.read_text()}")
    return crew, crew.folder / "family"


def family(client: Any) -> int:
    return int(client.unrecorded()._process.pid)


def test_killing_a_worker_kills_its_command_and_what_that_started(tmp_path: Path) -> None:
    crew, pids = _crew(tmp_path)
    command, child = (psutil.Process(int(pid)) for pid in pids.read_text().split())
    crew.kill("w0")
    dead = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    assert all(not one.is_running() or one.status() in dead for one in (command, child))  # at once, not a moment later
    crew.__exit__()
    assert crew.problems == []


def test_a_paused_worker_is_paused_with_its_command(tmp_path: Path) -> None:
    crew, pids = _crew(tmp_path)
    nemesis = Nemesis(crew, "sqlite", "", Sqlite(), None, random.Random(1), FAULTS, ["w0"], {}, closed=True)  # type: ignore[arg-type]  # no server is needed
    worker = psutil.Process(crew.pid("w0"))
    command, child = (psutil.Process(int(pid)) for pid in pids.read_text().split())
    with nemesis.strike("pause-worker", ["w0"], inside=None):
        _until(lambda: worker.status() == command.status() == child.status() == psutil.STATUS_STOPPED)
    _until(lambda: psutil.STATUS_STOPPED not in (worker.status(), command.status(), child.status()))
    with nemesis._kept("w0"):
        assert worker.status() == psutil.STATUS_STOPPED
        assert command.status() != psutil.STATUS_STOPPED  # it may hold a lock that the next harm waits for
    assert nemesis.missing("skew-clock") == "nothing can be changed inside a command"
    nemesis.end()
    crew.__exit__()
    assert psutil.wait_procs([command, child], timeout=20)[1] == []


def test_the_command_dies_with_its_worker_whatever_kills_that(tmp_path: Path) -> None:
    crew, pids = _crew(tmp_path)
    command = psutil.Process(int(pids.read_text().split()[0]))
    os.kill(crew.pid("w0"), signal.SIGKILL)
    _until(lambda: not command.is_running() or command.status() == psutil.STATUS_ZOMBIE)
    crew.__exit__()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def contend(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "contend", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def test_a_run_with_one_that_prints_is_inconclusive_and_quotes_it(tmp_path: Path) -> None:
    command = line_of("claim", f"sys.stderr.write('about to log\\n'); {LOG}")
    done = contend(
        "run", "claim-race", "--system", f"exec:{command}", "--database", "sqlite", "--workers", 2, "--jobs", 20, "--json",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert "The command printed 'Listening on port 3000', which is not JSON. Expected one line" in " ".join(
        result["reasons"]
    )
    assert "about to log" in next((tmp_path / "runs").glob("*/results/*/logs/setup.txt")).read_text()


@pytest.mark.full
@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("answer('x' * 2**20)", "printed a line of more than 1,048,576 bytes, which begins '{\"id\": "),
        ("sys.stdout.write('{\"id\":'); sys.stdout.flush(); sys.exit(1)", "ended (exit status 1) in the middle of a line, '{\"id\":'"),
        ("sys.stdout.write('{\"id\":'); sys.stdout.flush(); time.sleep(99)", "printed '{\"id\":' without an end of line and nothing more"),
        ("sys.stderr.write('no table\\n'); sys.exit(3)", "ended (exit status 3) without an answer"),
        ("time.sleep(99)", "did not answer within 2 s"),
        ("answer([1]); answer([1])", "answered request 2, which was answered before: '{\"id\": 2"),
        ("answer([1], number - 1)", "answered request 1, which was answered before: '{\"id\": 1"),
    ],
)  # fmt: skip
def test_a_run_says_which_worker_did_what(what: str, said: str, tmp_path: Path) -> None:
    command = line_of(
        "claim", f"import time\nif request['worker'] in ('w0', 'w1'):\n    {what}\nelse:\n    answer([1])"
    )
    done = contend(
        "run", "claim-race", "--system", f"exec:{command}", "--database", "sqlite", "--workers", 2, "--jobs", 20,
        "--option", "answer_seconds=2", "--json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert re.match(r"w[01]: The command ", result["reasons"][0])
    assert said in result["reasons"][0]


def test_a_run_with_one_that_says_no_proper_hello_is_inconclusive(tmp_path: Path) -> None:
    command = line_of("hello", LOG)
    done = contend("run", "claim-race", "--system", f"exec:{command}", "--database", "sqlite", "--json", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert "as the answer to `hello`" in result["reasons"][0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "claim-race", "--system", "exec:no-such-program {url}"], "no-such-program: No such file or directory"),
        (["run", "--system", "exec:" + line_of("hello", "answer({'capabilities': ['claim']})")], "its hello does not list install"),
        (["run", "--system", "exec:" + line_of("hello", "answer({'capabilities': NEEDED, 'lease_seconds': -1})")], "lease_seconds is -1"),
        (["explore", "claim-race", "--system", f"exec:{line_of()}"], "can hold nothing back: race it with `contend run`"),
        (["run", "claim-batch", "--system", f"exec:{line_of()}"], "what a command asks of SQLite is not seen"),
        (["run", "--system", "exec:"], "names no command"),
        (["doctor", "--database", "sqlite"], "name one with --system"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_254_and_one_sentence(arguments: list[str], said: str, tmp_path: Path) -> None:
    database = ["--database", "sqlite"] if "--system" in arguments else []
    done = contend(*arguments, *database, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (254, "")
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
