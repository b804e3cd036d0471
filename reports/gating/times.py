"""A comparison of times that another tool made: base against head in one job. The gate only reads it.

    {"schema": 1, "machine": {...}, "comparisons": [{"name": "claim", "verdict": "slower", "ratio": 1.31, "low": 1.24, "high": 1.38,
     "words": "slower by 31 % [24, 38]", "repeated": null}]}

`ratio` is head's time over base's, `low` and `high` its 95 % interval; all three may be null where nothing could be told. `repeated` is
a comparison of the same shape, made again because the first was slower. `machine`, as in a bundle, may be left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.errors import TimesUnreadable

SCHEMA: Final = 1
VERDICTS: Final = ("slower", "faster", "no change seen", "inconclusive")


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much longer one thing took: `ratio` with its interval, above 1 is slower; None where that could not be told."""

    name: str
    verdict: str
    ratio: float | None
    low: float | None
    high: float | None
    words: str
    repeated: Comparison | None


@dataclass(frozen=True, slots=True)
class Times:
    """What was timed, and on which machine, where it says so."""

    machine: Mapping[str, Any]
    comparisons: tuple[Comparison, ...]


def load(path: Path) -> Times:
    """Read a comparison of times. Raises `TimesUnreadable`, naming what is wrong."""
    expected = 'Expected {"schema": 1, "comparisons": [...]}, as the tool that times writes it; leave --times away without one.'
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TimesUnreadable(f"There is no comparison of times at {path}. {expected}") from None
    except OSError as error:
        raise TimesUnreadable(f"The comparison of times {path} cannot be read: {error.strerror}. {expected}") from error
    except (ValueError, RecursionError) as error:
        raise TimesUnreadable(f"The comparison of times {path} is damaged: {error}. {expected}") from error
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != SCHEMA or type(schema) is not int:
        raise TimesUnreadable(
            f"{path} is no comparison of times of schema {SCHEMA}: its schema is {schema!r}. {expected}"
        )
    try:
        return _read(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = f"`{error.args[0]}` is missing" if isinstance(error, KeyError) else str(error)
        raise TimesUnreadable(f"The comparison of times {path} is damaged: {said}. {expected}") from error


def _read(value: Mapping[str, Any]) -> Times:
    rows, machine = value["comparisons"], value.get("machine") or {}
    if not isinstance(rows, list):
        raise TypeError(f"`comparisons` is {str(rows)[:40]!r}, expected a list")
    if not isinstance(machine, dict):
        raise TypeError(f"`machine` is {str(machine)[:40]!r}, expected an object")
    return Times(machine, tuple(_comparison(row) for row in rows))


def _comparison(row: Mapping[str, Any], *, again: bool = False) -> Comparison:
    for name in ("name", "words"):
        if not isinstance(row[name], str):
            raise TypeError(f"`{name}` is {str(row[name])[:40]!r}, expected a text")
    if row["verdict"] not in VERDICTS:
        raise ValueError(f"`verdict` is {str(row['verdict'])[:40]!r}, expected one of {', '.join(VERDICTS)}")
    ratio, low, high = (_ratio(row, name) for name in ("ratio", "low", "high"))
    if (ratio is None or low is None or high is None) and row["verdict"] != "inconclusive":
        raise ValueError(f"`ratio`, `low` and `high` of {row['name'][:40]!r} are needed for {row['verdict']!r}")
    if ratio is not None and low is not None and high is not None and not low <= ratio <= high:
        raise ValueError(f"the interval of {row['name'][:40]!r} does not hold its ratio")
    repeated = row.get("repeated")
    if repeated is not None and again:
        raise ValueError("a repeated comparison is not repeated again")
    return Comparison(
        row["name"], row["verdict"], ratio, low, high, row["words"],
        None if repeated is None else _comparison(repeated, again=True),
    )  # fmt: skip  # as the document has it


def _ratio(row: Mapping[str, Any], name: str) -> float | None:
    value = row[name]
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"`{name}` is {str(value)[:40]!r}, expected a number above 0")
    return float(value)
