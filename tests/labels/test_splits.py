"""A split: nested, whole for its images, and silent about all others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.files import write_json
from pipeline.labels.label_file import LabelFile
from pipeline.labels.splits import LabelSplit, make_split
from pipeline.labels.unlabelled import read_unlabelled
from pipeline.layout import Layout
from pipeline.params import Split, SplitList

MASK = {"size": [4, 4], "counts": "556"}


def dataset(classes: list[list[int]]) -> dict[str, Any]:
    """One image per entry, with a mask of each of the classes; ids do not run from 0."""
    images = [
        {"id": 100 + 3 * index, "file_name": f"{index:03d}.png", "width": 4, "height": 4}
        for index in range(len(classes))
    ]
    rows = [
        {
            "image_id": image["id"],
            "category_id": key,
            "bbox": [1, 1, 2, 3],
            "area": 5,
            "iscrowd": 0,
            "segmentation": MASK,
        }
        for image, keys in zip(images, classes, strict=True)
        for key in keys
    ]
    return {
        "info": {},
        "images": images,
        "annotations": [{**row, "id": number} for number, row in enumerate(rows, 1)],
        "categories": [{"id": key, "name": f"class {key}"} for key in range(6)],
    }


def drawn(coco: dict[str, Any], percent: float, **changes: Any) -> LabelSplit:
    row = {"percent": percent, "rule": "stratified", "seed": 0, "pool": "all", **changes}
    return make_split(coco, Split.model_validate(row), Path(), "train.json")


def ids(split: LabelSplit) -> list[int]:
    return [row["id"] for row in split.labels["images"]]


CLASSES = [[index % 3, 3][: 1 + index % 2] for index in range(50)]

datasets = st.lists(st.lists(st.integers(0, 5), max_size=3), min_size=20, max_size=40).map(dataset)
percents = st.integers(500, 10_000).map(lambda hundredths: hundredths / 100)
rules = st.sampled_from(["stratified", "uniform"])


@given(datasets, percents, percents, rules, st.integers(0, 2**32 - 1))
def test_a_smaller_split_is_part_of_a_larger(
    coco: dict[str, Any], one: float, other: float, rule: str, seed: int
) -> None:
    small, large = (set(ids(drawn(coco, percent, rule=rule, seed=seed))) for percent in sorted((one, other)))
    assert small <= large
    assert len(large) == int(max(one, other) * 100) * len(coco["images"]) // 10_000


@given(datasets, percents, rules, st.sampled_from(["all", "rest"]))
def test_labels_are_those_of_the_images_and_the_rest_is_unlabelled(
    coco: dict[str, Any], percent: float, rule: str, pool: str
) -> None:
    split = drawn(coco, percent, rule=rule, pool=pool)
    labelled, every = set(ids(split)), [row["id"] for row in coco["images"]]
    wanted = [row for row in coco["annotations"] if row["image_id"] in labelled]
    assert split.labels["annotations"] == wanted
    assert split.unlabelled == [key for key in every if pool == "all" or key not in labelled]


@given(datasets, percents)
def test_a_class_in_as_many_images_as_a_draw_would_hold_one_of_is_there(
    coco: dict[str, Any], percent: float
) -> None:
    split = drawn(coco, percent)
    holders = {
        key: len({row["image_id"] for row in coco["annotations"] if row["category_id"] == key})
        for key in range(6)
    }
    present = {row["category_id"] for row in split.labels["annotations"]}
    size = len(split.labels["images"])
    for key, images in holders.items():
        if images * size >= len(coco["images"]) and size >= len(holders):
            assert key in present


def test_nothing_outside_the_split_decides_its_bytes() -> None:
    """But for which images it has: other masks in the unlabelled images give the same file."""
    coco = dataset(CLASSES)
    split = drawn(coco, 20, rule="uniform")
    for row in coco["annotations"]:
        if row["image_id"] not in ids(split):
            row |= {"segmentation": {"size": [4, 4], "counts": "0@"}, "area": 16, "category_id": 5}
    assert json.dumps(drawn(coco, 20, rule="uniform").labels) == json.dumps(split.labels)


def test_the_file_is_a_label_file_with_all_classes(tmp_path: Path) -> None:
    split = drawn(dataset(CLASSES), 8, seed=5)
    (tmp_path / "labels.json").write_text(json.dumps(split.labels), encoding="utf-8")
    labels = LabelFile.read(tmp_path / "labels.json")
    assert (labels.kind, len(labels.images), len(labels.categories)) == ("masks", 4, 6)
    assert split.labels["info"]["split"] == {
        "percent": 8.0,
        "rule": "stratified",
        "seed": 5,
        "pool": "all",
        "images": 4,
        "of": 50,
    }


def test_figures_say_what_is_labelled() -> None:
    coco = dataset([[], [0], [1, 1], *[[2]] * 7])
    figures = drawn(coco, 100).figures
    assert figures == {
        "images": 10,
        "of": 10,
        "percent": 100.0,
        "with_objects": 9,
        "objects": 10,
        "unlabelled": 10,
        "classes": 3,
        "missing_classes": [],
    }
    few = drawn(coco, 10, pool="rest").figures
    assert (few["images"], few["unlabelled"]) == (1, 9)
    assert len(few["missing_classes"]) + few["classes"] == 3


def test_a_published_percentage_is_named_as_its_file() -> None:
    info = drawn(dataset([[0]] * 1000), 0.4, rule="uniform").labels["info"]["split"]
    assert (info["images"], info["published_suffix"]) == (4, "250")


def test_the_order_of_the_file_does_not_matter() -> None:
    coco = dataset(CLASSES)
    turned = {**coco, "images": coco["images"][::-1], "annotations": coco["annotations"][::-1]}
    assert sorted(ids(drawn(turned, 30))) == sorted(ids(drawn(coco, 30)))


def test_crowds_and_boxes_make_no_class_present() -> None:
    coco = dataset([[0]] * 19 + [[0, 1]])
    coco["annotations"][-1]["iscrowd"] = 1
    assert drawn(coco, 5).figures["missing_classes"] == []
    del coco["annotations"][-2]["segmentation"]
    split = drawn(coco, 100)
    assert split.labels["info"]["left_out"] == {"crowds": 1, "without_mask": 1}
    assert (split.figures["with_objects"], split.figures["objects"]) == (19, 19)


def test_the_stage_writes_what_training_and_report_read(tmp_path: Path) -> None:
    repository = Path(__file__).parents[2]
    preset = yaml.safe_load((repository / "presets" / "demo.yaml").read_text(encoding="utf-8"))
    preset["splits"]["few"] = {"percent": 8.0, "rule": "stratified", "seed": 0, "pool": "rest"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(preset), encoding="utf-8")
    layout = Layout(tmp_path, "demo")
    write_json(layout.annotations("train"), dataset(CLASSES))
    command = [sys.executable, str(repository / "stages" / "splits.py"), "--name", "few"]
    contents = []
    for _ in range(2):
        subprocess.run(command, cwd=tmp_path, check=True, env={**os.environ, "PYTHONPATH": str(repository)})
        files = (layout.labels("few"), layout.unlabelled("few"), layout.split_metrics("few"))
        contents.append([file.read_bytes() for file in files])
    assert contents[0] == contents[1]
    labelled = LabelFile.read(layout.labels("few")).images
    unlabelled = read_unlabelled(layout.unlabelled("few"))
    assert sorted([*labelled, *unlabelled]) == [row["id"] for row in dataset(CLASSES)["images"]]
    assert json.loads(contents[0][2])["percent"] == 8


def test_less_than_an_image_is_refused() -> None:
    with pytest.raises(UserError, match=r"train\.json: 0\.4 % of its 50 images is less .*one image is 2 %"):
        drawn(dataset(CLASSES), 0.4)


def test_a_list_chooses_the_images_and_may_leave_none_unlabelled(tmp_path: Path) -> None:
    coco = dataset([[0], [1], [2]])
    (tmp_path / "list.txt").write_text("002.png\n000\n", encoding="utf-8")
    split = make_split(coco, SplitList(path="list.txt", pool="rest"), tmp_path, "train.json")
    assert (ids(split), split.unlabelled) == ([100, 106], [103])
    assert split.labels["info"]["split"] == {"path": "list.txt", "pool": "rest", "images": 2, "of": 3}
