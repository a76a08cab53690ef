"""A small valid COCO folder, for tests that damage one thing in it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.data.coco import CheckedCoco, read_coco

Edit = Callable[[dict[str, Any]], Any]
POLYGON = [[5, 5, 20, 5, 20, 15, 5, 15]]
WIDTH, HEIGHT = 40, 30


def coco() -> dict[str, Any]:
    images = [
        {"id": key, "file_name": name, "width": WIDTH, "height": HEIGHT}
        for key, name in ((1, "a.png"), (2, "b.png"))
    ]
    annotations = [
        {
            "id": key,
            "image_id": image,
            "category_id": 7,
            "bbox": [5, 5, 15, 10],
            "area": 150,
            "iscrowd": 0,
            "segmentation": copy.deepcopy(POLYGON),
        }
        for key, image in ((11, 1), (12, 1), (13, 2))
    ]
    return {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "thing"}]}


def read(folder: Path, edit: Edit | None = None, processes: int = 1) -> CheckedCoco:
    content = coco()
    if edit is not None:
        edit(content)
    (folder / "a.json").write_text(json.dumps(content), encoding="utf-8")
    return read_coco(folder / "a.json", folder / "images", processes)


def first(key: str, value: Any, rows: str = "annotations") -> Edit:
    return lambda content: content[rows][0].__setitem__(key, value)


def without(key: str, rows: str = "annotations") -> Edit:
    return lambda content: content[rows][0].pop(key)
