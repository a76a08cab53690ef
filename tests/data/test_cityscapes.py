"""Cityscapes' own layout: exact masks, and one line for everything that is wrong."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image

from pipeline.data.cityscapes import THINGS, decode_ids, find_instances, read_cityscapes
from pipeline.data.coco import CheckedCoco
from pipeline.data.images import ImageStore
from pipeline.data.masks import decode
from pipeline.data.pixels import ImageError
from pipeline.data.prepare import import_cityscapes
from pipeline.engine import parallel
from pipeline.errors import UserError
from pipeline.labels.label_file import LabelFile
from pipeline.labels.unlabelled import read_unlabelled
from pipeline.layout import Layout
from pipeline.params import CityscapesFolder
from tests.data.cityscapes_folder import HEIGHT, WIDTH, frame_paths, street, write_cityscapes, write_frame

ULM = "ulm_000001_000019"
SETTINGS = CityscapesFolder(folder="data/cityscapes", processes=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_cityscapes(tmp_path / "data" / "cityscapes")
    return tmp_path / "data" / "cityscapes"


def read(folder: Path, split: str = "train", processes: int = 1) -> CheckedCoco:
    return read_cityscapes(folder / "leftImg8bit" / split, folder / "gtFine" / split, processes)


@given(
    arrays(
        np.uint16,
        array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements=st.sampled_from([0, 7, 23, 24, 26, 29, 33, 24000, 24001, 26000, 26999, 29000, 30001, 33002]),
    )
)
def test_masks_are_the_pixels_with_the_value(ids: NDArray[np.uint16]) -> None:
    found = find_instances(ids)
    things = [
        value for value in np.unique(ids).tolist() if (value if value < 1000 else value // 1000) in THINGS
    ]
    assert [row["id"] for row in found] == things
    for row in found:
        mask = ids == row["id"]
        (decoded,) = decode([row["segmentation"]], ids.shape)
        assert (decoded == mask).all()
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        x, y, width, height = row["bbox"]
        assert (x, x + width) == (columns[0], columns[-1] + 1)
        assert (y, y + height) == (rows[0], rows[-1] + 1)
        assert row["area"] == mask.sum()
        assert row["iscrowd"] == (row["id"] < 1000)


def test_objects_groups_and_what_is_not_evaluated(folder: Path) -> None:
    checked = read(folder)
    assert checked.warnings == []
    assert [(row["id"], row["file_name"]) for row in checked.coco["images"]] == [
        (1, "bremen/bremen_000007_000019_leftImg8bit.png"),
        (2, "ulm/ulm_000000_000019_leftImg8bit.png"),
        (3, "ulm/ulm_000001_000019_leftImg8bit.png"),
    ]
    keys = ("id", "image_id", "category_id", "iscrowd", "bbox", "area")
    assert [[row[key] for key in keys] for row in checked.coco["annotations"] if row["image_id"] == 3] == [
        [300026, 3, 26, 1, [30, 0, 18, 4], 72],
        [325000, 3, 25, 0, [12, 8, 3, 14], 42],
        [326000, 3, 26, 0, [3, 2, 7, 6], 42],
        [326001, 3, 26, 0, [4, 10, 20, 10], 170],
    ]
    assert [row["name"] for row in checked.coco["categories"]] == [
        "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"
    ]  # fmt: skip


def test_several_processes_give_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = read(folder)
    monkeypatch.setattr(parallel, "ALONE_SECONDS", -1.0)
    assert read(folder, processes=2) == alone


def test_equal_folders_give_equal_bytes_and_refused_ones_nothing(folder: Path) -> None:
    root = folder.parents[1]
    for name in ("one", "two"):
        import_cityscapes(SETTINGS, root, root / name)
    written = sorted(path.relative_to(root / "one") for path in (root / "one").rglob("*.json"))
    assert [path.as_posix() for path in written] == [
        "annotations/train.json",
        "annotations/val.json",
        "summary.json",
        "train/images.json",
        "val/images.json",
    ]
    for path in written:
        assert (root / "one" / path).read_bytes() == (root / "two" / path).read_bytes()
    frame_paths(folder, "val", "lindau_000000_000019")[1].unlink()
    with pytest.raises(UserError, match="none of its images can be used"):
        import_cityscapes(SETTINGS, root, root / "three")
    assert not (root / "three").exists()


def _one_byte_per_pixel(image: Path, annotation: Path) -> None:
    Image.fromarray((street() % 256).astype(np.uint8)).save(annotation)


def _save(ids: NDArray[np.uint16]) -> Callable[[Path, Path], None]:
    return lambda image, annotation: Image.fromarray(ids).save(annotation)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda image, annotation: annotation.unlink(), r"there is no \*_gtFine_instanceIds\.png for it"),
        (lambda image, annotation: annotation.write_bytes(b"\x89PNG"), "is no PNG, or incomplete or damaged"),
        (
            lambda image, annotation: annotation.write_bytes(annotation.read_bytes()[:-60]),
            "is no PNG, or incomplete or damaged",
        ),
        (_one_byte_per_pixel, r"is not a 16-bit grey PNG: .*, Pillow's mode L"),
        (_save(street()[:, :-1]), rf"has another size: .*, {WIDTH - 1}x{HEIGHT} and {WIDTH}x{HEIGHT}"),
        (
            _save(street() + np.uint16(9000)),
            "values that are no ids of Cityscapes: .*, 9007, 9026, 34000 and 3",
        ),
        (_save(np.full((HEIGHT, WIDTH), 23001, np.uint16)), "values that are no ids .*, 23001"),
        (lambda image, annotation: image.write_bytes(b""), "the file is empty"),
    ],
)
def test_an_unusable_frame_is_left_out_in_one_line(
    folder: Path, damage: Callable[[Path, Path], None], problem: str
) -> None:
    damage(*frame_paths(folder, "train", ULM))
    checked = read(folder)
    (line,) = checked.warnings
    assert "\n" not in line
    assert re.search(f"1 image left out: .*{problem}", line), line
    assert f"ulm/{ULM}_leftImg8bit.png" in line
    assert [row["id"] for row in checked.coco["images"]] == [1, 2]
    assert {row["image_id"] for row in checked.coco["annotations"]} == {1}


def test_an_annotation_without_its_image_is_named(folder: Path) -> None:
    frame_paths(folder, "train", ULM)[0].unlink()
    (line,) = read(folder).warnings
    assert "1 annotation file left out: there is no *_leftImg8bit.png for it: ulm/ulm_000001" in line


def test_a_link_out_of_the_folder_is_not_followed(folder: Path, tmp_path: Path) -> None:
    annotation = frame_paths(folder, "train", ULM)[1]
    annotation.rename(tmp_path / "elsewhere.png")
    annotation.symlink_to(tmp_path / "elsewhere.png")
    (line,) = read(folder).warnings
    assert "a link leads outside the images folder" in line


def test_hidden_files_are_none_of_cityscapes(folder: Path) -> None:
    write_frame(folder, "train", ULM, street())
    for path in frame_paths(folder, "train", ULM):
        (path.parent / f"._{path.name}").write_bytes(b"mac")
    assert read(folder).warnings == []


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("leftImg8bit", r"leftImg8bit/train: the folder is missing; unpack leftImg8bit_trainvaltest\.zip"),
        ("gtFine", "gtFine/train: the folder is missing"),
    ],
)
def test_a_missing_folder_says_what_to_unpack(folder: Path, gone: str, message: str) -> None:
    (folder / gone).rename(folder / "other")
    with pytest.raises(UserError, match=message):
        read(folder)


def test_a_folder_without_frames(folder: Path) -> None:
    for path in (folder / "leftImg8bit" / "train").rglob("*.png"):
        path.unlink()
    with pytest.raises(
        UserError, match=r"leftImg8bit/train: holds no CITY/\*_leftImg8bit\.png; check the path"
    ):
        read(folder)


def test_colour_is_no_annotation() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(buffer, "PNG")
    with pytest.raises(ImageError, match="mode RGB"):
        decode_ids(buffer.getvalue())


@pytest.mark.parametrize("path", ["/etc", "../cityscapes"])
def test_paths_out_of_the_repository_are_refused(folder: Path, path: str) -> None:
    settings = SETTINGS.model_copy(update={"folder": path})
    with pytest.raises(UserError, match=r"import_cityscapes: folder: .*ln -s"):
        import_cityscapes(settings, folder.parents[1], folder / "out")


def test_from_the_folder_to_labels_of_a_published_list(folder: Path) -> None:
    """The stages as DVC calls them: import, labels, and the split that a list of annotation files names."""
    root, repository = folder.parents[1], Path(__file__).parents[2]
    preset = yaml.safe_load((repository / "presets" / "demo.yaml").read_text(encoding="utf-8"))
    preset["generate"] = {}
    preset["import_cityscapes"] = {"streets": SETTINGS.model_dump()}
    preset["split_lists"] = {"listed": {"path": "data/list.txt", "pool": "all"}}
    (root / "params.yaml").write_text(yaml.safe_dump(preset), encoding="utf-8")
    (root / "data" / "list.txt").write_text(f"{ULM}_gtFine_instanceIds.png\n", encoding="utf-8")
    for stage, name in (("import_cityscapes", "streets"), ("labels", "masks"), ("split_lists", "listed")):
        script = repository / "stages" / f"{stage.replace('split_lists', 'splits')}.py"
        done = subprocess.run(
            [sys.executable, str(script), "--name", name],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(repository)},
        )
        told = [line for line in done.stderr.splitlines() if not line.startswith("checking images: ")]
        assert (done.returncode, told) == (0, [])
    layout = Layout(root, "demo")
    summary = json.loads(layout.summary.read_text(encoding="utf-8"))["splits"]["train"]
    assert [summary[key] for key in ("images", "images_without_annotations", "annotations", "crowds")] == [
        3,
        1,
        8,
        2,
    ]
    labels = LabelFile.read(layout.labels("masks"))
    assert labels.images[3].annotation_ids.tolist() == [325000, 326000, 326001]
    assert [category.name for category in labels.categories] == list(THINGS.values())
    store = ImageStore.open(layout.prepared / "train", root)
    assert store.read(3).shape == (*labels.images[3].size, 3)
    listed = LabelFile.read(layout.labels("listed"))
    assert list(listed.images) == [3]
    assert listed.images[3].rles == labels.images[3].rles
    assert (decode(listed.images[3].rles, (HEIGHT, WIDTH))[2] == (street() == 26001)).all()
    assert read_unlabelled(layout.unlabelled("listed")) == [1, 2, 3]
