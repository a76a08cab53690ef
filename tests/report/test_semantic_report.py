"""The semantic part of the report: on the page, in Markdown and csv, beside instances and alone."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.report.data import ReportData
from pipeline.report.markdown import report_md
from pipeline.report.page import page_html
from pipeline.report.semantic_data import LabelMaps
from pipeline.report.semantic_tables import content, floor_text, summary, tile, warnings
from pipeline.report.table import results_csv
from pipeline.report.write import write_report
from tests.report.made_up import make_data
from tests.report.made_up_maps import make_label_maps

MAPS = make_label_maps()
BOTH = replace(make_data(scenes=1), label_maps=MAPS)
ALONE = replace(
    BOTH,
    rows=(),
    differences=(),
    mask_iou_differences=(),
    pseudo_labels=(),
    training_scenes=(),
    scenes=(),
    curves={},
    stand_ins=(),
    ranked_by="",
)


def test_the_best_row_from_weak_labels_is_the_headline() -> None:
    assert summary(MAPS) == (
        "Of label maps: “SPML, points”, trained on points, reaches 58.2 mIoU, 81.6 % of the 71.3 of “Labels"
        " of all pixels”, trained on pixels; 95 % interval 60 to 85 %."
    )
    assert tile(MAPS) == ("of the oracle's mIoU, reached by SPML, points", "82 %", "95 %: 60 to 85 %")
    oracle = replace(MAPS, rows=MAPS.rows[:1])
    assert summary(oracle) == (
        "Of label maps: “Labels of all pixels”, trained on pixels, reaches 71.3 mIoU (95 % interval 69.2 to"
        " 73.2)."
    )
    assert tile(oracle) == ("mIoU of Labels of all pixels", "71.3", "95 %: 69.2 to 73.2")
    assert (summary(replace(MAPS, rows=())), tile(replace(MAPS, rows=()))) == ("", None)


def test_warnings_name_noise_seeds_and_stand_ins() -> None:
    lines = warnings(MAPS)
    assert "“SPML, tags <b>” and “SPML, points”" in lines[0]
    assert "“Labels of all pixels”" not in lines[0]
    assert "one seed each" in lines[1]
    assert lines[2].endswith("spml_point.")
    row = replace(MAPS.rows[0], not_computed=("IoU of star: no pixel of it",), seeds=(0, 1))
    first, *_ = warnings(replace(MAPS, rows=(row,), differences=(), stand_ins=()))
    assert first == "Not computed for “Labels of all pixels”: IoU of star: no pixel of it"


def test_rows_are_read_against_the_commonest_class_everywhere() -> None:
    maps = MAPS
    confusion = np.array([[50, 10, 0, 0], [5, 15, 0, 0], [0, 0, 0, 0], [10, 0, 0, 10]])
    told = replace(maps, rows=(replace(maps.rows[0], confusion=confusion), *maps.rows[1:]))
    name, score = told.floor or ("", 0.0)
    assert name == told.classes.names[0]
    assert score == pytest.approx(100 * (60 / 100) / 3)  # the third class has no ground truth
    assert (
        floor_text(told)
        == f"On the validation images, a map that says {name} everywhere has an mIoU of 20.0."
    )
    turned = replace(told, rows=(replace(told.rows[0], confusion=confusion[::-1]),))
    assert (turned.floor or ("", 0.0))[0] == told.classes.names[3]
    nothing = replace(maps, rows=(replace(maps.rows[0], confusion=np.zeros((4, 4), np.int64)),))
    assert floor_text(nothing) == floor_text(replace(maps, rows=())) == ""


def test_what_is_of_other_images_is_said() -> None:
    assert not [line for line in warnings(MAPS) if "another number of images" in line]
    first, *others = MAPS.rows
    fewer = replace(MAPS, rows=(replace(first, train_images=600), *others))
    told = [line for line in warnings(fewer) if "another number of images" in line]
    names = [row.title for row in MAPS.rows if row.oracle == first.name and row.name != first.name]
    names = names if first.is_oracle else [first.title]
    assert len(told) == 1
    assert all(f"“{name}”" in told[0] for name in names)
    shares = replace(MAPS, sets=(replace(MAPS.sets[0], images=1500), *MAPS.sets[1:]))
    (added,) = set(warnings(shares)) - set(warnings(MAPS))
    assert added.startswith("Label sets of different images are not compared")


def test_columns_without_a_figure_are_left_out() -> None:
    plain = {key: value for key, value in MAPS.rows[0].figures.items() if "crf" not in key}
    rows = tuple(replace(row, figures=plain) for row in MAPS.rows)
    labels = [label for label, _, _ in content(replace(MAPS, rows=rows))["columns"]]
    assert "mIoU" in labels
    assert "mIoU + CRF" not in labels
    assert "CRF gain" not in labels


@pytest.mark.parametrize("data", [BOTH, ALONE], ids=["both tasks", "alone"])
def test_the_page_shows_rows_sets_and_figures(data: ReportData) -> None:
    page = page_html(data)
    section = page[page.index('<section id="label-maps">') : page.index('<section id="data">')]
    for text in ("SPML, points", "58.2", "56.1 to 60.1", "81.6 %", "cam_tags", "53.6", "beyond noise"):
        assert text in section, text
    assert section.count("<svg") == 4, "cost, two confusions, one learning curve"
    assert section.count('src="data:image/png;base64,') == 1 + len(MAPS.priors)
    assert "<code>segments@fine</code>: How fine &lt;was&gt; made_of it." in section
    assert section.index("segments@fine") < section.index("cams@cam_tags") < section.index("cams@boxed")
    assert "SPML, tags &lt;b&gt;" in section
    assert "tags <b>" not in page
    assert "Of label maps: " in page
    assert ('<section id="comparison">' in page) == bool(data.rows)
    assert "No mask AP could be computed" not in page


def test_markdown_and_csv_have_the_rows(tmp_path: Path) -> None:
    write_report(BOTH, tmp_path)
    files = {path.name for path in (tmp_path / "figures").iterdir()}
    assert files >= {
        "label_map_cost.png",
        "confusion_spml_point.png",
        "confusion_pixel_oracle.png",
        "label_map_curves.png",
        "label_maps.png",
        "segments-fine.png",
        "cams-cam_tags.png",
        "cams-boxed.png",
    }
    assert (tmp_path / "figures" / "cams-boxed.png").read_bytes() == MAPS.priors[2].png
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| SPML, points | points | 58.2<br><sub>56.1 to 60.1</sub> | 81.6 %" in text
    assert "![Which classes SPML, points takes for which](figures/confusion_spml_point.png)" in text
    assert "| spread_tags | cam_tags | +3.4 | 2.6 to 4.2 | beyond noise |" in text.replace("\\_", "_")
    assert "cams@cam\\_tags: How cam\\_tags &lt;was&gt; made\\_of it." in text
    linked = re.findall(r"!\[.*\]\((figures/.*)\)", text)
    assert "figures/segments-fine.png" in linked
    assert all((tmp_path / name).is_file() for name in linked)
    rows = {row["run"]: row for row in csv.DictReader(io.StringIO(results_csv(BOTH)))}
    point = rows["spml_point"]
    assert (point["task"], point["supervision"], point["AP"]) == ("semantic", "points", "")
    assert (point["mIoU"], point["mIoU_crf"], point["retention"]) == ("58.20", "59.70", "81.6")
    assert (point["ci_low"], point["ci_high"]) == ("56.10", "60.10")
    assert point["labelled_fraction"] == "0.4"
    assert floor_text(MAPS) in text
    assert rows["oracle"]["task"] == "instances"


def test_label_sets_without_rows_are_a_report_too() -> None:
    """Seeds can be scored before anything is trained on them."""
    sets_only: LabelMaps = replace(
        MAPS, rows=(), differences=(), crf_differences=(), curves={}, scenes=(), shown="", stand_ins=()
    )
    data = replace(ALONE, label_maps=sets_only)
    page = page_html(data)
    assert "cam_tags" in page
    assert "map-results" not in page
    assert "cam\\_tags" in report_md(data, [])


def test_previews_without_rows_are_a_report_too() -> None:
    """Regions and maps can be looked at before anything is trained on them."""
    alone = replace(
        MAPS,
        rows=(),
        differences=(),
        crf_differences=(),
        sets=(),
        set_differences=(),
        curves={},
        scenes=(),
        shown="",
        stand_ins=(),
    )
    page = page_html(replace(ALONE, label_maps=alone))
    assert "Regions and seeds" in page
    assert "Networks that say" not in page
    without = replace(ALONE, label_maps=replace(MAPS, priors=()))
    assert "Regions and seeds" not in page_html(without) + report_md(without, [])
    assert "segments-fine.png" not in report_md(BOTH, [])


def test_without_the_semantic_task_nothing_is_said_of_it() -> None:
    data = make_data(scenes=1)
    assert "abel maps" not in page_html(data)
    assert "abel maps" not in report_md(data, [])
