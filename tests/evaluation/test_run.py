"""All figures of a run in one table."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pipeline.data.masks import encode
from pipeline.errors import UserError
from pipeline.evaluation.results import objects
from pipeline.evaluation.run import evaluate_run, summarise_seeds
from pipeline.params import Evaluate

SETTINGS = Evaluate(
    protocol="coco", max_detections=100, boundary_dilation=0.02, bootstrap_samples=100, bootstrap_seed=0
)
SIX = {"AP", "AP50", "AP75", "APs", "APm", "APl"}


def test_layout(make_scene: Any) -> None:
    annotations, detections, in_boxes = make_scene(0, crowds=False)
    metrics, matches = evaluate_run(annotations, detections, in_boxes, SETTINGS)
    assert set(metrics["mask"]) == set(metrics["box"]) == SIX
    assert set(metrics["boundary"]) == {"AP", "AP50", "AP75"}
    assert set(metrics["mask_iou"]) == {"mean", "small", "medium", "large", "per_category"}
    assert set(metrics["per_category_AP"]) == {"class 0", "class 1", "class 2"}
    assert (metrics["images"], metrics["objects"]) == (12, len(annotations["annotations"]))
    assert metrics["detections"] == len(detections)
    assert (metrics["headline"], metrics["not_computed"]) == ("mask", [])
    for name, value in (("AP", metrics["mask"]["AP"]), ("mask_iou", metrics["mask_iou"]["mean"])):
        low, high = metrics["interval"][name]
        assert 0 < low < value < high <= 100
    assert metrics["boundary"]["AP"] <= metrics["mask"]["AP"]
    assert len(matches.object_iou) == metrics["objects"]
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_same_input_same_figures(make_scene: Any) -> None:
    scene = make_scene(0)
    first, second = (evaluate_run(*scene, SETTINGS, processes=n)[0] for n in (1, 2))
    assert first == second


def test_without_ground_truth_masks_there_are_box_figures_alone(make_scene: Any) -> None:
    annotations, detections, _ = make_scene(0)
    bare = [
        {key: value for key, value in a.items() if key != "segmentation"} for a in annotations["annotations"]
    ]
    metrics, _ = evaluate_run(annotations | {"annotations": bare}, detections, [], SETTINGS)
    full, _ = evaluate_run(*make_scene(0), SETTINGS)
    assert metrics["box"] == full["box"]
    assert not {"mask", "boundary", "mask_iou"} & set(metrics)
    assert metrics["headline"] == "box"
    assert len(metrics["not_computed"]) == 3
    assert f"{metrics['objects']} of {metrics['objects']} objects lack" in metrics["not_computed"][0]
    low, high = metrics["interval"]["AP"]
    assert low < metrics["box"]["AP"] < high
    assert metrics["interval"]["mask_iou"] is None
    assert json.dumps(metrics, allow_nan=False)


def test_an_object_without_a_mask_counts_as_missed(make_scene: Any) -> None:
    """As with an empty mask, which is what COCO's own evaluation makes of a polygon that holds no pixel."""
    annotations, detections, in_boxes = make_scene(0)
    lost, *rest = objects(annotations)
    crowds = [row for row in annotations["annotations"] if row.get("iscrowd", 0)]
    sizes = {image["id"]: (image["height"], image["width"]) for image in annotations["images"]}
    empty = lost | {"segmentation": encode(np.zeros((1, *sizes[lost["image_id"]]), dtype=bool))[0]}
    bare = {key: value for key, value in lost.items() if key != "segmentation"}

    def evaluated(first: Any) -> Any:
        judged = annotations | {"annotations": [first, *rest, *crowds]}
        return evaluate_run(judged, detections, in_boxes, SETTINGS)[0]

    metrics, expected, full = evaluated(bare), evaluated(empty), evaluated(lost)
    assert metrics["headline"] == "mask"
    for figure in ("box", "mask", "boundary", "mask_iou"):
        assert metrics[figure] == expected[figure]
    assert metrics["box"] == full["box"]
    assert metrics["mask"]["AP"] <= full["mask"]["AP"]
    assert metrics["mask_iou"]["mean"] < full["mask_iou"]["mean"]
    (line,) = metrics["not_computed"]
    assert f"of 1 of {1 + len(rest)} objects" in line


