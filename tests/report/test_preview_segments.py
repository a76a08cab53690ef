"""The preview of an over-segmentation: which images it shows, what it says, and what it refuses."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.packs import Pack
from pipeline.errors import UserError
from pipeline.report.preview_segments import SCENES, preview_segments
from pipeline.report.segments_figure import COLUMNS, GAP, LONG_SIDE
from tests.report.prior_files import FIGURES, SIZES, write_regions, write_store

WANTED = {key: FIGURES[key] for key in ("images", "fewest", "mean", "most")}


def test_all_of_few_images_are_drawn_with_the_figures_of_the_pack(tmp_path: Path) -> None:
    store = write_store(tmp_path / "images")
    write_regions(tmp_path / "segments")
    picture, figures = tmp_path / "out" / "a.png", tmp_path / "out" / "a.json"
    preview_segments(store, Pack(tmp_path / "segments"), picture, figures)
    assert sorted(path.name for path in picture.parent.iterdir()) == ["a.json", "a.png"]
    assert json.loads(figures.read_text(encoding="utf-8")) == WANTED
    drawn = np.asarray(Image.open(picture).convert("RGB"))
    assert drawn.shape[1] == len(SIZES) * LONG_SIDE + (len(SIZES) - 1) * GAP
    panels = [drawn[:, place * (LONG_SIDE + GAP) :][:, :LONG_SIDE] for place in range(len(SIZES))]
    assert all((panel[10, :80] == 90).all() for panel in panels)


def test_of_many_images_a_few_are_shown(tmp_path: Path) -> None:
    sizes = dict.fromkeys(range(1, 12), (LONG_SIDE // 4, LONG_SIDE // 2))
    store = write_store(tmp_path / "images", sizes)
    write_regions(tmp_path / "segments", sizes)
    preview_segments(store, Pack(tmp_path / "segments"), tmp_path / "a.png", tmp_path / "a.json")
    rows = SCENES // COLUMNS
    height = Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())).height
    assert height == rows * LONG_SIDE // 2 + (rows - 1) * GAP


def test_regions_of_another_size_are_one_line(tmp_path: Path) -> None:
    store = write_store(tmp_path / "images")
    write_regions(tmp_path / "segments", {**SIZES, 3: (24, 25)})
    problem = r"image 3: has regions of shape \(24, 25\), and its image \(24, 24\)"
    with pytest.raises(UserError, match=problem):
        preview_segments(store, Pack(tmp_path / "segments"), tmp_path / "a.png", tmp_path / "a.json")
    assert not list(tmp_path.glob("a.*"))


def test_without_an_image_there_is_nothing_to_draw(tmp_path: Path) -> None:
    store = write_store(tmp_path / "images", {})
    write_regions(tmp_path / "segments", {})
    with pytest.raises(UserError, match="has no images"):
        preview_segments(store, Pack(tmp_path / "segments"), tmp_path / "a.png", tmp_path / "a.json")
