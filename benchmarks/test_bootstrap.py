"""The bootstrap of AP from matches, against evaluating every resampled data set anew."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.evaluation.coco import evaluate_coco
from pipeline.evaluation.intervals import resample_images, weighted_ap
from pipeline.evaluation.matches import match

SAMPLES = 1000


def scene(images: int, categories: int, objects: int, spurious: int) -> tuple[dict[str, Any], list[Any]]:
    """Boxes: `objects` per image, each found once with a shift, and `spurious` false detections."""
    rng = np.random.default_rng(0)
    annotations, detections = [], []
    for image in range(1, images + 1):
        for index in range(objects + spurious):
            x, y, w, h = (float(value) for value in rng.integers((0, 0, 15, 15), (60, 60, 36, 36)))
            shared = {"image_id": image, "category_id": int(rng.integers(categories)) + 1}
            if index < objects:
                annotations.append(
                    shared | {"id": len(annotations) + 1, "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0}
                )
            shift = float(rng.integers(0, 6))
            score = rng.beta(4, 2) if index < objects else rng.beta(2, 5)
            detections.append(shared | {"bbox": [x + shift, y, w, h], "score": float(score)})
    records = [{"id": image, "height": 96, "width": 96} for image in range(1, images + 1)]
    names = [{"id": index + 1, "name": str(index)} for index in range(categories)]
    return {"images": records, "annotations": annotations, "categories": names}, detections


def repeated(annotations: dict[str, Any], detections: list[Any], counts: np.ndarray) -> tuple[Any, list[Any]]:
    """The resampled data set itself."""
    copies = {
        image["id"]: [image["id"] + len(counts) * copy for copy in range(count)]
        for image, count in zip(annotations["images"], counts, strict=True)
    }
    images = [image | {"id": new} for image in annotations["images"] for new in copies[image["id"]]]
    marks = [a | {"image_id": new} for a in annotations["annotations"] for new in copies[a["image_id"]]]
    found = [d | {"image_id": new} for d in detections for new in copies[d["image_id"]]]
    return annotations | {"images": images, "annotations": marks}, found


def seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def test_demo_size_against_evaluating_anew(record_property: Callable[[str, object], None]) -> None:
    """200 images, 4 classes, 4000 detections; three naive resamples stand for all."""
    annotations, detections = scene(200, 4, 4, 16)
    evaluation = evaluate_coco(annotations, detections, "box", 100)
    matches = match(evaluation, annotations, detections, 100, np.full(800, np.nan))
    weights = resample_images(200, SAMPLES, 0)
    fast = seconds(lambda: weighted_ap(matches, weights))
    naive = (
        seconds(
            lambda: [
                evaluate_coco(*repeated(annotations, detections, weights[:, sample]), "box", 100)
                for sample in range(3)
            ]
        )
        / 3
        * SAMPLES
    )
    record_property("ratio", naive / fast)
    print(f"\n{SAMPLES} resamples: {fast:.2f} s from matches, {naive:.0f} s anew: {naive / fast:.0f} times")
    assert fast < 3
    assert naive / fast > 20


def test_coco_size_is_feasible() -> None:
    """5000 images, 80 classes, 300,000 detections: minutes, and well under 4 GiB."""
    annotations, detections = scene(5000, 80, 7, 53)
    evaluation = evaluate_coco(annotations, detections, "box", 100)
    start = time.process_time()
    matches = match(evaluation, annotations, detections, 100, np.full(35000, np.nan))
    matching = time.process_time() - start
    weights = resample_images(5000, SAMPLES, 0)
    fast = seconds(lambda: weighted_ap(matches, weights))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\nmatching {matching:.1f} s, {SAMPLES} resamples {fast:.1f} s, peak {peak:.2f} GiB in all")
    assert fast < 300
    assert peak < 4
