"""Judges a merged history: each invariant is one SELECT that returns a row for every violation.

A file opens with a header of comment lines, `-- Key: text`, continued by lines that are indented further:

    Claim: what holds, in a sentence.          Row: what a row of the result means.
    Severity: violation or warning.            Needs: kinds of operation that must be in the history, `statement`, `acquisition`; or none.
    Requires: words of the view `requirements` in views.sql; or none. What is not offered makes it not applicable.
    Undecidable when: what leaves the question open.

The first column, `operations`, lists the numbers of the operations concerned. A column `undecided`, where there is one, is null for
a violation, else it says why nobody can tell; such rows alone make the invariant undecidable. All other columns are facts.
"""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final, cast, get_args

import duckdb

from harness.errors import BundleUnreadable, ContendError, InvariantBroken, UnknownName, UsageError
from harness.history import CONTEXT
from harness.merging import open_tables
from harness.scratch import scratch
from harness.verdict import Finding, InvariantState, Judgement, Severity

NAMES: Final[tuple[str, ...]] = (
    "no-double-claim",
    "no-lost-job",
    "no-phantom-claim",
    "batch-limit",
    "no-false-empty",
    "claim-order",
    "single-owner",
    "terminal-once",
    "attempts-counted",
    "fenced-completion",
    "no-swallowed-error",
    "lock-errors",
    "every-worker-served",
    "statement-budget",
    "witness-agrees",
    "worker-guard",
    "guard-released",
    "progress-monotonic",
    "progress-fresh",
    "progress-final",
    "write-budget",
    "pool-exhausted",
    "delete-exact",
    "delete-spares-running",
    "delete-one-transaction",
    "submit-atomic",
    "reads-answered",
)
FINDINGS_SHOWN: Final = 20
MEMORY_LIMIT: Final = "1400MB"  # of DuckDB's buffers; the process stays under 2 GiB
# In Needs: the witness saw at least one.
SEEN: Final[Mapping[str, str]] = {"statements": "statement", "acquisitions": "acquisition"}
_KEYS: Final = ("claim", "row", "severity", "needs", "requires", "undecidable when")
# Dear views that several invariants use, in the order they are made of each other, and the words whose use asks for them.
_OPTIONAL_KEYS: Final = ("requires", "undecidable when")
_COMPUTED_ONCE: Final = {"jobs": "jobs|reused|free_jobs", "free_jobs": "free_jobs"}


@dataclass(frozen=True, slots=True)
class Invariant:
    """A claim about a history with the query that finds its violations; the fields are those of the file's header."""

    name: str
    claim: str
    row: str
    severity: Severity
    needs: tuple[str, ...]
    requires: tuple[str, ...]
    undecidable_when: str
    sql: str


def load(name: str) -> Invariant:
    """Give one of our own invariants; raises `UnknownName`."""
    if name not in NAMES:
        raise UnknownName("invariant", name, list(NAMES))
    source = resources.files(__package__).joinpath(f"{name.replace('-', '_')}.sql")
    return _parse(name, source.read_text(encoding="utf-8"))


def load_file(path: Path) -> Invariant:
    """Give a user's own invariant, named after its file.

    Raises `UsageError` where the file cannot be read, takes one of our names or has no proper header, and `InvariantBroken` where
    its SQL is not one SELECT. Nothing of it is run.
    """
    name = path.stem.replace("_", "-")
    if name in NAMES:
        raise UsageError(f"{path} has the name of a built-in invariant, {name}. Rename the file.")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The invariant {path} cannot be read: {error}. Expected a text file in UTF-8.") from error
    return _parse(name, text)


def judge(
    folder: Path,
    names: Sequence[str],
    context: Mapping[str, object],
    extra_sql: Sequence[Path] = (),
    *,
    sampled: bool = False,
) -> list[Judgement]:
    """Judge the history in `folder/history` by the invariants named and by the users' own files, in that order.

    `context` has exactly the keys of `harness.history.CONTEXT`. An invariant that crashes is reported as crashed and does not keep
    the others from being judged. Of a history whose schedules are `sampled` it is enough that an invariant can be decided in some of
    them; one that needs what none of them did is not applicable. Raises `UnknownName`, what `load_file` raises, and `BundleUnreadable`
    where a table is missing.
    """
    invariants = [*(load(name) for name in names), *(load_file(path) for path in extra_sql)]
    if context.keys() != CONTEXT.keys():
        odd = ", ".join(sorted(context.keys() ^ CONTEXT.keys()))
        raise ContendError(
            f"The context of a history has exactly the keys {', '.join(CONTEXT)}; missing or unknown: {odd}."
        )
    with (
        scratch("judging") as spilled,
        duckdb.connect(config={"temp_directory": str(spilled)}) as connection,
    ):
        _open(connection, folder / "history", context)
        history = _History(connection, sampled=sampled)
        return [history.judge(invariant) for invariant in invariants]


