"""The judge: a user's own SQL, what it may not do, how findings are given, and what is not a history."""

from __future__ import annotations

from pathlib import Path

import pytest
from literal_history import CONTEXT, History, Op, judge

from harness.errors import BundleUnreadable, ContendError, InvariantBroken, UnknownName, UsageError
from harness.invariants import judging
from harness.verdict import Finding

HEADER = """-- Claim: Odd jobs are never claimed.
-- Row: a claim of an odd job,
--   or of several.
-- Severity: warning
-- Needs: claim, enqueue
-- Requires: none
-- Undecidable when: never.
"""
ODD = "SELECT [operation] AS operations, job, token FROM handed_out WHERE job::BIGINT % 2 = 1"
HISTORY = History(
    [
        Op("setup", "enqueue", 0, 5, jobs=(1, 2, 3)),
        Op("w0", "claim", 10, 20, jobs=(1, 2), tokens=("a", None), requested=2),
        Op("w1", "claim", 30, 40, jobs=(3,), tokens=({"b": 1},), requested=1),
    ]
)


def user_sql(folder: Path, sql: str, *, header: str = HEADER, name: str = "odd_jobs.sql") -> Path:
    path = folder / name
    path.write_text(header + sql, encoding="utf-8")
    return path


def test_a_users_file_is_judged_beside_ours_and_facts_are_native_values(tmp_path: Path) -> None:
    folder = HISTORY.save(tmp_path / "h")
    ours, theirs = judging.judge(folder, ["batch-limit"], CONTEXT, [user_sql(tmp_path, ODD + ";\n-- the end\n")])
    assert (ours.invariant, ours.state) == ("batch-limit", "holds")
    assert (theirs.invariant, theirs.state, theirs.severity, theirs.count) == ("odd-jobs", "broken", "warning", 2)
    assert theirs.findings == (
        Finding("odd-jobs", (2,), {"job": 1, "token": "a"}),
        Finding("odd-jobs", (3,), {"job": 3, "token": {"b": 1}}),
    )


OPEN = """SELECT list(operation) AS operations, CASE WHEN bool_or(requested = 2) THEN 'it asked for two' END AS undecided
FROM operations WHERE kind = 'claim' AND requested > 1 GROUP BY schedule"""


@pytest.mark.parametrize(
    ("requested", "sampled", "state", "reason"),
    [
        ((2, 1), False, "undecidable", "it asked for two"),
        ((2, 1), True, "holds", "undecidable in 1 of 2 schedules: it asked for two"),
        ((2, 2), True, "undecidable", "it asked for two"),
        ((2, 3), True, "broken", ""),
        ((1, 1), True, "holds", ""),
    ],
)
def test_of_sampled_schedules_some_must_be_decidable(
    requested: tuple[int, int],
    sampled: bool,  # noqa: FBT001  # a case of the table
    state: str,
    reason: str,
    tmp_path: Path,
) -> None:
    claims = [
        Op(process, "claim", 10 * n, 10 * n + 5, jobs=(n,), requested=number, schedule=n)
        for n, (process, number) in enumerate(zip(("w0", "w1"), requested, strict=True), 1)
    ]
    header = HEADER.replace("claim, enqueue", "claim")
    folder = History([Op("setup", "install", 0, 1), *claims]).save(tmp_path / "h")
    (judged,) = judging.judge(folder, [], CONTEXT, [user_sql(tmp_path, OPEN, header=header)], sampled=sampled)
    assert (judged.state, judged.reason) == (state, reason)


def test_what_no_sampled_schedule_did_is_not_judged(tmp_path: Path) -> None:
    folder = History([Op("w0", "claim", 0, 5, jobs=(1,), schedule=1)]).save(tmp_path / "h")
    for sampled, state in ((True, "not applicable"), (False, "undecidable")):
        (judged,) = judging.judge(folder, ["progress-monotonic"], CONTEXT, sampled=sampled)
        assert (judged.state, judged.reason) == (state, "The history has no `read_progress`.")


def test_the_header_is_read_with_its_continued_lines(tmp_path: Path) -> None:
    invariant = judging.load_file(user_sql(tmp_path, ODD))
    assert invariant.row == "a claim of an odd job, or of several."
    assert invariant.needs == ("claim", "enqueue")
    assert invariant.requires == ()


@pytest.mark.parametrize(
    ("sql", "header", "error", "words"),
    [
        (ODD, "-- Claim: x\n-- Severity: warning\n", UsageError, "no Row, Needs in its header"),
        (ODD, "", UsageError, "no Claim"),
        (ODD, HEADER.replace("warning", "fatal"), UsageError, "'fatal'. Expected: violation or warning"),
        ("SELEC 1", HEADER, InvariantBroken, "not SQL that DuckDB can read"),
        ("DROP TABLE context", HEADER, InvariantBroken, "not one SELECT"),
        (ODD + "; " + ODD, HEADER, InvariantBroken, "not one SELECT"),
        ("COPY context TO 'stolen.csv'", HEADER, InvariantBroken, "not one SELECT"),
    ],
)
def test_a_file_that_is_no_invariant_is_refused_before_anything_runs(
    tmp_path: Path, sql: str, header: str, error: type[ContendError], words: str
) -> None:
    with pytest.raises(error, match=words):
        judging.load_file(user_sql(tmp_path, sql, header=header))


