"""Two runs side by side: verdicts, counts and ratios that changed. Times only where both say the same of their machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from harness.measurement import Ratio
from reports import cases, rendering, wording
from reports.cases import COUNTED, Case, by_case, same_machine
from reports.comparison import value
from reports.saved import Result, Run, load

SLACK: Final = 0.10  # a count of a race depends on its schedule; a smaller change of one is not told
MOST_ROWS: Final = 200  # of one table
_TIMED: Final = ("claims_per_second", "claim_ms_p50", "claim_ms_p99", "staleness_ms_p99", "reader_ms_p99")
_SIZED: Final = ("statements", "transactions", "round_trips", "acquisitions")
Direction = Literal["worse", "better", "other"]


@dataclass(frozen=True, slots=True)
class Turned:
    """A case whose result changed, appeared or went; `why` names what broke or ceased to break."""

    case: Case
    before: Result | None
    after: Result | None
    direction: Direction
    why: str


@dataclass(frozen=True, slots=True)
class Moved:
    """A figure of a case before and after, as text; `exact` counts do not depend on chance. `change` is after in before's terms."""

    case: Case
    after: Result
    figure: str
    texts: tuple[str, str]
    change: str
    direction: Direction
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Difference:
    """What is different between two runs. `alike` cases kept their standing; `equal` counts are the same; `times` may be empty."""

    before: Run
    after: Run
    turned: tuple[Turned, ...]
    alike: int
    counts: tuple[Moved, ...]
    equal: int
    ratios: tuple[Moved, ...]
    steady: int
    times: tuple[Moved, ...]
    conditions: tuple[tuple[str, str, str], ...]
    timeless: str

    @property
    def worse(self) -> int:
        """How many verdicts and exact counts changed for the worse: what no chance and no other machine explains."""
        turned = sum(each.direction == "worse" for each in self.turned)
        return turned + sum(each.direction == "worse" and each.exact for each in self.counts)


def write_difference(before: Path, after: Path, out: Path | None = None) -> Path:
    """Write the page that compares two bundles to `out`, by default `comparison.html` in the folder of the second.

    The same bundles give the same bytes. Raises `BundleUnreadable` or `OutputUnwritable`.
    """
    found = compare(load(before), load(after))
    page = rendering.render("difference.html", found=found, hero=_hero(found), most=MOST_ROWS)
    return rendering.save(page, found.after.folder / "comparison.html" if out is None else out)


def compare(before: Run, after: Run) -> Difference:
    """Put the results of two runs side by side, case by case."""
    old, new = by_case(before), by_case(after)
    both = [(case, old[case], new[case]) for case in old if case in new]
    turned = [
        *(each for case, one, other in both if (each := _turned(case, one, other)) is not None),
        *(
            Turned(case, result, None, "other", "it is not there any more")
            for case, result in old.items()
            if case not in new
        ),
        *(
            Turned(case, None, result, "other", "it was not there before")
            for case, result in new.items()
            if case not in old
        ),
    ]
    order: Mapping[Direction, int] = {"worse": 0, "better": 1, "other": 2}
    counts = [each for case, one, other in both for each in _counts(case, one, other)]
    ratios = [each for case, one, other in both for each in _ratios(case, one, other)]
    timed = same_machine([before, after])
    return Difference(
        before,
        after,
        tuple(sorted(turned, key=lambda each: order[each.direction])),
        len(both) - sum(each.before is not None and each.after is not None for each in turned),
        tuple(
            sorted((each for each in counts if each.change), key=lambda each: (order[each.direction], not each.exact))
        ),
        sum(not each.change for each in counts),
        tuple(sorted((each for each in ratios if each.change), key=lambda each: order[each.direction])),
        sum(not each.change for each in ratios),
        tuple(each for case, one, other in both for each in _times(case, one, other)) if timed else (),
        (*_conditions(before, after), *_settings(both)),
        "" if timed else "Times are not compared: the runs were not made on the same machine, or do not say on which.",
    )


def _turned(case: Case, before: Result, after: Result) -> Turned | None:
    was, is_ = ({j.invariant for j in each.judgements if j.violated} for each in (before, after))
    step = cases.step(before, after)
    broke, mended = sorted(is_ - was), sorted(was - is_)
    if not step and not broke and not mended and before.role == after.role:
        return None
    said = [
        f"{'now broken' if names is broke else 'no longer broken'}: {', '.join(map(wording.plain, names))}"
        for names in (broke, mended)
        if names
    ]
    said += [wording.plain(reason) for reason in after.reasons[:1] if step > 0 and not broke]
    if before.role != after.role:
        said.append(f"it was a {before.role} and is a {after.role}")
    direction: Direction = (
        "worse" if step > 0 or (not step and broke and after.role == "subject") else "better" if step < 0 else "other"
    )
    return Turned(case, before, after, direction, "; ".join(said))


def _counts(case: Case, before: Result, after: Result) -> Iterator[Moved]:
    for name in COUNTED:
        was, is_ = value(before, name), value(after, name)
        if before.settings != after.settings and not name.endswith("_per_job"):
            continue  # other workers, jobs or batches are another race
        if was is not None and is_ is not None:
            exact = name.endswith("_per_job") and bool(before.counts) and bool(after.counts)
            slack = 0.005 if exact else SLACK * max(abs(was), abs(is_))
            yield _moved(case, after, wording.label(name), was, is_, slack=slack, exact=exact)
    sizes = {count.batch: count for count in before.counts}
    for count in after.counts:
        if count.batch in sizes:
            for name in _SIZED:
                was, is_ = getattr(sizes[count.batch], name), getattr(count, name)
                if was is not None and is_ is not None:
                    yield _moved(
                        case,
                        after,
                        f"{wording.label(name)} of a round of {count.batch:,}",
                        was,
                        is_,
                        slack=0,
                        exact=True,
                    )


