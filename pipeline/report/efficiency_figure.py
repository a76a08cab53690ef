"""The label-efficiency curve: a line per series over the share of images with labels, on a log axis."""

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
from pipeline.report.efficiency import Series, references
from pipeline.report.figures import shorten
from pipeline.report.palette import MUTED, color
from pipeline.report.words import percentage

Points = NDArray[np.float64]

APART = 0.02  # of the width of the axis, between points of different series at one share
TICKS_APART = 0.085  # of the width of the axis, between shares that are written below it
DASHED = (0, (3, 2))


def efficiency_figure(data: ReportData, found: Sequence[Series]) -> Figure:
    """The headline figure of all series, with intervals; dashed: the oracle of those that it does not end."""
    figure = Figure(figsize=(4.0, 3.5), layout="constrained")
    axes = figure.add_subplot()
    width = _set_shares(axes, found)
    oracles = references(data, found)
    for row in oracles:
        axes.axhline(row.score or 0.0, color=MUTED, linewidth=1, linestyle=DASHED, zorder=1)
    lines = [_draw(axes, item, (item.slot - (len(found) - 1) / 2) * APART * width) for item in found]
    axes.set_xlabel("training images with labels: share (log scale) and number", fontsize=8)
    axes.set_ylabel(f"{data.headline}, %", fontsize=8)
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.grid(True)
    axes.tick_params(length=0)
    axes.margins(y=0.12)
    axes.set_ylim(max(0.0, axes.get_ylim()[0]))
    _name(axes, found, lines, oracles)
    return figure


def _set_shares(axes: Axes, found: Sequence[Series]) -> float:
    """Write shares and numbers of images below the axis; returns its width in powers of ten."""
    counts = {
        share: row.labelled_images
        for item in found
        for share, row in zip(item.shares, item.rows, strict=True)
    }
    low, high = math.log10(min(counts)), math.log10(max(counts))
    width = (high - low) / 0.84
    axes.set_xscale("log")
    axes.set_xlim(10 ** (low - 0.08 * width), 10 ** (high + 0.08 * width))
    written: list[float] = []
    for share in sorted(counts):
        if not written or math.log10(share / written[-1]) >= TICKS_APART * width:
            written.append(share)
    axes.set_xticks(written, [_share_text(share, counts[share]) for share in written])
    axes.minorticks_off()
    return width


def _share_text(share: float, images: int | None) -> str:
    return percentage(share / 100) + ("" if images is None else f"\n{images:,}")


def _draw(axes: Axes, item: Series, shift: float) -> Points:
    """Draw a series, moved by `shift` powers of ten so that all can be seen; returns its points (N, 2)."""
    pairs = zip(item.shares, item.rows, strict=True)
    points = np.array([(share * 10**shift, row.score) for share, row in pairs])
    axes.plot(*points.T, "o-", color=color(item.slot), linewidth=1.5, markersize=4.5, zorder=3)
    for start, end in _whiskers(item, points):
        axes.plot(*np.stack([start, end]).T, color=color(item.slot), linewidth=1.2, zorder=2)
    return points


def _whiskers(item: Series, points: Points) -> list[Points]:
    """The interval of each point that has one, as (2, 2) ends."""
    rows = zip(points[:, 0], item.rows, strict=True)
    return [np.array([(x, row.interval.low), (x, row.interval.high)]) for x, row in rows if row.interval]


def _name(axes: Axes, found: Sequence[Series], lines: Sequence[Points], oracles: Sequence[Row]) -> None:
    """Write the names beside the lines, or above the figure if one of them finds no room."""
    ends = axes.get_xlim()
    levels = [np.column_stack([np.geomspace(*ends, 9), np.full(9, row.score)]) for row in oracles]
    names = [Label(item.title, points[::-1]) for item, points in zip(found, lines, strict=True)]
    names += [
        Label(_oracle_name(found, row), level[-2:0:-1]) for row, level in zip(oracles, levels, strict=True)
    ]
    whiskers = [line for item, points in zip(found, lines, strict=True) for line in _whiskers(item, points)]
    if set_labels(axes, names, [*lines, *levels, *whiskers]):
        for text in list(axes.texts):
            text.remove()
        _legend(axes, found, oracles)


def _oracle_name(found: Sequence[Series], row: Row) -> str:
    """Its title, too, unless it ends a line that has a name."""
    return "oracle" if any(row in item.rows for item in found) else f"oracle: {row.title}"


def _legend(axes: Axes, found: Sequence[Series], oracles: Sequence[Row]) -> None:
    handles = [
        Line2D([], [], color=color(item.slot), marker="o", markersize=4.5, label=shorten(item.title))
        for item in found
    ]
    handles += [
        Line2D([], [], color=MUTED, linestyle=DASHED, label=shorten(_oracle_name(found, row)))
        for row in oracles
    ]
    axes.figure.legend(handles=handles, loc="outside upper left", frameon=False, fontsize=8)
