"""The preview of labels from class activation maps: which images it shows, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.images import ImageStore
from pipeline.data.packs import Pack
from pipeline.errors import UserError
from pipeline.files import read_json, write_json
from pipeline.report import preview_cams as module
from pipeline.report.cam_preview import PANEL, CamScene
from pipeline.report.preview_cams import SCENES, preview_cams, shown_size
from tests.report.prior_files import CLASSES, SIZES, TAGS, write_cams, write_labels, write_store


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    write_cams(tmp_path / "cams")
    write_labels(tmp_path / "labels")
    return write_store(tmp_path / "images")


def preview(store: ImageStore, folder: Path) -> None:
    preview_cams(store, Pack(folder / "cams"), folder / "labels", folder / "a.png", folder / "a.json")


def test_images_with_tags_are_shown_with_maps_of_their_size(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[CamScene] = []

    def draw(scenes: list[CamScene], classes: list[str]) -> bytes:
        assert classes == CLASSES
        shown.extend(scenes)
        return b"drawn"

    monkeypatch.setattr(module, "cam_preview", draw)
    preview(store, tmp_path)
    assert [(scene.file_name, scene.tags) for scene in shown] == [("1.png", (1,)), ("3.png", (1, 2))]
    assert [scene.maps.shape for scene in shown] == [(1, *SIZES[1]), (2, *SIZES[3])]
    assert all((scene.maps == 0.5).all() and (scene.labels[0] == 0).all() for scene in shown)
    assert (tmp_path / "a.png").read_bytes() == b"drawn"
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"images": 3, "labelled": 0.25}


def test_the_picture_can_be_opened(store: ImageStore, tmp_path: Path) -> None:
    preview(store, tmp_path)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > 3 * PANEL


def test_large_images_are_reduced_with_their_labels(tmp_path: Path) -> None:
    assert shown_size(30, 20) == (30, 20)
    assert shown_size(2000, 1000) == (PANEL, PANEL // 2)
    labels = np.zeros((PANEL * 2, PANEL * 2), np.uint8)
    labels[:, PANEL:] = 254
    reduced = module._resized(labels, (PANEL, PANEL), module.cv2.INTER_NEAREST)
    assert set(np.unique(reduced)) == {0, 254}


def test_no_more_than_a_few_are_shown(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = read_json(tmp_path / "labels" / "labels.json")
    content["images"] = content["images"][:1] * 20
    write_json(tmp_path / "labels" / "labels.json", content)
    monkeypatch.setattr(module, "cam_preview", lambda scenes, _: bytes(len(scenes)))
    preview(store, tmp_path)
    assert len((tmp_path / "a.png").read_bytes()) == SCENES


def test_maps_of_other_tags_are_one_line(store: ImageStore, tmp_path: Path) -> None:
    write_cams(tmp_path / "cams", {**TAGS, 3: (1,)})
    with pytest.raises(UserError, match=r"image 3: has maps of shape \(1, 6, 6\), and its image 2 tags"):
        preview(store, tmp_path)
    assert not list(tmp_path.glob("a.*"))


def test_labels_of_another_size_are_one_line(tmp_path: Path) -> None:
    write_cams(tmp_path / "cams")
    write_labels(tmp_path / "labels")
    store = write_store(tmp_path / "images", {**SIZES, 3: (40, 24)})
    with pytest.raises(UserError, match=r"image 3: has a map of shape \(24, 24\), and its image \(40, 24\)"):
        preview(store, tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "is not a label set of class activation maps"),
        ({"classes": CLASSES, "images": [{"id": 1}]}, "is not a label set of class activation maps"),
        (
            {"classes": CLASSES, "images": [], "info": {"figures": {"images": 0, "labelled": 0.0}}},
            "images: none has a tag",
        ),
    ],
)
def test_another_file_and_one_without_tags_are_one_line(
    store: ImageStore, tmp_path: Path, content: object, message: str
) -> None:
    write_json(tmp_path / "labels" / "labels.json", content)
    with pytest.raises(UserError, match=message):
        preview(store, tmp_path)
