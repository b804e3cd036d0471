"""Operations laid out in time: each in its worker's column, as many rows high as it lasted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reports.saved import Operation
from reports.timeline import MOST_LANES, MOST_OPERATIONS, Timeline, lay_out


def op(number: int, process: str, begin: float, end: float | None) -> Operation:
    return Operation(number, process, "claim", begin, end, "ok", 1, 0, (), "")


def drawn(timeline: Timeline | None) -> list[str]:
    """Each row as text: its moment and what begins in it, with the rows it spans."""
    assert timeline is not None
    return [
        f"{row.at_ms:g}:" + "".join(f" {c.operation.number if c.operation else '.'}x{c.rows}" for c in row.cells)
        for row in timeline.rows
    ]


def test_overlapping_claims_stand_side_by_side() -> None:
    timeline = lay_out([op(19, "w3", 2, 4), op(12, "w0", 1, 3)])
    assert timeline is not None
    assert timeline.workers == (("w0", 1), ("w3", 1))
    assert drawn(timeline) == ["1: 12x2 .x1", "2: 19x2", "3: .x2", "4: .x1"]


def test_an_operation_that_never_came_back_reaches_the_end() -> None:
    assert drawn(lay_out([op(1, "w0", 1, None), op(2, "w1", 2, 3)])) == ["1: 1x3 .x1", "2: 2x1", "3: .x1"]


def test_operations_of_one_worker_inside_another_get_a_lane_of_their_own() -> None:
    timeline = lay_out([op(1, "w0", 1, 5), op(2, "w0", 2, 3)])
    assert timeline is not None
    assert timeline.workers == (("w0", 2),)


def test_an_operation_that_took_no_measurable_time_keeps_its_place() -> None:
    """A coarse clock gives both ends one stamp, which the worker's next operation may bear as well."""
    timeline = lay_out([op(1, "w0", 1, 1), op(2, "w0", 1, 2)])
    assert drawn(timeline) == ["1: 1x1 2x1", "2: .x1 .x1"]


def test_workers_stand_in_the_order_of_their_numbers_between_setup_and_quiet() -> None:
    timeline = lay_out([op(1, "quiet", 1, 2), op(2, "w10", 1, 2), op(3, "w9", 2, 3), op(4, "setup", 2, 3)])
    assert timeline is not None
    assert [name for name, _ in timeline.workers] == ["setup", "w9", "w10", "quiet"]


def test_nothing_to_show_is_no_timeline() -> None:
    assert lay_out([]) is None


moments = st.floats(0, 5).map(lambda value: round(value, 1))
operations = st.builds(
    lambda number, process, begin, length: op(number, f"w{process}", begin, None if length is None else begin + length),
    st.integers(1, 99),
    st.integers(0, 8),
    moments,
    st.none() | moments,
)


@given(st.lists(operations, min_size=1, max_size=20))
def test_every_row_of_the_table_is_filled_exactly(given_operations: list[Operation]) -> None:
    """Cells that did not add up would shift a worker's operations into another's column."""
    timeline = lay_out(given_operations)
    assert timeline is not None
    lanes = sum(number for _, number in timeline.workers)
    assert lanes <= MOST_LANES
    covered = [0] * len(timeline.rows)
    for place, row in enumerate(timeline.rows):
        for cell in row.cells:
            for later in range(place, place + cell.rows):
                covered[later] += 1
    assert covered == [lanes] * len(timeline.rows)
    shown = [cell.operation for row in timeline.rows for cell in row.cells if cell.operation]
    assert len(shown) <= MOST_OPERATIONS
    assert len(shown) + timeline.left_out == len(given_operations)
