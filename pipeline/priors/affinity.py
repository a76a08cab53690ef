"""Affinities between places of a boundary map, and the random walk over them.

Two places belong together as far as no boundary lies between them: their affinity is 1 - the greatest
boundary on the straight line that joins them (IRN, arXiv 1904.05044, section 4.1).
"""

from __future__ import annotations

import warnings
from functools import cache
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

Offset = tuple[int, int]  # (rows, columns)
WALL = 1.0  # boundary of what lies outside the image: no walk leaves it


@cache
def half_disc(radius: float) -> tuple[Offset, ...]:
    """All offsets shorter than `radius`, one of each pair of opposites: downwards, or straight right."""
    reach = ceil(radius) - 1
    return tuple(
        (row, column)
        for row in range(reach + 1)
        for column in range(-reach, reach + 1)
        if (row, column) > (0, 0) and row**2 + column**2 < radius**2
    )


@cache
def segment(offset: Offset) -> tuple[Offset, ...]:
    """The places of the straight line from (0, 0) to `offset`, with both ends.

    Those of the bounding rectangle that are closer than 1 to the line.
    """
    rows, columns = (range(min(0, step), max(0, step) + 1) for step in offset)
    length = offset[0] ** 2 + offset[1] ** 2
    return tuple(
        (row, column)
        for row in rows
        for column in columns
        if (offset[0] * column - offset[1] * row) ** 2 < length
    )


def segment_maxima(boundaries: Tensor, radius: float) -> Tensor:
    """The greatest boundary between each place and those around it.

    boundaries: (B, h, w) in [0, 1].  Returns (B, P, h, w): entry (b, p, y, x) is the maximum on the segment
    from (y, x) to (y, x) + half_disc(radius)[p], and WALL if that lies outside the image.  Differentiable.
    """
    moved = _Moved(boundaries, radius, WALL)
    maxima = [
        torch.stack([moved.by(step) for step in segment(offset)]).amax(0) for offset in half_disc(radius)
    ]
    return torch.stack(maxima, dim=1)


def others(values: Tensor, radius: float, outside: int) -> Tensor:
    """What each place's partners hold: (B, h, w) to (B, P, h, w), in the order of `half_disc`.

    Entry (b, p, y, x) is the value at (y, x) + half_disc(radius)[p], or `outside` if that is not in the
    image.
    """
    moved = _Moved(values, radius, outside)
    return torch.stack([moved.by(offset) for offset in half_disc(radius)], dim=1)


class _Moved:
    """Views of (B, h, w) values as seen from other places."""

    def __init__(self, values: Tensor, radius: float, outside: float) -> None:
        self.height, self.width = values.shape[-2:]
        self.reach = ceil(radius) - 1
        self.padded = F.pad(values, (self.reach, self.reach, 0, self.reach), value=outside)

    def by(self, offset: Offset) -> Tensor:
        """(B, h, w): at each place the value at place + offset; the offset's row is 0 or more."""
        row, column = offset[0], self.reach + offset[1]
        return self.padded[:, row : row + self.height, column : column + self.width]


def averaging_matrix(boundaries: Tensor, radius: float, power: float) -> Tensor:
    """One step of the walk over (B, h, w) boundaries in [0, 1]: a sparse (B h w, B h w) CSR matrix.

    Row i holds affinity(i, j) ** power for all places j of the same image within `radius`, and 1 for i
    itself, divided by their sum: a step gives each place the mean of the scores around it.  That is the
    transpose of the papers' matrix, whose columns add up to 1 and which rows of scores are multiplied with.
    """
    count = boundaries.numel()
    places = torch.arange(count, device=boundaries.device).view(boundaries.shape)
    partners = others(places, radius, -1)
    affinities = (1 - segment_maxima(boundaries, radius)) ** power
    # Entries of 0 would cost time in every step; all that lead out of the image are.
    kept = (affinities > 0) & (partners >= 0)
    first, second, affinity = places[:, None].expand_as(partners)[kept], partners[kept], affinities[kept]
    itself = places.flatten()
    row, column = torch.cat([itself, first, second]), torch.cat([itself, second, first])
    value = torch.cat([torch.ones_like(boundaries).flatten(), affinity, affinity])
    value = value / value.new_zeros(count).index_add(0, row, value)[row]
    matrix = torch.sparse_coo_tensor(
        torch.stack((row, column)), value, (count, count), check_invariants=False
    )
    with warnings.catch_warnings():  # torch calls its CSR format a beta version, in each process once
        warnings.filterwarnings("ignore", "Sparse CSR tensor support")
        return matrix.coalesce().to_sparse_csr()


def random_walk(scores: Tensor, boundaries: Tensor, radius: float, power: float, squarings: int) -> Tensor:
    """Spread (B, C, h, w) scores by 2 ** squarings steps of a walk that boundaries (B, h, w) hold up.

    The papers square the matrix `squarings` times (AffinityNet, arXiv 1803.10464, section 3.3; IRN).  Here as
    many steps are taken one by one: the same product, but of a matrix that has a few dozen entries in a row
    and stays sparse.  At stride 4 of a 500 pixel image that saves a factor of some 10^4.
    """
    images, classes, height, width = scores.shape
    matrix = averaging_matrix(boundaries, radius, power)
    state = scores.permute(0, 2, 3, 1).reshape(-1, classes).contiguous()
    for _ in range(2**squarings):
        state = matrix @ state
    return state.view(images, height, width, classes).permute(0, 3, 1, 2)
