"""The clustering score of labelers in the report."""

from __future__ import annotations

from dataclasses import replace

from made_up import make_data, make_row

from pipeline.report.data import Separation
from pipeline.report.markdown import report_md
from pipeline.report.page import page_html
from pipeline.report.separation import HEADINGS, MEANING, separation_lines


def test_rows_with_a_score_have_a_line_with_a_cell_for_every_heading() -> None:
    ((row, cells),) = separation_lines(make_data(scenes=0))
    assert (row.name, len(cells)) == ("mal", len(HEADINGS))
    assert [(cell.text, cell.note) for cell in cells] == [
        ("0.507", ""),
        ("711", "4 of object or background only"),
    ]


def test_several_seeds_and_missing_scores_are_told() -> None:
    several = Separation(0.5, {0: 0.4, 1: 0.6}, boxes=9, without_mask=1000, one_sided=2)
    nothing = Separation(None, {0: None}, boxes=0, without_mask=7, one_sided=0)
    rows = tuple(replace(make_row("mal"), separation=measured) for measured in (several, nothing))
    (_, first), (_, second) = separation_lines(replace(make_data(scenes=0), rows=rows))
    assert first[0].note == "0.400, 0.600"
    assert first[1].note == "1,000 without mask, 2 of object or background only"
    assert (second[0].text, second[0].value, second[1].note) == ("–", None, "7 without mask")


def test_page_and_markdown_show_it_with_what_it_means() -> None:
    data = make_data(scenes=0)
    page, text = page_html(data), report_md(data, ())
    assert '<section id="separation">' in page
    assert "| MAL labeler | 0.507 | 711<br>" in text
    for shown in (page.replace("&#39;", "'"), text):
        assert MEANING in shown
    bare = replace(data, rows=tuple(replace(row, separation=None) for row in data.rows))
    assert "Separation" not in page_html(bare)
    assert "Separation" not in report_md(bare, ())
