"""Texts set beside what they name in a figure, where there is room: a legend that needs no looking up."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from pipeline.report.figures import shorten

Points = NDArray[np.float64]

SIZE = 8.5  # of the font
SHAPES = ((22, 2), (18, 3), (14, 4))  # of a text, better one first: characters of a line, lines
GAP = 6.0  # points from an anchor to its text
MARGIN = 3.0  # pixels that a text keeps off lines and other texts
NOWHERE: Points = np.empty((0, 2))
STEP = 3.0  # pixels between the dots that stand for a line
# Where a text may stand about its anchor: direction in x and y, and its alignment.
PLACES = (
    (1, 0, "left"),
    (0, 1, "center"),
    (0, -1, "center"),
    (1, 1, "left"),
    (1, -1, "left"),
    (-1, 1, "right"),
    (-1, -1, "right"),
    (-1, 0, "right"),
    (0, 1, "left"),
    (0, 1, "right"),
    (0, -1, "left"),
    (0, -1, "right"),
)
_BEFORE = {"left": 0.0, "center": 0.5, "right": 1.0}  # the part of a text that lies left of where it is set


@dataclass(frozen=True)
class Label:
    """A text and what it may stand beside, in data coordinates, best first.

    points: (N, 2) what it names; ends: (M, 2) of lines that belong to them.
    """

    text: str
    points: Points
    ends: Points = field(default_factory=lambda: NOWHERE)
    bold: bool = False

    @property
    def places(self) -> Points:
        """(N + M, 2) both."""
        return np.concatenate([self.points, self.ends])


def set_labels(axes: Axes, labels: Sequence[Label], lines: Sequence[Points]) -> list[Label]:
    """Set labels where they fit, first ones first; returns those without a place.

    A label fits where it lies inside `axes`, on no other label and no line, and nearer to what it stands
    beside than to what others may stand beside.  lines: (N, 2) corners of what is drawn, in data coordinates.
    The limits of the axes must be final.
    """
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]  # settles the layout
    dots = np.concatenate([_dots(axes, line) for line in lines])
    boxes: list[Bbox] = []
    left_over = []
    for label in labels:
        others = np.concatenate([other.places for other in labels if other is not label] or [NOWHERE])
        taken = _Taken(axes.bbox, dots, axes.transData.transform(others), boxes)
        if not _set(axes, label, taken):
            left_over.append(label)
    return left_over


@dataclass(frozen=True)
class _Taken:
    """What a text must respect, in pixels: where it may lie, dots of lines, places of others, other texts."""

    inside: Bbox
    dots: Points
    places: Points
    boxes: list[Bbox]

    def leaves(self, box: Bbox, anchor: Points) -> bool:
        """Whether there is room for `box` beside its `anchor` (2,)."""
        within = (
            box.x0 >= self.inside.x0
            and box.x1 <= self.inside.x1
            and box.y0 >= self.inside.y0
            and box.y1 <= self.inside.y1
        )
        near = bool((_distance(self.places, box) <= _distance(anchor[None], box)).any())
        on_line = bool((_distance(self.dots, box) < MARGIN).any())
        return within and not near and not on_line and not any(box.overlaps(other) for other in self.boxes)


def _distance(points: Points, box: Bbox) -> Points:
    """(N,) distances in pixels of points (N, 2) from a box; 0 inside."""
    low, high = np.array(box.min), np.array(box.max)
    return np.asarray(np.hypot(*np.maximum(np.maximum(low - points, points - high), 0).T))


def _dots(axes: Axes, line: Points) -> Points:
    """(M, 2) pixels that lie close together on a line."""
    corners = axes.transData.transform(line)
    parts = [corners[-1:]]
    for start, end in pairwise(corners):
        count = max(1, int(np.hypot(*(end - start)) / STEP))
        parts.append(start + (end - start) * np.linspace(0, 1, count, endpoint=False)[:, None])
    return np.concatenate(parts)


def _set(axes: Axes, label: Label, taken: _Taken) -> bool:
    """Set one label, which is then among what is taken; False if there is no room."""
    gap = GAP * axes.figure.dpi / 72
    for shape in SHAPES:
        text = wrapped(label.text, *shape)
        size = _size(axes, text, label)
        for anchor, (x, y, alignment) in product(label.places, PLACES):
            corner = axes.transData.transform(anchor) + gap * np.array([x, y])
            corner -= size * [_BEFORE[alignment], (1 - y) / 2]
            box = Bbox([corner, corner + size])
            if taken.leaves(box, axes.transData.transform(anchor)):
                taken.boxes.append(box.padded(MARGIN))
                _write(axes, text, label.bold, anchor, (x, y), alignment)
                return True
    return False


def _write(axes: Axes, text: str, bold: bool, anchor: Points, side: tuple[int, int], alignment: str) -> Text:
    written = axes.annotate(
        text,
        (anchor[0], anchor[1]),
        (GAP * side[0], GAP * side[1]),
        textcoords="offset points",
        ha=alignment,
        va={1: "bottom", 0: "center", -1: "top"}[side[1]],
        fontsize=SIZE,
        fontweight="bold" if bold else "normal",
    )
    written.set_in_layout(False)
    return written


def _size(axes: Axes, text: str, label: Label) -> Points:
    """(2,) width and height of a text of the label in pixels."""
    written = _write(axes, text, label.bold, label.places[0], (1, 1), "left")
    box = written.get_window_extent()
    written.remove()
    return np.array([box.width, box.height])


def wrapped(text: str, width: int, lines: int) -> str:
    """`text` on lines of at most `width` characters, cut after `lines` of them; a number keeps its "%"."""
    made = textwrap.wrap(text.replace(" %", "\N{NO-BREAK SPACE}%"), width)
    return "\n".join([*made[: lines - 1], shorten(" ".join(made[lines - 1 :]), width)][: max(1, len(made))])
