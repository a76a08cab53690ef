"""Scores spread by a random walk between pixels whose embeddings are alike (SPML's inference)."""

from __future__ import annotations

from torch import Tensor


def transitions(similarities: Tensor, sharpness: float = 5.0, power: int = 20) -> Tensor:
    """(n, n) matrix of columns that add up to 1, of the affinities between n pixels.

    similarities: (v, n, n) cosines of the embeddings, of the image and of its mirror image turned back, for
    example.  An affinity is exp(sharpness * (cosine - 1)), averaged over the v views and then raised to
    `power`, entry by entry.
    """
    affinities = (sharpness * (similarities - 1)).exp().mean(dim=0) ** power
    return affinities / affinities.sum(dim=0, keepdim=True)


def random_walk(scores: Tensor, matrix: Tensor, squarings: int = 6) -> Tensor:
    """Scores (C, n) times the matrix (n, n) of `transitions` squared so many times: 2**squarings steps.

    A step is scores @ matrix: for C classes and n pixels far cheaper than powers of the matrix, and the same.
    """
    for _ in range(2**squarings):
        scores = scores @ matrix
    return scores


def view_similarities(views: Tensor) -> Tensor:
    """(v, n, n) cosines of unit embeddings (v, c, h, w), n = h * w row by row."""
    flat = views.flatten(2)
    return flat.mT @ flat
