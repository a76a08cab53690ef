"""The loss that all relations share: each pixel against segments that are like its own and others."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pipeline.methods.spml.portions import portion


def contrast(
    pixels: Tensor,
    prototypes: Tensor,
    own: Tensor,
    rows: Tensor,
    relation: Tensor,
    concentration: float,
    weights: Tensor,
) -> Tensor:
    """Weighted sum over pixels of -log(a / (a + b)) (SPML, arXiv 2105.00957, equations 1 and 6).

    pixels: (n, c) and prototypes: (m, c), of unit length; own: (n,) each pixel's segment; relation: (r, m)
    bool, which segments are positive for pixels of row `rows` (n,), all others being negative; weights: (n,).
    With e_j = exp(concentration * cosine with segment j), a is the sum over the positive segments but the
    own one, which is left out of b, too; where there is no other positive segment, a is the own one's e.  An
    own segment that is negative counts in b.  0 for a pixel without negatives, and for no pixels.

    The own segment is masked out, not subtracted: at concentration 16 it may be a million times the others.
    Computed in float32 at least, whose range suffices for concentrations of 32 at most.  The gradient reaches
    both pixels and prototypes; there is no second one.
    """
    if not len(pixels):
        return (pixels.sum() + prototypes.sum()) * 0
    wide = torch.promote_types(pixels.dtype, torch.float32)
    result: Tensor = _Contrast.apply(
        pixels.to(wide), prototypes.to(wide), own, rows, relation.to(wide), concentration, weights.to(wide)
    )
    return result


class _Contrast(torch.autograd.Function):
    """Loss and gradients in one pass over the matrix, so that none of it is kept or computed twice."""

    @staticmethod
    def forward(
        ctx: Any,
        pixels: Tensor,
        prototypes: Tensor,
        own: Tensor,
        rows: Tensor,
        relation: Tensor,
        concentration: float,
        weights: Tensor,
    ) -> Tensor:
        size = portion(len(prototypes), pixels.device)
        total = pixels.new_zeros(())
        of_pixels, of_prototypes = torch.empty_like(pixels), torch.zeros_like(prototypes)
        with torch.autocast(pixels.device.type, enabled=False):
            for start in range(0, len(pixels), size):
                part = slice(start, start + size)
                losses, slopes = pixel_losses(
                    pixels[part], prototypes, own[part], rows[part], relation, concentration, weights[part]
                )
                total += losses @ weights[part]
                of_pixels[part] = slopes @ prototypes
                of_prototypes.addmm_(slopes.T, pixels[part])
        ctx.save_for_backward(of_pixels, of_prototypes)
        return total

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        of_pixels, of_prototypes = ctx.saved_tensors
        return slopes[0] * of_pixels, slopes[0] * of_prototypes, None, None, None, None, None


def pixel_losses(
    pixels: Tensor,
    prototypes: Tensor,
    own: Tensor,
    rows: Tensor,
    relation: Tensor,
    concentration: float,
    weights: Tensor,
) -> tuple[Tensor, Tensor]:
    """The losses (n,) of `contrast`, and the slopes (n, m) of their weighted sum in the cosines.

    relation: as floats, 1 = positive.
    """
    own = own[:, None]
    # `exp2` takes a third of the time of `exp` on a CPU.
    others = ((concentration / math.log(2) * pixels) @ prototypes.T).exp2_()
    itself = others.gather(1, own)
    others.scatter_(1, own, 0)
    positive = relation[rows]
    own_positive = positive.gather(1, own)
    alone = relation.sum(dim=1)[rows, None] == own_positive  # by counting: sums may round to 0
    positive.mul_(others)
    negative = others.sub_(positive)  # exactly 0 or the entry itself
    a = itself.where(alone, positive.sum(dim=1, keepdim=True))
    own_negative = itself * (1 - own_positive)
    b = negative.sum(dim=1, keepdim=True) + own_negative
    # In the cosine, times the weight: e / (a + b) of a negative, -(e / a) b / (a + b) of a positive.
    slope = concentration * weights[:, None] / (a + b)
    slopes = negative.mul_(slope).addcmul_(positive, -slope * (b / a))
    slopes.scatter_add_(1, own, slope * (own_negative - b * alone))
    return torch.log1p(b / a)[:, 0], slopes
