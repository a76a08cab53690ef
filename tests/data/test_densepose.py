"""DensePose: parts and points where the annotators put them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from pipeline.data.densepose import PART_OF_PATCH, PARTS, points_of, read_densepose, read_labels
from pipeline.data.label_codes import VOID
from pipeline.data.masks import encode
from pipeline.data.packs import Pack
from pipeline.data.pixels import ImageError
from pipeline.data.prepare_semantic import import_densepose
from pipeline.errors import UserError
from pipeline.files import read_json
from pipeline.labels.semantic_labels import SemanticLabels
from pipeline.labels.weak_semantic import write_weak_labels
from pipeline.params.semantic_data import DensePoseFolder
from pipeline.params.semantic_labels import AnnotatedPoints

SIZE = (40, 60)
HEAD, TORSO = 14, 1
SETTINGS = DensePoseFolder(
    train_json="data/train.json",
    train_images="data/images",
    val_json="data/val.json",
    val_images="data/images",
    processes=1,
)


def person(**changes: Any) -> dict[str, Any]:
    """A head in the upper half of the box and a torso in the lower one, with a point on each."""
    masks: list[Any] = [[] for _ in PARTS]
    upper = np.zeros((1, 256, 256), dtype=bool)
    upper[0, :128] = True
    masks[HEAD - 1], masks[TORSO - 1] = encode(upper)[0], encode(~upper)[0]
    return {
        "id": 7,
        "image_id": 5,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [10.2, 5.1, 20.3, 30.2],
        "dp_masks": masks,
        "dp_x": [127.5, 255.0],
        "dp_y": [0.0, 255.0],
        "dp_I": [24.0, 2.0],
        "dp_U": [0.1, 0.2],
        **changes,
    }


def bystander() -> dict[str, Any]:
    plain = {key: value for key, value in person(id=8).items() if not key.startswith("dp_")}
    return {**plain, "bbox": [40, 0, 10, 10], "segmentation": [[40, 0, 50, 0, 50, 5, 40, 5]]}


def content(*persons: dict[str, Any]) -> dict[str, Any]:
    images = [
        {"id": key, "file_name": f"COCO_{key}.png", "width": SIZE[1], "height": SIZE[0]} for key in (9, 5)
    ]
    return {"images": images, "annotations": list(persons), "categories": [{"id": 1, "name": "person"}]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data" / "images").mkdir(parents=True)
    for key in (5, 9):
        Image.fromarray(np.full((*SIZE, 3), key, np.uint8)).save(tmp_path / f"data/images/COCO_{key}.png")
    for split in ("train", "val"):
        (tmp_path / f"data/{split}.json").write_text(json.dumps(content(person(), bystander())))
    return tmp_path


def test_parts_fill_the_box_of_their_person_and_others_are_void() -> None:
    values = read_labels((SIZE, [person(), bystander()])).values
    wanted = np.zeros(SIZE, dtype=np.uint8)
    wanted[:5, 40:50] = VOID
    wanted[5:20, 10:30] = HEAD
    wanted[20:35, 10:30] = TORSO
    np.testing.assert_array_equal(values, wanted)


def test_a_smaller_person_is_in_front_and_boxes_are_cut_to_the_image() -> None:
    small = person(id=9, bbox=[-5, -6, 20, 20])
    for persons in ([small, person()], [person(), small]):
        values = read_labels((SIZE, persons)).values
        assert (values[:4, :15] == HEAD).all()
        assert (values[4:14, :15] == TORSO).all()
        assert (values[5:20, 15:30] == HEAD).all()


@pytest.mark.parametrize(
    "bbox", [[10, 50, 20, 300], [90, 5, 300, 20], [-50, 5, 20, 20], [5, -50, 20, 20], [70, 45, 9, 9]]
)
def test_a_box_outside_the_image_marks_nothing(bbox: list[int]) -> None:
    assert not read_labels((SIZE, [person(bbox=bbox)])).values.any()


@pytest.mark.parametrize("length", [1, 7, 98, 256, 300, 4001])
def test_parts_are_stretched_as_by_opencv(length: int) -> None:
    stripes = np.zeros((1, 256, 256), dtype=bool)
    stripes[0, :, 1::2] = True
    masks: list[Any] = [encode(stripes)[0]] + [[]] * 13
    values = read_labels(((1, length), [person(bbox=[0, 0, length, 1], dp_masks=masks)])).values
    wanted = cv2.resize(stripes[0].astype(np.uint8), (length, 1), interpolation=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(values, wanted)


def test_a_huge_box_costs_what_the_image_shows_of_it() -> None:
    values = read_labels((SIZE, [person(bbox=[-40000, -40000, 99999, 79998])])).values
    assert (values == TORSO).all()


def test_a_person_without_parts_and_mask_is_void_in_the_box() -> None:
    boxed = bystander()
    del boxed["segmentation"]
    values = read_labels((SIZE, [boxed])).values
    assert (values[:10, 40:50] == VOID).all()
    assert (values == VOID).sum() == 100


def test_points_are_on_parts_of_the_image() -> None:
    assert points_of(person(), SIZE) == [(HEAD, 20, 5), (TORSO, 29, 34)]
    assert points_of(person(bbox=[-30, 0, 20, 30]), SIZE) == []
    assert len(PART_OF_PATCH) == 24
    assert set(PART_OF_PATCH) == set(range(1, 15))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"dp_I": [1.0]}, "points that are not complete"),
        ({"dp_I": [1.0, 25.0]}, "a patch that is not 1 to 24"),
        ({"dp_x": [1.0, "2"]}, "points that are not numbers"),
        ({"dp_masks": []}, "dp_masks that are not 14 masks"),
        ({"dp_masks": [{"size": [256, 256], "counts": "x"}] * 14}, "a mask that cannot be used"),
        ({"bbox": [1, 2, 3]}, "no box of four numbers"),
        ({"bbox": [1, 2, 3, 1e9]}, "no box of four numbers"),
    ],
)
def test_a_person_that_is_wrong_leaves_out_its_image(
    root: Path, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ImageError, match=problem):
        read_labels((SIZE, [person(**changes)]))
    path = root / "data" / "train.json"
    path.write_text(json.dumps(content(person(**changes), person(id=10, image_id=9))))
    split = read_densepose(path, root / "data/images", 1)
    (line,) = split.checked.warnings
    assert re.search(rf"1 image left out: a person has .*{problem}: COCO_5\.png", line)
    assert [row["file_name"] for row in split.checked.coco["images"]] == ["COCO_9.png"]
    assert {point["image_id"] for point in split.checked.coco["points"]} == {2}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{}", "images: there are none"),
        (json.dumps({"images": [{"id": 9}]}), "image 9: has no file_name"),
        (json.dumps(content(bystander())), "annotations: none has dp_masks"),
        (json.dumps(content({"id": 1})), r"annotations\[0\]: has no image_id"),
        ('{"images": [', "not a JSON object"),
    ],
)
def test_files_that_are_something_else_are_refused(root: Path, text: str, problem: str) -> None:
    (root / "data" / "val.json").write_text(text)
    with pytest.raises(UserError, match=problem):
        import_densepose(SETTINGS, root, root / "prepared", root / "semantic")
    assert [path.name for path in root.iterdir()] == ["data"]


def test_the_size_of_a_record_must_be_its_image_s_before_a_map_of_it_is_made(root: Path) -> None:
    records = content(person(), person(id=10, image_id=9))
    records["images"][1] |= {"width": 10**9, "height": 10**9}
    path = root / "data" / "train.json"
    path.write_text(json.dumps(records))
    split = read_densepose(path, root / "data/images", 1)
    (line,) = split.checked.warnings
    assert (
        "1 image left out: its record has another size: COCO_5.png, 1000000000x1000000000 and 60x40" in line
    )
    del records["images"][1]["width"]
    path.write_text(json.dumps(records))
    (line,) = read_densepose(path, root / "data/images", 1).checked.warnings
    assert "its record has no size: COCO_5.png" in line


def test_from_the_file_to_labels_of_points(root: Path) -> None:
    summary = import_densepose(SETTINGS, root, root / "prepared", root / "semantic")
    assert summary["semantic"]["splits"]["train"]["pixels"][HEAD] == 300
    assert Pack(root / "semantic" / "val").about["classes"] == ["background", *PARTS]
    annotations = read_json(root / "prepared" / "annotations" / "train.json")
    assert annotations["annotations"] == []
    row = AnnotatedPoints(
        kind="annotated_points",
        split="train",
        percent=100.0,
        processes=1,
        background=1,
        radius=0,
        min_area=9,
        seed=0,
    )
    write_weak_labels(root / "semantic" / "train", annotations, row, root / "points")
    labels = SemanticLabels.open(root / "points")
    assert {image.file_name: image.tags for image in labels.images.values()} == {
        "COCO_5.png": (TORSO, HEAD),
        "COCO_9.png": (),
    }
    values = labels.partial_map(1)
    assert (values[5, 20], values[34, 29]) == (HEAD, TORSO)
    assert (values == 0).sum() == 1
