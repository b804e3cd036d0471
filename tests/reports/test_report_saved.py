"""Reading a bundle: whole ones are read, every other kind is refused in one clear sentence."""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from synthetic_bundle import (
    Json,
    catalogue,
    churn,
    exploration,
    explored_double_claim,
    operation,
    pool,
    progress,
    quantiles,
    result,
    write,
)

from harness.bundle import Bundle
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


def series_of(name: str, *rows: Json) -> Callable[[Path], None]:
    """Replace one series of the first result."""
    return edit(FIRST, lambda document: document["series"].update({name: list(rows)}))


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
        (series_of("staleness", {"share": 1.5, "ms": 3}), r"`share` should be a number from 0 to 1 but is 1.5"),
        (series_of("staleness", {"share": 0.5, "ms": -3}), r"`ms` should be a number from 0 on but is -3"),
        (
            series_of("reader_latency", {"share": 0.5}),
            r"an item of `reader_latency`: `ms` should be a number but is None",
        ),
        (series_of("reader_latency", {"share": "all", "ms": 3}), r"`share` should be a number but is 'all'"),
        (series_of("pool_waiting", {"ms": 0, "waiting": 1.5, "in_use": 1}), r"`waiting` should be a whole number"),
        (
            series_of("pool_waiting", {"ms": 0, "waiting": -1, "in_use": 1}),
            r"`waiting` should be a whole number from 0",
        ),
        (series_of("pool_waiting", {"ms": 0, "waiting": 1}), r"`in_use` should be a whole number but is None"),
        (
            edit(FIRST, lambda d: d["series"].update(pool_waiting={"ms": 0})),
            r"`pool_waiting` should be a list but is \{'ms': 0\}",
        ),
        (
            series_of("counts", {"batch": 1, "statements": 1, "transactions": 1, "acquisitions": "none"}),
            r"`acquisitions` should be a number but is 'none'",
        ),
        (series_of("faults", {"workers": ["w0"], "from_seconds": 1}), r"an item of `faults`: `fault` should be a text"),
        (series_of("faults", {"fault": "x", "workers": "w0", "from_seconds": 1}), r"`workers` should be a list"),
        (
            series_of("faults", {"fault": "x", "workers": None, "from_seconds": "now"}),
            r"`from_seconds` should be a number",
        ),
        (
            series_of("holds", {"worker": "w0", "job": "1", "from_seconds": 1, "how": "lost"}),
            r"`until_seconds` should be",
        ),
        (
            series_of("recoveries", {"worker": "w0", "job": "1", "fault": "x", "struck_seconds": 1, "ms": -1}),
            r"`ms` should be a number from 0 on but is -1",
        ),
        (series_of("recoveries", {"worker": "w0", "job": "1", "struck_seconds": 1}), r"`fault` should be a text"),
        (series_of("not_planned", {"fault": "x"}), r"an item of `not_planned`: `reason` should be a text but is None"),
        (edit(FIRST, lambda d: d.update(semantics=7)), r"`semantics` should be a text but is 7"),
        (
            lambda folder: (folder / FIRST).with_name("context.json").write_text('{"flush_interval_ns": "soon"}'),
            r"context\.json: `flush_interval_ns` should be a number but is 'soon'",
        ),
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


