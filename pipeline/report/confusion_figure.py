"""Which classes a network takes for which: the confusion matrix, in percent of the pixels of each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.report.figures import shorten
from pipeline.report.palette import GRID, INK, MUTED, RUNS, SURFACE

CELL, SMALL_CELL = 0.3, 0.12  # inches
MOST_WRITTEN = 30  # classes: beyond, cells are small and numbers would be too small to read
LEAST_WRITTEN = 0.5  # percent: what rounds to 0 is left empty
DARK = 55.0  # percent from which on a cell is too dark for dark text
NAME_LENGTH = 16
ABSENT = "not in the ground truth"
BLANK: Any = {"facecolor": SURFACE, "edgecolor": "none", "pad": 1.0}


def confusion_figure(confusion: NDArray[np.integer], classes: Sequence[str]) -> Figure:
    """Draw (C, C) pixel counts, ground truth by prediction; call inside `settings`.

    A class without ground truth is an empty row.  With more than MOST_WRITTEN classes, shades alone.
    """
    shares = row_shares(confusion)
    names = [shorten(name, NAME_LENGTH) for name in classes]
    count = len(names)
    written = count <= MOST_WRITTEN
    side = max(1.2, (CELL if written else SMALL_CELL) * count)
    figure = Figure(figsize=(side + 1.6, side + 1.3), layout="constrained")
    axes = figure.add_subplot()
    shades = LinearSegmentedColormap.from_list("shares", [SURFACE, RUNS[0]])
    axes.imshow(np.ma.masked_invalid(shares), cmap=shades, vmin=0, vmax=100)
    if written:
        for row, column in np.argwhere(np.nan_to_num(shares) >= LEAST_WRITTEN).tolist():
            value = shares[row, column]
            axes.text(
                column,
                row,
                f"{value:.0f}",
                ha="center",
                va="center",
                fontsize=7,
                color=SURFACE if value >= DARK else INK,
                fontweight="bold" if row == column else "normal",
            )
    for row in np.flatnonzero(np.isnan(shares).all(axis=1)).tolist():
        axes.text(-0.3, row, ABSENT, va="center", fontsize=7 if written else 4, color=MUTED, bbox=BLANK)
    size = 8.0 if written else 5.0
    axes.set_xticks(range(count), names, rotation=90, fontsize=size)
    axes.set_yticks(range(count), names, fontsize=size)
    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.5)
    axes.tick_params(which="both", length=0)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("predicted, % of the class's pixels", fontsize=8)
    axes.set_ylabel("ground truth", fontsize=8)
    axes.spines[:].set_visible(False)
    return figure


def row_shares(confusion: NDArray[np.integer]) -> NDArray[np.float64]:
    """(C, C) in percent of each row's sum; NaN in rows without any."""
    total = confusion.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return np.asarray(100.0 * confusion / total)
