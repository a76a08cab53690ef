"""From the files that the stages write to the report: the contract between evaluation and report."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from pipeline.data.prepare import write_summary
from pipeline.errors import UserError
from pipeline.files import write_json
from pipeline.layout import Layout
from pipeline.params import Distilled, Params, Sam, Split
from pipeline.report.comparison import headline_difference, sees
from pipeline.report.data import Interval, Separation
from pipeline.report.load import load_report_data
from pipeline.report.series import all_series
from pipeline.report.write import write_report
from tests.report.benchmark_files import IMAGES, make_annotations, make_benchmark


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
