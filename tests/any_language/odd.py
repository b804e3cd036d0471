"""A worker that keeps to the protocol but for one thing: `odd.py OP WHAT` runs the Python statements WHAT where it is asked OP.

They find the `request`, its `number`, and `answer(value)`. All else is answered as by a queue that has a job for every claim.
"""

from __future__ import annotations

import json
import sys

NEEDED = ["install", "enqueue", "claim", "complete"]
at, what = sys.argv[1:3]
made = 0
for line in sys.stdin:
    request = json.loads(line)
    number = request["id"]

    def answer(value: object, number: object = number) -> None:
        sys.stdout.write(json.dumps({"id": number, "ok": value}) + "\n")
        sys.stdout.flush()

    def odd() -> None:
        exec(what, {**globals(), "answer": answer})  # noqa: S102  # what the test says

    match request["op"]:
        case op if op == at:
            odd()
        case "hello":
            answer({"capabilities": NEEDED, "semantics": "at-least-once"})
        case "enqueue":
            answer([made := made + 1 for _ in request["jobs"]])
        case "claim":
            answer([{"job": 1, "token": 1}])
        case _:
            answer(None)
if at == "end":
    exec(what)  # noqa: S102  # as above
