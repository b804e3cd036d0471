"""Every system we know by name, and how to find one we do not: `package.module:Class` or `path/to/file.py:Class`."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import SystemUnusable, UnknownName
from harness.processes import Source, examine, promise_of
from harness.protocols import Promise
from harness.run import Subject
from reference_impl.defects import DEFECTS
from reference_impl.strategies import STRATEGIES


def source_of(system: type[Any], shown: str) -> Source:
    """The source of a class that ships with us."""
    return Source("module", system.__module__, system.__qualname__, shown)


def _subject(name: str, system: type[Any], caught_by: Mapping[str, str], story: str) -> Subject:
    return Subject(
        name, source_of(system, name), promise_of(system, name), known=True, caught_by=caught_by, story=story
    )


def _builtin() -> dict[str, dict[str, Subject]]:
    """Name → database → subject, for all that ships with us."""
    table: dict[str, dict[str, Subject]] = {}
    for strategy in STRATEGIES.values():
        caught_by = {"claim-race": strategy.caught_by} if strategy.caught_by else {}
        if strategy.n_plus_one:
            caught_by["claim-batch"] = "statement-budget"
        name = f"reference:{strategy.name}"
        table[name] = {
            database: _subject(name, system, caught_by, strategy.story) for database, system in strategy.systems.items()
        }
    for defect in DEFECTS.values():
        name = f"defect:{defect.name}"
        table[name] = {
            database: _subject(name, system, {defect.scenario: defect.caught_by}, defect.bug)
            for database, system in defect.systems.items()
        }
    return table


BUILTIN: dict[str, dict[str, Subject]] = _builtin()


def find(name: str) -> Mapping[str, Subject]:
    """The subject of that name for each database it runs on.

    A class of the user's is loaded once in a process of its own to see what it offers. Raises `UnknownName`, `SystemUnusable`.
    """
    if name in BUILTIN:
        return BUILTIN[name]
    where, colon, what = name.rpartition(":")
    if name.startswith(("reference:", "defect:")) or not colon or not what.replace(".", "_").isidentifier():
        raise UnknownName("system", name, [*BUILTIN, "package.module:Class", "path/to/file.py:Class"])
    if where.endswith(".py") or "/" in where:
        path = Path(where).resolve()
        if not path.is_file():
            raise SystemUnusable(
                f"The system {name} cannot be loaded: there is no file {where}. Give path/to/file.py:Class."
            )
        source = Source("file", str(path), what, name)
    else:
        source = Source("module", where, what, name)
    with tempfile.TemporaryDirectory(prefix="contend-examine-") as folder:
        promise = examine(source, Path(folder))
    return {database: Subject(name, source, promise) for database in promise.databases}


def catalogue_order() -> dict[str, dict[str, Subject]]:
    """All that ships with us, the known-wrong first, as they are the controls of the others."""
    wrong_first = sorted(BUILTIN.items(), key=lambda item: not any(subject.caught_by for subject in item[1].values()))
    return dict(wrong_first)


def unknown_promise() -> Promise:
    """What is assumed of a system that is not at hand: a saved history carries its own context."""
    return Promise()


@contextlib.contextmanager
def lend(system: type[Any]) -> Iterator[str]:
    """Let a class at hand be found by a name for the time of a run."""
    source = Source.of(system)
    promise = promise_of(system, source.shown)
    name = f"class:{source.shown}"
    BUILTIN[name] = {database: Subject(name, source, promise) for database in promise.databases}
    try:
        yield name
    finally:
        del BUILTIN[name]
