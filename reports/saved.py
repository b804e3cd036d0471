"""What one run saved, read as plain values.

Only what a reader needs is read; unknown keys are ignored, so a bundle of the same schema may say more. Everything
that is not as the schema says raises `BundleUnreadable`: a page made from half-read facts would be believed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast, get_args

from harness.bundle import Bundle, read_json
from harness.errors import BundleUnreadable
from harness.measurement import Ratio
from harness.protocols import Release
from harness.verdict import Evidence, InvariantState, Judgement, Severity, Verdict, merge

_LARGEST: Final = 1e300
_KEPT_JOBS: Final = 20  # of one operation, by who writes the bundle
Role = Literal["subject", "control"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A measured value with its unit; `value` is None where nothing could be measured."""

    value: float | None
    unit: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What broke one invariant: the full `count`, and the facts of the first violations (`operations`, often `job`).

    Of an exploration, `schedules` is how many broke it.
    """

    invariant: str
    count: int
    evidence: tuple[Mapping[str, object], ...]
    replay: str
    schedules: int | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a history, times in ms from its start; `completed_ms` is None where it never came back.

    `jobs` are the first jobs it named; `returned` is how many those were in all, or `clipped` says that the bundle kept
    only so many and there may have been more.
    """

    number: int
    process: str
    kind: str
    invoked_ms: float
    completed_ms: float | None
    outcome: str
    requested: int | None
    returned: int
    jobs: tuple[object, ...]
    error: str
    clipped: bool = False


@dataclass(frozen=True, slots=True)
class Process:
    """What one worker got: claims that returned jobs or not (`claims`), jobs, empty claims, errors."""

    name: str
    claims: int
    jobs: int
    empty: int
    errors: int


@dataclass(frozen=True, slots=True)
class Counted:
    """A count that should not vary, as it was counted `first` and again `second`; None where it could be counted only once.

    `varies` says that it was the mean of claims that did not all cost the same.
    """

    name: str
    unit: str
    first: float
    second: float | None
    varies: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """The load a result was made with; None where an older bundle does not say."""

    workers: int | None
    jobs: int | None
    batch: int | None
    options: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Count:
    """Exact counts of one round over `batch` jobs or ids (a claim, a delete, a submit), as the witness saw it.

    There are no round trips where there is no network, and no acquisitions where no pool was watched.
    """

    batch: int
    statements: float
    transactions: float
    round_trips: float | None
    acquisitions: float | None


@dataclass(frozen=True, slots=True)
class Timing:
    """Interleaved samples of a baseline and of the system, in ms per round over `batch` jobs or ids, at one added latency.

    `ratio` is the baseline's time divided by the system's.
    """

    latency_ms: float
    batch: int
    baseline: str
    baseline_ms: tuple[float, ...]
    system_ms: tuple[float, ...]
    ratio: Ratio | None


@dataclass(frozen=True, slots=True)
class Quantile:
    """A share of all reads, 0 to 1, and the ms that so large a share stayed at or below."""

    share: float
    ms: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many waited for a connection of a pool and how many had one, from this moment on; `ms` from the first request."""

    ms: float
    waiting: int
    in_use: int


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault: which, done to which workers (none: to the database of all), and when, in seconds of the run; None: it never ended."""

    fault: str
    workers: tuple[str, ...]
    from_seconds: float
    until_seconds: float | None


@dataclass(frozen=True, slots=True)
class Hold:
    """A job in the hands of a worker, in seconds of the run; `how` that ended: complete, fail, refused, unknown or lost."""

    worker: str
    job: str
    from_seconds: float
    until_seconds: float
    how: str


@dataclass(frozen=True, slots=True)
class Recovery:
    """A job that a fault took from `worker`; `to` is who got it next, `ms` after the fault began: None where nobody did."""

    worker: str
    job: str
    fault: str
    struck_seconds: float
    to: str | None
    handed_on_seconds: float | None
    ms: float | None


