"""What labels of semantic segmentation cost, and mIoU over it."""

from __future__ import annotations

import pytest

from pipeline.report.data import Interval
from pipeline.report.figures import settings
from pipeline.report.semantic_cost import SemanticRow, costed, image_paces, pace_meaning
from pipeline.report.semantic_cost_figure import supervision_figure

ROWS = [
    SemanticRow("oracle", "pixels", 0, 68.0, Interval(65, 71), 69.0, is_oracle=True),
    SemanticRow("of tags", "tags", 1, 48.0, Interval(44, 52), 50.0),
    SemanticRow("maps alone", "tags", 2, 38.0),
    SemanticRow("of points", "points", 3, 55.0, Interval(51, 59)),
    SemanticRow("of scribbles", "scribbles", 4, 61.0),
    SemanticRow("of boxes", "boxes", 5, 60.0, crf=61.0),
    SemanticRow("of nothing", "dreams", 6, 99.0),
]


def test_seconds_follow_from_what_the_source_measured() -> None:
    """20 classes, of which 1.5 occur, and 2.8 objects per image; see the ways in the table."""
    paces = {kind: pace.seconds for kind, pace in image_paces().items()}
    absent = 20 - 1.5
    assert paces == {
        "tags": 20.0,
        "points": pytest.approx(absent + 1.5 * 2.4),
        "scribbles": pytest.approx(absent + 1.5 * 10.9, abs=0.06),
        "boxes": pytest.approx(absent + 2.8 * 7),
        "pixels": pytest.approx(absent + 2.8 * 79),
    }
    assert all(pace.source and pace.way for pace in image_paces().values())


def test_rows_are_ordered_by_cost_and_unknown_ones_left_out() -> None:
    assert [row.title for row in costed(ROWS)] == [
        "of tags",
        "maps alone",
        "of points",
        "of scribbles",
        "of boxes",
        "oracle",
    ]
    assert costed(ROWS[1:3]) == []


def test_the_text_names_the_source_of_each_kind_once() -> None:
    text = pace_meaning(ROWS)
    assert text.count("tags: 20.0 s") == 1
    assert text.count("1708.02750") == 1
    assert "dreams" not in text


def test_every_row_is_named_beside_its_point() -> None:
    with settings():
        figure = supervision_figure(ROWS)
        axes = figure.axes[0]
        named = {text.get_text().replace("\n", " ") for text in axes.texts}
        assert named == {row.title for row in costed(ROWS)}
        below = "".join(label.get_text() for label in axes.get_xticklabels())
        assert all(f"{kind}\n{pace.seconds:g} s" in below for kind, pace in image_paces().items())
        legend = [text.get_text() for text in figure.legends[0].get_texts()]
        assert legend == ["the oracle", "after a dense CRF"]


def test_without_oracle_and_crf_there_is_no_legend() -> None:
    with settings():
        assert not supervision_figure([ROWS[2], ROWS[3]]).legends
