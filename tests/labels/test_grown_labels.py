"""Label sets that an over-segmentation spreads: what is written, and what does not fit."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.data.images import ImageRecord, ImageStore, write_zip_store
from pipeline.data.label_codes import UNLABELLED
from pipeline.data.packs import encode_map, write_pack
from pipeline.errors import UserError
from pipeline.labels.grown_labels import write_grown_labels
from pipeline.labels.semantic_labels import SemanticLabels
from pipeline.labels.weak_semantic import Given, write_label_set
from pipeline.params.semantic_labels import GrownLabels

ROW = GrownLabels(labels="drawn", segments="halves", processes=1)


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    png = cv2.imencode(".png", np.zeros((4, 6, 3), np.uint8))[1].tobytes()
    records = [ImageRecord(key, f"{key}.png", 6, 4) for key in (3, 8)]
    write_zip_store(tmp_path / "images", ((record, png) for record in records))
    return ImageStore.open(tmp_path / "images")


@pytest.fixture
def labels(tmp_path: Path) -> SemanticLabels:
    """A dot in the left half of image 3, and no label in image 8."""
    dot = np.full((4, 6), UNLABELLED, np.uint8)
    empty = dot.copy()
    dot[1, 1] = 1
    images = [{"id": key, "file_name": f"{key}.png", "width": 6, "height": 4} for key in (3, 8)]
    given = [Given([1], encoded=encode_map(dot)), Given([], encoded=encode_map(empty))]
    folder = tmp_path / "drawn"
    write_label_set(folder, "points", {}, ["background", "cat"], True, zip(images, given, strict=True))
    return SemanticLabels.open(folder)


def segments(folder: Path, height: int = 4) -> Path:
    halves = np.repeat(np.array([[1, 1, 1, 2, 2, 2]], np.uint16), height, axis=0)
    write_pack(folder, ((key, encode_map(halves)) for key in (3, 8)), {})
    return folder


def test_labels_are_spread_and_the_rest_is_kept(
    labels: SemanticLabels, store: ImageStore, tmp_path: Path
) -> None:
    write_grown_labels(ROW, labels, store, segments(tmp_path / "halves"), tmp_path / "out", "grown")
    made = SemanticLabels.open(tmp_path / "out")
    assert made.kind == "grown"
    assert (made.classes, made.images, made.background) == (labels.classes, labels.images, True)
    assert (made.partial_map(3) == 1).all()
    assert (made.partial_map(8) == UNLABELLED).all()


def test_any_number_of_processes_gives_the_same_bytes(
    labels: SemanticLabels, store: ImageStore, tmp_path: Path
) -> None:
    halves = segments(tmp_path / "halves")
    for count in (1, 2):
        row = ROW.model_copy(update={"processes": count})
        write_grown_labels(row, labels, store, halves, tmp_path / str(count), "grown")
    one, two = (
        {path.name: path.read_bytes() for path in sorted((tmp_path / count).rglob("*")) if path.is_file()}
        for count in ("1", "2")
    )
    assert one == two


def test_regions_of_another_size_are_one_line(
    labels: SemanticLabels, store: ImageStore, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="image 3: its regions are 5 x 6 pixels, and its labels 4 x 6"):
        write_grown_labels(ROW, labels, store, segments(tmp_path / "halves", 5), tmp_path / "out", "grown")
    assert not (tmp_path / "out").exists()