def _moved(case: Case, after: Result, figure: str, was: float, is_: float, *, slack: float, exact: bool) -> Moved:
    """Of counts the smaller is the better. `change` is empty where the difference is within the slack."""
    change = "" if abs(is_ - was) <= slack else _factor(was, is_)
    return Moved(
        case,
        after,
        figure,
        (wording.number(was), wording.number(is_)),
        change,
        "worse" if is_ > was else "better",
        exact,
    )


def _factor(was: float, is_: float) -> str:
    if not was or not is_ or (was < 0) != (is_ < 0):
        return f"{'+' if is_ > was else '−'}{wording.number(abs(is_ - was))}"
    share = is_ / was
    if share >= 2:
        return f"× {wording.number(share)}"
    return f"{'+' if share > 1 else '−'}{wording.number(abs(share - 1) * 100)} %"


def _ratios(case: Case, before: Result, after: Result) -> Iterator[Moved]:
    known = {(t.latency_ms, t.batch, t.baseline): t.ratio for t in before.times}
    for timing in after.times:
        was, is_ = known.get((timing.latency_ms, timing.batch, timing.baseline)), timing.ratio
        if was is not None and is_ is not None:
            apart = is_.low > was.high or is_.high < was.low
            place = f"{timing.batch:,} at {wording.number(timing.latency_ms)} ms of network"
            figure = f"times as quick as {wording.strategy(timing.baseline)}, {place}"
            change = _factor(was.median, is_.median) if apart else ""
            yield Moved(
                case,
                after,
                figure,
                (_interval(was), _interval(is_)),
                change,
                "worse" if is_.median < was.median else "better",
            )


def _interval(ratio: Ratio) -> str:
    return f"{wording.number(ratio.median)} [{wording.number(ratio.low)}, {wording.number(ratio.high)}]"


def _times(case: Case, before: Result, after: Result) -> Iterator[Moved]:
    if before.verdict != "pass" or after.verdict != "pass" or before.settings != after.settings:
        return  # a wrong claim can be the fastest one, and fewer workers are another race
    for name in _TIMED:
        was, is_ = value(before, name), value(after, name)
        if was is not None and is_ is not None:
            yield Moved(
                case,
                after,
                wording.label(name),
                (wording.number(was), wording.number(is_)),
                _factor(was, is_),
                "other",
                exact=False,
            )


def _conditions(before: Run, after: Run) -> Iterator[tuple[str, str, str]]:
    """What was different around the runs: key, before, after."""
    pairs: list[tuple[str, Mapping[str, object], Mapping[str, object]]] = [("machine", before.machine, after.machine)]
    pairs += [
        (wording.database(name), before.conditions.get(name, {}), after.conditions.get(name, {}))
        for name in dict.fromkeys((*before.conditions, *after.conditions))
    ]
    about = [{"contend": run.contend, "profile": run.profile, "seed": run.seed} for run in (before, after)]
    pairs.append(("run", about[0], about[1]))
    for of, one, other in pairs:
        for key in dict.fromkeys((*one, *other)):
            if one.get(key) != other.get(key):
                yield f"{of}: {wording.label(key)}", _setting(one.get(key)), _setting(other.get(key))


def _settings(both: Sequence[tuple[Case, Result, Result]]) -> Iterator[tuple[str, str, str]]:
    """What was asked for otherwise, once for each scenario."""
    said: dict[tuple[str, str, str], None] = {}
    for case, before, after in both:
        for key in dict.fromkeys((*before.settings, *after.settings)):
            one, other = before.settings.get(key), after.settings.get(key)
            if one != other:
                said[f"{wording.plain(case.scenario)}: {wording.label(key)}", _setting(one), _setting(other)] = None
    yield from said


def _setting(value: object) -> str:
    return "–" if value is None else wording.plain(value)


@dataclass(frozen=True, slots=True)
class _Hero:
    style: str
    symbol: str
    word: str
    headline: str


def _hero(found: Difference) -> _Hero:
    changes = len(found.turned) + len(found.counts) + len(found.ratios)
    parts = [
        _of(found.turned, "verdict or finding", "verdicts or findings"),
        _of(found.counts, "count", "counts"),
        _of(found.ratios, "ratio", "ratios"),
    ]
    if found.worse:
        style, symbol, word = "bad", "✗", "Worse"
    elif any(each.direction == "worse" for each in (*found.counts, *found.ratios)) or any(
        each.direction == "other" for each in found.turned
    ):
        style, symbol, word = "open", "?", "Different"
    else:
        style, symbol, word = "good", "✓", "Better" if changes else "No change"
    said = [part for part in parts if part]
    same = (
        f"{wording.amount(found.alike, 'case')} stand as before, {wording.amount(found.equal, 'count')} and "
        f"{wording.amount(found.steady, 'ratio')} did not change."
    )
    return _Hero(style, symbol, word, f"{'Changed: ' + ', '.join(said) + '. ' if said else ''}{same}")


def _of(changed: Sequence[Turned] | Sequence[Moved], one: str, many: str) -> str:
    if not changed:
        return ""
    worse = sum(each.direction == "worse" for each in changed)
    return wording.amount(len(changed), one, many) + (f" ({worse} for the worse)" if worse else "")
