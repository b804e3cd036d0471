"""The tables fit together: whatever a scenario names exists, and every system is declared right or caught by something."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

import contend
from contend.campaign import Request, plan
from contend.cli import EXPLORED
from harness import coverage
from harness.errors import ContendError, UsageError
from harness.faults import FAULTS
from harness.invariants import judging
from harness.protocols import OPTIONAL, REQUIRED, Promise
from harness.run import too_few
from harness.scenario import Load, Profile, Scenario, Stage
from reference_impl.defects import DEFECTS
from reference_impl.strategies import STRATEGIES
from scenarios import claim_recovery
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


@pytest.mark.parametrize(
    ("faults", "control"),
    [
        ("kill-worker", "defect:no-recovery"),
        ("kill-worker, hold-lock", "defect:no-recovery"),
        ("pause-worker,kill-worker", None),
        ("all", None),
        ("hold-lock", None),
    ],
)
def test_the_control_of_claim_recovery_is_one_that_its_faults_can_show(faults: str, control: str | None) -> None:
    scenario = SCENARIOS["claim-recovery"]
    load = scenario.loads["quick"]
    assert scenario.control_under(replace(load, options={**load.options, "faults": faults})) == control
    if control is not None:
        assert {subject.expected(scenario) for subject in find(control).values()} == {"no-lost-job"}
        assert set(find(control)) == set(scenario.databases)


def test_every_scenario_wants_its_control_caught() -> None:
    assert all("control-caught" in scenario.evidence for scenario in SCENARIOS.values())


def test_every_wrong_system_is_expected_by_a_scenario_that_judges_it() -> None:
    for name, found in BUILTIN.items():
        for subject in found.values():
            for scenario, invariant in (subject.caught_by or {}).items():
                judged = SCENARIOS.get(scenario) or EXPLORATIONS[scenario]
                assert invariant in judged.invariants, name


def test_the_fixed_names_of_scenarios_and_systems_are_there() -> None:
    assert {"claim-race", "claim-batch", "claim-recovery", "worker-guard"} <= set(SCENARIOS)
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


def recovery_cases(**asked: Any) -> list[Load]:
    return [case.load for case in plan(Request(seed=1, **asked)).cases if case.scenario == SCENARIOS["claim-recovery"]]


def faults_planned(**asked: Any) -> set[str]:
    return {load.options["faults"] for load in recovery_cases(**asked)}


def test_only_a_quick_run_of_everything_is_brief() -> None:
    brief = SCENARIOS["claim-recovery"].brief["faults"]
    assert faults_planned() == {brief}
    assert faults_planned(profile="full") == {claim_recovery.ALL}
    assert faults_planned(scenarios=("claim-recovery",)) == {claim_recovery.ALL}
    assert faults_planned(scenarios=("claim-race", "claim-recovery")) == {claim_recovery.ALL}
    assert faults_planned(options={"faults": "latency"}) == {"latency"}, "what was asked for goes before"
    assert {load.options["lease_seconds"] for load in recovery_cases()} == {1.0}, "the other options stay"


@pytest.mark.parametrize("profile", ["quick", "full"])
@pytest.mark.parametrize("scenario", list(SCENARIOS.values()), ids=list(SCENARIOS))
def test_a_scenario_shows_something_right_on_each_of_its_databases(scenario: Scenario, profile: Profile) -> None:
    cases = plan(Request((scenario.name,), profile=profile, seed=1)).cases
    shown = {case.database for case in cases if case.scenario == scenario and case.role == "subject"}
    assert shown == set(scenario.databases)


def test_what_a_scenario_with_faults_plans_exists_and_is_asked_for_as_evidence() -> None:
    scenario = SCENARIOS["claim-recovery"]
    assert {"faults-landed", "operations-accounted", "processes-ended"} <= set(scenario.evidence)
    for options in (*(load.options for load in scenario.loads.values()), scenario.brief):
        names = claim_recovery.planned(options["faults"])
        assert names
        assert set(names) <= set(FAULTS)
    assert all(scenario.check(load) is None for load in scenario.loads.values())


def test_every_fault_there_is_has_a_plan_and_a_kill_comes_late_as_nobody_takes_the_place_of_the_dead() -> None:
    assert set(claim_recovery.PLANS) == set(FAULTS) - {"nothing"}
    assert list(claim_recovery.PLANS)[-2:] == ["kill-worker", "pause-worker"]


def test_faults_are_done_in_the_order_of_their_plans_however_they_are_asked_for() -> None:
    assert claim_recovery.planned(" pause-worker, kill-worker ,pause-worker,") == ["kill-worker", "pause-worker"]
    assert claim_recovery.planned("all") == list(claim_recovery.PLANS)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"faults": "earthquake"}, ["no fault named 'earthquake'", "pause-worker", "kill-worker"]),
        ({"faults": "pause-worker,kill"}, ["no fault named 'kill'", "kill-worker"]),
        ({"faults": "pause-worker,nothing"}, ["claim-recovery plans no fault nothing.", "pause-worker"]),
        ({"faults": ""}, ["claim-recovery plans no fault at all.", "faults=all"]),
        ({"faults": 7}, ["no fault named '7'"]),
    ],
)
def test_faults_there_are_not_are_refused_with_the_names_of_those_there_are(
    options: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ContendError) as refused:
        recovery_cases(scenarios=("claim-recovery",), options=options)
    assert refused.value.exit_status == 254
    assert all(word in str(refused.value) for word in words)
    assert "\n" not in str(refused.value)


def test_two_workers_are_too_few_to_recover_from_each_other() -> None:
    with pytest.raises(UsageError, match=r"claim-recovery cannot be run like this: of two workers .* give at least 3"):
        recovery_cases(scenarios=("claim-recovery",), workers=2)
    assert recovery_cases(scenarios=("claim-recovery",), workers=3)[0].workers == 3


def test_whom_the_last_fault_befell_is_spared_by_the_next_and_the_dead_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker that was away does late must reach the database: were its connection cut then, nobody could see a fence missing."""
    struck: list[tuple[str, Sequence[str]]] = []

    class Strikes:
        """As much of a stage as is needed to see who is struck."""

        load = claim_recovery.CLAIM_RECOVERY.loads["quick"]
        promise = Promise()

        def say(self, line: str) -> None:
            """Nobody listens."""

        def handed_on(self, name: str, *, within: float) -> bool:  # as a stage has it
            return True

        def strike(
            self, fault: str, workers: Sequence[str], *, inside: str, within_seconds: float | None
        ) -> AbstractContextManager[None]:  # as above
            struck.append((fault, workers))
            return nullcontext()

    monkeypatch.setattr(time, "sleep", lambda _: None)
    names = ["pause-worker", "cut-connection", "swizzle", "kill-worker", "lose-commit"]
    for seed in range(20):
        alive, spared, rng = ["w0", "w1", "w2", "w3"], list[str](), random.Random(seed)
        for name in names:
            spared = claim_recovery.befall(cast("Stage", Strikes()), name, alive, 0.0, rng, spared=spared, last=False)
        assert len(alive) == 3
    for (name, before), (following, after) in itertools.pairwise(struck):
        if (name, following) != (names[-1], names[0]):
            assert not set(before) & set(after)


def test_a_fault_that_cannot_be_done_here_is_listed_with_its_reason_and_nothing_else_is_no_pass(tmp_path: Path) -> None:
    outcome = contend.race(
        "reference:skip-locked-cte",
        scenario="claim-recovery",
        database="postgres",
        options={"faults": "hold-lock"},
        out=tmp_path,
    )
    (found,) = outcome.document["results"]
    (place,) = Path(outcome.document["bundle"]).glob("results/*skip-locked-cte*/result.json")
    listed = json.loads(place.read_text())["series"]["not_planned"]
    assert listed == [
        {"fault": "hold-lock", "reason": "writers of different rows do not exclude each other on Postgres"}
    ]
    assert outcome.verdict == "inconclusive"
    assert any(reason.startswith("No fault was done.") for reason in found["reasons"])
