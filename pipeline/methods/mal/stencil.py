"""Colour weights between the pixels of a window, and sums with them over flat maps.

Weights are symmetric, so each unordered pair of pixels has one: half of the window is stored.  Images
lie end to end in one flat vector, in which the neighbour at (dy, dx) is dy * width + dx entries further
on: every operation runs over contiguous memory.  Entries that would wrap round into the next row or
image have weight 0.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Weights below this are 0.  Beside a pixel's own message, of weight 1, they are lost in float32; and the
# smallest of them would be denormal numbers, on which a CPU is slow.
LEAST_WEIGHT = 1e-12


def half_window(size: int) -> list[tuple[int, int]]:
    """(dy, dx) of the neighbours that follow a pixel in a window of `size` x `size`, in row-major order.

    With their opposites these are all of them.  Raises ValueError for an even size, which has no centre.
    """
    if size % 2 == 0:
        raise ValueError(f"a window needs an odd size, not {size}")
    reach = size // 2
    steps = range(-reach, reach + 1)
    return [(dy, dx) for dy in range(reach + 1) for dx in steps if (dy, dx) > (0, 0)]


def pair_kernel(images: Tensor, size: int, zeta: float) -> Tensor:
    """exp(-|colour difference|^2 / (2 zeta^2)) of each pixel and the neighbours that follow it.

    images: (B, C, H, W), in the units of zeta.  Returns (K, B, H, W) in [0, 1], K in the order of
    `half_window`, 0 where the neighbour lies outside the image.
    """
    height, width = images.shape[2:]
    offsets, scale = half_window(size), -0.5 / zeta**2 / math.log(2)
    kernel = images.new_zeros(len(offsets), len(images), height, width)
    for weights, (dy, dx) in zip(kernel, offsets, strict=True):
        if dy >= height or abs(dx) >= width:
            continue
        left, right = max(0, -dx), max(0, dx)
        near = (slice(0, height - dy), slice(left, width - right))
        far = (slice(dy, height), slice(right, width - left))
        distance = weights[:, *near]
        for channel in images.unbind(dim=1):
            difference = torch.sub(channel[:, *near], channel[:, *far])
            distance.addcmul_(difference, difference)
        distance.mul_(scale).exp2_()
    return torch.threshold_(kernel, LEAST_WEIGHT, 0.0)


Term = tuple[Tensor, Tensor, Tensor]  # part of a total, the weights of one direction, and what they weigh


def add_terms_(total: Tensor, terms: list[Term]) -> Tensor:
    """Add to `total` (P,) the terms that `Stencil.terms` made for it."""
    for part, weights, values in terms:
        part.addcmul_(weights, values)
    return total


class Stencil:
    """Sums over the neighbours of the entries of a flat map of P = B * H * W entries."""

    def __init__(self, kernel: Tensor, size: int) -> None:
        """kernel: (K, B, H, W), from `pair_kernel` with the same window size."""
        height, width = kernel.shape[2:]
        offsets = half_window(size)
        exist = [k for k, (dy, dx) in enumerate(offsets) if dy < height and abs(dx) < width]
        self.weights = kernel.flatten(1)  # (K, P)
        self.pairs = [(k, offsets[k][0] * width + offsets[k][1]) for k in exist]
        directions = [(k * self.weights.shape[1], sign * step) for k, step in self.pairs for sign in (1, -1)]
        # (N, 1) each: where a neighbour's row of weights starts, and how many entries further on it lies.
        self._rows, self._steps = torch.tensor(directions, dtype=torch.int64).view(-1, 2, 1).unbind(dim=1)

    def add_(self, total: Tensor, values: Tensor) -> Tensor:
        """Add to each entry of `total` (P,) the weighted `values` (P,) of its neighbours."""
        return add_terms_(total, self.terms(total, values))

    def terms(self, total: Tensor, values: Tensor) -> list[Term]:
        """What `add_terms_` adds up, as views: making them takes as long as adding up a small map."""
        terms = []
        for k, step in self.pairs:
            weights = self.weights[k, :-step]
            terms += [(total[:-step], weights, values[step:]), (total[step:], weights, values[:-step])]
        return terms

    def add_equal_(self, total: Tensor, signs: Tensor) -> Tensor:
        """Add to each entry of `total` (P,) the weights of its neighbours of the same sign, 0 being none."""
        for k, step in self.pairs:
            equal = (signs[:-step] * signs[step:]).clamp_(min=0).mul_(self.weights[k, :-step])
            total[:-step] += equal
            total[step:] += equal
        return total

    def links(self, entries: Tensor) -> tuple[Tensor, Tensor]:
        """Neighbours of the entries (M,) int64, and their weights: (N, M) each, of weight 0 where none is."""
        neighbours = entries + self._steps
        weights = self.weights.take((torch.minimum(neighbours, entries) + self._rows).clamp_(min=0))
        weights *= neighbours >= 0  # a pair that would end beyond the map has weight 0 itself
        return neighbours.clamp_(0, self.weights.shape[1] - 1), weights
