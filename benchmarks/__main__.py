"""`python -m benchmarks [NAME]...`: measure, print, and save below benchmarks/results. `zoo` takes options of its own."""

from __future__ import annotations

import datetime
import json
import sys
from importlib import import_module
from pathlib import Path

from contend.campaign import doubts, machine

NAMES = (
    "recording",
    "proxy",
    "judging",
    "pgbench",
    "deletion",
    "submission",
    "progress",
    "loading",
    "gating",
    "page",
    "exploring",
    "default_run",
)
ON_DEMAND = ("self_test",)  # half an hour each: run where they are named


def main(names: list[str]) -> int:
    """Run the benchmarks named, or all but the long ones; give the exit status."""
    if names[:1] == ["zoo"]:
        return int(import_module("benchmarks.zoo").main(names[1:]))
    names = [name.replace("-", "_") for name in names]
    unknown = [name for name in names if name not in (*NAMES, *ON_DEMAND)]
    if unknown:
        known = ", ".join((*NAMES, *ON_DEMAND, "zoo"))
        print(f"There is no benchmark named {unknown[0]!r}. Known: {known}.", file=sys.stderr)  # noqa: T201  # a command line
        return 254
    stamp = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    measured = {}
    for name in names or NAMES:
        print(f"{name} …", file=sys.stderr, flush=True)  # noqa: T201  # as above
        measured[name] = import_module(f"benchmarks.{name}").measure()
    document = {"measured": stamp, "machine": machine(), "doubts": doubts(), "benchmarks": measured}
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    (folder / "latest.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=1))  # noqa: T201  # as above
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
