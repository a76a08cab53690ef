from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import box_convert

from pipeline.methods.detection.targets import (
    assign_targets,
    mask_centroids,
    pyramid_locations,
    range_limits,
)

STRIDES = (8, 16, 32, 64, 128)
LIMITS = range_limits((64, 128, 256, 512, 1024))


def shapes(height, width):
    return [(-(-height // stride), -(-width // stride)) for stride in STRIDES]


def rasterised_centers(boxes: Tensor, height: int, width: int) -> Tensor:
    """Centroids of masks of rows int(y1) .. int(y2 + 1) - 1 and columns int(x1) .. int(x2 + 1) - 1."""
    masks = torch.zeros(len(boxes), height, width, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.tolist(), strict=True):
        mask[int(y1) : int(y2 + 1), int(x1) : int(x2 + 1)] = True
    return mask_centroids(masks)


@pytest.mark.parametrize("case", ["special", "special_centroid", "random", "nocenter", "allempty"])
def test_matches_reference(load, close, case):
    arrays = load("fcos_targets", case)
    count, (height, width) = int(arrays["num_images"]), arrays["HW"].tolist()
    boxes = [arrays[f"boxes_{index}"].reshape(-1, 4) for index in range(count)]
    labels = [arrays[f"classes_{index}"] for index in range(count)]
    from_masks = bool(arrays["centre_from_bitmask"])
    centers = [
        rasterised_centers(part, height, width) if from_masks else box_convert(part, "xyxy", "cxcywh")[:, :2]
        for part in boxes
    ]
    locations = pyramid_locations(shapes(height, width), STRIDES)
    targets = assign_targets(
        locations,
        boxes,
        labels,
        centers,
        limits=LIMITS,
        num_classes=6,
        radius=float(arrays["radius"]) if bool(arrays["center_sample"]) else math.inf,
    )
    # The vectors run over level, image, cell; ours over image, level, cell.
    order = torch.arange(count * len(locations.levels)).view(count, -1)
    order = torch.cat([order[:, locations.levels == level].flatten() for level in range(5)])
    assert torch.equal(targets.labels.flatten()[order], arrays["labels"].long())
    index = (targets.boxes.flatten()[order] >= 0).nonzero().squeeze(1)
    assert torch.equal(index, arrays["pos_index"])
    chosen = order[index]
    image, cell = chosen // len(locations.levels), chosen % len(locations.levels)
    assert torch.equal(targets.boxes.flatten()[chosen], arrays["pos_gt_inds"])
    assert torch.equal(image, arrays["pos_im_inds"])
    assert torch.equal(locations.levels[cell], arrays["pos_levels"])
    assert torch.equal(locations.points[cell], arrays["pos_locations"])
    close(targets.distances[image, cell], arrays["pos_reg_targets"], rtol=1e-6)


def test_range_limits_leave_the_last_level_unbounded():
    assert range_limits((20, 40)) == [(-1.0, 20.0), (20.0, 1e8)]
    assert range_limits((64,)) == [(-1.0, 1e8)]


def test_centroid_of_a_mask():
    masks = torch.zeros(2, 5, 6, dtype=torch.bool)
    masks[0, 1:3, 2:6] = True
    assert mask_centroids(masks).tolist() == [[3.5, 1.5], [0.0, 0.0]]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 120)] * 4), max_size=8), st.integers(0, 3))
def test_assignment_agrees_with_its_definition(sides, image_of_first):
    """Location by location against a plain loop; boxes of no area never get one."""
    boxes = torch.tensor([[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d in sides])
    boxes = boxes.reshape(-1, 4).float()
    split = [boxes[:image_of_first], boxes[image_of_first:]]
    labels = [torch.arange(len(part)) % 3 for part in split]
    locations = pyramid_locations([(16, 16), (8, 8)], (8, 16))
    targets = assign_targets(
        locations,
        split,
        labels,
        [box_convert(part, "xyxy", "cxcywh")[:, :2] for part in split],
        limits=[(-1, 40), (40, 1e8)],
        num_classes=3,
    )
    first = 0
    for image, part in enumerate(split):
        for cell in range(0, len(locations.points), 7):
            expected = _owner(locations, cell, part)
            got = int(targets.boxes[image, cell])
            assert got == (-1 if expected is None else expected + first)
            label = 3 if expected is None else int(labels[image][expected])
            assert int(targets.labels[image, cell]) == label
        first += len(part)


def _owner(locations, cell, boxes):
    (x, y), stride = locations.points[cell].tolist(), float(locations.strides[cell])
    low, high = [(-1, 40), (40, 1e8)][int(locations.levels[cell])]
    best, smallest = None, math.inf
    for index, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        cx, cy, reach = (x1 + x2) / 2, (y1 + y2) / 2, 1.5 * stride
        inside = max(x1, cx - reach) < x < min(x2, cx + reach) and max(y1, cy - reach) < y < min(
            y2, cy + reach
        )
        if (
            inside
            and low <= max(x - x1, x2 - x, y - y1, y2 - y) <= high
            and ((x2 - x1) * (y2 - y1) < smallest)
        ):
            best, smallest = index, (x2 - x1) * (y2 - y1)
    return best
