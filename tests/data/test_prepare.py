"""Importing a dataset: the files that every later stage reads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from pipeline.data.images import ImageStore
from pipeline.data.prepare import import_coco
from pipeline.errors import UserError
from pipeline.labels.label_file import LabelFile
from pipeline.labels.weak import make_labels
from pipeline.params import CocoFolder

CATEGORIES = [{"id": 8, "name": "b"}, {"id": 3, "name": "a"}]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a dataset of 2 + 1 images under data/mine."""
    mine = tmp_path / "data" / "mine"
    for split, keys in (("train", (1, 2)), ("val", (3,))):
        (mine / split).mkdir(parents=True)
        for key in keys:
            pixels = np.full((120, 160, 3), 30 * key, np.uint8)
            Image.fromarray(pixels).save(mine / split / f"{key}.png")
        write(mine / f"{split}.json", coco(keys))
    return tmp_path


def coco(keys: tuple[int, ...], categories: list[dict[str, Any]] = CATEGORIES) -> dict[str, Any]:
    boxes = ([0, 0, 20, 20], [5, 5, 50, 50], [0, 0, 120, 110])
    rows = [
        {
            "id": 10 * key + place,
            "image_id": key,
            "category_id": 8,
            "bbox": [x, y, w, h],
            "area": w * h,
            "iscrowd": 0,
            "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
        }
        for key in keys
        for place, (x, y, w, h) in enumerate(boxes)
    ]
    images = [{"id": key, "file_name": f"{key}.png", "width": 160, "height": 120} for key in keys]
    return {"images": images, "annotations": rows, "categories": categories}


def write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def params(**changes: Any) -> CocoFolder:
    paths = {
        "train_json": "data/mine/train.json",
        "train_images": "data/mine/train",
        "val_json": "data/mine/val.json",
        "val_images": "data/mine/val",
        "processes": 1,
    }
    return CocoFolder(**{**paths, **changes})


def test_the_files_are_complete_and_hold_no_absolute_path(root: Path) -> None:
    out = root / "data" / "mine" / "prepared"
    summary = import_coco(params(), root, out)
    assert summary == json.loads((out / "summary.json").read_text())
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.json")) == [
        "annotations/train.json",
        "annotations/val.json",
        "summary.json",
        "train/images.json",
        "val/images.json",
    ]
    listed = json.loads((out / "train" / "images.json").read_text())
    assert listed["source"] == {"kind": "folder", "path": "data/mine/train"}
    assert "annotations" not in listed
    assert ImageStore.open(out / "train", root).read(2).mean() == 60


def test_the_summary_counts(root: Path) -> None:
    summary = import_coco(params(), root, root / "out")
    assert summary["warnings"] == []
    train = summary["splits"]["train"]
    assert [train[key] for key in ("images", "annotations", "objects_with_masks", "crowds")] == [2, 6, 6, 0]
    assert [train[key] for key in ("small", "medium", "large")] == [2, 2, 2]
    assert train["median_size"] == {"width": 160, "height": 120}
    assert train["categories"] == [
        {"id": 3, "name": "a", "instances": 0},
        {"id": 8, "name": "b", "instances": 6},
    ]


def test_crowds_and_boxes_alone_are_no_objects_with_masks(root: Path) -> None:
    content = coco((1, 2))
    content["annotations"][0]["iscrowd"] = 1
    del content["annotations"][1]["segmentation"]
    write(root / "data" / "mine" / "train.json", content)
    train = import_coco(params(), root, root / "out")["splits"]["train"]
    assert [train[key] for key in ("annotations", "crowds", "objects_with_masks")] == [6, 1, 4]


def test_equal_input_gives_equal_bytes(root: Path) -> None:
    for name in ("one", "two"):
        import_coco(params(), root, root / name)
    for path in (root / "one").rglob("*.json"):
        assert path.read_bytes() == (root / "two" / path.relative_to(root / "one")).read_bytes()


def test_refused_input_writes_nothing(root: Path) -> None:
    (root / "data" / "mine" / "val.json").write_text('{"images": [')
    with pytest.raises(UserError, match=r"val\.json: is not complete"):
        import_coco(params(), root, root / "out")
    assert not (root / "out").exists()


def test_two_categories_of_one_name_are_reported(root: Path) -> None:
    twins = [{"id": 8, "name": "b"}, {"id": 3, "name": "b"}]
    for split, keys in (("train", (1, 2)), ("val", (3,))):
        write(root / "data" / "mine" / f"{split}.json", coco(keys, twins))
    (line,) = import_coco(params(), root, root / "out")["warnings"]
    assert line == "1 category name belongs to several ids, which stay different categories: b"


def test_the_stage_says_what_was_left_out(root: Path) -> None:
    content = coco((1, 2))
    content["annotations"][0]["bbox"][2] = 0
    write(root / "data" / "mine" / "train.json", content)
    repository = Path(__file__).parents[2]
    preset = yaml.safe_load((repository / "presets" / "coco-folder.yaml").read_text())
    preset["import_coco"]["mine"] = params().model_dump()
    (root / "params.yaml").write_text(yaml.safe_dump(preset))
    done = subprocess.run(
        [sys.executable, str(repository / "stages" / "import_coco.py"), "--name", "mine"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(repository)},
    )
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("checking images: ")]
    assert line.startswith("warning: data/mine/train.json: 1 annotation left out: bbox has no width")


