"""The tables fit together: whatever a scenario names exists, and every system is declared right or caught by something."""

from __future__ import annotations

import pytest

from harness import coverage
from harness.invariants import judging
from harness.protocols import OPTIONAL, REQUIRED
from harness.scenario import Scenario
from reference_impl.defects import DEFECTS
from reference_impl.strategies import STRATEGIES
from scenarios.catalogue import SCENARIOS
from scenarios.systems import BUILTIN, find


@pytest.mark.parametrize("scenario", list(SCENARIOS.values()), ids=list(SCENARIOS))
def test_a_scenario_names_only_what_exists(scenario: Scenario) -> None:
    assert set(scenario.invariants) <= set(judging.NAMES)
    assert set(scenario.evidence) <= {*coverage.EVIDENCE, *coverage.GIVEN}
    assert set(scenario.needs) <= {*REQUIRED, *OPTIONAL}
    assert set(scenario.loads) == {"quick", "full"}
    for database in scenario.databases:
        control = find(scenario.control[database])[database]
        assert control.expected(scenario.name) in scenario.invariants
    for database, names in scenario.timed.items():
        assert all(database in BUILTIN[name] for name in names)


def test_every_scenario_wants_its_control_caught() -> None:
    assert all("control-caught" in scenario.evidence for scenario in SCENARIOS.values())


def test_every_wrong_system_is_expected_by_a_scenario_that_judges_it() -> None:
    for name, found in BUILTIN.items():
        for subject in found.values():
            for scenario, invariant in (subject.caught_by or {}).items():
                assert invariant in SCENARIOS[scenario].invariants, name


def test_the_fixed_names_of_scenarios_and_systems_are_there() -> None:
    assert {"claim-race", "claim-batch", "worker-guard"} <= set(SCENARIOS)
    assert {f"reference:{name}" for name in STRATEGIES} | {f"defect:{name}" for name in DEFECTS} == set(BUILTIN)


def test_every_invariant_is_judged_by_some_scenario() -> None:
    assert {name for scenario in SCENARIOS.values() for name in scenario.invariants} == set(judging.NAMES)
