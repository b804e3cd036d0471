"""The zoo: what provokes each defect, and the right way of doing the same, which the same provocation must leave in peace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from harness.scenario import Mode

COLLECTION: Final = "zoo"  # what `contend run` calls it
_CLAIMING: Final = {"sqlite": "reference:immediate-batch", "postgres": "reference:skip-locked-cte"}


def _both(system: str) -> dict[str, str]:
    return {"sqlite": system, "postgres": system}


# The right way of doing what a scenario is about.
RIGHT: Final[Mapping[str, Mapping[str, str]]] = {
    "claim-race": _CLAIMING,
    "claim-batch": _CLAIMING,
    "claim-recovery": _CLAIMING,
    "late-start": _CLAIMING,
    "worker-guard": {"sqlite": "reference:single-worker"},
    "progress-updates": _both("reference:batched"),
    "pool-pressure": _both("reference:batched"),
    "bulk-delete": _both("reference:delete-many"),
    "cleanup-churn": _both("reference:delete-many"),
    "atomic-submit": _both("reference:submit-run"),
    "enqueue-race": _both("reference:enqueue-once"),
}


@dataclass(frozen=True, slots=True)
class Provocation:
    """The scenario a defect shows itself in, how it is driven, and with what: as far as it is said, else as the scenario has it."""

    scenario: str
    mode: Mode = "explore"
    batch: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    beside: str = ""  # the right way of doing the same, where it is not that of the scenario
    control: bool = (
        False  # whether the defect itself is the control of the right one, as that of the scenario would not be caught
    )

    def right(self, database: str) -> str | None:
        """The right way of doing the same on a database; None where there is none."""
        return self.beside or RIGHT[self.scenario].get(database)


def _raced(scenario: str) -> Provocation:
    return Provocation(scenario, "race")


def _struck(faults: str, **options: object) -> Provocation:
    """The raced claim-recovery, with these faults."""
    return Provocation("claim-recovery", "race", options={"faults": faults, **options})


_CRASH: Final = {"crash": True, "lease_seconds": 0.5}  # a lease that is waited for once, where nobody recovers
_CLAIMS: Final = Provocation("claim-race")
_CLAIMS_OF_ONE: Final = Provocation("claim-race", batch=1)
_RESCUES: Final = Provocation("claim-recovery", batch=1)
# Of two preemptions, after 23 schedules or 41: more than a busy machine may do in the usual budget.
_LONGER_RESCUES: Final = Provocation("claim-recovery", batch=1, options={"budget": 30.0})
_DEATHS: Final = Provocation("claim-race", batch=1, options=_CRASH)
PROVOCATIONS: Final[Mapping[str, Provocation]] = {
    "select-then-update": _CLAIMS,
    "scalar-subquery": _CLAIMS_OF_ONE,
    "stale-candidate": _CLAIMS_OF_ONE,
    "immediate-in-name": _CLAIMS,
    "deferred-upgrade": _CLAIMS,
    "in-subquery-limit": _CLAIMS,
    "guarded-subquery": _CLAIMS_OF_ONE,
    "unordered-returning": _CLAIMS,
    "filter-after-limit": _CLAIMS_OF_ONE,
    "fetchone-returning": Provocation("claim-race", options={"patience_seconds": 0.0}),
    "advisory-lock-leak": _CLAIMS_OF_ONE,
    "advisory-lock-stale": _RESCUES,
    "loop-update": _raced("claim-batch"),
    "skip-locked-serializable": _CLAIMS_OF_ONE,
    "reused-token": _RESCUES,
    "rescue-finished": _RESCUES,
    "claimed-not-running": _DEATHS,
    "no-recovery": _DEATHS,
    "startup-steals": Provocation("late-start"),
    "wrong-clock": _RESCUES,
    "starved-heartbeat": _LONGER_RESCUES,
    "poison-uncapped": Provocation("claim-recovery", batch=1, options={"max_attempts": 1}, control=True),
    "one-bad-row": Provocation("claim-race", batch=1, options=_CRASH, beside="reference:one-bad-row"),
    "pop-and-delete": _DEATHS,
    "attempt-miscount": _RESCUES,
    "transient-as-failure": _LONGER_RESCUES,
    "silent-single-worker": Provocation("worker-guard"),
    "progress-per-step": _raced("progress-updates"),
    "progress-stale-overwrite": Provocation("progress-updates"),
    "progress-lost-update": Provocation("progress-updates"),
    "progress-lost-final": Provocation("progress-updates", "race", options={"max_batch_size": 1000}),
    "progress-throttled-too-long": _raced("progress-updates"),
    "pool-hog": _raced("pool-pressure"),
    "loop-delete": _raced("bulk-delete"),
    "delete-unguarded": Provocation("cleanup-churn"),
    "too-many-variables": _raced("bulk-delete"),
    "partial-submit": Provocation("atomic-submit"),
    "torn-status": Provocation("atomic-submit"),
    "unfenced-completion": _RESCUES,
    "state-only-fence": _RESCUES,
    "batch-deadlock": Provocation("claim-race"),
    "retry-after-commit": Provocation("enqueue-race", options={**_CRASH, "budget": 30.0}),
    "unique-check-then-insert": Provocation("enqueue-race"),
    "id-watermark-delete": Provocation("bulk-delete", options={"budget": 30.0}, beside="reference:id-watermark-delete"),
    "rowid-reuse": Provocation("bulk-delete"),
    "count-then-claim": Provocation(
        "claim-race", batch=1, options={"most_running": 1}, beside="reference:count-then-claim"
    ),
    "sqlite-text-time": _CLAIMS_OF_ONE,
    "swallowed-busy": _struck("hold-lock,pause-worker", patience_seconds=0.1),
    "clock-skew": _struck("skew-clock,pause-worker"),
}
