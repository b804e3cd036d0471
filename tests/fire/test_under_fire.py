"""contend itself killed, interrupted, without room or descriptors: one sentence, its exit status, nothing left, a bundle that is read."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.errors import RunAbandoned
from harness.runners.explore import Workers
from harness.turnstile import Line

QUEUE = {"sqlite": "reference:update-returning", "postgres": "reference:skip-locked-cte"}
Trigger = Callable[[Path], object]


def run(cwd: Path, *words: str, **more: Any) -> subprocess.Popen[str]:
    """Start a contend whose temporary directory is a folder of this test."""
    (cwd / "tmp").mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "contend", *words], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "TMPDIR": str(cwd / "tmp")}, **more,
    )  # fmt: skip  # as a user would write it


def race(cwd: Path, database: str, *words: str, **more: Any) -> subprocess.Popen[str]:
    return run(
        cwd, "run", "claim-race", "--system", QUEUE[database], "--database", database, "--jobs", "600", *words, **more
    )


def once(contend: subprocess.Popen[str], cwd: Path, happens: Trigger) -> list[psutil.Process]:
    """Wait until it has come so far; gives all the processes below it then."""
    until = time.monotonic() + 120
    while not happens(cwd):
        assert contend.poll() is None, "it should have been met on the way"
        assert time.monotonic() < until
        time.sleep(0.001)
    return psutil.Process(contend.pid).children(recursive=True)


def at_work(cwd: Path) -> bool:
    return any(file.stat().st_size > 5000 for file in cwd.glob("runs/latest/results/*/events/w*.ndjson"))


def judging(cwd: Path) -> bool:
    return any(cwd.glob("tmp/contend-judging-*"))


def on_the_page(cwd: Path) -> bool:
    return any(cwd.glob("runs/latest/results.json"))


def gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=40)
    return not alive


PHASES = [
    pytest.param("sqlite", judging, id="judging"),
    pytest.param("sqlite", at_work, id="at-work", marks=pytest.mark.full),
    pytest.param("sqlite", on_the_page, id="on-the-page", marks=pytest.mark.full),
    pytest.param("postgres", at_work, id="at-work-on-postgres", marks=pytest.mark.full),
    pytest.param("postgres", judging, id="judging-on-postgres", marks=pytest.mark.full),
]


@pytest.mark.parametrize(("database", "phase"), PHASES)
def test_killed_it_leaves_what_the_next_start_clears_away_and_a_bundle_that_is_read(
    database: str, phase: Trigger, tmp_path: Path
) -> None:
    contend = race(tmp_path, database)
    below = once(contend, tmp_path, phase)
    contend.kill()
    contend.communicate()
    assert gone(below)
    before = sorted((tmp_path / "runs").rglob("*"))
    check = run(tmp_path, "check", "runs/latest")
    out, said = check.communicate(timeout=120)
    assert check.returncode == 2 or (check.returncode, phase) == (0, on_the_page), said  # there all had been judged
    assert "was not finished" in out or "was ended before" in out or check.returncode == 0
    assert list((tmp_path / "tmp").iterdir()) == []
    assert sorted((tmp_path / "runs").rglob("*")) == before  # checking writes nothing


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("database", "phase"), PHASES)
def test_interrupted_it_leaves_nothing(number: signal.Signals, database: str, phase: Trigger, tmp_path: Path) -> None:
    contend = race(tmp_path, database)
    below = once(contend, tmp_path, phase)
    contend.send_signal(number)
    _, said = contend.communicate(timeout=120)
    assert contend.returncode == 2, said
    assert "Traceback" not in said
    assert gone(below)
    assert list((tmp_path / "tmp").iterdir()) == []
    check = run(tmp_path, "check", "runs/latest")
    _, said = check.communicate(timeout=120)
    assert check.returncode in (0, 2), said  # on the page all had been judged


def test_a_draining_process_that_was_killed_between_two_schedules_ends_an_exploration_in_words() -> None:
    near, far = Line.pair()
    far.close()
    workers = Workers.__new__(Workers)  # of which only the line to that process is asked for
    workers._quiet = near
    with pytest.raises(RunAbandoned, match="The process that drains the queue died"):
        workers._tend({"restore": 1})
    near.close()


IN_AN_EXEC = """
import os, signal, sys
from contend.cli import run_command_line

def command(*_: object, **__: object) -> int:
    exec("import os, signal; os.kill(os.getpid(), signal.{name}); sum(range(10 ** 9))")
    return 0

