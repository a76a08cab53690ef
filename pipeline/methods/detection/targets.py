"""Which location of the pyramid learns which box: FCOS's assignment with centre sampling.

FCOS (arXiv 1904.01355, section 3.1-3.2) with the centre sampling of its later version; CondInst and
BoxInst sample round the centroid of the object's mask, plain FCOS round the centre of its box.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.models.layers import grid_points

CENTER_RADIUS = 1.5  # half side of the sampling square in strides (FCOS, POS_RADIUS)
UNBOUNDED = 1e8


@dataclass
class Locations:
    """All L cells of a pyramid, level by level, row by row.

    points: (L, 2) image points (x, y); levels: (L,) int64; strides: (L,) float32.
    """

    points: Tensor
    levels: Tensor
    strides: Tensor


@dataclass
class DetectionTargets:
    """What the (B, L) locations of a batch learn.

    labels: (B, L) int64, the number of classes standing for background; boxes: (B, L) int64, index into
    the concatenated boxes of the batch, -1 for background; distances: (B, L, 4) to the left, top, right
    and bottom side in units of the level's stride, 0 for background.
    """

    labels: Tensor
    boxes: Tensor
    distances: Tensor


def pyramid_locations(
    shapes: Sequence[tuple[int, int]], strides: Sequence[int], device: torch.device | None = None
) -> Locations:
    """Locations of maps with (height, width) `shapes` at `strides`."""
    points = [
        grid_points(height, width, stride, device)
        for (height, width), stride in zip(shapes, strides, strict=True)
    ]
    counts = torch.tensor([len(part) for part in points], device=device)
    levels = torch.arange(len(points), device=device).repeat_interleave(counts)
    return Locations(torch.cat(points), levels, torch.tensor(strides, device=device).float()[levels])


def range_limits(sizes_of_interest: Sequence[int]) -> list[tuple[float, float]]:
    """Per level the least and greatest distance to a side that it learns, in pixels, both inclusive.

    The last size of interest bounds nothing: it only scales relative coordinates.
    """
    limits = [float(size) for size in sizes_of_interest[:-1]]
    return list(zip([-1.0, *limits], [*limits, UNBOUNDED], strict=True))


def mask_centroids(masks: Tensor) -> Tensor:
    """(N, H, W) masks -> (N, 2) mean (x, y) of their pixels' integer coordinates; 0, 0 for an empty mask."""
    pixels = masks.float()  # summing bool takes three times as long; counts stay exact below 2**24
    rows, columns = pixels.sum(dim=2), pixels.sum(dim=1)
    area = rows.sum(dim=1).clamp(min=1)
    x = columns @ torch.arange(masks.shape[2], device=masks.device, dtype=torch.float32)
    y = rows @ torch.arange(masks.shape[1], device=masks.device, dtype=torch.float32)
    return torch.stack((x / area, y / area), dim=1)


def assign_targets(
    locations: Locations,
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    centers: Sequence[Tensor],
    *,
    limits: Sequence[tuple[float, float]],
    num_classes: int,
    radius: float = CENTER_RADIUS,
) -> DetectionTargets:
    """Assign the boxes of B images to their locations.

    boxes: (n, 4) xyxy per image, in pixels; labels: (n,) int64; centers: (n, 2), where each box is
    sampled; limits: `range_limits`; radius: in strides (infinity: the whole box).  A location takes the
    smallest box (the first on ties) of those for which it lies strictly inside both the box and the
    square round its centre, and whose farthest side is within the limits of its level.
    """
    bounds = torch.tensor(limits, device=locations.points.device)[locations.levels]
    assigned: list[tuple[Tensor, Tensor]] = []
    first = 0
    for image_boxes, image_centers in zip(boxes, centers, strict=True):
        assigned.append(_assign(locations, image_boxes.float(), image_centers.float(), bounds, radius, first))
        first += len(image_boxes)
    index = torch.stack([part[0] for part in assigned])
    all_labels = torch.cat([*labels, torch.full((1,), num_classes, device=index.device)])
    return DetectionTargets(all_labels[index], index, torch.stack([part[1] for part in assigned]))


def _assign(
    locations: Locations, boxes: Tensor, centers: Tensor, bounds: Tensor, radius: float, first: int
) -> tuple[Tensor, Tensor]:
    """One image: (L,) index of the box, counted from `first`, or -1, and (L, 4) distances in strides."""
    count = len(locations.points)
    if len(boxes) == 0:
        return boxes.new_full((count,), -1, dtype=torch.int64), boxes.new_zeros(count, 4)
    # Distances as four (L, n) tensors: hundreds of boxes at full size stay within some 100 MB.
    x, y = locations.points[:, :1], locations.points[:, 1:]
    left, top, right, bottom = x - boxes[:, 0], y - boxes[:, 1], boxes[:, 2] - x, boxes[:, 3] - y
    farthest = torch.maximum(torch.maximum(left, right), torch.maximum(top, bottom))
    candidate = (farthest >= bounds[:, :1]) & (farthest <= bounds[:, 1:])
    candidate &= (left > 0) & (top > 0) & (right > 0) & (bottom > 0)
    if math.isfinite(radius):
        reach = locations.strides[:, None] * radius
        for axis, value in enumerate((x, y)):
            center = centers[:, axis]
            candidate &= (value > center - reach) & (value < center + reach)
    area = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).expand(count, -1)
    smallest, index = area.masked_fill(~candidate, math.inf).min(dim=1)
    found = smallest < math.inf
    sides = boxes[index]
    distances = torch.cat((locations.points - sides[:, :2], sides[:, 2:] - locations.points), dim=1)
    distances = distances / locations.strides[:, None] * found[:, None]
    return torch.where(found, index + first, -1), distances
