"""A Gaussian kernel over many points as sparse sums: splat on a permutohedral lattice, blur, slice."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.priors.crf.simplices import Corners, corners

Sums = tuple[Tensor, Tensor, Tensor]  # (n,) int32 rows to add, (n,) float32 weights, (m + 1,) int32 starts

LEAST_MASS = 1e-20  # as in the reference: no division by 0


class LatticeKernel:
    """K_ij / sqrt(n_i n_j) times a weight; K_ij = exp(-|f_i - f_j|^2 / 2), i = j included, n its row sums.

    Every lattice point, and every direction of the blur, is a weighted sum of rows: what costs is reading
    them, and the sums are made once for all steps of an inference.
    """

    def __init__(self, features: Tensor, weight: float, groups: int = 1) -> None:
        """features: (d, N) float32, in units of the kernel's std; groups: see `corners`.

        Raises UserError for features that are spread too far.
        """
        found = corners(features, groups)
        keys, self._splat, self._slice = _incidence(found)
        self._weights = found.weights
        directions = [_neighbours(keys, step) for step in found.steps]
        self._blurs = [_blur(directions[first : first + 2]) for first in range(0, len(directions), 2)]
        points = features.shape[1]
        mass = self(torch.ones(points, 1, device=features.device))
        scale = (mass + LEAST_MASS).rsqrt()
        rows, shares, starts = self._splat
        self._splat = rows, shares * scale[:, 0].index_select(0, rows), starts
        self._weights *= weight * scale

    def __call__(self, values: Tensor) -> Tensor:
        """Apply the kernel to each column of values (N, C) float32; returns (N, C)."""
        for sums in (self._splat, *self._blurs):
            values = _summed(values, sums)
        return F.embedding_bag(self._slice, values, mode="sum", per_sample_weights=self._weights)


def _summed(values: Tensor, sums: Sums) -> Tensor:
    rows, weights, starts = sums
    return F.embedding_bag(
        rows, values, starts, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


def _incidence(found: Corners) -> tuple[Tensor, Sums, Tensor]:
    """(M,) codes of the lattice points in use, ascending; the sums that splat; (N, d + 1) int32 points."""
    count, points = found.codes.shape
    corner_bits, point_bits = (count - 1).bit_length(), max(1, points - 1).bit_length()
    device = found.codes.device
    low_bits = corner_bits + point_bits
    who = torch.arange(points, device=device) << corner_bits
    packed = found.codes << low_bits
    for corner in range(count):
        packed[corner] |= who | corner
    packed = _sorted(packed.view(-1))
    who = packed & ((1 << low_bits) - 1)
    packed >>= low_bits
    starts = torch.ones(len(packed), dtype=torch.bool, device=device)
    torch.ne(packed[1:], packed[:-1], out=starts[1:])
    first = _places(starts)
    rows = who >> corner_bits
    flat = rows * count + (who & ((1 << corner_bits) - 1))
    cells = torch.empty(points * count, dtype=torch.int32, device=device)
    cells.scatter_(0, flat, starts.cumsum(0, dtype=torch.int32).sub_(1))
    ends = torch.cat([first, first.new_tensor([len(packed)])]).int()
    splat = rows.int(), found.weights.view(-1).index_select(0, flat), ends
    return packed.index_select(0, first), splat, cells.view(points, count)


def _neighbours(keys: Tensor, step: int) -> Tensor:
    """(M + 1, 3) int32: each point, the next and the last one along a direction; M where there is none."""
    points = len(keys)
    wanted = keys + step
    place = _searched(keys, wanted).clamp_(max=points - 1)
    this = _places(keys.index_select(0, place) == wanted)
    ahead = place.index_select(0, this)
    table = torch.full((3, points + 1), points, dtype=torch.int32, device=keys.device)
    torch.arange(points + 1, dtype=torch.int32, device=keys.device, out=table[0])
    table[1].scatter_(0, this, ahead.int())
    table[2].scatter_(0, ahead, this.int())
    return table.t().contiguous()


def _blur(directions: list[Tensor]) -> Sums:
    """The sums that blur along one direction, or along two in turn: values are read once for both."""
    table, weights = directions[0], [1.0, 0.5, 0.5]
    for more in directions[1:]:
        table = table.index_select(0, more.view(-1)).view(len(more), -1)
        weights = [second * first for second in (1.0, 0.5, 0.5) for first in weights]
    table = table[:-1]
    known = table < len(table)
    starts = torch.zeros(len(table) + 1, dtype=torch.int32, device=table.device)
    torch.cumsum(known.sum(1, dtype=torch.int32), 0, dtype=torch.int32, out=starts[1:])
    places = _places(known.view(-1))
    shares = torch.tensor(weights, device=table.device).repeat(len(table))
    return table.reshape(-1).index_select(0, places), shares.index_select(0, places), starts


# PyTorch on the CPU takes several times as long as numpy for these three.


def _sorted(values: Tensor) -> Tensor:
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy()))
    return values.sort().values


def _searched(keys: Tensor, wanted: Tensor) -> Tensor:
    """Where each of `wanted` would go into the ascending `keys`."""
    if keys.device.type == "cpu":
        return torch.from_numpy(np.searchsorted(keys.numpy(), wanted.numpy()))
    return torch.searchsorted(keys, wanted)


def _places(mask: Tensor) -> Tensor:
    """Where a mask of one dimension is true, ascending."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.nonzero()[:, 0]
