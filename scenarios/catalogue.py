"""Every scenario by name. Printing this table needs no database."""

from __future__ import annotations

from typing import Final

from harness.errors import UnknownName
from harness.scenario import Scenario
from scenarios.claim_batch import CLAIM_BATCH
from scenarios.claim_race import CLAIM_RACE
from scenarios.worker_guard import WORKER_GUARD

SCENARIOS: Final[dict[str, Scenario]] = {
    "claim-race": CLAIM_RACE,
    "claim-batch": CLAIM_BATCH,
    "worker-guard": WORKER_GUARD,
}


def find(name: str) -> Scenario:
    """The scenario of that name. Raises `UnknownName`."""
    if name not in SCENARIOS:
        raise UnknownName("scenario", name, list(SCENARIOS))
    return SCENARIOS[name]
