"""A worker that speaks for a class in Python: `bridge.py MODULE CLASS URL`. With it, all there is to be asked is asked for."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import asdict, is_dataclass
from typing import Any

from harness.command import METHODS

module, name, url = sys.argv[1:]
cls = getattr(importlib.import_module(module), name)
system: Any = cls(url)


def plain(value: object) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


class Given(dict[str, Any]):
    """A handle as the class gave it out."""

    __getattr__ = dict.__getitem__


for line in sys.stdin:
    request = json.loads(line)
    number, op = request.pop("id"), request.pop("op")
    answer: dict[str, Any]
    try:
        if op == "hello":
            capabilities = [each for each in METHODS if callable(getattr(cls, each, None))]
            answer = {"ok": {"capabilities": capabilities, "lease_seconds": cls.lease_seconds, "ordered": cls.ordered}}
        else:
            if "handles" in request:
                request["handles"] = [Given(each) if isinstance(each, dict) else each for each in request["handles"]]
            given = getattr(system, op)(**request)
            answer = {"ok": [plain(each) for each in given] if isinstance(given, list) else given}
    except Exception as error:  # noqa: BLE001  # whatever it is, it is told
        answer = {"error": {"message": str(error), "class": type(error).__name__, "code": None}}
    sys.stdout.write(json.dumps({"id": number, **answer}, default=plain) + "\n")
    sys.stdout.flush()
