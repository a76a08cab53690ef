"""LVIS's AP: by hand, against a plain reading of its rules, and through to the bootstrap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.errors import UserError
from pipeline.evaluation.intervals import weighted_ap
from pipeline.evaluation.lvis import check_lvis, judged
from pipeline.evaluation.run import evaluate_run
from pipeline.params import Evaluate

COCO = Evaluate(
    protocol="coco", max_detections=300, boundary_dilation=0.02, bootstrap_samples=100, bootstrap_seed=0
)
LVIS = COCO.model_copy(update={"protocol": "lvis"})
ANT, BEE, CAT = 3, 5, 9
BOX, ELSEWHERE = (10, 10, 20, 20), (60, 60, 20, 20)


def instance(rle: Any, image: int, category: int, box: tuple[int, int, int, int]) -> dict[str, Any]:
    x, y, width, height = box
    mask = np.zeros((100, 100), bool)
    mask[y : y + height, x : x + width] = True
    return {"image_id": image, "category_id": category, "bbox": list(box), "segmentation": rle(mask)}


@pytest.fixture
def annotations(rle: Any) -> dict[str, Any]:
    """An ant, and maybe others, but no cat in image 1; a bee, but no ant in image 2."""
    lists = {1: ([CAT], [ANT]), 2: ([ANT], [])}
    rows = [instance(rle, 1, ANT, BOX), instance(rle, 2, BEE, BOX)]
    return {
        "images": [
            {
                "id": image,
                "width": 100,
                "height": 100,
                "neg_category_ids": absent,
                "not_exhaustive_category_ids": incomplete,
            }
            for image, (absent, incomplete) in lists.items()
        ],
        "annotations": [{**row, "id": key, "area": 400, "iscrowd": 0} for key, row in enumerate(rows)],
        "categories": [
            {"id": key, "name": name, "frequency": frequency}
            for key, name, frequency in ((ANT, "ant", "f"), (BEE, "bee", "c"), (CAT, "cat", "r"))
        ],
    }


@pytest.fixture
def detections(rle: Any) -> list[dict[str, Any]]:
    found = (
        (1, BEE, ELSEWHERE, 0.98),  # whether there are bees in image 1 is not known: does not count
        (1, ANT, ELSEWHERE, 0.95),  # not all ants of image 1 are annotated: neither right nor wrong
        (1, ANT, BOX, 0.90),  # right
        (1, CAT, BOX, 0.80),  # wrong, but there are no cats to find at all
        (2, ANT, BOX, 0.99),  # wrong: image 2 has no ants
        (2, BEE, BOX, 0.50),  # right
    )
    return [instance(rle, image, kind, box) | {"score": score} for image, kind, box, score in found]


def test_ap_by_hand(annotations: Any, detections: Any) -> None:
    """The ant comes second, after the wrong one of image 2: precision 1/2.  The bee comes first."""
    metrics, matches = evaluate_run(annotations, detections, None, LVIS)
    for kind in ("box", "mask"):
        figures = metrics[kind]
        assert (figures["AP"], figures["AP50"], figures["AP75"]) == pytest.approx((75, 75, 75))
        assert (figures["APf"], figures["APc"], figures["APr"]) == (
            pytest.approx(50),
            pytest.approx(100),
            None,
        )
        assert figures["APs"] == pytest.approx(75)
    assert metrics["boundary"]["AP"] == pytest.approx(75)
    assert metrics["per_category_AP"] == {"ant": pytest.approx(50), "bee": pytest.approx(100), "cat": None}
    assert metrics["detections"] == 6
    assert weighted_ap(matches, np.ones((2, 1), np.int32)).mean() == pytest.approx(75)


def test_coco_counts_all_of_them(annotations: Any, detections: Any) -> None:
    """By COCO's protocol the ant is the third of three and the bee the second of two."""
    metrics, _ = evaluate_run(annotations, detections, None, COCO)
    assert metrics["mask"]["AP"] == pytest.approx((100 / 3 + 100 / 2) / 2)
    assert "APr" not in metrics["mask"]


def test_the_limit_is_of_an_image(annotations: Any, detections: Any) -> None:
    """Of image 1 the first two count, and the ant is the third."""
    settings = LVIS.model_copy(update={"max_detections": 2})
    metrics, _ = evaluate_run(annotations, detections, None, settings)
    assert metrics["per_category_AP"] == {"ant": 0, "bee": pytest.approx(100), "cat": None}
    kept = judged(annotations, detections, 2)
    assert [(row["image_id"], row["score"]) for row in kept] == [(1, 0.95), (2, 0.99), (2, 0.5)]


def test_equal_scores_keep_their_order(annotations: Any, detections: Any) -> None:
    same = [{**row, "score": 0.5} for row in detections]
    assert judged(annotations, same, 3) == [same[1], same[2], same[4], same[5]]


