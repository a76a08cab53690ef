"""The headline figure of trained rows over the hours that their labels cost, on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from pipeline.report.annotation_cost import AnnotationCost, unbeaten
from pipeline.report.data import ReportData
from pipeline.report.direct_labels import NOWHERE, Label, set_labels
from pipeline.report.palette import SURFACE, color, row_slots

Points = NDArray[np.float64]

MARKERS = {"masks": "o", "boxes": "s"}
EDGES = (0.08, 0.16, 0.24, 0.32)  # of the width of the axis, tried until the names in bold have room
DOT: Any = {"markersize": 6, "markeredgecolor": SURFACE, "markeredgewidth": 0.8, "zorder": 3}
DECADES = 2.2  # of hours; on a wider axis the powers of ten alone are written


def cost_figure(data: ReportData, costs: Sequence[AnnotationCost]) -> Figure:
    """A point per row; of those that no cheaper row beats, in bold, also the interval and the most hours."""
    tries = []
    for edge in EDGES:
        figure, unnamed = _drawn(data, costs, edge)
        tries.append((sum(label.bold for label in unnamed), edge, figure))
        if not tries[-1][0]:
            break
    return min(tries, key=lambda item: item[:2])[-1]


def _drawn(data: ReportData, costs: Sequence[AnnotationCost], edge: float) -> tuple[Figure, list[Label]]:
    """The figure with `edge` of its width empty on both sides, and the names that found no room."""
    figure = Figure(figsize=(4.0, 3.5), layout="constrained")
    axes = figure.add_subplot()
    _set_hours(axes, costs, edge)
    slots, best = row_slots(data), unbeaten(costs)
    lines: list[Points] = []
    names = []
    for cost in costs:
        shade, point = color(slots[cost.row.name]), np.array([cost.hours, cost.row.score])
        interval = _interval(cost) if cost in best else NOWHERE
        lines += [point[None], *(_draw(axes, cost, interval, shade) if cost in best else [])]
        axes.plot(*point, MARKERS[cost.row.supervision], color=shade, **DOT)
        names.append(Label(cost.row.title, point[None], interval, bold=cost in best))
    axes.set_xlabel("hours to draw the labels (log scale)", fontsize=8)
    axes.set_ylabel(f"{data.headline}, %", fontsize=8)
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.grid(True)
    axes.tick_params(length=0)
    axes.margins(y=0.12)
    axes.set_ylim(max(0.0, axes.get_ylim()[0]))
    names.sort(key=lambda label: (not label.bold, -label.points[0, 1]))
    return figure, set_labels(axes, names, lines)


def _set_hours(axes: Axes, costs: Sequence[AnnotationCost], edge: float) -> None:
    low, high = math.log10(costs[0].hours), math.log10(max(cost.most for cost in costs))
    width = (high - low) / (1 - 2 * edge)
    axes.set_xscale("log")
    axes.set_xlim(10 ** (low - edge * width), 10 ** (high + edge * width))
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if width < DECADES else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _interval(cost: AnnotationCost) -> Points:
    """(2, 2) the ends of a row's interval, upper one first; (0, 2) without."""
    inside = cost.row.interval
    return NOWHERE if inside is None else np.array([(cost.hours, inside.high), (cost.hours, inside.low)])


def _draw(axes: Axes, cost: AnnotationCost, interval: Points, shade: str) -> list[Points]:
    """Draw the interval, and paler a line to the most hours; returns both, each as (2, 2) ends."""
    reach = np.array([(cost.hours, cost.row.score), (cost.most, cost.row.score)])
    axes.plot(*reach.T, color=shade, linewidth=1.2, alpha=0.45, zorder=2)
    if not len(interval):
        return [reach]
    axes.plot(*interval.T, color=shade, linewidth=1.2, zorder=2)
    return [reach, interval]
