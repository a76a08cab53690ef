"""GrabCut in boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.methods.baselines.fill import masks_from_boxes as fill
from pipeline.methods.baselines.grabcut import masks_from_boxes


def disc(seed: int = 0, radius: float = 14) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A noisy red disc on noisy green, its mask and its box."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :96]
    mask = (y - 40) ** 2 + (x - 50) ** 2 <= radius**2
    image = np.where(mask[..., None], (190, 60, 50), (60, 150, 70)) + rng.normal(0, 12, (96, 96, 3))
    box = np.asarray([[50 - radius, 40 - radius, 51 + radius, 41 + radius]])
    return image.clip(0, 255).astype(np.uint8), mask, box


def test_finds_a_disc_in_its_box() -> None:
    image, mask, box = disc()
    found = masks_from_boxes(image, box, 5)[0]
    assert (found & mask).sum() / (found | mask).sum() > 0.97
    filled = fill(image, box)[0]
    assert (filled & mask).sum() / (filled | mask).sum() < 0.8


def test_the_result_does_not_depend_on_other_boxes_or_earlier_calls() -> None:
    image, _, box = disc()
    boxes = np.concatenate([box + 3, box, box - 5])
    together = masks_from_boxes(image, boxes, 3)
    apart = [masks_from_boxes(image, boxes[index : index + 1], 3)[0] for index in (2, 0, 1)]
    np.testing.assert_array_equal(together[[2, 0, 1]], apart)


@settings(max_examples=30, deadline=None)
@given(boxes=arrays(np.float64, (3, 4), elements=st.floats(-20, 60)), seed=st.integers(0, 3))
def test_masks_stay_in_their_box_and_are_never_empty(boxes: np.ndarray, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    masks, filled = masks_from_boxes(image, boxes, 1), fill(image, boxes)
    assert masks.any(axis=(1, 2)).all()
    assert not (masks & ~filled).any()


@pytest.mark.parametrize(
    "box", [[0, 0, 96, 96], [-5, -5, 200, 120], [30, 20, 32, 60], [30, 20, 60, 22], [40, 40, 40, 40]]
)
def test_nothing_to_cut_gives_the_filled_box(box: list[float]) -> None:
    image, _, _ = disc()
    boxes = np.asarray([box], dtype=float)
    np.testing.assert_array_equal(masks_from_boxes(image, boxes, 2), fill(image, boxes))


@pytest.mark.parametrize("value", [0, 255])
def test_a_flat_image_gives_the_filled_box(value: int) -> None:
    image = np.full((50, 60, 3), value, np.uint8)
    boxes = np.asarray([[10.0, 10, 40, 35]])
    masks = masks_from_boxes(image, boxes, 3)
    assert masks.any()
    assert not (masks & ~fill(image, boxes)).any()
