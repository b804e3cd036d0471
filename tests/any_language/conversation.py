"""Real exchanges, held against the schema: what a worker was asked and what it answered, written down by `tee.py`."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import jsonschema

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
SCHEMA = json.loads((ROOT / "harness" / "protocol.schema.json").read_text(encoding="utf-8"))


def validator(name: str) -> jsonschema.Draft202012Validator:
    """Judges what `$defs/<name>` of the schema is about."""
    return jsonschema.Draft202012Validator({"$defs": SCHEMA["$defs"], "$ref": f"#/$defs/{name}"})


REQUEST, REPLY = validator("request"), validator("reply")


def written_down(command: str, file: Path) -> str:
    """The command with a scribe before it."""
    return shlex.join([sys.executable, str(HERE / "tee.py"), str(file)]) + " " + command


def exchanges(text: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The requests and their answers in what was written down."""
    lines = text.splitlines()
    assert all(line[:2] == ("> ", "< ")[place % 2] for place, line in enumerate(lines))
    said = [json.loads(line[2:]) for line in lines]
    return list(zip(said[::2], said[1::2], strict=True))


def hold_against_the_schema(text: str) -> set[str]:
    """Raise where anything that was said is not as the schema has it; gives what was asked for."""
    asked = set()
    for request, reply in exchanges(text):
        REQUEST.validate(request)
        REPLY.validate(reply)
        assert reply["id"] == request["id"]
        if "ok" in reply:
            validator(f"answer.{request['op']}").validate(reply["ok"])
        asked.add(request["op"])
    return asked
