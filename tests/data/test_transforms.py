"""Image, boxes and masks move together: flips are exact, resizing keeps proportions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import masks_to_boxes
from torchvision.transforms.v2 import functional as v2
from torchvision.tv_tensors import Image, Mask

from pipeline.data.transforms import (
    augment,
    drop_empty_boxes,
    flip_horizontally,
    flip_vertically,
    resize,
    resize_short_side,
    resized_size,
    transpose,
)
from pipeline.params import Augmentation
from pipeline.structures import Sample, Target, boxes_xyxy

OPERATIONS = [flip_horizontally, flip_vertically, transpose]


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """An image whose masks are rectangles and whose boxes are around them."""
    height, width = draw(st.integers(2, 20)), draw(st.integers(2, 20))
    count = draw(st.integers(0, 3))
    masks = torch.zeros(count, height, width, dtype=torch.bool)
    for mask in masks:
        x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        mask[y : draw(st.integers(y + 1, height)), x : draw(st.integers(x + 1, width))] = True
    return sample(masks, draw(st.integers(0, 99)))


def sample(masks: Tensor, seed: int = 0) -> Sample:
    height, width = masks.shape[1:]
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
    target = Target(boxes_xyxy(boxes_of(masks), (height, width)), torch.arange(len(masks)), Mask(masks))
    return Sample(Image(image), target, 7, (height, width))


def boxes_of(masks: Tensor) -> Tensor:
    boxes = masks_to_boxes(masks)
    boxes[:, 2:] += 1
    return boxes


def assert_equal(first: Sample, second: Sample) -> None:
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.target.boxes, second.target.boxes)
    assert torch.equal(first.target.labels, second.target.labels)
    assert first.target.masks is not None
    assert second.target.masks is not None
    assert torch.equal(first.target.masks, second.target.masks)


def assert_boxes_are_around_masks(value: Sample) -> None:
    assert value.target.masks is not None
    expected = boxes_of(value.target.masks.as_subclass(Tensor))
    assert torch.equal(value.target.boxes.as_subclass(Tensor), expected)


@pytest.mark.parametrize("operation", OPERATIONS)
@given(value=samples())
def test_twice_is_identity(operation, value: Sample) -> None:
    assert_equal(operation(operation(value)), value)


@pytest.mark.parametrize("operation", OPERATIONS)
@given(value=samples())
def test_boxes_stay_around_their_masks(operation, value: Sample) -> None:
    moved = operation(value)
    assert_boxes_are_around_masks(moved)
    assert moved.target.boxes.canvas_size == moved.image.shape[-2:] == moved.target.masks.shape[-2:]
    assert moved.original_size == value.original_size


@given(value=samples())
def test_flips_and_transposition_agree_with_torchvision_and_each_other(value: Sample) -> None:
    assert torch.equal(flip_horizontally(value).image, v2.horizontal_flip(value.image))
    assert torch.equal(flip_vertically(value).target.boxes, v2.vertical_flip(value.target.boxes))
    assert_equal(transpose(flip_horizontally(value)), flip_vertically(transpose(value)))


@given(value=samples(), factor=st.integers(1, 4))
def test_enlarging_by_a_whole_factor_keeps_boxes_around_masks(value: Sample, factor: int) -> None:
    height, width = value.image.shape[-2:]
    large = resize(value, (height * factor, width * factor))
    assert_boxes_are_around_masks(large)


@given(value=samples(), size=st.tuples(st.integers(2, 40), st.integers(2, 40)))
def test_resized_masks_are_nearest_exact_and_within_a_pixel_of_their_boxes(
    value: Sample, size: tuple[int, int]
) -> None:
    small = resize(value, size)
    masks, before = small.target.masks.as_subclass(Tensor), value.target.masks.as_subclass(Tensor)
    # As interpolate's nearest-exact, whose float32 errs where a centre is on the border of two pixels.
    rows, columns = (
        [(2 * i + 1) * old // (2 * new) for i in range(new)]
        for old, new in zip(before.shape[1:], size, strict=True)
    )
    assert torch.equal(masks, before[:, rows][:, :, columns])
    for mask, box in zip(masks, small.target.boxes, strict=True):
        if mask.any():
            assert (boxes_of(mask[None])[0] - box).abs().max() <= 1


def test_resizing_is_antialiased() -> None:
    checkers = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * 255
    target = Target(boxes_xyxy(torch.zeros(0, 4), (32, 32)), torch.zeros(0, dtype=torch.int64))
    value = Sample(Image(checkers.to(torch.uint8).expand(3, 32, 32).contiguous()), target, 1, (32, 32))
    small = resize(value, (8, 8)).image
    assert small.dtype == torch.uint8
    assert 120 < small.float().mean() < 135
    assert small.float().std() < 5


def test_an_unchanged_size_is_not_resampled() -> None:
    value = sample(torch.ones(1, 6, 9, dtype=torch.bool))
    assert resize_short_side(value, 6, 100) is value


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 640), (800, 1067)),
        ((640, 480), (1067, 800)),
        ((427, 640), (800, 1199)),
        ((300, 900), (444, 1333)),
        ((1, 5000), (1, 1333)),
    ],
)
def test_sizes_for_800_and_1333(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert resized_size(size, 800, 1333) == expected


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 900), st.integers(900, 1500))
def test_sizes_keep_within_both_limits(height: int, width: int, short: int, longest: int) -> None:
    new = resized_size((height, width), short, longest)
    assert max(new) <= longest
    assert min(new) <= short
    assert max(new) == longest or min(new) == short


def augmentation(**changes: object) -> Augmentation:
    values = {
        "short_sides": (8, 12),
        "max_side": 30,
        "horizontal_flip": 0.5,
        "vertical_flip": 0.5,
        "transpose": 0.5,
    }
    return Augmentation(**{**values, **changes})


@settings(max_examples=30)
@given(value=samples(), seed=st.integers(0, 50))
def test_augmentation_depends_on_its_generator_alone(value: Sample, seed: int) -> None:
    assert_equal(
        augment(value, augmentation(), np.random.default_rng(seed)),
        augment(value, augmentation(), np.random.default_rng(seed)),
    )


def test_augmentation_draws_all_sides_and_flips() -> None:
    masks = torch.zeros(1, 8, 12, dtype=torch.bool)
    masks[0, 0, 0] = True
    seen = set()
    for seed in range(100):
        drawn = augment(sample(masks), augmentation(), np.random.default_rng(seed))
        x, y = drawn.target.boxes[0, :2].tolist()
        seen.add((tuple(drawn.image.shape[-2:]), x > 0, y > 0))
    assert len(seen) == 2 * 2 * 4


def test_a_probability_of_zero_or_one_is_never_or_always() -> None:
    value = sample(torch.ones(1, 8, 10, dtype=torch.bool))
    never = augmentation(short_sides=(8,), horizontal_flip=0.0, vertical_flip=0.0, transpose=0.0)
    always = augmentation(short_sides=(8,), horizontal_flip=1.0, vertical_flip=0.0, transpose=1.0)
    for seed in range(20):
        assert_equal(augment(value, never, np.random.default_rng(seed)), value)
        assert_equal(augment(value, always, np.random.default_rng(seed)), transpose(flip_horizontally(value)))


def test_boxes_are_cut_to_the_image_and_empty_ones_dropped_with_all_they_have() -> None:
    value = sample(torch.stack([torch.full((6, 8), bool(n % 2)) for n in (1, 1, 1)]))
    value.target.boxes = boxes_xyxy(torch.tensor([[-2.0, 1, 9, 5], [8, 0, 12, 4], [3, 3, 3, 5]]), (6, 8))
    kept = drop_empty_boxes(value).target
    assert kept.boxes.tolist() == [[0, 1, 8, 5]]
    assert kept.labels.tolist() == [0]
    assert kept.masks is not None
    assert kept.masks.shape == (1, 6, 8)