@dataclass(frozen=True, slots=True)
class NotPlanned:
    """A fault that could not be done in this run, and why."""

    fault: str
    reason: str


@dataclass(frozen=True, slots=True)
class Flatness:
    """How claims beside `few` waiting jobs compare with claims beside `many`: 1 is as quick, 0.1 ten times as long beside many."""

    few: int
    many: int
    ratio: Ratio


@dataclass(frozen=True, slots=True)
class Loaded:
    """One kind of operation under load: how often, how often it failed, and its times in ms (None where not kept).

    `percentiles` are sorted by share. The times begin when the operation was meant to begin, if its load has a rate.
    """

    name: str
    count: int
    failures: int
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    max_ms: float | None
    percentiles: tuple[Quantile, ...]


@dataclass(frozen=True, slots=True)
class Second:
    """One second of a load: what was done in it, what of that failed, and how many users there were (None: not kept)."""

    second: float
    operations: int
    errors: int
    users: int | None


@dataclass(frozen=True, slots=True)
class Requested:
    """What Locust's own statistics say of one name: `rate` in requests a second."""

    name: str
    requests: int
    failures: int
    median_ms: float | None
    rate: float | None


@dataclass(frozen=True, slots=True)
class LoadFigures:
    """What one load run measured. `late` says in a sentence that the rate asked for could not be kept; empty if it could."""

    operations: tuple[Loaded, ...]
    timeline: tuple[Second, ...]
    locust: tuple[Requested, ...]
    late: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What one operation of an explored worker came to: the jobs it named or the value it gave, or else the problem."""

    kind: str
    outcome: str
    jobs: tuple[object, ...]
    value: object
    problem: str


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that ended in a step: of which worker (its place), on which of its connections, and with which error, if any.

    `sql` has its values, where those are known; its `shape` never has.
    """

    worker: int
    connection: int
    kind: str
    shape: str
    sql: str
    error: str


@dataclass(frozen=True, slots=True)
class Step:
    """One worker (its place) let on: what it was about to do, who kept what `waiting`, and what ended before all had stopped again.

    A `forced` one was no choice: nobody could go on, and the database refused somebody. `crash` is what befell it (empty: nothing).
    """

    worker: int
    what: str
    blocked_by: tuple[str, ...]
    waiting: str
    forced: bool
    crash: str
    ran: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where a schedule that was begun again did not go as before."""

    expected: str
    got: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """The schedule that shows how an invariant broke, one of `schedules` that break it, as it went when it was repeated.

    It went the `same` in so many of the `times`. There are answers of each worker, in order, wherever there are steps; those given
    `afterwards`, when nobody was held any more, are in one row, each with its process (empty where an older contend did not say).
    `spec` is the file that PostgreSQL's isolationtester takes, as it was called when it was written, or `no_spec` why there is none;
    both may be empty.
    """

    invariant: str
    schedules: int
    times: int
    same: int
    diverged: tuple[Divergence, ...]
    workers: tuple[str, ...]
    steps: tuple[Step, ...]
    answers: tuple[tuple[Answer, ...], ...]
    afterwards: tuple[tuple[str, Answer], ...]
    spec: str
    no_spec: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the workers' operations came to, whichever worker it was, and how many schedules came to it."""

    answers: tuple[tuple[Answer, ...], ...]
    schedules: int


@dataclass(frozen=True, slots=True)
class Sample:
    """Schedules tried at random, and the least probability of having found what takes `depth` steps in a certain order."""

    depth: int
    schedules: int
    found_with: float


