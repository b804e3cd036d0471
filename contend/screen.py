"""What a run shows while it goes on: a live line on a terminal, plain lines elsewhere. Progress goes to stderr."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from contend.campaign import Campaign, Watcher
from harness.run import Case, Result

if TYPE_CHECKING:
    from reports.interleaving import Breaking

CONTRADICTION: Final = "✗ contradiction"
STYLE: Final[Mapping[str, str]] = {
    "pass": "bold green",
    "fail": "bold red",
    "inconclusive": "bold yellow",
    "caught": "green",
}


# What a result covered, in the order it is said: key of the coverage → word.
_COVERED: Final[Mapping[str, str]] = {
    "opens": "opens",
    "scans": "deep scans",
    "reports": "changes",
    "submits": "submits",
    "claims": "claims",
    "deletions": "deletions",
    "reads": "reads",
    "kills": "killed",
    "faults": "faults",
}


class PlainWatcher(Watcher):
    """One line a result, one a notable event; nothing that moves."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        """`console` takes the lines; with `quiet` only problems are told."""
        self.console = console
        self.quiet = quiet
        self._at = ""

    def began(self, case: Case) -> None:
        """Take note of the case at work: the one before it may not have its verdict yet."""
        self._at = f"{case.scenario.name} {case.subject.name}"

    def said(self, line: str) -> None:
        """Tell what happened inside a case."""
        if not self.quiet:
            self.console.print(Text(f"      {self._at}: {line}", style="dim"), soft_wrap=True)

    def ended(self, result: Result) -> None:
        """Tell the verdict of a case."""
        self.console.print(result_line(result), soft_wrap=True)


class LiveWatcher(PlainWatcher):
    """The same lines, and below them a bar with the case at work."""

    def __init__(self, console: Console) -> None:
        """`console` must be a terminal."""
        super().__init__(console)
        self._progress = Progress(
            SpinnerColumn(), BarColumn(bar_width=24), TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.description}"), TimeElapsedColumn(), console=console, transient=True,
        )  # fmt: skip  # one column a line would hide the row
        self._task = self._progress.add_task("starting", total=1)

    def planned(self, cases: int) -> None:
        """Show the bar."""
        self._progress.update(self._task, total=cases)
        self._progress.start()

    def began(self, case: Case) -> None:
        """Name the case at work."""
        self._progress.update(self._task, description=f"{case.scenario.name} {case.subject.name} on {case.database}")

    def said(self, line: str) -> None:
        """Show what happens inside a case on the bar only."""
        self._progress.update(self._task, description=line)

    def ended(self, result: Result) -> None:
        """Tell the verdict and move the bar on."""
        super().ended(result)
        self._progress.advance(self._task)

    def stop(self) -> None:
        """Take the bar away."""
        self._progress.stop()


def word(result: Result) -> str:
    """The word for a result: its verdict, or for a control whether it was caught."""
    if result.case.role == "control":
        return "caught" if result.caught else "NOT CAUGHT"
    return {"pass": "PASS", "fail": "FAIL", "inconclusive": "INCONCLUSIVE"}[result.ruling.verdict]


def coverage_words(coverage: Mapping[str, Any]) -> str:
    """What a result covered, in a few words."""
    if not coverage.get("operations"):
        return ""
    words = []
    if coverage.get("workers"):
        words.append(f"{coverage['workers']} workers" if coverage["workers"] != 1 else "1 worker")
    words += [f"{coverage[name]:,} {word}" for name, word in _COVERED.items() if coverage.get(name)]
    if (
        not coverage.get("scans")
        and not coverage.get("submits")
        and coverage.get("workers", 0) > 1
        and coverage.get("claims")
    ):
        words.append(f"{coverage.get('overlapping_claims', 0):,} overlaps")
    if coverage.get("control") in ("caught", "missed"):
        words.append(f"control {coverage['control']}")
    said = ", ".join(words)
    if coverage.get("schedules"):
        from reports import wording  # noqa: PLC0415  # Jinja, which most runs need only for their page

        return wording.schedules_then(coverage, said)
    return said


def result_line(result: Result) -> Text:
    """One result on one line: word, scenario, system, database; then what it covered, or what was found."""
    document = result.document
    shown = word(result)
    line = Text()
    line.append(f"{shown:<12}", style=STYLE.get(shown.lower(), "bold red"))
    line.append(f" {document['scenario']:<16} {document['system']:<34} {document['database']:<8}")
    if result.case.role == "control" and result.caught:
        expected = document["expected"]
        count = next(f["count"] for f in document["findings"] if f["invariant"] == expected)
        line.append(f" as it must be: {expected} found {count:,}")
    elif document["verdict"] == "pass":
        line.append(f" {coverage_words(document['coverage'])}")
    else:
        line.append(f" {'; '.join(document['reasons'][:3])}")
    slope = document["measurements"].get("statements_per_job")
    if slope:
        line.append(f"; {slope['value']:.2f} statements a job: {'N+1' if slope['value'] > 0.5 else 'batched'}")
    for told in load_lines(document):
        line.append(f"\n      {told}", style="dim")
    return line


def load_lines(document: Mapping[str, Any]) -> list[str]:
    """The figures of a load, an operation a line; under its verdict, as a wrong answer can be the fastest one."""
    load = document["series"].get("load")
    if not load or not load["timeline"]:
        return []
    seconds = load["timeline"][-1]["second"] + 1
    lines = [
        f"{row['name']:<16} {row['count'] / seconds:>9,.0f}/s  p50 {row['p50_ms']:,.2f}  p99 {row['p99_ms']:,.2f}  "
        f"p99.9 {row['p999_ms']:,.2f}  max {row['max_ms']:,.2f} ms"
        + (f"  {row['failures']:,} errors" if row["failures"] else "")
        for row in load["operations"]
        if row["name"] not in ("open", "close")
    ]
    return [*lines, load["late"]] if load["late"] else lines


def schedule_lines(document: Mapping[str, Any]) -> list[str | Table]:
    """The violations an exploration found: for each what contradicts what, and the schedule, a column for each worker."""
    shown: list[str | Table] = []
    for schedule in document["series"].get("schedules", []):
        found = next((f for f in document["findings"] if f["invariant"] == schedule["invariant"]), None)
        if found is None:
            continue
        from reports.wording import tell  # noqa: PLC0415  # Jinja, which most runs need only for their page

        sentence = tell(schedule["invariant"], found["evidence"][0]).sentence.striptags() if found["evidence"] else ""
        shown.append(f"{schedule['invariant']}: {html.unescape(sentence)}")
        shown.append(_columns(schedule, _breaking(document, schedule["invariant"])))
        one = schedule["schedules"] == 1
        which = (
            f"program{'' if one else 's'}; shrunk to this one, which"
            if "example" in schedule
            else f"schedule{'' if one else 's'}; this one, with the fewest context switches,"
        )
        shown.append(
            f"Broken by {schedule['schedules']:,} {which} went the same {schedule['same']} of {schedule['times']} times. "
            f"{found['replay']}"
        )
        if schedule.get("spec"):
            shown.append(f"The same for PostgreSQL's isolationtester: {schedule['spec']}")
        elif schedule.get("no_spec"):
            shown.append(f"No spec of it for PostgreSQL's isolationtester. {schedule['no_spec']}")
    return shown


def finding_lines(document: Mapping[str, Any]) -> list[str | Table]:
    """The violations a race found: for each invariant what contradicts what, the operations, a column for each process, and the command."""
    from reports.wording import tell  # noqa: PLC0415  # Jinja, which most runs need only for their page

    shown: list[str | Table] = []
    operations = {each["operation"]: each for each in document["operations"]}
    for found in document["findings"]:
        for evidence in found["evidence"][:1]:
            sentence = tell(found["invariant"], evidence).sentence.striptags()
            shown.append(f"{found['invariant']}: {html.unescape(sentence)}")
            shown.append(_operations([operations[n] for n in evidence["operations"] if n in operations]))
        if found["count"] > 1:
            shown.append(f"The first of {found['count']:,}.")
        if found.get("replay"):
            shown.append(f"Again: {found['replay']}")
    return shown


def _operations(operations: list[Mapping[str, Any]]) -> Table:
    """Operations, time downward, a column for each process."""
    names = sorted({each["process"] for each in operations})
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(Text("ms"), justify="right", no_wrap=True)
    for name in names:
        table.add_column(Text(name), overflow="fold", ratio=1)
    for each in sorted(operations, key=lambda one: one["invoked_ms"]):
        jobs = f" {each['jobs'][:8]}{' …' if len(each['jobs']) > 8 else ''}" if each["jobs"] else ""
        took = "" if each["completed_ms"] is None else f", {each['completed_ms'] - each['invoked_ms']:.2f} ms"
        said = f"{each['kind']}:{jobs} {each['outcome']}{took}"
        table.add_row(f"{each['invoked_ms']:.2f}", *(Text(said if each["process"] == name else "") for name in names))
    return table


def _breaking(document: Mapping[str, Any], invariant: str) -> Breaking | None:
    """Where the contradiction stands in the schedule that shows it; None where that cannot be told."""
    from reports.interleaving import broken_by, lay_out, schedule_of  # noqa: PLC0415  # as above
    from reports.saved import result_of  # noqa: PLC0415  # as above

    result = result_of(document)
    finding = next(each for each in result.findings if each.invariant == invariant)
    schedule = schedule_of(result, finding)
    laid = schedule and lay_out(schedule, broken_by(result, finding))
    return laid.breaking if laid else None


def _columns(schedule: Mapping[str, Any], broke: Breaking | None) -> Table:
    """One schedule, time downward: what each worker ran, whom it waited for, what its operations came to, and which cannot be right.

    Below are the answers given afterwards, when nobody was held: the workers' own in their columns, the drain's in the first.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in schedule["workers"]:
        table.add_column(Text(name), overflow="fold", ratio=1)
    for number, step in enumerate(schedule["steps"], 1):
        cells: list[list[str]] = [[] for _ in schedule["workers"]]
        for ran in step["ran"]:
            cells[ran["worker"]].append(ran.get("sql", ran["shape"]) + (f"  → {ran['error']}" if ran["error"] else ""))
        if step["blocked_by"]:
            cells[step["worker"]].append(
                f"{step.get('waiting') or step['what']}  … blocked by {', '.join(step['blocked_by'])}"
            )
        if step.get("crash"):
            from reports.wording import crash_words  # noqa: PLC0415  # as above

            cells[step["worker"]] = [*(cells[step["worker"]] or [step["what"]]), f"✗ {crash_words(step['crash'])}"]
        if broke and broke.worker is not None and broke.step == number:
            cells[broke.worker].append(CONTRADICTION)
        if not any(cells):  # an operation that asked nothing of the database
            cells[step["worker"]].append(step["what"])
        table.add_row(*(Text("\n".join(cell)) for cell in cells))
    workers = len(schedule["workers"])
    answers = [[_answer(*each) for each in own] for own in schedule["answers"]]
    later = [(place, number) for place in range(workers, len(answers)) for number in range(len(answers[place]))]
    if broke:
        place, number = later[broke.answer] if broke.worker is None else (broke.worker, broke.answer)
        answers[place][number] += f"  {CONTRADICTION}"
    table.add_row(*(Text("\n".join(own), style="bold") for own in answers[:workers]))
    if any(answers[workers:]):
        afterwards: list[list[str]] = [[] for _ in schedule["workers"]]
        for process, own in zip(schedule["afterwards"], answers[workers:], strict=True):
            column = schedule["workers"].index(process) if process in schedule["workers"] else 0
            afterwards[column] += [
                f"afterwards {'' if process in schedule['workers'] else f'{process} '}{each}" for each in own
            ]
        table.add_row(*(Text("\n".join(each)) for each in afterwards))
    return table


