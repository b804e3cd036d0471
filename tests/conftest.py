"""What tests of every room share."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

from harness.databases.postgres import Postgres, PostgresServer


def pytest_configure() -> None:
    """Assert no times. Let signals reach the processes tests start: a shell's background job or nohup ignores some, and they inherit it.

    A commit is judged by the same examples each time; `tox -e full` looks for new ones (--hypothesis-profile=search).
    """
    settings.register_profile(
        "repeatable", deadline=None, derandomize=True, max_examples=50
    )  # a busy machine is not a failure
    settings.register_profile("search", deadline=None)
    settings.load_profile("repeatable")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


# Whole commands of many seconds each, those first whose races must not be disturbed too much. One process begins with these, the
# others with all else.
LONG: Final = (
    "test_runs.py",
    "test_trial.py",
    "test_crashes.py",
    "test_load.py",
    "test_compare.py",
    "test_faults_in_a_run.py",
    "test_gate.py",
    "test_explore_postgres.py",
    "test_explore.py",
    "test_pytest_plugin.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest, so that no process is left with one of them when all others have finished."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A started Postgres of our own, one for each pytest process; take databases from it with `fresh()`."""
    with Postgres().serve() as server:
        yield server


Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Make a folder once for all the processes of a test run: `once(name, make)` gives it as `make(folder)` left it.

    The first that asks makes it, and others wait meanwhile; it is for reading only. Where `make` raises, the next that asks tries again.
    """
    own = tmp_path_factory.getbasetemp()
    place = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "once"
    place.mkdir(exist_ok=True)

    def made_once(name: str, make: Callable[[Path], object]) -> Path:
        folder, made = place / name, place / f"{name}.made"
        with (place / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                made.touch()
        return folder

    return made_once


@contextlib.contextmanager
def _new_place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="place-"))
    folder.chmod(0o711)  # root's server runs as another user, who must get through
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def cold_place() -> Iterator[Path]:
    """A folder for our own servers in which nothing was ever started."""
    with _new_place() as folder:
        yield folder


@pytest.fixture(scope="session")
def _session_place() -> Iterator[Path]:
    with _new_place() as folder:
        yield folder


@pytest.fixture
def warm_place(_session_place: Path) -> Iterator[Path]:
    """A folder for our own servers where only the first start has to run initdb; a test must leave no run in it."""
    yield _session_place
    runs = _session_place / "runs"
    assert not runs.exists() or not list(runs.iterdir()), "the test left a run behind"


@pytest.fixture
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Give the URL of an empty database of an engine by name; Postgres is started only for a test that asks for it."""
    with ExitStack() as stack:

        def new(engine: str) -> str:
            if engine == "sqlite":
                return f"sqlite:///{tmp_path}/jobs.db"
            url: str = stack.enter_context(request.getfixturevalue("postgres_server").fresh())
            return url

        yield new


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI nothing may be skipped: a skip there hides a part that CI should have installed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if os.environ.get("CI") == "true" and reporter is not None and skipped:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line(f"{len(skipped)} skipped, but in CI nothing may be skipped.", red=True)
