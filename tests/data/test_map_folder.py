"""Folders of images and label maps, as CamVid comes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.label_codes import VOID
from pipeline.data.packs import Pack
from pipeline.data.prepare_semantic import import_maps
from pipeline.errors import UserError
from pipeline.params.semantic_data import MapFolder

SETTINGS = MapFolder(
    folder="data/mine",
    train_list="train.txt",
    val_list="lists/val.txt",
    classes=("road", "car"),
    background=False,
    ignore=(11,),
    processes=1,
)
VALUES = np.array([[0, 1, 11], [1, 1, 255]], dtype=np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    mine = tmp_path / "data" / "mine"
    for name in ("images", "labels", "lists"):
        (mine / name).mkdir(parents=True)
    for key in (1, 2, 3):
        Image.fromarray(np.full((2, 3, 3), 40 * key, np.uint8)).save(mine / "images" / f"{key}.png")
        Image.fromarray(VALUES).save(mine / "labels" / f"{key}_L.png")
    (mine / "train.txt").write_text("images/2.png labels/2_L.png\n\nimages/1.png  labels/1_L.png\n")
    (mine / "lists" / "val.txt").write_text("images/3.png labels/3_L.png")
    return tmp_path


def test_values_that_do_not_count_are_void(root: Path) -> None:
    summary = import_maps(SETTINGS, root, root / "prepared", root / "semantic")
    assert summary["warnings"] == []
    pack = Pack(root / "semantic" / "train")
    assert pack.about == {"classes": ["road", "car"], "background": False}
    for key in (1, 2):
        np.testing.assert_array_equal(pack.read(key), [[0, 1, VOID], [1, 1, VOID]])
    assert summary["semantic"]["splits"]["train"] == {
        "pixels": [2, 6],
        "images_with": [2, 2],
        "void": pytest.approx(1 / 3),
    }
    assert [row["name"] for row in summary["splits"]["train"]["categories"]] == ["road", "car"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("images/1.png", "a line must name an image and its label map, and one has 1 words"),
        ("images/1.png labels/1_L.png more", "one has 3 words"),
        ("../1.png labels/1_L.png", "leaves its folder"),
        ("images/1.png /labels/1_L.png", "is absolute"),
        ("images/1.png labels/1_L.png\nimages/1.png labels/2_L.png", "images/1.png: occurs twice"),
        ("", "names no image"),
        ("images/9.png labels/1_L.png", "none of its images can be used: .* the file is missing"),
        ("images/1.png labels/9_L.png", "there is no label map for it"),
    ],
)
def test_lists_that_are_wrong_are_refused_and_nothing_is_written(root: Path, line: str, problem: str) -> None:
    (root / "data/mine/lists/val.txt").write_text(line)
    with pytest.raises(UserError, match=problem):
        import_maps(SETTINGS, root, root / "prepared", root / "semantic")
    assert [path.name for path in root.iterdir()] == ["data"]


def test_a_value_that_is_no_class_leaves_out_its_image(root: Path) -> None:
    Image.fromarray(np.full((2, 3), 2, np.uint8)).save(root / "data/mine/labels/2_L.png")
    (line,) = import_maps(SETTINGS, root, root / "prepared", root / "semantic")["warnings"]
    assert re.search(r"train\.txt: 1 image left out: its label map has values .*: images/2\.png, 2$", line)
    assert Pack(root / "semantic" / "train").ids == [1]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"ignore": (1,)}, "ignore: 1 is a class, 'car'"),
        ({"classes": ()}, "classes: are 0, and a label map holds 1 to 254"),
        ({"folder": "/etc"}, "import_maps: folder: .*is absolute"),
        ({"val_list": "../val.txt"}, "import_maps: val_list: .*leaves its folder"),
    ],
)
def test_settings_that_cannot_be_are_refused(root: Path, changes: dict[str, object], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        import_maps(SETTINGS.model_copy(update=changes), root, root / "prepared", root / "semantic")


@pytest.mark.slow
def test_camvid_mini_is_read_whole(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").symlink_to(shared_data / "data" / "camvid-mini")
    names = (
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    )
    settings = SETTINGS.model_copy(update={"classes": names, "val_list": "val.txt"})
    summary = import_maps(settings, tmp_path, tmp_path / "prepared", tmp_path / "semantic")
    assert summary["warnings"] == []
    assert [summary["splits"][split]["images"] for split in ("train", "val")] == [34, 12]
    figures = summary["semantic"]["splits"]["train"]
    assert sum(figures["pixels"]) + round(figures["void"] * 34 * 480 * 360) == 34 * 480 * 360
    assert figures["images_with"][3] == 34
    assert figures["images_with"][7] < 34  # "fence and bicyclist are missing from many frames"
    assert figures["images_with"][10] < 34
