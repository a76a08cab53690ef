"""Which positives get a mask loss: all, the best few of each box, or a random draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Positives:
    """The P positive locations, or regions, of a batch.

    images: (P,) int64 index into the batch, ascending; boxes: (P,) int64 index into the batch's
    concatenated boxes; quality: (P,), of a location highest class probability times centre-ness
    probability, of a region the probability of its box's class.
    """

    images: Tensor
    boxes: Tensor
    quality: Tensor


# Of positives and the step, the ascending indices of those whose masks enter the mask losses.
Choose = Callable[[Positives, int], Tensor]


@dataclass
class Proposals:
    """N locations with the parameters of their mask heads.

    images: (N,) int64 index into the batch; boxes: (N,) int64 index into the batch's concatenated boxes;
    levels: (N,) int64; points: (N, 2) image points (x, y); parameters: (N, P).
    """

    images: Tensor
    boxes: Tensor
    levels: Tensor
    points: Tensor
    parameters: Tensor

    def __len__(self) -> int:
        return len(self.images)


def every_one(positives: Positives, step: int) -> Tensor:
    """Ascending indices of all positives."""
    return torch.arange(len(positives.boxes), device=positives.boxes.device)


def topk_per_box(positives: Positives, topk: int) -> Tensor:
    """Ascending indices of the positives to keep when an image has about `topk` for all its boxes.

    Each box with positives keeps its best max(topk // number of such boxes of the image, 1) by quality
    (the first on ties), or all it has.  BoxInst (arXiv 2012.02310), TOPK_PROPOSALS_PER_IM.
    """
    images, boxes = positives.images, positives.boxes
    if len(boxes) == 0:
        return boxes
    rank = rank_in_group(boxes, positives.quality)
    boxes_per_image = torch.bincount(images[rank == 0])
    quota = (topk // boxes_per_image.clamp(min=1)).clamp(min=1)
    return (rank < quota[images]).nonzero().squeeze(1)


def rank_in_group(groups: Tensor, quality: Tensor) -> Tensor:
    """Place of each entry within its group, best quality first, the first on ties: (N,) int64 from 0.

    groups: (N,) int64 >= 0; quality: (N,).
    """
    by_quality = torch.argsort(quality, descending=True, stable=True)
    order = by_quality[torch.argsort(groups[by_quality], stable=True)]
    _, group, sizes = torch.unique_consecutive(groups[order], return_inverse=True, return_counts=True)
    start = (sizes.cumsum(0) - sizes)[group]
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device) - start
    return rank


def random_choice(positives: Positives, limit: int, generator: torch.Generator) -> Tensor:
    """Ascending indices of at most `limit` positives, drawn without replacement (CondInst, MAX_PROPOSALS).

    generator: on the CPU, so that a draw does not depend on the device.
    """
    count = len(positives.boxes)
    if count <= limit:
        return torch.arange(count, device=positives.boxes.device)
    drawn = torch.randperm(count, generator=generator)[:limit]
    return drawn.sort().values.to(positives.boxes.device)