def _schedule(change: Callable[[Json], object]) -> Callable[[Path], None]:
    """Change the schedule of the first result."""
    return edit(FIRST, lambda document: change(document["series"]["schedules"][0]))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_schedule(lambda s: s.pop("same")), r"an item of `schedules`: `same` should be a whole number but is None"),
        (_schedule(lambda s: s.update(workers=["w0", 1])), r"`workers` should be a text but is 1"),
        (
            _schedule(lambda s: s["steps"][0].update(worker=2)),
            r"an item of `steps`: `worker` should be one of 2 workers, counted from 0 but is 2",
        ),
        (
            _schedule(lambda s: s["steps"][0].update(worker=-1)),
            r"`worker` should be a whole number from 0 on but is -1",
        ),
        (_schedule(lambda s: s["steps"][0].update(what=None)), r"`what` should be a text but is None"),
        (_schedule(lambda s: s["steps"][0].update(forced="no")), r"`forced` should be true or false but is 'no'"),
        (_schedule(lambda s: s["steps"][2].update(blocked_by="w1")), r"`blocked_by` should be a list but is 'w1'"),
        (
            _schedule(lambda s: s["steps"][0]["ran"][0].update(worker=7)),
            r"an item of `ran`: `worker` should be one of 2",
        ),
        (_schedule(lambda s: s["steps"][0]["ran"][0].update(error=5)), r"`error` should be a text but is 5"),
        (_schedule(lambda s: s["steps"][0]["ran"][0].update(sql=["x"])), r"`sql` should be a text but is \['x'\]"),
        (_schedule(lambda s: s.update(answers=s["answers"][:1])), r"`answers` should be those of 2 workers but is"),
        (
            _schedule(lambda s: s["answers"][0].append(["claim", "ok"])),
            r"an item of `answers` should be a list of kind, outcome, jobs, value, problem but is \['claim', 'ok'\]",
        ),
        (_schedule(lambda s: s.update(answers=[[[1, "ok", [], None, ""]]] * 2)), r"`kind` should be a text but is 1"),
        (_schedule(lambda s: s.update(diverged=[{"expected": "w0"}])), r"`got` should be a text but is None"),
        (
            edit(FIRST, lambda d: d["series"].update(exploration=[3])),
            r"an item of `exploration` should be an object but is 3",
        ),
        (
            series_of("exploration", exploration(schedules=-1)),
            r"`schedules` should be a whole number from 0 on but is -1",
        ),
        (series_of("exploration", exploration(stands_for=2.5)), r"`stands_for` should be a whole number but is 2.5"),
        (
            series_of("exploration", exploration(random=[{"depth": 2, "schedules": 8, "found_with": 1.5}])),
            r"an item of `random`: `found_with` should be a number from 0 to 1 but is 1.5",
        ),
        (
            series_of("exploration", exploration(outcomes=[{"answers": [["claim"]], "schedules": 1}])),
            r"an item of `outcomes`: an item of `answers` should be a list of kind",
        ),
        (series_of("exploration", exploration(seconds="long")), r"`seconds` should be a number but is 'long'"),
    ],
)
def test_a_damaged_exploration_is_refused_in_one_sentence(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    folder = write(tmp_path / "b", [explored_double_claim("a")])
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


def test_the_series_of_the_later_scenarios_are_read_in_order(tmp_path: Path) -> None:
    told = [
        progress("a", "sqlite", 4.0, list(reversed(quantiles(0, 490)))),
        pool("b", "sqlite", [0, 8, 1], 50.0),
        churn("c", "sqlite", 16.0, 5.0),
    ]
    told[1]["series"]["pool_waiting"].reverse()
    screen, waits, reads = load(write(tmp_path / "b", told)).results
    assert [(each.share, each.ms) for each in screen.staleness][:: len(screen.staleness) - 1] == [
        (0.0, 0.0),
        (1.0, 490.0),
    ]
    assert [each.share for each in screen.staleness] == sorted(each.share for each in screen.staleness)
    assert screen.flush_ms == 500
    assert [(each.ms, each.waiting, each.in_use) for each in waits.pool_waiting] == [(0, 0, 0), (10, 8, 2), (20, 1, 1)]
    assert reads.reader_latency[-1].ms == 16
    assert (waits.staleness, waits.reader_latency, reads.pool_waiting, reads.flush_ms) == ((), (), (), None)


def test_a_bundle_from_before_the_later_scenarios_has_none_of_their_series(tmp_path: Path) -> None:
    old = result("a", scenario="claim-batch", series={"counts": [{"batch": 1, "statements": 2, "transactions": 1}]})
    (read,) = load(write(tmp_path / "b", [old])).results
    assert (read.staleness, read.reader_latency, read.pool_waiting, read.flush_ms) == ((), (), (), None)
    assert [(each.acquisitions, each.round_trips) for each in read.counts] == [(None, None)]


@pytest.mark.parametrize(
    ("kept", "returned", "expected"),
    [(20, None, (20, True)), (19, None, (19, False)), (20, 20, (20, False)), (20, 400, (400, False))],
)
def test_an_operation_says_whether_it_may_have_named_more_jobs_than_were_kept(
    tmp_path: Path, kept: int, returned: int | None, expected: tuple[int, bool]
) -> None:
    one = operation(1, "w0", "read_run", 1.0, 2.0, jobs=list(range(kept)), returned=returned)
    (read,) = load(write(tmp_path / "b", [result("a", operations=[one])])).results
    assert (read.operations[1].returned, read.operations[1].clipped) == expected


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


HELD = """
import sys, time
from pathlib import Path
from harness.bundle import Bundle
bundle = Bundle.create(Path(sys.argv[1]), {"planned": 14})
print(bundle.folder, flush=True)
sys.stdin.read()
"""


def test_a_bundle_still_running_is_refused_until_its_process_is_gone(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HELD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        with pytest.raises(BundleUnreadable, match=r"still goes on, with 0 of 14 results saved. Wait until it ends"):
            load(folder)
        copied = tmp_path / "copied"
        shutil.copytree(folder, copied)
        assert not load(copied).finished
        process.kill()
    run = load(folder)
    assert not run.finished
    assert run.verdict == "inconclusive"


def test_a_bundle_runs_until_it_is_finished_or_its_run_broke_off(tmp_path: Path) -> None:
    bundle = Bundle.create(tmp_path, {})
    assert Bundle.open(bundle.folder).running
    bundle.finish({"verdict": "pass", "results": [], "controls": []}, finished=True)
    assert not Bundle.open(bundle.folder).running
    assert sorted(each.name for each in bundle.folder.iterdir()) == ["bundle.json", "results", "results.json"]
    dropped = Bundle.create(tmp_path, {}).folder
    gc.collect()
    assert not Bundle.open(dropped).running
