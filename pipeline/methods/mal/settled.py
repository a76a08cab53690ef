"""The rest of a mean field once most of its pixels cannot move any more.

The update is monotonic: weights are not negative, so raising any message raises every result.  Take a
set of pixels that are at the upper bound, and suppose that all others sink to the lower one.  If one
iteration still leaves the set at the upper bound, then every iteration does, whatever the others do; and
likewise for the lower bound.  Such pixels are settled.  To find the largest set, start from all pixels at
a bound and drop those that would leave it, until none does; a drop concerns only the neighbours.

For the other pixels, a twentieth to an eighth in photographs, the weights among them become a sparse
matrix, and the settled ones a constant.  They are iterated, those of several portions of a batch together,
until nothing changes any more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import scipy.sparse
import torch
from torch import Tensor

from pipeline.methods.mal.log_odds import LOG2_EPSILON, Bounds, cost_, softplus2_
from pipeline.methods.mal.stencil import Stencil

COMPARE_EVERY = 8  # iterations: a comparison takes a sixth of the time of one


@dataclass(frozen=True)
class Linked:
    """Entries of a map that still move each other, and all that iterating them takes: no weights of the map.

    odds: the map's log2-odds (P,); entries: (M,) int64; weights, columns: (N,), of the N links among them,
    entry after entry; counts: (M,) int32, of each entry's links; ahead, against: (M,), what the settled
    neighbours add to an entry's log2-odds, with log2(b), and to the tip, with epsilon.
    """

    odds: Tensor
    entries: Tensor
    weights: Tensor
    columns: Tensor
    counts: Tensor
    ahead: Tensor
    against: Tensor


def settle(odds: Tensor, unary: Tensor, stencil: Stencil, bounds: Bounds, iterations: int) -> Linked:
    """Run `iterations` on the log2-odds (P,) that can do so at once, in place; the others are for `finish`.

    unary: log2 of the box mask (P,).  CPU only.
    """
    free = unsettled(odds, unary, stencil, bounds)
    moves = torch.zeros_like(odds)
    moves[free] = 1
    linked = stencil.add_(torch.zeros_like(odds), moves)[free] > 0
    _finish_alone(free[~linked], odds, unary, stencil, bounds, iterations)
    return _linked(free[linked], odds, unary, stencil)


def finish(parts: Sequence[Linked], bounds: Bounds, iterations: int) -> None:
    """Run `iterations` on the entries of all maps together, in place, until nothing changes any more.

    The few entries of one map would take a processor less time than it takes to call it.
    """
    matrix = _matrix(parts)
    ahead, against = (torch.cat([getattr(part, name) for part in parts]) for name in ("ahead", "against"))
    current = torch.cat([part.odds[part.entries] for part in parts])
    spare = torch.empty_like(current)
    for iteration in range(iterations):
        lost = cost_(current.clone())
        tip = softplus2_(_times(matrix, lost).add_(lost).add_(against), spare)
        following = _times(matrix, current).add_(current).add_(ahead).sub_(tip).clamp_(*bounds)
        if iteration % COMPARE_EVERY == 0 and torch.equal(following, current):
            break
        current = following
    ends = torch.split(current, [len(part.entries) for part in parts])
    for part, values in zip(parts, ends, strict=True):
        part.odds[part.entries] = values


def _finish_alone(
    entries: Tensor, odds: Tensor, unary: Tensor, stencil: Stencil, bounds: Bounds, iterations: int
) -> None:
    """All iterations at once, of entries none of whose neighbours moves.

    For w = 2^-y the update is affine but for the clip, w <- ((1 + t) w + t) / 2^ahead with t = 2^against.
    An increasing map's sequence rises or falls throughout, so it is enough to clip its end.
    """
    ahead = stencil.add_(unary.clone(), odds).take(entries)
    lost = cost_(odds.clone())
    against = stencil.add_(torch.full_like(odds, LOG2_EPSILON), lost).take(entries)
    scale, tip = ahead.double().neg_().exp2_(), against.double().exp2_()
    slope = (1 + tip).mul_(scale)
    growth = slope.pow(iterations)
    # 1 + slope + slope^2 + ...; a slope of exactly 1 would divide 0 by 0.
    series = (growth - 1).div_(slope - 1).masked_fill_(slope == 1, iterations)
    start = odds.take(entries).double().neg_().exp2_()
    inverse = growth.mul_(start).add_(series.mul_(tip).mul_(scale))
    odds[entries] = inverse.log2_().neg_().to(odds.dtype).clamp_(*bounds)


def _linked(entries: Tensor, odds: Tensor, unary: Tensor, stencil: Stencil) -> Linked:
    place = torch.full(odds.shape, -1, dtype=torch.int32)
    place[entries] = torch.arange(len(entries), dtype=torch.int32)
    neighbours, weights = stencil.links(entries)
    columns = place.take(neighbours)
    moving = (columns >= 0).logical_and_(weights > 0)
    rows = moving.t()
    among = weights.t().masked_select(rows), columns.t().masked_select(rows)
    counts = rows.sum(dim=1, dtype=torch.int32)

    weights.masked_fill_(moving, 0)
    messages = odds.take(neighbours)
    ahead = (weights * messages).sum(dim=0).add_(unary.take(entries))
    against = weights.mul_(cost_(messages)).sum(dim=0).add_(LOG2_EPSILON)
    return Linked(odds, entries, *among, counts, ahead, against)


def unsettled(odds: Tensor, unary: Tensor, stencil: Stencil, bounds: Bounds) -> Tensor:
    """Ascending indices (M,) int64 of the entries of log2-odds (P,) that may still change."""
    signs = (odds >= bounds.high).to(odds.dtype).sub_((odds <= bounds.low).to(odds.dtype))  # 0: unsettled
    one = torch.ones_like(odds)
    every = stencil.add_(one.clone(), one)  # each entry's sum of weights, its own 1 among them
    equal = stencil.add_equal_(one, signs)  # and that of its settled neighbours at the same bound
    held = _held(signs, unary, every, equal, bounds)
    dropped = ((signs != 0) & ~held).nonzero()[:, 0]
    while len(dropped):
        was = signs.take(dropped)
        signs.index_fill_(0, dropped, 0)
        neighbours, weights = stencil.links(dropped)
        supported = (weights > 0) & (signs.take(neighbours) == was)
        touched = neighbours.masked_select(supported)
        equal.index_add_(0, touched, weights.masked_select(supported), alpha=-1)
        touched = touched.unique()  # type: ignore[no-untyped-call]
        held = _held(
            signs.take(touched), unary.take(touched), every.take(touched), equal.take(touched), bounds
        )
        dropped = touched.masked_select(~held)
    return (signs == 0).nonzero()[:, 0]


def _held(signs: Tensor, unary: Tensor, every: Tensor, equal: Tensor, bounds: Bounds) -> Tensor:
    """Whether entries at a bound stay there when all neighbours but the equal ones are at the other."""
    up = signs > 0
    spare = every - equal
    high = torch.where(up, equal, spare)  # the weights of what is then at the upper bound
    lost = [math.log2(1 + 2**bound) for bound in bounds]
    tip = (every * lost[0]).add_(high, alpha=lost[1] - lost[0]).add_(LOG2_EPSILON)
    softplus2_(tip, spare)
    torch.mul(every, bounds.low, out=spare).add_(high, alpha=bounds.high - bounds.low)
    following = spare.add_(unary).sub_(tip)
    return torch.where(up, following >= bounds.high, following <= bounds.low)


def _matrix(parts: Sequence[Linked]) -> scipy.sparse.csr_array:
    """The matrices of all parts along the diagonal of one."""
    starts = accumulate((len(part.entries) for part in parts), initial=0)
    columns = torch.cat([part.columns + start for part, start in zip(parts, starts, strict=False)])
    counts = torch.cat([part.counts for part in parts])
    ends = torch.cat((counts.new_zeros(1), counts.cumsum(0, dtype=torch.int32)))
    weights = torch.cat([part.weights for part in parts])
    return scipy.sparse.csr_array(
        (weights.numpy(), columns.numpy(), ends.numpy()), shape=(len(counts), len(counts))
    )


def _times(matrix: scipy.sparse.csr_array, vector: Tensor) -> Tensor:
    return torch.from_numpy(matrix @ vector.numpy())
