"""Which images the gallery shows, and which detections."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.scenes import best_detections, boxes_with_masks, sample_images


def test_as_many_detections_as_objects_best_scores_first() -> None:
    annotations = {
        "annotations": [
            {"image_id": 1, "iscrowd": 0},
            {"image_id": 1, "iscrowd": 0},
            {"image_id": 1, "iscrowd": 1},
            {"image_id": 2, "iscrowd": 1},
        ]
    }
    detections = [
        {"image_id": image, "score": score} for image, score in ((1, 0.1), (1, 0.3), (2, 0.9), (1, 0.2))
    ]
    assert [item["score"] for item in best_detections(annotations, detections)] == [0.3, 0.2]


def test_masks_in_boxes_are_shown_for_every_object_with_its_class() -> None:
    annotations = {
        "annotations": [
            {"id": 7, "image_id": 1, "category_id": 3, "bbox": [0, 1, 2, 3], "iscrowd": 0},
            {"id": 8, "image_id": 1, "category_id": 4, "bbox": [1, 1, 2, 2], "iscrowd": 1},
            {"id": 9, "image_id": 2, "category_id": 4, "bbox": [2, 2, 2, 2], "iscrowd": 0},
        ]
    }
    in_boxes = [{"annotation_id": 9, "segmentation": "nine"}, {"annotation_id": 7, "segmentation": "seven"}]
    assert boxes_with_masks(annotations, in_boxes) == [
        {"image_id": 1, "category_id": 3, "bbox": [0, 1, 2, 3], "segmentation": "seven"},
        {"image_id": 2, "category_id": 4, "bbox": [2, 2, 2, 2], "segmentation": "nine"},
    ]


@given(st.sets(st.integers(0, 99), max_size=20), st.integers(1, 8))
def test_a_sample_is_spread_over_the_images_with_objects(images: set[int], count: int) -> None:
    sample = sample_images(({"image_id": image} for image in images for _ in range(2)), count)
    assert len(sample) == min(count, len(images))
    assert set(sample) <= images
    assert set(sample.values()) <= {"sample"}
    if len(sample) > 1:
        assert {min(images), max(images)} <= set(sample)
