"""The pytest plugin: fixtures `contend` and `statement_count`, the marker `contend`, options. Costs nothing until a fixture is asked for.

Registered by installing contend; `-p no:contend` turns it off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from contend.testing import Count, Outcome, Servers

_MARKER: Final = (
    "contend(**parameters): what the fixture `contend` races or explores with in this test, unless the call says otherwise: "
    "scenario, database, workers, jobs, batch, seed, options, …"
)
_BUNDLES: Final = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add contend's options."""
    group = parser.getgroup("contend", "job queues on real databases")
    group.addoption(
        "--contend-database",
        default="sqlite",
        metavar="NAME|URL",
        help="where no call says it: sqlite, postgres or a Postgres URL (sqlite)",
    )
    group.addoption(
        "--contend-profile", default="quick", choices=("quick", "full"), help="how thorough races are (quick)"
    )
    group.addoption(
        "--contend-report",
        default=None,
        metavar="FILE",
        type=Path,
        help="write one page of all of the session's results",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and a place for what the tests leave."""
    config.addinivalue_line("markers", _MARKER)
    config.stash[_BUNDLES] = []


class Contend:
    """The fixture `contend`."""

    def __init__(self, usual: dict[str, Any], out: Path, servers: Servers, keep: Callable[[str], object]) -> None:
        self._usual, self._out, self._servers, self._keep = usual, out, servers, keep

    def race(self, system: type[Any] | str, **parameters: Any) -> Outcome:
        """Race a queue's class, or a system by name; see `contend.race`."""
        __tracebackhide__ = True
        from contend.testing import race  # noqa: PLC0415  # DuckDB and more, which an unused plugin must not cost

        return self._outcome(race, system, parameters)

    def explore(self, system: type[Any] | str, **parameters: Any) -> Outcome:
        """Explore a queue's class, or a system by name; see `contend.explore`."""
        __tracebackhide__ = True
        from contend.testing import explore  # noqa: PLC0415  # as above

        return self._outcome(explore, system, parameters)

    def _outcome(self, run: Callable[..., Outcome], system: type[Any] | str, parameters: dict[str, Any]) -> Outcome:
        __tracebackhide__ = True
        from harness.errors import UsageError  # noqa: PLC0415  # as above

        usual = {key: value for key, value in self._usual.items() if key != "profile" or run.__name__ == "race"}
        try:
            outcome = run(system, out=self._out, serve=self._servers.serve, **{**usual, **parameters})
        except UsageError as error:  # the sentence says it all; where in contend it was said helps nobody
            raise error.with_traceback(None) from None
        self._keep(str(outcome.document["bundle"]))
        return outcome


@pytest.fixture(scope="session")
def _contend_servers() -> Iterator[Servers]:
    from contend.testing import Servers  # noqa: PLC0415  # as above

    servers = Servers()
    try:
        yield servers
    finally:
        servers.close()


@pytest.fixture
def contend(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, _contend_servers: Servers
) -> Contend:
    """Race and explore queues: `contend.race(MyQueue, workers=8).assert_passed()`. Every call has a clean database of its own."""
    config = request.config
    usual: dict[str, Any] = {
        "database": config.getoption("--contend-database"),
        "profile": config.getoption("--contend-profile"),
    }
    for marker in reversed(list(request.node.iter_markers("contend"))):
        if marker.args:
            raise pytest.UsageError("The marker `contend` takes parameters by name, such as contend(workers=8).")
        usual |= marker.kwargs
    return Contend(usual, tmp_path_factory.mktemp("contend"), _contend_servers, config.stash[_BUNDLES].append)


@pytest.fixture
def statement_count(
    request: pytest.FixtureRequest, _contend_servers: Servers
) -> Callable[..., AbstractContextManager[Count]]:
    """A context that counts what is asked of a database: see `contend.testing.StatementCount`, whose arguments it takes."""
    usual = request.config.getoption("--contend-database")

    def count(database: str = usual, **limits: Any) -> AbstractContextManager[Count]:
        from contend.testing import StatementCount  # noqa: PLC0415  # as above

        return StatementCount(database, serve=_contend_servers.serve, **limits)

    return count


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a process of pytest-xdist: hand what its tests left to the one that started it."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["contend"] = session.config.stash[_BUNDLES]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:  # noqa: ARG001  # pytest-xdist's hook
    """Take what a process of pytest-xdist hands over."""
    node.config.stash[_BUNDLES].extend(getattr(node, "workeroutput", {}).get("contend", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Write the page of all results, where one is asked for."""
    file, bundles = config.getoption("--contend-report"), config.stash[_BUNDLES]
    if file is None or hasattr(config, "workeroutput"):
        return
    if not bundles:
        terminalreporter.write_line("contend: no test raced or explored anything, so there is no report.")
        return
    from contend.collecting import collect  # noqa: PLC0415  # as above

    terminalreporter.write_line(
        f"contend: the report of {len(bundles)} runs is {collect([Path(b) for b in bundles], file)}"
    )
