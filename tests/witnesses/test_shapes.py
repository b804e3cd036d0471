"""What is read from the text of a statement."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.history import StatementKind
from harness.witnesses.shapes import LONGEST_SHAPE, kind, placeholders, shape, statements, unbraced


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT a FROM t WHERE b = 'x' AND c = 1.5e-3", "SELECT a FROM t WHERE b = ? AND c = ?"),
        ("SELECT a\n\tFROM  t -- why\n /* and /* nested */ so */ WHERE b=$1;", "SELECT a FROM t WHERE b=?"),
        ("SELECT 'it''s', E'it\\'s; --', 'a\\'", "SELECT ?, E?, ?"),
        ("SELECT $$a 'b' $1$$, $tag$ $$ ; $tag$, $1", "SELECT ?, ?, ?"),
        ('SELECT "it\'s 1", `a 2`, t1.c2, x3 FROM t1', 'SELECT "it\'s 1", `a 2`, t1.c2, x3 FROM t1'),
        ("SELECT ?, ?1, $2, %s, %(name)s, :name, @name", "SELECT ?, ?, ?, ?, ?, ?, ?"),
        ("SELECT a::text, $1::int[]", "SELECT a::text, ?::int[]"),
        ("DELETE FROM t WHERE id IN (1)", "DELETE FROM t WHERE id IN (…)"),
        ("DELETE FROM t WHERE id IN (1, $2,'x' , NULL)", "DELETE FROM t WHERE id IN (…)"),
        ("DELETE FROM t WHERE id = ANY(ARRAY[1, 2])", "DELETE FROM t WHERE id = ANY(ARRAY[…])"),
        ("SELECT a[1] FROM t", "SELECT a[?] FROM t"),
        ("INSERT INTO t (a, b) VALUES (1, 2)", "INSERT INTO t (a, b) VALUES (…)"),
        ("INSERT INTO t (a, b) VALUES (1, 2),\n (3, -4)", "INSERT INTO t (a, b) VALUES (…)"),
        ("INSERT INTO t VALUES ($1, now()), ($2, now())", "INSERT INTO t VALUES (?, now())"),
        ("UPDATE t SET a = 1 WHERE (b, c) IN ((1, 2), (3, 4))", "UPDATE t SET a = ? WHERE (b, c) IN ((…))"),
        ("SELECT 1 LIMIT 10 OFFSET 20", "SELECT ? LIMIT ? OFFSET ?"),
        ("SELECT x'ff', 0x1F, 1_000", "SELECT x?, ?, ?"),
        ("SELECT a-1, b - -2, c/3", "SELECT a-?, b - -?, c/?"),
        ("-- nothing\n ; /* at all */", ""),
        ("SELECT 'never closed", "SELECT ?"),
        ("SELECT 1 /* never closed", "SELECT ?"),
    ],
)
def test_values_and_layout_leave_the_shape(sql: str, expected: str) -> None:
    assert shape(sql) == expected


KINDS: list[tuple[str, StatementKind]] = [
    ("BEGIN", "begin"),
    ("begin immediate", "begin"),
    ("START TRANSACTION READ ONLY", "begin"),
    ("COMMIT", "commit"),
    ("END TRANSACTION", "commit"),
    ("ROLLBACK", "rollback"),
    ("ABORT", "rollback"),
    ("ROLLBACK TO SAVEPOINT a", "other"),
    ("ROLLBACK TRANSACTION TO a", "other"),
    ("SAVEPOINT a", "other"),
    ("RELEASE a", "other"),
    ("SET search_path TO x", "other"),
    ("PRAGMA journal_mode", "other"),
    ("CREATE TABLE t AS SELECT 1", "other"),
    ("LISTEN jobs", "other"),
    ("", "other"),
    ("SELECT 1", "read"),
    ("-- update\n(SELECT 1)", "read"),
    ("SELECT id FROM jobs FOR UPDATE SKIP LOCKED", "read"),
    ("SELECT 'INTO'", "read"),
    ('SELECT "into" FROM t', "read"),
    ("SELECT a INTO b FROM c", "write"),
    ("VALUES (1)", "read"),
    ("insert into t values (1)", "write"),
    ("UPDATE t SET a = 1 RETURNING a", "write"),
    ("REPLACE INTO t VALUES (1)", "write"),
    ("WITH a AS (SELECT id FROM t FOR UPDATE) SELECT * FROM a FOR NO KEY UPDATE", "read"),
    ("WITH a AS (SELECT replace(x, 'update t', 'delete from t') FROM t) SELECT * FROM a", "read"),
    ('WITH a AS (SELECT "update" FROM t) SELECT * FROM a', "read"),
    ("WITH a AS (SELECT id FROM t FOR UPDATE SKIP LOCKED) UPDATE t SET b = 1 FROM a", "write"),
    ("WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a", "write"),
    ("WITH a AS (SELECT 1) INSERT OR IGNORE INTO t SELECT * FROM a", "write"),
    ("COPY t (a) FROM STDIN", "write"),
    ("COPY t FROM '/tmp/x'", "write"),
    ("COPY (SELECT * FROM t) TO STDOUT", "read"),
    ("COPY (DELETE FROM t RETURNING a) TO STDOUT", "write"),
    ("CALL work()", "write"),
]


@pytest.mark.parametrize(("sql", "expected"), KINDS)
def test_the_kind_is_what_the_statement_does(sql: str, expected: StatementKind) -> None:
    assert kind(sql) == expected


def test_the_kind_of_a_long_statement_is_read_beyond_the_shape() -> None:
    columns = ", ".join(f"c{n}" for n in range(1000))
    sql = f"WITH a AS (SELECT {columns} FROM t) UPDATE t SET b = 1"  # noqa: S608  # a text to be read
    assert (len(shape(sql)), shape(sql)[-1], kind(sql)) == (LONGEST_SHAPE, "…", "write")


def test_a_text_is_split_at_the_semicolons_that_end_statements() -> None:
    sql = """SELECT ';' ; ; -- a;
        SELECT ";", `;` /* ; /* ; */ ; */; DO $$ a; b $$; DO $x$ ; $$ ; $x$; SELECT E'\\';' ; /* the end */"""
    assert [shape(x) for x in statements(sql)] == ["SELECT ?", 'SELECT ";", `;`', "DO ?", "DO ?", "SELECT E?"]
    assert statements(" -- nothing\n") == []
    assert statements("SELECT 1") == ["SELECT 1"]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE t SET a = '" + "x" * 10**6 + "'",
        "VALUES " + ",".join(f"({n}, 'a')" for n in range(50_000)),
        "'" * 10**6 + "x",
        "/*" * 500_000,
        "$a$" * 300_000,
        "(" * 10**6,
        "(?" * 300_000,
        "VALUES " + "(a,b(c))," * 100_000,
        "VALUES (a" + ",(a" * 300_000,
        "E'" + "\\" * 10**6,
        '"' * 999_999,
        "- /" * 300_000,
    ],
    ids=lambda sql: sql[:12],
)
def test_a_megabyte_of_anything_takes_linear_time(sql: str) -> None:
    began = time.process_time()
    assert len(shape(sql)) <= LONGEST_SHAPE
    kind(sql)
    statements(sql + ";")
    assert time.process_time() - began < 10  # about 1 s; a quadratic reading takes hours


