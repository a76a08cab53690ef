"""A small benchmark as files that the report reads, made by what makes them in the pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from pycocotools import mask as coco_mask

from pipeline.data.images import ImageRecord, write_zip_store
from pipeline.data.prepare import write_summary
from pipeline.evaluation.comparison import compare
from pipeline.evaluation.run import evaluate_run, summarise_seeds
from pipeline.files import write_json
from pipeline.layout import Layout
from pipeline.params import Params, PseudoLabels
from pipeline.params_file import load_params
from pipeline.report.curves import write_curve
from tests.workflow.repository import SEMANTIC

SIZE = 32
IMAGES = 4
SHIFT = {"oracle": 0, "boxinst": 1, "projection": 2, "fill": 3, "grabcut": 2, "mal": 1, "on_mal": 1}
SHIFT |= {"prompted": 2, "taught": 2, "taught.teacher": 1}


def make_image(image_id: int) -> tuple[ImageRecord, bytes]:
    """A grey PNG of 10 times its id."""
    _, data = cv2.imencode(".png", np.full((SIZE, SIZE, 3), 10 * image_id, np.uint8))
    return ImageRecord(image_id, f"{image_id}.png", SIZE, SIZE), data.tobytes()


def rle(left: int) -> dict[str, Any]:
    mask = np.zeros((SIZE, SIZE), np.uint8, order="F")
    mask[8:24, left : left + 16] = 1
    encoded = coco_mask.encode(mask)
    return {"size": [SIZE, SIZE], "counts": encoded["counts"].decode("ascii")}


def make_annotations(*, masks: bool) -> dict[str, Any]:
    """One object per image."""
    annotations = [
        {"id": image, "image_id": image, "category_id": 1, "bbox": [8, 8, 16, 16], "area": 256, "iscrowd": 0}
        | ({"segmentation": rle(8)} if masks else {})
        for image in range(1, IMAGES + 1)
    ]
    images = [
        {"id": image, "file_name": f"{image}.png", "width": SIZE, "height": SIZE}
        for image in range(1, IMAGES + 1)
    ]
    categories = [{"id": 1, "name": "star"}, {"id": 2, "name": "L"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def make_detections(shift: int) -> list[dict[str, Any]]:
    """One per image, off by `shift` pixels more in the later images."""
    return [
        {"image_id": image, "category_id": 1, "bbox": [8 + shift, 8, 16, 16], "score": 0.5}
        | {"segmentation": rle(8 + shift * (image > 2))}
        for image in range(1, IMAGES + 1)
    ]


def make_benchmark(layout: Layout, params: Params, *, masks: bool) -> None:
    """All these files."""
    annotations = make_annotations(masks=masks)
    write_json(layout.annotations("val"), annotations)
    write_zip_store(layout.prepared / "val", map(make_image, range(1, IMAGES + 1)))
    write_summary(layout.prepared, {"train": annotations, "val": annotations}, ["a warning"])
    matches = {}
    summaries: dict[str, dict[str, Any]] = {}
    for name in (*params.rows, *params.untrained):
        detections = make_detections(SHIFT[name])
        in_boxes = [{**item, "annotation_id": item["image_id"]} for item in detections]
        write_json(layout.predictions(name, 0) / "in_boxes.json", in_boxes)
        detects = name in params.untrained or params.trained[params.rows[name]].task == "instances"
        if detects:
            write_json(layout.predictions(name, 0) / "detections.json", detections)
        metrics, found = evaluate_run(annotations, detections if detects else None, in_boxes, params.evaluate)
        matches[name] = {0: found}
        summary = summarise_seeds({0: metrics}, {0: found}, params.evaluate)
        if params.rows.get(name, name) == name:
            summaries[name] = summary
        else:
            summaries[params.rows[name]]["teacher"] = summary
    for name, summary in summaries.items():
        write_json(layout.metrics(name), summary)
    for name in params.trained:
        write_curve(layout.curve(name), {0: [{"step": 20, "loss": 1.5, "learning_rate": 0.1}]})
        model = {"parameters": 712_345, "train_images": 1500, "environment": {"torch": "2.15.0"}}
        write_json(layout.model(name, 0) / "model.json", model)
    for name in params.separation:
        measured = {"clustering_score": 0.5, "boxes": 4, "without_mask": 0, "one_sided": 0}
        write_json(layout.separation(name), measured | {"seeds": {"0": 0.5}})
    for name in params.pseudo_mask_quality:
        row = {"step": 200, "boxes": 4, "accepted": 75.0, "weight": 0.5, "compared": 3, "mask_iou": 60.0}
        write_json(layout.pseudo_mask_quality(name), {"0": [row]})
    if params.pseudo_labels:
        boxes = make_annotations(masks=False)
        write_zip_store(layout.prepared / "train", map(make_image, range(1, IMAGES + 1)))
        write_json(layout.labels("boxes"), boxes)
    for name in params.pseudo_labels:
        write_json(layout.label_metrics(name), make_label_metrics(masks=masks))
        write_json(layout.labels(name), make_annotations(masks=True))
    settings = params.evaluate
    oracles = {row: params.trained[run].oracle for row, run in params.rows.items()}
    oracles |= {name: row.oracle for name, row in params.untrained.items()}
    write_json(
        layout.comparison, compare(matches, oracles, settings.bootstrap_samples, settings.bootstrap_seed)
    )


def make_label_metrics(*, masks: bool) -> dict[str, Any]:
    """What the evaluation of pseudo-labels says of 9 objects, one of them without a mask."""
    counts = {"objects": 9, "labelled": 8, "missing": [4], "empty": [], "without_truth": 0 if masks else 9}
    if not masks:
        reason = "mask_iou: needs ground-truth masks, which all 9 objects lack"
        return {**counts, "compared": 0, "not_computed": [reason]}
    ious = {"mean": 80.0, "small": 80.0, "medium": None, "large": None, "per_category": {"star": 80.0}}
    figures = {"mask_iou": ious, "half": 100.0, "all_objects": 71.1, "class_mean": 79.0}
    interval = {"mask_iou": [75.0, 85.0], "half": None}
    return {**counts, **figures, "compared": 8, "interval": interval, "not_computed": []}


def make_params(root: Path, folder: Path) -> Params:
    """The demo's first rows, and a labeler with a run on its masks; the models' settings do not matter."""
    raw = yaml.safe_load((root / "presets" / "demo.yaml").read_text(encoding="utf-8"))
    for table in ("runs", "distilled", "baselines"):
        raw[table] = {name: row for name, row in raw[table].items() if name in SHIFT}
    raw["pseudo_labels"], raw["separation"], raw["pseudo_mask_quality"] = {}, [], []
    raw["evaluate"]["bootstrap_samples"] = 100
    for table in SEMANTIC:  # of instances alone
        raw[table] = [] if table == "scored_labels" else {}
    file = folder / "params.yaml"
    file.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    return with_labeler(load_params(file))


def with_labeler(params: Params) -> Params:
    runs = {name: run.model_copy(update={"seeds": (0,)}) for name, run in params.runs.items()}
    changed = {"title": "MAL", "task": "masks_in_boxes", "method": "mal", "oracle": "none"}
    runs["mal"] = runs["boxinst"].model_copy(update=changed)
    runs["on_mal"] = runs["oracle"].model_copy(update={"title": "On MAL masks", "labels": "mal_masks"})
    made = {"labeler": "mal", "seed": 0, "labels": "boxes", "labeling": params.predict.labeling}
    sets = {"mal_masks": PseudoLabels.model_validate(made)}
    listed = {"separation": ("mal",), "pseudo_mask_quality": ("boxinst",)}
    return params.model_copy(update={"runs": runs, "pseudo_labels": sets, **listed})
