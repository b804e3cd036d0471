"""The zoo: named broken variants of the queue, each of which must stay caught. None is ever removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reference_impl.defects.silent_single_worker import SilentSingleWorker
from reference_impl.queue import Queue


@dataclass(frozen=True, slots=True)
class Defect:
    """A broken variant: its class for each database it exists on, the bug, where it was seen, and what must catch it.

    `caught_by` is the name of the invariant that must catch it, in the scenario that provokes it.
    """

    name: str
    systems: Mapping[str, type[Queue]]
    bug: str
    seen_in: str
    scenario: str
    caught_by: str


_TABLE: Final = (
    Defect(
        "silent-single-worker",
        {"sqlite": SilentSingleWorker},
        bug="A second process on a single-worker file goes ahead.",
        seen_in="Cloacina T-0049",
        scenario="worker-guard",
        caught_by="worker-guard",
    ),
)
DEFECTS: Final[Mapping[str, Defect]] = {defect.name: defect for defect in _TABLE}
