"""Checks of COCO images: which files are left out with a warning, and which sizes fit."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.errors import UserError
from tests.data.coco_folder import HEIGHT, WIDTH, first, read, without


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
