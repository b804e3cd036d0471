"""Reading a bundle: whole ones are read, every other kind is refused in one clear sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from synthetic_bundle import catalogue, result, write

from harness.errors import BundleUnreadable
from reports.saved import load

FIRST = "results/00-claim-race-0-sqlite/result.json"


def edit(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Change one document of a bundle."""

    def damage(folder: Path) -> None:
        document = json.loads((folder / name).read_text())
        change(document)
        (folder / name).write_text(json.dumps(document))

    return damage


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def cut(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_text((folder / name).read_text()[:-20])

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (edit("bundle.json", lambda d: d.update(schema=2)), r"schema 2.*[Ii]nstall a newer contend"),
        (remove("bundle.json"), r"not a bundle.*Give the folder"),
        (cut("bundle.json"), r"bundle\.json is damaged"),
        (remove("results.json"), r"results\.json cannot be read.*incomplete"),
        (cut(FIRST), r"result\.json is damaged"),
        (remove(FIRST), r"result\.json cannot be read"),
        (
            edit(FIRST, lambda d: d.update(verdict="great")),
            r"`verdict` should be one of pass, fail, inconclusive.*'great'",
        ),
        (edit(FIRST, lambda d: d.update(findings=[3])), r"an item of `findings` should be an object but is 3"),
        (edit(FIRST, lambda d: d.pop("system")), r"`system` should be a text but is None"),
        (
            edit(FIRST, lambda d: d["measurements"]["lock_errors"].update(value=float("nan"))),
            r"`value` should be a finite number but is nan",
        ),
        (edit(FIRST, lambda d: d["judgements"][0].update(count=True)), r"`count` should be a whole number but is True"),
        (edit("results.json", lambda d: d["results"].append({})), r"lists 3 results but 2 are in results/"),
    ],
)
def test_a_damaged_bundle_is_refused_in_one_sentence(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    folder = write(tmp_path / "b", [result("a"), result("b")])
    load(folder)
    damage(folder)
    with pytest.raises(BundleUnreadable, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleUnreadable, match="There is no bundle"):
        load(tmp_path / "nowhere")


def test_the_latest_of_a_folder_of_bundles_is_read(tmp_path: Path) -> None:
    write(tmp_path / "one", [result("a")])
    (tmp_path / "latest").symlink_to("one")
    assert [r.system for r in load(tmp_path).results] == ["a"]


def test_keys_this_version_does_not_know_are_ignored(tmp_path: Path) -> None:
    folder = write(tmp_path / "b", [result("a", surprise={"deep": [1]})], news=True)
    assert load(folder).results[0].system == "a"


def test_a_killed_run_is_read_as_far_as_it_got_and_never_as_a_pass(tmp_path: Path) -> None:
    folder = write(tmp_path / "b", catalogue()[2:4], finished=False, stage="open")
    (folder / "results.json").unlink()
    (folder / "results" / "99-half-done").mkdir()
    run = load(folder)
    assert not run.finished
    assert run.verdict == "inconclusive"
    assert len(run.results) == 2


def test_a_killed_run_that_had_failed_is_a_fail(tmp_path: Path) -> None:
    folder = write(tmp_path / "b", [result("a", verdict="fail")], finished=False, stage="open")
    (folder / "results.json").unlink()
    assert load(folder).verdict == "fail"
