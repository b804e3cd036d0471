"""What an exploration found, judged by somebody else: PostgreSQL's own isolationtester, which is given nothing but the spec."""

from __future__ import annotations

import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from contend.campaign import Request, execute
from harness.databases.binaries import find_binaries
from harness.databases.postgres import PostgresServer
from harness.protocols import Dump
from harness.runners.isolation import NotPlainError, spec, told

QUEUES = Path(__file__).parent.parent / "gates" / "postgres_queues.py"
NOTHING = Dump("SELECT 1", "SELECT 1", {})


def oracle(text: str, url: str) -> str:
    """What isolationtester says of a spec, in the database at `url`."""
    program = find_binaries().folder.parent / "lib/pgxs/src/test/isolation/isolationtester"
    done = subprocess.run(
        [program, url],
        input=text,
        env=os.environ | {"PG_TEST_TIMEOUT_DEFAULT": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


def handed(said: str) -> dict[str, list[int]]:
    """The jobs that each session's statements gave back with more than their id, as a claim's UPDATE does."""
    found: dict[str, list[int]] = defaultdict(list)
    session, column = "", None
    for line in said.splitlines():
        if step := re.match(r"step (\w+?)_\d+: ", line):
            session, column = step[1], None
        elif "|" in line and column is None and "id" in (names := [name.strip() for name in line.split("|")]):
            column = names.index("id")
        elif column is not None and re.match(r" *-?\d+\|", line):
            found[session].append(int(line.split("|")[column]))
        elif line.startswith("("):
            column = None
    return found


def explored(
    server: PostgresServer, out: Path, *systems: str, batch: int = 1, invariant: str = "no-double-claim"
) -> dict[str, tuple[Mapping[str, Any], str]]:
    """Explore claims of each system; give the schedule that breaks the invariant, and its spec."""
    request = Request(
        ("claim-race",), systems, (server.url,), workers=2, jobs=2 * batch, batch=batch, profile="full", seed=1, out=out, mode="explore"
    )  # fmt: skip  # one argument a line would hide the request
    campaign, _, _ = execute(request)
    found = {}
    for result in campaign.results:
        schedule = next(each for each in result.document["series"]["schedules"] if each["invariant"] == invariant)
        found[result.case.subject.name] = schedule, Path(schedule["spec"]).read_text(encoding="utf-8")
    return found


def tables(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace").fetchone()
        assert row is not None
        return int(row[0])


def test_isolationtester_sees_the_same_double_claims(postgres_server: PostgresServer, tmp_path: Path) -> None:
    found = explored(postgres_server, tmp_path, "reference:scalar-subquery", "reference:select-then-update")
    assert len(found) == 2
    for schedule, text in found.values():
        with postgres_server.fresh() as url:
            said = oracle(text, url)
            assert tables(url) == 0
        claims = {name: answers[0][2] for name, answers in zip(("w0", "w1"), schedule["answers"][:2], strict=True)}
        seen = handed(said)
        assert {name: sorted(jobs) for name, jobs in seen.items()} == {
            name: sorted(jobs) for name, jobs in claims.items()
        }
        assert set(seen["w0"]) & set(seen["w1"])  # it needs no invariant of ours to see that


SYSTEMS = ("TextsScalar", "PlainScalar", "BlockWithoutLock", "PooledScalar", "AlchemyScalar", "PipelinedScalar")


@pytest.mark.full
@pytest.mark.parametrize("system", SYSTEMS)
def test_it_does_so_whichever_way_a_queue_talks_to_the_server(
    system: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    ((schedule, text),) = explored(postgres_server, tmp_path, f"{QUEUES}:{system}").values()
    with postgres_server.fresh() as url:
        said = oracle(text, url)
    claimed = {str(answers[0][2][0]) for answers in schedule["answers"][:2]}
    assert len(claimed) == 1
    assert len(re.findall(rf"^ *{claimed.pop()}\b", said, re.MULTILINE)) >= 2


@pytest.mark.full
def test_what_the_planner_knew_is_known_again(postgres_server: PostgresServer, tmp_path: Path) -> None:
    found = explored(postgres_server, tmp_path, "reference:in-subquery-limit", batch=2, invariant="batch-limit")
    ((schedule, text),) = found.values()
    with postgres_server.fresh() as url:
        seen = handed(oracle(text, url))
    claims = dict(zip(("w0", "w1"), (sorted(answers[0][2]) for answers in schedule["answers"][:2]), strict=True))
    assert max(map(len, claims.values())) > 2
    assert {name: sorted(jobs) for name, jobs in seen.items()} == {name: jobs for name, jobs in claims.items() if jobs}


def ran(
    worker: int, text: str, *, is_open: bool = False, kind: str = "write", error: str | None = None, connection: int = 1
) -> Any:
    return {
        "worker": worker, "connection": connection, "kind": kind, "shape": text, "error": error, "sql": text, "text": text,
        "open": is_open,
    }  # fmt: skip  # one row


def step(worker: int, *ended: Any, waiting: str = "") -> Any:
    blocked_by = [f"w{1 - worker}"] if waiting else []
    return {"worker": worker, "what": "", "ran": ended, "blocked_by": blocked_by, "waiting": waiting, "forced": False}


def schedule(*steps: Any) -> Mapping[str, Any]:
    return {"invariant": "no-double-claim", "workers": ["w0", "w1"], "steps": steps}


def lines(*steps: Any) -> list[tuple[str, str]]:
    return [(line.session, line.sql) for line in told(schedule(*steps))]


def test_a_statement_that_waited_stands_where_it_was_let_on() -> None:
    assert lines(
        step(0, ran(0, "UPDATE a", is_open=True)),
        step(1, ran(1, "BEGIN", is_open=True, kind="begin"), waiting="UPDATE b"),
        step(0, ran(0, "COMMIT", kind="commit"), ran(1, "UPDATE b", is_open=True)),
        step(1, ran(1, "COMMIT", kind="commit")),
    ) == [
        ("w0", "BEGIN"),
        ("w0", "UPDATE a"),
        ("w1", "BEGIN"),
        ("w1", "UPDATE b"),
        ("w0", "COMMIT"),
        ("w1", "COMMIT"),
    ]


def test_a_transaction_that_the_server_made_ends_where_it_did() -> None:
    assert lines(
        step(0, ran(0, "UPDATE a", is_open=True), ran(0, "SELECT b")),
        step(1, ran(1, "UPDATE c", is_open=True, connection=2)),
        step(1, ran(1, "UPDATE d", error="23505", connection=2)),
        step(1, ran(1, "SELECT e")),
    ) == [
        ("w0", "BEGIN"),
        ("w0", "UPDATE a"),
        ("w0", "SELECT b"),
        ("w0", "COMMIT"),
        ("w1_c2", "BEGIN"),
        ("w1_c2", "UPDATE c"),
        ("w1_c2", "UPDATE d"),
        ("w1_c2", "ROLLBACK"),
        ("w1", "SELECT e"),
    ]


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ({"text": "COPY jobs FROM STDIN"}, "COPY"),
        ({"text": "", "shape": "function call"}, "no SQL text: function call"),
        ({"text": "SELECT $1"}, "A value"),
        ({"text": "SELECT '\ufffd'"}, "A value"),
        ({"text": "EXECUTE take(1)"}, "prepared before"),
        ({"text": "VACUUM jobs", "open": True}, "transaction block"),
        ({"text": 'SELECT 1 AS "}"'}, "closing brace"),
    ],
)
def test_what_is_no_plain_sql_is_refused_with_the_reason(statement: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(NotPlainError, match=re.escape(reason)):
        spec(schedule(step(0, {**ran(0, "SELECT 1"), **statement})), NOTHING, "x")


HOSTILE: Sequence[str] = (
    "SELECT '}' || $$}'\\$$ || E'\\}\\\\}' || '\\}''' /* } */ -- }",
    "SELECT 'step x { DROP TABLE kept } permutation x' || $a$ } $a$",
    "SELECT'}'::text || U&'\\007D' || $$ permutation \"$$",
    "SELECT $f${$f$ || '{' || '{}'",
)


@pytest.mark.parametrize("sql", HOSTILE)
def test_no_statement_gets_out_of_its_braces(sql: str, postgres_server: PostgresServer) -> None:
    with postgres_server.fresh() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            row = connection.execute(sql.encode()).fetchone()
            connection.execute("CREATE TABLE kept ()")
        said = oracle(spec(schedule(step(0, ran(0, sql))), NOTHING, "a\ntitle } { step y"), url)
        assert row is not None
        assert str(row[0]).rstrip() in [line.rstrip() for line in said.splitlines()]
        assert said.count("starting permutation: w0_1") == 1
        assert tables(url) == 1
