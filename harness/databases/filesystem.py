"""Which file system a folder is on: durability and locking mean little without knowing it."""

from __future__ import annotations

from pathlib import Path


def file_system_type(path: Path) -> str:
    """Name the type of the file system that holds `path`, such as ext4, tmpfs or nfs4; `unknown` where nothing says so.

    Read from `/proc/self/mountinfo` (proc(5)), so only Linux knows.
    """
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return "unknown"
    place = path.resolve()
    best, found = -1, "unknown"
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        # Blanks in mount points are written as octal escapes.
        point = Path(before.split()[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"))
        # A later mount on the same point hides the earlier one.
        if len(point.parts) >= best and place.is_relative_to(point):
            best, found = len(point.parts), after.split()[0]
    return found
