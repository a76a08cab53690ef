"""Scores spread by a random walk between pixels whose embeddings are alike (SPML's inference)."""

from __future__ import annotations

import torch
from torch import Tensor

MOST_CELLS = 2**15  # pixels of a walk: its two matrices then take 8 GiB


@torch.no_grad()
def transitions(views: Tensor, sharpness: float, power: int) -> Tensor:
    """(n, n) matrix of columns that add up to 1, of the affinities between n = h * w pixels row by row.

    views: (v, c, h, w) unit embeddings, of the image and of its mirror image turned back, for example.  An
    affinity is exp(sharpness * (cosine - 1)), averaged over the v views and then raised to `power`, entry by
    entry.  One view's matrix is held beside the sum, whatever their number.
    """
    flat = views.flatten(2)
    total = _affinities(flat[0], sharpness)
    for one in flat[1:]:
        total += _affinities(one, sharpness)
    total.div_(len(flat)).pow_(power)
    return total.div_(total.sum(dim=0, keepdim=True))


def _affinities(embeddings: Tensor, sharpness: float) -> Tensor:
    """(n, n) of unit embeddings (c, n), computed in place."""
    return (embeddings.T @ embeddings).sub_(1).mul_(sharpness).exp_()


def random_walk(scores: Tensor, matrix: Tensor, squarings: int) -> Tensor:
    """Scores (C, n) times the matrix (n, n) of `transitions` squared so many times: 2**squarings steps.

    A step is scores @ matrix: for C classes and n pixels far cheaper than powers of the matrix, and the same.
    """
    for _ in range(2**squarings):
        scores = scores @ matrix
    return scores
