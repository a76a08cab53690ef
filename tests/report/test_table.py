"""results.csv: columns, order and formatting that other programs rely on."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from made_up import make_data, make_row

from pipeline.csv_text import fixed
from pipeline.report.data import ReportData
from pipeline.report.table import RESULTS, results_csv


@pytest.fixture(scope="module")
def data() -> ReportData:
    return make_data(scenes=0)


def read(data: ReportData) -> dict[str, dict[str, str]]:
    return {row["run"]: row for row in csv.DictReader(io.StringIO(results_csv(data)))}


def test_columns_are_the_documented_ones(data: ReportData) -> None:
    assert results_csv(data).splitlines()[0] == (
        "run,task,method,model,supervision,labelled_fraction,labels,oracle,AP,AP50,AP75,APs,APm,APl,boundary_AP,"
        "mIoU,mIoU_crf,mask_iou,retention,ci_low,ci_high,train_images,params_million,seed"
    )
    assert len(RESULTS) == 24


def test_a_row_holds_means_intervals_and_all_seeds(data: ReportData) -> None:
    row = read(data)["boxinst"]
    assert (row["AP"], row["ci_low"], row["ci_high"]) == ("46.10", "42.70", "49.20")
    assert (row["retention"], row["seed"], row["labelled_fraction"]) == ("90.7", "0 1 2", "1")
    assert (row["train_images"], row["params_million"]) == ("1500", "0.713")


def test_masks_in_given_boxes_have_mask_iou_and_its_interval(data: ReportData) -> None:
    row = read(data)["mal"]
    assert (row["mask_iou"], row["ci_low"], row["ci_high"]) == ("83.10", "82.20", "83.90")
    assert {row[name] for name in ("AP", "AP50", "boundary_AP", "retention")} == {""}
    assert row["task"] == "masks_in_boxes"


def test_a_run_on_pseudo_labels_is_supervised_by_what_people_annotated(data: ReportData) -> None:
    row = read(data)["on_mal"]
    assert (row["supervision"], row["labels"]) == ("boxes", "mal_masks")


def test_what_does_not_apply_is_empty(data: ReportData) -> None:
    rows = read(data)
    assert {rows["boxinst"][name] for name in ("APl", "mIoU", "mIoU_crf")} == {""}
    assert {rows["grabcut"][name] for name in ("model", "labels", "train_images", "params_million")} == {""}


def test_figures_of_boxes_are_not_passed_off_as_mask_figures(data: ReportData) -> None:
    row = replace(make_row("boxinst"), headline="box_AP", metrics={"AP": None, "box_AP": 40.0})
    written = read(replace(data, rows=(row,)))["boxinst"]
    assert {written[name] for name in ("AP", "retention", "ci_low", "ci_high")} == {""}


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (0.0, "0.00"), (-0.001, "0.00"), (12.345, "12.35"), (-3.0, "-3.00")]
)
def test_fixed_decimals(value: float | None, text: str) -> None:
    assert fixed(value, 2) == text
