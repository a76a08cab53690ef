"""The mean field's iteration as one Triton kernel, for GPUs: a launch per iteration, no other work.

Importing this needs Triton.  With TRITON_INTERPRET=1 in the environment it runs on a CPU, for tests.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from pipeline.methods.mal.log_odds import BITS, LINEAR_FROM, LOG2_EPSILON, Bounds
from pipeline.methods.mal.stencil import Stencil

BLOCK = 256  # entries of a program


def iterate(odds: Tensor, unary: Tensor, stencil: Stencil, bounds: Bounds, iterations: int) -> None:
    """Run `iterations` on log2-odds (P,), in place.  unary: log2 of the box mask (P,)."""
    table = torch.tensor(stencil.pairs, dtype=torch.int32, device=odds.device)
    source, target, count = odds, torch.empty_like(odds), len(odds)
    for _ in range(iterations):
        _step[(triton.cdiv(count, BLOCK),)](
            source,
            target,
            unary,
            stencil.weights,
            table,
            count,
            *bounds,
            LOG2_EPSILON,
            BITS,
            float(LINEAR_FROM),
            PAIRS=len(stencil.pairs),
            BLOCK=BLOCK,
        )
        source, target = target, source
    if source is not odds:
        odds.copy_(source)


@triton.jit
def _log1p(x):  # type: ignore[no-untyped-def]
    """log(1 + x), x >= 0; 1 + x would lose a small x, for which the series' three terms are exact."""
    return tl.where(x < 1e-2, x * (1 - x * (0.5 - x / 3)), tl.log(1 + x))


@triton.jit  # type: ignore[untyped-decorator]
def _step(  # type: ignore[no-untyped-def]
    source,
    target,
    unary,
    weights,
    table,
    count,
    low,
    high,
    log2_epsilon,
    bits,
    linear_from,
    PAIRS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One iteration of BLOCK entries.  table: (PAIRS, 2), row of `weights` and step to the neighbour."""
    entries = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here = entries < count
    odds = tl.load(source + entries, mask=here, other=0.0)
    ahead = odds + tl.load(unary + entries, mask=here, other=0.0)
    cost = _log1p(tl.exp2(odds))
    for pair in tl.static_range(PAIRS):
        row, step = tl.load(table + 2 * pair), tl.load(table + 2 * pair + 1)
        row_start = weights + row.to(tl.int64) * count
        after, before = entries + step, entries - step
        weight = tl.load(row_start + entries, mask=after < count, other=0.0)
        message = tl.load(source + after, mask=after < count, other=0.0)
        ahead += weight * message
        cost += weight * _log1p(tl.exp2(message))
        weight = tl.load(row_start + before, mask=here & (before >= 0), other=0.0)
        message = tl.load(source + before, mask=here & (before >= 0), other=0.0)
        ahead += weight * message
        cost += weight * _log1p(tl.exp2(message))
    against = cost * bits + log2_epsilon
    tip = tl.maximum(against, _log1p(tl.exp2(tl.minimum(against, linear_from))) * bits)
    tl.store(target + entries, tl.minimum(tl.maximum(ahead - tip, low), high), mask=here)
