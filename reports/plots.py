"""Plots as SVG for a page: no date, no random id; colours and font are the page's, so dark mode and print just work.

Equal input gives equal bytes with one version of matplotlib. Every id begins with the plot's own name, as figures on
one page would otherwise share clip paths and markers.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from markupsafe import Markup

from reports.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Drawn in stand-ins, replaced by the page's own colours afterwards.
INK, MUTED, RULE, WARM, COOL = "#010101", "#020202", "#030303", "#040404", "#050505"
_PAGE_COLOURS: Final = {INK: "--ink", MUTED: "--muted", RULE: "--rule", WARM: "--warm", COOL: "--cool"}
_STYLE: Final[dict[Any, Any]] = {  # matplotlib types each key by itself
    "svg.hashsalt": "contend",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
}
_Mark = tuple[str, str | tuple[int, tuple[int, ...]]]  # marker, dash
_COOL_MARKS: Final[tuple[_Mark, ...]] = (("o", "-"), ("^", ":"), ("D", "-."), ("v", (0, (1, 1))))
_WARM_MARKS: Final[tuple[_Mark, ...]] = (("s", "--"), ("X", ":"), ("P", "-."), ("d", (0, (1, 1))))
_MOST_MARKS: Final = 24  # of one line, so that its dashes can be told apart
_MOST_STEPS: Final = 600  # drawn of one line of steps
_SIZE: Final = (4.3, 2.9)  # inches; one panel fits a phone at its natural size


@dataclass(frozen=True, slots=True)
class Line:
    """Points of one series. `warm` is the costly kind; it also differs in marker and dash, never in colour alone.

    `low` and `high` are the ends of the spread at each point, empty where counts are exact. `label` may be empty: the
    line then looks like the first of its kind. `steps` says that each value holds from its point to the next.
    """

    x: Sequence[float]
    y: Sequence[float]
    label: str
    warm: bool
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    steps: bool = False


Scale = Literal["log", "linear"]


@dataclass(frozen=True, slots=True)
class Plot:
    """Lines over something, with the scale of each axis. `description` says in words, with numbers, what a reader would see.

    On a logarithmic x axis up to two labels stand at the end of their lines; all others stand in a legend. A linear y
    axis begins at zero. `limits` fixes the y axis and `widest` the x axis, so that neighbours compare; `level` draws a
    line across at a height, with what it means. `counted` says that the y axis holds whole numbers only.
    `ticks` are the places on the x axis to be named, with their names, where its numbers would say nothing.
    """

    name: str
    lines: tuple[Line, ...]
    x_label: str
    y_label: str
    title: str
    description: str
    limits: tuple[float, float] | None = None
    widest: tuple[float, float] | None = None
    level: tuple[float, str] | None = None
    x_scale: Scale = "log"
    y_scale: Scale = "log"
    counted: bool = False
    ticks: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot with its title. The `note` stands below it; a `wide` one is as wide as the page, and never too small to be read."""

    title: str
    plot: Markup
    note: str = ""
    wide: bool = False


def panel(plot: Plot) -> Panel:
    """The plot, drawn, under its own title."""
    return Panel(plot.title, draw(plot))


def draw(plot: Plot) -> Markup:
    """The plot as an `<svg>` element, titled and described for those who cannot see it. Its name must be an id."""
    with sheet(_SIZE) as figure:
        axes = figure.add_axes((0.155, 0.16, 0.815 if plot.x_scale == "log" else 0.785, 0.80))  # its last tick is wide
        for warm in (True, False):
            own = [line for line in plot.lines if line.warm is warm]
            marks = _WARM_MARKS if warm else _COOL_MARKS
            labelled = [line for line in own if line.label]
            for line in own:
                _line(axes, line, marks[labelled.index(line) % len(marks) if line.label else 0])
        _scales(axes, plot)
        labelled = [line for line in plot.lines if line.label]
        if len(labelled) > 2 or (labelled and plot.x_scale == "linear"):
            axes.legend(loc="best", frameon=False, labelcolor=INK, handlelength=3.2)
        else:
            _labels(axes, labelled)
        return as_svg(figure, plot.name, plot.title, plot.description)


@contextlib.contextmanager
def sheet(inches: tuple[float, float]) -> Iterator[Figure]:
    """An empty figure of that size in the style of the page; draw on it and turn it into SVG before leaving."""
    import matplotlib as mpl  # noqa: PLC0415  # half a second, which a page without plots does not pay
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415  # as above
    from matplotlib.figure import Figure  # noqa: PLC0415  # as above

    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()  # whatever a matplotlibrc on this machine says
        mpl.rcParams.update(_STYLE)
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser's font draws the text, not matplotlib's
        figure = Figure(figsize=inches)
        FigureCanvasSVG(figure)
        yield figure


def as_svg(figure: Figure, name: str, title: str, description: str) -> Markup:
    """A figure as an `<svg>` element for the page; every id in it begins with `name`."""
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True)
    return _for_the_page(out.getvalue(), name, title, description)


