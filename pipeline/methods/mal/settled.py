"""The rest of a mean field once most of its pixels cannot move any more.

The update is monotonic: weights are not negative, so raising any message raises every result.  Take a
set of pixels that are at the upper bound, and suppose that all others sink to the lower one.  If one
iteration still leaves the set at the upper bound, then every iteration does, whatever the others do; and
likewise for the lower bound.  Such pixels are settled.  To find the largest set, start from all pixels at
a bound and drop those that would leave it, until none does; a drop concerns only the neighbours.

For the other pixels, a twentieth to an eighth in photographs, the weights among them become a sparse
matrix, and the settled ones a constant.  They are iterated until nothing changes any more.
"""

from __future__ import annotations

import math

import scipy.sparse
import torch
from torch import Tensor

from pipeline.methods.mal.log_odds import LOG2_EPSILON, Bounds, cost_, softplus2_
from pipeline.methods.mal.stencil import Stencil

COMPARE_EVERY = 8  # iterations: a comparison takes a sixth of the time of one


def finish(odds: Tensor, unary: Tensor, stencil: Stencil, bounds: Bounds, iterations: int) -> None:
    """Run `iterations` on log2-odds (P,), in place.  unary: log2 of the box mask (P,).  CPU only."""
    free = unsettled(odds, unary, stencil, bounds)
    moves = torch.zeros_like(odds)
    moves[free] = 1
    linked = stencil.add_(torch.zeros_like(odds), moves)[free] > 0
    _finish_alone(free[~linked], odds, unary, stencil, bounds, iterations)
    _finish_linked(free[linked], odds, unary, stencil, bounds, iterations)


def _finish_alone(
    entries: Tensor, odds: Tensor, unary: Tensor, stencil: Stencil, bounds: Bounds, iterations: int
) -> None:
    """All iterations at once, of entries none of whose neighbours moves.

    For w = 2^-y the update is affine but for the clip, w <- ((1 + t) w + t) / 2^ahead with t = 2^against.
    An increasing map's sequence rises or falls throughout, so it is enough to clip its end.
    """
    ahead, against = _messages(odds, unary, stencil)
    scale, tip = (-ahead[entries].double()).exp2_(), against[entries].double().exp2_()
    slope = (1 + tip) * scale
    growth = slope.pow(iterations)
    # 1 + slope + slope^2 + ...; a slope of exactly 1 would divide 0 by 0.
    series = torch.where(slope == 1, iterations, (growth - 1) / (slope - 1))
    inverse = growth * (-odds[entries].double()).exp2_() + tip * scale * series
    odds[entries] = inverse.log2_().neg_().to(odds.dtype).clamp_(*bounds)


def _finish_linked(
    entries: Tensor, odds: Tensor, unary: Tensor, stencil: Stencil, bounds: Bounds, iterations: int
) -> None:
    """One iteration after the other, of entries that move each other, until nothing changes any more."""
    place = torch.full(odds.shape, -1, dtype=torch.int32)
    place[entries] = torch.arange(len(entries), dtype=torch.int32)
    neighbours, weights = stencil.links(entries)
    columns = place[neighbours]
    moving = (columns >= 0).logical_and_(weights > 0)
    matrix = _matrix(columns, weights, moving)

    weights.masked_fill_(moving, 0)
    messages = odds[neighbours]
    ahead = (weights * messages).sum(dim=0).add_(unary[entries])
    lost = cost_(messages)
    against = weights.mul_(lost).sum(dim=0).add_(LOG2_EPSILON)

    current = odds[entries]
    spare = torch.empty_like(current)
    for iteration in range(iterations):
        lost = cost_(current.clone())
        tip = softplus2_(_times(matrix, lost).add_(lost).add_(against), spare)
        following = _times(matrix, current).add_(current).add_(ahead).sub_(tip).clamp_(*bounds)
        if iteration % COMPARE_EVERY == 0 and torch.equal(following, current):
            break
        current = following
    odds[entries] = current


def _messages(odds: Tensor, unary: Tensor, stencil: Stencil) -> tuple[Tensor, Tensor]:
    """What all neighbours of each entry add to its log2-odds, with log2(b), and to the tip, with epsilon."""
    ahead = stencil.add_(unary.clone(), odds)
    lost = cost_(odds.clone())
    return ahead, stencil.add_(torch.full_like(odds, LOG2_EPSILON), lost)


def unsettled(odds: Tensor, unary: Tensor, stencil: Stencil, bounds: Bounds) -> Tensor:
    """Ascending indices (M,) int64 of the entries of log2-odds (P,) that may still change."""
    signs = (odds >= bounds.high).to(odds.dtype).sub_((odds <= bounds.low).to(odds.dtype))  # 0: unsettled
    one = torch.ones_like(odds)
    every = stencil.add_(one.clone(), one)  # each entry's sum of weights, its own 1 among them
    equal = stencil.add_equal_(one, signs)  # and that of its settled neighbours at the same bound
    held = _held(signs, unary, every, equal, bounds)
    dropped = ((signs != 0) & ~held).nonzero()[:, 0]
    while len(dropped):
        was, signs[dropped] = signs[dropped], 0
        neighbours, weights = stencil.links(dropped)
        supported = (weights > 0) & (signs[neighbours] == was)
        touched = neighbours[supported]
        equal.index_add_(0, touched, weights[supported], alpha=-1)
        touched = touched.unique()  # type: ignore[no-untyped-call]
        held = _held(signs[touched], unary[touched], every[touched], equal[touched], bounds)
        dropped = touched[~held]
    return (signs == 0).nonzero()[:, 0]


def _held(signs: Tensor, unary: Tensor, every: Tensor, equal: Tensor, bounds: Bounds) -> Tensor:
    """Whether entries at a bound stay there when all neighbours but the equal ones are at the other."""
    up = signs > 0
    high = torch.where(up, equal, every - equal)  # the weights of what is then at the upper bound
    lost = [math.log2(1 + 2**bound) for bound in bounds]
    against = (every * lost[0]).add_(high, alpha=lost[1] - lost[0]).add_(LOG2_EPSILON)
    tip = softplus2_(against, torch.empty_like(against))
    following = (every * bounds.low).add_(high, alpha=bounds.high - bounds.low).add_(unary).sub_(tip)
    return torch.where(up, following >= bounds.high, following <= bounds.low)


def _matrix(columns: Tensor, weights: Tensor, moving: Tensor) -> scipy.sparse.csr_array:
    """The entries (N, M) marked in `moving`, those of column m as row m of an (M, M) matrix."""
    rows = moving.t()
    ends = torch.cat((torch.zeros(1, dtype=torch.int64), rows.sum(dim=1).cumsum(0)))
    parts = (weights.t()[rows].numpy(), columns.t()[rows].numpy(), ends.to(torch.int32).numpy())
    return scipy.sparse.csr_array(parts, shape=(len(rows), len(rows)))


def _times(matrix: scipy.sparse.csr_array, vector: Tensor) -> Tensor:
    return torch.from_numpy(matrix @ vector.numpy())
