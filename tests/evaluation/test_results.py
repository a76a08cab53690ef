"""Predictions that do not fit are refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.evaluation.results import category_names, check_detections, percent, without_mask


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"image_id": 4}, "image id 4 is not in the annotations"),
        ({"category_id": 3}, "category id 3 is not in the annotations"),
        ({"score": float("nan")}, "score nan is not a finite number"),
        ({"bbox": [0, 0, -1, 5]}, "bbox"),
        ({"bbox": [0, 0, float("inf"), 5]}, "bbox"),
        ({"bbox": [0, 0, 5]}, "bbox"),
        ({"segmentation": None}, "has no mask"),
        ({"segmentation": [[0, 0, 5, 0, 5, 5]]}, "has no mask as compressed RLE"),
        ({"segmentation": {"size": [9, 9], "counts": "1"}}, r"its mask has size \[9, 9\]"),
        ({"segmentation": {"size": [120, 120], "counts": "zzzz"}}, "its mask is damaged"),
        ({"score": "high"}, "score high is not a finite number"),
    ],
)
def test_bad_detections_are_refused(make_scene: Any, change: dict[str, Any], problem: str) -> None:
    annotations, detections, _ = make_scene(0)
    check_detections(annotations, detections, masks=True)
    broken = [*detections[:3], detections[3] | change]
    with pytest.raises(UserError, match=rf"^found.json: entry 3: {problem}"):
        check_detections(annotations, broken, masks=True, source="found.json")


def test_missing_keys_are_named(make_scene: Any) -> None:
    annotations, detections, _ = make_scene(0)
    del (bare := dict(detections[0]))["score"]
    with pytest.raises(UserError, match=r"^detections.json: entry 0: has no score;"):
        check_detections(annotations, [bare], masks=True)


def test_masks_are_not_asked_for_where_boxes_are_evaluated(make_scene: Any) -> None:
    annotations, detections, _ = make_scene(0)
    bare = [{key: value for key, value in d.items() if key != "segmentation"} for d in detections]
    check_detections(annotations, bare, masks=False)


def test_names_that_occur_twice_get_their_id() -> None:
    categories = [{"id": 5, "name": "cell"}, {"id": 2, "name": "cell"}, {"id": 3, "name": "gland"}]
    assert category_names({"categories": categories}) == {2: "cell (2)", 3: "gland", 5: "cell (5)"}


def test_undefined_is_none() -> None:
    assert percent(float("nan")) is None
    assert percent(np.float64(0.25)) == 25


def test_annotations_without_mask_are_counted(make_scene: Any) -> None:
    annotations, _, _ = make_scene(0)
    assert without_mask(annotations) == 0
    bare = [a | {"segmentation": []} for a in annotations["annotations"][:4]]
    assert without_mask(annotations | {"annotations": bare}) == 4
