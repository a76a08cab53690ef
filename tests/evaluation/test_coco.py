"""COCO figures equal pycocotools'."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import warnings
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pipeline.evaluation.coco import evaluate_coco
from pipeline.evaluation.instances import ap_by_category, ap_figures
from pipeline.evaluation.results import category_names

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def reference(
    annotations: dict[str, Any], detections: list[dict[str, Any]], kind: str, limit: int
) -> COCOeval:
    """pycocotools on copies, ids from 1 and masks without boxes as the evaluated code has it."""
    annotations, detections = copy.deepcopy(annotations), copy.deepcopy(detections)
    for number, annotation in enumerate(annotations["annotations"], start=1):
        annotation["id"] = number
    for detection in detections:
        del detection["bbox" if kind == "mask" else "segmentation"]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = annotations | {"info": {}}
        truth.createIndex()
        evaluator = COCOeval(truth, truth.loadRes(detections), {"mask": "segm", "box": "bbox"}[kind])
        evaluator.params.maxDets = [limit]
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator


def expected(evaluator: COCOeval) -> dict[str, float | None]:
    precision = evaluator.eval["precision"][..., 0]
    parts = [
        precision[..., 0],
        precision[0, ..., 0],
        precision[5, ..., 0],
        *(precision[..., size] for size in (1, 2, 3)),
    ]
    return {
        name: 100 * part[part > -1].mean() if (part > -1).any() else None
        for name, part in zip(NAMES, parts, strict=True)
    }


@pytest.mark.parametrize("kind", ["mask", "box"])
@pytest.mark.parametrize("limit", [3, 100, 400])
@pytest.mark.parametrize("seed", [0, 1])
def test_figures_equal_pycocotools(make_scene: Any, kind: Any, limit: int, seed: int) -> None:
    annotations, detections, _ = make_scene(seed, images=15, most=10)
    ours = evaluate_coco(annotations, detections, kind, limit)
    theirs = reference(annotations, detections, kind, limit)
    wanted = expected(theirs)
    assert wanted["AP"] > 5
    for name, value in ap_figures(ours).items():
        assert value == pytest.approx(wanted[name], abs=1e-9), name
    by_category = ap_by_category(ours, category_names(annotations))
    for index, value in enumerate(by_category.values()):
        assert value == pytest.approx(100 * theirs.eval["precision"][:, :, index, 0, 0].mean(), abs=1e-9)


def test_the_detection_limit_holds_for_all_sizes(make_scene: Any, rle: Any) -> None:
    """150 objects in one image, all found: with a limit of 100 a third of the recall is lost."""
    annotations, detections = grid_of_objects(rle)
    full = ap_figures(evaluate_coco(annotations, detections, "mask", 400))
    assert full["AP"] == full["APs"] == pytest.approx(100)
    limited = ap_figures(evaluate_coco(annotations, detections, "mask", 100))
    assert limited["AP"] == limited["APs"] == pytest.approx(100 * 67 / 101)


def grid_of_objects(rle: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    annotations: dict[str, Any] = {
        "images": [{"id": 1, "height": 60, "width": 100}],
        "annotations": [],
        "categories": [{"id": 1, "name": "nucleus"}],
    }
    detections = []
    for index in range(150):
        mask = np.zeros((60, 100), bool)
        y, x = 6 * (index // 16), 6 * (index % 16)
        mask[y : y + 4, x : x + 4] = True
        shared = {"image_id": 1, "category_id": 1, "bbox": [x, y, 4, 4], "segmentation": rle(mask)}
        annotations["annotations"].append(shared | {"id": index, "area": 16, "iscrowd": 0})
        detections.append(shared | {"score": 1 - index / 1000})
    return annotations, detections


def test_undefined_figures_are_none(rle: Any) -> None:
    annotations, detections = grid_of_objects(rle)
    figures = ap_figures(evaluate_coco(annotations, detections, "mask", 400))
    assert figures["APm"] is None
    assert figures["APl"] is None


def test_without_detections_ap_is_zero_and_without_objects_undefined(make_scene: Any) -> None:
    annotations, detections, _ = make_scene(3)
    assert ap_figures(evaluate_coco(annotations, [], "mask", 100))["AP"] == 0
    annotations = annotations | {"annotations": []}
    assert set(ap_figures(evaluate_coco(annotations, detections, "box", 100)).values()) == {None}


def test_detections_are_sized_by_their_mask_not_their_box(rle: Any) -> None:
    """A false thin diagonal of 60 pixels in a 60 x 60 box is small: it must not lower APm."""
    annotations, _ = grid_of_objects(rle)
    big = np.zeros((60, 100), bool)
    big[5:50, 5:50] = True
    annotations["annotations"] = [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "bbox": [5, 5, 45, 45],
            "area": 2025,
            "segmentation": rle(big),
            "iscrowd": 0,
        }
    ]
    diagonal = {
        "image_id": 1,
        "category_id": 1,
        "bbox": [0, 0, 60, 60],
        "score": 0.9,
        "segmentation": rle(np.eye(60, 100, dtype=bool)),
    }
    right = annotations["annotations"][0] | {"score": 0.5}
    assert ap_figures(evaluate_coco(annotations, [diagonal, right], "mask", 100))["APm"] == pytest.approx(100)


def test_evaluation_changes_nothing_that_it_gets(make_scene: Any) -> None:
    annotations, detections, _ = make_scene(4)
    before = json.dumps([annotations, detections])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the annotation id 0 would give one
        for kind in ("mask", "box", "boundary"):
            evaluate_coco(annotations, detections, kind, 100)
    assert json.dumps([annotations, detections]) == before


@pytest.fixture(scope="module")
def coco_mini(shared_data: Any) -> dict[str, Any]:
    """116 images of COCO val2017 with 14 crowds, masks as compressed RLE."""
    path = shared_data / "data" / "coco-mini" / "annotations" / "instances_val.json"
    annotations = json.loads(path.read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in annotations["images"]}
    for annotation in annotations["annotations"]:
        rles = coco_mask.frPyObjects(annotation["segmentation"], *sizes[annotation["image_id"]])
        merged = coco_mask.merge(rles) if isinstance(rles, list) else rles
        annotation["segmentation"] = {"size": merged["size"], "counts": merged["counts"].decode()}
    return dict(annotations)


@pytest.mark.parametrize("kind", ["mask", "box", "boundary"])
def test_real_annotations_found_perfectly_have_ap_100(coco_mini: dict[str, Any], kind: Any) -> None:
    found = [a | {"score": 0.5} for a in coco_mini["annotations"] if not a["iscrowd"]]
    assert ap_figures(evaluate_coco(coco_mini, found, kind, 100))["AP"] == pytest.approx(100, abs=1e-9)


def test_real_annotations_found_badly_equal_pycocotools(coco_mini: dict[str, Any]) -> None:
    """Crowds detected too, a fifth missed, a fifth of another class, tied scores."""
    rng = np.random.default_rng(0)
    classes = [category["id"] for category in coco_mini["categories"]]
    found = [
        {
            "image_id": a["image_id"],
            "score": round(rng.random(), 1),
            "bbox": a["bbox"],
            "segmentation": a["segmentation"],
            "category_id": a["category_id"] if rng.random() < 0.8 else int(rng.choice(classes)),
        }
        for a in coco_mini["annotations"]
        if rng.random() < 0.8
    ]
    for kind in ("mask", "box"):
        wanted = expected(reference(coco_mini, found, kind, 100))
        figures = ap_figures(evaluate_coco(coco_mini, found, kind, 100))  # type: ignore[arg-type]
        assert figures == pytest.approx(wanted, abs=1e-9)
