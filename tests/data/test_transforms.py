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
    crop,
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
        "scale_range": (1.0, 1.0),
        "horizontal_flip": 0.5,
        "vertical_flip": 0.5,
        "transpose": 0.5,
        "crop": (),
        "pad_value": 0,
        "colors": "as_they_are",
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


@given(
    value=samples(),
    size=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    place=st.tuples(*[st.floats(0, 1, exclude_max=True)] * 2),
)
def test_a_crop_is_a_part_of_the_image_padded_at_the_right_and_the_bottom(
    value: Sample, size: tuple[int, int], place: tuple[float, float]
) -> None:
    cut = crop(value, size, place, 128)
    old = value.image.shape[-2:]
    top, left = (int(share * max(o - n + 1, 1)) for share, o, n in zip(place, old, size, strict=True))
    height, width = (min(o, n) for o, n in zip(old, size, strict=True))
    assert cut.image.shape == (3, *size)
    assert torch.equal(cut.image[:, :height, :width], value.image[:, top : top + height, left : left + width])
    padding = torch.ones(size, dtype=torch.bool)
    padding[:height, :width] = False
    assert (cut.image[:, padding] == 128).all()
    assert not cut.target.masks[:, padding].any()
    assert cut.target.boxes.canvas_size == size
    kept = drop_empty_boxes(cut)
    assert len(kept.target.labels) == int(cut.target.masks.flatten(1).any(1).sum())
    if len(kept.target.labels):
        assert_boxes_are_around_masks(kept)


def test_every_part_of_an_image_is_cut_out() -> None:
    value = sample(torch.ones(1, 4, 9, dtype=torch.bool))
    settings = augmentation(
        short_sides=(4,), crop=(4, 4), horizontal_flip=0.0, vertical_flip=0.0, transpose=0.0
    )
    drawn = {
        augment(value, settings, np.random.default_rng(seed)).image[0, 0, 0].item() for seed in range(80)
    }
    assert drawn == set(value.image[0, 0, :6].tolist())


def test_boxes_without_masks_are_cut_with_the_image() -> None:
    value = sample(torch.zeros(0, 10, 10, dtype=torch.bool))
    boxes = torch.tensor([[0.0, 0, 4, 10], [2, 2, 8, 8], [8, 0, 10, 3]])
    value.target = Target(boxes_xyxy(boxes, (10, 10)), torch.arange(3))
    kept = drop_empty_boxes(crop(value, (5, 5), (0.5, 0.5), 0)).target
    assert kept.boxes.tolist() == [[0, 0, 1, 5], [0, 0, 5, 5]]
    assert kept.labels.tolist() == [0, 1]


def test_large_scale_jitter_draws_factors_of_its_target() -> None:
    """Long side 0.1 to 2 times the target, evenly; then cut or padded to it."""
    value = sample(torch.ones(1, 20, 40, dtype=torch.bool))
    jitter = augmentation(short_sides=(100,), max_side=100, scale_range=(0.1, 2.0), transpose=0.0)
    wide = [augment(value, jitter, np.random.default_rng(seed)).image.shape[-1] for seed in range(300)]
    assert 10 <= min(wide) < 20
    assert 190 < max(wide) <= 200
    assert np.mean(wide) == pytest.approx(105, abs=10)
    fixed = jitter.model_copy(update={"crop": (100, 100), "pad_value": 128})
    for seed in range(20):
        image = augment(value, fixed, np.random.default_rng(seed)).image
        assert image.shape == (3, 100, 100)
        if wide[seed] < 100:
            assert (image[:, -1, -1] == 128).all()


def test_padding_is_never_flipped_to_the_left_or_the_top() -> None:
    value = sample(torch.ones(1, 8, 8, dtype=torch.bool))
    padded = augmentation(short_sides=(8,), crop=(12, 12), pad_value=128)
    for seed in range(20):
        masks = augment(value, padded, np.random.default_rng(seed)).target.masks
        assert masks[0, :8, :8].all()
        assert masks.sum() == 64


def test_colors_change_when_asked_for_alone() -> None:
    value = sample(torch.ones(1, 12, 12, dtype=torch.bool))
    still = augmentation(short_sides=(12,), horizontal_flip=0.0, vertical_flip=0.0, transpose=0.0)
    ssd = still.model_copy(update={"colors": "ssd"})
    changed = [augment(value, ssd, np.random.default_rng(seed)) for seed in range(20)]
    assert sum(not torch.equal(one.image, value.image) for one in changed) > 10
    assert all(torch.equal(one.target.masks, value.target.masks) for one in changed)
    assert torch.equal(augment(value, still, np.random.default_rng(0)).image, value.image)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"scale_range": (2.0, 0.1)}, "scale_range must rise"), ({"crop": (5,)}, "crop must be")],
)
def test_impossible_settings_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        augmentation(**changes)
