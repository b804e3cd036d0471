"""Which answer is the contradiction: the last one the blamed process got, never one that was still to come."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from synthetic_bundle import double_claim, write

from reports.moment import breaking
from reports.page import write_page
from reports.saved import Operation


def op(number: int, process: str, begin: float, end: float | None, kind: str = "claim") -> Operation:
    return Operation(number, process, kind, begin, end, "ok", 1, 1, (7,), "")


ENQUEUED, HELD, TAKEN = op(1, "setup", 0, 9, "enqueue"), op(2, "w0", 1, 5), op(3, "w3", 2, 4)


@pytest.mark.parametrize(
    ("invariant", "facts", "operations", "number"),
    [
        ("no-double-claim", {"holder": "w3", "taker": "w0"}, [HELD, TAKEN], 2),
        ("no-phantom-claim", {"process": "w3"}, [ENQUEUED, TAKEN], 3),  # though the enqueue was over later
        ("delete-spares-running", {"process": "w0", "reader": "w3"}, [HELD, TAKEN], 3),
        ("progress-final", {"process": "w0"}, [op(4, "w0.2", 3, 8), TAKEN], 4),  # a thread of the process
        ("worker-guard", {"process": "w3", "other_process": "w0"}, [HELD, TAKEN], 2),
        ("their-own", {}, [ENQUEUED, TAKEN], 1),
        ("their-own", {"process": ["w", 3]}, [HELD, TAKEN], 2),
        ("their-own", {"process": "w3"}, [op(5, "w3", 1, None), HELD], 2),  # it never came back: no answer
        ("no-lost-job", {"holder": "w0"}, [ENQUEUED, HELD], None),
        ("lock-errors", {"process": "w0"}, [], None),
    ],
)
def test_the_answer_that_breaks_the_claim(
    invariant: str, facts: dict[str, object], operations: list[Operation], number: int | None
) -> None:
    found = breaking(invariant, facts, operations)
    assert (None if found is None else found.number) == number


def test_the_moment_is_marked_in_words_beside_its_time_and_in_its_column(tmp_path: Path) -> None:
    source = write_page(write(tmp_path / "b", [double_claim("a", "sqlite")])).read_text(encoding="utf-8")
    (row,) = re.findall(r'<tr class="now"><th scope="row">(.*?)</th>', source)
    assert re.sub("<.*?>", "", row) == "12.600 ✗ contradiction"
    (cell,) = re.findall(r'<td rowspan="\d+" class="op ok broke">(.*?)</td>', source, re.S)
    assert "job <bdi>7</bdi>" in cell
