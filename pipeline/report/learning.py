"""Learning curves: small multiples, one per logged term, one line per run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import NDArray

from pipeline.report.data import Curve
from pipeline.report.figures import shorten
from pipeline.report.palette import color, dashes

POINTS = 120  # of a curve; more are averaged in bins, which keeps the page of a long training small
LOG_RATIO = 20.0  # a loss whose values span more than this is drawn on a logarithmic axis
# Logged columns that are a setting, not something learnt, and terms of inner layers of a network that has the
# same of its last one: loss_ce_0, loss_ce_0_unlabelled.
NOT_SHOWN = re.compile(r"learning_rate|loss_\w+?_\d+(_unlabelled)?")


@dataclass(frozen=True)
class Line:
    """A run's curve: mean over seeds, and the lowest and highest seed, all (S,)."""

    run: str
    slot: int
    steps: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def curve_lines(curves: Mapping[str, Sequence[Curve]], slots: Mapping[str, int]) -> dict[str, list[Line]]:
    """Term -> a line for each run that logged it; `loss`, the sum that is minimised, comes first.

    curves: run -> what its seeds logged; slots: row -> its place in the palette.
    """
    names = {name for logged in curves.values() for curve in logged for name in curve.values}
    shown = (name for name in names if not NOT_SHOWN.fullmatch(name))
    order = sorted(shown, key=lambda name: (name != "loss", name))
    lines = {
        name: [line for run in slots if (line := _line(run, slots[run], curves.get(run, ()), name))]
        for name in order
    }
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
        marker = "o" if len(line.steps) < 3 else ""
        axes.plot(
            line.steps,
            line.mean,
            color=color(line.slot),
            linestyle=dashes(line.slot),
            linewidth=1.4,
            marker=marker,
            markersize=3,
        )
    lowest = min(line.low.min() for line in lines)
    highest = max(line.high.max() for line in lines)
    logarithmic = name.startswith("loss") and lowest > 0 and highest / lowest > LOG_RATIO
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(
            "{x:g}"
        )  # its own writes powers in mathtext, which figures do not read
        axes.yaxis.set_minor_formatter(NullFormatter())
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


def curve_figure(terms: dict[str, list[Line]], titles: Mapping[str, str]) -> Figure:
    """All terms side by side with one legend, for the PNG; titles: run -> its title."""
    columns = min(3, len(terms))
    rows = -(-len(terms) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.3 * rows + 0.5), layout="constrained")
    for place, (name, lines) in enumerate(terms.items(), start=1):
        draw_curve(figure.add_subplot(rows, columns, place), name, lines)
    drawn = {line.run: line.slot for lines in terms.values() for line in lines}
    handles = [
        Line2D([], [], color=color(slot), linestyle=dashes(slot), label=shorten(titles[run]))
        for run, slot in drawn.items()
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, frameon=False, fontsize=8)
    return figure
