"""Stands between contend and a worker and writes down what either says: `tee.py FILE COMMAND…`; `>` is to the worker, `<` from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

with (
    Path(sys.argv[1]).open("a", encoding="utf-8", buffering=1) as file,
    subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as worker,
):
    assert worker.stdin is not None
    assert worker.stdout is not None
    for line in sys.stdin:
        file.write(f"> {line}")
        worker.stdin.write(line)
        worker.stdin.flush()
        if not (answer := worker.stdout.readline()):
            break
        file.write(f"< {answer}")
        sys.stdout.write(answer)
        sys.stdout.flush()
