"""results.csv: the comparison as a plain table for other programs."""

from __future__ import annotations

from pipeline.csv_text import csv_text, fixed
from pipeline.report.data import ReportData, Row
from pipeline.report.semantic_data import LabelMapRow

RESULTS = (
    "run",
    "task",
    "method",
    "model",
    "supervision",
    "labelled_fraction",
    "labels",
    "oracle",
    "AP",
    "AP50",
    "AP75",
    "APs",
    "APm",
    "APl",
    "boundary_AP",
    "mIoU",
    "mIoU_crf",
    "mask_iou",
    "retention",
    "ci_low",
    "ci_high",
    "train_images",
    "params_million",
    "seed",
)


def results_csv(data: ReportData) -> str:
    """The comparison, one line per row, with the columns RESULTS in that order.

    AP, IoU and retention in percent, means over the seeds listed in `seed`; empty = does not apply or could
    not be computed.  `ci_*` is the 95 % interval of AP or, of a row that gives masks to given boxes, of mask
    IoU.  `supervision` is what people annotated, `labelled_fraction` for which share of the training
    images, `labels` the label set that was trained on.
    """
    maps = data.label_maps.rows if data.label_maps else ()
    return csv_text(RESULTS, [*map(_result, data.rows), *map(_map_result, maps)])


def _result(row: Row) -> dict[str, str]:
    texts = {
        "run": row.name,
        "task": row.task,
        "method": row.method,
        "model": row.model,
        "labels": row.labels,
        "supervision": row.supervision,
        "oracle": row.oracle,
    }
    texts |= {name: fixed(value, 2) for name, value in row.metrics.items() if name in RESULTS}
    texts["labelled_fraction"] = "" if row.labelled_fraction is None else f"{row.labelled_fraction:g}"
    if row.headline == "AP":
        texts["retention"] = fixed(row.retention, 1)
    if row.headline in RESULTS:
        texts["ci_low"] = fixed(row.interval.low if row.interval else None, 2)
        texts["ci_high"] = fixed(row.interval.high if row.interval else None, 2)
    texts["train_images"] = "" if row.train_images is None else str(row.train_images)
    texts["params_million"] = fixed(row.params_million, 3)
    texts["seed"] = " ".join(str(seed) for seed in row.seeds)
    return texts


def _map_result(row: LabelMapRow) -> dict[str, str]:
    inside = row.intervals.get("mIoU")
    return {
        "run": row.name,
        "task": "semantic",
        "method": row.method,
        "model": row.model,
        "supervision": row.drawn,
        "labels": row.labels,
        "oracle": row.oracle,
        **{name: fixed(row.figures.get(name), 2) for name in ("mIoU", "mIoU_crf")},
        "labelled_fraction": "" if row.labelled_fraction is None else f"{row.labelled_fraction:g}",
        "retention": fixed(row.retention, 1),
        "ci_low": fixed(inside.low if inside else None, 2),
        "ci_high": fixed(inside.high if inside else None, 2),
        "train_images": "" if row.train_images is None else str(row.train_images),
        "params_million": fixed(row.params_million, 3),
        "seed": " ".join(str(seed) for seed in row.seeds),
    }
