"""The page of one run: one HTML file that needs no network and no script, good on paper, on a phone and in the dark.

A reader meets the verdict first, then what it rests on. Throughput stands only beside the verdict of the same run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.verdict import Judgement
from reports import rendering, wording
from reports.anomalies import anomalies
from reports.cases import one_each
from reports.interleaving import Interleaving, broken_by, schedule_of
from reports.interleaving import lay_out as lay_out_schedule
from reports.latency import latency
from reports.load import loads
from reports.locking import Locking, locking
from reports.outcomes import outcomes
from reports.plots import Panel
from reports.pool import waits
from reports.price import prices
from reports.progress import progress
from reports.readers import readers
from reports.recovery import recoveries
from reports.saved import Finding, Operation, Process, Result, Run, Schedule, load
from reports.scaling import scaling
from reports.timeline import Timeline, lay_out
from reports.trial import row, trials
from reports.zoo import clean, kills

# What is shown at most, so that a page stays small; what is left out is counted on the page and kept in the run.
MOST_FINDINGS: Final = 3  # of one result
MOST_VIOLATIONS: Final = 5  # of one finding
MOST_POINTS: Final = 8  # of the verdict
MOST_WORKERS: Final = 16  # of one result
MOST_COLUMNS: Final = 6  # of the table of results, before it is grouped by scenario

_GENERATIONS: Final = (
    "reference:select-then-update",
    "reference:deferred-batch",
    "reference:immediate-batch",
    "reference:compare-and-set",
)
_COSTS: Final = {  # measurement → column head
    "lock_errors": "lock errors",
    "statements_per_claim": "statements a claim",
    "transactions_per_claim": "transactions a claim",
    "round_trips_per_claim": "round trips a claim",
    "claims_per_second": "claims a second",
    "claim_ms_p50": "median claim, ms",
    "claim_ms_p99": "99th percentile, ms",
    "slowest_claim_ms": "slowest claim, ms",
}
_STATES: Final = {  # state of an invariant → class, symbol, words
    "holds": ("good", "✓", "holds"),
    "broken": ("bad", "✗", "broken"),
    "not applicable": ("none", "–", "not applicable"),
    "undecidable": ("open", "?", "undecidable"),
    "crashed": ("open", "!", "crashed"),
}


def write_page(bundle: Path, out: Path | None = None) -> Path:
    """Write the page of a bundle to `out`, by default `report.html` in its folder, and give the page's path.

    The same bundle gives the same bytes. Raises `BundleUnreadable` or `OutputUnwritable`; a page that was there
    before is then still whole.
    """
    run = load(bundle)
    path = run.folder / "report.html" if out is None else out
    return rendering.save(render(run), path)


def render(run: Run) -> str:
    """The page as HTML text."""
    repeated = one_each(run.results)
    once = [result for result, _, _ in repeated]
    blocks = _blocks(once)
    shown = [each for block in blocks for each in (*block.findings, *block.folded)]
    return rendering.render(
        "page.html",
        run=run,
        hero=_hero(run, once),
        matrix=_matrix(once),
        repeats={result.folder: f"{alike} of {runs}" for result, alike, runs in repeated if runs > 1},
        trial=[row(each) for each in trials(run.results)],
        tables=_invariant_tables(once),
        generations=_generations(run.results),
        costs=_costs(once),
        blocks=blocks,
        timelines=any(each.timeline for each in shown),
        interleavings=any(each.interleaving for each in shown),
        outcomes=outcomes(run.results),
        anomalies=anomalies(run.results),
        kills=kills(run.results),
        right=clean(run.results),
        loads=loads(run.results),
        prices=prices(run.results),
        progress=progress(run.results),
        waits=waits(run.results),
        readers=readers(run.results),
        recoveries=recoveries(run.results),
        scalings=scaling(run.results),
        workers=_workers(once),
        doubts=_doubts(run),
        states=_STATES,
    )


# --- the verdict ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Hero:
    style: str
    symbol: str
    word: str
    headline: str
    points: tuple[tuple[Result, str], ...]
    more: int
    covered: str


def _hero(run: Run, once: Sequence[Result]) -> _Hero:
    style, symbol = {"pass": ("good", "✓"), "fail": ("bad", "✗"), "inconclusive": ("open", "?")}[run.verdict]
    subjects = [r for r in run.results if r.role == "subject"]
    controls = [r for r in run.results if r.role == "control"]
    held = sum(r.good for r in subjects)
    caught = sum(r.good for r in controls)
    said = []
    if subjects:
        said.append(
            f"{held} of {wording.amount(len(subjects), 'result')} passed."
            if held < len(subjects)
            else f"All {held} results held every invariant asked of them."
            if held > 1
            else "The result held every invariant asked of it."
        )
    if controls:
        said.append(
            f"{caught} of {wording.amount(len(controls), 'known-wrong control')} were caught, as they must be."
            if caught < len(controls)
            else f"All {caught} known-wrong controls were caught, as they must be."
            if caught > 1
            else "The known-wrong control was caught, as it must be."
        )
    if not run.results:
        said.append("There is no result, so nothing was shown.")
    if not run.finished:
        made = f"{len(run.results)} of {run.planned}" if run.planned else f"{len(run.results)}"
        why = f": {wording.plain(run.stopped)}" if run.stopped else "."
        said.insert(0, f"The run ended before its end, with {made} results saved{why}")
    bad = sorted((r for r in once if not r.good), key=lambda r: (r.role == "control", r.verdict != "fail"))
    points = tuple((r, _why(r)) for r in bad)
    word = run.verdict.capitalize()
    return _Hero(
        style=style,
        symbol=symbol,
        word=word if run.finished else f"Unfinished: {run.verdict}",
        headline=" ".join(said),
        points=points[:MOST_POINTS],
        more=len(points) - MOST_POINTS,
        covered=_covered(run),
    )


def _why(result: Result) -> str:
    if result.role == "control" and result.verdict != "inconclusive":
        return f"known to be wrong, but {result.expected or 'no invariant'} did not catch it"
    return "; ".join(wording.plain(reason) for reason in result.reasons[:2]) or wording.verdict(result)[2]


_TOTALS: Final = {"schedules": "schedule", "operations": "operation", "overlapping_claims": "overlapping claim"}


def _covered(run: Run) -> str:
    """What one subject covered, or the sums over all results where there are several."""
    results = run.results
    subjects = [r for r in results if r.role == "subject"]
    if len(subjects) == 1:
        return wording.coverage(subjects[0])
    if not results:
        return ""
    totals = [
        wording.amount(total, one)
        for key, one in _TOTALS.items()
        if (total := sum(n for r in results if isinstance(n := r.coverage.get(key), int)))
    ]
    engines = []
    for name in dict.fromkeys(r.database for r in results):
        version = run.conditions.get(name, {}).get("version")
        engines.append(f"{wording.database(name)} {wording.plain(version)}" if version else wording.database(name))
    scenarios = [wording.plain(name) for name in dict.fromkeys(r.scenario for r in results)]
    return f"{_series(totals) or 'Nothing counted'} in {_series(scenarios)}, on {_series(engines)}"


def _series(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


# --- tables --------------------------------------------------------------------------------------------------------


_Row = tuple[str, bool, tuple[tuple[Result, ...], ...]]  # system, known wrong, results by column


@dataclass(frozen=True, slots=True)
class _Matrix:
    """Systems by scenario and database; by database alone, in a group for each scenario, where those would be too many."""

    columns: tuple[tuple[str, str], ...]  # scenario (empty where the rows are grouped by it), database
    groups: tuple[tuple[str, tuple[_Row, ...]], ...]


def _matrix(results: Sequence[Result]) -> _Matrix:
    columns = tuple(dict.fromkeys((r.scenario, r.database) for r in results))
    if len(columns) <= MOST_COLUMNS:
        return _Matrix(columns, (("", _rows(results, columns)),) if results else ())
    engines = tuple(dict.fromkeys(engine for _, engine in columns))
    return _Matrix(
        tuple(("", engine) for engine in engines),
        tuple(
            (
                scenario,
                _rows([r for r in results if r.scenario == scenario], [(scenario, engine) for engine in engines]),
            )
            for scenario in dict.fromkeys(scenario for scenario, _ in columns)
        ),
    )


def _rows(results: Sequence[Result], columns: Sequence[tuple[str, str]]) -> tuple[_Row, ...]:
    return tuple(
        (
            system,
            any(r.right is False for r in results if r.system == system),
            tuple(
                tuple(r for r in results if (r.system, r.scenario, r.database) == (system, *column))
                for column in columns
            ),
        )
        for system in dict.fromkeys(r.system for r in results)
    )


@dataclass(frozen=True, slots=True)
class _InvariantTable:
    scenario: str
    database: str
    results: tuple[Result, ...]
    rows: tuple[tuple[str, str, tuple[Judgement | None, ...]], ...]  # invariant, severity, judgement by result
    notes: tuple[tuple[str, str, str, tuple[str, ...]], ...]  # invariant, state, reason, systems it was said of


def _invariant_tables(results: Sequence[Result]) -> list[_InvariantTable]:
    tables = []
    for scenario, database in dict.fromkeys((r.scenario, r.database) for r in results):
        own = tuple(r for r in results if (r.scenario, r.database) == (scenario, database) and r.judgements)
        said = {(i, j.invariant): j for i, r in enumerate(own) for j in r.judgements}
        names = dict.fromkeys(name for _, name in said)
        notes: dict[tuple[str, str, str], list[str]] = {}
        for (i, name), judgement in said.items():
            if judgement.reason:
                notes.setdefault((name, judgement.state, judgement.reason), []).append(own[i].system)
        rows = []
        for name in names:
            judgements = tuple(said.get((i, name)) for i in range(len(own)))
            rows.append((name, next(j.severity for j in judgements if j), judgements))
        if own:
            tables.append(
                _InvariantTable(
                    scenario, database, own, tuple(rows), tuple((*key, tuple(v)) for key, v in notes.items())
                )
            )
    return tables


def _claims(results: Iterable[Result]) -> list[Result]:
    """The results whose claims cost what they cost: an explored worker waits for its turn, so its times say nothing."""
    return [r for r in results if r.scenario == "claim-race" and r.mode != "explore" and r.measurements]


@dataclass(frozen=True, slots=True)
class _Generation:
    number: int
    result: Result
    double_claims: str


def _generations(results: Sequence[Result]) -> list[_Generation]:
    """The four claims of report A on SQLite; empty unless two of them can be compared."""
    own = {r.system: r for r in _claims(results) if r.database == "sqlite" and r.mode == "race"}
    there = [(i, own[name]) for i, name in enumerate(_GENERATIONS, start=1) if name in own]
    return [_Generation(i, r, _found(r, "no-double-claim")) for i, r in there] if len(there) > 1 else []


def _found(result: Result, invariant: str) -> str:
    said = next((j for j in result.judgements if j.invariant == invariant), None)
    if said is None:
        return "–"
    return f"{said.count:,}" if said.state in ("holds", "broken") else said.state


@dataclass(frozen=True, slots=True)
class _Costs:
    database: str
    columns: tuple[tuple[str, str], ...]  # measurement, head
    results: tuple[Result, ...]
    latency: Panel | None
    locking: Locking | None


def _costs(results: Sequence[Result]) -> list[_Costs]:
    tables: list[_Costs] = []
    for database in dict.fromkeys(r.database for r in _claims(results)):
        own = tuple(r for r in _claims(results) if r.database == database)
        measured = {name for r in own for name, q in r.measurements.items() if q.value is not None}
        if not any(q.value for r in own if (q := r.measurements.get("round_trips_per_claim"))):
            measured.discard("round_trips_per_claim")  # there is no network
        columns = tuple((key, head) for key, head in _COSTS.items() if key in measured)
        drawn = latency(own, database, f"latency-{len(tables) + 1}")
        tables.append(_Costs(database, columns, own, drawn, locking(own, database)))
    return tables


@dataclass(frozen=True, slots=True)
class _Workers:
    result: Result
    shown: tuple[tuple[Process, int], ...]  # with its share of the busiest, in percent
    more: int
    fewest: int
    most: int


def _workers(results: Sequence[Result]) -> list[_Workers]:
    """Jobs by worker, of the scenarios that are about claiming: elsewhere they say nothing of the queue.

    Nor do they in an exploration, where we chose who came first.
    """
    rows = []
    for result in (r for r in results if r.scenario.startswith("claim-") and r.mode != "explore"):
        jobs = [p.jobs for p in result.processes]
        if len(jobs) > 1 and max(jobs) > 0:
            shown = tuple((p, round(100 * p.jobs / max(jobs))) for p in result.processes[:MOST_WORKERS])
            rows.append(_Workers(result, shown, len(jobs) - len(shown), min(jobs), max(jobs)))
    return rows


def _doubts(run: Run) -> list[tuple[str, list[Result]]]:
    """Every reason for doubt once, with the results it was said of; none means the whole run."""
    said: dict[str, list[Result]] = {doubt: [] for doubt in run.doubts}
    for result in run.results:
        for doubt in result.doubts:
            if doubt not in run.doubts:
                said.setdefault(doubt, []).append(result)
    return list(said.items())


# --- findings ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Shown:
    """A finding and how it went: the schedule that shows it where one was explored, else the operations in time."""

    finding: Finding
    first: wording.Told
    job: object
    schedule: Schedule | None
    interleaving: Interleaving | None
    timeline: Timeline | None
    broke: Operation | None  # the operation whose answer is the contradiction
    others: tuple[wording.Told, ...]


@dataclass(frozen=True, slots=True)
class _Block:
    result: Result
    findings: tuple[_Shown, ...]
    folded: tuple[_Shown, ...]
    more: int


def _blocks(results: Sequence[Result]) -> list[_Block]:
    """The findings of each result, bad news first; of a control that was caught, all but what caught it is folded."""
    blocks = []
    for result in sorted((r for r in results if r.findings), key=lambda r: r.role == "control"):
        shown = tuple(_show(result, finding) for finding in _ordered(result)[:MOST_FINDINGS])
        open_ = 1 if result.good else MOST_FINDINGS
        blocks.append(_Block(result, shown[:open_], shown[open_:], len(result.findings) - MOST_FINDINGS))
    return blocks


def _ordered(result: Result) -> list[Finding]:
    warnings = {j.invariant for j in result.judgements if j.severity == "warning"}
    return sorted(result.findings, key=lambda f: (f.invariant != result.expected, f.invariant in warnings))


def _show(result: Result, finding: Finding) -> _Shown:
    facts, *others = finding.evidence or ({},)
    numbers = wording.operation_numbers(facts)
    if len(numbers) == 1:  # alone it shows nothing of what went on
        numbers = tuple(n for each in finding.evidence[:MOST_VIOLATIONS] for n in wording.operation_numbers(each))
    named = [result.operations[n] for n in dict.fromkeys(numbers) if n in result.operations]
    moves = [op for op in named if op.kind != "round"]  # a round only encloses the claims of one batch
    broke = broken_by(result, finding)
    schedule = schedule_of(result, finding)
    interleaving = lay_out_schedule(schedule, broke) if schedule else None
    return _Shown(
        finding,
        wording.tell(finding.invariant, facts),
        facts.get("job"),
        schedule,
        interleaving,
        None if interleaving else lay_out(moves),
        broke,
        tuple(wording.tell(finding.invariant, other) for other in others[: MOST_VIOLATIONS - 1]),
    )
