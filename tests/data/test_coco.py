"""Checks of COCO input: what is refused, what is left out with a warning, what is kept as it is."""

from __future__ import annotations

import copy
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from pipeline.data import coco_images
from pipeline.data.coco import CheckedCoco, read_coco
from pipeline.errors import UserError

Edit = Callable[[dict[str, Any]], Any]
POLYGON = [[5, 5, 20, 5, 20, 15, 5, 15]]
WIDTH, HEIGHT = 40, 30


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images of 40 x 30 pixels, in images/."""
    (tmp_path / "images").mkdir()
    for name, level in (("a.png", 60), ("b.png", 120)):
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), level, np.uint8)).save(tmp_path / "images" / name)
    return tmp_path


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


LEFT_OUT: dict[str, tuple[Edit, str]] = {
    "no_image_id": (without("image_id"), "no image_id"),
    "no_category_id": (first("category_id", None), "no category_id"),
    "crowd_two": (first("iscrowd", 2), "iscrowd"),
    "crowd_text": (first("iscrowd", "0"), "iscrowd"),
    "no_bbox": (without("bbox"), "no bbox"),
    "bbox_null": (first("bbox", None), "no bbox"),
    "bbox_three": (first("bbox", [1, 2, 3]), "four numbers"),
    "bbox_five": (first("bbox", [1, 2, 3, 4, 5]), "four numbers"),
    "bbox_infinite": (first("bbox", [1, 2, float("inf"), 4]), "not a finite number"),
    "bbox_huge_int": (first("bbox", [1, 2, 10**400, 4]), "absurd"),
    "bbox_left_of_image": (first("bbox", [-30, 2, 10, 4]), "outside the image"),
    "bbox_touching_edge": (first("bbox", [WIDTH, 2, 10, 4]), "outside the image"),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_one_unusable_annotation_is_left_out_and_named(folder: Path, name: str) -> None:
    edit, message = LEFT_OUT[name]
    checked = read(folder, edit)
    assert [row["id"] for row in checked.coco["annotations"]] == [12, 13]
    assert len(checked.images) == 2
    (line,) = checked.warnings
    assert "1 annotation left out" in line
    assert message in line
    assert "annotation 11" in line


PIXELS = WIDTH * HEIGHT
BAD_MASKS: dict[str, tuple[Any, str]] = {
    "flat_list": ([5, 5, 20, 5, 20, 15], "list of numbers inside"),
    "empty_polygon": ([[]], "three points"),
    "odd_polygon": ([[5, 5, 20, 5, 20, 15, 9]], "odd count"),
    "one_of_two_bad": ([POLYGON[0], [1, 1, 2, 2]], "three points"),
    "polygon_nan": ([[5, 5, 20, 5, 20, float("nan")]], "not a finite number"),
    "polygon_huge": ([[5, 5, 20, 5, 20, 10**400]], "not a finite number"),
    "polygon_text": ([[5, 5, 20, 5, 20, "15"]], "not a number"),
    "polygon_far_outside": ([[5, 5, 1e9, 5, 1e9, 1e9]], "far outside"),
    "polygon_outside": ([[50, 5, 60, 5, 60, 15, 50, 15]], "no pixel"),
    "text": ("5 5 20 5", "neither polygons nor run lengths"),
    "no_counts": ({"size": [HEIGHT, WIDTH]}, "no counts"),
    "no_size": ({"counts": [PIXELS]}, "size"),
    "size_swapped": ({"size": [WIDTH, HEIGHT], "counts": [100, 50, PIXELS - 150]}, "[40, 30] and [30, 40]"),
    "negative_run": ({"size": [HEIGHT, WIDTH], "counts": [100, -50, PIXELS - 50]}, "negative"),
    "float_run": ({"size": [HEIGHT, WIDTH], "counts": [100.0, 50, PIXELS - 150]}, "whole numbers"),
    "wrapping_runs": ({"size": [HEIGHT, WIDTH], "counts": [2**64, PIXELS]}, "whole numbers"),
    "all_background": ({"size": [HEIGHT, WIDTH], "counts": [PIXELS]}, "no pixel"),
    "garbage": ({"size": [HEIGHT, WIDTH], "counts": "not a mask é"}, "damaged"),
    "unfinished_string": ({"size": [HEIGHT, WIDTH], "counts": "oooo"}, "damaged"),
    "empty_string": ({"size": [HEIGHT, WIDTH], "counts": ""}, "damaged"),
    "number": ({"size": [HEIGHT, WIDTH], "counts": 4}, "whole numbers"),
}


@pytest.mark.parametrize("name", BAD_MASKS)
def test_an_unusable_mask_is_left_out_and_its_box_kept(folder: Path, name: str) -> None:
    segmentation, message = BAD_MASKS[name]
    checked = read(folder, first("segmentation", segmentation))
    assert ["segmentation" in row for row in checked.coco["annotations"]] == [False, True, True]
    (line,) = checked.warnings
    assert "1 mask left out, its box kept" in line
    assert message in line
    assert "annotation 11" in line


def test_a_box_beyond_the_edge_is_cut_and_reported_but_rounding_is_left(folder: Path) -> None:
    checked = read(folder, first("bbox", [20, 10, 30, 10]))
    assert checked.coco["annotations"][0]["bbox"] == [20, 10, 20, 10]
    assert any("cut to its image" in line and "annotation 11" in line for line in checked.warnings)
    rounded = read(folder, first("bbox", [5, 5, 35.4, 10]))
    assert rounded.coco["annotations"][0]["bbox"] == [5, 5, 35.4, 10]


def test_a_polygon_beyond_the_edge_is_cut_and_reported(folder: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["annotations"][0].update(bbox=[30, 5, 10, 10], segmentation=[[30, 5, 50, 5, 50, 15, 30, 15]])

    checked = read(folder, edit)
    mask = coco_mask.decode(checked.coco["annotations"][0]["segmentation"])
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[5:15, 30:] = 1
    np.testing.assert_array_equal(mask, expected)
    assert "polygon reaches outside" in checked.warnings[0]


def test_corners_instead_of_sizes_are_reported(folder: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        polygon = [15, 12, 25, 12, 25, 16, 15, 16]
        content["annotations"][0].update(bbox=[15, 12, 25, 16], segmentation=[polygon])

    checked = read(folder, edit)
    assert "bbox must be x, y, width, height" in checked.warnings[0]
    assert len(checked.coco["annotations"]) == 3


def test_annotations_without_a_mask_among_others_are_counted(folder: Path) -> None:
    checked = read(folder, without("segmentation"))
    assert "1 annotation kept for box supervision only" in checked.warnings[0]


@pytest.mark.parametrize("area", [None, 0, -5, float("nan"), "150", 10**400, 1e300, WIDTH * HEIGHT + 1])
def test_an_unusable_area_is_replaced_by_that_of_the_mask(folder: Path, area: Any) -> None:
    checked = read(folder, first("area", area))
    assert checked.coco["annotations"][0]["area"] == 150
    assert "no usable area" in checked.warnings[0]


def test_crowd_regions_may_be_polygons_and_iscrowd_may_be_absent(folder: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["annotations"][0]["iscrowd"] = 1
        del content["annotations"][1]["iscrowd"]

    checked = read(folder, edit)
    assert [row["iscrowd"] for row in checked.coco["annotations"]] == [1, 0, 0]
    assert checked.warnings == []


def test_negative_and_64_bit_ids_come_back(folder: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["annotations"][0]["id"] = 2**63 - 1
        content["categories"].append({"id": -4, "name": "<b>bold</b>"})
        content["annotations"][0]["category_id"] = -4

    row = read(folder, edit).coco["annotations"][0]
    assert (row["id"], row["category_id"]) == (2**63 - 1, -4)


def test_no_annotations_at_all_is_legal_but_none_usable_is_not(folder: Path) -> None:
    assert read(folder, lambda content: content["annotations"].clear()).coco["annotations"] == []
    with pytest.raises(UserError, match=r"none of its annotations can be used.*has no width"):
        read(folder, lambda content: [row.update(bbox=[1, 1, 0, 0]) for row in content["annotations"]])


def test_a_missing_size_is_taken_from_the_file(folder: Path) -> None:
    checked = read(folder, without("width", "images"))
    assert checked.images[0][0].width == WIDTH
    assert "a.png" in checked.warnings[0]
    assert "size" in checked.warnings[0]


@pytest.mark.parametrize("width", [0, -40, 41, 39.5, float("nan")])
def test_another_size_leaves_the_image_out_with_its_annotations(folder: Path, width: Any) -> None:
    checked = read(folder, first("width", width, "images"))
    assert [record.id for record, _ in checked.images] == [2]
    assert [row["id"] for row in checked.coco["annotations"]] == [13]
    assert f"record {width}x30, file 40x30" in checked.warnings[0]
    assert "2 annotations left out: its image was left out" in checked.warnings[1]


def _link_outside(path: Path) -> None:
    (path.parents[1] / "secret.png").write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to("../secret.png")


def _animation(path: Path) -> None:
    frames = [Image.new("RGB", (WIDTH, HEIGHT), color) for color in ("red", "blue")]
    frames[0].save(path, format="GIF", save_all=True, append_images=frames[1:])


def _replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


BAD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "missing"),
    "empty": (lambda path: path.write_bytes(b""), "empty"),
    "text": (lambda path: path.write_text("hello"), "not an image"),
    "postscript": (
        lambda path: path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 30\n"),
        "not an image",
    ),
    "cut_off": (lambda path: path.write_bytes(path.read_bytes()[:-40]), "incomplete or damaged"),
    "folder": (_replace_by_folder, "is a folder"),
    "pipe": (_replace_by_pipe, "not a regular file"),
    "animation": (_animation, "several images"),
    "link_loop": (lambda path: (path.unlink(), path.symlink_to(path.name)), "cannot be read"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_an_unusable_file_is_left_out_and_named(folder: Path, name: str) -> None:
    damage, message = BAD_FILES[name]
    damage(folder / "images" / "a.png")
    checked = read(folder)
    assert [record.id for record, _ in checked.images] == [2]
    assert message in checked.warnings[0]
    assert "a.png (image 1)" in checked.warnings[0]


def test_a_blank_at_the_end_of_a_file_name_is_seen(folder: Path) -> None:
    checked = read(folder, first("file_name", "a.png ", "images"))
    assert "the file is missing: 'a.png ' (image 1)" in checked.warnings[0]


def test_a_very_long_file_name_is_left_out(folder: Path) -> None:
    checked = read(folder, first("file_name", "x" * 5000, "images"))
    assert "cannot be read" in checked.warnings[0]
    assert len(checked.warnings[0]) < 1000


def test_a_link_out_of_the_folder_is_refused_and_one_inside_is_not(folder: Path) -> None:
    (folder / "images" / "c.png").symlink_to("a.png")
    assert read(folder, first("file_name", "c.png", "images")).warnings == []
    _link_outside(folder / "images" / "a.png")
    with pytest.raises(UserError, match=r"'a\.png' is a link that leaves the images folder"):
        read(folder)


def test_the_images_folder_may_itself_be_a_link(folder: Path) -> None:
    (folder / "images").rename(folder / "elsewhere")
    (folder / "images").symlink_to("elsewhere")
    assert read(folder).warnings == []


def test_no_usable_image_is_refused_with_the_reason(folder: Path) -> None:
    for path in (folder / "images").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"none of its images can be used.*file is empty"):
        read(folder)


def test_many_findings_of_a_kind_are_one_line_with_a_count(folder: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        extra = [{**content["annotations"][0], "id": 100 + n, "image_id": 9} for n in range(50)]
        content["annotations"] += extra

    (line,) = read(folder, edit).warnings
    assert "50 annotations left out" in line
    assert line.count("image_id 9") == 5
    assert "and 45 more" in line


@pytest.mark.parametrize(
    ("orientation", "size", "kept"), [(6, (30, 40), True), (6, (40, 30), False), (3, (40, 30), True)]
)
def test_exif_orientation_decides_which_size_fits(
    folder: Path, orientation: int, size: tuple[int, int], kept: bool
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (40, 30)).save(folder / "images" / "a.png", exif=exif)
    checked = read(folder, lambda content: content["images"][0].update(width=size[0], height=size[1]))
    assert (checked.images[0][0].id == 1) == kept
    assert len(checked.warnings) == (0 if kept and orientation == 6 else 1 if kept else 2)
    assert all("EXIF" in line for line in checked.warnings[:1])


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
    monkeypatch.setattr(coco_images, "FEW", 0)
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
