"""Training images with boxes and the masks made for them."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.data.images import ImageRecord, ImageStore, write_zip_store
from pipeline.data.masks import encode
from pipeline.errors import UserError
from pipeline.report.gallery import set_note
from pipeline.report.training_scenes import make_training_scenes

SIDE = 16
CATEGORIES = [{"id": 3, "name": "star"}, {"id": 5, "name": "L"}]


def box(annotation_id: int, image_id: int, **more: Any) -> dict[str, Any]:
    row = {"id": annotation_id, "image_id": image_id, "category_id": 3, "bbox": [2, 2, 8, 8], "iscrowd": 0}
    return {**row, **more}


def masked(row: dict[str, Any], right: int = 8) -> dict[str, Any]:
    mask = np.zeros((1, SIDE, SIDE), bool)
    mask[0, 2:10, 2:right] = True
    return {**row, "segmentation": encode(mask)[0], "score": 0.5}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps({"annotations": rows, "categories": CATEGORIES, "images": []}))
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    folder = tmp_path_factory.mktemp("train")

    def image(image_id: int) -> tuple[ImageRecord, bytes]:
        _, data = cv2.imencode(".png", np.full((SIDE, SIDE, 3), image_id, np.uint8))
        return ImageRecord(image_id, f"{image_id}.png", SIDE, SIDE), data.tobytes()

    write_zip_store(folder, map(image, range(1, 11)))
    return ImageStore.open(folder)


def test_a_scene_has_the_boxes_and_the_masks_of_every_set(store: ImageStore, tmp_path: Path) -> None:
    crowd, small = box(12, 1, iscrowd=1), box(13, 1, category_id=5, bbox=[12, 2, 1, 1])
    rows = [box(11, 1), crowd, small, box(21, 2), box(31, 3, iscrowd=1)]
    boxes = write(tmp_path / "boxes.json", rows)
    sets = {
        "one": write(tmp_path / "one.json", [masked(rows[0]), masked(crowd), masked(rows[3])]),
        "two": write(tmp_path / "two.json", [masked(rows[3]), masked(crowd), masked(rows[0], right=2)]),
    }
    scenes = make_training_scenes(boxes, sets, store, 9)
    assert [scene.image_id for scene in scenes] == [1, 2]  # of image 3, there is a crowd alone
    first = scenes[0]
    assert (first.file_name, first.rank, int(first.image[0, 0, 0])) == ("1.png", "sample", 1)
    assert [(shape.category, shape.mask, shape.crowd) for shape in first.truth] == [
        ("star", None, False),
        ("star", None, True),
        ("L", None, False),
    ]
    assert [int(shape.mask.sum()) for shape in first.predictions["one"]] == [48, 48]
    assert [set_note(first, name) for name in sets] == ["1 box without a mask", "2 boxes without a mask"]
    assert [set_note(scenes[1], name) for name in sets] == ["", ""]


def test_the_sample_is_spread_and_the_same_every_time(store: ImageStore, tmp_path: Path) -> None:
    boxes = write(tmp_path / "boxes.json", [box(image, image) for image in range(10, 0, -1)])
    made = {"made": write(tmp_path / "made.json", [masked(box(image, image)) for image in range(1, 11)])}
    first, second = (make_training_scenes(boxes, made, store, 4) for _ in range(2))
    assert [scene.image_id for scene in first] == [scene.image_id for scene in second] == [1, 4, 7, 10]


def test_memory_does_not_grow_with_the_label_files(store: ImageStore, tmp_path: Path) -> None:
    def peak(annotations: int) -> int:
        rows = [box(1, 1), *(box(key, 2 + key % 9) for key in range(2, annotations))]
        boxes = write(tmp_path / "boxes.json", rows)
        made = write(tmp_path / "made.json", [masked(row) for row in rows])
        tracemalloc.start()
        make_training_scenes(boxes, {"made": made}, store, 1)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(20_000) < 1.2 * peak(5_000)


def test_a_missing_label_file_is_one_line(store: ImageStore, tmp_path: Path) -> None:
    boxes = write(tmp_path / "boxes.json", [box(1, 1)])
    with pytest.raises(UserError, match=r"gone\.json: file not found"):
        make_training_scenes(boxes, {"gone": tmp_path / "gone.json"}, store, 1)
