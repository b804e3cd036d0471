"""Every scenario by name. Printing this table needs no database."""

from __future__ import annotations

from typing import Final

from harness.errors import UnknownName
from harness.scenario import Mode, Scenario
from scenarios.atomic_submit import ATOMIC_SUBMIT
from scenarios.bulk_delete import BULK_DELETE
from scenarios.claim_batch import CLAIM_BATCH
from scenarios.claim_race import CLAIM_RACE
from scenarios.claim_recovery import CLAIM_RECOVERY
from scenarios.cleanup_churn import CLEANUP_CHURN
from scenarios.explorations import EXPLORATIONS
from scenarios.loads import LOADS
from scenarios.pool_pressure import POOL_PRESSURE
from scenarios.progress_updates import PROGRESS_UPDATES
from scenarios.worker_guard import WORKER_GUARD

SCENARIOS: Final[dict[str, Scenario]] = {
    "claim-race": CLAIM_RACE,
    "claim-batch": CLAIM_BATCH,
    "claim-recovery": CLAIM_RECOVERY,
    "worker-guard": WORKER_GUARD,
    "progress-updates": PROGRESS_UPDATES,
    "pool-pressure": POOL_PRESSURE,
    "bulk-delete": BULK_DELETE,
    "cleanup-churn": CLEANUP_CHURN,
    "atomic-submit": ATOMIC_SUBMIT,
}


def find(name: str, mode: Mode = "race") -> Scenario:
    """The scenario of that name, as it is raced, explored or loaded. Raises `UnknownName`."""
    known = {"race": SCENARIOS, "explore": EXPLORATIONS, "load": LOADS}[mode]
    if name not in known:
        raise UnknownName("scenario", name, list(known))
    return known[name]
