"""Label efficiency in words and as a table."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_up import SPLIT_ROWS, make_split_data, make_split_row

from pipeline.report.data import ReportData, Row
from pipeline.report.efficiency import efficiency_text, headings, series_lines, supervised_twin
from pipeline.report.series import all_series

DATA = make_split_data()


def test_the_supervised_twin_has_the_same_labels_and_model() -> None:
    twins = {name: supervised_twin(DATA, DATA.row(name)) for name in SPLIT_ROWS}
    assert {name: twin.name for name, twin in twins.items() if twin} == {
        "mean_teacher_4": "few_4",
        "guided_1": "few_1",
        "guided_4": "few_4",
        "guided_10": "few_10",
    }
    alone = replace(DATA, rows=(make_split_row("guided_4"), replace(make_split_row("few_4"), model="other")))
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


def test_unequal_lengths_of_training_are_said() -> None:
    def lasting(name: str, steps: int) -> Row:
        row = DATA.row(name)
        method = {**row.settings.get("method", {}), "train": {"duration": "steps", "steps": steps}}
        return replace(row, settings={**row.settings, "method": method})

    def with_steps(steps: dict[str, int]) -> ReportData:
        rows = [lasting(row.name, steps.get(row.name, 1000)) for row in DATA.rows]
        return replace(DATA, rows=tuple(rows))

    longer = with_steps({"guided_4": 1600})
    cells = next(
        cells for _, row, cells in series_lines(longer, all_series(longer)) if row.name == "guided_4"
    )
    assert cells[3].note == "7.3 to 13.4, 1,600 steps against 1,000"
    assert cells[4].note.endswith(", 1,600 steps against 1,000")
    assert "(95 % interval 7.3 to 13.4), 1,600 steps against 1,000;" in efficiency_text(
        longer, all_series(longer)
    )
    equal = with_steps({})
    assert "steps against" not in efficiency_text(equal, all_series(equal))


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


def test_many_rows_with_twins_are_counted() -> None:
    more = [replace(DATA.row("guided_4"), name=f"guided_{index}") for index in range(5, 9)]
    differences = [
        replace(item, first=row.name if item.first == "guided_4" else item.first, second=row.name)
        for item in DATA.differences
        for row in more
        if (item.first, item.second) == ("few_4", "guided_4")
    ]
    data = replace(DATA, rows=(*DATA.rows, *more), differences=(*DATA.differences, *differences))
    assert efficiency_text(data, all_series(data)).endswith("; 3 more in the table.")
