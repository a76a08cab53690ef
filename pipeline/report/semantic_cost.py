"""What the labels of semantic segmentation cost: published seconds of a person per image."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from pipeline.report.data import Interval
from pipeline.report.words import number


@dataclass(frozen=True)
class ImagePace:
    """Seconds for the labels of one image of PASCAL VOC 2012, which has 20 classes."""

    supervision: str
    seconds: float
    way: str
    source: str


@dataclass(frozen=True)
class SemanticRow:
    """One row of the comparison: what people drew, its place in the palette, and mIoU in percent.

    crf: mIoU after a dense CRF, None without one.
    """

    title: str
    supervision: str
    slot: int
    score: float
    interval: Interval | None = None
    crf: float | None = None
    is_oracle: bool = False


@cache
def image_paces() -> dict[str, ImagePace]:
    """Supervision -> what it costs, by semantic_annotation_costs.csv."""
    text = files("pipeline.report").joinpath("semantic_annotation_costs.csv").read_text(encoding="utf-8")
    return {
        record["supervision"]: ImagePace(
            record["supervision"], float(record["seconds"]), record["way"], record["source"]
        )
        for record in csv.DictReader(text.splitlines())
    }


def costed(rows: Sequence[SemanticRow]) -> list[SemanticRow]:
    """The rows whose cost is known, cheapest first; none if all of them cost the same."""
    paces = image_paces()
    known = [row for row in rows if row.supervision in paces]
    known.sort(key=lambda row: (paces[row.supervision].seconds, -row.score))
    return known if len({row.supervision for row in known}) > 1 else []


def pace_meaning(rows: Sequence[SemanticRow]) -> str:
    """Where the seconds of these rows come from, and for which images they hold."""
    paces = image_paces()
    named = "; ".join(
        f"{pace.supervision}: {number(pace.seconds)} s ({pace.way}; {pace.source})"
        for pace in (paces[kind] for kind in dict.fromkeys(row.supervision for row in costed(rows)))
    )
    return (
        "Seconds of a person per image of PASCAL VOC 2012, with 20 classes, of which 1.5 occur in an image."
        f" {named}. Images with other classes and more objects take other times, most of all where each"
        " object is outlined."
    )
