"""IRN's loss on pairs of places: a boundary between different classes, and none within one."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.data.label_codes import BACKGROUND, MOST_CLASSES, VOID
from pipeline.priors.affinity import others, segment_maxima

_EPSILON = 1e-5  # in logarithms and in counts, as released


class PairLosses(NamedTuple):
    """Mean -log affinity of pairs within the background and within a class, -log (1 - affinity) between two.

    Scalars; 0 where there is no such pair.
    """

    background: Tensor
    foreground: Tensor
    different: Tensor

    def total(self) -> Tensor:
        """Pairs of one class and pairs of two, half each; of the first, background and classes half each."""
        return ((self.background + self.foreground) / 2 + self.different) / 2


def pair_losses(boundaries: Tensor, labels: Tensor, radius: float) -> PairLosses:
    """The losses of all pairs closer than `radius` whose both labels are known (arXiv 1904.05044, section 4).

    boundaries: (B, h, w) in [0, 1]; labels: (B, h, w) integers, classes or codes of label_codes.py.  Pairs
    with an end outside the image do not count.
    """
    affinities = 1 - segment_maxima(boundaries, radius)
    first, second = labels[:, None], others(labels, radius, VOID)
    known = (first < MOST_CLASSES) & (second < MOST_CLASSES)
    alike = first == second
    together, apart = -torch.log(affinities + _EPSILON), -torch.log(1 + _EPSILON - affinities)
    return PairLosses(
        _mean(together, known & alike & (first == BACKGROUND)),
        _mean(together, known & alike & (first != BACKGROUND)),
        _mean(apart, known & ~alike),
    )


def _mean(losses: Tensor, chosen: Tensor) -> Tensor:
    return (losses * chosen).sum() / (chosen.sum() + _EPSILON)
