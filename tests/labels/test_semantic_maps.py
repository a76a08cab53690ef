"""Label maps painted from instance masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.label_codes import VOID
from pipeline.data.masks import areas, encode
from pipeline.data.packs import Pack
from pipeline.errors import UserError
from pipeline.labels.semantic_maps import class_index, paint, semantic_classes, write_semantic_maps

SIZE = (12, 16)
BOXES = st.tuples(st.integers(0, 10), st.integers(0, 7), st.integers(1, 6), st.integers(1, 5))


def row(key: int, box: tuple[int, int, int, int], category: int, **more: Any) -> dict[str, Any]:
    x, y, width, height = box
    mask = np.zeros((1, *SIZE), dtype=bool)
    mask[0, y : y + height, x : x + width] = True
    made = {"id": key, "image_id": 1, "category_id": category, "bbox": list(box), "iscrowd": 0}
    return {**made, "segmentation": encode(mask)[0], **more}


@given(boxes=st.lists(st.tuples(BOXES, st.sampled_from([4, 9])), max_size=6))
def test_every_pixel_is_of_the_smallest_object_there(boxes: list[tuple[Any, int]]) -> None:
    rows = [row(key, box, category) for key, (box, category) in enumerate(boxes)]
    values = paint(rows, {4: 1, 9: 2}, SIZE)
    for y, x in np.ndindex(SIZE):
        over = [
            (int(areas([one["segmentation"]])[0]), -one["id"], one["category_id"])
            for one in rows
            if one["bbox"][0] <= x < one["bbox"][0] + one["bbox"][2]
            and one["bbox"][1] <= y < one["bbox"][1] + one["bbox"][3]
        ]
        assert values[y, x] == ({4: 1, 9: 2}[min(over)[2]] if over else 0)


def test_crowds_and_objects_without_a_mask_are_void_where_no_object_is() -> None:
    boxed = row(3, (0, 8, 4, 4), 4)
    del boxed["segmentation"]
    boxed["bbox"] = [0.5, 8.2, 3.1, 9.0]
    rows = [row(1, (0, 0, 8, 4), 4, iscrowd=1), row(2, (2, 0, 2, 12), 9), boxed]
    values = paint(rows, {4: 1, 9: 2}, SIZE)
    wanted = np.zeros(SIZE, dtype=np.uint8)
    wanted[:4, :8] = VOID
    wanted[8:, :4] = VOID
    wanted[:, 2:4] = 2
    np.testing.assert_array_equal(values, wanted)


def coco() -> dict[str, Any]:
    images = [{"id": key, "file_name": f"{key}.png", "width": 16, "height": 12} for key in (7, 1)]
    categories = [{"id": 9, "name": "cat"}, {"id": 4, "name": "dog"}]
    return {"images": images, "annotations": [row(5, (1, 1, 3, 3), 9)], "categories": categories}


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_pack_holds_all_images_and_replaces_an_older_one(tmp_path: Path, processes: int) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "old.zip").touch()
    write_semantic_maps(coco(), tmp_path / "train", processes)
    pack = Pack(tmp_path / "train")
    assert pack.about == {"classes": ["background", "dog", "cat"], "background": True}
    assert pack.ids == [1, 7]
    assert not pack.read(7).any()
    assert (pack.read(1)[1:4, 1:4] == 2).all()
    assert (pack.read(1) > 0).sum() == 9
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["pack-000.zip", "pack.json", "train"]


def test_more_classes_than_a_byte_tells_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    many = {**coco(), "categories": [{"id": key, "name": str(key)} for key in range(254)]}
    with pytest.raises(UserError, match=r"train\.json: has 254 categories, and a label map holds 253"):
        write_semantic_maps(many, tmp_path / "train", 1, "train.json")
    assert not (tmp_path / "train").exists()
    assert len(semantic_classes({**many, "categories": many["categories"][:253]})) == 254
    assert class_index(coco()) == {4: 1, 9: 2}
