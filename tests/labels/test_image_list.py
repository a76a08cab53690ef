"""Lists of images as people publish them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.labels.image_list import read_image_list

FRAME = "bremen_000041_000019"


def records(*names: str) -> list[dict[str, Any]]:
    return [{"id": 10 + place, "file_name": name} for place, name in enumerate(names)]


def read(folder: Path, text: str, *names: str) -> list[int]:
    (folder / "list.txt").write_text(text, encoding="utf-8")
    return read_image_list(folder / "list.txt", records(*names))


@pytest.mark.parametrize(
    "line",
    [
        f"{FRAME}_gtFine_instanceIds.png",
        f"{FRAME}_leftImg8bit.png",
        f"bremen/{FRAME}_leftImg8bit.png",
        f"gtFine/train/bremen/{FRAME}_gtFine_polygons.json",
        FRAME,
    ],
)
def test_any_file_names_a_cityscapes_frame(tmp_path: Path, line: str) -> None:
    other = "ulm/ulm_000041_000019_leftImg8bit.png"
    assert read(tmp_path, line, other, f"bremen/{FRAME}_leftImg8bit.png") == [11]


@pytest.mark.parametrize("line", ["train2017/000000391895.jpg", "000000391895.jpg", "000000391895"])
def test_the_last_part_is_enough(tmp_path: Path, line: str) -> None:
    assert read(tmp_path, f"{line}\n", "train2017/000000391895.jpg") == [10]


def test_order_is_kept_and_empty_lines_and_windows_do_not_matter(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeffc.png\r\n\r\n a.png \r\n", "a.png", "b.v2.png", "c.png") == [12, 10]
    assert read(tmp_path, "b.v2\n", "a.png", "b.v2.png") == [11]


def test_a_whole_name_wins_over_a_part(tmp_path: Path) -> None:
    assert read(tmp_path, "a/1.png\nb/1.png\n", "a/1.png", "b/1.png") == [10, 11]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png\nz.png\n", r"line 2: 'z\.png' is none of the training images; write the name"),
        ("1.png\n", r"line 1: '1\.png' may be 2 images, b/1\.png and c/1\.png among them; write the folder"),
        ("a.png\n\na\n", "line 3: a is the image that line 1 names; name every image once"),
        (" \n\n", "names no image"),
    ],
)
def test_mistakes_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"list\.txt: {message}") as caught:
        read(tmp_path, text, "a.png", "b/1.png", "c/1.png")
    assert "\n" not in str(caught.value)


def test_files_that_are_no_lists(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\x89PNG\xff")
    with pytest.raises(UserError, match="is not UTF-8 text"):
        read_image_list(tmp_path / "list.txt", records("a.png"))
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_image_list(tmp_path / "none.txt", records("a.png"))


@pytest.mark.parametrize("percent", [5, 10, 20, 30])
def test_heads_of_the_published_lists(tmp_path: Path, percent: int) -> None:
    """Cityscapes' lists have other counts than their percentages say: 144, 296, 592 and 888 of 2975."""
    path = Path(__file__).parents[1] / "vectors" / "guided_distillation" / "cityscapes_splits.npz"
    with np.load(path, allow_pickle=False) as file:
        names = file[f"perc{percent}_first20"].tolist()
        assert file[f"perc{percent}_count"] == {5: 144, 10: 296, 20: 592, 30: 888}[percent]
    files = [f"{name.split('_')[0]}/{name.replace('gtFine_instanceIds', 'leftImg8bit')}" for name in names]
    assert read(tmp_path, "\n".join(names), *files[::-1]) == list(range(29, 9, -1))
