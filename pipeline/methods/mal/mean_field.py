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
from pipeline.methods.mal.settled import Linked, finish, settle
from pipeline.methods.mal.stencil import Stencil, add_terms_, pair_kernel

# Of all pixels, before the settled ones are left out: later there are more of them, but also fewer
# iterations to gain from.
DENSE_ITERATIONS = 8
# Pixels at a time, or one image: the dozen vectors in use stay in a CPU's caches.  Two thirds of it take a
# tenth more time and a fifth less memory.
CPU_PORTION = 3 * 2**14
LINKED_PORTION = 2**15  # pixels of one or more portions that are iterated together in the end: 80 bytes each


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
    odds = torch.empty(probabilities.shape, dtype=torch.float32, device=probabilities.device)
    portion = len(odds) if odds.device.type != "cpu" else max(1, CPU_PORTION // max(1, odds[:1].numel()))
    rest: list[Linked] = []
    left = settings.iterations - DENSE_ITERATIONS  # of what is in `rest`
    for first in range(0, len(odds), max(1, portion)):
        part = slice(first, first + portion)
        inside = None if boxes is None else boxes[part].float()
        rest += _portion(odds[part], images[part], probabilities[part], inside, bounds, settings)
        if sum(len(linked.entries) for linked in rest) >= LINKED_PORTION:
            finish(rest, bounds, left)
            rest = []
    if rest:
        finish(rest, bounds, left)
    return odds


def _portion(
    odds: Tensor,
    images: Tensor,
    probabilities: Tensor,
    boxes: Tensor | None,
    bounds: Bounds,
    settings: params.MeanField,
) -> list[Linked]:
    """Fill in `odds` of some of the images; returns what remains to be done for `finish`.

    All else that was needed for it is given back before the next portion.
    """
    odds.copy_(_start(probabilities.float(), boxes, settings, bounds))
    unary = torch.zeros_like(odds) if boxes is None else _log2(boxes)
    stencil = Stencil(pair_kernel(images.float(), settings.kernel, settings.zeta), settings.kernel)
    return _iterate(odds.view(-1), unary.reshape(-1), stencil, bounds, settings.iterations)


def _start(probabilities: Tensor, boxes: Tensor | None, settings: params.MeanField, bounds: Bounds) -> Tensor:
    start = probabilities if boxes is None else probabilities * boxes
    # Clamped twice: a probability at a limit must become exactly that bound.
    return start.clamp(*settings.clamp).logit_().mul_(BITS).clamp_(*bounds)


def _log2(boxes: Tensor) -> Tensor:
    """log2(b), -126 for b = 0.

    That is as good as minus infinity, since S <= T: an update exceeds log2(b) by -log2(eps), 20, at the most.
    A CPU takes six times as long for the logarithm of 0 as for others.
    """
    return boxes.clamp(min=torch.finfo(boxes.dtype).tiny).log2_()


def _iterate(odds: Tensor, unary: Tensor, stencil: Stencil, bounds: Bounds, iterations: int) -> list[Linked]:
    """Run `iterations` on log2-odds (P,), in place, but for those that are returned: for `finish`.

    unary: log2 of the box mask (P,).
    """
    if odds.is_cuda and find_spec("triton"):
        from pipeline.methods.mal.fused import iterate  # Triton is there with PyTorch for Linux and CUDA only

        iterate(odds, unary, stencil, bounds, iterations)
        return []
    # Other devices: all iterations on all pixels, without waiting for the device in between.
    dense = min(iterations, DENSE_ITERATIONS) if odds.device.type == "cpu" else iterations
    _iterate_all(odds, unary, stencil, bounds, dense)
    return [settle(odds, unary, stencil, bounds, iterations - dense)] if dense < iterations else []


def _iterate_all(odds: Tensor, unary: Tensor, stencil: Stencil, bounds: Bounds, iterations: int) -> None:
    """Run `iterations` on log2-odds (P,), in place: every one on all of them."""
    lost, against, spare = (torch.empty_like(odds) for _ in range(3))
    costs, messages = stencil.terms(against, lost), stencil.terms(lost, odds)
    for _ in range(iterations):
        cost_(lost.copy_(odds))
        torch.add(lost, LOG2_EPSILON, out=against)
        tip = softplus2_(add_terms_(against, costs), spare)
        torch.add(odds, unary, out=lost)
        torch.sub(add_terms_(lost, messages), tip, out=odds).clamp_(*bounds)
