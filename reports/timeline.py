"""The operations of one violation laid out as a table: one column per worker, time downward, overlap side by side.

Each row is a moment at which something began or ended; an operation is one cell that spans the rows it lasted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from reports.saved import Operation

MOST_OPERATIONS: Final = 12
MOST_LANES: Final = 6


@dataclass(frozen=True, slots=True)
class Cell:
    """A stretch of one lane, `rows` rows high; `operation` is None where the worker did nothing that matters here."""

    rows: int
    operation: Operation | None


@dataclass(frozen=True, slots=True)
class Row:
    """One moment (`at_ms`) and the cells that begin at it, left to right."""

    at_ms: float
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """`workers` are the heads with the number of lanes below each (more than 1 where operations of one worker nest)."""

    workers: tuple[tuple[str, int], ...]
    rows: tuple[Row, ...]
    left_out: int


def lay_out(operations: Sequence[Operation]) -> Timeline | None:
    """Lay out at most `MOST_OPERATIONS` operations in `MOST_LANES` lanes; None where there is nothing to show."""
    ordered = sorted(operations, key=lambda op: (op.invoked_ms, op.number))
    lanes: dict[str, list[list[Operation]]] = {}
    shown: list[Operation] = []
    for op in ordered[:MOST_OPERATIONS]:
        own = lanes.get(op.process, [])
        free = next((lane for lane in own if _end(lane[-1]) <= op.invoked_ms), None)
        if free is None:
            if sum(map(len, lanes.values())) == MOST_LANES:
                continue
            free = []
            lanes.setdefault(op.process, []).append(free)
        free.append(op)
        shown.append(op)
    if not shown:
        return None
    moments = sorted({op.invoked_ms for op in shown} | {op.completed_ms for op in shown if op.completed_ms is not None})
    place = {moment: row for row, moment in enumerate(moments)}
    workers = sorted(lanes.items(), key=lambda pair: _rank(pair[0]))
    columns = [_cells(lane, place) for _, own in workers for lane in own]
    return Timeline(
        workers=tuple((process, len(own)) for process, own in workers),
        rows=tuple(Row(at, tuple(column[row] for column in columns if row in column)) for at, row in place.items()),
        left_out=len(ordered) - len(shown),
    )


def _rank(process: str) -> tuple[int, int, str]:
    """Setup, then the workers with w9 before w10, then whoever drained the queue at the end."""
    return (process == "quiet") - (process == "setup"), len(process), process


def _end(op: Operation) -> float:
    """When the lane is free again; an operation that took no measurable time still takes a row of its own."""
    return math.inf if op.completed_ms is None else max(op.completed_ms, math.nextafter(op.invoked_ms, math.inf))


def _cells(lane: Sequence[Operation], place: dict[float, int]) -> dict[int, Cell]:
    """The cells of a lane by the row they begin in, gaps filled."""
    cells: dict[int, Cell] = {}
    row = 0
    for op in lane:
        begin = place[op.invoked_ms]
        until = len(place) if op.completed_ms is None else max(place[op.completed_ms], begin + 1)
        if begin > row:
            cells[row] = Cell(begin - row, None)
        cells[begin] = Cell(until - begin, op)
        row = until
    if row < len(place):
        cells[row] = Cell(len(place) - row, None)
    return cells