@pytest.mark.parametrize("path", ["/etc/train.json", "../train.json", "data/../../train.json"])
def test_paths_out_of_the_repository_are_refused(root: Path, path: str) -> None:
    with pytest.raises(UserError, match=r"params\.yaml: import_coco: train_json: .*ln -s"):
        import_coco(params(train_json=path), root, root / "out")


def test_a_dataset_may_be_a_link(root: Path) -> None:
    (root / "data" / "mine").rename(root.parent / f"{root.name}-elsewhere")
    (root / "data" / "mine").symlink_to(root.parent / f"{root.name}-elsewhere")
    assert import_coco(params(), root, root / "out")["warnings"] == []


def test_images_of_train_in_val_are_reported_whatever_their_names(root: Path) -> None:
    shutil.copy(root / "data" / "mine" / "train" / "1.png", root / "data" / "mine" / "val" / "3.png")
    (line,) = import_coco(params(), root, root / "out")["warnings"]
    assert "1 of 1 images are also in train" in line
    assert "3.png" in line


def test_categories_of_both_splits_are_joined_and_contradictions_refused(root: Path) -> None:
    write(root / "data" / "mine" / "val.json", coco((3,), [{"id": 8, "name": "b"}, {"id": 1, "name": "c"}]))
    summary = import_coco(params(), root, root / "out")
    for split in ("train", "val"):
        assert [row["id"] for row in summary["splits"][split]["categories"]] == [1, 3, 8]
        stored = json.loads((root / "out" / "annotations" / f"{split}.json").read_text())
        assert [row["name"] for row in stored["categories"]] == ["c", "a", "b"]
    assert ["c (1)" in line for line in summary["warnings"]] == [True, False]
    write(root / "data" / "mine" / "val.json", coco((3,), [{"id": 8, "name": "other"}]))
    with pytest.raises(UserError, match="category 8: is 'other' here and 'b' in the train annotations"):
        import_coco(params(), root, root / "out")


def test_splits_without_masks_or_annotations_are_reported(root: Path) -> None:
    boxes = coco((3,))
    for row in boxes["annotations"]:
        row["segmentation"] = []
    write(root / "data" / "mine" / "val.json", boxes)
    write(root / "data" / "mine" / "train.json", {**coco((1, 2)), "annotations": []})
    warnings = import_coco(params(), root, root / "out")["warnings"]
    assert warnings == [
        "train: there are no annotations",
        "val: there are no masks, so no mask AP can be computed",
    ]


def test_a_split_of_crowd_regions_alone_is_reported(root: Path) -> None:
    content = coco((3,))
    for row in content["annotations"]:
        row["iscrowd"] = 1
    write(root / "data" / "mine" / "val.json", content)
    (line,) = import_coco(params(), root, root / "out")["warnings"]
    assert line == "val: all annotations are crowd regions, so there are no instances"


@pytest.mark.parametrize(
    ("name", "images", "annotations"),
    [("coco-mini", (215, 116), (2035, 1029)), ("nuclei-mini", (64, 33), (3031, 1385))],
)
def test_real_datasets_come_through_whole(
    shared_data: Path, tmp_path: Path, name: str, images: tuple[int, int], annotations: tuple[int, int]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).symlink_to(shared_data / "data" / name)
    paths = {
        f"{split}_{key}": f"data/{name}/{place}"
        for split in ("train", "val")
        for key, place in (("json", f"annotations/instances_{split}.json"), ("images", "images"))
    }
    summary = import_coco(CocoFolder(**paths, processes=1), tmp_path, tmp_path / "out")
    assert summary["warnings"] == []
    figures = [summary["splits"][split] for split in ("train", "val")]
    assert tuple(row["images"] for row in figures) == images
    assert tuple(row["annotations"] for row in figures) == annotations
    assert all(row["objects_with_masks"] == row["annotations"] - row["crowds"] for row in figures)
    _assert_ids_round_trip(tmp_path, shared_data / "data" / name / "annotations" / "instances_val.json")


def _assert_ids_round_trip(folder: Path, source: Path) -> None:
    """Image, annotation and category ids of the source are those of the label file."""
    prepared = json.loads((folder / "out" / "annotations" / "val.json").read_text())
    for kind in ("boxes", "masks"):
        write(folder / "labels.json", make_labels(prepared, kind))
        labels = LabelFile.read(folder / "labels.json")
        found = {
            (int(key), image_id, labels.categories[label].id)
            for image_id, image in labels.images.items()
            for key, label in zip(image.annotation_ids, image.labels, strict=True)
        }
        wanted = {
            (row["id"], row["image_id"], row["category_id"])
            for row in json.loads(source.read_text())["annotations"]
            if not row["iscrowd"]
        }
        assert found == wanted
