"""Connections of a thread's own: opened again where one was lost, however often that fails first."""

from __future__ import annotations

import pytest

from reference_impl.connections import PerThread


class Connection:
    """A connection that may be lost."""

    def __init__(self) -> None:
        self.lost = self.closed = False

    def close(self) -> None:
        self.closed = True


def test_a_connection_that_could_not_be_opened_again_is_opened_once_it_can_be() -> None:
    """A server that recovers from a crash refuses for a while: the thread must not be left without a connection for good."""
    up = True

    def connect() -> Connection:
        if not up:
            raise OSError("the database system is in recovery mode")
        return Connection()

    lender = PerThread(connect, lost=lambda connection: connection.lost)
    first, _ = lender.take()
    first.lost, up = True, False
    for _ in range(2):
        with pytest.raises(OSError, match="recovery"):
            lender.take()
    up = True
    second, _ = lender.take()
    assert second is not first
    assert lender.take()[0] is second
    lender.close()
    assert (first.closed, second.closed) == (False, True)
