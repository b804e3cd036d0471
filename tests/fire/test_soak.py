"""What the soak calls flat, and what it calls grown, by series written down."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2]))  # benchmarks are not installed

from benchmarks import soak  # see above

MIB = 2**20


def memory(*mib: float) -> soak.Growth:
    return soak.judge("memory", [each * MIB for each in mib])


@pytest.mark.parametrize(
    "series",
    [
        [168] * 12,
        [120, 150, 160, 168, 168, 168, 168, 168, 168, 168, 168, 168],  # it grew at first only
        [168, 168, 168, 168, 168, 168, 168, 168, 168, 168, 900, 168],  # one round was measured at a bad moment
        [168, 160, 172, 166, 170, 161, 169, 174, 163, 168, 171, 165],
        [200, 190, 180, 170, 168, 168, 150, 140, 130, 120, 120, 120],
    ],
)
def test_what_stays_is_flat(series: list[float]) -> None:
    assert memory(*series).flat
    assert memory(*series).line().startswith("flat  memory: median of the second quarter ")


@pytest.mark.parametrize(
    "series",
    [
        [168 + 5 * each for each in range(12)],
        [168 + 1.2 * each for each in range(60)],
        [168] * 6 + [190] * 6,  # a step that stays
    ],
)
def test_a_leak_is_found(series: list[float]) -> None:
    assert not memory(*series).flat
    assert memory(*series).line().startswith("GREW  memory: ")


def test_one_descriptor_more_is_no_leak_and_two_are() -> None:
    assert soak.judge("descriptors", [15] * 8 + [16] * 4).flat
    assert not soak.judge("descriptors", [15] * 8 + [17] * 4).flat
    assert not soak.judge("children", [2] * 8 + [3] * 4).flat
    assert not soak.judge("temporary entries", [1] * 8 + [2] * 4).flat


def test_of_few_rounds_nothing_is_said() -> None:
    with pytest.raises(ValueError, match="11 rounds are too few"):
        memory(*[168] * 11)


@pytest.mark.parametrize(
    ("growth", "wrong", "status"), [(0.0, [], 0), (0.1, [], 1), (0.0, [{"verdict": "pass", "never": "pass"}], 1)]
)
def test_the_exit_status_says_whether_all_was_flat_and_no_verdict_wrong(
    growth: float,
    wrong: list[dict[str, str]],
    status: int,
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rounds = [
        dict.fromkeys(soak.FIGURES, 100 * MIB * (1 + growth * number)) | {"verdict": "pass", "never": "fail"}
        for number in range(20)
    ]
    monkeypatch.setattr(soak, "soak", lambda seconds, seed: {"rounds": rounds, "wrong": wrong, "seed": seed})
    monkeypatch.setattr(soak, "__file__", str(tmp_path / "soak.py"))
    assert soak.main(["1", "7"]) == status
    said = capsys.readouterr().out
    assert said.count("GREW") == (len(soak.FIGURES) if growth else 0)
    assert said.count("WRONG") == len(wrong)
    assert json.loads((tmp_path / "results" / "soak.json").read_text())["seed"] == 7
