"""The database, asked past the witness by whoever does the harm."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

from harness.errors import FaultMissed

if TYPE_CHECKING:
    import psycopg

SECONDS: Final = 60.0  # recovery reads the write-ahead log of one short run
_RETRY_SECONDS: Final = 0.02


def connect(url: str) -> psycopg.Connection:
    """Connect to Postgres in autocommit mode; raises what psycopg raises."""
    import psycopg  # noqa: PLC0415  # a run on SQLite alone does not pay for it

    return psycopg.connect(url, autocommit=True, connect_timeout=10)


def wait_well(url: str) -> None:
    """Return once the server answers. Raises `FaultMissed` where it does not."""
    import psycopg  # noqa: PLC0415  # as above

    until = time.monotonic() + SECONDS
    while True:
        try:
            with contextlib.closing(connect(url)) as connection:
                connection.execute("SELECT 1")
        except psycopg.Error as error:
            if time.monotonic() > until:
                raise FaultMissed(f"The server did not answer within {SECONDS:g} s: {str(error).strip()}") from None
            time.sleep(_RETRY_SECONDS)
        else:
            return
