"""Hours of annotation: sourced, counted from labels, and what they buy."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_up import make_data, make_row, make_split_data

from pipeline.report.annotation_cost import (
    annotation_costs,
    cost_lines,
    cost_meaning,
    cost_text,
    headings,
    hours,
    read_paces,
    unbeaten,
)
from pipeline.report.annotation_cost_figure import cost_figure
from pipeline.report.figures import settings

DATA = make_split_data()


def test_every_pace_has_a_source_and_the_first_of_a_kind_is_the_fastest() -> None:
    paces = read_paces()
    assert all(pace.source and pace.way and pace.seconds > 0 for pace in paces)
    first = {pace.supervision: pace.seconds for pace in reversed(paces)}
    assert first == {"masks": 79.2, "boxes": 7.0}
    assert all(pace.seconds >= first[pace.supervision] for pace in paces)


def test_hours_are_labels_times_seconds() -> None:
    costs = {cost.row.name: cost for cost in annotation_costs(DATA)}
    assert costs["oracle"].hours == pytest.approx(5346 * 79.2 / 3600)
    assert (costs["boxinst"].hours, costs["boxinst"].most) == (
        pytest.approx(5346 * 7 / 3600),
        pytest.approx(5346 * 35 / 3600),
    )
    assert costs["guided_4"].hours == costs["few_4"].hours == pytest.approx(214 * 79.2 / 3600)
    assert costs["on_mal"].hours == costs["boxinst"].hours  # people drew boxes for it
    assert not {"fill", "grabcut", "mal"} & costs.keys()


def test_rows_come_by_cost_and_the_best_of_a_cost_first() -> None:
    assert [cost.row.name for cost in annotation_costs(DATA)][:5] == [
        "guided_1",
        "few_1",
        "guided_4",
        "mean_teacher_4",
        "few_4",
    ]


def test_the_same_cost_of_all_rows_is_nothing_to_show() -> None:
    assert annotation_costs(replace(DATA, rows=(make_row("boxinst"), make_row("projection")))) == []
    assert annotation_costs(replace(DATA, rows=())) == []
    unknown = replace(make_row("boxinst"), labelled_objects=None)
    assert annotation_costs(replace(DATA, rows=(make_row("oracle"), unknown))) == []


def test_rows_that_none_is_better_than_for_their_hours() -> None:
    costs = annotation_costs(DATA)
    assert [cost.row.name for cost in unbeaten(costs)] == ["guided_1", "guided_4", "boxinst", "oracle"]
    assert cost_text(DATA, costs).endswith(
        "“BoxInst” (boxes: 10 h, 46.1 mask AP); “CondInst, masks” (masks: 118 h, 50.8 mask AP)."
    )


def test_a_line_has_a_cell_for_every_heading() -> None:
    lines = {row.name: cells for row, cells in cost_lines(annotation_costs(DATA))}
    labels = [label for label, _ in headings(DATA)]
    boxinst = dict(zip(labels, lines["boxinst"], strict=True))
    assert (boxinst["Drawn"].text, boxinst["Drawn"].note) == ("5,346", "boxes")
    assert (boxinst["Hours"].text, boxinst["Hours"].note) == ("10", "up to 52")
    assert (boxinst["mask AP"].text, boxinst["mask AP"].note) == ("46.1", "42.7 to 49.2")
    assert lines["few_1"][1].note == ""


def test_sources_and_what_is_not_counted_are_told() -> None:
    text = cost_meaning()
    for word in ("79.2 s", "arXiv 1405.0312", "7 s", "arXiv 1708.02750", "35 s", "Finding and naming"):
        assert word in text


@pytest.mark.parametrize(
    ("value", "text"), [(0.58, "0.6"), (9.96, "10"), (117.6, "118"), (18925.5, "18,926")]
)
def test_hours_for_people(value: float, text: str) -> None:
    assert hours(value) == text


def test_the_figure_names_the_unbeaten_rows_in_bold() -> None:
    for data in (DATA, make_data(scenes=0)):
        with settings():
            costs = annotation_costs(data)
            (axes,) = cost_figure(data, costs).axes
        bold = {text.get_text() for text in axes.texts if text.get_fontweight() == "bold"}
        assert len(bold) == len(unbeaten(costs))
        assert axes.get_xscale() == "log"
        points = [line for line in axes.lines if line.get_marker() in ("o", "s")]
        assert len(points) == len(costs)
