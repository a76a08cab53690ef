"""What masks cost that differ from a teacher's (BoxTeacher, arXiv 2210.05174, section 3.3).

Every loss is a sum over proposals, each with the weight of its pseudo mask, 0 without one.
"""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from pipeline.methods.box_supervision.neighbours import neighbour_offsets
from pipeline.methods.box_supervision.pairwise import PairSum
from pipeline.methods.dice import at_least_float32, dice_loss

LEAST_WEIGHT = 1e-6  # added to the sum of weights, which may be 0


def normaliser(weights: Tensor, by: Literal["count", "weights"]) -> Tensor:
    """What the sums are divided by: the number of proposals with a pseudo mask, at least 1, or their weights.

    weights: (N,), those of the proposals of this process.  Returns a scalar.
    """
    if by == "count":
        return (weights > 0).sum().clamp(min=1).to(weights.dtype)
    return weights.sum() + LEAST_WEIGHT


def pseudo_mask_loss(logits: Tensor, masks: Tensor, weights: Tensor) -> Tensor:
    """Noise-aware pixel loss: the weighted sum of the dice losses.

    logits, masks: (N, H, W), masks in [0, 1]; weights: (N,).  A scalar that stays connected to `logits`.
    """
    return (weights * dice_loss(at_least_float32(logits).sigmoid(), masks)).sum()


def mean_projection_loss(logits: Tensor, masks: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of the dice losses of the means over rows and over columns.  Shapes as above."""
    probabilities, masks = at_least_float32(logits).sigmoid(), at_least_float32(masks)
    across, down = (dice_loss(probabilities.mean(dim=axis), masks.mean(dim=axis)) for axis in (1, 2))
    return (weights * (across + down)).sum()


def mask_affinity_loss(
    logits: Tensor, box_masks: Tensor, pairs: Tensor, boxes: Tensor, weights: Tensor, *, dilation: int
) -> Tensor:
    """Weighted sum of the proposals' mean pair terms: those of `pairwise_loss`, but of the pairs of masks.

    logits: (N, H, W); box_masks: (N, H, W) bool; pairs: (G, size^2 - 1, H, W), bool or weights in [0, 1], of
    the pseudo mask of each box; boxes: (N,) int64, which of them is a proposal's; weights: (N,).  A pair
    counts when its first pixel is in the box.  The mean is over the pairs of a proposal, at least one.
    Returns a scalar that stays connected to `logits`.
    """
    logits = at_least_float32(logits)
    if len(logits) == 0:
        return logits.sum()
    offsets = neighbour_offsets(math.isqrt(pairs.shape[1] + 1), dilation)
    sums, counted, _ = PairSum.apply(logits, box_masks, pairs, boxes, offsets, True)
    loss: Tensor = (weights * sums / counted.clamp(min=1)).sum()
    return loss
