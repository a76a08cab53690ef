"""The label-efficiency curve: a line per series over the share of images with labels, a panel per model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.report.data import ReportData, Row
from pipeline.report.direct_labels import Label, set_labels
from pipeline.report.figures import shorten
from pipeline.report.palette import MUTED, SURFACE, color
from pipeline.report.series import Series, by_model, references
from pipeline.report.words import percentage

Points = NDArray[np.float64]

EDGE = 0.08  # of the width of the axis, empty on both sides
APART = 0.02  # of the width of the axis, between points of different series at one share
TICKS_APART = 0.085  # of the width of the axis, between shares that are written below it
DASHED = (0, (3, 2))


def efficiency_panels(data: ReportData, found: Sequence[Series]) -> dict[str, Figure]:
    """Model -> its series by themselves, for the page, where panels flow; their axes are the same."""
    panels = {}
    for model, lines in by_model(found).items():
        figure = Figure(figsize=(4.0, 3.5), layout="constrained")
        axes = figure.add_subplot()
        _draw_panel(axes, data, found, lines)
        _name(axes, data, lines)
        panels[model] = figure
    return panels


def efficiency_figure(data: ReportData, found: Sequence[Series]) -> Figure:
    """All panels side by side, for the PNG."""
    models = by_model(found)
    columns = min(3, len(models))
    rows = -(-len(models) // columns)
    figure = Figure(figsize=(4.0 * columns, 3.5 * rows), layout="constrained")
    drawn = {model: figure.add_subplot(rows, columns, place) for place, model in enumerate(models, start=1)}
    for model, axes in drawn.items():
        _draw_panel(axes, data, found, models[model])
    for model, axes in drawn.items():  # only now, as a panel moves when the next one is drawn
        _name(axes, data, models[model])
    return figure


def _draw_panel(axes: Axes, data: ReportData, found: Sequence[Series], lines: Sequence[Series]) -> None:
    """Headline figures with intervals of the series `lines` of one model; dashed: oracles that end none."""
    _set_shares(axes, found)
    for row in references(data, lines):
        axes.axhline(row.score or 0.0, color=MUTED, linewidth=1, linestyle=DASHED, zorder=1)
    for item, points in zip(lines, _points(axes, lines), strict=True):
        axes.plot(*points.T, "o-", color=color(item.slot), linewidth=1.5, markersize=4.5, zorder=3)
        for whisker in _whiskers(item, points):
            axes.plot(*whisker.T, color=color(item.slot), linewidth=1.2, zorder=2)
    if len(by_model(found)) > 1:
        axes.set_title(shorten(lines[0].model))
    axes.set_xlabel("training images with labels: share (log scale) and number", fontsize=8)
    axes.set_ylabel(f"{data.headline}, %", fontsize=8)
    axes.set_ylim(*_limits(data, found))
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.grid(True)
    axes.tick_params(length=0)


def _set_shares(axes: Axes, found: Sequence[Series]) -> None:
    """Write shares and numbers of images below the axis."""
    counts = {
        share: row.labelled_images
        for item in found
        for share, row in zip(item.shares, item.rows, strict=True)
    }
    low, high = math.log10(min(counts)), math.log10(max(counts))
    width = (high - low) / (1 - 2 * EDGE)
    axes.set_xscale("log")
    axes.set_xlim(10 ** (low - EDGE * width), 10 ** (high + EDGE * width))
    written: list[float] = []
    for share in sorted(counts):
        if not written or math.log10(share / written[-1]) >= TICKS_APART * width:
            written.append(share)
    axes.set_xticks(written, [_share_text(share, counts[share]) for share in written])
    axes.minorticks_off()


def _share_text(share: float, images: int | None) -> str:
    return percentage(share / 100) + ("" if images is None else f"\n{images:,}")


def _limits(data: ReportData, found: Sequence[Series]) -> tuple[float, float]:
    """Of all figures and their intervals, with some room; no less than 0."""
    rows = [*references(data, found), *(row for item in found for row in item.rows)]
    low = min(row.interval.low if row.interval else row.score or 0.0 for row in rows)
    high = max(row.interval.high if row.interval else row.score or 0.0 for row in rows)
    room = 0.12 * (high - low) or 1.0
    return max(0.0, low - room), high + room


def _points(axes: Axes, lines: Sequence[Series]) -> list[Points]:
    """(N, 2) share and figure of each series, moved a little to the side so that all can be seen."""
    left, right = axes.get_xlim()
    step = APART * math.log10(right / left)
    made = []
    for place, item in enumerate(lines):
        shift = 10 ** (step * (place - (len(lines) - 1) / 2))
        pairs = zip(item.shares, item.rows, strict=True)
        made.append(np.array([(share * shift, row.score) for share, row in pairs]))
    return made


def _whiskers(item: Series, points: Points) -> list[Points]:
    """The interval of each point that has one, as (2, 2) ends."""
    rows = zip(points[:, 0], item.rows, strict=True)
    return [np.array([(x, row.interval.low), (x, row.interval.high)]) for x, row in rows if row.interval]


def _name(axes: Axes, data: ReportData, lines: Sequence[Series]) -> None:
    """Write the names beside the lines, or as a legend if one of them finds no room."""
    points, oracles = _points(axes, lines), references(data, lines)
    ends = axes.get_xlim()
    levels = [np.column_stack([np.geomspace(*ends, 9), np.full(9, row.score)]) for row in oracles]
    names = [Label(item.title, places[::-1]) for item, places in zip(lines, points, strict=True)]
    names += [
        Label(_oracle_name(lines, row), level[-2:0:-1]) for row, level in zip(oracles, levels, strict=True)
    ]
    whiskers = [line for item, places in zip(lines, points, strict=True) for line in _whiskers(item, places)]
    if set_labels(axes, names, [*points, *levels, *whiskers]):
        for text in list(axes.texts):
            text.remove()
        _legend(axes, lines, oracles)


def _oracle_name(lines: Sequence[Series], row: Row) -> str:
    """Its title, too, unless it ends a line that has a name."""
    return "oracle" if any(row in item.rows for item in lines) else f"oracle: {row.title}"


def _legend(axes: Axes, lines: Sequence[Series], oracles: Sequence[Row]) -> None:
    handles = [
        Line2D([], [], color=color(item.slot), marker="o", markersize=4.5, label=shorten(item.title))
        for item in lines
    ]
    handles += [
        Line2D([], [], color=MUTED, linestyle=DASHED, label=shorten(_oracle_name(lines, row)))
        for row in oracles
    ]
    axes.legend(handles=handles, loc="best", fontsize=8, facecolor=SURFACE, edgecolor="none", framealpha=0.8)