def _answer(kind: str, outcome: str, jobs: list[Any], value: object, problem: str) -> str:
    """What an operation came to: `claim: [1, 2]`."""
    if outcome != "ok":
        return f"{kind}: {', '.join(filter(None, (outcome, problem)))}"
    return f"{kind}: {jobs if value is None else value}"


def last_lines(campaign: Campaign, document: Mapping[str, Any]) -> list[str]:
    """The end of a run: where the page is, then the verdict with what it covered and, on a fail, the command to see it again."""
    results = campaign.results
    covered = [result.document["coverage"] for result in results]
    subjects = [result for result in results if result.case.role == "subject"]
    controls = [result for result in results if result.case.role == "control"]
    passed = sum(result.ruling.verdict == "pass" for result in subjects)
    words = [f"{passed} of {len(subjects)} passed"] if subjects else []
    if controls:
        words.append(f"{sum(result.caught for result in controls)} of {len(controls)} known-wrong caught")
    claims = sum(c.get("claims", 0) for c in covered)
    if claims:
        words.append(f"{claims:,} claims, {sum(c.get('overlapping_claims', 0) for c in covered):,} overlaps")
    lines = [f"Report: {document['report']}"]
    verdict = str(document["verdict"]).upper()
    worst = next((r for r in results if r.verdict == document["verdict"] and r.verdict != "pass"), None)
    last = f"{verdict}: {', '.join(words)}." if words else f"{verdict}:"
    if document.get("stopped"):
        last += f" {document['stopped']}"
    elif worst is not None and document["verdict"] == "fail":
        last += f" Again: {worst.document['commands']['again']}"
    elif worst is not None:
        last += (
            f" {worst.document['system']} on {worst.document['database']}: {'; '.join(worst.document['reasons'][:2])}"
        )
    return [*lines, last]