@dataclass(frozen=True, slots=True)
class Exploration:
    """What an exploration came to: `schedules` tried in order, those tried at random, and the most frequent `outcomes` of the former.

    The order of `raced` of them was left to the machine.
    In `waited` of them a worker waited for a lock of another (None: not counted). `stands_for` is how many there are without
    reduction (None: not counted). `crash_points` are at which workers were killed or cut off. Times are in seconds; `shown_seconds` is
    until the first violation was known. `diverged` are the first of `divergences`.
    """

    schedules: int
    raced: int
    redundant: int
    waited: int | None
    stands_for: int | None
    crash_points: int
    longest: int
    random: tuple[Sample, ...]
    diverged: tuple[Divergence, ...]
    divergences: int
    outcomes: tuple[Outcome, ...]
    seconds: float
    shown_seconds: float | None

    @property
    def tried(self) -> int:
        """How many schedules were tried, in order and at random."""
        return self.schedules + sum(each.schedules for each in self.random)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A count or timing that was not made, and why not."""

    latency_ms: float
    batch: int
    reason: str


@dataclass(frozen=True, slots=True)
class Result:
    """One scenario driven over one system on one database, with its verdict and everything that speaks for it.

    `staleness` is how far a screen was behind, by share of its reads; `reader_latency` how long a read of the status
    took beside clean-ups. Both are sorted by share, `pool_waiting` by time. `flush_ms` is the flush interval asked for,
    `settings` are the workers, jobs and batch size asked for, as far as it says.
    A `twin` was run only as the control of another result. `counted` is None where an older contend counted nothing twice.
    """

    folder: str
    scenario: str
    system: str
    database: str
    mode: str
    verdict: Verdict
    reasons: tuple[str, ...]
    role: Role
    twin: bool
    asked: Asked
    expected: str | None
    story: str
    seen_in: str
    release: Release | None
    semantics: str
    right: bool | None
    findings: tuple[Finding, ...]
    coverage: Mapping[str, object]
    measurements: Mapping[str, Quantity]
    counted: tuple[Counted, ...] | None
    judgements: tuple[Judgement, ...]
    evidence: tuple[Evidence, ...]
    operations: Mapping[int, Operation]
    processes: tuple[Process, ...]
    counts: tuple[Count, ...]
    times: tuple[Timing, ...]
    flatness: tuple[Flatness, ...]
    left_out: tuple[LeftOut, ...]
    faults: tuple[Struck, ...]
    holds: tuple[Hold, ...]
    recoveries: tuple[Recovery, ...]
    not_planned: tuple[NotPlanned, ...]
    staleness: tuple[Quantile, ...]
    reader_latency: tuple[Quantile, ...]
    pool_waiting: tuple[Waiting, ...]
    load: LoadFigures | None
    schedules: tuple[Schedule, ...]
    exploration: Exploration | None
    flush_ms: float | None
    settings: Mapping[str, object]
    durability: Mapping[str, object]
    doubts: tuple[str, ...]
    commands: Mapping[str, str]

    @property
    def caught(self) -> bool:
        """Whether a control did what it is there for: the invariant named for it caught it, or any where none is."""
        if self.expected is None:
            return self.verdict == "fail"
        return any(j.invariant == self.expected and j.state == "broken" for j in self.judgements)

    @property
    def good(self) -> bool:
        """Whether this result is what it should be: a pass, or a control that was caught."""
        return self.caught if self.role == "control" else self.verdict == "pass"

    @property
    def explored(self) -> bool:
        """Whether somebody chose the order of its statements."""
        return self.mode == "explore" and not (self.exploration is not None and self.exploration.raced)


@dataclass(frozen=True, slots=True)
class Skipped:
    """What was not run, and why not."""

    scenario: str
    system: str
    database: str
    reason: str


@dataclass(frozen=True, slots=True)
class Run:
    """One run: where and how it ran, its verdict, and its results in the order they were made.

    `called` is how the run named its folder, for commands; it may have been moved to `folder` since. Where `finished`
    is false it was `stopped` for that reason, or was killed, and what is missing of `planned` results was never made.
    """

    folder: Path
    called: str
    finished: bool
    stopped: str
    planned: int | None
    verdict: Verdict
    contend: str
    created: str
    argv: tuple[str, ...]
    seed: str
    profile: str
    machine: Mapping[str, object]
    conditions: Mapping[str, Mapping[str, object]]
    doubts: tuple[str, ...]
    results: tuple[Result, ...]
    not_applicable: tuple[Skipped, ...]


def load(path: Path) -> Run:
    """Read the bundle in the folder `path`, or the latest of a folder of bundles.

    Raises `BundleUnreadable` where it is no bundle, is still being made, is truncated or incomplete, or has a schema
    newer than ours.
    """
    opened = Bundle.open(path)
    if opened.running:
        made, planned = len(list(opened.folder.glob("results/*/result.json"))), opened.about.get("planned")
        of = f" of {planned}" if isinstance(planned, int) else ""
        raise BundleUnreadable(
            f"The run of {path} still goes on, with {made}{of} results saved. Wait until it ends, or stop it with Ctrl-C."
        )
    head = _Fields(opened.about, str(opened.folder / "bundle.json"))
    finished = head.flag("finished", default=False)
    places = sorted(each for each in (opened.folder / "results").glob("*") if each.is_dir())
    if not finished:  # a run that was stopped leaves the folder of the result it was at without a result.json
        places = [each for each in places if (each / "result.json").exists()]
    results = tuple(_result(_document(each / "result.json"), each.name, _context(each)) for each in places)
    verdict = merge(["inconclusive", *(r.verdict for r in results if r.role == "subject")])
    summary = _Fields({}, "")
    if finished or (opened.folder / "results.json").exists():
        summary = _document(opened.folder / "results.json")
        verdict = cast("Verdict", summary.word("verdict", get_args(Verdict)))
        listed = len(summary.rows("results")) + len(summary.rows("controls"))
        if listed != len(results):
            raise BundleUnreadable(
                f"{opened.folder}: results.json lists {listed} results but {len(results)} are in results/; "
                "the bundle is incomplete. Copy it whole, or make a new one with `contend run`."
            )
    return Run(
        folder=opened.folder,
        called=summary.text("bundle", opened.folder.resolve().name),
        finished=finished,
        stopped=summary.text("stopped", ""),
        planned=head.maybe("planned", head.integer),
        verdict=verdict,
        contend=head.text("contend", "?"),
        created=head.text("created", ""),
        argv=head.texts("argv"),
        seed=str(head.values.get("seed", "")),
        profile=head.text("profile", ""),
        machine=head.mapping("machine"),
        conditions={name: head.fields("conditions").mapping(name) for name in head.mapping("conditions")},
        doubts=head.texts("doubts"),
        results=results,
        not_applicable=tuple(
            Skipped(row.text("scenario"), row.text("system"), row.text("database"), row.text("reason"))
            for row in summary.rows("not_applicable")
        ),
    )


def result_of(document: Mapping[str, Any]) -> Result:
    """Read a result that is at hand: its document, as it is in `result.json`. Raises `BundleUnreadable` where it is none."""
    return _result(_Fields(document, "the result"), "", _Fields({}, ""))


def _document(path: Path) -> _Fields:
    return _Fields(read_json(path), str(path))


def _context(place: Path) -> _Fields:
    """What the system was asked for; older bundles, and those that were thinned out, say nothing of it."""
    path = place / "context.json"
    return _document(path) if path.exists() else _Fields({}, str(path))


def _result(fields: _Fields, folder: str, context: _Fields) -> Result:
    flush_ns = context.maybe("flush_interval_ns", context.amount)
    series = fields.fields("series")
    load = fields.fields("load")
    return Result(
        folder=folder,
        scenario=fields.text("scenario"),
        system=fields.text("system"),
        database=fields.text("database"),
        mode=fields.text("mode", "race"),
        verdict=cast("Verdict", fields.word("verdict", get_args(Verdict))),
        reasons=fields.texts("reasons"),
        role=cast("Role", fields.word("role", get_args(Role))),
        twin=fields.flag("twin", default=False),
        asked=Asked(
            load.maybe("workers", load.whole),
            load.maybe("jobs", load.whole),
            load.maybe("batch", load.whole),
            load.mapping("options"),
        ),
        expected=fields.maybe("expected", fields.text),
        story=fields.text("story", ""),
        seen_in=fields.text("seen_in", ""),
        release=_release(fields.fields("release")) if fields.values.get("release") else None,
        semantics=fields.text("semantics", ""),
        right=fields.maybe("right", fields.flag),
        findings=tuple(
            Finding(
                invariant=row.text("invariant"),
                count=row.integer("count"),
                evidence=tuple(each.values for each in row.rows("evidence")),
                replay=row.maybe("replay", row.text) or "",
                schedules=row.maybe("schedules", row.whole),
            )
            for row in fields.rows("findings")
        ),
        coverage=fields.mapping("coverage"),
        measurements={
            name: Quantity(value=one.maybe("value", one.number), unit=one.text("unit", ""))
            for name in fields.mapping("measurements")
            for one in (fields.fields("measurements").fields(name),)
        },
        counted=None
        if fields.values.get("counted") is None
        else tuple(
            Counted(
                row.text("name"),
                row.text("unit"),
                row.number("first"),
                row.maybe("second", row.number),
                row.flag("varies", default=False),
            )
            for row in fields.rows("counted")
        ),
        judgements=tuple(
            Judgement(
                invariant=row.text("invariant"),
                state=cast("InvariantState", row.word("state", get_args(InvariantState))),
                severity=cast("Severity", row.word("severity", get_args(Severity))),
                count=row.integer("count"),
                reason=row.text("reason", ""),
            )
            for row in fields.rows("judgements")
        ),
        evidence=tuple(
            Evidence(row.text("name"), row.flag("present"), row.text("reason", ""), row.text("remedy", ""))
            for row in fields.rows("evidence")
        ),
        operations={op.number: op for op in (_operation(row) for row in fields.rows("operations"))},
        processes=tuple(
            Process(
                row.text("process"),
                row.integer("claims"),
                row.integer("jobs"),
                row.integer("empty"),
                row.integer("errors"),
            )
            for row in fields.rows("processes")
        ),
        counts=tuple(
            Count(
                batch=row.integer("batch"),
                statements=row.number("statements"),
                transactions=row.number("transactions"),
                round_trips=row.maybe("round_trips", row.number),
                acquisitions=row.maybe("acquisitions", row.number),
            )
            for row in series.rows("counts")
        ),
        times=tuple(_timing(row) for row in series.rows("times")),
        flatness=tuple(
            Flatness(row.whole("few"), row.whole("many"), ratio)
            for row in series.rows("flatness")
            if (ratio := _ratio(row)) is not None
        ),
        left_out=tuple(_left_out(row) for row in series.rows("left_out")),
        faults=tuple(_struck(row) for row in series.rows("faults")),
        holds=tuple(_hold(row) for row in series.rows("holds")),
        recoveries=tuple(_recovery(row) for row in series.rows("recoveries")),
        not_planned=tuple(NotPlanned(row.text("fault"), row.text("reason")) for row in series.rows("not_planned")),
        staleness=_quantiles(series, "staleness"),
        reader_latency=_quantiles(series, "reader_latency"),
        pool_waiting=tuple(
            sorted((_waiting(row) for row in series.rows("pool_waiting")), key=lambda moment: moment.ms)
        ),
        load=_load_figures(series.fields("load")) if series.values.get("load") else None,
        schedules=tuple(_schedule(row) for row in series.rows("schedules")),
        exploration=next((_exploration(row) for row in series.rows("exploration")), None),
        flush_ms=None if flush_ns is None else flush_ns / 1e6,
        settings={key: size for key, size in fields.mapping("load").items() if key in ("workers", "jobs", "batch")},
        durability=fields.mapping("durability"),
        doubts=fields.texts("doubts"),
        commands={name: fields.fields("commands").text(name) for name in fields.mapping("commands")},
    )


def _release(row: _Fields) -> Release:
    return Release(
        row.text("package"), row.text("version"), row.text("settings"), row.text("says", ""), row.text("where", "")
    )


def _operation(row: _Fields) -> Operation:
    error = row.values.get("error")
    if isinstance(error, Mapping):
        error = ": ".join(str(part) for part in (error.get("code") or error.get("class"), error.get("message")) if part)
    return Operation(
        number=row.integer("operation"),
        process=row.text("process"),
        kind=row.text("kind"),
        invoked_ms=row.number("invoked_ms"),
        completed_ms=row.maybe("completed_ms", row.number),
        outcome=row.text("outcome"),
        requested=row.maybe("requested", row.integer),
        returned=max(row.maybe("returned", row.integer) or 0, len(row.items("jobs"))),
        jobs=row.items("jobs"),
        error=str(error or ""),
        clipped=row.values.get("returned") is None and len(row.items("jobs")) >= _KEPT_JOBS,
    )


def _quantiles(series: _Fields, name: str) -> tuple[Quantile, ...]:
    found = (Quantile(row.amount("share", most=1.0), row.amount("ms")) for row in series.rows(name))
    return tuple(sorted(found, key=lambda quantile: quantile.share))


def _waiting(row: _Fields) -> Waiting:
    return Waiting(row.amount("ms"), row.whole("waiting"), row.whole("in_use"))


def _struck(row: _Fields) -> Struck:
    return Struck(
        row.text("fault"),
        row.texts("workers"),
        row.number("from_seconds"),
        row.maybe("until_seconds", row.number),
    )


def _hold(row: _Fields) -> Hold:
    return Hold(
        row.text("worker"), row.text("job"), row.number("from_seconds"), row.number("until_seconds"), row.text("how")
    )


def _recovery(row: _Fields) -> Recovery:
    return Recovery(
        row.text("worker"),
        row.text("job"),
        row.text("fault"),
        row.number("struck_seconds"),
        row.maybe("next_worker", row.text),
        row.maybe("handed_on_seconds", row.number),
        row.maybe("ms", row.amount),
    )


def _load_figures(load: _Fields) -> LoadFigures:
    return LoadFigures(
        operations=tuple(_loaded(row) for row in load.rows("operations")),
        timeline=tuple(sorted((_second(row) for row in load.rows("timeline")), key=lambda each: each.second)),
        locust=tuple(
            Requested(
                row.text("name"),
                row.maybe("requests", row.whole) or 0,
                row.maybe("failures", row.whole) or 0,
                row.maybe("median_ms", row.amount),
                row.maybe("rate", row.amount),
            )
            for row in load.rows("locust")
        ),
        late=load.maybe("late", load.text) or "",
    )


def _loaded(row: _Fields) -> Loaded:
    pairs = [_Fields({"pair": pair}, f"{row.where}: an item of `percentiles`") for pair in row.items("percentiles")]
    p50, p90, p99, p999, most = (row.maybe(f"{key}_ms", row.amount) for key in ("p50", "p90", "p99", "p999", "max"))
    return Loaded(
        name=row.text("name"),
        count=row.maybe("count", row.whole) or 0,
        failures=row.maybe("failures", row.whole) or 0,
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        p999_ms=p999,
        max_ms=most,
        percentiles=tuple(sorted(map(_pair, pairs), key=lambda quantile: quantile.share)),
    )


def _pair(fields: _Fields) -> Quantile:
    pair = fields.numbers("pair")
    if len(pair) != 2 or not (0 <= pair[0] <= 1 and pair[1] >= 0):
        raise _wrong(fields.where, "a share from 0 to 1 and its ms", fields.values["pair"])
    return Quantile(*pair)


def _second(row: _Fields) -> Second:
    return Second(
        row.amount("second"),
        row.maybe("operations", row.whole) or 0,
        row.maybe("errors", row.whole) or 0,
        row.maybe("users", row.whole),
    )


def _schedule(row: _Fields) -> Schedule:
    workers = row.texts("workers")
    steps = tuple(_step(each, len(workers)) for each in row.rows("steps"))
    answers = _answers(row)
    if steps and len(answers) < len(workers):
        raise _wrong(f"{row.where}: `answers`", f"those of {len(workers)} workers", row.values.get("answers"))
    return Schedule(
        invariant=row.text("invariant"),
        schedules=row.whole("schedules"),
        times=row.whole("times"),
        same=row.whole("same"),
        diverged=_diverged(row),
        workers=workers,
        steps=steps,
        answers=answers[: len(workers)],
        afterwards=_afterwards(row.texts("afterwards"), answers[len(workers) :]),
        spec=row.text("spec", ""),
        no_spec=row.text("no_spec", ""),
    )


def _afterwards(processes: tuple[str, ...], answers: tuple[tuple[Answer, ...], ...]) -> tuple[tuple[str, Answer], ...]:
    known = (*processes, *[""] * (len(answers) - len(processes)))
    return tuple((process, answer) for process, own in zip(known, answers, strict=False) for answer in own)


def _step(row: _Fields, workers: int) -> Step:
    return Step(
        worker=_place(row, workers),
        what=row.text("what"),
        blocked_by=row.texts("blocked_by"),
        waiting=row.text("waiting", ""),
        forced=row.flag("forced", default=False),
        crash=row.maybe("crash", row.text) or "",
        ran=tuple(
            Statement(
                _place(each, workers),
                each.whole("connection"),
                each.text("kind"),
                each.text("shape"),
                each.maybe("sql", each.text) or each.text("shape"),
                each.maybe("error", each.text) or "",
            )
            for each in row.rows("ran")
        ),
    )


def _place(row: _Fields, workers: int) -> int:
    place = row.whole("worker")
    if place >= workers:
        raise _wrong(f"{row.where}: `worker`", f"one of {workers} workers, counted from 0", place)
    return place


def _answers(row: _Fields) -> tuple[tuple[Answer, ...], ...]:
    where = f"{row.where}: an item of `answers`"
    workers = [_Fields({"answers": worker}, where) for worker in row.items("answers")]
    return tuple(tuple(_answer(where, each) for each in worker.items("answers")) for worker in workers)


def _answer(where: str, value: object) -> Answer:
    keys = ("kind", "outcome", "jobs", "value", "problem")
    if not isinstance(value, list) or len(value) != len(keys):
        raise _wrong(where, f"a list of {', '.join(keys)}", value)
    answer = _Fields(dict(zip(keys, value, strict=True)), where)
    return Answer(
        answer.text("kind"),
        answer.text("outcome"),
        answer.items("jobs"),
        answer.values["value"],
        answer.text("problem"),
    )


def _diverged(row: _Fields) -> tuple[Divergence, ...]:
    return tuple(Divergence(each.text("expected"), each.text("got")) for each in row.rows("diverged"))


def _exploration(row: _Fields) -> Exploration:
    return Exploration(
        schedules=row.whole("schedules"),
        raced=row.maybe("raced", row.whole) or 0,
        redundant=row.whole("redundant"),
        waited=row.maybe("waited", row.whole),
        stands_for=row.maybe("stands_for", row.whole),
        crash_points=row.maybe("crash_points", row.whole) or 0,
        longest=row.whole("longest"),
        random=tuple(
            Sample(each.whole("depth"), each.whole("schedules"), each.amount("found_with", most=1.0))
            for each in row.rows("random")
        ),
        diverged=_diverged(row),
        divergences=row.whole("divergences"),
        outcomes=tuple(Outcome(_answers(each), each.whole("schedules")) for each in row.rows("outcomes")),
        seconds=row.amount("seconds"),
        shown_seconds=row.maybe("shown_seconds", row.amount),
    )


def _left_out(row: _Fields) -> LeftOut:
    return LeftOut(row.number("latency_ms"), row.integer("batch"), row.text("reason"))


def _ratio(row: _Fields) -> Ratio | None:
    if row.values.get("ratio") is None:
        return None
    ratio = row.fields("ratio")
    return Ratio(ratio.number("median"), ratio.number("low"), ratio.number("high"), ratio.integer("pairs"))


def _timing(row: _Fields) -> Timing:
    return Timing(
        latency_ms=row.number("latency_ms"),
        batch=row.integer("batch"),
        baseline=row.text("baseline"),
        baseline_ms=row.numbers("baseline_ms"),
        system_ms=row.numbers("system_ms"),
        ratio=_ratio(row),
    )


def _wrong(where: str, expected: str, value: object) -> BundleUnreadable:
    shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:60] + "…"
    return BundleUnreadable(
        f"{where} should be {expected} but is {shown}; the bundle is damaged or was edited. "
        "Make a new one with `contend run`."
    )


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    return value


@dataclass(frozen=True, slots=True)
class _Fields:
    """A JSON object that knows where it stands, so that a wrong value can be named. Absent lists are empty."""

    values: Mapping[str, Any]
    where: str

    def _typed(self, key: str, expected: str, types: tuple[type, ...], default: object = None) -> Any:
        value = self.values.get(key, default)
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise _wrong(f"{self.where}: `{key}`", expected, value)
        return value

    def text(self, key: str, default: str | None = None) -> str:
        return cast("str", self._typed(key, "a text", (str,), default))

    def word(self, key: str, known: tuple[str, ...]) -> str:
        value = self.text(key)
        if value not in known:
            raise _wrong(f"{self.where}: `{key}`", f"one of {', '.join(known)}", value)
        return value

    def number(self, key: str) -> float:
        value = self._typed(key, "a number", (int, float))
        if not abs(value) <= _LARGEST:  # written so that NaN, which json reads, is refused too
            raise _wrong(f"{self.where}: `{key}`", "a finite number", value)
        return float(value)

    def amount(self, key: str, *, most: float = _LARGEST) -> float:
        value = self.number(key)
        if not 0 <= value <= most:
            expected = "a number from 0 on" if most == _LARGEST else f"a number from 0 to {most:g}"
            raise _wrong(f"{self.where}: `{key}`", expected, value)
        return value

    def integer(self, key: str) -> int:
        return cast("int", self._typed(key, "a whole number", (int,)))

    def whole(self, key: str) -> int:
        value = self.integer(key)
        if not 0 <= value <= _LARGEST:
            raise _wrong(f"{self.where}: `{key}`", "a whole number from 0 on", value)
        return value

    def flag(self, key: str, *, default: bool | None = None) -> bool:
        return cast("bool", self._typed(key, "true or false", (bool,), default))

    def maybe(self, key: str, read: Callable[[str], T]) -> T | None:
        return None if self.values.get(key) is None else read(key)

    def items(self, key: str) -> tuple[object, ...]:
        return () if self.values.get(key) is None else tuple(self._typed(key, "a list", (list,)))

    def texts(self, key: str) -> tuple[str, ...]:
        return tuple(_Fields({key: each}, self.where).text(key) for each in self.items(key))

    def numbers(self, key: str) -> tuple[float, ...]:
        return tuple(_Fields({key: each}, self.where).number(key) for each in self.items(key))

    def mapping(self, key: str) -> Mapping[str, Any]:
        return _mapping(self.values.get(key) or {}, f"{self.where}: `{key}`")

    def fields(self, key: str) -> _Fields:
        return _Fields(self.mapping(key), f"{self.where}: `{key}`")

    def rows(self, key: str) -> list[_Fields]:
        where = f"{self.where}: an item of `{key}`"
        return [_Fields(_mapping(each, where), where) for each in self.items(key)]
