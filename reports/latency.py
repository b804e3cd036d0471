"""How long a claim takes, from the median to the slowest, one row for each system on a logarithmic scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from reports import wording
from reports.comparison import MOST_DRAWN, called, value
from reports.plots import COOL, INK, WARM, Panel, as_svg, sheet
from reports.saved import Result

_SHORTEST_MS: Final = 0.001  # a logarithmic axis has no zero
_WIDTH: Final = 4.3  # inches; it fits a phone at its natural size
_ROW: Final = 0.42
_BELOW: Final = 0.55  # inches for the axis


@dataclass(frozen=True, slots=True)
class Reach:
    """The claims of one result, in ms: half of them within `half`, 99 % within `most`, all within `slowest`."""

    result: Result
    half: float
    most: float
    slowest: float


def latency(results: Sequence[Result], database: str, name: str) -> Panel | None:
    """The plot of one database's races; None unless two of them were timed. Its numbers are in the table of costs."""
    reaches = [found for result in results if (found := _reach(result)) is not None][:MOST_DRAWN]
    if len(reaches) < 2:
        return None
    title = _title(database, reaches)
    told = "; ".join(
        f"{called(each.result)}: half within {wording.milliseconds(each.half)}, 99 % within "
        f"{wording.milliseconds(each.most)}, slowest {wording.milliseconds(each.slowest)}"
        for each in reaches
    )
    return Panel(title, _draw(reaches, name, title, f"{told}."))


def _reach(result: Result) -> Reach | None:
    half, most, slowest = (value(result, key) for key in ("claim_ms_p50", "claim_ms_p99", "slowest_claim_ms"))
    if half is None or most is None or slowest is None:
        return None
    return Reach(result, *(max(each, _SHORTEST_MS) for each in (half, most, slowest)))


def _title(database: str, reaches: Sequence[Reach]) -> str:
    worst, best = max(reaches, key=lambda each: each.slowest), min(reaches, key=lambda each: each.slowest)
    said = f"{wording.database(database)}: the slowest claim takes {wording.milliseconds(worst.slowest)}"
    if worst.slowest < 2 * best.slowest:
        return f"{said} at most, whichever way jobs are claimed"
    return f"{said} with {called(worst.result)}, {wording.milliseconds(best.slowest)} with {called(best.result)}"


def _draw(reaches: Sequence[Reach], name: str, title: str, told: str) -> Markup:
    from matplotlib import ticker  # noqa: PLC0415  # half a second, which a page without plots does not pay

    height = _BELOW + _ROW * (len(reaches) + 0.4)
    with sheet((_WIDTH, height)) as figure:
        axes = figure.add_axes((0.03, _BELOW / height, 0.94, 1 - (_BELOW + 0.05) / height))
        for row, each in enumerate(reversed(reaches)):
            colour = COOL if each.result.verdict == "pass" else WARM
            axes.hlines(row, each.half, each.slowest, color=colour, linewidth=1.4, zorder=2)
            for at, marker, size in ((each.half, "o", 5.5), (each.most, "D", 5.5), (each.slowest, "|", 9)):
                axes.plot([at], [row], marker=marker, color=colour, markersize=size, zorder=3)
            name_at = (0, row + 0.28)
            axes.annotate(called(each.result), name_at, xycoords=("axes fraction", "data"), va="center", color=INK)
        axes.set_xscale("log")
        axes.set_xlim(min(each.half for each in reaches) / 1.5, max(each.slowest for each in reaches) * 1.5)
        axes.set_ylim(-0.7, len(reaches) - 0.4)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.yaxis.grid(visible=False)
        axes.xaxis.set_major_locator(ticker.LogLocator(base=10))
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        axes.xaxis.set_minor_formatter(ticker.NullFormatter())
        axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda at, _: wording.number(at)))
        axes.set_xlabel("ms a claim: ● half within, ◆ 99 % within, | the slowest")
        axes.tick_params(length=0)
        return as_svg(figure, name, title, told)
