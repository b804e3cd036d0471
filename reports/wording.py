"""Facts said in words: numbers, verdicts, coverage, and one sentence of contradiction for each finding.

Whatever came from a system under test passes through `quoted`; everything returned as `Markup` is already escaped.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Context
from string import Formatter
from typing import Final

from markupsafe import Markup

from reports.saved import Quantity, Result

LONGEST: Final = 300  # characters of one foreign text that are shown
_COVERED: Final[Mapping[str, tuple[str, str | None]]] = {  # what is counted → one, many where that is not one + s
    "workers": ("worker", None),
    "jobs": ("job", None),
    "claims": ("claim", None),
    "overlapping_claims": ("overlapping claim", None),
    "opens": ("opening", None),
    "scans": ("deep scan", None),
    "reports": ("change", None),
    "reads": ("read", None),
    "deletions": ("deletion", None),
    "submits": ("submit", None),
    "acquisitions": ("acquisition", None),
    "kills": ("kill", None),
    "faults": ("fault", None),
    "operations": ("operation", None),
    "statements": ("statement", None),
}
_DATABASES: Final = {
    "sqlite": "SQLite",
    "sqlite-rollback": "SQLite, rollback journal",
    "postgres": "Postgres",
    "postgres-repeatable-read": "Postgres, REPEATABLE READ",
    "postgres-serializable": "Postgres, SERIALIZABLE",
}


_SEMANTICS: Final = {
    "exactly-once-claim": "each job is claimed exactly once while its lease holds",
    "at-least-once": "each job is delivered at least once, so it may be handed out again at any time",
    "at-most-once": "each job is delivered at most once, so it may be lost with its worker",
}


def semantics(result: Result) -> str:
    """What a result's system promises, by which it was judged; empty where the result does not say."""
    return _SEMANTICS.get(result.semantics, "")


