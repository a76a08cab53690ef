"""Quality of pseudo-labels against the training masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.errors import UserError
from pipeline.evaluation.mask_iou import mask_iou_figures, object_mask_iou
from pipeline.evaluation.pseudo_labels import class_mean_iou, pseudo_label_figures
from pipeline.evaluation.results import objects
from pipeline.params import Evaluate

SETTINGS = Evaluate(
    protocol="coco", max_detections=100, boundary_dilation=0.02, bootstrap_samples=200, bootstrap_seed=0
)

Scene = tuple[dict[str, Any], dict[str, Any]]


@pytest.fixture
def scene(make_scene: Any) -> Scene:
    """Annotations and pseudo-labels with a mask near each object's own, crowds copied."""
    annotations, _, in_boxes = make_scene(3)
    masks = {entry["annotation_id"]: entry["segmentation"] for entry in in_boxes}
    rows = [
        row | ({} if row["iscrowd"] else {"segmentation": masks[row["id"]], "score": 0.5})
        for row in annotations["annotations"]
    ]
    return annotations, {**annotations, "annotations": rows}


def edited(labels: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {**labels, "annotations": rows}


def test_figures_are_those_of_the_masks_in_the_boxes(scene: Scene, make_scene: Any) -> None:
    annotations, labels = scene
    figures = pseudo_label_figures(annotations, labels, SETTINGS)
    ious = object_mask_iou(annotations, make_scene(3)[2])
    assert figures["mask_iou"] == mask_iou_figures(annotations, ious)
    assert figures["half"] == pytest.approx(100 * np.mean(ious >= 0.5))
    assert figures["all_objects"] == pytest.approx(100 * ious.mean())
    assert figures["objects"] == figures["labelled"] == figures["compared"] == len(ious)
    assert len(ious) < len(annotations["annotations"])  # crowds are left out
    assert (figures["missing"], figures["empty"], figures["without_truth"]) == ([], [], 0)
    assert figures["not_computed"] == []
    for name, value in (("mask_iou", figures["mask_iou"]["mean"]), ("half", figures["half"])):
        low, high = figures["interval"][name]
        assert low < value < high
    json.dumps(figures, allow_nan=False)


def test_the_order_of_the_file_does_not_matter(scene: Scene) -> None:
    annotations, labels = scene
    turned = edited(labels, labels["annotations"][::-1])
    assert pseudo_label_figures(annotations, turned, SETTINGS) == pseudo_label_figures(
        annotations, labels, SETTINGS
    )


def test_the_interval_is_that_of_resampled_images(scene: Scene) -> None:
    """Against drawing the objects of the drawn images, with the same draws."""
    annotations, labels = scene
    made = {row["id"]: row["segmentation"] for row in labels["annotations"]}
    by_image: dict[int, list[float]] = {image["id"]: [] for image in annotations["images"]}
    for row in objects(annotations):
        iou = coco_mask.iou([made[row["id"]]], [row["segmentation"]], [0])[0, 0]
        by_image[row["image_id"]].append(float(iou))
    groups = list(by_image.values())
    drawn = np.random.default_rng(0).integers(len(groups), size=(200, len(groups)))
    means = [100 * np.mean([iou for image in row for iou in groups[image]]) for row in drawn]
    expected = np.quantile(means, [0.025, 0.975])
    assert pseudo_label_figures(annotations, labels, SETTINGS)["interval"]["mask_iou"] == pytest.approx(
        expected
    )


def test_missing_and_empty_masks_are_counted(scene: Scene, rle: Any) -> None:
    annotations, labels = scene
    rows = objects(labels)
    gone, hollow = rows[0]["id"], rows[1]["id"]
    size = rows[1]["segmentation"]["size"]
    rest = [rows[1] | {"segmentation": rle(np.zeros(size, bool))}, *rows[2:]]
    figures = pseudo_label_figures(annotations, edited(labels, rest), SETTINGS)
    assert (figures["missing"], figures["empty"]) == ([gone], [hollow])
    assert (figures["labelled"], figures["compared"]) == (len(rows) - 1,) * 2
    whole = pseudo_label_figures(annotations, labels, SETTINGS)["objects"]
    assert figures["all_objects"] * whole == pytest.approx(figures["mask_iou"]["mean"] * (whole - 1))


def test_objects_without_ground_truth_are_left_out_and_said(scene: Scene) -> None:
    annotations, labels = scene
    first = objects(annotations)[0]["id"]
    partly = edited(
        annotations,
        [
            {key: row[key] for key in row if key != "segmentation" or row["id"] != first}
            for row in annotations["annotations"]
        ],
    )
    figures = pseudo_label_figures(partly, labels, SETTINGS)
    without = edited(annotations, [row for row in annotations["annotations"] if row["id"] != first])
    expected = pseudo_label_figures(
        without, edited(labels, [row for row in labels["annotations"] if row["id"] != first]), SETTINGS
    )
    for name in ("mask_iou", "half", "all_objects", "class_mean", "interval", "compared"):
        assert figures[name] == expected[name]
    assert figures["without_truth"] == 1
    total = figures["objects"]
    assert figures["not_computed"] == [
        f"figures leave out 1 of {total} objects, which have no ground-truth mask"
    ]


def test_without_ground_truth_there_are_counts_alone(scene: Scene) -> None:
    annotations, labels = scene
    boxes = edited(
        annotations,
        [{key: row[key] for key in row if key != "segmentation"} for row in annotations["annotations"]],
    )
    figures = pseudo_label_figures(boxes, labels, SETTINGS)
    assert figures["labelled"] == figures["without_truth"] == figures["objects"]
    assert {line.split(":")[0] for line in figures["not_computed"]} == {
        "mask_iou",
        "half",
        "all_objects",
        "class_mean",
        "interval",
    }
    assert all("needs ground-truth masks" in line for line in figures["not_computed"])
    assert "mask_iou" not in figures


def test_no_pseudo_labels_at_all(scene: Scene) -> None:
    annotations, labels = scene
    figures = pseudo_label_figures(annotations, edited(labels, []), SETTINGS)
    assert figures["mask_iou"]["mean"] is figures["half"] is figures["class_mean"] is None
    assert figures["all_objects"] == 0
    assert figures["interval"] == {"mask_iou": None, "half": None}
    assert len(figures["missing"]) == figures["objects"]


def test_labels_of_other_annotations_are_refused(scene: Scene) -> None:
    annotations, labels = scene
    row = objects(labels)[0]
    for change, message in (
        ({"id": 10**6}, "annotation 1000000: is no object of the annotations"),
        ({"category_id": 77}, f"annotation {row['id']}: has category_id 77"),
        ({"image_id": 77}, f"annotation {row['id']}: has image_id 77"),
        (
            {"bbox": [1, 2, 3, 4]},
            rf"annotation {row['id']}: has bbox \[1, 2, 3, 4\], and the annotations say \[",
        ),
        ({"id": None}, "annotation None: is no object of the annotations"),
        ({"bbox": None}, f"annotation {row['id']}: has bbox None"),
        ({"segmentation": None}, f"annotation {row['id']}: has no mask"),
        ({"segmentation": {"size": [3, 4], "counts": "<"}}, "its mask has size"),
        ({"segmentation": row["segmentation"] | {"counts": "zz"}}, "its mask is damaged"),
    ):
        with pytest.raises(UserError, match=f"^pseudo.json: .*{message}") as caught:
            pseudo_label_figures(annotations, edited(labels, [row | change]), SETTINGS, "pseudo.json")
        assert "\n" not in str(caught.value)


def test_a_label_of_another_object_is_not_credited(scene: Scene) -> None:
    """Two labels of one image and class with each other's ids; without the box, nothing would tell."""
    annotations, labels = scene
    rows = [row | {"category_id": 1} for row in objects(labels)]
    truth = edited(annotations, [row | {"category_id": 1} for row in objects(annotations)])
    first, second = next(
        (one, two)
        for one in rows
        for two in rows
        if one["id"] < two["id"] and one["image_id"] == two["image_id"]
    )
    others = [row for row in rows if row["id"] not in (first["id"], second["id"])]
    swapped = [*others, first | {"id": second["id"]}, second | {"id": first["id"]}]
    with pytest.raises(UserError, match=f"annotation {second['id']}: has bbox"):
        pseudo_label_figures(truth, edited(labels, swapped), SETTINGS)


def test_a_second_label_of_an_object_is_refused(scene: Scene) -> None:
    annotations, labels = scene
    row = objects(labels)[0]
    with pytest.raises(UserError, match=f"annotation {row['id']}: occurs twice") as caught:
        pseudo_label_figures(annotations, edited(labels, [row, row]), SETTINGS)
    assert "dvc repro" in str(caught.value)


def test_the_released_class_mean_on_its_vector(vectors: Path, rle: Any) -> None:
    with np.load(vectors / "mal" / "miou_metric.npz", allow_pickle=False) as stored:
        arrays = dict(stored)
    truth = [
        {"id": index, "image_id": 1, "category_id": int(category), "segmentation": rle(mask > 0)}
        for index, (mask, category) in enumerate(zip(arrays["gt"], arrays["label"], strict=True))
    ]
    predicted = [rle(mask > 0) for mask in arrays["pred"]]
    image = {"id": 1, "height": 9, "width": 8}
    ious = object_mask_iou(
        {"images": [image], "annotations": truth},
        [{"annotation_id": index, "segmentation": mask} for index, mask in enumerate(predicted)],
    )
    np.testing.assert_allclose(ious, arrays["iou"], atol=1e-6)
    assert class_mean_iou(truth, predicted, ious) == pytest.approx(float(arrays["miou"]), abs=1e-6)
    for category in np.unique(arrays["label"]):
        own = np.flatnonzero(arrays["label"] == category)
        figure = class_mean_iou([truth[i] for i in own], [predicted[i] for i in own], ious[own])
        expected = arrays["total"][category - 1] / arrays["count"][category - 1]
        assert figure == pytest.approx(expected, abs=2e-6)


def test_the_class_mean_counts_classes_equally(rle: Any) -> None:
    """Two objects of one class with IoU 1, one of another with IoU 0; 1e-6 on unions and counts shows."""
    square = np.zeros((4, 4), bool)
    square[0, 0] = True
    truth = [{"category_id": category, "segmentation": rle(square)} for category in (3, 3, 8)]
    predicted = [rle(square), rle(square), rle(np.zeros((4, 4), bool))]
    figure = class_mean_iou(truth, predicted, np.asarray([1.0, 1.0, 0.0]))
    assert figure == pytest.approx((2 / (1 + 1e-6)) / (2 + 1e-6) / 2, abs=1e-12)
    assert np.isnan(class_mean_iou([], [], np.empty(0)))


def test_more_masks_than_eight_bits_count() -> None:
    mask = np.zeros((8, 8), dtype=np.uint8, order="F")
    mask[2:6, 2:6] = 1
    rle = coco_mask.encode(mask)
    rows = [{"category_id": 1, "segmentation": rle}] * 300
    assert class_mean_iou(rows, [rle] * 300, np.ones(300)) == pytest.approx(1, abs=1e-6)
