"""The gate's judgement: a bundle against a baseline, tier by tier.

    correctness  hard   a verdict that is worse, a result that is missing, coverage that shrank
    counts       hard   a count that was steady is larger, both times it was counted; no tolerance
    ratios       hard   the whole interval is worse than the baseline's by the ratio's factor
    times        soft   warns beyond 10 %; fails beyond 25 %, whole interval, and again when repeated

What could not be told in a hard tier makes the gate inconclusive; in a soft one it is a doubt, which counts only with `strict`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from harness.verdict import Verdict
from reports.gating.baseline import Baseline, Count, Entry, Key, Ratio, entry_of, keyed, same_machine, steady
from reports.gating.times import Comparison, Times
from reports.saved import Result, Run

Tier = Literal["correctness", "counts", "ratios", "times"]
Level = Literal["fail", "inconclusive", "doubt", "warning", "better", "note"]
LEVELS: Final[tuple[Level, ...]] = ("fail", "inconclusive", "doubt", "warning", "better", "note")
WARN_BEYOND: Final = 1.10
FAIL_BEYOND: Final = 1.25
_RANK: Final[Mapping[str, int]] = {"pass": 0, "inconclusive": 1, "fail": 2}
_RENEW: Final = "If that is meant, make a new baseline."


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing worth a line: what happened, what was expected, what to do. Texts may hold what a system said, unescaped."""

    tier: Tier
    level: Level
    about: str
    happened: str
    expected: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was compared, and the reasons it gave; none where it is as it was. `skipped` says why it was not compared."""

    tier: Tier
    about: str
    reasons: tuple[Reason, ...] = ()
    skipped: str = ""


@dataclass(frozen=True, slots=True)
class Gate:
    """What the gate says. `machine` is a sentence where the bundle is of another machine, else empty."""

    verdict: Verdict
    checks: tuple[Check, ...]
    machine: str
    strict: bool

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """All reasons, the worst first, in the order they were found."""
        found = [reason for check in self.checks for reason in check.reasons]
        return tuple(sorted(found, key=lambda reason: LEVELS.index(reason.level)))

    def blocks(self, reason: Reason) -> bool:
        """Whether this reason keeps the gate from passing."""
        return reason.level in ("fail", "inconclusive") or (self.strict and reason.level == "doubt")

    @property
    def tightens(self) -> bool:
        """Whether the gate passes and a new baseline would ask for more than this one."""
        return self.verdict == "pass" and any(reason.level == "better" for reason in self.reasons)


def judge(baseline: Baseline, run: Run, times: Times | None = None, *, strict: bool = False) -> Gate:
    """Hold a run, and what was timed beside it, against a baseline."""
    alike = same_machine(baseline.machine, run.machine)
    results = keyed(run)
    checks: list[Check] = []
    if not run.finished:
        checks.append(_unfinished(baseline, run, results))
    else:
        checks += _missing(baseline, run, results)
    for key, result in results.items():
        name, now = str(key), entry_of(result)
        if key not in baseline.entries:
            checks.append(Check("correctness", name, tuple(_new(name, result, now))))
            continue
        was = baseline.entries[key]
        checks.append(
            Check("correctness", name, (*_verdict(name, result, was, now), *_coverage(name, result, was, now)))
        )
        if was.role == "control":
            continue  # its counts and ratios bind nobody
        if was.load.batch != now.load.batch or was.load.options != now.load.options:
            checks.append(Check("counts", name, (_other_load(name, was, now),)))
            continue
        checks.append(Check("counts", name, tuple(_counts(name, result, was, now))))
        checks += [_ratio(f"{name}, {what}", ratio, now, what, alike=alike) for what, ratio in was.ratios.items()]
    if times is not None:
        sure = alike or (bool(times.machine) and same_machine(times.machine, run.machine))
        checks += [_time(comparison, sure=sure) for comparison in times.comparisons] or [_nothing_timed()]
    reasons = [reason for check in checks for reason in check.reasons]
    verdict: Verdict = "pass"
    if any(reason.level == "fail" for reason in reasons):
        verdict = "fail"
    elif any(reason.level == "inconclusive" or (strict and reason.level == "doubt") for reason in reasons):
        verdict = "inconclusive"
    return Gate(verdict, tuple(checks), "" if alike else _other_machine(baseline.machine, run.machine), strict)


# --- correctness -------------------------------------------------------------------------------------------------------


def _unfinished(baseline: Baseline, run: Run, results: Mapping[Key, Result]) -> Check:
    lacking = len(baseline.entries.keys() - results.keys())
    why = f": {run.stopped.rstrip('.')}" if run.stopped else ", or is still going on"
    reason = Reason(
        "correctness",
        "inconclusive",
        "the run",
        f"It was not finished{why}; {lacking} of the baseline's {len(baseline.entries)} results are not there",
        "a finished bundle",
        "Wait for its end or run it again, then gate again.",
    )
    return Check("correctness", "the run", (reason,))


def _missing(baseline: Baseline, run: Run, results: Mapping[Key, Result]) -> Iterator[Check]:
    """One check for a whole database or scenario that is gone, else one for each result."""
    gone = [key for key in baseline.entries if key not in results]
    for part, kind in (("database", "Nothing was run on the database"), ("scenario", "The scenario was not run")):
        for name in sorted({getattr(key, part) for key in gone}):
            if not any(getattr(key, part) == name for key in results):
                lost = [key for key in gone if getattr(key, part) == name]
                gone = [key for key in gone if key not in lost]
                yield _lost(
                    str(name), kind, f"{len(lost)} {'results' if len(lost) > 1 else 'result'}, as in the baseline"
                )
    for key in gone:
        skipped = (s.reason for s in run.not_applicable if (s.scenario, s.system, s.database) == key[:3])
        why = next(skipped, "")
        yield _lost(
            str(key), f"It was not run{f' ({why})' if why else ''}", f"a result, {baseline.entries[key].verdict}"
        )


def _lost(about: str, happened: str, expected: str) -> Check:
    remedy = f"Run it as the baseline did. {_RENEW}"
    return Check("correctness", about, (Reason("correctness", "fail", about, happened, expected, remedy),))


def _new(name: str, result: Result, now: Entry) -> Iterator[Reason]:
    if now.role == "control" and not now.caught:
        yield _not_caught(name, result, "caught; it is not in the baseline")
    elif now.role == "subject" and now.verdict != "pass":
        level: Level = "fail" if now.verdict == "fail" else "inconclusive"
        yield Reason("correctness", level, name, _said(result), "pass; it is not in the baseline", _again(result))
    else:
        yield Reason("correctness", "better", name, "It is new, and as it should be", "", "")


def _verdict(name: str, result: Result, was: Entry, now: Entry) -> Iterator[Reason]:
    if was.role == "control":
        if was.caught and not now.caught:
            yield _not_caught(name, result, "caught, as in the baseline")
        elif now.caught and not was.caught:
            yield Reason("correctness", "better", name, "It is caught now", "not caught")
        return
    if _RANK[now.verdict] > _RANK[was.verdict]:
        level: Level = "fail" if now.verdict == "fail" else "inconclusive"
        yield Reason("correctness", level, name, _said(result), f"{was.verdict}, as in the baseline", _again(result))
    elif _RANK[now.verdict] < _RANK[was.verdict]:
        yield Reason("correctness", "better", name, f"It is {now.verdict} now", was.verdict)
    elif new := [each for each in now.broken if each not in was.broken]:
        yield Reason(
            "correctness",
            "fail",
            name,
            f"It fails by {', '.join(new)} as well",
            f"to fail by {', '.join(was.broken) or 'nothing'} only, as in the baseline",
            _again(result),
        )


def _not_caught(name: str, result: Result, expected: str) -> Reason:
    happened = (
        f"The known-wrong system was not caught{f' by {result.expected}' if result.expected else ''} ({result.verdict})"
    )
    return Reason(
        "correctness",
        "inconclusive",
        name,
        happened,
        expected,
        f"Was the invariant or the provocation weakened? Else raise --workers or --jobs. {_again(result)}",
    )


def _coverage(name: str, result: Result, was: Entry, now: Entry) -> Iterator[Reason]:
    """Say what is no longer covered. Where the result itself is inconclusive, so is what it did not get to."""
    level: Level = "inconclusive" if now.verdict == "inconclusive" else "fail"

    def shrank(happened: str, expected: str, remedy: str = "") -> Reason:
        return Reason("correctness", level, name, happened, expected, f"{_RENEW} {remedy}".strip())

    for setting in ("workers", "jobs"):
        asked, floor = getattr(now.load, setting), getattr(was.load, setting)
        if asked is not None and floor is not None and asked < floor:
            yield shrank(f"It was run with {asked:,} {setting}", f"{floor:,} or more", f"Run with --{setting} {floor}.")
    if now.coverage.workers < was.coverage.workers and now.load.workers == was.load.workers:
        yield shrank(f"Workers taking part: {now.coverage.workers}", f"{was.coverage.workers} or more", _again(result))
    if lost := _less(was.coverage.had, now.coverage.had):
        yield shrank(f"There were no {', '.join(lost)}", "some, as in the baseline", _again(result))
    troubled = [j.invariant for j in result.judgements if j.state in ("undecidable", "crashed")]  # the verdict says so
    for invariant in _less(was.coverage.judged, (*now.coverage.judged, *troubled)):
        why = next((j.reason for j in result.judgements if j.invariant == invariant), "it is not among the invariants")
        yield shrank(f"The invariant {invariant} was not judged: {why}", "judged, as in the baseline")
    sought = {e.name for e in result.evidence}  # what was sought and not seen makes the verdict inconclusive
    for evidence in _less(was.coverage.evidence, tuple(sought)):
        if evidence != "control-caught" or now.verdict == "pass":  # a control is asked only where a pass depends on it
            yield shrank(f"The evidence {evidence} was not looked for", "seen, as in the baseline")
    if was.coverage.exhausted and not now.coverage.exhausted:
        yield shrank("Not all schedules were explored", "all of them, as in the baseline", "Raise --budget.")
    explored = result.coverage.get("schedules")
    explored = explored if isinstance(explored, int) else 0
    if explored < was.coverage.schedules and not now.coverage.exhausted:
        yield shrank(f"Schedules explored: {explored:,}", f"{was.coverage.schedules:,} or more", "Raise --budget.")


def _less(were: Sequence[str], are: Sequence[str]) -> list[str]:
    return [name for name in were if name not in are]


def _said(result: Result) -> str:
    return f"{result.verdict}: {'; '.join(result.reasons[:3]) or 'no reason given'}"


def _again(result: Result) -> str:
    again = result.commands.get("again")
    return f"See it again: {again}" if again else "Run it again."


# --- counts ------------------------------------------------------------------------------------------------------------


def _other_load(name: str, was: Entry, now: Entry) -> Reason:
    return Reason(
        "counts",
        "inconclusive",
        name,
        f"It was run with --batch {now.load.batch} and options {dict(now.load.options)}, so counts and ratios say nothing",
        f"--batch {was.load.batch} and options {dict(was.load.options)}",
        f"Run it as the baseline did. {_RENEW}",
    )


def _counts(name: str, result: Result, was: Entry, now: Entry) -> Iterator[Reason]:
    steady_then = {what: count for what, count in was.counts.items() if count.value is not None}
    if result.counted is None and steady_then:
        yield Reason(
            "counts", "inconclusive", name, "It was made by a contend that counts nothing twice",
            "counts, as in the baseline", "Run it again with this contend.",
        )  # fmt: skip  # what happened, what was expected, what to do
        return
    counted = {each.name: each for each in result.counted or ()}
    for what, count in steady_then.items():
        found = counted.get(what)
        if found is None:
            level: Level = "inconclusive" if now.verdict == "inconclusive" else "fail"
            yield Reason("counts", level, name, f"{_words(what)} was not counted", _amount(count), _again(result))
            continue
        twice = (found.first, found.first if found.second is None else found.second)
        if count.value is not None and min(twice) > count.value:
            shown = f"{twice[0]:g}" if twice[0] == twice[1] else f"{twice[0]:g} and {twice[1]:g}"
            yield Reason(
                "counts", "fail", name, f"{_words(what)}: {shown}", _amount(count), f"{_RENEW} {_again(result)}"
            )
        elif steady(found) is None:
            yield Reason(
                "counts", "doubt", name, f"{_words(what)} is unstable: counted {twice[0]:g}, then {twice[1]:g}",
                _amount(count), f"What changes from one claim to the next? {_again(result)}",
            )  # fmt: skip  # as above
        elif count.value is not None and found.first < count.value:
            yield Reason("counts", "better", name, f"{_words(what)}: {found.first:g}", _amount(count))


def _words(what: str) -> str:
    return what.replace("_per_", " a ").replace("_", " ")


def _amount(count: Count) -> str:
    return f"{count.value:g}"


# --- ratios ------------------------------------------------------------------------------------------------------------


def _ratio(about: str, was: Ratio, entry: Entry, what: str, *, alike: bool) -> Check:
    if not was.portable and not alike:
        return Check("ratios", about, skipped="It depends on the machine, and the baseline is of another one.")
    now = entry.ratios.get(what)
    if now is None:
        level: Level = "inconclusive" if entry.verdict == "inconclusive" else "fail"
        reason = Reason(
            "ratios", level, about, "It was not measured", _interval(was), f"Run it as the baseline did. {_RENEW}"
        )
        return Check("ratios", about, (reason,))
    if now.high * was.factor < was.low:
        expected = f"{_interval(was)}; less by a factor of {was.factor:g}, interval against interval, is a regression"
        return Check("ratios", about, (Reason("ratios", "fail", about, _interval(now), expected, _RENEW),))
    if now.low > was.high * was.factor:
        return Check("ratios", about, (Reason("ratios", "better", about, _interval(now), _interval(was)),))
    return Check("ratios", about)


def _interval(ratio: Ratio) -> str:
    return f"{ratio.median:.3g} [{ratio.low:.3g}, {ratio.high:.3g}]"


# --- times -------------------------------------------------------------------------------------------------------------


def _nothing_timed() -> Check:
    reason = Reason("times", "doubt", "times", "The comparison of times holds nothing", "at least one comparison")
    return Check("times", "times", (reason,))


def _time(comparison: Comparison, *, sure: bool) -> Check:
    about = comparison.name
    if not sure:
        why = (
            "It was not compared: the bundle is of another machine than the baseline, and the times do not say of which"
        )
        reason = Reason("times", "doubt", about, why, "times of this machine", "Measure base and head in this job.")
        return Check("times", about, (reason,), skipped=why)
    if reason_ := _slower(comparison):
        return Check("times", about, (reason_,))
    return Check("times", about)


def _slower(it: Comparison) -> Reason | None:
    if it.verdict == "inconclusive" or it.ratio is None or it.low is None:
        return Reason(
            "times", "doubt", it.name, f"inconclusive: {it.words}", "a time that can be compared",
            "Measure again on a quieter machine, or with more pairs.",
        )  # fmt: skip  # what happened, what was expected, what to do
    if it.low > FAIL_BEYOND:
        again = it.repeated
        if again is not None and again.low is not None and again.low > FAIL_BEYOND:
            expected = f"an interval that reaches below {FAIL_BEYOND:g} in one of two measurements"
            return Reason(
                "times", "fail", it.name, f"{it.words}; again {again.words}", expected, "Find what became slower."
            )
        why = "it was not repeated" if again is None else f"not again: {again.words}"
        return Reason("times", "warning", it.name, f"{it.words}; {why}", f"at most {WARN_BEYOND:g} times as long")
    if it.ratio > WARN_BEYOND and it.low > 1:
        return Reason("times", "warning", it.name, it.words, f"at most {WARN_BEYOND:g} times as long")
    if it.verdict == "faster":
        return Reason("times", "note", it.name, it.words)
    return None


def _other_machine(baseline: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    return (
        f"The bundle was made on another machine ({_described(run)}) than the baseline ({_described(baseline)}): "
        "verdicts, counts and the ratios that cancel the machine are compared, times are not."
    )


def _described(machine: Mapping[str, Any]) -> str:
    parts = [str(machine.get("cpu") or "unknown")]
    if machine.get("cores"):
        parts.append(f"{machine['cores']} cores")
    if machine.get("memory_gib"):
        parts.append(f"{machine['memory_gib']} GiB")
    return ", ".join(parts)
