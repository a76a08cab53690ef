"""The section on the masks that teachers gave their students while these trained."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from pipeline.files import read_json
from pipeline.layout import Layout
from pipeline.report.comparison import Cell
from pipeline.report.data import Curve, ReportData, Row
from pipeline.report.learning import Line, curve_figure, curve_lines, curve_panel
from pipeline.report.palette import row_slots
from pipeline.report.words import number

MEANING = (
    "Of the last training batches before each checkpoint: the share of boxes to which a teacher gave a mask,"
    " and the mean IoU of these masks with those of the training images. Neither student nor teacher sees the"
    " latter; they are compared afterwards."
)
ACCEPTED, MASK_IOU = "boxes with a pseudo mask (%)", "mask IoU of the pseudo masks (%)"
HEADINGS = (
    ("Boxes with a mask", "in percent, before the last checkpoint; below it before the first one"),
    ("Mask IoU", "mean of these masks, before the last checkpoint; below it before the first one"),
)


def load_pseudo_masks(layout: Layout, run: str) -> tuple[Curve, ...]:
    """What the stage `pseudo_mask_quality` measured of a run, a curve per seed; NaN where there is no figure.

    Raises UserError for a missing file, KeyError or TypeError for one with another layout.
    """
    measured = read_json(layout.pseudo_mask_quality(run))
    return tuple(
        Curve(
            int(seed),
            np.array([row["step"] for row in rows], dtype=np.float64),
            {
                name: np.array([np.nan if row[key] is None else row[key] for row in rows], dtype=np.float64)
                for name, key in ((ACCEPTED, "accepted"), (MASK_IOU, "mask_iou"))
            },
        )
        for seed, rows in sorted(measured.items(), key=lambda item: int(item[0]))
    )


def pseudo_mask_terms(data: ReportData) -> dict[str, list[Line]]:
    """The two figures, with a line for each run that has them."""
    return curve_lines(data.pseudo_masks, row_slots(data))


def pseudo_mask_panels(data: ReportData) -> list[Figure]:
    """One for each figure, for the page; call inside `settings`."""
    return [curve_panel(name, lines) for name, lines in pseudo_mask_terms(data).items()]


def pseudo_mask_picture(data: ReportData) -> Figure | None:
    """Both as one, as a file; None without any; call inside `settings`."""
    terms = pseudo_mask_terms(data)
    return curve_figure(terms, {row.name: row.title for row in data.rows}) if terms else None


def pseudo_mask_lines(data: ReportData) -> list[tuple[Row, list[Cell]]]:
    """Each row with figures, and its cells in the order of HEADINGS: means over its seeds."""
    terms = pseudo_mask_terms(data)
    cells = {name: {line.run: _cell(line) for line in lines} for name, lines in terms.items()}
    return [
        (row, [cells.get(name, {}).get(row.name, Cell("–")) for name in (ACCEPTED, MASK_IOU)])
        for row in data.rows
        if any(row.name in found for found in cells.values())
    ]


def _cell(line: Line) -> Cell:
    first, last = float(line.mean[0]), float(line.mean[-1])
    note = f"{number(first)} by step {line.steps[0]:,.0f}" if len(line.steps) > 1 else ""
    return Cell(number(last), note, last)
