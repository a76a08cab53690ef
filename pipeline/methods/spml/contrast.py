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
        pixels.to(wide), prototypes.to(wide), own, rows, relation, concentration, weights.to(wide)
    )
    return result


class _Contrast(torch.autograd.Function):
    """Loss and gradients in one pass over the matrix, so that none of it is kept or computed twice.

    Pixels of one row have the same positive segments.  With these first, both sides of the matrix are views,
    and nothing but the exponentials is computed entry by entry.
    """

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
        order = rows.argsort(stable=True)
        present, counts = torch.unique_consecutive(rows[order], return_counts=True)
        groups = torch.split(order, counts.tolist())
        numbers = relation[present].sum(dim=1).tolist()
        with torch.autocast(pixels.device.type, enabled=False):
            for row, number, group in zip(present.tolist(), numbers, groups, strict=True):
                sorted_segments = relation[row].int().argsort(descending=True, stable=True)
                place = sorted_segments.argsort()
                sorted_prototypes = prototypes[sorted_segments]
                for part in torch.split(group, size):
                    losses, of_pixels[part], slopes = _pixel_losses(
                        pixels[part],
                        sorted_prototypes,
                        place[own[part]],
                        number,
                        concentration,
                        weights[part],
                    )
                    total += losses @ weights[part]
                    of_prototypes[sorted_segments] += slopes
        ctx.save_for_backward(of_pixels, of_prototypes)
        return total

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        of_pixels, of_prototypes = ctx.saved_tensors
        return slopes[0] * of_pixels, slopes[0] * of_prototypes, None, None, None, None, None


def _pixel_losses(
    pixels: Tensor,
    prototypes: Tensor,
    own: Tensor,
    positives: int,
    concentration: float,
    weights: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """The losses (n,) of pixels for which the first `positives` segments are positive, others negative;
    the slopes of their weighted sum in pixels (n, c) and prototypes (m, c).
    """
    # `exp2` takes a third of the time of `exp` on a CPU.
    others = ((concentration / math.log(2) * pixels) @ prototypes.T).exp2_()
    itself = others.gather(1, own[:, None])
    others.scatter_(1, own[:, None], 0)
    positive, negative = others[:, :positives], others[:, positives:]
    own_positive = own[:, None] < positives
    alone = own_positive == positives  # by counting: sums may round to 0
    a = itself.where(alone, positive.sum(dim=1, keepdim=True))
    own_negative = itself * ~own_positive
    b = negative.sum(dim=1, keepdim=True) + own_negative
    # In the cosine, times the weight: e / (a + b) of a negative, -(e / a) b / (a + b) of a positive.
    of_negative = concentration * weights[:, None] / (a + b)
    of_positive = -of_negative * (b / a)
    of_own = of_negative * (own_negative - b * alone)
    of_pixels = of_own * prototypes[own]
    of_pixels += of_positive * (positive @ prototypes[:positives])
    of_pixels += of_negative * (negative @ prototypes[positives:])
    of_prototypes = torch.cat((positive.T @ (of_positive * pixels), negative.T @ (of_negative * pixels)))
    of_prototypes.index_add_(0, own, of_own * pixels)
    return torch.log1p(b / a)[:, 0], of_pixels, of_prototypes
