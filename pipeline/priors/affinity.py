"""Affinities between places of a boundary map, and the random walk over them.

Two places belong together as far as no boundary lies between them: their affinity is 1 - the greatest
boundary on the straight line that joins them (IRN, arXiv 1904.05044, section 4.1).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache
from math import ceil
from typing import NamedTuple

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
    height, width = boundaries.shape[-2:]
    reach = ceil(radius) - 1
    padded = F.pad(boundaries, (reach, reach, 0, reach), value=WALL)

    def moved(offset: Offset) -> Tensor:
        row, column = offset
        return padded[:, row : row + height, reach + column : reach + column + width]

    return torch.stack(
        [torch.stack([moved(step) for step in segment(offset)]).amax(0) for offset in half_disc(radius)],
        dim=1,
    )


class Pairs(NamedTuple):
    """Pairs of places: offset of the second, and where the first ones lie so that both are in the image."""

    offset: Offset
    first: tuple[slice, slice]
    second: tuple[slice, slice]


def pairs(height: int, width: int, radius: float) -> Iterator[Pairs]:
    """The pairs of places of each entry of `half_disc` in an image of (height, width), in that order."""
    for row, column in half_disc(radius):
        rows = slice(0, max(height - row, 0)), slice(row, height)
        left = slice(max(0, -column), max(min(width, width - column), 0))
        right = slice(max(0, column), max(min(width, width + column), 0))
        yield Pairs((row, column), (rows[0], left), (rows[1], right))


def averaging_matrix(boundaries: Tensor, radius: float, power: float) -> Tensor:
    """One step of the walk over (B, h, w) boundaries in [0, 1]: a sparse (B h w, B h w) CSR matrix.

    Row i holds affinity(i, j) ** power for all places j of the same image within `radius`, and 1 for i
    itself, divided by their sum: a step gives each place the mean of the scores around it.  That is the
    transpose of the papers' matrix, whose columns add up to 1 and which rows of scores are multiplied with.
    """
    images, height, width = boundaries.shape
    affinities = (1 - segment_maxima(boundaries, radius)) ** power
    places = torch.arange(boundaries.numel(), device=boundaries.device).view(images, height, width)
    values, rows, columns = [torch.ones_like(boundaries).flatten()], [places.flatten()], [places.flatten()]
    for index, pair in enumerate(pairs(height, width, radius)):
        first, second = (places[:, *part].flatten() for part in (pair.first, pair.second))
        affinity = affinities[:, index, *pair.first].flatten()
        values += [affinity, affinity]
        rows += [first, second]
        columns += [second, first]
    value, row = torch.cat(values), torch.cat(rows)
    value = value / torch.zeros_like(boundaries).flatten().index_add(0, row, value)[row]
    kept = value > 0  # entries of 0 would cost time in every step
    entries = torch.stack((row, torch.cat(columns)))[:, kept]
    count = boundaries.numel()
    matrix = torch.sparse_coo_tensor(entries, value[kept], (count, count), check_invariants=False).coalesce()
    with warnings.catch_warnings():  # torch calls its CSR format a beta version, in each process once
        warnings.filterwarnings("ignore", "Sparse CSR tensor support")
        return matrix.to_sparse_csr()


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
