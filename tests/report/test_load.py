"""From the files that the stages write to the report: the contract between evaluation and report."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.data.images import ImageRecord, write_zip_store
from pipeline.data.prepare import write_summary
from pipeline.errors import UserError
from pipeline.evaluation.comparison import compare
from pipeline.evaluation.run import evaluate_run, summarise_seeds
from pipeline.files import write_json
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.params_file import load_params
from pipeline.report.curves import write_curve
from pipeline.report.load import load_report_data
from pipeline.report.write import write_report

SIZE = 32
IMAGES = 4
SHIFT = {"oracle": 0, "boxinst": 1, "projection": 2, "fill": 3, "grabcut": 2}


def make_image(image_id: int) -> tuple[ImageRecord, bytes]:
    """A grey PNG of 10 times its id."""
    _, data = cv2.imencode(".png", np.full((SIZE, SIZE, 3), 10 * image_id, np.uint8))
    return ImageRecord(image_id, f"{image_id}.png", SIZE, SIZE), data.tobytes()


def rle(left: int) -> dict[str, Any]:
    mask = np.zeros((SIZE, SIZE), np.uint8, order="F")
    mask[8:24, left : left + 16] = 1
    encoded = coco_mask.encode(mask)
    return {"size": [SIZE, SIZE], "counts": encoded["counts"].decode("ascii")}


def make_annotations(*, masks: bool) -> dict[str, Any]:
    """One object per image."""
    annotations = [
        {"id": image, "image_id": image, "category_id": 1, "bbox": [8, 8, 16, 16], "area": 256, "iscrowd": 0}
        | ({"segmentation": rle(8)} if masks else {})
        for image in range(1, IMAGES + 1)
    ]
    images = [
        {"id": image, "file_name": f"{image}.png", "width": SIZE, "height": SIZE}
        for image in range(1, IMAGES + 1)
    ]
    categories = [{"id": 1, "name": "star"}, {"id": 2, "name": "L"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def make_detections(shift: int) -> list[dict[str, Any]]:
    """One per image, off by `shift` pixels more in the later images."""
    return [
        {"image_id": image, "category_id": 1, "bbox": [8 + shift, 8, 16, 16], "score": 0.5}
        | {"segmentation": rle(8 + shift * (image > 2))}
        for image in range(1, IMAGES + 1)
    ]


def make_benchmark(layout: Layout, params: Params, *, masks: bool) -> None:
    """All the files that the report reads, made by what makes them in the pipeline."""
    annotations = make_annotations(masks=masks)
    write_json(layout.annotations("val"), annotations)
    write_zip_store(layout.prepared / "val", map(make_image, range(1, IMAGES + 1)))
    write_summary(layout.prepared, {"train": annotations, "val": annotations}, ["a warning"])
    matches, rows = {}, {**params.runs, **params.baselines}
    for name in rows:
        detections = make_detections(SHIFT[name])
        write_json(layout.predictions(name, 0) / "detections.json", detections)
        in_boxes = [{**item, "annotation_id": item["image_id"]} for item in detections]
        metrics, found = evaluate_run(annotations, detections, in_boxes, params.evaluate)
        matches[name] = {0: found}
        write_json(layout.metrics(name), summarise_seeds({0: metrics}, {0: found}, params.evaluate))
    for name in params.runs:
        write_curve(layout.curve(name), {0: [{"step": 20, "loss": 1.5, "learning_rate": 0.1}]})
        model = {"parameters": 712_345, "train_images": 1500, "environment": {"torch": "2.15.0"}}
        write_json(layout.model(name, 0) / "model.json", model)
    settings = params.evaluate
    oracles = {name: row.oracle for name, row in rows.items()}
    write_json(
        layout.comparison, compare(matches, oracles, settings.bootstrap_samples, settings.bootstrap_seed)
    )


@pytest.fixture(scope="module")
def params(root: Path) -> Params:
    params = load_params(root / "presets" / "demo.yaml")
    runs = {name: run.model_copy(update={"seeds": (0,)}) for name, run in params.runs.items()}
    evaluate = params.evaluate.model_copy(update={"bootstrap_samples": 100})
    return params.model_copy(update={"evaluate": evaluate, "runs": runs})


@pytest.fixture
def layout(tmp_path: Path, params: Params) -> Layout:
    layout = Layout(tmp_path, params.benchmark)
    make_benchmark(layout, params, masks=True)
    return layout


def test_rows_hold_what_evaluation_measured(layout: Layout, params: Params) -> None:
    data = load_report_data(layout.root, params)
    assert [row.name for row in data.rows] == [*params.runs, *params.baselines]
    oracle, boxinst = data.row("oracle"), data.row("boxinst")
    assert oracle.is_oracle
    assert oracle.metrics["AP"] == pytest.approx(100)
    assert oracle.metrics["mask_iou"] == pytest.approx(100)
    assert boxinst.retention == pytest.approx(boxinst.score)
    assert (boxinst.supervision, boxinst.train_images) == ("boxes", 1500)
    assert boxinst.params_million == pytest.approx(0.712345)
    assert data.row("grabcut").supervision == "boxes"
    assert data.categories == ("star", "L")
    assert boxinst.per_category["L"] is None
    assert len(data.differences) == 10
    assert "a warning" in data.summary.warnings
    assert data.summary.instances["star"] == {"train": IMAGES, "val": IMAGES}
    assert data.stand_ins == ("oracle", "boxinst", "projection")


def test_the_gallery_shows_the_same_images_of_every_row(layout: Layout, params: Params) -> None:
    data = load_report_data(layout.root, params)
    assert data.ranked_by == "oracle"
    for scene in data.scenes:
        assert set(scene.predictions) == set(scene.quality) == {row.name for row in data.rows}
        assert scene.quality["oracle"] == pytest.approx(100)
        assert int(scene.image[0, 0, 0]) == 10 * scene.image_id
        assert scene.truth[0].mask is not None


def test_the_report_can_be_written(layout: Layout, params: Params) -> None:
    write_report(load_report_data(layout.root, params), layout.reports)
    with (layout.reports / "results.csv").open(encoding="utf-8", newline="") as file:
        assert [row["run"] for row in csv.DictReader(file)] == [*params.runs, *params.baselines]
    assert (layout.reports / "metrics" / "comparison.json").is_file()


def test_without_masks_the_headline_is_box_ap(tmp_path: Path, params: Params) -> None:
    layout = Layout(tmp_path, params.benchmark)
    make_benchmark(layout, params, masks=False)
    data = load_report_data(tmp_path, params)
    row = data.row("boxinst")
    assert data.headline == "box AP"
    assert row.metrics["AP"] is None
    assert row.score is not None
    assert any("needs ground-truth masks" in line for line in row.not_computed)
    write_report(data, layout.reports)


def test_a_missing_file_and_another_layout_are_one_line(layout: Layout, params: Params) -> None:
    write_json(layout.metrics("boxinst"), {"mask": {}})
    with pytest.raises(UserError, match="do not fit"):
        load_report_data(layout.root, params)
    layout.metrics("boxinst").unlink()
    with pytest.raises(UserError, match=r"boxinst\.json: file not found"):
        load_report_data(layout.root, params)
