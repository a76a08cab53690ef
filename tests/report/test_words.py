"""The result in words must say what the figures say, and nothing more."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_up import make_data, make_pseudo_labels, make_row

from pipeline.report.comparison import sees
from pipeline.report.data import Difference, Interval, ReportData
from pipeline.report.words import annotated, number, signed, span, summary, warnings

DATA = make_data(scenes=0)


def with_rows(*names: str, **changes: object) -> ReportData:
    """The fixture with these rows alone, `changes` applied to each."""
    rows = tuple(replace(make_row(name), **changes) for name in names)  # type: ignore[arg-type]
    return replace(DATA, rows=rows, differences=(), mask_iou_differences=(), stand_ins=())


def test_summary_states_retention_both_figures_and_the_interval() -> None:
    text = summary(DATA)
    assert "“BoxInst”, trained on boxes alone, reaches 91 % of its oracle “CondInst, masks”" in text
    assert "(46.1 of 50.8 mask AP; 95 % interval 85 to 96 %)" in text
    assert "“GrabCut in the boxes of BoxInst”, 34.6 AP (11.5 below “BoxInst”)" in text


def test_summary_marks_differences_within_the_noise() -> None:
    close = replace(DATA.differences[0], first="projection", second="boxinst", within_noise=True)
    assert "(10.0 below “BoxInst”, within the noise)" in summary(replace(DATA, differences=(close,)))


def test_summary_without_an_oracle_claims_no_retention() -> None:
    text = summary(with_rows("boxinst", oracle="none", retention=None, retention_interval=None))
    assert text.startswith("“BoxInst”, trained on boxes, reaches 46.1 mask AP (95 % interval 42.7 to 49.2)")
    assert "oracle's that is, is not known" in text


def test_summary_of_an_oracle_alone_and_of_nothing() -> None:
    assert summary(with_rows("oracle")).startswith(
        "“CondInst, masks”, trained on masks, reaches 50.8 mask AP"
    )
    assert "No mask AP could be computed" in summary(with_rows("boxinst", metrics={}))


def test_box_figures_are_called_box_figures() -> None:
    assert "52.3 box AP" in summary(
        with_rows("boxinst", headline="box_AP", oracle="none", retention=None, retention_interval=None)
    )


def test_a_labeler_is_told_apart_from_the_rows_with_ap() -> None:
    text = summary(DATA)
    assert text.endswith(
        "Given the ground-truth boxes: “MAL labeler”, 83.1 mask IoU (95 % interval 82.2 to 83.9)."
    )
    assert "“MAL labeler”, 83.1 AP" not in text


def test_a_run_on_pseudo_labels_says_whose() -> None:
    text = summary(with_rows("oracle", "mal", "on_mal"))
    assert "“CondInst on MAL masks”, trained on boxes alone, through the masks of “MAL labeler”" in text


def test_a_part_of_the_masks_is_weak_supervision() -> None:
    data = with_rows("oracle", "on_mal", supervision="masks", through="")
    few = replace(data.rows[1], labelled_fraction=0.04)
    text = summary(replace(data, rows=(data.rows[0], few)))
    assert text.startswith("“CondInst on MAL masks”, trained on masks of 4 % of the images, reaches 87 %")
    assert "“CondInst, masks”, trained on masks (44.2 of 50.8" in text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.04, "4 %"), (473 / 118_287, "0.4 %"), (144 / 2975, "4.84 %"), (11_828 / 118_287, "10 %")],
)
def test_percentages_for_people(fraction: float, text: str) -> None:
    row = replace(make_row("oracle"), labelled_fraction=fraction)
    assert (sees(row), annotated(row)) == (f"masks, {text}", f"masks of {text} of the images")
    assert sees(replace(row, kind="baseline")) == f"masks, {text}, no training"


def test_a_labeler_alone_leads_by_its_mask_iou() -> None:
    text = summary(with_rows("mal"))
    assert text == "“MAL labeler”, trained on boxes, reaches 83.1 mask IoU (95 % interval 82.2 to 83.9)."
    assert "another seed can move mask IoU" in " ".join(warnings(with_rows("mal")))


def test_a_labeler_whose_masks_cannot_be_measured_is_not_praised() -> None:
    nothing = with_rows("mal", metrics={"mask_iou": None}, interval=None)
    assert summary(nothing).startswith("No mask IoU could be computed.")


def test_mask_iou_within_the_noise_of_a_labeler_is_a_warning() -> None:
    near = Difference("mal", "oracle", 0.4, Interval(-0.5, 1.2), True)
    lines = warnings(replace(DATA, mask_iou_differences=(near,)))
    assert any(
        line.startswith("These differences of mask IoU") and "“MAL labeler” and “CondInst, masks”" in line
        for line in lines
    )
    far = replace(near, first="boxinst")  # AP is what these two are compared by
    lines = warnings(replace(DATA, mask_iou_differences=(far,)))
    assert not any("differences of mask IoU" in line for line in lines)


def test_many_differences_within_the_noise_are_counted() -> None:
    near = [replace(item, within_noise=True) for item in DATA.differences[:7]]
    (line,) = [line for line in warnings(replace(DATA, differences=tuple(near))) if "mask AP lie" in line]
    assert line.count("95 % interval") == 5
    assert line.endswith("; and 2 more, see the differences.")


def test_warnings_name_noise_seeds_stand_ins_and_data() -> None:
    lines = warnings(DATA)
    assert "“BoxInst, projection term alone” and “GrabCut in the boxes of BoxInst” (1.5 points" in lines[1]
    assert lines[0].startswith("Not computed for “MAL labeler”: AP: the run gives masks to given boxes")
    assert lines[2].startswith(
        "“BoxInst, projection term alone” and “MAL labeler” were trained with one seed."
    )
    assert "stands in for downloaded weights" in lines[3]
    assert lines[4] == "Data: 3 train images have no object"
    assert len(lines) == 5


def test_a_set_labelled_in_another_way_than_the_row_is_a_warning() -> None:
    made = make_pseudo_labels()
    assert not any("in another way" in line for line in warnings(replace(DATA, pseudo_labels=(made,))))
    other = replace(made, unlike_row=("flip", "thresholds"))
    (line,) = [line for line in warnings(replace(DATA, pseudo_labels=(other,))) if "in another way" in line]
    assert line.startswith("“MAL labeler” made the masks of mal_masks in another way than those of its row")
    assert "pseudo_labels.mal_masks.labeling and predict.labeling differ in flip and thresholds" in line


def test_missing_figures_come_first_and_once() -> None:
    reason = "mask: needs ground-truth masks, which 2 of 9 annotations lack"
    data = with_rows("oracle", "boxinst", not_computed=(reason,))
    assert warnings(data)[0] == f"Not computed: {reason}"
    assert sum(reason in line for line in warnings(data)) == 1


def test_one_seed_everywhere_is_said_in_one_line() -> None:
    assert any(
        line.startswith("Every run was trained with one seed") for line in warnings(with_rows("projection"))
    )


def test_numbers_for_people() -> None:
    assert number(-3.25) == "−3.2"
    assert number(-0.01) == "0.0"
    assert number(None) == "–"
    assert [signed(points) for points in (3.25, -3.25, 0.04, -0.04)] == ["+3.2", "−3.2", "0.0", "0.0"]
    assert span(Interval(-1.0, 2.5)) == "−1.0 to 2.5"
