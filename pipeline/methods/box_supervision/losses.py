"""The losses of boxes (BoxInst, arXiv 2012.02310): projection (equation 3), pairwise (equations 5 and 8)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pipeline.methods.box_supervision.neighbours import neighbour_offsets
from pipeline.methods.box_supervision.pairwise import PairSum
from pipeline.methods.dice import at_least_float32, dice_loss


def projection_loss(logits: Tensor, box_masks: Tensor) -> Tensor:
    """Dice loss between the projections of a mask and of its box on both axes, mean over proposals.

    logits: (N, H, W); box_masks: (N, H, W) bool.  Returns a float32 scalar in [0, 2]; without proposals
    a zero that stays connected to `logits`.

    Only the highest pixel of each row and column receives a gradient, the first one on ties (`amax`
    would share it among them).  The sigmoid is monotonic, so it is taken after the maximum.
    """
    logits = at_least_float32(logits)
    if len(logits) == 0:
        return logits.sum()
    losses = [dice_loss(logits.max(dim=axis).values.sigmoid(), box_masks.any(dim=axis)) for axis in (1, 2)]
    return torch.cat(losses).sum() / len(logits)


def pairwise_loss(
    logits: Tensor, box_masks: Tensor, pairs: Tensor, images: Tensor, *, dilation: int
) -> tuple[Tensor, Tensor]:
    """Negative log-probability that pixels of similar colour get the same label, mean over their pairs.

    logits: (N, H, W).  box_masks: (N, H, W) bool.  images: (N,) int64, the image of each proposal.
    pairs: (B, size^2 - 1, H, W) bool, whether a pixel of an image is similar to its neighbour
    (`targets.similar_pairs`; neighbours in the order of `neighbour_offsets`).

    A pair counts when it is similar and its first pixel, the centre of the window, is in the box; so a
    pair inside the box counts twice, once from each end.  A neighbour outside the map adds nothing to
    the sum, though an entry of `pairs` that names one is counted.  The mean runs over all proposals
    together, with at least one pair.

    Returns the loss, a float32 scalar (zero and connected to `logits` without proposals), and the share
    of the pairs with their centre in a box that are similar (NaN without any).
    """
    logits = at_least_float32(logits)
    if len(logits) == 0:
        return logits.sum(), logits.new_tensor(math.nan)
    offsets = neighbour_offsets(math.isqrt(pairs.shape[1] + 1), dilation)
    total, counted, possible = PairSum.apply(logits, box_masks, pairs, images, offsets)
    return total / counted.clamp(min=1), counted / possible


def warmup(step: int, steps: int) -> float:
    """Factor of the pairwise loss at training step `step`, counted from 0: linear up to 1 over `steps`."""
    return min((step + 1) / steps, 1.0)
