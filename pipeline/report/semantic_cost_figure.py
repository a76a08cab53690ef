"""mIoU over the seconds that the labels of one image take, on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.report.direct_labels import NOWHERE, Label, set_labels
from pipeline.report.palette import MUTED, SURFACE, color
from pipeline.report.semantic_cost import SemanticRow, costed, image_paces

Points = NDArray[np.float64]

MARKERS = {"tags": "^", "points": "D", "scribbles": "v", "boxes": "s", "pixels": "o"}
DOT: Any = {"markersize": 6, "markeredgecolor": SURFACE, "markeredgewidth": 0.8, "zorder": 3}
RING: Any = {"marker": "o", "markersize": 4.5, "markerfacecolor": SURFACE, "markeredgecolor": MUTED}
DASHED: Any = {"color": MUTED, "linewidth": 1, "linestyle": (0, (3, 2))}
WIDTHS = (5.2, 6.4, 7.6)  # inches, tried until all names have room
EDGE = 0.12  # of the width of the axis, empty on both sides
APART = 0.022  # of the width of the axis, between rows of one cost
TICKS_APART = 0.07  # of the width of the axis, between costs that are written below it


def supervision_figure(rows: Sequence[SemanticRow]) -> Figure:
    """A point per row with its interval; a small ring is the row after a dense CRF.  Call inside `settings`.

    The dashed line is the best oracle.  Rows of one cost stand side by side.
    """
    rows = costed(rows)
    for width in WIDTHS:
        figure, unnamed = _drawn(rows, width)
        if not unnamed:
            break
    return figure


def _drawn(rows: Sequence[SemanticRow], width: float) -> tuple[Figure, list[Label]]:
    """The figure, and the names that found no room."""
    figure = Figure(figsize=(width, 3.7), layout="constrained")
    if handles := _legend(rows):
        figure.legend(handles=handles, loc="outside upper right", ncols=2, fontsize=7.5, frameon=False)
    axes = figure.add_subplot()
    _set_seconds(axes, rows)
    lines: list[Points] = []
    names = []
    for row, seconds in zip(rows, _places(axes, rows), strict=True):
        shade, point = color(row.slot), np.array([[seconds, row.score]])
        ends = NOWHERE
        if row.interval is not None:
            ends = np.array([(seconds, row.interval.high), (seconds, row.interval.low)])
            axes.plot(*ends.T, color=shade, linewidth=1.2, zorder=2)
        if row.crf is not None:
            refined = np.array([[seconds, row.crf]])
            axes.plot(*refined.T, linestyle="none", zorder=4, **RING | {"markeredgecolor": shade})
            ends = np.concatenate([ends, refined])
        axes.plot(*point.T, MARKERS[row.supervision], color=shade, **DOT)
        lines += [point, *([ends] if len(ends) else [])]
        names.append(Label(row.title, point, ends))
    axes.set_xlabel("labels of an image: seconds of a person (log scale)", fontsize=8)
    axes.set_ylabel("mIoU, %", fontsize=8)
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.grid(True)
    axes.tick_params(length=0)
    axes.margins(y=0.14)
    axes.set_ylim(max(0.0, axes.get_ylim()[0]))
    oracles = [row.score for row in rows if row.is_oracle]
    if oracles:
        axes.axhline(max(oracles), zorder=1, **DASHED)
    names.sort(key=lambda label: -label.points[0, 1])
    return figure, set_labels(axes, names, lines)


def _legend(rows: Sequence[SemanticRow]) -> list[Line2D]:
    handles = []
    if any(row.is_oracle for row in rows):
        handles.append(Line2D([], [], label="the oracle", **DASHED))
    if any(row.crf is not None for row in rows):
        handles.append(Line2D([], [], linestyle="none", color=MUTED, label="after a dense CRF", **RING))
    return handles


def _seconds(row: SemanticRow) -> float:
    return image_paces()[row.supervision].seconds


def _set_seconds(axes: Axes, rows: Sequence[SemanticRow]) -> None:
    """Write each kind of label with its seconds below the axis, the nearest ones one above the other."""
    kinds = {row.supervision: _seconds(row) for row in rows}
    low, high = math.log10(min(kinds.values())), math.log10(max(kinds.values()))
    width = (high - low) / (1 - 2 * EDGE)
    axes.set_xscale("log")
    axes.set_xlim(10 ** (low - EDGE * width), 10 ** (high + EDGE * width))
    texts, last, dropped = [], -math.inf, False
    for kind, seconds in kinds.items():
        near = math.log10(seconds) - last < TICKS_APART * width and not dropped
        texts.append(("\n\n" if near else "") + f"{kind}\n{seconds:g} s")
        last, dropped = math.log10(seconds), near
    axes.set_xticks(list(kinds.values()), texts)
    axes.minorticks_off()


def _places(axes: Axes, rows: Sequence[SemanticRow]) -> list[float]:
    """The seconds of each row, moved a little to the side where rows have the same."""
    left, right = axes.get_xlim()
    step = APART * math.log10(right / left)
    places = []
    for index, row in enumerate(rows):
        same = [other for other, one in enumerate(rows) if one.supervision == row.supervision]
        places.append(_seconds(row) * 10 ** (step * (same.index(index) - (len(same) - 1) / 2)))
    return places
