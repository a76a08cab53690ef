"""Over-segmentations and labels from CAMs in the report: which are shown, and what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline import params
from pipeline.errors import UserError
from pipeline.files import write_json
from pipeline.layout import Layout
from pipeline.params_file import load_params
from pipeline.report.priors import labels_text, load_priors, regions, segments_text
from tests.report.prior_files import FIGURES

CUT = {"min_region": 0, "most": 255, "processes": 1}
GRADIENT = {"kind": "gradient", "sigma": 1.5}
BOUNDARY = {"kind": "mean_boundary", "oriented": False}
TAGS = {"kind": "cam_tags", "cams": "walked", "labels": "tags", "least_score": 0.2, "processes": 1}


@pytest.fixture(scope="module")
def demo(root: Path) -> params.Params:
    return load_params(root / "presets" / "demo.yaml")


@pytest.fixture
def layout(tmp_path: Path, demo: params.Params) -> Layout:
    """The previews of the demo's rows."""
    layout = Layout(tmp_path, demo.benchmark)
    for name in demo.all_segments:
        write_json(layout.preview_figures("segments", name), FIGURES)
        layout.preview("segments", name).write_bytes(b"regions")
    for name in demo.cam_labels:
        write_json(layout.preview_figures("cams", name), {"images": 1500, "labelled": 0.8412})
        layout.preview("cams", name).write_bytes(name.encode())
    return layout


def test_each_row_has_its_picture_its_stage_and_its_figures(layout: Layout, demo: params.Params) -> None:
    shown = load_priors(layout, demo)
    assert [(prior.stage, prior.png, prior.file) for prior in shown] == [
        ("segments@gradient", b"regions", "segments-gradient.png"),
        ("tag_cam_labels@cam_tags", b"cam_tags", "cams-cam_tags.png"),
        ("box_cam_labels@cam_boxes", b"cam_boxes", "cams-cam_boxes.png"),
    ]
    assert shown[0].text.startswith("2 to 3 regions in each of 3 training images, 2.5 on average. Contours")
    assert shown[1].text.endswith("84.1 % of the pixels of 1,500 training images have a label.")
    assert "“boxes”" in shown[2].text


def test_a_table_of_the_users_files_is_named(layout: Layout, demo: params.Params) -> None:
    contours = {"kind": "files", "path": "data/contours"}
    cut = {"kind": "level", "level": 0.1}
    row = params.FileSegments.model_validate(
        {"contours": contours, "hierarchy": BOUNDARY, "cut": cut, **CUT, "min_region": 12}
    )
    changed = demo.model_copy(update={"segments": {}, "file_segments": {"gradient": row}})
    first, *_ = load_priors(layout, changed)
    assert first.stage == "file_segments@gradient"
    assert first.text.endswith(
        "Contour maps from data/contours; regions merged across the weakest mean boundary first; borders of a"
        " strength above 0.1 are kept; regions below 12 pixels join a neighbour."
    )


@pytest.mark.parametrize("ending", [".png", ".json"])
def test_a_missing_preview_is_one_line(layout: Layout, demo: params.Params, ending: str) -> None:
    layout.preview("cams", "cam_tags").with_suffix(ending).unlink()
    with pytest.raises(UserError, match=f"cams-cam_tags{ending}") as refused:
        load_priors(layout, demo)
    assert "dvc repro" in str(refused.value)


def test_equal_counts_of_regions_are_said_once() -> None:
    figures = {"images": 1500, "fewest": 80, "mean": 80.0, "most": 80}
    assert regions(figures) == "80 regions in each of 1,500 training images."


@pytest.mark.parametrize(
    ("contours", "hierarchy", "text"),
    [
        (GRADIENT, BOUNDARY, "brightness and colour (sigma 1.5); regions merged across"),
        (
            {"kind": "built_in", "words": 12, "scales": 1, "spectral": 0.0},
            {"kind": "area"},
            "brightness, colour and texture; watershed by area; cut at 40 regions.",
        ),
        (
            {"kind": "hed", "path": "data/hed.pth"},
            {"kind": "volume"},
            "weights data/hed.pth; watershed by volume",
        ),
    ],
)
def test_an_over_segmentation_is_told_in_words(contours: Any, hierarchy: Any, text: str) -> None:
    kind = params.FileSegments if contours["kind"] == "hed" else params.BuiltInSegments
    cut = {"kind": "count", "count": 40}
    row = kind.model_validate({"contours": contours, "hierarchy": hierarchy, "cut": cut, **CUT})
    assert text in segments_text(row)


@pytest.mark.parametrize(
    ("background", "text"),
    [
        ({"kind": "power", "alpha": 6.0}, "whose score is (1 − greatest map) to the power of 6; it is"),
        ({"kind": "constant", "score": 0.3}, "whose score is 0.3 everywhere; it is unlabelled"),
    ],
)
def test_labels_of_tags_are_told_with_their_thresholds(background: Any, text: str) -> None:
    row = params.TagCamLabels.model_validate({**TAGS, "background": background})
    assert labels_text(row).startswith("From the class activation maps “walked” of the tags “tags”.")
    assert text in labels_text(row)
    assert labels_text(row).endswith("below 0.2.")