@pytest.mark.parametrize("key", ["neg_category_ids", "not_exhaustive_category_ids"])
def test_images_must_say_what_was_looked_for(annotations: Any, detections: Any, key: str) -> None:
    del annotations["images"][1][key]
    with pytest.raises(UserError, match=f"image 2: has no {key}.*evaluate.protocol to coco") as caught:
        evaluate_run(annotations, detections, None, LVIS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("frequency", [None, "x", 3])
def test_categories_must_have_a_frequency(annotations: Any, frequency: Any) -> None:
    annotations["categories"][0]["frequency"] = frequency
    with pytest.raises(UserError, match="category 3: has no frequency r, c or f"):
        check_lvis(annotations)


# --- against the rules as LVIS states them ------------------------------------------------------------


def lvis_scene(make_scene: Any, seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A random scene in which each image knows of some classes, and not all of some."""
    annotations, detections, _ = make_scene(seed, images=15, categories=5, crowds=False, most=10)
    rng = np.random.default_rng(seed)
    ids = [category["id"] for category in annotations["categories"]]
    for image in annotations["images"]:
        there = {row["category_id"] for row in annotations["annotations"] if row["image_id"] == image["id"]}
        image["neg_category_ids"] = [key for key in ids if key not in there and rng.random() < 0.5]
        image["not_exhaustive_category_ids"] = [key for key in sorted(there) if rng.random() < 0.4]
    for category in annotations["categories"]:
        category["frequency"] = "rcf"[rng.integers(3)]
    return annotations, detections


def plain_ap(
    annotations: dict[str, Any], detections: list[dict[str, Any]], limit: int
) -> dict[int, list[float]]:
    """Category -> mask AP at each IoU threshold, one detection after the other."""
    best: list[dict[str, Any]] = []
    for image in annotations["images"]:
        own = [row for row in detections if row["image_id"] == image["id"]]
        own = sorted(own, key=lambda row: -row["score"])[:limit]
        there = {row["category_id"] for row in annotations["annotations"] if row["image_id"] == image["id"]}
        best += [row for row in own if row["category_id"] in there | set(image["neg_category_ids"])]
    forgiven = {
        (image["id"], key) for image in annotations["images"] for key in image["not_exhaustive_category_ids"]
    }
    result = {}
    for category in (row["id"] for row in annotations["categories"]):
        objects = [row for row in annotations["annotations"] if row["category_id"] == category]
        found = sorted((row for row in best if row["category_id"] == category), key=lambda row: -row["score"])
        if objects:
            thresholds = np.linspace(0.5, 0.95, 10)
            result[category] = [_area(objects, found, forgiven, threshold) for threshold in thresholds]
    return result


def _area(objects: list[Any], found: list[Any], forgiven: set[tuple[int, int]], threshold: float) -> float:
    taken: set[int] = set()
    outcomes = []
    for row in found:
        best, chosen = threshold, None
        for place, other in enumerate(objects):
            if other["image_id"] == row["image_id"] and place not in taken:
                overlap = coco_mask.iou([row["segmentation"]], [other["segmentation"]], [0])[0, 0]
                if overlap >= best:
                    best, chosen = overlap, place
        if chosen is not None:
            taken.add(chosen)
            outcomes.append(True)
        elif (row["image_id"], row["category_id"]) not in forgiven:
            outcomes.append(False)
    right = np.cumsum(outcomes)
    precision = right / np.arange(1, len(outcomes) + 1)
    recall = right / len(objects)
    samples = [precision[recall >= point].max(initial=0.0) for point in np.linspace(0, 1, 101)]
    return float(np.mean(samples))


@pytest.mark.parametrize("limit", [4, 300])
@pytest.mark.parametrize("seed", range(4))
def test_figures_are_those_of_the_rules(make_scene: Any, seed: int, limit: int) -> None:
    annotations, detections = lvis_scene(make_scene, seed)
    settings = LVIS.model_copy(update={"max_detections": limit})
    metrics, matches = evaluate_run(annotations, detections, None, settings)
    wanted = plain_ap(annotations, detections, limit)
    assert np.mean(list(wanted.values())) > 0.05
    assert metrics["mask"]["AP"] == pytest.approx(100 * np.mean(list(wanted.values())), abs=1e-9)
    for letter in "rcf":
        own = [row["id"] for row in annotations["categories"] if row["frequency"] == letter]
        values = [wanted[key] for key in own if key in wanted]
        expected = pytest.approx(100 * np.mean(values), abs=1e-9) if values else None
        assert metrics["mask"][f"AP{letter}"] == expected
    ap = weighted_ap(matches, np.ones((15, 1), np.int32))[0]
    assert ap == pytest.approx(100 * np.mean(list(wanted.values()), axis=0), abs=1e-9)


def test_the_rules_matter_in_these_scenes(make_scene: Any) -> None:
    annotations, detections = lvis_scene(make_scene, 0)
    by = {rules.protocol: evaluate_run(annotations, detections, None, rules)[0] for rules in (COCO, LVIS)}
    assert abs(by["coco"]["mask"]["AP"] - by["lvis"]["mask"]["AP"]) > 1
