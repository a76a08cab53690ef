"""Which rows make a line of the label-efficiency curve."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_up import make_data, make_split_data, make_split_row

from pipeline.report.data import ReportData, Row
from pipeline.report.series import all_series, by_model, references

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


def test_a_teacher_is_no_point_of_its_students_curve() -> None:
    students = [replace(make_split_row(name), network="student") for name in ("guided_4", "guided_10")]
    teachers = [
        replace(row, name=f"{row.name}.teacher", title=f"{row.title}, its teacher", network="teacher")
        for row in students
    ]
    assert names(with_rows(*students, *teachers)) == {
        "Guided Distillation": ["guided_4", "guided_10"],
        "Guided Distillation, its teacher": ["guided_4.teacher", "guided_10.teacher"],
    }


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


def test_models_have_series_of_their_own_that_look_alike() -> None:
    other = tuple(
        replace(row, name=f"{row.name}_other", model="other", title=f"Other {row.title}", oracle="full_other")
        for row in DATA.rows
        if row.model == "mask2former_small" and row.method != "mean_teacher"
    )
    found = by_model(all_series(replace(DATA, rows=(*DATA.rows, *other))))
    assert {model: [item.slot for item in lines] for model, lines in found.items()} == {
        "mask2former_small": [0, 1, 2],
        "other": [0, 2],
    }
    assert [item.title for item in found["other"]] == ["Other Mask2Former", "Other Guided Distillation"]
    assert [row.name for row in found["other"][0].rows] == [
        "few_1_other",
        "few_4_other",
        "few_10_other",
        "full_other",
    ]
