"""Label sets of the semantic task, read back and checked: a user may put an own one in their place."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data.label_codes import UNLABELLED, VOID
from pipeline.data.packs import encode_map, write_pack
from pipeline.errors import UserError
from pipeline.files import write_json
from pipeline.labels.semantic_labels import SemanticLabels

VALUES = np.array([[0, 1, UNLABELLED], [2, VOID, UNLABELLED]], dtype=np.uint8)


def content(**changes: Any) -> dict[str, Any]:
    images = [
        {"id": key, "file_name": f"{key}.jpg", "width": 3, "height": 2, "tags": [1, 2]} for key in (5, 2)
    ]
    return {"info": {"kind": "points"}, "classes": ["background", "a", "b"], "images": images, **changes}


def write(folder: Path, value: Any, maps: dict[int, Any] | None = None) -> Path:
    write_json(folder / "labels.json", value)
    members = {5: VALUES, 2: VALUES} if maps is None else maps
    write_pack(folder / "maps", [(key, encode_map(one)) for key, one in members.items()], {})
    return folder


def test_all_is_read(tmp_path: Path) -> None:
    labels = pickle.loads(pickle.dumps(SemanticLabels.open(write(tmp_path, content()))))
    assert (labels.kind, labels.classes, labels.background) == ("points", ("background", "a", "b"), True)
    assert list(labels.images) == [2, 5]
    assert labels.images[5].tags == (1, 2)
    np.testing.assert_array_equal(labels.partial_map(5), VALUES)
    with pytest.raises(UserError, match="image 5: holds points, and boxes are needed"):
        labels.boxes(5)


def test_a_coco_file_with_boxes_will_do(tmp_path: Path) -> None:
    rows = [
        {"id": 1, "image_id": 5, "category_id": 30, "bbox": [0, 0, 2, 1], "iscrowd": 0},
        {"id": 2, "image_id": 5, "category_id": 7, "bbox": [1, 0, 2, 2], "iscrowd": 0},
        {"id": 3, "image_id": 2, "category_id": 7, "bbox": [1, 0, 2, 2], "iscrowd": 1},
    ]
    value = content(annotations=rows, categories=[{"id": 30, "name": "b"}, {"id": 7, "name": "a"}])
    del value["classes"], value["info"]
    write_json(tmp_path / "labels.json", value)
    labels = SemanticLabels.open(tmp_path)
    assert (labels.kind, labels.classes) == ("boxes", ("background", "a", "b"))
    classes, boxes = labels.boxes(5)
    assert (classes.tolist(), boxes.tolist()) == ([2, 1], [[0, 0, 2, 1], [1, 0, 3, 2]])
    assert (labels.images[5].tags, labels.images[2].tags) == ((1, 2), ())
    assert labels.crowds(2).tolist() == [[1, 0, 3, 2]]
    assert labels.crowds(5).shape == (0, 4)


IMAGE = content()["images"][0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"info": {"kind": "masks"}}, "info.kind: must be one of tags, .*, and is 'masks'"),
        ({"info": {}}, "info.kind: must be one of tags, .*, and is None"),
        ({"info": None}, "is not a label set"),
        ({"classes": []}, "classes: must be a list of names"),
        ({"classes": ["x"] * 255}, "classes: are 255, and a label map holds 254"),
        ({"images": []}, "images: there are none"),
        ({"images": [IMAGE, IMAGE]}, "image 5: its id is no whole number or occurs twice"),
        ({"images": [{**IMAGE, "tags": [2, 1]}]}, r"tags must be .*, and are \[2, 1\]"),
        ({"images": [{**IMAGE, "tags": [0]}]}, "tags must be"),
        ({"images": [{**IMAGE, "tags": [3]}]}, "tags must be"),
        ({"images": [{**IMAGE, "width": 0}]}, "width and height"),
        ({"images": [{**IMAGE, "file_name": None}]}, "file_name is None"),
        ({"images": [{"id": 1}]}, r"is not a label set \(KeyError: 'width'\)"),
        ({"images": [IMAGE]}, "maps: has maps of other images than labels.json"),
    ],
)
def test_damage_is_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write(tmp_path, content(**changes))
    with pytest.raises(UserError, match=message):
        SemanticLabels.open(tmp_path)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"labels\.json: file not found"):
        SemanticLabels.open(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (VALUES.T, "image 5: the map is not an 8-bit one of 3x2"),
        (VALUES.astype(np.uint16), "the map is not an 8-bit one"),
        (np.full((2, 3), 3, np.uint8), "the map has the value 3, and there are 3 classes"),
        (np.full((2, 3), 253, np.uint8), "the map has the value 253"),
    ],
)
def test_a_map_that_does_not_fit_is_one_line(tmp_path: Path, values: Any, message: str) -> None:
    labels = SemanticLabels.open(write(tmp_path, content(), {5: values, 2: VALUES}))
    with pytest.raises(UserError, match=message):
        labels.partial_map(5)
