"""The label-efficiency curve: its axes, and names that can be read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_up import make_split_data, make_split_row
from matplotlib.figure import Figure

from pipeline.report.data import ReportData
from pipeline.report.efficiency_figure import efficiency_figure, efficiency_panels
from pipeline.report.figures import settings
from pipeline.report.series import all_series

DATA = make_split_data()


def drawn(data: ReportData) -> Figure:
    with settings():
        return efficiency_figure(data, all_series(data))


def texts(figure: Figure) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in figure.axes[0].texts]


def test_shares_and_numbers_of_images_are_written_on_a_log_axis() -> None:
    (axes,) = drawn(DATA).axes
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "1 %\n15",
        "4 %\n60",
        "10 %\n150",
        "100 %\n1,500",
    ]
    assert axes.get_ylabel() == "mask AP, %"


def test_shares_too_close_to_be_read_are_not_written() -> None:
    near = replace(make_split_row("few_4"), name="near", labelled_fraction=0.045, labelled_images=68)
    (axes,) = drawn(replace(DATA, rows=(*DATA.rows, near))).axes
    assert "4 %\n60" in [label.get_text() for label in axes.get_xticklabels()]
    assert len(axes.get_xticklabels()) == 4


def test_every_series_has_a_point_per_row_at_its_share_and_figure() -> None:
    (axes,) = drawn(DATA).axes
    lines = [line for line in axes.lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in lines] == [4, 1, 3]
    assert lines[2].get_xdata() == pytest.approx([1, 4, 10], rel=0.15)  # moved a little to the side
    assert list(lines[2].get_ydata()) == [16.1, 31.9, 37.8]
    assert len({float(line.get_xdata()[0]) for line in lines}) == 3


def test_names_stand_beside_the_lines_and_the_oracle_has_one() -> None:
    assert sorted(texts(drawn(DATA))) == [
        "Guided Distillation",
        "Mask2Former",
        "Mean teacher, 4\N{NO-BREAK SPACE}% of the masks",
        "oracle",
    ]
    distilled = tuple(row for row in DATA.rows if row.name == "full" or row.name.startswith("guided"))
    assert "oracle: Mask2Former, masks" in texts(drawn(replace(DATA, rows=distilled)))


def test_names_that_find_no_room_are_a_legend_instead() -> None:
    """Many lines on top of each other leave no room beside them."""
    rows = [
        replace(
            make_split_row(f"few_{share}"),
            name=f"{share}_{index}",
            method=f"method_{index}",
            title=f"Method {index}, {share} %",
        )
        for index in range(30)
        for share in (1, 4, 10)
    ]
    figure = drawn(replace(DATA, rows=tuple(rows), differences=()))
    assert texts(figure) == []
    assert len(figure.axes[0].get_legend().get_texts()) == 30


def test_each_model_has_a_panel_on_the_same_axes() -> None:
    other = [
        replace(
            make_split_row(name), name=f"{name}_other", model="other", oracle="none", labelled_fraction=share
        )
        for name, share in (("few_1", 0.02), ("few_4", 0.05))
    ]
    data = replace(DATA, rows=(*DATA.rows, *other))
    with settings():
        panels = efficiency_panels(data, all_series(data))
        together = efficiency_figure(data, all_series(data))
    assert list(panels) == ["mask2former_small", "other"]
    assert [axes.get_title(loc="left") for axes in together.axes] == list(panels)
    single = [figure.axes[0] for figure in panels.values()]
    for axes in (*single, *together.axes):
        assert axes.get_xlim() == single[0].get_xlim()
        assert axes.get_ylim() == single[0].get_ylim()
    assert drawn(DATA).axes[0].get_title(loc="left") == ""
