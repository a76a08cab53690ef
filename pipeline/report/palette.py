"""Colours of the report: distinguishable with colour-vision deficiency, one per row in every figure.

Hues follow Okabe and Ito's set (Color Universal Design, 2008), without its yellow, which is unreadable as
a line on white.  Figures are drawn in these colours; in the page each becomes the CSS variable of the
same name, so that they follow the reader's light or dark scheme.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.report.data import ReportData

RUNS = ("#0072b2", "#d55e00", "#009e73", "#c15c95", "#e69f00", "#56b4e9", "#8a6d3b", "#6e7781")
DASHES: tuple[tuple[float, Sequence[float]], ...] = (
    (0, ()),
    (0, (5, 2)),
    (0, (1.5, 1.5)),
    (0, (7, 2, 1.5, 2)),
)
INK, MUTED, GRID, SURFACE = "#1c2127", "#5a646f", "#d9dee4", "#fefefe"

# Pixels of a prediction: on an object, off every object, and objects' pixels that it lacks; and, of label
# maps, those of one class that are taken for another one's.
HIT, FALSE_ALARM, MISS = (30, 120, 220), (225, 65, 20), (250, 220, 30)
MIX_UP = (150, 60, 200)


def row_slots(data: ReportData) -> dict[str, int]:
    """Row -> its place in the palette; beyond len(RUNS) the colours repeat with other dashes."""
    return {row.name: index for index, row in enumerate(data.rows)}


def color(slot: int) -> str:
    """The colour of a row as #rrggbb."""
    return RUNS[slot % len(RUNS)]


def dashes(slot: int) -> tuple[float, Sequence[float]]:
    """The line style of a row, as matplotlib's (offset, lengths): solid while colours last."""
    return DASHES[slot // len(RUNS) % len(DASHES)]


def css_variables() -> dict[str, str]:
    """Each colour of a figure and the CSS variable that replaces it in the page."""
    plain = {INK: "--ink", MUTED: "--muted", GRID: "--line", SURFACE: "--surface"}
    return plain | {value: f"--run-{index}" for index, value in enumerate(RUNS)}
