"""LVIS: COCO format with files named by URL, and with lists of what is known of an image."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.data.images import ImageStore
from pipeline.data.lvis import with_file_names
from pipeline.data.prepare import import_coco
from pipeline.errors import UserError
from pipeline.labels.label_file import LabelFile
from pipeline.labels.weak import make_labels
from pipeline.params import CocoFolder
from tests.data.coco_folder import first, read

URL = "http://images.cocodataset.org/train2017/000000391895.jpg"


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"coco_url": URL}, "train2017/000000391895.jpg"),
        ({"file_name": None, "coco_url": URL}, "train2017/000000391895.jpg"),
        ({"file_name": "a.jpg", "coco_url": URL}, "a.jpg"),
        ({"coco_url": "a.jpg"}, "a.jpg"),
        ({"coco_url": 3}, None),
        ({}, None),
    ],
)
def test_a_file_is_named_by_its_url_if_by_nothing_else(row: dict[str, Any], name: str | None) -> None:
    (named,) = with_file_names([row])
    assert named.get("file_name") == name


def test_what_is_no_record_is_left_to_the_checks() -> None:
    assert with_file_names([3, None]) == [3, None]


def by_url(url: str) -> Any:
    def edit(content: dict[str, Any]) -> None:
        content["images"][0] |= {"coco_url": url}
        del content["images"][0]["file_name"]

    return edit


def test_images_are_found_below_the_folder(folder: Path) -> None:
    (folder / "images" / "val2017").mkdir()
    (folder / "images" / "a.png").rename(folder / "images" / "val2017" / "a.png")
    checked = read(folder, by_url("http://images.cocodataset.org/val2017/a.png"))
    assert checked.coco["images"][0]["file_name"] == "val2017/a.png"
    assert checked.warnings == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://x/../a.png", "leaves its folder"),
        ("http://x//a.png", "is absolute"),
        ("http://x/images/", None),
    ],
)
def test_a_url_leads_nowhere_else(folder: Path, url: str, message: str | None) -> None:
    if message is None:
        checked = read(folder, by_url(url))
        assert [record.id for record, _ in checked.images] == [2]
        return
    with pytest.raises(UserError, match=message):
        read(folder, by_url(url))


def test_two_records_of_one_url_are_refused(folder: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        for row in content["images"]:
            del row["file_name"]
            row["coco_url"] = URL

    with pytest.raises(UserError, match=r"both name the file 'train2017/000000391895\.jpg'"):
        read(folder, edit)


def test_what_is_known_of_an_image_is_kept(folder: Path) -> None:
    checked = read(folder, first("neg_category_ids", [7, 9], "images"))
    assert checked.coco["images"][0]["neg_category_ids"] == [7, 9]
    assert "neg_category_ids" not in checked.coco["images"][1]


@pytest.mark.parametrize("value", [7, "7", ["7"], [7.5], {"7": 1}])
@pytest.mark.parametrize("key", ["neg_category_ids", "not_exhaustive_category_ids"])
def test_lists_of_anything_else_are_refused(folder: Path, key: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"image 1: {key} must be a list of category ids") as caught:
        read(folder, first(key, value, "images"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("value", "kept"), [("r", True), ("f", True), (100, False), (["r"], False)])
def test_the_frequency_of_a_class_is_kept(folder: Path, value: Any, kept: bool) -> None:
    checked = read(folder, first("frequency", value, "categories"))
    assert ("frequency" in checked.coco["categories"][0]) is kept


@pytest.fixture(scope="module")
def imported(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The given sample as LVIS v1 would have it, without file names, imported as train and as val."""
    root = tmp_path_factory.mktemp("lvis")
    content = json.loads((shared_data / "data" / "lvis-sample" / "lvis_val_sample.json").read_text("utf-8"))
    (root / "data" / "coco" / "val2017").mkdir(parents=True)
    for row in content["images"]:
        del row["file_name"]
        name = f"{row['id']:012}.jpg"
        shutil.copy(shared_data / "data" / "coco-mini" / "images" / name, root / "data" / "coco" / "val2017")
    (root / "data" / "lvis.json").write_text(json.dumps(content), encoding="utf-8")
    folder = CocoFolder(
        train_json="data/lvis.json",
        train_images="data/coco",
        val_json="data/lvis.json",
        val_images="data/coco",
        processes=1,
    )
    summary = import_coco(folder, root, root / "prepared")
    assert [line for line in summary["warnings"] if "also in train" not in line] == []
    assert summary["splits"]["val"]["annotations"] == summary["splits"]["val"]["objects_with_masks"] == 13
    return root


def test_the_sample_comes_through_to_labels(imported: Path) -> None:
    annotations = json.loads((imported / "prepared" / "annotations" / "train.json").read_text("utf-8"))
    assert {row["iscrowd"] for row in annotations["annotations"]} == {0}
    assert len(annotations["categories"]) == 1230
    assert {row["frequency"] for row in annotations["categories"]} == {"r", "c", "f"}
    assert all(row["neg_category_ids"] for row in annotations["images"])
    store = ImageStore.open(imported / "prepared" / "train", imported)
    for kind in ("boxes", "masks"):
        labels = make_labels(annotations, kind)
        assert set(labels["images"][0]) == {"id", "file_name", "width", "height"}
        assert set(labels["categories"][0]) == {"id", "name"}
        path = imported / f"{kind}.json"
        path.write_text(json.dumps(labels), encoding="utf-8")
        images = LabelFile.read(path).images
        assert sum(len(image.labels) for image in images.values()) == 13
        for image_id, image in images.items():
            assert store.read(image_id).shape[:2] == image.size
