"""Where points lie in the permutohedral lattice: the corners of their simplices, and the weights of these.

Adams, Baek and Davis, Fast High-Dimensional Filtering Using the Permutohedral Lattice, Eurographics 2010.
Points are moved into the hyperplane of d + 1 coordinates that add up to 0, scaled so that one blur of
(1/2, 1, 1/2) along each of the d + 1 directions is a Gaussian of std 1.  Coordinates here are in units
of d + 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UserError

LARGEST_BITS = 63  # of a whole number with a sign


@dataclass(frozen=True)
class Corners:
    """The corners of the simplices that N points in d dimensions lie in.

    codes: (d + 1, N) int64, one number of at most `bits` bits per lattice point and group; weights:
    (N, d + 1) float32, barycentric, in [0, 1] and adding up to 1; steps: what the code of a lattice point's
    neighbour in each of the d + 1 directions is larger by.
    """

    codes: Tensor
    weights: Tensor
    steps: tuple[int, ...]
    bits: int


def corners(features: Tensor, groups: int = 1) -> Corners:
    """Corners of features (d, N) float32 in units of the kernel's std.

    groups: the points are so many runs of equal length that share no lattice point.  Raises UserError for
    features that are spread too far for codes, with the number of a corner, to fit into 63 bits.
    """
    dimensions, points = features.shape
    residual = _elevated(features)
    nearest = residual.round()
    residual -= nearest
    rank = _ranks(residual)
    # The nearest points may add up to other than 0: those coordinates move that were rounded most.
    nearest = nearest.to(torch.int32)
    rank += nearest.sum(0, dtype=torch.int32).to(torch.int8)
    moved = (rank < 0).to(torch.int8) - (rank > dimensions).to(torch.int8)
    nearest += moved
    residual -= moved
    rank += (dimensions + 1) * moved
    place = rank.long()
    ordered = torch.empty_like(residual).scatter_(0, place, residual)
    weights = torch.empty(points, dimensions + 1, device=features.device)
    weights[:, 0] = 1 + ordered[-1] - ordered[0]
    for corner in range(1, dimensions + 1):
        first = dimensions - corner
        torch.sub(ordered[first], ordered[first + 1], out=weights[:, corner])
    return _coded(nearest, place, weights, groups)


def _elevated(features: Tensor) -> Tensor:
    """(d + 1, N) coordinates in the hyperplane."""
    dimensions, points = features.shape
    elevated = torch.empty(dimensions + 1, points, device=features.device)
    total = torch.zeros(points, device=features.device)
    for axis in range(dimensions, 0, -1):
        scaled = features[axis - 1] * math.sqrt(2 / (3 * axis * (axis + 1)))
        torch.sub(total, scaled, alpha=axis, out=elevated[axis])
        total += scaled
    elevated[0] = total
    return elevated


def _ranks(values: Tensor) -> Tensor:
    """(n, N) int8: the place of each value in its column, the largest at 0, of equal ones the first."""
    rows, columns = values.shape
    ranks = torch.arange(rows, dtype=torch.int8, device=values.device)[:, None].repeat(1, columns)
    for first in range(rows - 1):
        for second in range(first + 1, rows):
            less = torch.lt(values[first], values[second]).view(torch.int8)
            ranks[first] += less
            ranks[second] -= less
    return ranks


def _coded(nearest: Tensor, place: Tensor, weights: Tensor, groups: int) -> Corners:
    """Number the corners.  nearest: (d + 1, N) int32, the corner of remainder 0; place: (d + 1, N) int64.

    The differences between neighbouring coordinates are whole numbers at every lattice point.  They are
    the digits of a code; the first ones depend on the first features most, so that points near in these
    have codes that are near.
    """
    dimensions, points = nearest.shape[0] - 1, nearest.shape[1]
    digits = nearest[:-1] - nearest[1:]
    low = digits.amin(1) - 2  # other corners and neighbours differ by 1 each
    sizes = (digits.amax(1) + 3 - low).tolist()
    values = [math.prod(sizes[axis + 1 :]) for axis in range(dimensions)]
    bits = (groups * math.prod(sizes)).bit_length()
    if bits + dimensions.bit_length() + points.bit_length() > LARGEST_BITS:
        problem = "has standard deviations that are too small to number all places in an image"
        raise UserError("params.yaml", "dense_crf", problem, "raise them, or set backend: pydensecrf")
    steps = tuple(before - own for own, before in zip([*values, 0], [0, *values], strict=True))
    codes = torch.zeros(dimensions + 1, points, dtype=torch.int64, device=nearest.device)
    for digit, least, value in zip(digits, low, values, strict=True):
        codes[0].add_((digit - least).long(), alpha=value)
    if groups > 1:
        codes[0].view(groups, -1).add_(
            torch.arange(groups, device=codes.device)[:, None], alpha=math.prod(sizes)
        )
    walk = torch.tensor(steps, device=codes.device)[:, None].expand_as(codes)
    walk = torch.empty_like(codes).scatter_(0, place, walk)
    for corner in range(1, dimensions + 1):
        torch.add(codes[corner - 1], walk[dimensions - corner + 1], out=codes[corner])
    return Corners(codes, weights, steps, bits)
