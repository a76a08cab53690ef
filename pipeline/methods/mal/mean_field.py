"""The mean field that sharpens MAL's masks (arXiv 2301.03992, section 3.4, as released), in log-odds.

With messages l in [lo, hi], weights K (1 for the pixel itself) and a box mask b, MAL iterates

    f = b prod_j l_j^K_j,    g = prod_j (1 - l_j)^K_j,    l <- clip(f / (f + g + eps), lo, hi).

Let y = log2(l / (1 - l)) and q(y) = log2(1 + 2^y), so that log2(1 - l) = -q(y) and log2(l) = y - q(y).
The odds of f / (f + g + eps) are f / (g + eps).  With S = sum_j K_j y_j and T = sum_j K_j q(y_j) that is

    y <- clip(log2(b) + S - q(T + log2(eps)), log2-odds of lo, log2-odds of hi).

Without eps the last term would vanish and the update be linear but for the clip.  The term is small in
windows of 3 x 3, but always positive: it tips ties, and it moves the odds of a pixel without similar
neighbours, which nothing else changes, slowly towards the background.

Most pixels arrive at a bound within a few iterations.  On a CPU those that no future can move are then
left out (`settled`), so that the other iterations run on few pixels, with the same result.  On a GPU an
iteration is one kernel (`fused`), or a few dozen small ones where there is no Triton.
"""

from __future__ import annotations

from importlib.util import find_spec

import torch
from torch import Tensor

from pipeline import params
from pipeline.methods.mal.log_odds import BITS, LOG2_EPSILON, Bounds, cost_, odds_of, softplus2_
from pipeline.methods.mal.settled import finish
from pipeline.methods.mal.stencil import Stencil, pair_kernel

# Of all pixels, before the settled ones are left out: later there are more of them, but also fewer
# iterations to gain from.
DENSE_ITERATIONS = 8
CPU_PORTION = 2**17  # pixels at a time, or one image: the ten vectors in use stay in a CPU's caches


def refine(images: Tensor, probabilities: Tensor, boxes: Tensor | None, settings: params.MeanField) -> Tensor:
    """Masks that follow the colours of the image.

    images: (B, C, H, W), normalised as for the network.  probabilities: (B, H, W) in [0, 1].  boxes:
    (B, H, W) in [0, 1], may be fractional, or None: everywhere.  Returns (B, H, W) bool: where the
    probability after all iterations is above 1/2.  Carries no gradient.
    """
    return log_odds(images, probabilities, boxes, settings) > 0


@torch.no_grad()
def log_odds(
    images: Tensor, probabilities: Tensor, boxes: Tensor | None, settings: params.MeanField
) -> Tensor:
    """log2(l / (1 - l)) of the messages l after all iterations: (B, H, W) float32.  See `refine`."""
    bounds = Bounds(*(odds_of(share) for share in settings.clamp))
    odds = _start(probabilities, boxes, settings, bounds)
    unary = torch.zeros_like(odds) if boxes is None else boxes.float().log2()
    portion = len(odds) if odds.device.type != "cpu" else max(1, CPU_PORTION // max(1, odds[:1].numel()))
    for first in range(0, len(odds), max(1, portion)):
        part = slice(first, first + portion)
        kernel = pair_kernel(images[part].float(), settings.kernel, settings.zeta)
        stencil = Stencil(kernel, settings.kernel)
        _iterate(odds[part].view(-1), unary[part].reshape(-1), stencil, bounds, settings.iterations)
    return odds


def _start(probabilities: Tensor, boxes: Tensor | None, settings: params.MeanField, bounds: Bounds) -> Tensor:
    start = probabilities.float() if boxes is None else probabilities.float() * boxes
    # Clamped twice: a probability at a limit must become exactly that bound.
    return start.clamp(*settings.clamp).logit_().mul_(BITS).clamp_(*bounds).contiguous()


def _iterate(odds: Tensor, unary: Tensor, stencil: Stencil, bounds: Bounds, iterations: int) -> None:
    """Run `iterations` on log2-odds (P,), in place.  unary: log2 of the box mask (P,)."""
    if odds.is_cuda and find_spec("triton"):
        from pipeline.methods.mal.fused import iterate  # Triton is there with PyTorch for Linux and CUDA only

        iterate(odds, unary, stencil, bounds, iterations)
        return
    # Other devices: all iterations on all pixels, without waiting for the device in between.
    dense = min(iterations, DENSE_ITERATIONS) if odds.device.type == "cpu" else iterations
    lost, against, spare = (torch.empty_like(odds) for _ in range(3))
    for _ in range(dense):
        cost_(lost.copy_(odds))
        torch.add(lost, LOG2_EPSILON, out=against)
        tip = softplus2_(stencil.add_(against, lost), spare)
        ahead = stencil.add_(torch.add(odds, unary, out=lost), odds)
        torch.sub(ahead, tip, out=odds).clamp_(*bounds)
    if dense < iterations:
        finish(odds, unary, stencil, bounds, iterations - dense)
