"""Rows of the semantic task: what they name must exist, and fit."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from pipeline.params import Params
from pipeline.params_file import load_params, tuples
from tests.workflow.repository import add_semantic, copy_pipeline

VOC = {"mine": {"folder": "data/voc", "processes": 1}}
OTHER_TAGS = {"kind": "tags", "split": "train", "percent": 100.0, "seed": 0, "processes": 1}
POINTS = {
    "kind": "annotated_points",
    "percent": 100.0,
    "split": "train",
    "background": 1,
    "radius": 1,
    "min_area": 1,
    "seed": 0,
    "processes": 1,
}
WHOLE = {"architecture": "small", "path": "data/whole.pth", "content": "mask2former"}
WEAK_BOXES = {"kind": "boxes", "split": "train", "percent": 100.0, "seed": 0, "min_area": 4, "processes": 1}
MINE = {"path": "data/mine", "kind": "points", "value_255": "void", "processes": 1}


@pytest.fixture(scope="module")
def repository(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_pipeline(root, tmp_path_factory.mktemp("semantic"))
    add_semantic(folder)
    return folder


@pytest.fixture(scope="module")
def sound(repository: Path) -> dict[str, Any]:
    load_params(repository / "params.yaml")
    content: dict[str, Any] = yaml.safe_load((repository / "params.yaml").read_text(encoding="utf-8"))
    return content


def changed(content: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy with other values at keys like `cams.plain.labels`."""
    content = copy.deepcopy(content)
    for key, value in changes.items():
        table = content
        *path, last = key.split(".")
        for part in path:
            table = table[part]
        table[last] = value
    return content


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"generate": {}, "import_voc": VOC}, "paint must be empty: import_voc.mine has label maps"),
        ({"paint.test": {"processes": 1}}, "paint.test: the splits of a dataset are train and val"),
        ({"weak_labels.set": POINTS}, "weak_labels.set.kind: annotated_points are DensePose's"),
        (
            {"paint": {"train": {"processes": 1}}, "weak_labels.pixels.split": "val"},
            "weak_labels.pixels.split: there are no label maps of val; add val to paint",
        ),
        (
            {"paint": {}, "weak_labels": {}, "own_tags": {}, "own_maps": {}},
            "own_scribbles.drawn: there are no label maps of train; add train to paint",
        ),
        (
            {"paint": {}, "weak_labels": {}, "own_tags": {}, "own_scribbles": {}},
            "own_maps.mine: there are no label maps of train; add train to paint",
        ),
        (
            {"paint": {}, "weak_labels": {}, "own_maps": {}, "own_scribbles": {}},
            "own_tags.told: there are no label maps of train; add train to paint",
        ),
        ({"cams.plain.labels": "none"}, "cams.plain.labels: 'none' is not defined"),
        ({"cams.plain.labels": "boxes"}, "cams.plain.labels: 'boxes' is not defined"),
        ({"cams.plain.labels": "pixels"}, "cams.plain.labels: pixels holds pixels of train, and maps"),
        ({"weak_labels.tags.split": "val"}, "cams.plain.labels: tags holds tags of val, and maps"),
        ({"cams.plain.backbone": "none"}, "cams.plain.backbone: 'none' is not defined"),
        (
            {"cams.plain.classifier.backbone": "resnet18"},
            "cams.plain.backbone: shapes_pretrained is for small, and the network has resnet18",
        ),
        (
            {"weight_files": {"whole": WHOLE}, "cams.plain.backbone": "whole"},
            "cams.plain.backbone: whole holds a whole mask2former, which masks have trained",
        ),
        *(
            (
                {
                    "weak_labels.set": {**WEAK_BOXES, "percent": 40.0, "seed": seed},
                    "weak_labels.tags.percent": percent,
                    "box_cam_labels.from_boxes.boxes": "set",
                },
                f"box_cam_labels.from_boxes.boxes: set are of 40 % of the images (seed {seed}), not of all",
            )
            for seed, percent in ((0, 40.1), (0, 100.0), (1, 40.0))
        ),
        ({"refined_cams.spread.cams": "spread"}, "refined_cams.spread.cams: 'spread' is not defined"),
        (
            {"weak_labels.others": OTHER_TAGS, "refined_cams.spread.labels": "others"},
            "refined_cams.spread.labels: plain are maps of tags, not of others",
        ),
        (
            {"refined_cams.spread.network.backbone": "resnet18"},
            "refined_cams.spread.backbone: shapes_pretrained is for small, and the network has resnet18",
        ),
        (
            {"weight_files": {"whole": WHOLE}, "refined_cams.spread.backbone": "whole"},
            "refined_cams.spread.backbone: whole holds a whole mask2former, which masks have trained",
        ),
        ({"tag_cam_labels.from_tags.cams": "none"}, "tag_cam_labels.from_tags.cams: 'none' is not defined"),
        (
            {"weak_labels.others": OTHER_TAGS, "tag_cam_labels.from_tags.labels": "others"},
            "tag_cam_labels.from_tags.labels: spread are maps of tags, not of others",
        ),
        (
            {"weak_labels.others": OTHER_TAGS, "box_cam_labels.from_boxes.labels": "others"},
            "box_cam_labels.from_boxes.labels: plain are maps of tags, not of others",
        ),
        ({"box_cam_labels.from_boxes.boxes": "none"}, "box_cam_labels.from_boxes.boxes: 'none' is not"),
        (
            {"box_cam_labels.from_boxes.boxes": "masks"},
            "box_cam_labels.from_boxes.boxes: masks holds masks of train, and boxes of train are needed",
        ),
        (
            {"box_cam_labels.from_boxes.boxes": "val_boxes"},
            "box_cam_labels.from_boxes.boxes: val_boxes holds boxes of val, and boxes of train are needed",
        ),
        (
            {"box_cam_labels.from_boxes.boxes": "pixels"},
            "box_cam_labels.from_boxes.boxes: pixels holds pixels of train, and boxes of train are needed",
        ),
        ({"weak_labels.masks": OTHER_TAGS}, "masks is both in labels and in weak_labels; rename one"),
        ({"own_maps.masks_4": MINE}, "masks_4 is both in splits and in own_maps; rename one"),
        ({"own_maps.drawn": MINE}, "drawn is both in own_scribbles and in own_maps; rename one"),
        (
            {"weak_labels.from_boxes": OTHER_TAGS},
            "from_boxes is both in weak_labels and in box_cam_labels; rename one",
        ),
    ],
)
def test_rows_that_do_not_fit_are_refused(
    sound: dict[str, Any], changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        Params.model_validate(tuples(changed(sound, changes)))
    (error,) = caught.value.errors()
    assert problem in error["msg"]
    assert "\n" not in error["msg"]


def test_two_sets_of_maps_have_two_names(sound: dict[str, Any]) -> None:
    """Both tables write to cams/."""
    same = changed(sound, {"refined_cams.plain": sound["refined_cams"]["spread"]})
    with pytest.raises(ValidationError, match="plain is both in cams and in refined_cams; rename one"):
        Params.model_validate(tuples(same))


@pytest.mark.parametrize(
    "changes",
    [
        {"generate": {}, "import_voc": VOC, "paint": {}},
        {"weak_labels.set": WEAK_BOXES, "box_cam_labels.from_boxes.boxes": "set"},
        {
            "weak_labels.set": {**WEAK_BOXES, "percent": 40.0},
            "weak_labels.tags.percent": 30.0,
            "box_cam_labels.from_boxes.boxes": "set",
        },
        {"tag_cam_labels.from_tags.cams": "plain"},
        {"box_cam_labels.from_boxes.cams": "spread"},
    ],
)
def test_rows_that_fit_are_not(sound: dict[str, Any], changes: dict[str, Any]) -> None:
    Params.model_validate(tuples(changed(sound, changes)))
