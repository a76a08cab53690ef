"""Spherical k-means and what else is computed per cluster."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.methods.spml.portions import portion


def normalise(embeddings: Tensor) -> Tensor:
    """Scale the last axis to unit length; the length is at least 1e-12, so that zeros stay zeros.

    As `functional.normalize`, which takes ten times as long where that axis is not the innermost in memory.
    """
    return embeddings * embeddings.square().sum(dim=-1, keepdim=True).clamp(min=1e-24).rsqrt()


def cluster_sums(embeddings: Tensor, labels: Tensor, clusters: int) -> Tensor:
    """(clusters, c) sums of the rows of embeddings (n, c) with that label (n,); 0 of an empty cluster."""
    return embeddings.new_zeros(clusters, embeddings.shape[1]).index_add(0, labels, embeddings)


def prototypes(embeddings: Tensor, labels: Tensor, clusters: int) -> Tensor:
    """(clusters, c) sums of unit length, with gradient; an empty cluster's is the zero vector."""
    return normalise(cluster_sums(embeddings, labels, clusters))


@torch.no_grad()
def spherical_kmeans(
    embeddings: Tensor, labels: Tensor, clusters: int, iterations: int, valid: Tensor | None = None
) -> Tensor:
    """(B, n) int64 clusters of unit embeddings (B, n, c) after `iterations` from the initial labels (B, n).

    Each image for itself: prototypes first, then each pixel joins the cluster of the largest cosine, the
    first of equal ones.  An empty cluster keeps its id and the zero prototype, of similarity 0 to all.
    valid: (B, n) bool; the other pixels do not count, and their labels mean nothing.
    """
    images = len(embeddings)
    counted = embeddings if valid is None else embeddings * valid[..., None]
    counted = counted.flatten(0, 1)
    first = clusters * torch.arange(images, device=labels.device)[:, None]  # cluster 0 of each image
    for _ in range(iterations):
        centres = prototypes(counted, (labels + first).flatten(), images * clusters)
        labels = _nearest(embeddings, centres.view(images, clusters, -1))
    return labels


def _nearest(embeddings: Tensor, centres: Tensor) -> Tensor:
    """(B, n) the centre (B, k, c) of the largest cosine with each pixel (B, n, c), portion by portion."""
    size = portion(centres.shape[0] * centres.shape[1], embeddings.device)
    parts = [(part @ centres.mT).argmax(dim=-1) for part in torch.split(embeddings, size, dim=1)]
    return torch.cat(parts, dim=1)


def majority(labels: Tensor, clusters: Tensor, count: int, classes: int) -> Tensor:
    """(count,) the most frequent label, in 0..classes - 1, of the pixels of each cluster.

    labels, clusters: (n,) int64.  Of equally frequent labels the lowest; 0 of an empty cluster.
    """
    return (
        torch.bincount(clusters * classes + labels, minlength=count * classes).view(count, classes).argmax(1)
    )
