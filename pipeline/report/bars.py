"""Bar charts: the headline figure, retention and mask IoU of the rows, with intervals and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.report.data import Interval, ReportData, Row
from pipeline.report.figures import shorten
from pipeline.report.palette import INK, MUTED, SURFACE, color, row_slots

HEIGHT = 0.44  # inches per row, with its label above the bar


@dataclass(frozen=True)
class Bar:
    """One horizontal bar in percent: its label, whisker and the dots of single seeds."""

    label: str
    slot: int
    value: float | None
    interval: Interval | None
    dots: tuple[float, ...] = ()


def bar_charts(data: ReportData) -> dict[str, tuple[str, Figure]]:
    """Name -> (caption, figure) of the bar charts that have something to show; call inside `settings`."""
    charts = {}
    scores, kept, ious = score_bars(data), retention_bars(data), mask_iou_bars(data)
    if any(bar.value is not None for bar in scores):
        caption = data.headline[0].upper() + data.headline[1:]
        charts["ap"] = (caption, bar_figure(scores, f"{data.headline}, %"))
    if kept:
        charts["retention"] = ("Retention", bar_figure(kept, "% of the oracle's AP", reference=100.0))
    if ious:
        charts["mask_iou"] = ("Mask IoU in ground-truth boxes", bar_figure(ious, "mask IoU, %"))
    return charts


def score_bars(data: ReportData) -> list[Bar]:
    """The headline figure of every row that is compared by it, with its interval and its seeds."""
    slots = row_slots(data)
    return [
        Bar(row.title, slots[row.name], row.score, row.interval, _seed_dots(row))
        for row in data.headline_rows
    ]


def retention_bars(data: ReportData) -> list[Bar]:
    """Retention of every row that has an oracle other than itself."""
    slots = row_slots(data)
    return [
        Bar(row.title, slots[row.name], row.retention, row.retention_interval)
        for row in data.rows
        if row.retention is not None and not row.is_oracle
    ]


def mask_iou_bars(data: ReportData) -> list[Bar]:
    """Mask IoU of all rows that have it, where rows that have nothing else stand beside others; else none."""
    if all(row.score is None for row in data.labelers):
        return []
    slots = row_slots(data)
    return [
        Bar(
            row.title,
            slots[row.name],
            row.metrics["mask_iou"],
            row.mask_iou_interval,
            () if row.detects else _seed_dots(row),
        )
        for row in data.rows
        if row.metrics.get("mask_iou") is not None
    ]


def _seed_dots(row: Row) -> tuple[float, ...]:
    values = tuple(value for value in row.seed_scores.values() if value is not None)
    return values if len(values) > 1 else ()


def bar_figure(bars: Sequence[Bar], axis: str, reference: float | None = None) -> Figure:
    """Horizontal bars, first on top.  reference: a vertical line, such as the oracle's 100 %."""
    figure = Figure(figsize=(3.9, 0.62 + HEIGHT * len(bars)), layout="constrained")
    axes = figure.add_subplot()
    for place, bar in enumerate(bars):
        _draw_bar(axes, place, bar)
    axes.set_ylim(len(bars) - 0.45, -0.75)
    axes.set_yticks([])
    axes.set_xlim(0, _right_end(bars, reference))
    axes.set_xlabel(axis, fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.grid(True)
    axes.tick_params(length=0)
    axes.spines["bottom"].set_visible(False)
    if reference is not None:
        axes.axvline(reference, color=MUTED, linewidth=1, linestyle=(0, (3, 2)))
    return figure


def _draw_bar(axes: Axes, place: int, bar: Bar) -> None:
    axes.text(0, place - 0.24, shorten(bar.label), va="bottom", ha="left", fontsize=8.5)
    if bar.value is None:
        axes.text(0, place, " could not be computed", va="center", ha="left", color=MUTED, fontsize=8)
        return
    axes.barh(place, bar.value, height=0.4, color=color(bar.slot))
    end = bar.value
    if bar.interval:
        axes.hlines(place, bar.interval.low, bar.interval.high, color=INK, linewidth=1.3)
        axes.vlines([bar.interval.low, bar.interval.high], place - 0.1, place + 0.1, color=INK, linewidth=1.3)
        end = max(end, bar.interval.high)
    axes.plot(
        bar.dots,
        [place] * len(bar.dots),
        "o",
        markersize=3.4,
        color=SURFACE,
        markeredgecolor=INK,
        markeredgewidth=0.8,
        zorder=4,
    )
    axes.annotate(
        f"{bar.value:.1f}",
        (end, place),
        (5, 0),
        textcoords="offset points",
        va="center",
        fontsize=9,
        fontweight="bold",
        bbox={"facecolor": SURFACE, "edgecolor": "none", "pad": 1.5},
    )


def _right_end(bars: Sequence[Bar], reference: float | None) -> float:
    ends = [max(bar.value, bar.interval.high if bar.interval else 0) for bar in bars if bar.value is not None]
    return max([*ends, reference or 0.0, 1.0]) * 1.14
