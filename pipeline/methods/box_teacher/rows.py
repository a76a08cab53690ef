"""Rows of `pseudo_masks.json`: what is kept of a teacher's masks, by `kept.py`, for `quality.py`."""

from __future__ import annotations

from typing import Any

from pydantic import NonNegativeInt
from typing_extensions import TypedDict  # pydantic reads this one alone in Python 3.11


class KeptBox(TypedDict):
    """What the teacher said of a box: its pseudo mask, an RLE, is None where the weight is 0."""

    annotation_id: int
    weight: float
    mask: dict[str, Any] | None


class Row(TypedDict):
    """What it said of an image in a step, from 0; key: of the sample; size: (height, width) as the student
    saw it."""

    step: int
    image_id: int
    key: tuple[NonNegativeInt, NonNegativeInt]
    size: tuple[int, int]
    boxes: list[KeptBox]


def group_end(step: int, checkpoint_every: int) -> int:
    """Steps done at the checkpoint that ends the group of `step`, from 0."""
    return (step // checkpoint_every + 1) * checkpoint_every
