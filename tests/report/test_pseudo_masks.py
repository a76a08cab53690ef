"""The masks that teachers gave their students in the report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up import make_data

from pipeline.errors import UserError
from pipeline.files import write_json
from pipeline.layout import Layout
from pipeline.report.data import Curve, ReportData
from pipeline.report.markdown import report_md
from pipeline.report.page import page_html
from pipeline.report.pseudo_masks import (
    ACCEPTED,
    HEADINGS,
    MASK_IOU,
    MEANING,
    load_pseudo_masks,
    pseudo_mask_lines,
)
from pipeline.report.write import draw_pictures

ROWS = [
    {"step": 200, "boxes": 40, "accepted": 50.0, "weight": 0.5, "compared": 20, "mask_iou": None},
    {"step": 400, "boxes": 40, "accepted": 75.0, "weight": 0.6, "compared": 30, "mask_iou": 61.5},
    {"step": 600, "boxes": 40, "accepted": 90.0, "weight": 0.7, "compared": 36, "mask_iou": 71.5},
]


@pytest.fixture
def curves(tmp_path: Path) -> tuple[Curve, ...]:
    layout = Layout(tmp_path, "demo")
    better = [{**row, "accepted": row["accepted"] + 2} for row in ROWS]
    write_json(layout.pseudo_mask_quality("boxinst"), {"1": better, "0": ROWS})
    return load_pseudo_masks(layout, "boxinst")


@pytest.fixture
def data(curves: tuple[Curve, ...]) -> ReportData:
    return replace(make_data(scenes=0), pseudo_masks={"boxinst": curves})


def test_what_was_measured_is_read(curves: tuple[Curve, ...]) -> None:
    assert [curve.seed for curve in curves] == [0, 1]
    assert curves[0].steps.tolist() == [200, 400, 600]
    assert curves[0].values[ACCEPTED].tolist() == [50, 75, 90]
    np.testing.assert_array_equal(curves[0].values[MASK_IOU], [np.nan, 61.5, 71.5])


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"boxinst\.json"):
        load_pseudo_masks(Layout(tmp_path, "demo"), "boxinst")


def test_rows_show_the_last_figures_and_the_first_ones_below(data: ReportData) -> None:
    ((row, cells),) = pseudo_mask_lines(data)
    assert (row.name, len(cells)) == ("boxinst", len(HEADINGS))
    assert [(cell.text, cell.note) for cell in cells] == [
        ("91.0", "51.0 by step 200"),
        ("71.5", "61.5 by step 400"),
    ]


def test_page_markdown_and_figure_show_them(data: ReportData) -> None:
    pictures = draw_pictures(data)
    page, text = page_html(data), report_md(data, pictures)
    assert "pseudo_masks.png" in pictures
    assert "](figures/pseudo_masks.png)" in text
    assert page.count("Masks that teachers gave, over the training") == 2
    for shown in (page, text):
        assert MEANING in shown
        assert "51.0 by step 200" in shown


def test_reports_without_any_say_nothing(data: ReportData) -> None:
    nothing = (Curve(0, np.array([]), {ACCEPTED: np.array([]), MASK_IOU: np.array([])}),)
    for masks in ({}, {"boxinst": nothing}):
        bare = replace(data, pseudo_masks=masks)
        assert "teachers gave" not in page_html(bare) + report_md(bare, draw_pictures(bare))
