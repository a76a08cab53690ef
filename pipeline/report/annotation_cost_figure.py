"""The headline figure of trained rows over the hours that their labels cost, on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from pipeline.report.annotation_cost import AnnotationCost, unbeaten
from pipeline.report.data import ReportData
from pipeline.report.direct_labels import NOWHERE, Label, set_labels
from pipeline.report.palette import color, row_slots

Points = NDArray[np.float64]

MARKERS = {"masks": "o", "boxes": "s"}
EDGES = (0.08, 0.16, 0.24, 0.32)  # of the width of the axis, tried until the names in bold have room
APART = 0.018  # of the width of the axis, between points of the same hours


def cost_figure(data: ReportData, costs: Sequence[AnnotationCost]) -> Figure:
    """A point per row; of those that no cheaper row beats, in bold, also the interval and the most hours."""
    for edge in EDGES:
        figure, unnamed = _drawn(data, costs, edge)
        if not any(label.bold for label in unnamed):
            break
    return figure


def _drawn(data: ReportData, costs: Sequence[AnnotationCost], edge: float) -> tuple[Figure, list[Label]]:
    """The figure with `edge` of its width empty on both sides, and the names that found no room."""
    figure = Figure(figsize=(4.0, 3.5), layout="constrained")
    axes = figure.add_subplot()
    width = _set_hours(axes, costs, edge)
    slots, best = row_slots(data), unbeaten(costs)
    lines: list[Points] = []
    names = []
    for cost, point in zip(costs, _points(costs, width), strict=True):
        shade = color(slots[cost.row.name])
        axes.plot(*point, MARKERS[cost.row.supervision], color=shade, markersize=5.5, zorder=3)
        ends = _interval(cost, point) if cost in best else NOWHERE
        lines += [point[None], *_draw(axes, cost, point, ends, shade)] if cost in best else [point[None]]
        names.append(Label(cost.row.title, point[None], ends, bold=cost in best))
    axes.set_xlabel("hours to draw the labels (log scale)", fontsize=8)
    axes.set_ylabel(f"{data.headline}, %", fontsize=8)
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.grid(True)
    axes.tick_params(length=0)
    axes.margins(y=0.12)
    axes.set_ylim(max(0.0, axes.get_ylim()[0]))
    names.sort(key=lambda label: (not label.bold, -label.points[0, 1]))
    return figure, set_labels(axes, names, lines)


def _set_hours(axes: Axes, costs: Sequence[AnnotationCost], edge: float) -> float:
    """Set the axis; returns its width in powers of ten."""
    low, high = math.log10(costs[0].hours), math.log10(max(cost.most for cost in costs))
    width = (high - low) / (1 - 2 * edge)
    axes.set_xscale("log")
    axes.set_xlim(10 ** (low - edge * width), 10 ** (high + edge * width))
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    return width


def _points(costs: Sequence[AnnotationCost], width: float) -> Points:
    """(N, 2) hours and figure; those of the same hours stand side by side."""
    every = [cost.hours for cost in costs]
    points = []
    for place, cost in enumerate(costs):
        shift = (every[:place].count(cost.hours) - (every.count(cost.hours) - 1) / 2) * APART * width
        points.append((cost.hours * 10**shift, cost.row.score))
    return np.array(points)


def _interval(cost: AnnotationCost, point: Points) -> Points:
    """(2, 2) the ends of a row's interval, upper one first; (0, 2) without."""
    if cost.row.interval is None:
        return NOWHERE
    return np.array([(point[0], cost.row.interval.high), (point[0], cost.row.interval.low)])


def _draw(axes: Axes, cost: AnnotationCost, point: Points, interval: Points, shade: str) -> list[Points]:
    """Draw the interval, and paler a line to the most hours; returns both, each as (2, 2) ends."""
    reach = np.array([point, (max(cost.most, point[0]), point[1])])
    axes.plot(*reach.T, color=shade, linewidth=1.2, alpha=0.45, zorder=2)
    if not len(interval):
        return [reach]
    axes.plot(*interval.T, color=shade, linewidth=1.2, zorder=2)
    return [reach, interval]
