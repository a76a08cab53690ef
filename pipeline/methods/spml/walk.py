"""Scores spread by a random walk between pixels whose embeddings are alike (SPML's inference)."""

from __future__ import annotations

from torch import Tensor

SHARPNESS = 5.0  # affinity = exp(5 (cosine - 1)), then to the power of 20, entry by entry
POWER = 20
STEPS = 2**6  # the release squares the transition matrix six times


def transitions(similarities: Tensor) -> Tensor:
    """(n, n) matrix of columns that add up to 1, of the affinities between n pixels.

    similarities: (v, n, n) cosines of the embeddings, of the image and of its mirror image turned back, for
    example; affinities are averaged over the v views before they are sharpened.
    """
    affinities = (SHARPNESS * (similarities - 1)).exp().mean(dim=0) ** POWER
    return affinities / affinities.sum(dim=0, keepdim=True)


def random_walk(scores: Tensor, matrix: Tensor, steps: int = STEPS) -> Tensor:
    """Scores (C, n) after so many steps with the matrix (n, n) of `transitions`.

    A step is scores @ matrix: for C classes and n pixels far cheaper than powers of the matrix, and the same.
    """
    for _ in range(steps):
        scores = scores @ matrix
    return scores


def view_similarities(views: Tensor) -> Tensor:
    """(v, n, n) cosines of unit embeddings (v, c, h, w), n = h * w row by row."""
    flat = views.flatten(2)
    return flat.mT @ flat
