"""Every system we know by name, and how to find one we do not: `package.module:Class`, `path/to/file.py:Class` or `exec:command`."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import databases
from harness.command import METHODS, PREFIX, words_of
from harness.errors import ProtocolBroken, SystemUnusable, UnknownName
from harness.processes import Source, examine, promise_of
from harness.protocols import Promise, Release
from harness.run import Subject
from harness.scratch import scratch
from reference_impl.defects import DEFECTS
from reference_impl.strategies import STRATEGIES
from scenarios.queues import QUEUES
from scenarios.zoo import COLLECTION


def source_of(system: type[Any], shown: str) -> Source:
    """The source of a class that ships with us."""
    return Source("module", system.__module__, system.__qualname__, shown)


def _builtin() -> dict[str, dict[str, Subject]]:
    """Name → database → subject, for all that ships with us."""
    rows = [
        *(
            (f"reference:{s.name}", s.systems, s.about, s.caught_by, s.story, s.at_level, "race", "")
            for s in STRATEGIES.values()
        ),
        *(
            (f"defect:{d.name}", d.systems, tuple(d.caught_by), d.caught_by, d.bug, {}, d.certain, d.seen_in)
            for d in DEFECTS.values()
        ),
        *(
            (f"reference:{d.name}", d.right, (COLLECTION,), {}, f"Right where this is not: {d.bug}", {}, "race", "")
            for d in DEFECTS.values()
            if d.right
        ),
    ]
    return {
        name: {
            database: Subject(
                name,
                source_of(system, name),
                promise_of(system, name),
                known=True,
                about=about,
                caught_by=caught_by,
                at_level={f"{database}-{level}": {"claim-race": by} for level, by in at_level.items()},
                story=story,
                certain=certain,
                seen_in=seen_in,
            )
            for database, system in classes.items()
        }
        for name, classes, about, caught_by, story, at_level, certain, seen_in in rows
    }


BUILTIN: dict[str, dict[str, Subject]] = _builtin()


def find(name: str, asked: Sequence[str] = ("sqlite", "postgres")) -> Mapping[str, Subject]:
    """The subject of that name for each database it runs on.

    A class of the user's is loaded once in a process of its own to see what it offers. A command is asked what it offers on each
    database that is `asked` for, an empty one of its own. Raises `UnknownName`, `SystemUnusable`, of a command `DatabaseUnavailable`.
    """
    if name in BUILTIN:
        return BUILTIN[name]
    if name in QUEUES:
        return _released(name)
    if name.startswith(PREFIX):
        return _ask_command(name, asked)
    where, colon, what = name.rpartition(":")
    if name.startswith(("reference:", "defect:")) or not colon or not what.replace(".", "_").isidentifier():
        raise UnknownName(
            "system", name, [*BUILTIN, *QUEUES, "package.module:Class", "path/to/file.py:Class", "exec:COMMAND"]
        )
    if where.endswith(".py") or "/" in where:
        path = Path(where).resolve()
        if not path.is_file():
            raise SystemUnusable(
                f"The system {name} cannot be loaded: there is no file {where}. Give path/to/file.py:Class."
            )
        source = Source("file", str(path), what, name)
    else:
        source = Source("module", where, what, name)
    with scratch("examine") as folder:
        promise = examine(source, folder)
    return {database: Subject(name, source, promise) for database in promise.databases}


def _released(name: str) -> dict[str, Subject]:
    """A released queue, if its packages are installed; it is loaded once in a process of its own to see what it offers."""
    queue = QUEUES[name]
    if queue.missing:
        raise SystemUnusable(
            f"The system {name} needs {' and '.join(queue.missing)}, which is not installed. "
            f"pip install {' '.join(queue.missing)}, or pip install 'contend[trial]' for every queue that is known here."
        )
    module, _, what = queue.system.partition(":")
    source = Source("module", module, what, name)
    promise = _promise(source)
    release = Release(queue.packages[0], queue.version, queue.settings, queue.says, queue.where)
    return {database: Subject(name, source, promise, release=release) for database in queue.databases}


@functools.cache
def _promise(source: Source) -> Promise:
    """What a class promises, loaded once in a process of its own."""
    with scratch("examine") as folder:
        return examine(source, folder)


def _ask_command(name: str, asked: Sequence[str]) -> dict[str, Subject]:
    """What a command says in the answer to its hello, for each engine; one that does not run on an engine is not asked there.

    One that answers otherwise than it must promises everything: the run will meet the same, and say so, with its bundle kept.
    """
    command = name.removeprefix(PREFIX)
    words_of(command, "")
    source = Source("command", command, str(Path.cwd()), name)
    found: dict[str, Subject] = {}
    for spec in asked:
        engine = databases.choose(spec)
        if engine.name in found or any(engine.name not in subject.promise.databases for subject in found.values()):
            continue
        with scratch("examine") as folder, engine.serve() as server:
            try:
                with server.fresh() as url:
                    promise = examine(source, folder, url=url)
            except ProtocolBroken:
                promise = Promise(capabilities=tuple(METHODS))
        found[engine.name] = Subject(name, source, promise)
    return {engine: subject for engine, subject in found.items() if engine in subject.promise.databases}


def catalogue_order() -> dict[str, dict[str, Subject]]:
    """All that ships with us, the known-wrong first, as they are the controls of the others."""
    wrong_first = sorted(BUILTIN.items(), key=lambda item: not any(subject.caught_by for subject in item[1].values()))
    return dict(wrong_first)


def unknown_promise() -> Promise:
    """What is assumed of a system that is not at hand: a saved history carries its own context."""
    return Promise()


@contextlib.contextmanager
def lend(system: type[Any]) -> Iterator[str]:
    """Let a class at hand be found by a name for the time of a run: by its file and its own name, where anybody can find it so later."""
    source = Source.of(system)
    promise = promise_of(system, source.shown)
    name = f"class:{source.shown}" if isinstance(source.target, bytes) else f"{_near(source.target)}:{source.name}"
    BUILTIN[name] = {database: Subject(name, source, promise) for database in promise.databases}
    try:
        yield name
    finally:
        del BUILTIN[name]


def _near(path: str) -> str:
    """A path as somebody here would type it."""
    with contextlib.suppress(ValueError):
        return str(Path(path).relative_to(Path.cwd()))
    return path
