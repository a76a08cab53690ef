"""The templates of index.html and report.md, and what both of them show."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.report import annotation_cost, efficiency, pseudo_masks, semantic_tables, separation, series
from pipeline.report.comparison import DifferenceLine, class_tables, columns, difference_lines, sees
from pipeline.report.data import ReportData
from pipeline.report.pseudo_labels import HEADINGS, origin, set_lines, set_notes
from pipeline.report.words import number, span, summary, warnings


def environment(*, autoescape: bool) -> Environment:
    """The templates of this package; an undefined name in one is an error, not an empty text."""
    made = Environment(
        loader=PackageLoader("pipeline.report", "."),
        autoescape=autoescape,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    made.filters |= {"number": number, "span": span}
    return made


def content(data: ReportData) -> dict[str, Any]:
    """Name -> value of all that both templates use."""
    found, costs = series.all_series(data), annotation_cost.annotation_costs(data)
    maps = semantic_tables.content(data.label_maps) if data.label_maps else None
    return {
        "data": data,
        "summary": " ".join(filter(None, (summary(data), maps["summary"] if maps else ""))),
        "warnings": [*warnings(data), *(maps["warnings"] if maps else ())],
        "columns": columns(data),
        "sees": sees,
        "differences": difference_tables(data),
        "classes": class_tables(data),
        "pseudo_headings": HEADINGS,
        "pseudo_sets": set_lines(data),
        "pseudo_notes": set_notes(data),
        "origin": origin,
        "separation_headings": separation.HEADINGS,
        "separation_meaning": separation.MEANING,
        "efficiency_headings": efficiency.headings(data),
        "efficiency_lines": efficiency.series_lines(data, found),
        "efficiency_lacks_end": bool(series.references(data, found)),
        "efficiency_text": efficiency.efficiency_text(data, found),
        "cost_headings": annotation_cost.headings(data),
        "cost_lines": annotation_cost.cost_lines(costs),
        "cost_text": annotation_cost.cost_text(data, costs),
        "cost_meaning": annotation_cost.cost_meaning(),
        "pseudo_mask_headings": pseudo_masks.HEADINGS,
        "pseudo_mask_meaning": pseudo_masks.MEANING,
        "pseudo_mask_lines": pseudo_masks.pseudo_mask_lines(data),
        "separations": separation.separation_lines(data),
        "semantic": maps,
    }


def difference_tables(data: ReportData) -> list[tuple[str, list[DifferenceLine]]]:
    """(figure, its differences between rows) of each figure with any, the headline first."""
    tables = {data.headline: difference_lines(data.differences)}
    tables["mask IoU"] = difference_lines(data.mask_iou_differences)
    return [(figure, lines) for figure, lines in tables.items() if lines]
