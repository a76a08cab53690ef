"""From the files that the stages write to the report: the contract between evaluation and report."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from pycocotools import mask as coco_mask

from pipeline.data.images import ImageRecord, write_zip_store
from pipeline.data.prepare import write_summary
from pipeline.errors import UserError
from pipeline.evaluation.comparison import compare
from pipeline.evaluation.run import evaluate_run, summarise_seeds
from pipeline.files import write_json
from pipeline.layout import Layout
from pipeline.params import Distilled, Params, PseudoLabels, Sam, Split
from pipeline.params_file import load_params
from pipeline.report.comparison import headline_difference, sees
from pipeline.report.curves import write_curve
from pipeline.report.data import Interval, Separation
from pipeline.report.load import load_report_data
from pipeline.report.series import all_series
from pipeline.report.write import write_report
from tests.workflow.repository import SEMANTIC

SIZE = 32
IMAGES = 4
SHIFT = {"oracle": 0, "boxinst": 1, "projection": 2, "fill": 3, "grabcut": 2, "mal": 1, "on_mal": 1}
SHIFT |= {"prompted": 2, "taught": 2, "taught.teacher": 1}


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
    matches = {}
    summaries: dict[str, dict[str, Any]] = {}
    for name in (*params.rows, *params.untrained):
        detections = make_detections(SHIFT[name])
        in_boxes = [{**item, "annotation_id": item["image_id"]} for item in detections]
        write_json(layout.predictions(name, 0) / "in_boxes.json", in_boxes)
        detects = name in params.untrained or params.trained[params.rows[name]].task == "instances"
        if detects:
            write_json(layout.predictions(name, 0) / "detections.json", detections)
        metrics, found = evaluate_run(annotations, detections if detects else None, in_boxes, params.evaluate)
        matches[name] = {0: found}
        summary = summarise_seeds({0: metrics}, {0: found}, params.evaluate)
        if params.rows.get(name, name) == name:
            summaries[name] = summary
        else:
            summaries[params.rows[name]]["teacher"] = summary
    for name, summary in summaries.items():
        write_json(layout.metrics(name), summary)
    for name in params.trained:
        write_curve(layout.curve(name), {0: [{"step": 20, "loss": 1.5, "learning_rate": 0.1}]})
        model = {"parameters": 712_345, "train_images": 1500, "environment": {"torch": "2.15.0"}}
        write_json(layout.model(name, 0) / "model.json", model)
    for name in params.separation:
        measured = {"clustering_score": 0.5, "boxes": 4, "without_mask": 0, "one_sided": 0}
        write_json(layout.separation(name), measured | {"seeds": {"0": 0.5}})
    for name in params.pseudo_mask_quality:
        row = {"step": 200, "boxes": 4, "accepted": 75.0, "weight": 0.5, "compared": 3, "mask_iou": 60.0}
        write_json(layout.pseudo_mask_quality(name), {"0": [row]})
    if params.pseudo_labels:
        boxes = make_annotations(masks=False)
        write_zip_store(layout.prepared / "train", map(make_image, range(1, IMAGES + 1)))
        write_json(layout.labels("boxes"), boxes)
    for name in params.pseudo_labels:
        write_json(layout.label_metrics(name), make_label_metrics(masks=masks))
        write_json(layout.labels(name), make_annotations(masks=True))
    settings = params.evaluate
    oracles = {row: params.trained[run].oracle for row, run in params.rows.items()}
    oracles |= {name: row.oracle for name, row in params.untrained.items()}
    write_json(
        layout.comparison, compare(matches, oracles, settings.bootstrap_samples, settings.bootstrap_seed)
    )


def make_label_metrics(*, masks: bool) -> dict[str, Any]:
    """What the evaluation of pseudo-labels says of 9 objects, one of them without a mask."""
    counts = {"objects": 9, "labelled": 8, "missing": [4], "empty": [], "without_truth": 0 if masks else 9}
    if not masks:
        reason = "mask_iou: needs ground-truth masks, which all 9 objects lack"
        return {**counts, "compared": 0, "not_computed": [reason]}
    ious = {"mean": 80.0, "small": 80.0, "medium": None, "large": None, "per_category": {"star": 80.0}}
    figures = {"mask_iou": ious, "half": 100.0, "all_objects": 71.1, "class_mean": 79.0}
    interval = {"mask_iou": [75.0, 85.0], "half": None}
    return {**counts, **figures, "compared": 8, "interval": interval, "not_computed": []}


@pytest.fixture(scope="module")
def params(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Params:
    """The demo's first rows, and a labeler with a run on its masks; the models' settings do not matter."""
    raw = yaml.safe_load((root / "presets" / "demo.yaml").read_text(encoding="utf-8"))
    for table in ("runs", "distilled", "baselines"):
        raw[table] = {name: row for name, row in raw[table].items() if name in SHIFT}
    raw["pseudo_labels"], raw["separation"], raw["pseudo_mask_quality"] = {}, [], []
    raw["evaluate"]["bootstrap_samples"] = 100
    for table in SEMANTIC:  # of instances alone
        raw[table] = [] if table == "scored_labels" else {}
    file = tmp_path_factory.mktemp("params") / "params.yaml"
    file.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    return with_labeler(load_params(file))


def with_labeler(params: Params) -> Params:
    runs = {name: run.model_copy(update={"seeds": (0,)}) for name, run in params.runs.items()}
    changed = {"title": "MAL", "task": "masks_in_boxes", "method": "mal", "oracle": "none"}
    runs["mal"] = runs["boxinst"].model_copy(update=changed)
    runs["on_mal"] = runs["oracle"].model_copy(update={"title": "On MAL masks", "labels": "mal_masks"})
    made = {"labeler": "mal", "seed": 0, "labels": "boxes", "labeling": params.predict.labeling}
    sets = {"mal_masks": PseudoLabels.model_validate(made)}
    listed = {"separation": ("mal",), "pseudo_mask_quality": ("boxinst",)}
    return params.model_copy(update={"runs": runs, "pseudo_labels": sets, **listed})


@pytest.fixture
def layout(tmp_path: Path, params: Params) -> Layout:
    layout = Layout(tmp_path, params.benchmark)
    make_benchmark(layout, params, masks=True)
    return layout


def test_sam_is_a_baseline_like_the_others(tmp_path: Path, params: Params) -> None:
    sam = Sam(title="SAM", detections="boxinst", oracle="oracle", weights="data/sam", device="cpu")
    more = params.model_copy(update={"sam": {"prompted": sam}})
    make_benchmark(Layout(tmp_path, params.benchmark), more, masks=True)
    data = load_report_data(tmp_path, more)
    row = data.row("prompted")
    assert (row.kind, row.method, row.supervision) == ("baseline", "sam", "boxes")
    assert row.settings["baseline"]["weights"] == "data/sam"
    assert row.score == data.row("grabcut").score
    assert data.rows[-1] is row


def test_rows_hold_what_evaluation_measured(layout: Layout, params: Params) -> None:
    data = load_report_data(layout.root, params)
    assert [row.name for row in data.rows] == [*params.runs, *params.untrained]
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
    assert len(data.differences) == 15
    assert "a warning" in data.summary.warnings
    assert data.summary.instances["star"] == {"train": IMAGES, "val": IMAGES}
    assert data.stand_ins == ("oracle", "boxinst", "projection", "mal", "on_mal")


def test_a_labeler_has_mask_iou_alone(layout: Layout, params: Params) -> None:
    data = load_report_data(layout.root, params)
    row = data.row("mal")
    assert (row.headline, row.task, data.headline, data.labelers) == (
        "mask_iou",
        "masks_in_boxes",
        "mask AP",
        (row,),
    )
    assert {name for name, value in row.metrics.items() if value is not None} == {"mask_iou"}
    assert row.seed_scores == {0: row.score}
    assert row.interval == row.mask_iou_interval
    assert row.interval.low <= row.score <= row.interval.high
    assert row.per_category["star"] == pytest.approx(row.score)
    assert row.not_computed == ("AP: the run gives masks to given boxes and detects nothing",)
    assert data.row("boxinst").mask_iou_interval is not None
    assert len(data.mask_iou_differences) == 21


def test_separation_is_read_of_the_runs_that_have_it(layout: Layout, params: Params) -> None:
    data = load_report_data(layout.root, params)
    assert data.row("mal").separation == Separation(0.5, {0: 0.5}, boxes=4, without_mask=0, one_sided=0)
    assert data.row("on_mal").separation is None


def test_pseudo_masks_are_read_of_the_runs_that_have_them(layout: Layout, params: Params) -> None:
    masks = load_report_data(layout.root, params).pseudo_masks
    assert list(masks) == ["boxinst"]
    assert masks["boxinst"][0].steps.tolist() == [200]


def test_a_run_on_pseudo_labels_is_supervised_by_their_boxes(layout: Layout, params: Params) -> None:
    data = load_report_data(layout.root, params)
    row = data.row("on_mal")
    assert (row.supervision, row.through, row.labels) == ("boxes", "mal", "mal_masks")
    assert (data.row("boxinst").through, data.row("oracle").supervision) == ("", "masks")
    assert row.settings["pseudo_labels"]["labeling"]["network"] == "student"


def test_a_run_on_a_part_of_the_masks_says_which_part(tmp_path: Path, params: Params) -> None:
    rows = {"few": Split(percent=4.0, rule="stratified", seed=0, pool="all")}
    runs = {**params.runs, "projection": params.runs["oracle"].model_copy(update={"labels": "few"})}
    baseline = params.baselines["grabcut"].model_copy(update={"detections": "projection"})
    changed = {
        "splits": rows,
        "runs": runs,
        "baselines": {"fill": params.baselines["fill"], "grabcut": baseline},
    }
    params, layout = params.model_copy(update=changed), Layout(tmp_path, params.benchmark)
    make_benchmark(layout, params, masks=True)
    write_json(layout.split_metrics("few"), {"images": 60, "of": 1500, "objects": 211})
    data = load_report_data(tmp_path, params)
    row = data.row("projection")
    assert (row.supervision, row.labelled_fraction, row.labels) == ("masks", 0.04, "few")
    assert (row.labelled_images, row.labelled_objects) == (60, 211)
    assert row.settings["split"]["percent"] == 4.0
    assert [sees(data.row(name)) for name in ("projection", "grabcut", "oracle", "fill")] == [
        "masks, 4 %",
        "masks, 4 %, no training",
        "masks",
        "boxes, no training",
    ]
    ((few, whole),) = (item.rows for item in all_series(data))
    assert (few, whole) == (row, data.row("oracle"))
    against = headline_difference(data, "projection", "oracle")
    assert against.difference == pytest.approx(row.score - whole.score)
    assert against.interval.low <= against.difference <= against.interval.high
    write_report(data, layout.reports)
    with (layout.reports / "results.csv").open(encoding="utf-8", newline="") as file:
        fractions = {line["run"]: line["labelled_fraction"] for line in csv.DictReader(file)}
    assert (fractions["projection"], fractions["oracle"], fractions["fill"]) == ("0.04", "1", "")


def with_taught(params: Params, network: str) -> Params:
    """A run with a student and a teacher on 4 % of the masks, of which `network` predicts."""
    few = Split(percent=4.0, rule="stratified", seed=0, pool="all")
    row = params.runs["oracle"].model_dump() | {"title": "Taught", "labels": "few", "teacher": "oracle"}
    taught = Distilled.model_validate(row | {"method": "guided_distillation"})
    predict = params.predict.model_copy(update={"network": network})
    changed = {"splits": {"few": few}, "distilled": {"taught": taught}, "predict": predict}
    return params.model_copy(update=changed)


def test_student_and_teacher_have_a_row_each(tmp_path: Path, params: Params) -> None:
    params, layout = with_taught(params, "both"), Layout(tmp_path, params.benchmark)
    make_benchmark(layout, params, masks=True)
    write_json(layout.split_metrics("few"), {"images": 60, "of": 1500, "objects": 210, "unlabelled": 1500})
    data = load_report_data(tmp_path, params)
    names = [row.name for row in data.rows]
    assert names[names.index("taught") + 1] == "taught.teacher"
    student, teacher = data.row("taught"), data.row("taught.teacher")
    assert (student.title, teacher.title) == ("Taught", "Taught, its teacher")
    assert student.score < teacher.score < 100
    assert teacher.score == data.row("boxinst").score
    assert student.retention == pytest.approx(student.score)
    assert (student.method, student.unlabelled_images) == ("guided_distillation", 1500)
    assert data.row("oracle").unlabelled_images is None
    assert sees(student) == sees(teacher) == "masks, 4 %, + unlabelled images"
    assert student.params_million == teacher.params_million
    assert set(data.curves) == set(params.trained)
    assert (student.network, teacher.network, data.row("oracle").network) == ("student", "teacher", "")
    write_report(data, layout.reports)
    with (layout.reports / "results.csv").open(encoding="utf-8", newline="") as file:
        lines = {line["run"]: line for line in csv.DictReader(file)}
    assert float(lines["taught.teacher"]["AP"]) == pytest.approx(teacher.score, abs=0.01)
    assert lines["taught"]["labelled_fraction"] == "0.04"
    assert "+ 1,500 unlabelled" in (layout.reports / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("network", "title"), [("student", "Taught"), ("teacher", "Taught, its teacher")])
def test_one_network_has_the_row_of_its_run(tmp_path: Path, params: Params, network: str, title: str) -> None:
    params, layout = with_taught(params, network), Layout(tmp_path, params.benchmark)
    make_benchmark(layout, params, masks=True)
    write_json(layout.split_metrics("few"), {"images": 60, "of": 1500, "objects": 210, "unlabelled": 1500})
    data = load_report_data(tmp_path, params)
    assert [row.title for row in data.rows if row.name.startswith("taught")] == [title]


def test_labels_are_counted_as_people_drew_them(tmp_path: Path, params: Params) -> None:
    """Crowd regions are no labels, and an object without a mask has a box alone."""
    layout = Layout(tmp_path, params.benchmark)
    make_benchmark(layout, params, masks=True)
    annotations = make_annotations(masks=True)
    annotations["annotations"][0]["iscrowd"] = 1
    del annotations["annotations"][1]["segmentation"]
    write_summary(layout.prepared, {"train": annotations, "val": annotations}, [])
    data = load_report_data(tmp_path, params)
    counts = {row.name: row.labelled_objects for row in data.rows}
    assert (counts["oracle"], counts["boxinst"], counts["on_mal"], counts["fill"]) == (2, 3, 3, None)
    assert data.row("boxinst").labelled_images == IMAGES


def test_pseudo_labels_are_read(layout: Layout, params: Params) -> None:
    (made,) = load_report_data(layout.root, params).pseudo_labels
    assert (made.name, made.labeler, made.boxes, made.seed) == ("mal_masks", "mal", "boxes", 0)
    assert (made.objects, made.missing, made.empty, made.compared) == (9, 1, 0, 8)
    assert made.figures == {
        "mask_iou": 80.0,
        "small": 80.0,
        "medium": None,
        "large": None,
        "half": 100.0,
        "class_mean": 79.0,
    }
    assert made.intervals == {"mask_iou": Interval(75.0, 85.0), "half": None}
    assert made.unlike_row == ()


@pytest.mark.parametrize(
    ("changes", "unlike"),
    [
        ({"flip": True, "thresholds": (0.1, 0.3, 0.5), "batch_size": 7}, ("flip",)),  # the CRF decides
        ({"refine": "none"}, ("refine",)),
        ({"batch_size": 7, "threads": 2}, ()),
    ],
)
def test_what_makes_other_masks_than_the_row_is_found(
    layout: Layout, params: Params, changes: dict[str, object], unlike: tuple[str, ...]
) -> None:
    assert params.predict.labeling.refine == "dense_crf"
    labeling = params.predict.labeling.model_copy(update=changes)
    made = params.pseudo_labels["mal_masks"].model_copy(update={"labeling": labeling})
    changed = params.model_copy(update={"pseudo_labels": {"mal_masks": made}})
    assert load_report_data(layout.root, changed).pseudo_labels[0].unlike_row == unlike


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


def test_the_report_can_be_written(layout: Layout, params: Params) -> None:
    write_report(load_report_data(layout.root, params), layout.reports)
    with (layout.reports / "results.csv").open(encoding="utf-8", newline="") as file:
        assert [row["run"] for row in csv.DictReader(file)] == [*params.runs, *params.untrained]
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
    assert data.ranked_by == "oracle"
    assert data.row("mal").score is None
    assert data.mask_iou_differences == ()
    assert data.pseudo_labels[0].figures == {}
    write_report(data, layout.reports)


def test_a_missing_file_and_another_layout_are_one_line(layout: Layout, params: Params) -> None:
    write_json(layout.metrics("boxinst"), {"mask": {}})
    with pytest.raises(UserError, match="do not fit"):
        load_report_data(layout.root, params)
    layout.metrics("boxinst").unlink()
    with pytest.raises(UserError, match=r"boxinst\.json: file not found"):
        load_report_data(layout.root, params)
