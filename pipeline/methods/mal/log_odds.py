"""Log2-odds of probabilities, their bounds, and the one function that the mean field needs of them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

LOG2_EPSILON = math.log2(1e-6)  # of the mean field's normaliser
BITS = 1 / math.log(2)  # of a natural logarithm
LINEAR_FROM = 64  # here q(y) = y in float32, and 2^y is far from overflow


class Bounds(NamedTuple):
    """Least and greatest log2-odds."""

    low: float
    high: float


def odds_of(share: float) -> float:
    """Log2-odds of a probability in (0, 1)."""
    return math.log2(share / (1 - share))


def cost_(odds: Tensor) -> Tensor:
    """-log2(1 - l) of messages l with these log2-odds, in place: log2(1 + 2^y).  For y up to 120.

    `exp2` takes a third of the time of `exp` on a CPU.
    """
    return odds.exp2_().log1p_().mul_(BITS)


def softplus2_(bits: Tensor, spare: Tensor) -> Tensor:
    """log2(1 + 2^y) of any y, in place.  `spare` is of the same shape, and lost."""
    torch.clamp(bits, max=LINEAR_FROM, out=spare)
    return torch.maximum(bits, cost_(spare), out=bits)
