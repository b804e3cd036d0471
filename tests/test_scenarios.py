"""The tables fit together: whatever a scenario names exists, and every system is declared right or caught by something."""

from __future__ import annotations

import pytest

from contend.campaign import Request, plan
from contend.cli import EXPLORED
from harness import coverage
from harness.invariants import judging
from harness.protocols import OPTIONAL, REQUIRED
from harness.run import too_few
from harness.scenario import Scenario
from reference_impl.defects import DEFECTS
from reference_impl.strategies import STRATEGIES
from scenarios.catalogue import SCENARIOS
from scenarios.explorations import EXPLORATIONS
from scenarios.systems import BUILTIN, find


@pytest.mark.parametrize("scenario", list(SCENARIOS.values()), ids=list(SCENARIOS))
def test_a_scenario_names_only_what_exists(scenario: Scenario) -> None:
    assert set(scenario.invariants) <= set(judging.NAMES)
    assert set(scenario.evidence) <= {*coverage.EVIDENCE, *coverage.GIVEN}
    assert set(scenario.needs) <= {*REQUIRED, *OPTIONAL}
    assert set(scenario.loads) == {"quick", "full"}
    for database in scenario.databases:
        control = find(scenario.control[database])[database]
        assert control.expected(scenario) in scenario.invariants
    for database, names in scenario.timed.items():
        assert all(database in BUILTIN[name] for name in names)


@pytest.mark.parametrize("scenario", list(EXPLORATIONS.values()), ids=list(EXPLORATIONS))
def test_an_exploration_is_judged_by_what_its_control_is_caught_by(scenario: Scenario) -> None:
    assert set(scenario.invariants) <= set(judging.NAMES)
    assert {find(name)[database].expected(scenario) for database, name in scenario.control.items()} <= set(
        scenario.invariants
    )


def test_the_command_line_knows_every_exploration() -> None:
    assert set(EXPLORED) == set(EXPLORATIONS)


def test_what_is_not_judged_is_not_expected() -> None:
    assert find("reference:direct")["sqlite"].expected(SCENARIOS["progress-updates"]) == "write-budget"
    assert find("reference:direct")["sqlite"].expected(EXPLORATIONS["progress-updates"]) is None


def test_what_a_race_finds_by_luck_alone_is_shown_where_it_is_explored() -> None:
    cases = plan(Request(("progress-updates",), profile="full", seed=1)).cases
    modes = {case.scenario.mode for case in cases if case.subject.name == "defect:progress-lost-update"}
    assert modes == {"explore"}
    assert "race" in {case.scenario.mode for case in cases if case.subject.name == "defect:progress-stale-overwrite"}


def test_every_scenario_wants_its_control_caught() -> None:
    assert all("control-caught" in scenario.evidence for scenario in SCENARIOS.values())


def test_every_wrong_system_is_expected_by_a_scenario_that_judges_it() -> None:
    for name, found in BUILTIN.items():
        for subject in found.values():
            for scenario, invariant in (subject.caught_by or {}).items():
                judged = SCENARIOS.get(scenario) or EXPLORATIONS[scenario]
                assert invariant in judged.invariants, name


def test_the_fixed_names_of_scenarios_and_systems_are_there() -> None:
    assert {"claim-race", "claim-batch", "worker-guard"} <= set(SCENARIOS)
    shown = {name for name, defect in DEFECTS.items() if defect.right}
    right = {f"reference:{name}" for name in (*STRATEGIES, *shown)}
    assert right | {f"defect:{name}" for name in DEFECTS} == set(BUILTIN)
    assert len(right) == len(STRATEGIES) + len(shown)


def test_every_invariant_is_judged_by_some_scenario() -> None:
    every = (*SCENARIOS.values(), *EXPLORATIONS.values())
    assert {name for scenario in every for name in scenario.invariants} == set(judging.NAMES)


@pytest.mark.parametrize(
    ("tried", "exhausted", "caught_after", "said"),
    [(1, False, [3, 2], "fewer than the 2"), (2, False, [3, 2], ""), (1, True, [3], ""), (1, False, [], "")],
)
def test_an_exploration_of_fewer_schedules_than_its_control_needed_shows_nothing(
    tried: int,
    exhausted: bool,  # noqa: FBT001  # a case of the table
    caught_after: list[int],
    said: str,
) -> None:
    explored: dict[str, object] = {
        "schedules": tried,
        "exhausted": exhausted,
        "stands_for": None,
        "preemptions_below": 1,
        "random": [],
    }
    reason = too_few({"exploration": [explored]}, {"schedules": [{"schedule": number} for number in caught_after]})
    assert said in reason
    assert bool(said) == bool(reason)
    assert not too_few({}, {})
