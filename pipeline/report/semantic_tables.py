"""The tables of the semantic task: rows, label sets, classes.  The templates only lay their texts out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.report.comparison import Cell, difference_lines
from pipeline.report.palette import RUNS
from pipeline.report.semantic_cost import SemanticRow, costed, pace_meaning
from pipeline.report.semantic_data import LabelMapRow, LabelMaps, ScoredLabels
from pipeline.report.words import number, percentage, span

Column = tuple[str, str, Callable[[LabelMapRow], Cell]]


def _figure(key: str) -> Callable[[LabelMapRow], Cell]:
    def cell(row: LabelMapRow) -> Cell:
        value = row.figures.get(key)
        return Cell(number(value), span(row.intervals.get(key)), value)

    return cell


def _retention(row: LabelMapRow) -> Cell:
    if row.is_oracle:
        return Cell("oracle", value=row.retention)
    text = "–" if row.retention is None else f"{number(row.retention)} %"
    return Cell(text, span(row.retention_interval), row.retention)


def _crf(row: LabelMapRow) -> Cell:
    return Cell(
        number(row.figures.get("mIoU_crf")),
        f"{number(row.retention_crf)} % of the oracle's" if row.retention_crf and not row.is_oracle else "",
        row.figures.get("mIoU_crf"),
    )


def _seeds(row: LabelMapRow) -> Cell:
    values = [value for value in row.seed_scores.values() if value is not None]
    spread = f"mIoU {number(min(values))} to {number(max(values))}" if len(values) > 1 else ""
    return Cell(str(len(row.seeds)), spread, float(len(row.seeds)))


def _images(row: LabelMapRow) -> Cell:
    return Cell("–" if row.train_images is None else f"{row.train_images:,}", value=row.train_images)


COLUMNS: tuple[Column, ...] = (
    (
        "mIoU",
        "mean IoU over the classes that the ground truth has, of all pixels of the validation images, in"
        " percent, mean over seeds; below it the 95 % bootstrap interval over images",
        _figure("mIoU"),
    ),
    (
        "Retention",
        "the share of the oracle's mIoU that is reached, the oracle being the same network trained on the"
        " labels of all pixels; below it the paired 95 % interval",
        _retention,
    ),
    ("mIoU + CRF", "mIoU after a dense CRF; below it the share of the oracle's, after one too", _crf),
    ("CRF gain", "what the dense CRF adds to mIoU, in points", _figure("crf_gain")),
    (
        "Boundary mIoU",
        "as mIoU, but the overlap is measured near the outlines of the classes",
        _figure("boundary_mIoU"),
    ),
    ("Accuracy", "share of the pixels whose class is right", _figure("pixel_accuracy")),
    ("Seeds", "trainings from different seeds; below it the lowest and highest mIoU", _seeds),
    ("Images", "training images", _images),
    (
        "Params",
        "parameters of the network, in millions",
        lambda row: Cell(number(row.params_million, 2), value=row.params_million),
    ),
)

SET_HEADINGS = (
    (
        "mIoU",
        "mean IoU of the label maps of its training images; a pixel without a label is missed by the class"
        " it is of; below it the 95 % bootstrap interval over images",
    ),
    ("Labelled", "share of the pixels that have a label"),
    ("Right", "share of the labelled pixels whose label is right"),
    ("Boundary mIoU", "as mIoU, near the outlines of the classes"),
    ("Images", "training images that it has maps of"),
)


def content(maps: LabelMaps) -> dict[str, Any]:
    """Name -> value of all that both templates use."""
    titles = {row.name: row.title for row in maps.rows}
    return {
        "maps": maps,
        "columns": columns(maps),
        "set_headings": SET_HEADINGS,
        "sets": [(made, set_cells(made)) for made in maps.sets],
        "titles": titles,
        "differences": [
            (figure, lines)
            for figure, items in (
                ("mIoU", maps.differences),
                ("mIoU after the CRF", maps.crf_differences),
            )
            if (lines := difference_lines(items))
        ],
        "set_differences": difference_lines(maps.set_differences),
        "classes": class_lines(maps),
        "floor": floor_text(maps),
        "paces": pace_meaning(cost_rows(maps)) if costed(cost_rows(maps)) else "",
        "chip": {name: slot % len(RUNS) for name, slot in maps.slots.items()},
        "summary": summary(maps),
        "warnings": warnings(maps),
    }


def columns(maps: LabelMaps) -> list[Column]:
    """The columns that hold a figure in at least one row."""
    return [column for column in COLUMNS if any(column[2](row).value is not None for row in maps.rows)]


def floor_text(maps: LabelMaps) -> str:
    """What the figures of the rows must be read against, one sentence; "" without rows."""
    if (floor := maps.floor) is None:
        return ""
    return (
        f"On the validation images, a map that says {floor[0]} everywhere has an mIoU of {number(floor[1])}."
    )


def set_cells(made: ScoredLabels) -> list[Cell]:
    """Its cells under SET_HEADINGS."""
    return [
        Cell(number(made.mIoU), span(made.interval), made.mIoU),
        *(
            Cell(number(value), value=value)
            for value in (made.labelled, made.labelled_accuracy, made.boundary_mIoU)
        ),
        Cell(f"{made.images:,}", value=made.images),
    ]


def class_lines(maps: LabelMaps) -> list[tuple[str, list[Cell]]]:
    """Class -> a cell of each row."""
    return [
        (
            name,
            [Cell(number(value), value=value) for row in maps.rows for value in (row.per_class.get(name),)],
        )
        for name in maps.classes.names
    ]


def cost_rows(maps: LabelMaps) -> list[SemanticRow]:
    """The rows of the figure of mIoU over what the labels cost."""
    return [
        SemanticRow(
            title=row.title,
            supervision=row.drawn,
            slot=maps.slots[row.name],
            score=row.score,
            interval=row.intervals.get("mIoU"),
            crf=row.figures.get("mIoU_crf"),
            is_oracle=row.is_oracle,
        )
        for row in maps.rows
        if row.score is not None
    ]


def warnings(maps: LabelMaps) -> list[str]:
    """What a reader must know before comparing the rows; one plain line each."""
    reasons: dict[str, list[str]] = {}
    for row in maps.rows:
        for reason in row.not_computed:
            reasons.setdefault(reason, []).append(f"“{row.title}”")
    lines = [f"Not computed for {', '.join(titles)}: {reason}" for reason, titles in reasons.items()]
    fewer = [
        f"“{row.title}” ({row.train_images:,} and {oracle.train_images:,})"
        for row in maps.rows
        if row.oracle != "none"
        for oracle in [maps.row(row.oracle)]
        if row.train_images is not None
        and oracle.train_images is not None
        and row.train_images != oracle.train_images
    ]
    if fewer:
        lines.append(f"Trained on another number of images than the oracle: {', '.join(fewer)}.")
    if len({made.images for made in maps.sets}) > 1:
        lines.append(
            "Label sets of different images are not compared with each other; a class may be missing in some."
        )
    noisy = [item for item in maps.differences if item.within_noise]
    if noisy:
        pairs = "; ".join(
            f"“{maps.row(item.first).title}” and “{maps.row(item.second).title}”" for item in noisy
        )
        lines.append(
            "These differences of mIoU lie within the noise of the validation images, so do not rank the"
            f" rows by them: {pairs}."
        )
    if single := [f"“{row.title}”" for row in maps.rows if len(row.seeds) == 1]:
        lines.append(
            f"{', '.join(single)}: one seed each. The intervals cover the choice of validation images, not"
            " the luck of a seed."
        )
    if maps.stand_ins:
        lines.append(
            "The backbones of label maps start from a short classification of generated single objects,"
            f" which stands in for downloaded weights: {', '.join(maps.stand_ins)}."
        )
    return lines


def tile(maps: LabelMaps) -> tuple[str, str, str] | None:
    """The headline as (what it is, figure, interval): retention of the leading row, or its mIoU."""
    best = maps.leading
    if best is None:
        return None
    if best.retention is None or best.is_oracle:
        inside = best.intervals.get("mIoU")
        return f"mIoU of {best.title}", number(best.score), f"95 %: {span(inside)}" if inside else ""
    limits = best.retention_interval
    return (
        f"of the oracle's mIoU, reached by {best.title}",
        f"{number(best.retention, 0)} %",
        f"95 %: {span(limits, 0)} %" if limits else "",
    )


def summary(maps: LabelMaps) -> str:
    """What the best row from weak labels reaches, in a sentence; "" without one."""
    best = maps.leading
    if best is None:
        return ""
    inside = best.intervals.get("mIoU")
    reached = f"“{best.title}”, trained on {best.drawn}, reaches {number(best.score)} mIoU"
    if best.is_oracle or best.retention is None:
        return f"Of label maps: {reached}{f' (95 % interval {span(inside)})' if inside else ''}."
    oracle = maps.row(best.oracle)
    kept = percentage(best.retention / 100)
    limits = f"; 95 % interval {span(best.retention_interval, 0)} %" if best.retention_interval else ""
    return (
        f"Of label maps: {reached}, {kept} of the {number(oracle.score)} of “{oracle.title}”, trained on"
        f" {oracle.drawn}{limits}."
    )
