"""Masks as targets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


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
