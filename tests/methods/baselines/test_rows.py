"""A baseline as a row of the comparison."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline import params
from pipeline.methods.baselines import sam
from pipeline.methods.baselines.box_masks import Masks
from pipeline.methods.baselines.fill import masks_from_boxes as fill
from pipeline.methods.baselines.rows import apply_baseline, each_mask
from tests.methods.baselines.test_baseline_crf import SETTINGS

IMAGES = {
    number: np.random.default_rng(number).integers(0, 60, (40, 50, 3), dtype=np.uint8) for number in range(10)
}
for _image in IMAGES.values():
    _image[7:17, 13:16, 0] += 180  # something to cut out: a red L, in the boxes of all detections
    _image[13:17, 16:21, 0] += 165
STORE = SimpleNamespace(read=IMAGES.__getitem__)
DETECTIONS = [
    {
        "image_id": image,
        "category_id": 2,
        "bbox": [3.0 + image, 4.5, 20.0, 15.25],
        "score": 0.1 * image,
        "segmentation": {"size": [40, 50], "counts": "other"},
    }
    for image in (9, 2, 5, 2)
]
LABELS = {
    "annotations": [
        {"id": 8, "image_id": 5, "category_id": 1, "bbox": [1, 2, 10, 11]},
        {"id": 3, "image_id": 7, "category_id": 1, "bbox": [0, 0, 50, 9]},
    ]
}


COMMON = {"title": "a baseline", "detections": "boxinst", "oracle": "none"}
BASELINES: dict[str, params.Baseline] = {
    "fill": params.Fill(kind="fill", processes=1, **COMMON),
    "ellipse": params.Ellipse(kind="ellipse", processes=1, **COMMON),
    "two_means": params.TwoMeans(kind="two_means", processes=1, **COMMON),
    "grabcut": params.GrabCut(kind="grabcut", iterations=1, processes=1, **COMMON),
    "crf": SETTINGS,
}


@pytest.mark.parametrize("kind", BASELINES)
def test_boxes_and_scores_stay_and_masks_are_new(kind: str) -> None:
    found, given = apply_baseline(BASELINES[kind], STORE, DETECTIONS, LABELS)
    keys = ("image_id", "category_id", "bbox", "score")
    assert [[d[key] for key in keys] for d in found] == [[d[key] for key in keys] for d in DETECTIONS]
    for detection in found:
        x, y, w, h = detection["bbox"]
        boxes = np.asarray([[x, y, x + w, y + h]])
        (mask,) = each_mask(BASELINES[kind])(IMAGES[detection["image_id"]], boxes)
        np.testing.assert_array_equal(coco_mask.decode(detection["segmentation"]), mask)
    assert [(entry["annotation_id"], entry["image_id"]) for entry in given] == [(8, 5), (3, 7)]
    areas = [int(coco_mask.area(entry["segmentation"])) for entry in given]
    assert areas == [110, 450] if kind == "fill" else 0 < sum(areas) <= 560


def test_every_kind_has_masks_of_its_own() -> None:
    found = {kind: str(apply_baseline(row, STORE, DETECTIONS, LABELS)) for kind, row in BASELINES.items()}
    assert len(set(found.values())) == len(BASELINES)


@pytest.mark.parametrize("kind", ["two_means", "grabcut", "crf"])
def test_processes_do_not_change_the_result(kind: str) -> None:
    two = BASELINES[kind].model_copy(update={"processes": 2})
    alone = apply_baseline(BASELINES[kind], STORE, DETECTIONS, LABELS)
    assert apply_baseline(two, STORE, DETECTIONS, LABELS) == alone


def test_crowd_regions_get_no_mask() -> None:
    crowd = {"id": 1, "image_id": 6, "category_id": 1, "bbox": [0, 0, 30, 30], "iscrowd": 1}
    labels = {"annotations": [crowd, *LABELS["annotations"]]}
    fill = BASELINES["fill"]
    assert apply_baseline(fill, STORE, DETECTIONS, labels) == apply_baseline(fill, STORE, DETECTIONS, LABELS)


def test_nothing_detected() -> None:
    assert apply_baseline(BASELINES["fill"], STORE, [], {"annotations": []}) == ([], [])


def test_sam_is_loaded_once_and_gets_all_boxes_of_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    class Model:
        def __init__(self, weights: Any, device: str) -> None:
            calls.append((str(weights), device))

        def each_mask(self, image: np.ndarray, boxes: np.ndarray) -> Iterator[Masks]:
            calls.append(len(boxes))
            yield from fill(image, boxes)

        def __reduce__(self) -> Any:
            raise AssertionError("the model was pickled")

    monkeypatch.setattr(sam, "Sam", Model)
    row = params.Sam(weights="weights/sam", device="cpu", **COMMON)
    assert apply_baseline(row, STORE, DETECTIONS, LABELS) == apply_baseline(
        BASELINES["fill"], STORE, DETECTIONS, LABELS
    )
    assert calls == [("weights/sam", "cpu"), 2, 2, 1, 1]
