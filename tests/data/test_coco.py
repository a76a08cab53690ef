"""Checks of COCO files as a whole: what is refused, what is kept as it is."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from pipeline.data import coco_images
from pipeline.data.coco import read_coco
from pipeline.engine import parallel
from pipeline.errors import UserError
from tests.data.coco_folder import HEIGHT, POLYGON, WIDTH, Edit, coco, first, read, without


def test_good_input_is_kept_as_it_is(folder: Path) -> None:
    checked = read(folder)
    assert checked.warnings == []
    assert [(record.id, record.file_name) for record, _ in checked.images] == [(1, "a.png"), (2, "b.png")]
    assert [row["id"] for row in checked.coco["annotations"]] == [11, 12, 13]
    row = checked.coco["annotations"][0]
    assert (row["bbox"], row["area"], row["category_id"]) == ([5, 5, 15, 10], 150, 7)
    expected = coco_mask.decode(coco_mask.frPyObjects(POLYGON, HEIGHT, WIDTH)[0])
    np.testing.assert_array_equal(coco_mask.decode(row["segmentation"]), expected)


REFUSED: dict[str, tuple[Edit, str]] = {
    "images_missing": (lambda c: c.pop("images"), "images is missing"),
    "annotations_missing": (lambda c: c.pop("annotations"), "annotations is missing"),
    "annotations_object": (lambda c: c.__setitem__("annotations", {}), "annotations: must be a list"),
    "categories_null": (lambda c: c.__setitem__("categories", None), "categories: must be a list"),
    "categories_empty": (lambda c: c.__setitem__("categories", []), "no categories"),
    "category_twice": (lambda c: c["categories"].append({"id": 7, "name": "b"}), "category 7: the id occurs"),
    "category_id_text": (first("id", "7", "categories"), "categories"),
    "category_no_name": (without("name", "categories"), "category 7: the name"),
    "category_name_number": (first("name", 3, "categories"), "category 7: the name"),
    "category_name_half": (first("name", "\ud800", "categories"), "category 7: the name"),
    "image_text": (lambda c: c["images"].append("a.png"), "'a.png'"),
    "image_id_text": (first("id", "1", "images"), "'id': '1'"),
    "image_id_float": (first("id", 1.0, "images"), "1.0"),
    "image_id_bool": (first("id", True, "images"), "True"),
    "image_id_huge": (first("id", 2**70, "images"), "64 bits"),
    "image_id_missing": (without("id", "images"), "id"),
    "width_text": (first("width", "40", "images"), "image 1: width must be a number"),
    "file_twice": (first("file_name", "./b.png", "images"), "both name the file"),
    "name_number": (first("file_name", 5, "images"), "image 1: file_name must be text"),
    "name_empty": (first("file_name", "", "images"), "image 1: file_name ''"),
    "name_nul": (first("file_name", "a\0.png", "images"), "image 1"),
    "name_half": (first("file_name", "\udc00.png", "images"), "image 1: file_name must be text"),
    "name_parent": (first("file_name", "x/../../a.png", "images"), "x/../../a.png"),
    "name_windows_parent": (first("file_name", "..\\a.png", "images"), "leaves its folder"),
    "name_windows_drive": (first("file_name", "C:\\a.png", "images"), "absolute"),
    "name_backslash": (first("file_name", "x\\a.png", "images"), "backslashes"),
    "annotation_number": (lambda c: c["annotations"].append(3), "annotations"),
    "annotation_id_missing": (without("id"), "annotations"),
    "annotation_id_text": (first("id", "11"), "annotations"),
    "image_id_reference_text": (first("image_id", "1"), "annotation 11: image_id"),
    "category_id_reference_float": (first("category_id", 7.0), "annotation 11: category_id"),
    "bbox_object": (first("bbox", {"x": 1}), "annotation 11: bbox"),
    "bbox_null_inside": (first("bbox", [1, 2, None, 4]), "annotation 11: bbox"),
    "bbox_bool_inside": (first("bbox", [1, 2, True, 4]), "annotation 11: bbox"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_untrustworthy_files_are_refused_in_one_line(folder: Path, name: str) -> None:
    edit, message = REFUSED[name]
    with pytest.raises(UserError) as caught:
        read(folder, edit)
    assert message in str(caught.value)
    assert "a.json" in str(caught.value)
    assert "\n" not in str(caught.value)
    str(caught.value).encode("utf-8")


BAD_JSON: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not complete, valid JSON"),
    "gzip": (gzip.compress(b"{}"), "not UTF-8"),
    "latin_1": ('{"categories": [{"name": "été"}]}'.encode("latin-1"), "not UTF-8"),
    "utf_16": (json.dumps(coco()).encode("utf-16"), "not UTF-8"),
    "list": (b"[1, 2]", "top level must be an object"),
    "number": (b"5", "top level must be an object"),
    "deep": (b"[" * 200_000, "JSON"),
    "list_twice": (json.dumps(coco())[:-1].encode() + b', "images": []}', "key 'images' occurs twice"),
    "key_twice": (
        json.dumps(coco()).replace('"bbox"', '"bbox": [1, 2, 3, 4], "bbox"', 1).encode(),
        r"key 'bbox' \(of the object with id 11\) occurs twice",
    ),
    "huge_number": (b'{"images": ' + b"9" * 5000 + b"}", "JSON"),
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_what_is_no_coco_json_is_refused(folder: Path, name: str) -> None:
    content, message = BAD_JSON[name]
    (folder / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_coco(folder / "a.json", folder / "images", 1)
    assert "a.json" in str(caught.value)


@pytest.mark.parametrize("name", ["images", "nothing.json"])
def test_a_folder_or_nothing_in_place_of_the_json_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"{name}: cannot be read"):
        read_coco(folder / name, folder / "images", 1)


def test_a_missing_images_folder_is_refused(folder: Path) -> None:
    (folder / "a.json").write_text(json.dumps(coco()))
    with pytest.raises(UserError, match="nowhere: the images folder is missing"):
        read_coco(folder / "a.json", folder / "nowhere", 1)


def test_several_processes_report_the_same_in_the_same_order(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "images" / "b.png").write_bytes(b"")
    names = ["a.png", "b.png", "missing.png"] * 30
    alone = list(coco_images.check_files(folder / "images", names, 1))
    monkeypatch.setattr(parallel, "ALONE_SECONDS", -1.0)
    assert list(coco_images.check_files(folder / "images", names, 2)) == alone


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside nested lists and objects."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in _places(item, (*path, key)))]


ODD_VALUES = [
    None,
    True,
    False,
    0,
    -1,
    3,
    2**40,
    10**400,
    0.5,
    -1e300,
    float("nan"),
    float("inf"),
    "",
    "7",
    "\0",
    "../a.png",
    "\udfff",
    [],
    [[]],
    [None],
    ["a"],
    {},
    {"size": [30, 40], "counts": "1"},
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.sampled_from(_places(coco())[1:]), value=st.sampled_from(ODD_VALUES), remove=st.booleans())
def test_whatever_one_value_is_nothing_is_lost_or_changed_in_silence(
    folder: Path, place: tuple[Any, ...], value: Any, remove: bool
) -> None:
    def edit(content: dict[str, Any]) -> None:
        parent = content
        for key in place[:-1]:
            parent = parent[key]
        if remove:
            del parent[place[-1]]
        else:
            parent[place[-1]] = copy.deepcopy(value)

    written = coco()
    edit(written)
    try:
        checked = read(folder, edit)
    except UserError:
        return
    json.dumps(checked.coco, allow_nan=False, ensure_ascii=False).encode("utf-8")  # can be written
    if not checked.warnings:
        assert [(row["id"], row["bbox"]) for row in checked.coco["annotations"]] == [
            (row["id"], row["bbox"]) for row in written["annotations"]
        ]
        assert checked.coco["categories"] == written["categories"]
        assert len(checked.images) == len(written["images"])
