"""Two clusters of colours in boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.methods.baselines.fill import masks_from_boxes as fill
from pipeline.methods.baselines.two_means import masks_from_boxes, two_means


def scene(object_color: tuple[int, ...], ground_color: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A noisy cross on a noisy ground, and its mask."""
    mask = np.zeros((80, 90), dtype=bool)
    mask[20:60, 40:52] = mask[34:46, 25:67] = True
    noise = np.random.default_rng(0).normal(0, 10, (80, 90, 3))
    image = np.where(mask[..., None], object_color, ground_color) + noise
    return image.clip(0, 255).astype(np.uint8), mask


CROSS = np.asarray([[25.0, 20, 67, 60]])


RED, GREEN, GREY, WHITE = (190, 60, 50), (60, 150, 70), (90, 90, 90), (200, 200, 200)


@pytest.mark.parametrize("colors", [(RED, GREEN), (GREEN, RED), (GREY, WHITE)])
def test_finds_the_object_whichever_colour_it_has(colors: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    image, mask = scene(*colors)
    found = masks_from_boxes(image, CROSS)[0]
    assert (found & mask).sum() / (found | mask).sum() > 0.97


def test_the_frame_outside_of_the_box_decides_against_the_middle() -> None:
    """An object round a hole: most of the ellipse is hole, but its colour is outside of the box too."""
    y, x = np.mgrid[:60, :60]
    radius = np.hypot(y - 29.5, x - 29.5)
    ring = (radius <= 20) & (radius > 15)
    image = np.where(ring[..., None], (190, 60, 50), (60, 150, 70)).astype(np.uint8)
    np.testing.assert_array_equal(masks_from_boxes(image, np.asarray([[10.0, 10, 50, 50]]))[0], ring)


def test_without_surroundings_the_corners_decide() -> None:
    y, x = np.mgrid[:40, :40]
    disc = (y - 19.5) ** 2 + (x - 19.5) ** 2 <= 20**2
    image = np.where(disc[..., None], (200, 40, 40), (40, 40, 200)).astype(np.uint8)
    np.testing.assert_array_equal(masks_from_boxes(image, np.asarray([[0.0, 0, 40, 40]]))[0], disc)


def test_the_result_does_not_depend_on_other_boxes_or_earlier_calls() -> None:
    image, _ = scene((190, 60, 50), (60, 150, 70))
    boxes = np.concatenate([CROSS + 3, CROSS, CROSS - 5])
    together = masks_from_boxes(image, boxes)
    apart = [masks_from_boxes(image, boxes[index : index + 1])[0] for index in (2, 0, 1)]
    np.testing.assert_array_equal(together[[2, 0, 1]], apart)


@settings(max_examples=60, deadline=None)
@given(
    boxes=arrays(np.float64, (3, 4), elements=st.floats(-20, 60)),
    seed=st.integers(0, 3),
    colors=st.sampled_from([1, 2, 256]),
)
def test_masks_stay_in_their_box_and_are_never_empty(boxes: np.ndarray, seed: int, colors: int) -> None:
    image = np.random.default_rng(seed).integers(0, colors, (30, 40, 3), dtype=np.uint8)
    masks, filled = masks_from_boxes(image, boxes), fill(image, boxes)
    assert masks.any(axis=(1, 2)).all()
    assert not (masks & ~filled).any()


@given(values=arrays(np.float32, (12, 3), elements=st.floats(0, 100, width=32)))
def test_every_colour_belongs_to_the_nearer_centre_and_no_cluster_is_empty(values: np.ndarray) -> None:
    centers = two_means(values)
    if centers is not None:
        exact = values.astype(np.float64)  # the square of a small float32 may be 0
        distance = np.stack([np.square(exact - center).sum(axis=1) for center in centers])
        for number, center in enumerate(centers):
            own = values[distance.argmin(axis=0) == number]
            assert len(own)
            np.testing.assert_allclose(own.mean(axis=0), center, atol=0.1)


@pytest.mark.parametrize("value", [0, 255])
def test_a_single_colour_gives_the_filled_box(value: int) -> None:
    image = np.full((50, 60, 3), value, np.uint8)
    boxes = np.asarray([[10.0, 10, 40, 35], [3, 3, 4, 4]])
    np.testing.assert_array_equal(masks_from_boxes(image, boxes), fill(image, boxes))
