"""The command line. Parses and prints; everything that takes time to import is imported by the command that needs it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from contend import __version__
from harness.errors import ContendError, OutputUnwritable, UnknownName, is_of_database, said_by_database
from harness.scenario import MAXIMUM
from harness.verdict import EXIT_STATUS, Verdict

if TYPE_CHECKING:
    from contend.campaign import Request
    from harness.runners.load import Crowd
    from harness.scenario import Profile
    from reports.export import Form

# As scenarios.explorations has them; to show the help must not take the time of importing that.
EXPLORED = (
    "claim-race",
    "claim-recovery",
    "enqueue-race",
    "bulk-delete",
    "late-start",
    "cleanup-churn",
    "atomic-submit",
    "progress-updates",
    "worker-guard",
    "programs",
)
WRONG_USAGE = 254
OWN_FAULT = 255


def _whole(name: str) -> click.IntRange:
    return click.IntRange(1, MAXIMUM[name])


def _options(_context: object, _parameter: object, given: tuple[str, ...]) -> dict[str, Any]:
    """Read NAME=VALUE; a value is JSON where it can be read as such, else a text."""
    options: dict[str, Any] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name.isidentifier():
            raise click.BadParameter(f"{each!r} is not NAME=VALUE, such as flush_interval=5.")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="contend")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(*, debug: bool) -> None:
    """Prove on the real database that a job queue hands each job to one worker, loses none, and pays no N+1.

    Exit status: 0 pass, 1 fail, 2 inconclusive, 254 wrong usage, 255 contend's own fault.
    """
    _Debug.on = debug


class _Debug:
    on = False


@cli.command()
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO]...")
@click.option(
    "--system",
    "systems",
    multiple=True,
    metavar="S",
    help="reference:NAME, defect:NAME, package.module:Class, path/to/file.py:Class or 'exec:COMMAND {url}'. [default: all we know]",
)
@click.option(
    "--database",
    "databases",
    multiple=True,
    metavar="D",
    help="sqlite, sqlite-rollback, postgres or a postgresql:// URL. [default: both embedded ones]",
)
@click.option("--workers", type=_whole("workers"), help="Processes that claim at once. [default: the scenario's]")
@click.option("--jobs", type=_whole("jobs"), help="Jobs enqueued. [default: the scenario's]")
@click.option("--batch", type=_whole("batch"), help="Jobs asked for in one claim. [default: the scenario's]")
@click.option("--profile", type=click.Choice(["quick", "full"]), default="quick", show_default=True)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_options,
    help="An option of the scenario or the system, such as flush_interval=5 or experts=11; may be repeated.",
)
@click.option("--seed", type=click.IntRange(0), help="Seed of every random choice. [default: a new one, recorded]")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder that bundles go into.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout; everything else goes to stderr."
)
def run(*, as_json: bool, scenarios: tuple[str, ...], profile: str, out: Path, **asked: Any) -> int:
    """Race systems through scenarios on real databases and judge what happened.

    Without arguments: the whole catalogue, quick, on both embedded databases. Known-wrong systems are controls there and must be caught;
    named with --system they fail like any other.
    """
    from contend.campaign import Request  # noqa: PLC0415  # see the module's caption

    request = Request(scenarios=scenarios, profile=cast("Profile", profile), out=out, argv=tuple(sys.argv[1:]), **asked)
    return _run(request, as_json=as_json)


@cli.command()
@click.argument(
    "scenario",
    type=click.Choice(["claim-race", "pool-pressure", "cleanup-churn"]),
    default="claim-race",
    metavar="[SCENARIO]",
)
@click.option("--system", metavar="S", help="As for `contend run`. [default: the database's reference]")
@click.option("--database", default="postgres", show_default=True, metavar="D", help="As for `contend run`.")
@click.option("--users", type=_whole("workers"), help="Users at once. [default: 10]")
@click.option("--run-time", type=click.IntRange(1), metavar="SECONDS", help="How long users work. [default: 20]")
@click.option("--spawn-rate", type=click.FloatRange(0, min_open=True), help="Users that come a second. [default: 100]")
@click.option(
    "--processes", type=_whole("workers"), help="Locust's processes. [default: 1; on SQLite as many as users]"
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    help="Turns a second that all users begin together, whether or not earlier ones are over; latency counts from then.",
)
@click.option("--ramp", is_flag=True, default=None, help="Let users come in ten steps over the whole time.")
@click.option("--jobs", type=_whole("jobs"), help="Jobs enqueued before the users come. [default: the scenario's]")
@click.option("--batch", type=_whole("batch"), help="Jobs asked for in one claim. [default: the scenario's]")
@click.option(
    "--option", "options", multiple=True, metavar="NAME=VALUE", callback=_options, help="As for `contend run`."
)
@click.option("--seed", type=click.IntRange(0), help="Seed of every random choice. [default: a new one, recorded]")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@click.option(
    "--master", is_flag=True, help="Let the users be on other machines, with a postgresql:// URL they all reach."
)
@click.option("--master-bind-host", default="127.0.0.1", show_default=True, help="Where the master listens.")
@click.option("--master-bind-port", type=click.IntRange(1, 65535), default=5557, show_default=True)
@click.option("--expect-workers", type=_whole("workers"), help="Machines the master waits for. [default: 1]")
@click.option(
    "--max-wait", type=click.IntRange(1), default=60, show_default=True, metavar="SECONDS", help="For them to join."
)
@click.option("--worker", is_flag=True, help="Be one of those machines; everything else is the master's to say.")
@click.option("--master-host", default="127.0.0.1", show_default=True, help="Where a worker finds the master.")
@click.option("--master-port", type=click.IntRange(1, 65535), default=5557, show_default=True)
@click.option("--hand-out", is_flag=True, hidden=True, help="Leave the users to whoever reads standard output.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def load(*, scenario: str, hand_out: bool, as_json: bool, options: dict[str, Any], **asked: Any) -> int:
    """Have Locust's users call a queue for a while, and judge what happened.

    claim-race: users claim, complete, enqueue. pool-pressure: deep scans at once on one bounded pool. cleanup-churn: readers,
    workers and clean-up. Rates and percentiles stand beside the verdict. With Locust's own screen: locust -f scenarios/locustfile.py.
    """
    from contend import load as loads  # noqa: PLC0415  # see the module's caption
    from harness.runners.load import USER_OPTIONS, Master  # noqa: PLC0415  # as above

    host, port = asked.pop("master_host"), asked.pop("master_port")
    here = Master(
        asked.pop("master_bind_host"),
        asked.pop("master_bind_port"),
        asked.pop("expect_workers") or 1,
        asked.pop("max_wait"),
    )
    if asked.pop("worker"):
        return loads.work(host, port)
    master = here if asked.pop("master") else None
    users = {name: value for name in USER_OPTIONS if (value := asked.pop(name)) is not None}
    request = loads.request(scenario, options={**options, **users}, argv=tuple(sys.argv[1:]), master=master, **asked)
    return _run(request, as_json=as_json, crowd=loads.crowd(hand_out=hand_out, master=master), quiet=hand_out)


@cli.command()
@click.argument("scenario", type=click.Choice(EXPLORED), metavar="SCENARIO")
@click.option("--system", required=True, metavar="S", help="As for `contend run`.")
@click.option("--database", default="sqlite", show_default=True, metavar="D", help="As for `contend run`.")
@click.option("--workers", type=click.IntRange(1, 8), help="Processes whose statements are put in order. [default: 2]")
@click.option("--batch", type=_whole("batch"), help="Jobs asked for in one claim. [default: 2]")
@click.option("--jobs", type=_whole("jobs"), help="Jobs there are. [default: workers × batch]")
@click.option(
    "--crash",
    is_flag=True,
    help="In each schedule one worker is killed or its connection cut, at every boundary of its statements in turn; "
    "then what it held is recovered.",
)
@click.option(
    "--budget",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="How long schedules are tried; where that is too short for all, the rest of it goes to random ones. [default: 60]",
)
@click.option(
    "--option", "options", multiple=True, metavar="NAME=VALUE", callback=_options, help="As for `contend run`."
)
@click.option("--seed", type=click.IntRange(0), help="Seed of every random choice. [default: a new one, recorded]")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def explore(*, budget: float | None, crash: bool, as_json: bool, options: dict[str, Any], **asked: Any) -> int:
    """Run the system's own code one statement at a time, in every order its statements can have.

    claim-race: workers claim once each. claim-recovery: workers claim and complete while another recovers what they hold, as if they had
    been away for longer than their lease. late-start: one starts while the others claim and complete. cleanup-churn: one cleans up by tag
    while the others claim. atomic-submit: one submits a run while the others look for it. progress-updates: workers tell of a job each,
    and one gives its job back. worker-guard: workers open one file at once. programs: workers do what Hypothesis makes up, and what fails
    is shrunk.

    A violation is shown in the schedule with the fewest context switches, and repeated ten times before it is reported.
    """
    from contend import exploration  # noqa: PLC0415  # see the module's caption

    if budget is not None:
        options = {**options, "budget": budget}
    if crash and asked["scenario"] == "programs":
        raise click.UsageError(
            "What is made up comes without crashes: explore another scenario with --crash, or leave it out."
        )
    if crash:
        options = {**options, "crash": True}
    return _run(exploration.request(options=options, argv=tuple(sys.argv[1:]), **asked), as_json=as_json)


@cli.command()
@click.argument("bundle", type=click.Path(path_type=Path, exists=True))
@click.option("--finding", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Which finding.")
@click.option("--database", metavar="D", help="Where the finding was made on a database given by its URL: that URL.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def replay(*, bundle: Path, as_json: bool, **asked: Any) -> int:
    """Carry the schedule of a finding out again, ten times, on a fresh database.

    Exit 1: it broke the same invariant again. Exit 2: it did not, or went otherwise, and where is said.
    """
    from contend import exploration  # noqa: PLC0415  # see the module's caption

    return _run(exploration.replay(bundle, argv=tuple(sys.argv[1:]), **asked), as_json=as_json)


def _run(request: Request, *, as_json: bool, crowd: Crowd | None = None, quiet: bool = False) -> int:
    from contend import screen  # noqa: PLC0415  # see the module's caption
    from contend.campaign import execute  # noqa: PLC0415  # as above

    console = screen.console(stderr=as_json or quiet)
    watcher = screen.LiveWatcher(console) if console.is_terminal else screen.PlainWatcher(console)
    try:
        campaign, bundle, verdict = execute(request, watcher, crowd)
    finally:
        if isinstance(watcher, screen.LiveWatcher):
            watcher.stop()
    document = campaign.document(bundle)
    if as_json:
        _print_json(document)
    for result in (result for result in campaign.results if result.case.role == "subject"):
        for shown in screen.schedule_lines(result.document):
            console.print(shown, soft_wrap=isinstance(shown, str), markup=False, highlight=False)
    for line in screen.last_lines(campaign, document):
        console.print(line, soft_wrap=True)
    return EXIT_STATUS[verdict]


def _print_json(document: object) -> None:
    text = json.dumps(document, indent=1, ensure_ascii=False, default=str)
    click.echo(text.encode("utf-8", "backslashreplace").decode("utf-8"))  # half a character becomes its JSON escape


@cli.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--sql",
    "extra",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Your own invariants: a .sql file or a folder of them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def check(*, bundle: Path, extra: tuple[Path, ...], as_json: bool) -> int:
    """Judge a saved history again. Needs no database and writes nothing into the bundle."""
    from contend import screen  # noqa: PLC0415  # see the module's caption
    from contend.campaign import recheck  # noqa: PLC0415  # as above
    from harness.bundle import Bundle  # noqa: PLC0415  # as above
    from harness.verdict import merge  # noqa: PLC0415  # as above

    console = screen.console(stderr=as_json)
    opened = Bundle.open(bundle)
    judged = []
    for result in recheck(opened, extra):
        judged.append(result)
        console.print(screen.result_line(result), soft_wrap=True)
    results = [result for result in judged if not result.case.twin]
    verdicts: list[Verdict] = [result.verdict for result in results]
    if not opened.about.get("finished"):
        verdicts.append("inconclusive")
        console.print("The run of this bundle was not finished, so it can be inconclusive at best.", soft_wrap=True)
    verdict = merge(verdicts)
    if as_json:
        _print_json(
            {
                "schema": 1,
                "verdict": verdict,
                "bundle": str(opened.folder),
                "report": str(opened.folder / "report.html"),
                "results": [result.document for result in results],
                "controls": [result.document for result in judged if result.case.twin],
            }
        )
    claims = sum(result.document["coverage"].get("claims", 0) for result in results)
    console.print(f"{verdict.upper()}: {len(judged)} saved results judged again, {claims:,} claims.", soft_wrap=True)
    return EXIT_STATUS[verdict]


@cli.command()
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="BUNDLE...")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Where the page goes. [default: report.html in the bundle, comparison.html in the second of two, history.html in the folder]",
)
def report(bundles: tuple[Path, ...], out: Path | None) -> int:
    """Write a page of what was saved: one HTML file that needs no network.

    One BUNDLE gives its report. Two are compared: verdicts, counts and ratios that changed. A folder of bundles, or three and more,
    gives their history over time.
    """
    from harness.bundle import Bundle  # noqa: PLC0415  # see the module's caption
    from reports import difference, history, page  # noqa: PLC0415  # as above

    first = bundles[0]
    if len(bundles) == 1 and not (first / "bundle.json").is_file() and history.bundles_in(first):
        written = history.write_history(first, out)
    else:
        folders = [Bundle.open(bundle).folder for bundle in bundles]
        if len(folders) == 1:
            written = page.write_page(folders[0], out)
        elif len(folders) == 2:
            written = difference.write_difference(folders[0], folders[1], out)
        else:
            written = history.write_runs(folders, out)
    click.echo(str(written))
    return 0


@cli.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--result", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Which result.")
@click.option(
    "--format", "form", type=click.Choice(("edn", "json")), required=True, help="As Jepsen has it, or all tables."
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Where it goes. [default: stdout]")
def export(*, bundle: Path, result: int, form: Form, out: Path | None) -> int:
    """Write the history of one result out for other tools, with nothing left out.

    edn: a map a line for each invocation and completion, for Jepsen's checkers. json: one document with the operations and their handles,
    the statements, processes, acquisitions and the context.
    """
    from reports import export as exports  # noqa: PLC0415  # see the module's caption

    if out is None:
        exports.pour(bundle, result, form, sys.stdout.buffer)
    else:
        name, count = exports.write(bundle, result, form, out)
        click.echo(f"{out}: {count:,} operations of {name}.")
    return 0


BASELINE = Path("reports/baseline.json")


@cli.command()
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="BUNDLE...")
@click.option(
    "--out", type=click.Path(path_type=Path), default=BASELINE, show_default=True, help="The file your team commits."
)
def baseline(bundles: tuple[Path, ...], out: Path) -> int:
    """Write what later runs are held to: verdicts, coverage, counts and ratios of a bundle; never bare times.

    Of several bundles of the same run, what all of them show: a count that differs between them is unstable and binds nobody.
    """
    from reports import saved  # noqa: PLC0415  # see the module's caption
    from reports.gating import baseline as baselines  # noqa: PLC0415  # as above
    from reports.gating.escaping import plain  # noqa: PLC0415  # as above

    made = baselines.made_of([saved.load(bundle) for bundle in bundles])
    baselines.save(made, out)
    counts = [count for entry in made.entries.values() for count in entry.counts.values()]
    unstable = sum(count.value is None for count in counts)
    click.echo(
        f"{out}: {len(made.entries)} results, {len(counts) - unstable} counts"
        f"{f' ({unstable} more vary and bind nobody)' if unstable else ''}. Commit it."
    )
    if borne := made.borne:
        names = ", ".join(plain(str(key)) for key in borne[:5])
        more = ", …" if len(borne) > 5 else ""
        click.echo(f"Not as they should be, which the gate will bear from now on: {len(borne)} ({names}{more}).")
    return 0


@cli.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--baseline",
    "held_to",
    type=click.Path(path_type=Path),
    default=BASELINE,
    show_default=True,
    help="What `contend baseline` wrote.",
)
@click.option("--times", type=click.Path(path_type=Path), help="A comparison of times of base and head, as JSON.")
@click.option("--junit", type=click.Path(path_type=Path), help="Write JUnit XML here.")
@click.option(
    "--summary",
    type=click.Path(path_type=Path),
    help="Write a Markdown summary here. On GitHub it goes to the step's summary as well.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, all else on stderr.")
@click.option(
    "--strict", is_flag=True, help="What is inconclusive in a soft tier makes the gate inconclusive (exit 2)."
)
def gate(
    *,
    bundle: Path,
    held_to: Path,
    times: Path | None,
    junit: Path | None,
    summary: Path | None,
    as_json: bool,
    strict: bool,
) -> int:
    """Hold a bundle against a committed baseline: correctness, counts and ratios hard, times soft.

    Exit status: 0 pass, 1 fail, 2 inconclusive.
    """
    from reports import saved  # noqa: PLC0415  # see the module's caption
    from reports.gating import baseline as baselines  # noqa: PLC0415  # as above
    from reports.gating import junit as xml  # noqa: PLC0415  # as above
    from reports.gating import summary as markdown  # noqa: PLC0415  # as above
    from reports.gating import tiers, told  # noqa: PLC0415  # as above
    from reports.gating import times as timed  # noqa: PLC0415  # as above

    before = baselines.load(held_to)
    compared = None if times is None else timed.load(times)
    judged = tiers.judge(before, saved.load(bundle), compared, strict=strict)
    for line in told.lines(judged, bundle, held_to):
        click.echo(line, err=as_json)
    if as_json:
        _print_json(told.document(judged, bundle, held_to))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for command in markdown.workflow_commands(judged):
            click.echo(command, err=as_json)
        if step := os.environ.get("GITHUB_STEP_SUMMARY"):
            _write(Path(step), markdown.summary(judged, bundle, held_to) + "\n", "GITHUB_STEP_SUMMARY", mode="a")
    if junit is not None:
        _write(junit, '<?xml version="1.0" encoding="UTF-8"?>\n' + xml.junit(judged), "--junit")
    if summary is not None:
        _write(summary, markdown.summary(judged, bundle, held_to), "--summary")
    return EXIT_STATUS[judged.verdict]


def _write(path: Path, text: str, named: str, mode: str = "w") -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise OutputUnwritable(
            f"Cannot write {path}: {error.strerror}. The verdict stands above. Choose a file that can be written with {named}."
        ) from error


@cli.command()
@click.argument("base", metavar="BASE")
@click.argument("head", metavar="HEAD")
@click.option("--database", default="sqlite", show_default=True, metavar="D", help="As for run; one.")
@click.option("--operation", default="claim", show_default=True, help="What is timed: claim, complete or enqueue.")
@click.option("--batch", type=_whole("batch"), default=10, show_default=True, help="Jobs in one operation.")
@click.option(
    "--pairs",
    type=click.IntRange(4, 200),
    default=18,
    show_default=True,
    help="Pairs of blocks; fewer than 16 are a reason for doubt.",
)
@click.option(
    "--block",
    "block_seconds",
    type=click.FloatRange(0.01, 10),
    default=0.2,
    show_default=True,
    metavar="SECONDS",
    help="How long a block is to take.",
)
@click.option("--seed", type=click.IntRange(0), help="Seed of order and interval. [default: a new one, recorded]")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Write the JSON document here, too.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout; everything else goes to stderr."
)
def compare(*, as_json: bool, out: Path | None, **asked: Any) -> int:
    """Time the system HEAD beside the system BASE, in turns, with BASE once more as a control.

    Both are named as for run --system; BASE may be a file of another checkout. The exit status is 0 where it was measured, slower or not
    (a gate judges that), and 2 where nothing can be said.
    """
    from contend import screen  # noqa: PLC0415  # see the module's caption
    from contend.comparison import Wanted  # noqa: PLC0415  # as above
    from contend.comparison import compare as time_both  # noqa: PLC0415  # as above
    from harness.bundle import save_json, writing  # noqa: PLC0415  # as above

    console = screen.console(stderr=as_json)
    if out is not None:
        with writing(out):  # said before a minute of measuring, not after
            out.parent.mkdir(parents=True, exist_ok=True)
            if out.is_dir():
                raise OutputUnwritable(f"--out {out} is a folder. Give the file that the JSON document goes into.")
    document = time_both(Wanted(**asked), watch=lambda line: screen.whisper(console, line))
    if out is not None:
        save_json(out, document)
    if as_json:
        _print_json(document)
    for comparison in document["comparisons"]:
        for line in screen.comparison_lines(comparison):
            console.print(line, soft_wrap=True)
    inconclusive = any(comparison["verdict"] == "inconclusive" for comparison in document["comparisons"])
    return EXIT_STATUS["inconclusive"] if inconclusive else 0


@cli.command("list")
@click.argument("what", default="all", metavar="[scenarios|systems|invariants|defects|faults]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def list_(*, what: str, as_json: bool) -> int:
    """List the scenarios, systems, invariants, defects and faults there are."""
    from contend import listing  # noqa: PLC0415  # see the module's caption

    if what != "all" and what not in listing.TABLES:
        raise UnknownName("list", what, list(listing.TABLES))
    tables = {name: rows() for name, rows in listing.TABLES.items() if what in ("all", name)}
    if as_json:
        _print_json(tables if what == "all" else tables[what])
    else:
        click.echo("\n\n".join(listing.as_text(name, rows) for name, rows in tables.items()))
    return 0


@cli.command()
@click.option("--system", metavar="S", help="A system as for `contend run`, which is asked for one of everything.")
@click.option(
    "--database", "databases", multiple=True, metavar="D", help="Where it is asked. [default: both embedded ones]"
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def doctor(*, system: str | None, databases: tuple[str, ...], as_json: bool) -> int:
    """Check that everything a run needs is here: SQLite, Postgres, a folder to write, processes.

    With --system: that the system starts and answers everything as it must, asked once each, alone, on an empty database. Exit status 1:
    an answer is wrong.
    """
    from contend import doctor as doctors  # noqa: PLC0415  # see the module's caption

    if databases and system is None:
        raise click.UsageError("--database says where a system is asked: name one with --system.")
    checks = doctors.examine() if system is None else doctors.consult(system, databases or ("sqlite", "postgres"))
    if as_json:
        fields = ["name", "ok", "found", "remedy", *(["database"] if system else [])]
        _print_json([{field: getattr(check, field) for field in fields} for check in checks])
    else:
        for c in checks:
            mark, width = {True: "ok ", False: "NO ", None: "-- "}[c.ok], 12 if system is None else 15
            database = f"{c.database:<9}" if c.database else ""
            click.echo(
                f"{mark} {database}{c.name:<{width}} {c.found}{f' {c.remedy}' if c.ok is False and c.remedy else ''}"
            )
    if all(c.ok is not False for c in checks):
        return 0
    return 2 if system is None else 1


class _Interrupted(KeyboardInterrupt):
    """A signal that ends a run.

    Not a plain KeyboardInterrupt: where that comes up in the middle of an `exec`, as at the definition of a dataclass, Python
    remembers it and ends itself by SIGINT at last, though it was dealt with (`unhandled_keyboard_interrupt` in its pythonrun.c).
    """


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end a run as Ctrl-C does: everything is cleared away. What is ignored, as below nohup, stays so."""

    def interrupt(_number: int, _frame: object) -> None:
        raise _Interrupted

    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {n: signal.signal(n, interrupt) for n in ends if signal.getsignal(n) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_command_line(arguments: Sequence[str], command: Callable[..., Any] = cli.main) -> int:
    """Run the command line and give its exit status; errors become one sentence on stderr."""
    try:
        with _signals():
            return int(command(list(arguments), prog_name="contend", standalone_mode=False) or 0)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f" See `{context.command_path} --help`." if context is not None else ""
        return _complain(error.format_message() + hint, WRONG_USAGE)
    except (KeyboardInterrupt, click.Abort):
        return _complain("Interrupted before a verdict; what was recorded is kept.", EXIT_STATUS["inconclusive"])
    except BrokenPipeError:
        with contextlib.suppress(OSError):  # whoever read our output is gone: nothing more can be said to them
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OWN_FAULT
    except ContendError as error:
        return _complain(str(error), error.exit_status)
    except OSError as error:
        remedy = "Free some space or choose another folder with --out."
        if error.errno in (errno.EMFILE, errno.ENFILE):
            remedy = "Let more files be open at once (ulimit -n)."
        return _complain(str(OutputUnwritable(f"{error}. {remedy}")), WRONG_USAGE)
    except Exception as error:  # noqa: BLE001  # the last resort: contend's own fault, said as such
        if is_of_database(error):
            return _complain(said_by_database(error), EXIT_STATUS["inconclusive"])
        return _complain(
            f"contend's own fault: {type(error).__name__}: {error}. Run again with --debug and report it.", OWN_FAULT
        )


def _complain(sentence: str, status: int) -> int:
    if _Debug.on:
        traceback.print_exc()
    click.echo(f"contend: {sentence}", err=True)
    return status
