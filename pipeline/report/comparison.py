"""The tables of the page: comparison, differences, classes.  The template only lays their texts out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.report.data import Difference, Interval, ReportData, Row
from pipeline.report.words import number, percentage, span, unit


@dataclass(frozen=True)
class Cell:
    """One cell: its text, a smaller second line, and the number it sorts by (None sorts last)."""

    text: str
    note: str = ""
    value: float | None = None


@dataclass(frozen=True)
class Column:
    """One column: its heading, what it means, and its cell of a row."""

    label: str
    meaning: str
    cell: Callable[[Row], Cell]


def _metric(key: str) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        value = row.metrics.get(key)
        intervals = {"mask_iou": row.mask_iou_interval, row.headline: row.interval}
        return Cell(number(value), span(intervals.get(key)), value)

    return cell


def _retention(row: Row) -> Cell:
    if row.is_oracle and row.detects:
        return Cell("oracle", value=row.retention)
    text = "–" if row.retention is None else f"{number(row.retention)} %"
    return Cell(text, span(row.retention_interval), row.retention)


def _seeds(row: Row) -> Cell:
    values = [value for value in row.seed_scores.values() if value is not None]
    spread = f"{unit(row.headline)} {number(min(values))} to {number(max(values))}" if len(values) > 1 else ""
    return Cell(str(len(row.seeds)), spread, float(len(row.seeds)))


def _size(row: Row) -> Cell:
    return Cell(number(row.params_million, 2), value=row.params_million)


def _images(row: Row) -> Cell:
    return Cell("–" if row.train_images is None else f"{row.train_images:,}", value=row.train_images)


_COLUMNS = (
    Column(
        "AP",
        "mask AP in percent, mean over the IoU thresholds 0.50 to 0.95 and over seeds; below it the"
        " 95 % bootstrap interval over validation images",
        _metric("AP"),
    ),
    Column(
        "Retention",
        "the share of the oracle's AP that is reached, the oracle being the same model trained"
        " with masks; below it the paired 95 % interval",
        _retention,
    ),
    Column("AP50", "mask AP at IoU 0.50", _metric("AP50")),
    Column("AP75", "mask AP at IoU 0.75", _metric("AP75")),
    Column(
        "Mask IoU",
        "mean IoU of the mask given for each ground-truth box: mask quality without detection; below it the"
        " 95 % bootstrap interval",
        _metric("mask_iou"),
    ),
    Column(
        "Boundary",
        "boundary AP: as mask AP, but the overlap is measured near the outlines",
        _metric("boundary_AP"),
    ),
    Column("Box AP", "AP of the boxes", _metric("box_AP")),
    Column("APs", "mask AP of small objects, below 32 × 32 pixels", _metric("APs")),
    Column("APm", "mask AP of medium objects, up to 96 × 96 pixels", _metric("APm")),
    Column("APl", "mask AP of large objects", _metric("APl")),
    Column("mIoU", "mean IoU over classes, of all pixels", _metric("mIoU")),
    Column("mIoU + CRF", "mIoU after a dense CRF", _metric("mIoU_crf")),
    Column("Seeds", "trainings from different seeds; below it the lowest and highest figure", _seeds),
    Column("Images", "training images", _images),
    Column("Params", "parameters of the model, in millions", _size),
)


def columns(data: ReportData) -> list[Column]:
    """The columns that hold a figure in at least one row."""
    return [column for column in _COLUMNS if any(column.cell(row).value is not None for row in data.rows)]


def sees(row: Row) -> str:
    """What supervision a row had, for people: "masks, 4 %", "boxes, through mal", "boxes, no training"."""
    share = [percentage(row.labelled_fraction or 0)] if row.is_partial else []
    through = [f"through {row.through}"] if row.through else []
    untrained = ["no training"] if row.kind == "baseline" else []
    return ", ".join([row.supervision, *share, *through, *untrained])


@dataclass(frozen=True)
class DifferenceLine:
    """A difference between two rows in words; verdict: "beyond noise", "within noise" or "unknown"."""

    item: Difference
    text: str
    interval: str
    verdict: str


def difference_lines(differences: Sequence[Difference]) -> list[DifferenceLine]:
    """All pairs, the higher figure first, largest difference on top."""
    lines = [_difference_line(_upright(item)) for item in differences]
    return sorted(lines, key=lambda line: (-line.item.difference, line.item.first, line.item.second))


def _upright(item: Difference) -> Difference:
    return item if item.difference >= 0 else _turned(item)


def _turned(item: Difference) -> Difference:
    limits = Interval(-item.interval.high, -item.interval.low) if item.interval else None
    return Difference(item.second, item.first, -item.difference, limits, item.within_noise)


def headline_difference(data: ReportData, first: str, second: str) -> Difference | None:
    """The headline figure of one row minus that of another; None if they are not compared by it."""
    for item in data.headline_differences:
        if (item.first, item.second) == (first, second):
            return item
        if (item.second, item.first) == (first, second):
            return _turned(item)
    return None


def _difference_line(item: Difference) -> DifferenceLine:
    verdicts = {True: "within noise", False: "beyond noise", None: "unknown"}
    return DifferenceLine(
        item, f"+{number(item.difference)}", span(item.interval) or "–", verdicts[item.within_noise]
    )


@dataclass(frozen=True)
class ClassTable:
    """A figure by class: its title, the rows that are its columns, and class -> a cell of each row."""

    title: str
    rows: tuple[Row, ...]
    lines: list[tuple[str, list[Cell]]]


def class_tables(data: ReportData) -> list[ClassTable]:
    """One table for each headline figure, since AP and mask IoU cannot stand beside each other."""
    tables = []
    for headline in dict.fromkeys((data.headline_metric, "mask_iou")):
        rows = tuple(row for row in data.rows if row.headline == headline)
        named = {name for row in rows for name in row.per_category}
        lines = [
            (name, [_class_cell(row, name) for row in rows]) for name in data.categories if name in named
        ]
        if lines:
            figure = unit(headline)
            tables.append(ClassTable(f"{figure[0].upper()}{figure[1:]} by class", rows, lines))
    return tables


def _class_cell(row: Row, name: str) -> Cell:
    value = row.per_category.get(name)
    return Cell(number(value), value=value)