def _open(connection: duckdb.DuckDBPyConnection, history: Path, context: Mapping[str, object]) -> None:
    """Lay the tables, the context and the views out; afterwards SQL can reach nothing but these."""
    connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
    connection.execute(f"SET threads = {os.cpu_count() or 1}")
    connection.execute("SET preserve_insertion_order = false")
    connection.execute("SET enable_progress_bar = false")
    try:
        paths = open_tables(connection, history)
    except duckdb.Error as error:
        raise BundleUnreadable(
            f"{history} does not hold the tables of a history: {_sentence(error)} Merge the run again."
        ) from error
    columns = ", ".join(f"{name} {kind}" for name, kind in CONTEXT.items())
    connection.execute(f"CREATE TABLE context ({columns})")
    connection.execute(
        f"INSERT INTO context VALUES ({', '.join('?' * len(CONTEXT))})",  # noqa: S608  # question marks only
        [list(v) if isinstance(v, tuple) else v for v in (context[name] for name in CONTEXT)],
    )
    connection.execute(resources.files(__package__).joinpath("views.sql").read_text(encoding="utf-8"))
    # DuckDB asks twice: for the path as the view has it, and for the file it found there.
    connection.execute(
        "SET allowed_paths = ?", [[form for path in paths.values() for form in (glob.escape(path), path)]]
    )
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


class _History:
    """An opened history: what it offers, and the judging of one invariant after another."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, *, sampled: bool) -> None:
        self.connection = connection
        self.sampled = sampled
        rows = connection.execute("SELECT word, offered, otherwise FROM requirements").fetchall()
        self.requirements = {word: (offered, otherwise) for word, offered, otherwise in rows}
        self.present = {kind for (kind,) in connection.execute("SELECT DISTINCT kind FROM operations").fetchall()}
        for table, need in SEEN.items():
            if connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone():  # noqa: S608  # our own words
                self.present.add(need)

    def judge(self, invariant: Invariant) -> Judgement:
        """Give the judgement; never raises for what the invariant's own SQL does."""
        state, reason = self._excused(invariant)
        if state:
            return Judgement(invariant.name, state, invariant.severity, reason=reason)
        try:
            return self._run(invariant)
        except (duckdb.Error, InvariantBroken) as error:
            return Judgement(invariant.name, "crashed", invariant.severity, reason=_sentence(error))

    def _excused(self, invariant: Invariant) -> tuple[InvariantState | None, str]:
        """Say why the invariant is not applicable or undecidable before its SQL is run."""
        unknown = [word for word in invariant.requires if word not in self.requirements]
        if unknown:
            return "crashed", f"It requires {', '.join(unknown)}. Known words: {', '.join(sorted(self.requirements))}."
        lacking = [self.requirements[word] for word in invariant.requires if self.requirements[word][0] is not True]
        for offered, otherwise in lacking:
            if offered is False:
                return "not applicable", otherwise
        absent = [need for need in invariant.needs if need not in self.present]
        if absent:
            what = [f"{need} of the witness" if need in SEEN.values() else f"`{need}`" for need in absent]
            return "not applicable" if self.sampled else "undecidable", f"The history has no {' and no '.join(what)}."
        if lacking:
            return "undecidable", f"Nobody can tell whether {lacking[0][1]}: no claim handed out a job."
        return None, ""

    def _run(self, invariant: Invariant) -> Judgement:
        for view, words in _COMPUTED_ONCE.items():
            if re.search(rf"\b(FROM|JOIN)\s+({words})\b", invariant.sql, re.IGNORECASE):
                self._compute(view)
        self.connection.execute("DROP TABLE IF EXISTS found")
        self.connection.execute(f"CREATE TABLE found AS {invariant.sql}")
        columns = [(name, kind) for name, kind, *_ in self.connection.execute("DESCRIBE found").fetchall()]
        if columns[0] not in (("operations", "BIGINT[]"), ("operations", "INTEGER[]")):
            raise InvariantBroken(
                f"Its first column is {' '.join(columns[0])}. Expected: operations BIGINT[], the operations concerned."
            )
        return self._read(invariant, [name for name, _ in columns])

    def _read(self, invariant: Invariant, columns: list[str]) -> Judgement:
        """Judge by the rows in the table `found`."""
        certain = "undecided IS NULL" if "undecided" in columns else "true"
        (count,) = self._row(f"SELECT count(*) FROM found WHERE {certain}") or (0,)  # noqa: S608  # our own words
        if count == 0:
            doubt = self._row("SELECT undecided FROM found LIMIT 1") if "undecided" in columns else None
            if doubt and self.sampled and (some := self._decided_in_some()):
                return Judgement(invariant.name, "holds", invariant.severity, reason=f"{some}: {doubt[0]}")
            state: InvariantState = "undecidable" if doubt else "holds"
            return Judgement(invariant.name, state, invariant.severity, reason=doubt[0] if doubt else "")
        rows = self.connection.execute(f"FROM found WHERE {certain} ORDER BY ALL LIMIT {FINDINGS_SHOWN}").fetchall()
        findings = tuple(_finding(invariant.name, columns, row) for row in rows)
        schedules = self.connection.execute(
            f"SELECT DISTINCT o.schedule FROM found AS f JOIN operations AS o ON o.operation = f.operations[1] WHERE {certain} ORDER BY 1"  # noqa: S608  # our own words
        ).fetchall()
        return Judgement(
            invariant.name,
            "broken",
            invariant.severity,
            count=count,
            findings=findings,
            schedules=tuple(number for (number,) in schedules),
        )

    def _decided_in_some(self) -> str:
        """In how many of the schedules the rows in `found` leave the question open; empty: in all, or of no schedule in particular."""
        (anywhere, open_in, schedules) = self._row(
            """SELECT
                count(*) FILTER (len(f.operations) = 0), count(DISTINCT o.schedule),
                (SELECT count(DISTINCT schedule) FROM operations WHERE schedule > 0)
            FROM found AS f LEFT JOIN operations AS o ON o.operation = f.operations[1]"""
        ) or (1, 0, 0)
        return "" if anywhere or open_in >= schedules else f"undecidable in {open_in:,} of {schedules:,} schedules"

    def _row(self, sql: str) -> tuple[Any, ...] | None:
        return self.connection.execute(sql).fetchone()

    def _compute(self, view: str) -> None:
        """Replace a view by its rows, the first time it is used."""
        if self._row(f"SELECT 1 FROM duckdb_views() WHERE view_name = '{view}'"):  # noqa: S608  # a name from the table above
            self.connection.execute(f"CREATE TABLE computed AS FROM {view}")
            self.connection.execute(f"DROP VIEW {view}")
            self.connection.execute(f"ALTER TABLE computed RENAME TO {view}")