def plain(value: object, longest: int = LONGEST) -> str:
    """A foreign value as text that cannot disturb the text around it.

    Clipped to `longest` characters; control and formatting characters and lone surrogates are spelled out as ⟨U+202E⟩.
    """
    if isinstance(value, float):
        value = number(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    clipped = text if len(text) <= longest else text[:longest] + "…"
    return "".join(f"⟨U+{ord(c):04X}⟩" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in clipped)


def quoted(value: object, longest: int = LONGEST) -> Markup:
    """A foreign value for the page: escaped, isolated from the direction of the text around it, breakable anywhere."""
    return Markup("<bdi>{}</bdi>").format(plain(value, longest))


def listed(values: Sequence[object], most: int = 8) -> Markup:
    """Foreign values in a row, the first `most` of them."""
    more = len(values) - most
    shown = Markup(", ").join(quoted(value) for value in values[:most])
    return shown + (f" and {more:,} more" if more > 0 else "")


def number(value: float | None) -> str:
    """A number to three significant digits, whole ones in full, never in exponents; a dash for None."""
    if value is None:
        return "–"
    if value == int(value):
        return f"{int(value):,}"
    if abs(value) < 0.005:
        return f"{value:.4f}" if abs(value) >= 0.00005 else "0.00"
    rounded = float(f"{value:.3g}") if abs(value) < 1000 else round(value)
    places = min(2, max(0, 2 - math.floor(math.log10(abs(rounded)))))
    return f"{rounded:,.{places}f}"


def milliseconds(value: float) -> str:
    """A duration with its unit."""
    if abs(value) < 0.1:
        return f"{number(value * 1000)} µs"
    return f"{number(value)} ms" if abs(value) < 1000 else f"{number(value / 1000)} s"


def together(text: str) -> str:
    """A text in which no number is parted from its unit at the end of a line."""
    return re.sub(r"(?<=\d) (?=(?:ms|µs|s|%)(?!\w))", "\u00a0", text)


def amount(count: int, one: str, many: str | None = None) -> str:
    """A count with its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def amount_of(value: float, one: str) -> str:
    """A value that need not be whole, with its noun."""
    return f"{number(value)} {one if value == 1 else one + 's'}"


def quantity(measured: Quantity | None) -> str:
    """A measurement without its unit (tables say it once); a dash where there is none."""
    return number(measured.value if measured else None)


def database(name: str) -> str:
    """The name of an engine as its makers write it."""
    return _DATABASES.get(name, plain(name))


def strategy(system: str) -> str:
    """A built-in system by its strategy or defect alone."""
    return plain(system.removeprefix("reference:").removeprefix("defect:"))


def short(system: str) -> str:
    """A system's name, short enough to stand inside a plot."""
    name = strategy(system)
    return name if len(name) <= 28 else name[:27] + "…"


def verdict(result: Result) -> tuple[str, str, str]:
    """How a result is shown: its class in the style sheet, its symbol, its words."""
    if result.role == "control":
        return ("good", "✓", "caught, as it must be") if result.caught else ("bad", "✗", "not caught")
    return {"pass": ("good", "✓", "pass"), "fail": ("bad", "✗", "fail"), "inconclusive": ("open", "?", "inconclusive")}[
        result.verdict
    ]


def coverage(result: Result) -> str:
    """What a result covered, as a phrase; empty where it says nothing."""
    facts = {key: value for key, value in result.coverage.items() if key not in _OF_SCHEDULES}
    control = facts.pop("control", None)
    counted = {key: value for key, value in facts.items() if isinstance(value, int) and value}
    places = {key: place for place, key in enumerate(_COVERED)}
    said = [
        amount(counted[key], *_COVERED.get(key, (label(key).removesuffix("s"), None)))
        for key in sorted(counted, key=lambda key: places.get(key, len(places)))
    ]
    if isinstance(control, str):
        said.append(f"control {plain(control)}")
    return schedules_then(result.coverage, ", ".join(said))


_OF_SCHEDULES: Final = frozenset(
    {"crash_points", "schedules", "raced", "exhausted", "saved", "preemptions", "depth", "found_with", "programs"}
)


def schedules(coverage: Mapping[str, object]) -> str:
    """How many schedules were tried and of how many, by what a result covered: all there are, or within which bounds.

    Empty where none was explored. The terminal says the same.
    """
    tried, exhausted, saved, preemptions, depth, found_with, crashes = (
        value if isinstance(value := coverage.get(key), int | float) else None
        for key in ("schedules", "exhausted", "saved", "preemptions", "depth", "found_with", "crash_points")
    )
    if not isinstance(tried, int) or tried <= 0:
        return ""
    if isinstance(made_up := coverage.get("programs"), int) and made_up > 0:
        return f"{amount(made_up, 'program')} made up, each with a schedule"
    if isinstance(raced := coverage.get("raced"), int) and raced > 0:
        return f"{amount(raced, 'race')} of the same operations, in whatever order came"
    if exhausted:
        every = "the only schedule" if tried == 1 else f"all {tried:,} schedules"
        befell = f", with a crash at each of {amount(int(crashes), 'point')}" if crashes else ""
        return (
            every + befell + (f", which stand{'s' if tried == 1 else ''} for {number(tried + saved)}" if saved else "")
        )
    bounds = []
    if crashes:
        bounds.append(f"with a crash at {amount(int(crashes), 'point')}")
    if preemptions is not None:
        least = f"with at most {amount_of(preemptions, 'preemption')}" if preemptions else "without preemption"
        bounds.append(f"all {least}")
    if depth is not None and found_with is not None:
        bounds.append(
            f"what takes {number(depth)} steps in a certain order was found with probability ≥ {at_least(found_with)}"
        )
    return (
        amount(tried, "schedule")
        + (", not all" if exhausted is False else "")
        + (": " if bounds else "")
        + "; ".join(bounds)
    )


_CRASHES: Final = {
    "killed": "killed before it",
    "killed-after": "killed before it had the answer",
    "cut": "connection cut before it",
    "cut-after": "connection cut, the answer lost",
}


def crash_words(crash: str) -> str:
    """What befell a worker in a step of a schedule; empty where nothing did. The terminal says the same."""
    return _CRASHES.get(crash, crash)


def schedules_then(coverage: Mapping[str, object], rest: str) -> str:
    """How many schedules were tried, as `schedules` says it, and then what else is said of the same result."""
    tried = schedules(coverage)
    return f"{tried}; {rest}" if ", " in tried and rest else ", ".join(filter(None, (tried, rest)))


def at_least(probability: float) -> str:
    """A probability that bounds from below: to three digits, never rounded up, and never certainty."""
    bound = Context(prec=3, rounding=ROUND_DOWN).create_decimal(repr(min(probability, 0.999)))
    return f"{bound:f}"


_TELLING: Final = {  # scenario → the count that says how much was tried
    "claim-race": "claims",
    "claim-batch": "claims",
    "worker-guard": "opens",
    "progress-updates": "reads",
    "pool-pressure": "acquisitions",
    "bulk-delete": "deletions",
    "cleanup-churn": "deletions",
    "atomic-submit": "submits",
}


def tally(result: Result) -> str:
    """The one count of a result for a table: what was found, or else how much was tried; empty where nothing was counted."""
    broken = [j for j in result.judgements if j.violated]
    if result.verdict == "fail" and broken:
        worst = next((j for j in broken if j.invariant == result.expected), broken[0])
        return f"{worst.count:,} × {plain(worst.invariant)}"
    for key in ("schedules", _TELLING.get(result.scenario, "operations"), "operations"):
        counted = result.coverage.get(key)
        if isinstance(counted, int) and counted > 0:
            if key != "schedules":
                return amount(counted, *_COVERED[key])
            return amount(counted, "race" if result.coverage.get("raced") else "schedule")
    return ""


# --- sentences of contradiction ------------------------------------------------------------------------------------

Facts = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Told:
    """One violation in words: why it contradicts its invariant, and the facts the sentence did not use."""

    sentence: Markup
    rest: Mapping[str, Markup]


def tell(invariant: str, facts: Facts) -> Told:
    """Say in one sentence, from the facts of one violation, why it contradicts its invariant.

    An invariant without a sentence of its own (a user's), or without the facts it needs, is told by its facts.
    """
    known = {key: _fact(key, value) for key, value in facts.items() if value is not None and key != "operations"}
    choose = _SENTENCES.get(invariant)
    template = choose(facts) if choose else ""
    needed = {name for _, name, _, _ in Formatter().parse(template) if name}
    if template and needed <= known.keys():
        told_already = {*needed, "wrong"}  # a sentence was chosen by what is wrong
        rest = {key: value for key, value in known.items() if key not in told_already and facts[key] is not False}
        return Told(Markup(template).format(**{name: known[name] for name in needed}), rest)  # noqa: S704  # our own text
    told = [Markup("{} {}").format(quoted(label(key)), value) for key, value in known.items()]
    if numbers := operation_numbers(facts):
        told.append(Markup("operation{} {}").format("" if len(numbers) == 1 else "s", listed(numbers)))
    said = Markup(", ").join(told) or "no facts were kept"
    return Told(Markup("{} does not hold: {}.").format(quoted(invariant), said), {})


def operation_numbers(facts: Facts) -> tuple[int, ...]:
    """The operations a violation names, in the order it names them."""
    value = facts.get("operations")
    return tuple(n for n in value if isinstance(n, int)) if isinstance(value, list | tuple) else ()


def label(key: str) -> str:
    """The name of a fact or figure as words; `_ns` goes, as durations are shown with their unit."""
    return plain(key).removesuffix("_ns").replace("_", " ")


def _fact(key: str, value: object) -> Markup:
    if key.endswith("_ns") and isinstance(value, int | float):
        return Markup("{}").format(milliseconds(value / 1e6))
    if not key.endswith(("job", "token")) and isinstance(value, int) and not isinstance(value, bool):
        return Markup("{}").format(number(value))
    return quoted(value)


def _no_double_claim(facts: Facts) -> str:
    if len(operation_numbers(facts)) == 1:
        return "{holder} was handed job {job} more than once by a single claim."
    done = facts.get("finished_before") is True
    between = "though the job had been finished by then." if done else "and nothing had released the job in between."
    if facts.get("holder") == facts.get("taker"):
        return "{holder} was handed job {job} twice: its second claim completed {apart_ns} after the first, " + between
    return (
        "{holder} and {taker} were both handed job {job}: {taker}’s claim completed {apart_ns} after {holder}’s, "
        + between
    )


def _no_lost_job(facts: Facts) -> str:
    if facts.get("holder") is None:
        return "Job {job} was enqueued and never handed to anyone, though at the end the queue said it was empty."
    return (
        "Job {job} was handed to {holder} and then neither completed nor given back, "
        "though at the end the queue said it was empty."
    )


def _no_phantom_claim(facts: Facts) -> str:
    if facts.get("enqueued_as_job") is not None:
        return "{process} was handed job {job}, which nobody had enqueued; {enqueued_as_job} was, which is another id."
    if facts.get("enqueued_later") is True:
        return "{process} was handed job {job} before anybody had begun to enqueue it."
    return "{process} was handed job {job}, which nobody had enqueued."


def _batch_limit(facts: Facts) -> str:
    if facts.get("held") is not None:
        return "{process} was handed a job while, with it, {held} were in workers’ hands; {most_running} may be running at once."
    return "{process} asked for at most {requested} jobs and was handed {returned}."


def _claim_order(facts: Facts) -> str:
    if facts.get("wrong") == "the answer is out of order":
        return "{process} was handed job {job} before job {better_job} in one answer, though the latter comes first."
    if facts.get("priority") == facts.get("better_priority"):
        return "{process} was handed job {job} while job {better_job}, enqueued before it, was free."
    return "{process} was handed job {job}, of priority {priority}, while {better_job}, of {better_priority}, was free."


def _attempts_counted(facts: Facts) -> str:
    attempt, least, most = (facts.get(key) for key in ("attempt", "expected_at_least", "expected_at_most"))
    handed = "{process} was handed job {job} as attempt {attempt}, "
    if not (isinstance(attempt, int) and isinstance(least, int) and isinstance(most, int)):
        return ""
    if least <= attempt <= most and isinstance(facts.get("allowed"), int):
        return handed + "though it may have {allowed} at most."
    if least <= attempt <= most:
        return handed + "which another claim of the job had been given as well, or one after it."
    return handed + (
        "but it was attempt {expected_at_least}."
        if least == most
        else "but it was attempt {expected_at_least} to {expected_at_most}."
    )


def _witness_agrees(facts: Facts) -> str:
    if facts.get("kind") is None:
        return "The database saw {statements} statements of {process}, a process that took no part in the run."
    return (
        "{process} said that its {kind} had succeeded, "
        "but the database had seen {contradiction} that could have done it."
    )


def _write_budget(facts: Facts) -> str:
    if facts.get("jobs") == 1:
        return "{process} wrote {writes} times to tell the progress of one job, and 10 is the most that is allowed."
    return (
        "{process} wrote {writes} times to tell the progress of {jobs} jobs: "
        "{writes_per_job} a job, and 10 is the most that is allowed."
    )


def _progress_fresh(facts: Facts) -> str:
    shown = "nothing of job {job}" if facts.get("shown") is None else "job {job} at {shown}"
    return (
        "{process} was shown " + shown + " although {worker} had told {told}, {behind_ns} earlier; "
        "a change may take {allowed_ns} at most."
    )


def _progress_monotonic(facts: Facts) -> str:
    if facts.get("wrong") == "went back":
        return "{process} was shown job {job} at {after} after it had been shown at {before}: its progress went back."
    if facts.get("wrong") != "changed after its end":
        return ""
    before = "without progress" if facts.get("before") is None else "at {before}"
    return "Job {job} was finished and shown " + before + "; later {process} was shown it at {after}."


_ENDS: Final = {"complete": "completed it", "fail": "gave it back", "close": "closed the queue"}


def _progress_final(facts: Facts) -> str:
    end = _ENDS.get(str(facts.get("kind")))
    if end is None:
        return ""
    shown = "no progress" if facts.get("shown") is None else "{shown}"
    return (
        "{worker} told {told} of job {job} and then "
        + end
        + ", yet whoever read it after that was shown "
        + shown
        + "."
    )


def _pool_exhausted(facts: Facts) -> str:
    if facts.get("waited_ns") == 0:
        return "{process} asked a pool of {size} for a connection and was refused at once."
    return "{process} asked a pool of {size} for a connection, waited for {waited_ns} and was given none."


def _delete_exact(facts: Facts) -> str:
    return {
        "the count is wrong": (
            "{process} asked to delete {requested}, of which {expected} could be deleted; the answer was {deleted}."
        ),
        "it was refused": "{process} asked to delete {requested} and was refused: {error}.",
        "half of it was deleted": (
            "{process} was cut off while it deleted {requested}, and {deleted} of them are gone: neither all nor none."
        ),
        "nobody deleted it, and it is gone": "Job {job} is gone, and nobody had asked to delete it.",
        "it was deleted, and is still there": "Job {job} is still there, though it was said to be deleted.",
    }.get(str(facts.get("wrong")), "")


def _delete_one_transaction(facts: Facts) -> str:
    if facts.get("requested") == 0:
        return "{process} was given nothing to delete, and troubled the database or its pool all the same."
    many = [
        said
        for key, said in (
            ("transactions", "{transactions} transactions"),
            ("acquisitions", "{acquisitions} connections of the pool"),
        )
        if isinstance(number := facts.get(key), int) and number > 1
    ]
    what = "{process}’s {kind}" if facts.get("deleted") is None else "{process}’s {kind} of {deleted}"
    instead = " instead of one." if len(many) == 1 else " instead of one of each."
    return what + " took " + " and ".join(many) + instead if many else ""


def _delete_spares_running(facts: Facts) -> str:
    if facts.get("wrong") == "complete was refused":
        return (
            "{process} held job {job} and could not complete it, though nobody else had been handed it: "
            "something that deletes was at work meanwhile."
        )
    return "{process} held job {job}, but {reader} was shown a status without it meanwhile."


def _submit_atomic(facts: Facts) -> str:
    return {
        "its jobs were listed without it": "{process} was shown jobs of run {run}, but not the run.",
        "it had some of its jobs only": "{process} was shown run {run} with {jobs} jobs; it was submitted with {submitted}.",
        "it was not there": "{process} was told that there is no run {run}, though it had been submitted by then.",
    }.get(str(facts.get("wrong")), "")


def _reads_answered(facts: Facts) -> str:
    message = "" if facts.get("error_message") is None else ": {error_message}"
    return "{process}’s {kind} got no answer, but {error_class}" + message + "."


# Each gives the sentence of an invariant; what is in braces are facts its query returns (harness/invariants/*.sql).
_SENTENCES: Final[Mapping[str, Callable[[Facts], str]]] = {
    "no-double-claim": _no_double_claim,
    "no-lost-job": _no_lost_job,
    "no-phantom-claim": _no_phantom_claim,
    "batch-limit": _batch_limit,
    "no-false-empty": lambda _: (
        "{process} was told that the queue is empty while job {job} was free; it had been waiting for {waiting_ns}."
    ),
    "claim-order": _claim_order,
    "single-owner": lambda _: (
        "{taker} was handed job {job} although {owner} owned it: the lease had {left_ns} to run, and nobody had ended it."
    ),
    "terminal-once": lambda _: (
        "Job {job} was completed by {earlier_process} and, {apart_ns} later, by {process}, and both were accepted."
    ),
    "attempts-counted": _attempts_counted,
    "fenced-completion": lambda _: (
        "{process}’s completion of job {job} was accepted although {later_process} had been handed the job since."
    ),
    "no-swallowed-error": lambda _: (
        "{process}’s {kind} said ok although the last word of the database in it was {error_code}, on {statement}."
    ),
    "lock-errors": lambda _: (
        "{process}’s {kind} ended with {error_code}, one of {errors} such errors; {claims_with_jobs} claims got jobs."
    ),
    "every-worker-served": lambda _: "{process} got none of the {jobs_of_all} jobs that were handed out.",
    "statement-budget": lambda _: (
        "Each further job in a batch adds {statements_per_job} to its statements: about 1 is N+1, about 0 is batched."
    ),
    "witness-agrees": _witness_agrees,
    "write-budget": _write_budget,
    "progress-fresh": _progress_fresh,
    "progress-monotonic": _progress_monotonic,
    "progress-final": _progress_final,
    "pool-exhausted": _pool_exhausted,
    "delete-exact": _delete_exact,
    "delete-one-transaction": _delete_one_transaction,
    "delete-spares-running": _delete_spares_running,
    "submit-atomic": _submit_atomic,
    "reads-answered": _reads_answered,
    "guard-released": lambda _: (
        "{process} was refused {after_death_ns} after the last holder of the file had died, and nobody was admitted since."
    ),
    "worker-guard": lambda _: (
        "{process} and {other_process} were both admitted to a single-worker file, for {together_ns} at the same time."
    ),
}