sys.exit(run_command_line([], command))
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_in_the_middle_of_an_import_has_the_status_of_any_other(name: str, tmp_path: Path) -> None:
    """Where a KeyboardInterrupt went through an `exec`, Python ends a module by SIGINT though it was dealt with."""
    (tmp_path / "program.py").write_text(IN_AN_EXEC.replace("{name}", name))
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-m", "program"], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip  # as `python -m contend`
    assert done.returncode == 2, done.stderr
    assert done.stderr == "contend: Interrupted before a verdict; what was recorded is kept.\n"


def test_what_is_ignored_below_nohup_stays_ignored() -> None:
    program = (
        "import os, signal\nfrom contend.cli import run_command_line\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "print(run_command_line([], lambda *_, **__: os.kill(os.getpid(), signal.SIGHUP) or 0))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "0\n", done.stderr


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """Mount a small disk (tmpfs) at `place`. Skips where this may not mount; in CI nothing may be skipped."""
    place.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", f"size={size}", "full", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"a disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["/bin/umount", "-l", str(place)], check=True)


@pytest.mark.parametrize(
    ("size", "database"),
    [
        ("200k", "sqlite"),  # full while workers are at work
        pytest.param("600k", "sqlite", marks=pytest.mark.full),  # when it is merged
        pytest.param("1200k", "sqlite", marks=pytest.mark.full),  # in the control
        pytest.param("300k", "postgres", marks=pytest.mark.full),
    ],
)
def test_on_a_full_disk_it_says_so_in_one_sentence_and_passes_nothing(size: str, database: str, tmp_path: Path) -> None:
    with small_disk(tmp_path / "runs", size):
        contend = race(tmp_path, database)
        below = once(contend, tmp_path, lambda cwd: any(cwd.glob("runs/latest/results/*")))
        out, said = contend.communicate(timeout=120)
        assert contend.returncode in (2, 254), said
        if contend.returncode == 254:
            (line,) = [line for line in said.splitlines() if line.startswith("contend: ")]
            assert "No space left on device" in line
        assert "Traceback" not in said + out
        assert gone(below)
        assert list((tmp_path / "tmp").iterdir()) == []
        check = run(tmp_path, "check", "runs/latest")
        _, said = check.communicate(timeout=120)
        assert check.returncode in (2, 254), said
        assert "own fault" not in said


def test_on_a_full_disk_what_was_recorded_is_judged_elsewhere(tmp_path: Path) -> None:
    """Of a run that was killed nothing is merged; there is no room beside it, and none is needed."""
    with small_disk(tmp_path / "runs", "4m") as disk:
        contend = race(tmp_path, "sqlite")
        below = once(contend, tmp_path, at_work)
        contend.kill()
        contend.communicate()
        assert gone(below)
        with contextlib.suppress(OSError), (disk / "full").open("wb", buffering=0) as full:
            while True:
                full.write(bytes(4096))
        check = run(tmp_path, "check", "runs/latest", "--json")
        out, said = check.communicate(timeout=120)
        assert check.returncode == 2, said
        assert json.loads(out)["results"][0]["coverage"]["operations"] > 0


@pytest.mark.parametrize(
    ("files", "database"),
    [
        (24, "sqlite"),
        pytest.param(16, "sqlite", marks=pytest.mark.full),
        pytest.param(32, "sqlite", marks=pytest.mark.full),
        pytest.param(40, "postgres", marks=pytest.mark.full),
    ],
)
def test_without_descriptors_it_says_so_and_leaves_no_process(files: int, database: str, tmp_path: Path) -> None:
    contend = race(tmp_path, database, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)))
    _, said = contend.communicate(timeout=120)
    assert contend.returncode == 254, said
    (line,) = [line for line in said.splitlines() if line.startswith("contend: ")]
    assert "ulimit -n" in line or "file descriptors" in line
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.full
@pytest.mark.parametrize("whom", ["postmaster", "backend", "all"])
def test_of_a_postgres_that_is_killed_nothing_is_passed_that_was_lost(whom: str, tmp_path: Path) -> None:
    contend = race(tmp_path, "postgres", "--json")
    below = once(contend, tmp_path, at_work)
    postmaster = next(
        p for p in below if "cluster_name=contend" in " ".join(p.cmdline()) or "--cluster-name=contend" in p.cmdline()
    )
    backends = [p for p in postmaster.children() if "127.0.0.1" in " ".join(p.cmdline())]
    for victim in {"postmaster": [postmaster], "backend": backends[:1], "all": [*backends, postmaster]}[whom]:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
    out, said = contend.communicate(timeout=300)
    assert contend.returncode == 2, said
    assert json.loads(out)["results"][0]["verdict"] == "inconclusive"
    assert gone(below)
    assert list((tmp_path / "tmp").iterdir()) == []
