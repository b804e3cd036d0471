"""Made-up programs: real processes do what Hypothesis thought of, and what fails is shrunk, shown and carried out again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from contend.campaign import Request, execute
from contend.cli import cli
from harness.protocols import OPTIONAL, REQUIRED
from harness.runners.explore import Replay
from harness.runners.generate import Drawn, Mark, read, simpler, size_of, told
from harness.runners.search import Offer
from harness.scenario import Example, Load
from scenarios import programs

NOBODY_THOUGHT_OF = Example(
    3, ((("claim", 2), ("fail", 0)), (("status_all", 0), ("claim", 1)), (("claim", 1),)), (0, 2, 0, 1)
)


def made_up(*systems: str, database: str, out: Path, budget: float = 10, **more: Any) -> dict[str, Any]:
    request = Request(
        ("programs",), systems, (database,), profile="full", seed=1, out=out, mode="explore", options={"budget": budget}, **more
    )  # fmt: skip
    campaign, _, _ = execute(request)
    return {result.case.subject.name: result.document for result in campaign.results}


WRONG = "reference:select-then-update"


def shrunk_to_two_claims(result: dict[str, Any]) -> dict[str, Any]:
    (found,) = (each for each in result["series"]["schedules"] if each["invariant"] == "no-double-claim")
    assert (found["example"]["jobs"], found["example"]["programs"]) == (1, [[["claim", 1]], [["claim", 1]]])
    assert sum(map(bool, found["example"]["switches"])) == 1
    assert (found["workers"], found["same"], found["times"]) == (["w0", "w1"], 10, 10)
    assert result["coverage"]["programs"] == result["coverage"]["schedules"]
    assert result["coverage"]["claims"] < 20  # what was tried on the way is no part of the history
    return dict(found)


def test_what_fails_is_shrunk_to_two_workers_one_job_and_a_claim_each_and_carried_out_again(tmp_path: Path) -> None:
    result = made_up(WRONG, database="sqlite", out=tmp_path)[WRONG]
    found = shrunk_to_two_claims(result)
    line = next(each["replay"] for each in result["findings"] if each["invariant"] == "no-double-claim")
    again = CliRunner().invoke(cli, [*line.split()[1:], "--out", str(tmp_path), "--json"], standalone_mode=False)
    (replayed,) = json.loads(again.stdout)["results"]
    assert (again.return_value, "no-double-claim") == (1, replayed["findings"][0]["invariant"])
    assert replayed["series"]["schedules"][0]["steps"] == found["steps"]


@pytest.mark.full
@pytest.mark.parametrize(
    ("database", "right"), [("sqlite", "reference:immediate-batch"), ("postgres", "reference:skip-locked")]
)
def test_the_right_ones_are_clean(database: str, right: str, tmp_path: Path) -> None:
    results = made_up(WRONG, right, database=database, out=tmp_path)
    shrunk_to_two_claims(results[WRONG])
    assert results[right]["verdict"] == "pass", results[right]["reasons"]
    assert results[right]["coverage"]["control"] == "caught"
    tried = results[right]["coverage"]["programs"]
    assert results[right]["coverage"]["claims"] > tried > 20


def test_who_is_refused_a_lock_wakes_nobody(tmp_path: Path) -> None:
    """Of three, one holds the lock; the two that are refused it once had each other try again for ever."""
    claims = (("claim", 1),)
    given = Replay(
        "no-double-claim", (2, 1), ("claim", "status_all"), Example(1, (claims, (("status_all", 0), *claims), claims))
    )
    (result,) = made_up("reference:immediate-batch", database="sqlite", out=tmp_path, workers=3, replay=given).values()
    steps = [(step["worker"], step["what"]) for step in result["series"]["schedules"][0]["steps"]]
    assert steps[:3] == [(2, "claim"), (1, "status_all"), (2, "COMMIT")]
    assert {worker for worker, what in steps if what == "COMMIT"} == {0, 1, 2}


def test_a_switch_passes_over_workers_beginning_with_the_one_that_was_on() -> None:
    drawn = Drawn((0, 1, 2, 0, 4))

    def choose(*workers: int) -> int:
        chosen = drawn.choose([Offer(worker, "claim") for worker in workers])
        drawn.took()
        return chosen

    assert [choose(0, 1, 2) for _ in range(6)] == [0, 1, 2, 2, 0, 0]
    assert choose(1, 2) == 1


def test_everything_simpler_is_simpler_and_leads_to_the_simplest() -> None:
    def shrink(example: Example) -> Example:
        smaller = [each for each in simpler(example) if size_of(each) < size_of(example) and fails(each)]
        return shrink(min(smaller, key=size_of)) if smaller else example

    def fails(example: Example) -> bool:
        claiming = [program for program in example.programs if "claim" in dict(program)]
        return len(claiming) > 1 and any(example.switches)

    shrunk = shrink(NOBODY_THOUGHT_OF)
    assert (shrunk.jobs, shrunk.programs) == (1, ((("claim", 1),), (("claim", 1),)))
    assert sum(shrunk.switches) == 1
    assert read(json.loads(json.dumps(told(NOBODY_THOUGHT_OF)))) == NOBODY_THOUGHT_OF


@pytest.mark.parametrize(
    "more", [(), ("fail", "read_progress", "report_progress", "status_all", "delete_many"), OPTIONAL]
)
def test_only_what_a_system_offers_is_made_up_and_nothing_is_done_to_jobs_before_a_claim(more: Sequence[str]) -> None:
    from harness.runners.generate import _made_up  # noqa: PLC0415  # the seam to Hypothesis

    made = programs.programs(Load(workers=3, jobs=4, batch=2), (*REQUIRED, *more))
    examples = _made_up(made.examples(), 7, 200)
    assert examples == _made_up(made.examples(), 7, 200)
    assert len(set(examples)) == len(examples) > 150
    for example in examples:
        assert 1 <= example.jobs <= 4
        assert 1 <= len(example.programs) <= 3
        for program in example.programs:
            assert {kind for kind, _ in program} <= {*REQUIRED, *more}
            first = next((at for at, (kind, _) in enumerate(program) if kind in programs.HOLDING), len(program))
            assert first == len(program) or "claim" in dict(program[:first])
            assert all(1 <= number <= 2 for kind, number in program if kind == "claim")


def test_what_was_written_since_a_mark_is_copied_and_taken_away(tmp_path: Path) -> None:
    file, late = tmp_path / "events" / "w0.ndjson", tmp_path / "witness" / "w0.ndjson"
    for each in (file, late):
        each.parent.mkdir()
    file.write_text("before\n")
    with file.open("a") as appending:
        mark = Mark.of(tmp_path)
        appending.write("since\n")
        appending.flush()
        late.write_text("new\n")
        mark.excerpt(tmp_path / "excerpt")
        assert (tmp_path / "excerpt" / "events" / "w0.ndjson").read_text() == "since\n"
        mark.undo()
        appending.write("after\n")
    assert (file.read_text(), late.read_text()) == ("before\nafter\n", "")
