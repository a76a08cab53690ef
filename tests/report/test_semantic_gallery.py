"""Pictures of label maps: colours of classes and of mistakes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from pipeline import params
from pipeline.data.images import ImageRecord, ImageStore, write_zip_store
from pipeline.data.label_codes import VOID
from pipeline.evaluation.semantic import evaluate_semantic
from pipeline.report.figures import png, settings
from pipeline.report.gallery import FILL, class_colors
from pipeline.report.palette import FALSE_ALARM, HIT, MISS, MIX_UP, RUNS
from pipeline.report.semantic_data import SemanticClasses, SemanticScene
from pipeline.report.semantic_gallery import (
    label_overlay,
    mistakes_overlay,
    semantic_gallery,
    semantic_scenes,
)
from pipeline.report.semantic_palette import class_shades
from tests.evaluation.semantic_packs import pack, worse

OBJECTS = SemanticClasses(("background", "cat", "dog"), True)
STREETS = SemanticClasses(("road", "car"), False)
SIZE = (20, 24)


def png_of(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()


def scene(seed: int = 0) -> SemanticScene:
    rng = np.random.default_rng(seed)
    truth = np.zeros(SIZE, np.uint8)
    truth[4:12, 4:12], truth[8:18, 14:22], truth[0] = 1, 2, VOID
    image = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    plain, crf = (worse(rng, truth, 3, share) for share in (0.2, 0.05))
    return SemanticScene("a.jpg", "best", image, truth, plain, crf, 61.4)


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("count", [2, 21, 34])
def test_classes_have_different_colours(count: int, background: bool) -> None:
    colors = class_shades([str(index) for index in range(count)], background)
    assert len(np.unique(colors, axis=0)) == count
    assert "#{:02x}{:02x}{:02x}".format(*colors[int(background)]) == RUNS[0]


def test_a_class_has_the_colour_that_it_has_as_an_object() -> None:
    names = ["cat", "dog", "cow"]
    summary = SimpleNamespace(instances=dict.fromkeys(names, 1))
    data: Any = SimpleNamespace(scenes=(), training_scenes=(), summary=summary)
    colors = class_shades(["background", *names], True)[1:]
    assert ["#{:02x}{:02x}{:02x}".format(*color) for color in colors] == list(class_colors(data).values())


def test_label_maps_leave_the_background_and_veil_what_is_void() -> None:
    labels = np.array([[0, 1], [2, VOID]], np.uint8)
    overlay = label_overlay(labels, OBJECTS)[:: 384 // 2, :: 384 // 2]
    assert overlay[0, 0, 3] == 0
    assert overlay[0, 1].tolist() == [*class_shades(OBJECTS.names, True)[1], FILL]
    assert 0 < overlay[1, 1, 3] < FILL
    assert label_overlay(labels, STREETS)[0, 0, 3] == FILL


def test_mistakes_are_told_apart() -> None:
    truth = np.array([[0, 1, 1], [1, 0, VOID]], np.uint8)
    found = np.array([[0, 1, 2], [0, 2, 2]], np.uint8)
    step = 384 // 3
    overlay = mistakes_overlay(truth, found, OBJECTS)[::step, ::step]
    colors = [[tuple(pixel[:3].tolist()) if pixel[3] == FILL else None for pixel in row] for row in overlay]
    assert colors == [[None, HIT, MIX_UP], [MISS, FALSE_ALARM, None]]
    streets = mistakes_overlay(np.array([[0, 1]], np.uint8), np.array([[0, 0]], np.uint8), STREETS)
    assert [tuple(streets[0, place, :3].tolist()) for place in (0, -1)] == [HIT, MIX_UP]


def test_the_gallery_shows_each_map_and_says_what_its_colours_mean() -> None:
    with settings():
        figure = semantic_gallery([scene(0), replace(scene(1), rank="worst", quality=None)], OBJECTS)
        titles = [axes.get_title("left") for axes in figure.axes]
        assert titles == [
            "best: a.jpg",
            "ground truth",
            "prediction, mIoU 61 %",
            "with CRF",
            "errors with CRF",
            "worst: a.jpg",
            "ground truth",
            "prediction",
            "with CRF",
            "errors with CRF",
        ]
        meanings, names = ([text.get_text() for text in legend.get_texts()] for legend in figure.legends)
        assert names == ["cat", "dog"]
        assert meanings == ["right", "wrong class", "missed", "false", "no ground truth"]
        assert png(figure)[:4] == b"\x89PNG"
        plain = semantic_gallery([replace(scene(), crf=None)], OBJECTS)
        assert [axes.get_title("left") for axes in plain.axes][3:] == ["errors"]


@pytest.mark.parametrize("size", [(20, 60), (20, 24), (30, 20), (60, 20)])
def test_no_picture_or_title_reaches_into_another_row(size: tuple[int, int]) -> None:
    labels = np.zeros(size, np.uint8)
    shown = SemanticScene("a.jpg", "best", np.zeros((*size, 3), np.uint8), labels, labels, None, 1.0)
    with settings():
        figure = semantic_gallery([scene(0), shown, scene(1)], OBJECTS)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        rows = []
        for place in range(0, len(figure.axes), 5):
            axes = figure.axes[place]
            title = axes.get_title("left")
            texts = [text for text in axes.get_children() if isinstance(text, Text) and text.get_text()]
            assert [text.get_text() for text in texts] == [title]
            rows.append((axes.get_window_extent(), texts[0].get_window_extent()))
        legends = max(legend.get_window_extent().y1 for legend in figure.legends)
        top = float(figure.bbox.y1)
        for picture, title_box in rows:
            assert picture.y1 < title_box.y0
            assert title_box.y1 <= top
            top = picture.y0
        assert top >= legends


def test_the_best_and_the_worst_images_are_shown(tmp_path: Path) -> None:
    made = {image: scene(image) for image in (3, 5, 9)}
    shares = {3: 0.9, 5: 0.0, 9: 0.4}
    rng = np.random.default_rng(0)
    truth = pack(tmp_path / "truth", {image: own.truth for image, own in made.items()}, list(OBJECTS.names))
    maps = {image: worse(rng, own.truth, 3, shares[image]) for image, own in made.items()}
    plain = pack(tmp_path / "plain", maps, list(OBJECTS.names))
    images = [
        (ImageRecord(image, f"{image}.png", *SIZE[::-1]), png_of(own.image)) for image, own in made.items()
    ]
    write_zip_store(tmp_path / "images", images)
    settings_ = params.EvaluateSemantic(
        boundary_dilation=0.02, bootstrap_samples=100, bootstrap_seed=0, processes=1
    )
    _, counts = evaluate_semantic(truth, plain, None, settings_)
    shown = semantic_scenes(ImageStore.open(tmp_path / "images"), truth, plain, None, counts, 1)
    assert [(own.rank, own.file_name) for own in shown] == [
        ("best", "5.png"),
        ("median", "9.png"),
        ("worst", "3.png"),
    ]
    assert shown[0].quality == 100
    assert shown[0].crf is None
    np.testing.assert_array_equal(shown[2].plain, maps[3])
    np.testing.assert_array_equal(shown[1].image, made[9].image)