def _line(axes: Axes, line: Line, mark: _Mark) -> None:
    colour = WARM if line.warm else COOL
    label = line.label or "_unlabelled"
    if line.steps:
        x, y = _fewer(line.x, line.y)
        axes.step(x, y, where="post", color=colour, linewidth=1, label=label, zorder=3)
        axes.fill_between(x, y, step="post", color=colour, alpha=0.2, linewidth=0, zorder=2)
        return
    marker, dash = mark
    every = max(1, len(line.x) // _MOST_MARKS)
    axes.plot(line.x, line.y, color=colour, marker=marker, markevery=every, linestyle=dash, label=label, zorder=3)
    if line.low:
        axes.vlines(line.x, line.low, line.high, color=colour, linewidth=3, alpha=0.35, zorder=2)


def _fewer(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """The same steps with at most `_MOST_STEPS` points: of several in one stretch the highest stands for all."""
    kept: dict[int, tuple[float, float]] = {}
    span = (x[-1] - x[0]) or 1.0
    for at, value in zip(x, y, strict=True):
        stretch = round((at - x[0]) / span * _MOST_STEPS) if len(x) > _MOST_STEPS else len(kept)
        begin, most = kept.get(stretch, (at, value))
        kept[stretch] = begin, max(most, value)
    return [at for at, _ in kept.values()], [value for _, value in kept.values()]


def _labels(axes: Axes, lines: Sequence[Line]) -> None:
    """Label lines at their right end: above all of the highest that the label spans, below all of the other."""
    for place, line in enumerate(sorted(lines, key=lambda line: line.y[-1], reverse=True)):
        above = place == 0
        edge = (line.high if above else line.low) or line.y
        spanned = [y for x, y in zip(line.x, edge, strict=True) if x >= line.x[-1] / 16]
        axes.annotate(
            line.label,
            (line.x[-1], max(spanned) if above else min(spanned)),
            xytext=(0, 7 if above else -7),
            textcoords="offset points",
            ha="right",
            va="bottom" if above else "top",
            color=WARM if line.warm else COOL,
            fontweight="bold",
            zorder=4,
        )


def _scales(axes: Axes, plot: Plot) -> None:
    from matplotlib import ticker  # noqa: PLC0415  # half a second, which a page without plots does not pay

    axes.set_xscale(plot.x_scale)
    axes.set_yscale(plot.y_scale)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(ticker.NullLocator())
        axis.set_minor_formatter(ticker.NullFormatter())
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: number(value)))
    left, right = plot.widest or (
        min(x for line in plot.lines for x in line.x),
        max(x for line in plot.lines for x in line.x),
    )
    tops = [y for line in plot.lines for y in (*line.y, *line.high)]
    bottoms = [y for line in plot.lines for y in (*line.y, *line.low)]
    low, high = plot.limits or (min(bottoms), max(tops))
    if plot.level is not None:
        height, said = plot.level
        low, high = min(low, height), max(high, height)
        axes.axhline(height, color=INK, linewidth=1, linestyle=":")
        at, side = (right, "right") if plot.x_scale == "log" else (left, "left")
        axes.annotate(
            said,
            (at, height),
            xytext=(0, -3),
            textcoords="offset points",
            ha=side,
            va="top",
            color=MUTED,
            fontsize=8,
        )
    if plot.x_scale == "log":
        axes.set_xlim(left / 1.25, right * 1.25)
        axes.xaxis.set_major_locator(ticker.LogLocator(base=10))
    else:
        edge = ((right - left) or 1.0) * 0.02
        axes.set_xlim(left - edge, right + edge)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(6, steps=[1, 2, 5, 10]))
    if plot.y_scale == "log":
        axes.set_ylim(low / 2.4, high * 2.4)  # room for the labels
        axes.yaxis.set_major_locator(ticker.LogLocator(base=10, subs=(1.0,) if high / low > 30 else (1.0, 2.0, 5.0)))
    else:
        axes.set_ylim(-0.02 * (high or 1.0), 1.08 * (high or 1.0))
        axes.yaxis.set_major_locator(ticker.MaxNLocator(5, steps=[1, 2, 5, 10], integer=plot.counted))
    if plot.ticks:
        axes.set_xticks([place for place, _ in plot.ticks], [name for _, name in plot.ticks])
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)
    axes.tick_params(length=0)


def _for_the_page(svg: str, name: str, title: str, description: str) -> Markup:
    body = svg[svg.index("<svg") :]
    view_box = re.search(r'viewBox="[^"]*"', body)
    body = body[body.index(">") + 1 :]
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)  # it would style the whole page
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)  # it holds the time
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = body.replace("xlink:href", "href")
    body = re.sub(r'(\sid="|href="#|url\(#)', rf"\g<1>{name}-", body)
    body = re.sub(r"font-family:[^;\"]*;?\s?", "", body)
    body = re.sub(r"font: (?:(bold|[0-9]+) )?([0-9.]+)px [^;\"]*", _font, body)
    for stand_in, colour in _PAGE_COLOURS.items():
        body = body.replace(stand_in, f"var({colour})")
    body = re.sub(r"<[^>]*>", _rounded, body)
    body = re.sub(r"\n\s*", "\n", body)
    head = Markup(
        '<svg role="img" aria-labelledby="{0}-title {0}-desc" {1}>'
        '<title id="{0}-title">{2}</title><desc id="{0}-desc">{3}</desc>'
    ).format(name, Markup(view_box[0] if view_box else ""), title, description)  # noqa: S704  # a viewBox matplotlib wrote
    return head + Markup(body.strip())  # noqa: S704  # matplotlib's own SVG, its labels escaped by matplotlib


def _rounded(tag: re.Match[str]) -> str:
    """An element's tag with its coordinates to a hundredth of a point, for the sake of the page's size."""
    return re.sub(r"(?<=\d\.\d\d)\d+", "", tag[0])


def _font(found: re.Match[str]) -> str:
    weight = f"font-weight: {found[1]}; " if found[1] else ""
    return f"{weight}font-size: {found[2]}px"