def test_without_masks_for_boxes_mask_iou_is_left_out(make_scene: Any) -> None:
    annotations, detections, _ = make_scene(0)
    metrics, _ = evaluate_run(annotations, detections, None, SETTINGS)
    assert "mask_iou" not in metrics
    assert len(metrics["not_computed"]) == 1


def test_a_run_without_detections_has_mask_iou_alone(make_scene: Any) -> None:
    annotations, detections, in_boxes = make_scene(0)
    metrics, matches = evaluate_run(annotations, None, in_boxes, SETTINGS)
    full, _ = evaluate_run(annotations, detections, in_boxes, SETTINGS)
    assert metrics["mask_iou"] == full["mask_iou"]
    assert metrics["interval"] == {"AP": None, "AP50": None, "mask_iou": full["interval"]["mask_iou"]}
    assert metrics["headline"] == matches.headline == "mask_iou"
    assert not {"mask", "box", "boundary", "per_category_AP", "detections"} & set(metrics)
    assert metrics["not_computed"] == ["AP: the run gives masks to given boxes and detects nothing"]
    summary = summarise_seeds({0: metrics, 1: metrics}, {0: matches, 1: matches}, SETTINGS)
    mean = metrics["mask_iou"]["mean"]
    assert summary["seeds"]["mask_iou"] == {"0": pytest.approx(mean), "1": pytest.approx(mean)}
    assert summary["seeds"]["std"] == 0
    assert "AP" not in summary["seeds"]
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_without_detections_and_masks_nothing_is_computed_and_it_says_so(make_scene: Any) -> None:
    annotations, _, in_boxes = make_scene(0)
    bare = [
        {key: value for key, value in a.items() if key != "segmentation"} for a in annotations["annotations"]
    ]
    metrics, matches = evaluate_run(annotations | {"annotations": bare}, None, in_boxes, SETTINGS)
    assert "mask_iou" not in metrics
    assert f"{metrics['objects']} of {metrics['objects']} objects lack" in metrics["not_computed"][1]
    assert set(metrics["interval"].values()) == {None}
    summary = summarise_seeds({0: metrics}, {0: matches}, SETTINGS)
    assert summary["seeds"] == {"mask_iou": {"0": None}, "min": None, "max": None, "std": None}
    assert json.dumps(summary, allow_nan=False)


def test_predictions_for_other_images_are_refused(make_scene: Any) -> None:
    annotations, detections, in_boxes = make_scene(0)
    with pytest.raises(UserError, match="image id 77777 is not in the annotations"):
        evaluate_run(annotations, [*detections, detections[0] | {"image_id": 77777}], in_boxes, SETTINGS)


def test_seeds_are_averaged(make_scene: Any) -> None:
    annotations, detections, in_boxes = make_scene(0, crowds=False)
    metrics, matches = {}, {}
    for seed, found in ((3, detections), (1, detections[::2])):
        metrics[seed], matches[seed] = evaluate_run(annotations, found, in_boxes, SETTINGS)
    summary = summarise_seeds(metrics, matches, SETTINGS)
    assert summary["mask"]["AP"] == pytest.approx((metrics[1]["mask"]["AP"] + metrics[3]["mask"]["AP"]) / 2)
    assert summary["mask_iou"] == metrics[1]["mask_iou"]
    assert summary["images"] == 12
    assert isinstance(summary["images"], int)
    assert summary["per_seed"] == {"1": metrics[1], "3": metrics[3]}
    assert summary["seeds"]["AP"]["3"] == pytest.approx(metrics[3]["mask"]["AP"])
    low, high = summary["interval"]["AP"]
    assert low < summary["mask"]["AP"] < high
    assert summary["interval"]["AP"] not in (metrics[1]["interval"]["AP"], metrics[3]["interval"]["AP"])
    assert json.dumps(summary, allow_nan=False)


def test_one_seed_is_its_own_summary(make_scene: Any) -> None:
    metrics, matches = evaluate_run(*make_scene(0), SETTINGS)
    summary = summarise_seeds({0: metrics}, {0: matches}, SETTINGS)
    assert {key: summary[key] for key in metrics} == metrics
