"""The clustering score of labelers: how well their encoders separate object and background."""

from __future__ import annotations

from pipeline.files import read_json
from pipeline.layout import Layout
from pipeline.report.comparison import Cell
from pipeline.report.data import ReportData, Row, Separation
from pipeline.report.words import number

MEANING = (
    "How tightly an encoder's tokens gather by side, object or background, in the crops of val's ground-truth"
    " boxes: the mean squared distance of a token's direction from that of its side's centre (Eq. 6 of the"
    " MAL paper). 0 is best, 4 worst; it speaks of encoders, not of masks."
)
HEADINGS = (
    ("Clustering score", "lower is better; below it that of each seed, where there are several"),
    ("Boxes", "boxes that count; below it those that do not"),
)


def load_separation(layout: Layout, run: str) -> Separation:
    """What the stage `separation` measured of a run.

    Raises UserError for a missing file, KeyError or TypeError for one with another layout.
    """
    measured = read_json(layout.separation(run))
    return Separation(
        score=measured["clustering_score"],
        seeds={int(seed): score for seed, score in measured["seeds"].items()},
        boxes=measured["boxes"],
        without_mask=measured["without_mask"],
        one_sided=measured["one_sided"],
    )


def separation_lines(data: ReportData) -> list[tuple[Row, list[Cell]]]:
    """Each row that has a score with its cells, in the order of HEADINGS."""
    return [(row, _cells(row.separation)) for row in data.rows if row.separation is not None]


def _cells(measured: Separation) -> list[Cell]:
    seeds = [number(score, 3) for score in measured.seeds.values()]
    left_out = [
        f"{count:,} {reason}"
        for count, reason in (
            (measured.without_mask, "without mask"),
            (measured.one_sided, "of object or background only"),
        )
        if count
    ]
    return [
        Cell(number(measured.score, 3), ", ".join(seeds) if len(seeds) > 1 else "", measured.score),
        Cell(f"{measured.boxes:,}", ", ".join(left_out), measured.boxes),
    ]
