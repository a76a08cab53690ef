"""Which images the report shows, read from the files that the stages write."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.report.load import load_report_data
from pipeline.report.write import write_report
from tests.report.benchmark_files import IMAGES, make_benchmark


def test_the_gallery_shows_the_masks_that_a_labeler_gives_to_every_box(
    layout: Layout, params: Params
) -> None:
    for scene in load_report_data(layout.root, params).scenes:
        (shape,) = scene.predictions["mal"]
        assert (shape.category, shape.score, shape.box) == ("star", None, (8, 8, 16, 16))
        assert shape.mask.sum() == 256
        shift = scene.image_id > 2
        assert scene.quality["mal"] == pytest.approx(100 * (16 - shift) / (16 + shift))


def test_training_images_show_the_masks_that_are_exported(layout: Layout, params: Params) -> None:
    scenes = load_report_data(layout.root, params).training_scenes
    assert [scene.image_id for scene in scenes] == list(range(1, IMAGES + 1))  # fewer than 3 * gallery
    for scene in scenes:
        assert int(scene.image[0, 0, 0]) == 10 * scene.image_id
        assert [shape.mask for shape in scene.truth] == [None]
        (shape,) = scene.predictions["mal_masks"]
        assert (shape.box, int(shape.mask.sum())) == ((8, 8, 16, 16), 256)


def test_without_a_gallery_no_training_image_is_read(layout: Layout, params: Params) -> None:
    layout.labels("boxes").unlink()
    none = params.model_copy(update={"report": params.report.model_copy(update={"gallery": 0})})
    assert load_report_data(layout.root, none).training_scenes == ()


def only(params: Params, *names: str) -> Params:
    runs = {name: params.runs[name] for name in names}
    return params.model_copy(update={"runs": runs, "baselines": {}})


def test_labelers_alone_rank_the_gallery_by_their_masks(tmp_path: Path, params: Params) -> None:
    layout, params = Layout(tmp_path, params.benchmark), only(params, "mal")
    make_benchmark(layout, params, masks=True)
    data = load_report_data(tmp_path, params)
    assert (data.headline, data.ranked_by, data.labelers) == ("mask IoU", "mal", ())
    assert data.scenes[0].rank == "best"
    write_report(data, layout.reports)


def test_labelers_alone_without_masks_show_a_sample(tmp_path: Path, params: Params) -> None:
    layout, params = Layout(tmp_path, params.benchmark), only(params, "mal")
    make_benchmark(layout, params, masks=False)
    data = load_report_data(tmp_path, params)
    row = data.row("mal")
    assert (row.score, row.interval, row.per_category, data.ranked_by) == (None, None, {}, "")
    assert {scene.rank for scene in data.scenes} == {"sample"}
    assert {scene.quality["mal"] for scene in data.scenes} == {None}
    assert all(scene.predictions["mal"][0].mask is not None for scene in data.scenes)
    assert any("needs ground-truth masks" in line for line in row.not_computed)
    write_report(data, layout.reports)
    assert "judge the masks by eye" in (layout.reports / "index.html").read_text(encoding="utf-8")


def test_the_gallery_shows_the_same_images_of_every_row(layout: Layout, params: Params) -> None:
    data = load_report_data(layout.root, params)
    assert data.ranked_by == "oracle"
    for scene in data.scenes:
        assert set(scene.predictions) == set(scene.quality) == {row.name for row in data.rows}
        assert scene.quality["oracle"] == pytest.approx(100)
        assert int(scene.image[0, 0, 0]) == 10 * scene.image_id
        assert scene.truth[0].mask is not None
