"""What the labels of each row would cost: hours of people who draw them, by published seconds per label."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from pipeline.report.comparison import Cell, sees
from pipeline.report.data import ReportData, Row
from pipeline.report.words import number, quoted, span


@dataclass(frozen=True)
class Pace:
    """Seconds that people were measured to need for one label, drawn in some `way`."""

    supervision: str
    seconds: float
    way: str
    source: str


@dataclass(frozen=True)
class AnnotationCost:
    """A row and the hours that its labels take to draw: by the first pace of its kind, and by the slowest."""

    row: Row
    hours: float
    most: float


def read_paces() -> list[Pace]:
    """All of annotation_costs.csv; the first of a kind of labels is what hours are computed with."""
    text = files("pipeline.report").joinpath("annotation_costs.csv").read_text(encoding="utf-8")
    return [
        Pace(record["supervision"], float(record["seconds"]), record["way"], record["source"])
        for record in csv.DictReader(text.splitlines())
    ]


def annotation_costs(data: ReportData) -> list[AnnotationCost]:
    """The trained rows with a headline figure, cheapest first; none if all of them cost the same."""
    seconds: dict[str, list[float]] = {}
    for pace in read_paces():
        seconds.setdefault(pace.supervision, []).append(pace.seconds)
    costs = [
        AnnotationCost(row, row.labelled_objects * paces[0] / 3600, row.labelled_objects * max(paces) / 3600)
        for row in data.headline_rows
        if row.kind == "run" and row.score is not None and row.labelled_objects
        if (paces := seconds.get(row.supervision))
    ]
    costs.sort(key=lambda cost: (cost.hours, -(cost.row.score or 0.0)))
    return costs if len({cost.hours for cost in costs}) > 1 else []


def unbeaten(costs: Sequence[AnnotationCost]) -> list[AnnotationCost]:
    """Those with a higher figure than all that cost less or the same, cheapest first."""
    best: list[AnnotationCost] = []
    for cost in costs:
        if not best or (cost.row.score or 0.0) > (best[-1].row.score or 0.0):
            best.append(cost)
    return best


def headings(data: ReportData) -> list[tuple[str, str]]:
    """What the columns are called, and what they mean."""
    return [
        ("Drawn", "boxes or masks on the training images, crowd regions not among them"),
        ("Hours", "at published seconds per label; below it at the slowest of them"),
        (data.headline, "below it the 95 % bootstrap interval over validation images"),
    ]


def cost_lines(costs: Sequence[AnnotationCost]) -> list[tuple[Row, list[Cell]]]:
    """Each row with its cells, in the order of `headings`."""
    return [(cost.row, _cells(cost)) for cost in costs]


def _cells(cost: AnnotationCost) -> list[Cell]:
    row = cost.row
    return [
        Cell(f"{row.labelled_objects:,}", row.supervision, row.labelled_objects),
        Cell(hours(cost.hours), f"up to {hours(cost.most)}" if cost.most > cost.hours else "", cost.hours),
        Cell(number(row.score), span(row.interval), row.score),
    ]


def hours(value: float) -> str:
    """Hours for people: "0.6", "4.1", "115", "18,926"."""
    return f"{value:,.0f}" if value >= 9.95 else number(value)


def cost_text(data: ReportData, costs: Sequence[AnnotationCost]) -> str:
    """Which rows are worth their labels, in words."""
    named = [
        f"{quoted(cost.row)} ({sees(cost.row)}: {hours(cost.hours)} h,"
        f" {number(cost.row.score)} {data.headline})"
        for cost in unbeaten(costs)
    ]
    return (
        f"By the figures alone, no row that costs less or the same is better than these: {'; '.join(named)}."
    )


def cost_meaning() -> str:
    """Where the hours come from, and what is not in them."""
    kinds: dict[str, list[str]] = {}
    for pace in read_paces():
        kinds.setdefault(pace.supervision, []).append(f"{pace.seconds:g} s ({pace.way}; {pace.source})")
    paces = "; ".join(f"{kind}: {' or '.join(ways)}" for kind, ways in kinds.items())
    return (
        f"An estimate: the number of labels, times published seconds for one. {paces}. Finding and naming the"
        " objects come on top, as do images without any; other objects than those of the sources may take"
        " less or more."
    )
