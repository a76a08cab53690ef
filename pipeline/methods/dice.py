"""The dice loss that mask, projection and multiple-instance losses share."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-5  # in the denominator alone: a target of nothing then costs exactly 1


def dice_loss(predicted: Tensor, target: Tensor, epsilon: float = EPSILON) -> Tensor:
    """One minus the Dice coefficient with squares in the denominator (V-Net, arXiv 1606.04797).

    predicted, target: (N, ...) in [0, 1].  Returns (N,) in [0, 1], at least float32 (half precision
    would lose the epsilon): 1 - 2 sum(u v) / (sum(u^2) + sum(v^2) + epsilon).
    """
    predicted, target = at_least_float32(predicted).flatten(1), at_least_float32(target).flatten(1)
    overlap = (predicted * target).sum(dim=1)
    sizes = predicted.square().sum(dim=1) + target.square().sum(dim=1)
    return 1 - 2 * overlap / (sizes + epsilon)


def at_least_float32(values: Tensor) -> Tensor:
    """`values` in float32, or as they are in float64."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
