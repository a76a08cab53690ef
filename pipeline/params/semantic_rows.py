"""What the rows of the semantic task must say of the other sections of params.yaml, and of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.params.cams import BoxCamLabels, RefinedCams, TagCamLabels
from pipeline.params.references import known
from pipeline.params.starts import WeightFile

if TYPE_CHECKING:
    from pipeline.params.sections import Params


def check_semantic_rows(params: Params) -> None:
    """Raise ValueError unless all that the rows name exists and fits."""
    if params.paint and params.semantic_datasets:
        raise ValueError(
            f"paint must be empty: {params.semantic_datasets[0]} has label maps of its own, and paint makes"
            " them of instances"
        )
    for split in params.paint:
        if split not in ("train", "val"):
            raise ValueError(f"paint.{split}: the splits of a dataset are train and val")
    for name, weak in params.weak_labels.items():
        _check_maps(params, f"weak_labels.{name}.split", weak.split)
        if weak.kind == "annotated_points" and not params.import_densepose:
            raise ValueError(
                f"weak_labels.{name}.kind: annotated_points are DensePose's; for others, take points"
            )
    for table in ("own_scribbles", "own_maps"):
        for name in getattr(params, table):
            _check_maps(params, f"{table}.{name}", "train")
    for name, cams in params.cams.items():
        _check_tags(params, f"cams.{name}.labels", cams.labels)
        _check_start(params, f"cams.{name}.backbone", cams.backbone, cams.classifier.backbone)
    for name, refined in params.refined_cams.items():
        known(f"refined_cams.{name}.cams", refined.cams, params.cams)
        _check_same_tags(params, f"refined_cams.{name}.labels", refined)
        _check_start(params, f"refined_cams.{name}.backbone", refined.backbone, refined.network.backbone)
    for name, of_tags in params.tag_cam_labels.items():
        _check_cam_labels(params, f"tag_cam_labels.{name}", of_tags)
    for name, of_boxes in params.box_cam_labels.items():
        _check_cam_labels(params, f"box_cam_labels.{name}", of_boxes)
        _check_boxes(params, f"box_cam_labels.{name}.boxes", of_boxes.boxes)


def _check_maps(params: Params, key: str, split: str) -> None:
    if split not in params.paint and not params.semantic_datasets:
        raise ValueError(f"{key}: there are no label maps of {split}; add {split} to paint")


def _check_tags(params: Params, key: str, labels: str) -> None:
    known(key, labels, params.weak_labels)
    row = params.weak_labels[labels]
    if row.kind != "tags" or row.split != "train":
        raise ValueError(
            f"{key}: {labels} holds {row.kind} of {row.split}, and maps are made of train's tags"
        )


def _check_start(params: Params, key: str, backbone: str, architecture: str) -> None:
    known(key, backbone, params.starts)
    start = params.starts[backbone]
    if start.architecture != architecture:
        raise ValueError(f"{key}: {backbone} is for {start.architecture}, and the network has {architecture}")
    if isinstance(start, WeightFile) and start.content != "backbone":
        raise ValueError(f"{key}: {backbone} holds a whole {start.content}, which masks have trained")


def _check_cam_labels(params: Params, key: str, row: TagCamLabels | BoxCamLabels) -> None:
    known(f"{key}.cams", row.cams, params.all_cams)
    _check_same_tags(params, f"{key}.labels", row)


def _check_same_tags(params: Params, key: str, row: RefinedCams | TagCamLabels | BoxCamLabels) -> None:
    tags = params.all_cams[row.cams].labels
    if row.labels != tags:
        raise ValueError(f"{key}: {row.cams} are maps of {tags}, not of {row.labels}")


def _check_boxes(params: Params, key: str, boxes: str) -> None:
    tables = {**params.labels, **params.weak_labels}
    known(key, boxes, tables)
    row = tables[boxes]
    if row.kind != "boxes" or row.split != "train":
        raise ValueError(f"{key}: {boxes} holds {row.kind} of {row.split}, and boxes of train are needed")
