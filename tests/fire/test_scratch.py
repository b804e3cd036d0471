"""Folders that are gone when their owner is, however it went; and never one that somebody still has, or was told of."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from harness import scratch as scratches
from harness.bundle import Bundle
from harness.scratch import keep, own, reap, scratch

OWNER = """
import sys, tempfile
from harness.scratch import scratch
with scratch("judging") as folder:
    (folder / "spilled").write_text("much")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary directory of this test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def start() -> tuple[subprocess.Popen[str], Path]:
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    return owner, Path(owner.stdout.readline().strip())


def test_a_folder_is_gone_on_leaving(place: Path) -> None:
    with scratch("judging") as folder:
        assert folder.parent == place
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(place.iterdir()) == []


def test_what_a_killed_owner_left_goes_at_the_next_start_and_what_a_live_one_has_stays(place: Path) -> None:
    (killed, left), (alive, had) = start(), start()
    with killed, alive:
        killed.kill()
        killed.wait()
        assert left.exists()
        scratches._reap_once.cache_clear()  # as in a process that has just started
        with scratch("judging"):
            assert not left.exists()
            assert (had / "spilled").exists()
        alive.communicate("")
    assert list(place.iterdir()) == []


def test_what_somebody_was_told_of_and_what_is_not_ours_is_never_reaped(place: Path) -> None:
    with scratch("users") as kept:
        (kept / "events").mkdir()
        keep(kept)
    empty = place / "contend-judging-abcdefgh"  # its owner was killed before it had locked it
    empty.mkdir()
    others = [place / name for name in ("contend-0", "contend-abcdefgh", "contend-a-b-c", "else")]
    for other in others:
        other.mkdir()
    (link := place / "contend-judging-link0000").symlink_to(others[0])
    reap(place)
    assert not empty.exists()
    assert sorted(place.iterdir()) == sorted([kept, link, *others])


def test_a_place_that_cannot_be_made_is_an_error_and_not_tried_for_ever(place: Path) -> None:
    program = (
        "import resource, tempfile\nfrom harness.scratch import scratch\ntempfile.gettempdir()\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        "try:\n    with scratch('judging'): pass\nexcept OSError as error: print(error.errno)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "24\n", done.stderr
    assert list(place.iterdir()) == []


def test_a_lock_is_had_by_one_and_not_by_who_removed_the_file(tmp_path: Path) -> None:
    first = own(tmp_path / "lock", wait=False)
    assert first is not None
    assert own(tmp_path / "lock", wait=False) is None
    os.close(first)
    second = own(tmp_path / "lock", wait=False)
    assert second is not None
    os.close(second)
    assert own(tmp_path / "nowhere" / "lock", wait=True) is None


def test_what_a_killed_run_had_half_written_goes_at_the_next_run_and_all_else_stays(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    dead, alive = Bundle.create(out, {}), Bundle.create(out, {})
    for bundle in (dead, alive):
        place = bundle.place(1, "claim-race")
        for folder in (bundle.folder, place):
            (folder / ".results.json.123").write_text("{")
        (place / "contend-merging-abcdefgh").mkdir()
        (place / "contend-merging-abcdefgh" / "contend.lock").touch()
        (place / "context.json").write_text("{}")
    (out / ".latest-1234").symlink_to(dead.folder.name)
    assert dead._hold is not None
    os.close(dead._hold.descriptor or 0)  # as the kernel does for the dead
    dead._hold.descriptor = None
    assert not dead.running
    Bundle.create(out, {})
    assert {str(file.relative_to(dead.folder)) for file in dead.folder.rglob("*")} == {
        "bundle.json",
        "results",
        "results/01-claim-race",
        "results/01-claim-race/context.json",
    }
    assert not (out / ".latest-1234").is_symlink()
    assert alive.running
    assert (alive.folder / ".results.json.123").exists()
    assert (alive.folder / "results" / "01-claim-race" / "contend-merging-abcdefgh").exists()
