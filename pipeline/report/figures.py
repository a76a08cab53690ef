"""Figures: bars of AP and of retention, learning curves.  Drawn once, written as PNG and as inline SVG.

Everything is drawn on plain `Figure` objects under one set of settings: no pyplot, no global state, the
same bytes for the same numbers.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.report.data import Curve, Interval, ReportData, Row
from pipeline.report.palette import DASHES, GRID, INK, MUTED, RUNS, SURFACE, color, css_variables, row_slots

POINTS = 120  # of a learning curve; more are averaged in bins, which also keeps long trainings small
LOG_RATIO = 20.0  # a curve whose values span more than this is drawn on a logarithmic axis
NOT_SHOWN = {"learning_rate"}  # logged columns that are a setting, not something learnt
BAR_HEIGHT = 0.44  # inches per row, with its label above the bar
TITLE_LENGTH = 44

_SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9.0, "text.parse_math": False, "text.color": INK,
    "axes.edgecolor": GRID, "axes.labelcolor": MUTED, "axes.titlesize": 9.0, "axes.titlelocation": "left",
    "axes.titlecolor": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "axes.facecolor": SURFACE, "figure.facecolor": SURFACE, "grid.color": GRID, "grid.linewidth": 0.7,
    "xtick.color": GRID, "ytick.color": GRID, "xtick.labelcolor": MUTED, "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.0, "ytick.labelsize": 8.0, "svg.fonttype": "none", "figure.dpi": 150,
}


@contextmanager
def settings() -> Iterator[None]:
    """The figures' settings, for the block only and whatever the user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def png(figure: Figure) -> bytes:
    """The figure as a PNG without a date or a version in it."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def svg(figure: Figure, name: str) -> str:
    """The figure as an inline SVG element whose colours are the page's CSS variables.

    name: unique in the page; it goes into the ids that matplotlib makes, which would collide otherwise.
    """
    buffer = io.StringIO()
    matplotlib.rcParams["svg.hashsalt"] = name  # restored by settings()
    figure.savefig(buffer, format="svg", transparent=True,
                   metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg"):]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\b(figure|axes|patch|line2d|text|matplotlib\.axis|xtick|ytick)_(\d+)"', rf'{name}-\1-\2"', text)
    for value, variable in css_variables().items():
        text = text.replace(value, f"var({variable})")
    return re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="presentation">', text, count=1)


# --- bars -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    """One horizontal bar in percent: its label, whisker and the dots of single seeds."""

    label: str
    slot: int
    value: float | None
    interval: Interval | None
    dots: tuple[float, ...] = ()


def bar_charts(data: ReportData) -> dict[str, tuple[str, Figure]]:
    """Name -> (caption, figure) of the bar charts that have something to show; call inside `settings`."""
    charts = {}
    scores, kept = score_bars(data), retention_bars(data)
    if any(bar.value is not None for bar in scores):
        charts["ap"] = (data.headline[0].upper() + data.headline[1:], bar_figure(scores, f"{data.headline}, %"))
    if kept:
        charts["retention"] = ("Retention", bar_figure(kept, "% of the oracle's AP", reference=100.0))
    return charts


def score_bars(data: ReportData) -> list[Bar]:
    """The headline figure of every row, with its interval and its seeds."""
    slots = row_slots(data)
    return [Bar(row.title, slots[row.name], row.score, row.interval, _seed_dots(row)) for row in data.rows]


def retention_bars(data: ReportData) -> list[Bar]:
    """Retention of every row that has an oracle other than itself."""
    slots = row_slots(data)
    return [Bar(row.title, slots[row.name], row.retention, row.retention_interval)
            for row in data.rows if row.retention is not None and not row.is_oracle]


def _seed_dots(row: Row) -> tuple[float, ...]:
    values = tuple(value for value in row.seed_scores.values() if value is not None)
    return values if len(values) > 1 else ()


def bar_figure(bars: Sequence[Bar], axis: str, reference: float | None = None) -> Figure:
    """Horizontal bars, first on top.  reference: a vertical line, such as the oracle's 100 %."""
    figure = Figure(figsize=(3.9, 0.62 + BAR_HEIGHT * len(bars)), layout="constrained")
    axes = figure.add_subplot()
    for place, bar in enumerate(bars):
        _draw_bar(axes, place, bar)
    axes.set_ylim(len(bars) - 0.45, -0.75)
    axes.set_yticks([])
    axes.set_xlim(0, _right_end(bars, reference))
    axes.set_xlabel(axis, fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.grid(True)
    axes.tick_params(length=0)
    axes.spines["bottom"].set_visible(False)
    if reference is not None:
        axes.axvline(reference, color=MUTED, linewidth=1, linestyle=(0, (3, 2)))
    return figure


def _draw_bar(axes: Axes, place: int, bar: Bar) -> None:
    axes.text(0, place - 0.24, shorten(bar.label), va="bottom", ha="left", fontsize=8.5)
    if bar.value is None:
        axes.text(0, place, " could not be computed", va="center", ha="left", color=MUTED, fontsize=8)
        return
    axes.barh(place, bar.value, height=0.4, color=color(bar.slot))
    end = bar.value
    if bar.interval:
        axes.hlines(place, bar.interval.low, bar.interval.high, color=INK, linewidth=1.3)
        axes.vlines([bar.interval.low, bar.interval.high], place - 0.1, place + 0.1, color=INK, linewidth=1.3)
        end = max(end, bar.interval.high)
    axes.plot(bar.dots, [place] * len(bar.dots), "o", markersize=3.4, color=SURFACE, markeredgecolor=INK,
              markeredgewidth=0.8, zorder=4)
    axes.annotate(f"{bar.value:.1f}", (end, place), (5, 0), textcoords="offset points", va="center", fontsize=9,
                  fontweight="bold", bbox={"facecolor": SURFACE, "edgecolor": "none", "pad": 1.5})


def _right_end(bars: Sequence[Bar], reference: float | None) -> float:
    ends = [max(bar.value, bar.interval.high if bar.interval else 0) for bar in bars if bar.value is not None]
    return max([*ends, reference or 0.0, 1.0]) * 1.14


def shorten(text: str, length: int = TITLE_LENGTH) -> str:
    """`text` cut to `length` characters, by default to what fits above a bar."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


# --- learning curves --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A run's curve: mean over seeds, and the lowest and highest seed, all (S,)."""

    run: str
    slot: int
    steps: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def curve_lines(data: ReportData) -> dict[str, list[Line]]:
    """Term -> a line for each run that logged it; `loss`, the sum that is minimised, comes first."""
    slots = row_slots(data)
    names = {name for curves in data.curves.values() for curve in curves for name in curve.values} - NOT_SHOWN
    order = sorted(names, key=lambda name: (name != "loss", name))
    lines = {name: [line for run in slots if (line := _line(run, slots[run], data.curves.get(run, ()), name))]
             for name in order}
    return {name: found for name, found in lines.items() if found}


def _line(run: str, slot: int, curves: Sequence[Curve], name: str) -> Line | None:
    """The term's mean over the seeds at the steps that all seeds logged, in at most POINTS bins."""
    logged = [curve for curve in curves if name in curve.values and np.isfinite(curve.values[name]).any()]
    if not logged:
        return None
    finite = [np.isfinite(curve.values[name]) for curve in logged]
    common = logged[0].steps[finite[0]]
    for curve, mask in zip(logged[1:], finite[1:], strict=True):
        common = np.intersect1d(common, curve.steps[mask])
    if not len(common):
        return None
    values = np.stack([curve.values[name][np.isin(curve.steps, common)] for curve in logged])
    bins = np.array_split(np.arange(len(common)), min(POINTS, len(common)))
    binned = np.stack([values[:, index].mean(axis=1) for index in bins], axis=1)
    steps = np.array([common[index].mean() for index in bins])
    return Line(run, slot, steps, binned.mean(axis=0), binned.min(axis=0), binned.max(axis=0))


def draw_curve(axes: Axes, name: str, lines: Sequence[Line]) -> None:
    """One panel: a term's curves, each with a band from the lowest to the highest seed."""
    for line in lines:
        axes.fill_between(line.steps, line.low, line.high, color=color(line.slot), alpha=0.18, linewidth=0)
        axes.plot(line.steps, line.mean, color=color(line.slot), linewidth=1.4, marker="o" if len(line.steps) < 3
                  else "", markersize=3, linestyle=DASHES[line.slot // len(RUNS) % len(DASHES)])
    lowest = min(line.low.min() for line in lines)
    highest = max(line.high.max() for line in lines)
    logarithmic = lowest > 0 and highest / lowest > LOG_RATIO
    if logarithmic:
        axes.set_yscale("log")
    elif lowest >= 0:
        axes.set_ylim(0, highest * 1.05 or 1)
    axes.set_title(name + (" (log scale)" if logarithmic else ""))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.grid(True)
    axes.tick_params(length=0)
    axes.set_xlabel("step", fontsize=8)


def curve_panel(name: str, lines: Sequence[Line]) -> Figure:
    """One term by itself, for the page, where panels flow."""
    figure = Figure(figsize=(3.5, 2.25), layout="constrained")
    draw_curve(figure.add_subplot(), name, lines)
    return figure


def curve_figure(data: ReportData, terms: dict[str, list[Line]]) -> Figure:
    """All terms side by side with one legend, for the PNG."""
    columns = min(3, len(terms))
    rows = -(-len(terms) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.3 * rows + 0.5), layout="constrained")
    for place, (name, lines) in enumerate(terms.items(), start=1):
        draw_curve(figure.add_subplot(rows, columns, place), name, lines)
    drawn = {line.run: line.slot for lines in terms.values() for line in lines}
    handles = [Line2D([], [], color=color(slot), linestyle=DASHES[slot // len(RUNS) % len(DASHES)],
                      label=shorten(data.row(run).title)) for run, slot in drawn.items()]
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, frameon=False, fontsize=8)
    return figure
