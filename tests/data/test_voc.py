"""VOC 2012 and SBD in their own layouts: exact maps, and one line for everything that is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.data.images import ImageStore
from pipeline.data.label_codes import VOID
from pipeline.data.masks import decode
from pipeline.data.packs import Pack
from pipeline.data.pixels import ImageError
from pipeline.data.prepare_semantic import import_voc
from pipeline.data.scenes import Split
from pipeline.data.voc import CLASSES, VocLabels, parse_xml, read_boxes, read_voc, split_names
from pipeline.errors import UserError
from pipeline.files import read_json
from pipeline.labels.semantic_labels import SemanticLabels
from pipeline.labels.weak_semantic import write_weak_labels
from pipeline.params.semantic_data import VocFolder, VocSbdFolder
from pipeline.params.semantic_labels import TagLabels
from tests.data.voc_folder import (
    CAT,
    DOG,
    HEIGHT,
    PERSON,
    WIDTH,
    class_map,
    object_map,
    save_palette,
    write_list,
    write_sbd,
    write_voc,
)

SETTINGS = VocFolder(folder="data/voc", processes=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_voc(tmp_path / "data" / "voc")
    return tmp_path / "data" / "voc"


def read(folder: Path, split: str = "train", extra: Path | None = None) -> Split:
    return read_voc(folder, extra, split, 1)


def test_objects_are_those_of_the_map_and_else_the_boxes(folder: Path) -> None:
    coco = read(folder).checked.coco
    assert [image["file_name"] for image in coco["images"]] == ["2007_000001.jpg", "2007_000002.jpg"]
    first = [row for row in coco["annotations"] if row["image_id"] == 1]
    assert [row["category_id"] for row in first] == [CAT, CAT, PERSON]
    assert [row["bbox"] for row in first] == [[2, 2, 6, 8], [8, 2, 6, 8], [20, 12, 6, 10]]
    masks = decode([row["segmentation"] for row in first], (HEIGHT, WIDTH))
    for key, mask in enumerate(masks, 1):
        np.testing.assert_array_equal(mask, object_map() == key)
    keys = ("category_id", "bbox", "area", "iscrowd")
    assert [[row[key] for key in keys] for row in coco["annotations"] if row["image_id"] == 2] == [
        [DOG, [0, 2, 10, 22], 220, 0],
        [CAT, [4.5, 4, 27.5, 5], 137.5, 1],
    ]
    assert [row["id"] for row in coco["annotations"]] == [1, 2, 3, 4, 5]
    assert [(row["id"], row["name"]) for row in coco["categories"]][CAT - 1] == (CAT, "cat")


def test_sbd_adds_images_and_vocs_own_maps_come_first(folder: Path, tmp_path: Path) -> None:
    write_sbd(folder, tmp_path / "sbd")
    split = read(folder, "train_aug", tmp_path / "sbd")
    coco = split.checked.coco
    assert [image["file_name"] for image in coco["images"]] == [
        "2007_000001.jpg",
        "2007_000002.jpg",
        "2008_000009.jpg",
    ]
    np.testing.assert_array_equal(split.read("2007_000001").values, class_map())
    added = split.read("2008_000009").values
    assert set(np.unique(added).tolist()) == {0, DOG, PERSON}
    own = [row for row in coco["annotations"] if row["image_id"] == 3]
    assert [row["category_id"] for row in own] == [DOG, DOG, PERSON]
    write_list(folder / "ImageSets/Segmentation/trainaug.txt", "VOC2012/JPEGImages/2008_000009.jpg hed/x.png")
    assert split_names(folder, None, "train_aug") == ["2008_000009"]


def test_a_folder_of_png_adds_images(folder: Path, tmp_path: Path) -> None:
    write_sbd(folder, tmp_path / "sbd")
    save_palette(tmp_path / "aug" / "2008_000009.png", class_map())
    write_list(folder / "ImageSets/Segmentation/train_aug.txt", "2007_000001", "2008_000009")
    split = read(folder, "train_aug", tmp_path / "aug")
    np.testing.assert_array_equal(split.read("2008_000009").values, class_map())
    assert {row["image_id"] for row in split.checked.coco["annotations"]} == {1}


def test_without_a_list_of_train_aug_the_user_is_told(folder: Path) -> None:
    with pytest.raises(
        UserError, match=r"train_aug\.txt: file not found; put the list there, or give .* SBD"
    ):
        read(folder, "train_aug")


def _broken_mat(folder: Path) -> None:
    (folder / "SegmentationClass" / "2007_000001.png").unlink()
    (folder / "cls").mkdir()
    (folder / "cls" / "2007_000001.mat").write_bytes(b"MATLAB 5.0")


def _write(name: str, values: Any) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        if name == "SegmentationClass":  # alone, so that nothing else is wrong
            (folder / "SegmentationObject" / "2007_000001.png").unlink()
        save_palette(folder / name / "2007_000001.png", values)

    return write


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda folder: (folder / "JPEGImages/2007_000001.jpg").unlink(), "the file is missing"),
        (
            lambda folder: (folder / "SegmentationClass/2007_000001.png").unlink(),
            "there is no label map for it",
        ),
        (_write("SegmentationClass", class_map()[:-1]), "another size: .*32x23 and 32x24"),
        (_write("SegmentationClass", class_map() + 20), "values that are no classes: .*, 28, 35"),
        (_write("SegmentationObject", object_map().T.copy()), "classes and of objects have other sizes"),
        (
            _write("SegmentationObject", np.where(class_map() == 0, 9, 0).astype(np.uint8)),
            "has an object where that of classes has none: .*, object 9",
        ),
        (_broken_mat, r"no GTcls\.Segmentation, or is damaged"),
    ],
)
def test_an_unusable_image_is_left_out_in_one_line(
    folder: Path, damage: Callable[[Path], object], problem: str
) -> None:
    damage(folder)
    split = read(folder, extra=folder)
    (line,) = split.checked.warnings
    assert re.search(rf"voc \(train\): 1 image left out: .*{problem}", line), line
    assert "2007_000001.jpg" in line
    assert [row["id"] for row in split.checked.coco["images"]] == [2]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<annotation>", "its XML is damaged"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "declarations"),
        ("<a><object><name>dog</name></object></a>", "an object without a box of four numbers: dog"),
        (
            "<a><object><name>fox</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax>"
            "</bndbox></object></a>",
            "a class that VOC does not have: fox",
        ),
        (
            "<a><object><name>dog</name><bndbox><xmin>9</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax>"
            "</bndbox></object></a>",
            "a box without an area",
        ),
    ],
)
def test_xml_that_is_wrong_is_named(text: str, problem: str) -> None:
    with pytest.raises(ImageError, match=problem):
        read_boxes(text.encode(), (10, 10))
    assert parse_xml(b"<a><!-- fine --><b><![CDATA[<!]]></b></a>").findtext("b") == "<!"


def test_entities_are_refused_in_every_encoding() -> None:
    text = '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'
    with pytest.raises(ImageError, match="declarations"):
        parse_xml(text.encode("utf-16"))
    assert parse_xml(text[:39].encode("utf-16") + "<a>\u00e9</a>".encode("utf-16")[2:]).text == "\u00e9"


@pytest.mark.parametrize(
    ("names", "problem"),
    [(["a", "a"], "a: occurs twice"), ([".."], "leaves its folder"), ([], "names no image")],
)
def test_lists_that_are_wrong_are_refused(folder: Path, names: list[str], problem: str) -> None:
    write_list(folder / "ImageSets/Segmentation/train.txt", *names)
    with pytest.raises(UserError, match=problem):
        read(folder)


def test_all_files_are_written_alike_and_of_refused_ones_none(folder: Path) -> None:
    root = folder.parents[1]
    for name in ("one", "two"):
        summary = import_voc(SETTINGS, root, root / name / "prepared", root / name / "semantic")
    written = sorted(path.relative_to(root / "one") for path in (root / "one").rglob("*") if path.is_file())
    assert [path.as_posix() for path in written] == [
        "prepared/annotations/train.json",
        "prepared/annotations/val.json",
        "prepared/summary.json",
        "prepared/train/images.json",
        "prepared/val/images.json",
        "semantic/train/pack-000.zip",
        "semantic/train/pack.json",
        "semantic/val/pack-000.zip",
        "semantic/val/pack.json",
    ]
    for path in written:
        assert (root / "one" / path).read_bytes() == (root / "two" / path).read_bytes()
    pack = Pack(root / "one" / "semantic" / "train")
    assert pack.about == {"classes": ["background", *CLASSES], "background": True}
    np.testing.assert_array_equal(pack.read(2), class_map())
    figures = summary["semantic"]["splits"]["train"]
    assert figures["images_with"][CAT] == 2
    assert figures["pixels"][CAT] == 2 * (class_map() == CAT).sum()
    assert figures["void"] == (class_map() == VOID).mean()
    assert ImageStore.open(root / "one/prepared/train", root).read(2).shape == (HEIGHT, WIDTH, 3)
    (folder / "SegmentationClass" / "2007_000003.png").unlink()
    with pytest.raises(UserError, match=r"voc \(val\): none of its images can be used"):
        import_voc(SETTINGS, root, root / "three" / "prepared", root / "three" / "semantic")
    assert not (root / "three").exists()


def test_images_of_val_in_train_are_named(folder: Path) -> None:
    source = folder / "JPEGImages" / "2007_000001.jpg"
    (folder / "JPEGImages" / "2007_000003.jpg").write_bytes(source.read_bytes())
    root = folder.parents[1]
    (line,) = import_voc(SETTINGS, root, root / "prepared", root / "semantic")["warnings"]
    assert "val: 1 of 1 images are also in train" in line


@pytest.mark.parametrize("key", ["folder", "extra"])
def test_paths_out_of_the_repository_are_refused(tmp_path: Path, key: str) -> None:
    paths = {"folder": "data/voc", "extra": "data/sbd", key: "../voc"}
    settings = VocSbdFolder(**paths, processes=1)
    with pytest.raises(UserError, match=rf"import_voc: {key}: .*ln -s"):
        import_voc(settings, tmp_path, tmp_path / "out", tmp_path / "semantic")


@pytest.fixture(scope="module")
def mini(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 190 + 105 images of voc-mini, imported."""
    root = tmp_path_factory.mktemp("repository")
    (root / "data").mkdir()
    (root / "data" / "voc").symlink_to(shared_data / "data/voc-mini/VOCdevkit/VOC2012")
    summary = import_voc(SETTINGS, root, root / "prepared", root / "semantic")
    assert summary["warnings"] == []
    return root