def _finding(name: str, columns: Sequence[str], row: Sequence[object]) -> Finding:
    facts = {
        column: _native(value) if column in ("job", "token") or column.endswith(("_job", "_token")) else value
        for column, value in zip(columns[1:], row[1:], strict=True)
        if column != "undecided"
    }
    return Finding(name, tuple(cast("Iterable[int]", row[0])), facts)


def _native(text: object) -> object:
    """Read a job or token of a history, which is JSON text."""
    try:
        return json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return text


def _parse(name: str, text: str) -> Invariant:
    """Read a file's header and see that one SELECT follows."""
    header: dict[str, str] = {}
    key = ""
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        comment = line[2:]
        start, colon, rest = comment.strip().partition(":")
        if colon and start.lower() in _KEYS and not comment.startswith("   "):
            key = start.lower()
            header[key] = rest.strip()
        elif key:
            header[key] = f"{header[key]} {comment.strip()}".strip()
    for key in _OPTIONAL_KEYS:
        header.setdefault(key, "none")
    missing = [key.capitalize() for key in _KEYS if not header.get(key)]
    if missing:
        raise UsageError(
            f"The invariant {name} has no {', '.join(missing)} in its header. Expected lines such as `-- Claim: …`."
        )
    severity = header["severity"].rstrip(".")
    if severity not in get_args(Severity):
        raise UsageError(
            f"The invariant {name} has the severity {severity!r}. Expected: {' or '.join(get_args(Severity))}."
        )
    try:
        statements = duckdb.extract_statements(text)
    except duckdb.Error as error:
        raise InvariantBroken(f"The invariant {name} is not SQL that DuckDB can read: {_sentence(error)}") from error
    if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
        raise InvariantBroken(
            f"The invariant {name} is not one SELECT statement. Write one that gives a row for each violation."
        )
    return Invariant(
        name=name,
        claim=header["claim"],
        row=header["row"],
        severity=cast("Severity", severity),
        needs=_words(header["needs"]),
        requires=_words(header["requires"]),
        undecidable_when=header["undecidable when"],
        sql=text,
    )


def _words(text: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.rstrip(".").split(","))
    return () if words == ("none",) else words


def _sentence(error: Exception) -> str:
    """Give the first line of an error, as DuckDB's go on with hints and a picture of the SQL."""
    return str(error).splitlines()[0]