def comparison_lines(comparison: Mapping[str, Any]) -> list[str]:
    """A comparison in lines: what was found; how it was measured; then each reason for doubt."""
    control, of = comparison["control"], comparison["operations_in_a_block"]
    lines = [
        f"{comparison['name']}: {comparison['words']}",
        (
            f"  beside {comparison['base']}; control {control['ratio']:.2f} [{control['low']:.2f}, {control['high']:.2f}]; "
            f"{comparison['pairs']} pairs of blocks of {of:,}; "
            f"BASE {comparison['median_ms']['base']:.3g} ms, HEAD {comparison['median_ms']['head']:.3g} ms each"
        ),
    ]
    if (p99 := comparison["p99"]) is not None:
        lines.append(f"  p99: {p99['ratio']:.2f} times BASE's [{p99['low']:.2f}, {p99['high']:.2f}]")
    if comparison["repeated"] is not None:
        lines.append(f"  measured once more: {comparison['repeated']['words']}")
    return [*lines, *(f"  doubt: {doubt}" for doubt in comparison["doubts"])]


def whisper(console: Console, line: str) -> None:
    """Tell what goes on meanwhile."""
    console.print(Text(f"  {line}", style="dim"), soft_wrap=True)


def console(*, stderr: bool) -> Console:
    """A console that is plain where it is not a terminal."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, highlight=False, no_color=None if stream.isatty() else True, emoji=False, markup=False)


def seconds_since(started: float) -> str:
    """How long it took, for a reader."""
    return f"{time.monotonic() - started:.0f} s"
