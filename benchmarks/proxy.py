"""What the wire proxy adds to a loopback round trip: `SELECT 1` direct and through the recording proxy, in ABBA blocks."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

from harness.databases import choose
from harness.measurement import quantile
from harness.witnesses.wire import Wire

BLOCKS = 20
QUERIES = 500  # a block


def _block_us(connection: psycopg.Connection[Any]) -> float:
    """The median round trip of a block, in microseconds."""
    samples = []
    for _ in range(QUERIES):
        started = time.perf_counter_ns()
        connection.execute(b"SELECT 1")
        samples.append((time.perf_counter_ns() - started) / 1000)
    return quantile(samples, 0.5)


def measure() -> dict[str, Any]:
    """Give the medians of both arms and of their differences, in microseconds, over interleaved blocks."""
    direct: list[float] = []
    proxied: list[float] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        choose("postgres").serve() as server,
        server.fresh() as url,
        Wire().watch(url, ["w0"], Path(folder)) as urls,
        psycopg.connect(url, autocommit=True) as plain,
        psycopg.connect(urls["w0"], autocommit=True) as watched,
    ):
        for connection in (plain, watched):
            _block_us(connection)
        for block in range(BLOCKS):
            for arm in (0, 1) if block % 2 == 0 else (1, 0):
                (proxied if arm else direct).append(_block_us(watched if arm else plain))
    added = [b - a for a, b in zip(direct, proxied, strict=True)]
    return {
        "direct_us": quantile(direct, 0.5),
        "proxied_us": quantile(proxied, 0.5),
        "added_us": {"median": quantile(added, 0.5), "low": min(added), "high": max(added), "blocks": BLOCKS},
    }
