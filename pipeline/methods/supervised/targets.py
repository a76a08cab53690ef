"""Masks as targets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.tv_tensors import Mask

from pipeline.structures import Target


def required_masks(target: Target) -> Mask:
    """The masks of a target that must have some.  Raises ValueError when the labels are boxes alone."""
    if target.masks is None:
        raise ValueError("the supervised method needs masks, and this sample has none")
    return target.masks


def sample_masks(masks: Sequence[Tensor], size: tuple[int, int], stride: int) -> Tensor:
    """All objects' masks on the grid of CondInst's logits: (sum of n, H / stride, W / stride) float32.

    masks: (n, h, w) per image; size: (H, W) of the padded batch.  Pixels stride // 2, stride // 2 + stride,
    ... are taken, which are the image points of the grid's cells; padding is background.
    """
    start = stride // 2
    grids = []
    for image_masks in masks:
        sampled = image_masks[:, start::stride, start::stride]
        grid = torch.zeros(len(sampled), size[0] // stride, size[1] // stride, device=sampled.device)
        grid[:, : sampled.shape[1], : sampled.shape[2]] = sampled
        grids.append(grid)
    return torch.cat(grids)
