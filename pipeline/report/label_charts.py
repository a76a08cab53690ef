"""The figures on what labels give: by their share of the images, and by the hours that they cost."""

from __future__ import annotations

from matplotlib.figure import Figure

from pipeline.report.annotation_cost import annotation_costs
from pipeline.report.annotation_cost_figure import cost_figure
from pipeline.report.data import ReportData
from pipeline.report.efficiency import all_series
from pipeline.report.efficiency_figure import efficiency_figure


def label_charts(data: ReportData) -> dict[str, Figure]:
    """Name -> figure, of those that have something to show; call inside `settings`."""
    charts = {}
    if found := all_series(data):
        charts["label_efficiency"] = efficiency_figure(data, found)
    if costs := annotation_costs(data):
        charts["annotation_cost"] = cost_figure(data, costs)
    return charts