@pytest.mark.slow
def test_counts_of_voc_mini_are_those_of_its_readme(mini: Path, shared_data: Path) -> None:
    summary = read_json(mini / "prepared" / "summary.json")
    assert [summary["splits"][split]["images"] for split in ("train", "val")] == [190, 105]
    readme = (shared_data / "data/voc-mini/README.md").read_text(encoding="utf-8")
    table = {
        name: (int(train), int(val))
        for name, train, val in re.findall(r"\| (\w+) \| (\d+) \| (\d+) \|", readme)
    }
    assert len(table) == 20
    for key, name in enumerate(summary["semantic"]["classes"][1:], 1):
        counts = [summary["semantic"]["splits"][split]["images_with"][key] for split in ("train", "val")]
        assert tuple(counts) == table[name]
    for split, share in (("train", 0.060), ("val", 0.078)):
        pack = Pack(mini / "semantic" / split)
        void = np.mean([(pack.read(key) == VOID).mean() for key in pack.ids])
        assert void == pytest.approx(share, abs=1e-3)


@pytest.mark.slow
def test_tags_of_voc_mini_are_those_it_lists(mini: Path, shared_data: Path) -> None:
    listed = json.loads((shared_data / "data/voc-mini/image_tags.json").read_text(encoding="utf-8"))
    for split in ("train", "val"):
        annotations = read_json(mini / "prepared" / "annotations" / f"{split}.json")
        row = TagLabels(kind="tags", split="train", percent=100.0, seed=0, processes=1)
        write_weak_labels(mini / "semantic" / split, annotations, row, mini / "tags")
        labels = SemanticLabels.open(mini / "tags")
        assert {image.file_name[:-4]: list(image.tags) for image in labels.images.values()} == {
            name: listed[name] for name in split_names(mini / "data/voc", None, split)
        }


def test_a_palette_is_not_taken_for_colours(folder: Path) -> None:
    path = folder / "SegmentationClass" / "2007_000001.png"
    Image.open(path).convert("RGB").save(path)
    with pytest.raises(ImageError, match="shows colours instead of classes"):
        VocLabels(str(folder), "")("2007_000001")
