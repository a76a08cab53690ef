"""The dice loss that the mask and the projection losses share."""

from __future__ import annotations

from torch import Tensor

EPSILON = 1e-5  # in the denominator alone: a target of nothing then costs exactly 1


def dice_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """One minus the Dice coefficient with squares in the denominator (V-Net, arXiv 1606.04797).

    predicted, target: (N, L) in [0, 1].  Returns (N,) float32 in [0, 1]:
    1 - 2 sum(u v) / (sum(u^2) + sum(v^2) + 1e-5).
    """
    predicted, target = predicted.float(), target.float()
    overlap = (predicted * target).sum(dim=1)
    sizes = predicted.square().sum(dim=1) + target.square().sum(dim=1)
    return 1 - 2 * overlap / (sizes + EPSILON)
