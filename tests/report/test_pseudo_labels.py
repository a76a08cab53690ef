"""The section on pseudo-labels: what it shows, and what it says where nothing can be measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from made_up import make_data, make_pseudo_labels

from pipeline.report.data import PseudoLabelSet, ReportData
from pipeline.report.pseudo_labels import HEADINGS, origin, set_lines, set_notes

UNKNOWN: dict[str, Any] = {"compared": 0, "figures": {}, "intervals": {}}


def with_sets(*sets: PseudoLabelSet) -> ReportData:
    return replace(make_data(scenes=0), pseudo_labels=sets)


def test_a_line_has_a_cell_for_every_heading() -> None:
    ((_, cells),) = set_lines(with_sets(make_pseudo_labels()))
    texts = dict(zip([label for label, _ in HEADINGS], cells, strict=True))
    assert (texts["Mask IoU"].text, texts["Mask IoU"].note) == ("82.4", "82.1 to 82.7")
    assert (texts["IoU ≥ 0.5"].text, texts["IoU ≥ 0.5"].note) == ("97.3", "96.9 to 97.7")
    assert (texts["Objects"].text, texts["Large"].text) == ("5,346", "–")
    assert (texts["Without mask"].value, texts["Without mask"].note) == (15, "12 left out, 3 empty")


@pytest.mark.parametrize(
    ("thresholds", "text"), [((0.5, 0.5, 0.5), "0.5"), ((0.1, 0.3, 0.5), "0.1 / 0.3 / 0.5")]
)
def test_thresholds_by_size_are_told_only_where_they_differ(thresholds: tuple[float, ...], text: str) -> None:
    made = make_pseudo_labels()
    made = replace(made, labeling=made.labeling | {"thresholds": thresholds})
    ((_, cells),) = set_lines(with_sets(made))
    assert cells[-1].text == text


def test_a_refinement_leaves_thresholds_nothing_to_decide() -> None:
    made = make_pseudo_labels()
    made = replace(made, labeling=made.labeling | {"refine": "dense_crf"})
    assert set_lines(with_sets(made))[0][1][-1].text == "–"


def test_origin_names_what_departs_from_the_plain_way() -> None:
    made, data = make_pseudo_labels(), make_data(scenes=0)
    assert origin(data, made) == "MAL labeler, seed 0, on boxes; flipped crops too"
    changed = made.labeling | {"flip": False, "network": "mean", "refine": "dense_crf"}
    text = origin(data, replace(made, labeling=changed))
    assert text == "MAL labeler, seed 0, on boxes; network: mean; refined by dense crf"


def test_without_ground_truth_masks_it_says_what_needs_them() -> None:
    known, unknown = make_pseudo_labels(), replace(make_pseudo_labels(), name="bare", **UNKNOWN)
    (note,) = set_notes(with_sets(known, unknown))
    assert note.startswith("bare: mean IoU, IoU by size, the share from 0.5 on and the class mean")
    assert "ground-truth masks of the training images, of which there are none" in note
    cells = set_lines(with_sets(unknown))[0][1]
    assert {cell.text for cell in cells[2:8]} == {"–"}
    assert set_notes(with_sets(known)) == []


def test_masks_on_a_part_of_the_objects_are_told() -> None:
    reason = "figures leave out 3 of 9 objects, which have no ground-truth mask"
    made = replace(make_pseudo_labels(), not_computed=(reason,))
    assert set_notes(with_sets(made)) == [f"mal_masks: {reason}."]
