"""`contend` and `python -m contend`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with its exit status."""
    try:
        from contend.cli import run_command_line  # noqa: PLC0415  # spawned processes may import this page; they need no command line
    except KeyboardInterrupt:
        sys.exit(2)  # nothing had begun, so nothing is to be said

    sys.exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
