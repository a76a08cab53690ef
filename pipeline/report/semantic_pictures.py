"""The figures of the semantic task: cost of labels, confusion, learning curves, gallery."""

from __future__ import annotations

from matplotlib.figure import Figure

from pipeline.report import learning
from pipeline.report.confusion_figure import confusion_figure
from pipeline.report.semantic_cost import costed
from pipeline.report.semantic_cost_figure import supervision_figure
from pipeline.report.semantic_data import LabelMapRow, LabelMaps
from pipeline.report.semantic_gallery import semantic_gallery
from pipeline.report.semantic_tables import cost_rows


def semantic_figures(maps: LabelMaps) -> dict[str, Figure]:
    """Name -> figure, of those that have something to show; call inside `settings`."""
    made: dict[str, Figure] = {}
    if costed(rows := cost_rows(maps)):
        made["label_map_cost"] = supervision_figure(rows)
    for row in confused(maps):
        made[f"confusion_{row.name}"] = confusion_figure(row.confusion, maps.classes.names)
    if terms := learning.curve_lines(maps.curves, maps.slots):
        made["label_map_curves"] = learning.curve_figure(terms, {row.name: row.title for row in maps.rows})
    if maps.scenes:
        made["label_maps"] = semantic_gallery(maps.scenes, maps.classes)
    return made


def confused(maps: LabelMaps) -> list[LabelMapRow]:
    """The rows whose confusion is shown: the leading one and its oracle."""
    if (best := maps.leading) is None:
        return []
    names = {row.name for row in maps.rows}
    others = [maps.row(best.oracle)] if best.oracle in names and not best.is_oracle else []
    return [best, *others]
