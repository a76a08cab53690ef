"""Rows of class activation maps that cannot be meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from pipeline import params
from pipeline.params.base import Section
from tests.methods.cam.tag_labels import (
    CONFIDENT,
    boundary_settings,
    cams_row,
    classifier_settings,
    refined_row,
)

TAG_ROW = params.TagCamLabels(
    kind="cam_tags",
    cams="a",
    labels="tags",
    background=params.ConstantBackground(kind="constant", score=0.25),
    least_score=0.25,
    processes=1,
)


def changed(section: Section, **changes: Any) -> Section:
    return type(section).model_validate(section.model_dump() | changes)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (
            lambda: classifier_settings(map_stride=4, output_stride=8),
            "output_stride must not exceed map_stride",
        ),
        (lambda: boundary_settings(tap_channels=30), "tap_channels must be a multiple of tap_groups"),
        (lambda: changed(cams_row().augmentation, long_side=(9, 8)), "long_side must rise"),
        (lambda: changed(refined_row().augmentation, scale=(1.5, 0.5)), "scale must rise"),
        (lambda: changed(CONFIDENT, background=0.4), "background must not exceed foreground"),
        (lambda: changed(TAG_ROW, least_score=0.3), "background.score must not be below least_score"),
        (lambda: cams_row(group_by_aspect=True), "train.group_by_aspect must be false"),
        (lambda: refined_row(repeat_threshold=0.1), "train.repeat_threshold must be 0"),
        (lambda: changed(cams_row().inference, scales=()), "at least 1 item"),
        (lambda: changed(refined_row().walk, radius=1.0), "greater than 1"),
    ],
)
def test_it_is_refused(make: Callable[[], object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        make()


def test_labels_are_told_apart_by_their_kind() -> None:
    adapter: TypeAdapter[params.CamLabels] = TypeAdapter(params.CamLabels)
    tags = {
        "kind": "cam_tags",
        "cams": "a",
        "labels": "tags",
        "background": {"kind": "constant", "score": 0.25},
        "least_score": 0.2,
        "processes": 1,
    }
    assert isinstance(adapter.validate_python(tags), params.TagCamLabels)
    boxes = {
        "kind": "cam_boxes",
        "cams": "a",
        "labels": "tags",
        "boxes": "b",
        "threshold": 0.5,
        "processes": 1,
    }
    assert isinstance(adapter.validate_python(boxes), params.BoxCamLabels)
    with pytest.raises(ValidationError, match="boxes"):
        adapter.validate_python(boxes | {"kind": "cam_tags"})
