"""What a queue's threads run their statements on: a connection for each thread, or a bounded pool they all share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

C = TypeVar("C")
Lent_co = TypeVar("Lent_co", covariant=True)


class Lender(Protocol[Lent_co]):
    """Lends connections, and takes them back by the function that came with each."""

    def take(self) -> tuple[Lent_co, Callable[[], object]]:
        """Give a connection and what to call when it is no longer needed. Raises where there is none to be had."""

    def close(self) -> None:
        """Close every connection. Closing twice is harmless."""


class PerThread(Generic[C]):
    """Lends each thread a connection of its own, opened when it first asks and again where it was lost."""

    def __init__(self, connect: Callable[[], C], lost: Callable[[C], bool]) -> None:
        self._connect = connect
        self._lost = lost
        self._own = threading.local()
        self._all: list[C] = []

    def take(self) -> tuple[C, Callable[[], object]]:
        """Give the calling thread's connection."""
        connection: C | None = getattr(self._own, "connection", None)
        if connection is None or self._lost(connection):
            if connection is not None:
                self._own.connection = None  # also where the next line but one raises: it is to be removed once
                self._all.remove(connection)
            connection = self._own.connection = self._connect()
            self._all.append(connection)
        return connection, _keep

    def close(self) -> None:
        """Close every thread's connection."""
        while self._all:
            self._all.pop().close()  # type: ignore[attr-defined]  # every driver's connection has it
        self._own = threading.local()


def _keep() -> None:
    """Leave a connection with its thread."""


class Connections(Generic[C]):
    """Acquires connections from a lender; one acquisition of a thread within another is the same connection."""

    def __init__(self, lender: Lender[C]) -> None:
        self._lender = lender
        self._mine = threading.local()

    @contextmanager
    def acquire(self) -> Iterator[C]:
        """Hold a connection. Raises what the lender raises, such as a pool's time-out."""
        held: C | None = getattr(self._mine, "connection", None)
        if held is not None:
            yield held
            return
        connection, give_back = self._lender.take()
        self._mine.connection = connection
        try:
            yield connection
        finally:
            self._mine.connection = None
            give_back()

    @contextmanager
    def apart(self, connect: Callable[[], C]) -> Iterator[C]:
        """Hold a connection of this thread's own, whatever the lender has: all it acquires meanwhile is this one. Closed on leaving."""
        connection = connect()
        self._mine.connection = connection
        try:
            yield connection
        finally:
            self._mine.connection = None
            connection.close()  # type: ignore[attr-defined]  # every driver's connection has it

    def close(self) -> None:
        """Close every connection. Closing twice is harmless."""
        self._lender.close()