@given(st.text(alphabet="aE1 '\"`$;-/*?(),.\n\\[]:é", max_size=60))
def test_any_text_has_a_shape_a_kind_and_parts_that_add_up(sql: str) -> None:
    assert len(shape(sql)) <= LONGEST_SHAPE
    assert kind(sql) in ("read", "write", "begin", "commit", "rollback", "other")
    parts = statements(sql)
    assert all(shape(part) for part in parts)
    assert sum(len(part) for part in parts) <= len(sql)


@given(st.text(alphabet="aE1U& '\"`$;-/*(),.\n\\{}:é", max_size=60))
def test_no_text_keeps_a_closing_brace(sql: str) -> None:
    try:
        said = unbraced(sql)
    except ValueError:
        assert "}" in sql
    else:
        assert "}" not in said
        assert said == sql or "}" in sql


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT '{}' -- }", r"SELECT  E'{\x7D'  "),
        (r"SELECT '\}', E'\\\}}', 'it''s }'", r"SELECT  E'\\\x7D', E'\\\x7D\x7D',  E'it''s \x7D'"),
        ("SELECT '`}'", r"SELECT  E'`\x7D'"),
        (r"DO $a$ '}\' $a$", r"DO  E' ''\x7D\\'' '"),
    ],
)
def test_a_closing_brace_is_escaped_in_strings(sql: str, said: str) -> None:
    assert unbraced(sql) == said


@pytest.mark.parametrize(
    "sql", ['SELECT 1 AS "}"', "SELECT U&'}'", "SELECT N'}'", "SELECT ` '}' `", "SELECT 'a}'\n'b\\c'", "SELECT }"]
)
def test_a_closing_brace_elsewhere_is_refused(sql: str) -> None:
    with pytest.raises(ValueError, match="closing brace"):
        unbraced(sql)


def test_a_placeholder_is_one_only_outside_of_strings() -> None:
    assert placeholders("SELECT a FROM b WHERE c = $1")
    assert not placeholders("SELECT '$1', $a$ $1 $a$, \"$1\", x$1 -- $1")


@given(st.lists(st.sampled_from(["SELECT ';'", 'UPDATE "a;b" SET c = 1', "DO $$;$$", "COMMIT /* ; */", "-- ;\nBEGIN"])))
def test_splitting_undoes_joining(parts: list[str]) -> None:
    assert statements(";".join(parts)) == parts
