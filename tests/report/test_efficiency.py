"""Label efficiency: which rows make a line, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_up import SPLIT_ROWS, make_data, make_split_data, make_split_row

from pipeline.report.data import ReportData, Row
from pipeline.report.efficiency import (
    all_series,
    efficiency_text,
    headings,
    references,
    series_lines,
    supervised_twin,
)

DATA = make_split_data()


def with_rows(*rows: Row) -> ReportData:
    return replace(DATA, rows=rows, differences=())


def names(data: ReportData) -> dict[str, list[str]]:
    return {item.title: [row.name for row in item.rows] for item in all_series(data)}


def changed(name: str, section: str, **values: object) -> Row:
    row = make_split_row(name)
    return replace(row, settings={**row.settings, section: {**row.settings[section], **values}})


def test_a_series_is_a_method_and_model_over_shares_of_the_images() -> None:
    assert names(DATA) == {
        "Mask2Former": ["few_1", "few_4", "few_10", "full"],
        "Mean teacher, 4 % of the masks": ["mean_teacher_4"],
        "Guided Distillation": ["guided_1", "guided_4", "guided_10"],
    }
    assert all_series(DATA)[0].shares == pytest.approx([1, 4, 10, 100])
    assert [item.slot for item in all_series(DATA)] == [0, 1, 2]


def test_nothing_is_drawn_without_two_shares_of_one_series() -> None:
    assert all_series(make_data(scenes=0)) == []
    lone = [replace(make_split_row(name), oracle="none") for name in ("few_4", "guided_4")]
    assert all_series(with_rows(*lone)) == []
    assert len(all_series(with_rows(*lone, replace(make_split_row("guided_1"), oracle="none")))) == 2


@pytest.mark.parametrize(
    "other",
    [
        replace(make_split_row("few_10"), model="other"),
        changed("few_10", "split", rule="uniform"),
        changed("few_10", "split", seed=1),
        changed("few_10", "run", backbone="other"),
        changed("few_10", "method", mask_weight=2.0),
    ],
)
def test_what_differs_in_more_than_the_share_is_no_series(other: Row) -> None:
    rows = [replace(row, oracle="none") for row in (make_split_row("few_4"), other)]
    assert all_series(with_rows(*rows)) == []


def test_only_the_length_of_training_may_follow_the_share() -> None:
    longer = {"duration": "steps", "steps": 1, "batch_size": 4}
    other = changed("few_10", "method", train=longer)
    assert names(with_rows(make_split_row("few_4"), other)) == {"Mask2Former": ["few_4", "few_10"]}


def test_a_share_that_occurs_twice_parts_the_rows_by_their_settings() -> None:
    long = [
        replace(changed(name, "run", settings="long"), name=f"{name}_long") for name in ("few_4", "few_10")
    ]
    data = with_rows(make_split_row("few_4"), make_split_row("few_10"), *long)
    assert names(data) == {
        "Mask2Former (supervised)": ["few_4", "few_10"],
        "Mask2Former (long)": ["few_4_long", "few_10_long"],
    }


def test_a_series_ends_with_its_oracle_or_with_its_own_row_on_all_images() -> None:
    rows = [make_split_row(name) for name in ("few_4", "full")]
    other = replace(rows[1], name="other", oracle="other")
    ends = lambda *rows: all_series(with_rows(*rows))[0].rows[-1].name  # noqa: E731
    assert ends(rows[0], other, rows[1]) == "full"
    assert ends(replace(rows[0], oracle="none"), other) == "other"
    assert all_series(with_rows(rows[0], replace(rows[1], model="other"))) == []
    assert all_series(with_rows(rows[0], replace(rows[1], through="mal"))) == []
    assert all_series(with_rows(rows[0], replace(rows[1], supervision="boxes"))) == []


def test_the_oracle_is_a_reference_of_the_series_that_do_not_end_with_it() -> None:
    assert [row.name for row in references(DATA, all_series(DATA))] == ["full"]
    supervised = with_rows(make_split_row("few_4"), make_split_row("full"))
    assert references(supervised, all_series(supervised)) == []


@pytest.mark.parametrize(
    ("titles", "title"),
    [
        (("Student on 4 % of the masks", "Student on 10 % of the masks"), "Student"),
        (("Student, guided: 4 %", "Student, guided: 10 %"), "Student, guided"),
        (("4 % of the masks", "10 % of the masks"), "supervised, mask2former_small"),
    ],
)
def test_a_series_is_called_what_its_titles_begin_with(titles: tuple[str, str], title: str) -> None:
    rows = [
        replace(make_split_row(f"few_{share}"), title=text)
        for share, text in zip((4, 10), titles, strict=True)
    ]
    assert list(names(with_rows(*rows))) == [title]


def test_the_supervised_twin_has_the_same_labels_and_model() -> None:
    twins = {name: supervised_twin(DATA, DATA.row(name)) for name in SPLIT_ROWS}
    assert {name: twin.name for name, twin in twins.items() if twin} == {
        "mean_teacher_4": "few_4",
        "guided_1": "few_1",
        "guided_4": "few_4",
        "guided_10": "few_10",
    }
    alone = with_rows(make_split_row("guided_4"), replace(make_split_row("few_4"), model="other"))
    assert supervised_twin(alone, alone.rows[0]) is None


def test_a_line_says_how_a_row_stands_to_its_twin_and_to_its_oracle() -> None:
    lines = {row.name: cells for _, row, cells in series_lines(DATA, all_series(DATA))}
    labels = [label for label, _ in headings(DATA)]
    guided = dict(zip(labels, lines["guided_4"], strict=True))
    assert (guided["Images"].text, guided["Images"].note, guided["Labels"].text) == ("4 %", "60", "214")
    assert (guided["mask AP"].text, guided["mask AP"].note) == ("31.9", "29.0 to 35.1")
    against = guided["Against supervised"]
    assert (against.text, against.note) == ("+10.2", "7.3 to 13.4")
    assert (guided["Against the oracle"].text, guided["Against the oracle"].value) == (
        "−13.3",
        pytest.approx(-13.3),
    )
    teacher = dict(zip(labels, lines["mean_teacher_4"], strict=True))
    assert teacher["Against supervised"].note == "−0.6 to 5.5, within noise"
    assert [cell.text for cell in lines["few_4"][-2:]] == ["–", "−23.5"]
    assert [cell.text for cell in lines["full"][-2:]] == ["–", "–"]


def test_the_text_says_where_lines_begin_and_end_and_what_the_twins_lack() -> None:
    text = efficiency_text(DATA, all_series(DATA))
    assert text.startswith(
        "“Mask2Former” goes from 9.4 mask AP with labels on 1 % of the images to 45.2 with 100 %."
    )
    assert (
        "“Guided Distillation” goes from 16.1 mask AP with labels on 1 % of the images to 37.8 with 10 %."
        in text
    )
    assert (
        "“Mean teacher, 4 % of the masks” +2.3 points (95 % interval −0.6 to 5.5), within the noise;" in text
    )
    assert text.endswith("“Guided Distillation, 10 % of the masks” +7.3 points (95 % interval 4.4 to 10.5).")
