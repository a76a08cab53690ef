"""The figures on what labels give: by their share of the images, and by the hours that they cost."""

from __future__ import annotations

from matplotlib.figure import Figure

from pipeline.report.annotation_cost import annotation_costs
from pipeline.report.annotation_cost_figure import cost_figure
from pipeline.report.data import ReportData
from pipeline.report.efficiency_figure import efficiency_figure, efficiency_panels
from pipeline.report.series import all_series


def label_pictures(data: ReportData) -> dict[str, Figure]:
    """Name -> figure as a file, of those that have something to show; call inside `settings`."""
    made = {}
    if found := all_series(data):
        made["label_efficiency"] = efficiency_figure(data, found)
    if costs := annotation_costs(data):
        made["annotation_cost"] = cost_figure(data, costs)
    return made


def label_panels(data: ReportData) -> dict[str, list[Figure]]:
    """The same as parts, for the page."""
    made = {}
    if found := all_series(data):
        made["label_efficiency"] = list(efficiency_panels(data, found).values())
    if costs := annotation_costs(data):
        made["annotation_cost"] = [cost_figure(data, costs)]
    return made
