"""Gates: what holds the statements of explored processes back, one kind for each engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from harness.gates.inside import InsideGate
from harness.gates.on_the_wire import WireGate
from harness.protocols import Gate

GATES: Final[Mapping[str, type[Gate]]] = {"sqlite": InsideGate, "postgres": WireGate}


def choose(engine: str) -> Gate:
    """The gate of an engine (sqlite, postgres)."""
    return GATES[engine]()