def test_a_users_file_cannot_take_the_name_of_ours_or_be_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="built-in invariant, no-lost-job"):
        judging.load_file(user_sql(tmp_path, ODD, name="no_lost_job.sql"))
    with pytest.raises(UsageError, match="cannot be read"):
        judging.load_file(tmp_path / "absent.sql")


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT [1] AS operations FROM no_such_table", "no_such_table"),
        ("SELECT 1 AS operations", "Expected: operations BIGINT"),
        ("SELECT job, [operation] AS operations FROM handed_out", "Expected: operations BIGINT"),
        ("SELECT [operation] AS operations, job::INTEGER / 'x'::INTEGER AS y FROM handed_out", "x"),
        ("SELECT [1] AS operations, content FROM read_text('{secret}')", "disabled"),
        ("SELECT [1] AS operations, * FROM read_csv('{secret}')", "disabled"),
        ("SELECT [1] AS operations, * FROM '{secret}'", "disabled"),
        ("SELECT [1] AS operations, * FROM glob('{folder}/*')", "disabled"),
    ],
)
def test_sql_that_fails_or_reaches_for_files_has_crashed_and_the_others_are_judged(
    tmp_path: Path, sql: str, words: str
) -> None:
    """A crash is never a pass, and never keeps the other invariants from their say."""
    secret = tmp_path / "secret.csv"
    secret.write_text("password\n")
    folder = HISTORY.save(tmp_path / "h")
    path = user_sql(tmp_path, sql.format(secret=secret, folder=tmp_path))
    ours, theirs = judging.judge(folder, ["batch-limit"], CONTEXT, [path])
    assert theirs.state == "crashed"
    assert words in theirs.reason
    assert "\n" not in theirs.reason
    assert ours.state == "holds"


def test_an_unknown_requirement_has_crashed_and_names_the_known_ones(tmp_path: Path) -> None:
    path = user_sql(tmp_path, ODD, header=HEADER.replace("Requires: none", "Requires: moonlight"))
    (judgement,) = judging.judge(HISTORY.save(tmp_path / "h"), [], CONTEXT, [path])
    assert judgement.state == "crashed"
    assert "moonlight" in judgement.reason
    assert "exclusive-claims" in judgement.reason


def test_the_first_20_findings_are_given_in_time_order_with_the_full_count(tmp_path: Path) -> None:
    many = [Op("w0", "claim", n, n + 1, jobs=(n, -n), requested=1) for n in range(200, 0, -1)]
    judgement = judge(tmp_path, "batch-limit", History(many))
    assert judgement.count == 200
    assert [finding.operations for finding in judgement.findings] == [(n,) for n in range(1, 21)]


def test_a_history_in_a_folder_with_a_strange_name_is_judged(tmp_path: Path) -> None:
    """Folder and process names are data: quotes and globs in them mean nothing."""
    history = History([Op("w'0[*]", "claim", 10, 20, jobs=(1, 2), requested=1)])
    judgement = judge(tmp_path / "it's [1] *", "batch-limit", history)
    assert judgement.findings[0].facts["process"] == "w'0[*]"


def test_what_is_no_history_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleUnreadable, match=r"operations\.parquet"):
        judging.judge(tmp_path, ["batch-limit"], CONTEXT)
    folder = HISTORY.save(tmp_path / "h")
    (folder / "history" / "handles.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(BundleUnreadable, match=r"handles\.parquet"):
        judging.judge(folder, ["batch-limit"], CONTEXT)


def test_a_history_made_before_acquisitions_were_recorded_is_judged(tmp_path: Path) -> None:
    folder = HISTORY.save(tmp_path / "h")
    (folder / "history" / "acquisitions.parquet").unlink()
    ours, pools = judging.judge(folder, ["batch-limit", "pool-exhausted"], CONTEXT)
    assert ours.state == "holds"
    assert (pools.state, pools.reason) == ("undecidable", "The history has no acquisition of the witness.")


def test_a_name_or_context_that_is_wrong_is_refused(tmp_path: Path) -> None:
    folder = HISTORY.save(tmp_path / "h")
    with pytest.raises(UnknownName, match="no-double-claims"):
        judging.judge(folder, ["no-double-claims"], CONTEXT)
    with pytest.raises(ContendError, match="ordered"):
        judging.judge(folder, [], {k: v for k, v in CONTEXT.items() if k != "ordered"})


@pytest.mark.parametrize("name", judging.NAMES)
def test_every_invariant_has_a_full_header(name: str) -> None:
    invariant = judging.load(name)
    assert invariant.claim.endswith(".")
    assert invariant.needs or name == "reads-answered"  # any one kind of read will do
    assert invariant.name == name
