"""Embeddings of whole images, and classes of pixels by the segments of a memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import params
from pipeline.data.label_codes import VOID
from pipeline.data.semantic_samples import nearest_cells
from pipeline.methods.semantic.inference import normalised, over_windows, upright, views
from pipeline.methods.spml.clustering import majority, normalise, prototypes, spherical_kmeans
from pipeline.methods.spml.features import color_features, grid_clusters, location_features
from pipeline.methods.spml.retrieval import nearest_labels, votes
from pipeline.models.layers import resize_bilinear
from pipeline.models.pixel_embedding import PixelEmbedding


@dataclass(frozen=True)
class Memory:
    """Labelled segments of training images: prototypes (m, d) of unit length, labels (m,) int64 classes."""

    prototypes: Tensor
    labels: Tensor

    @classmethod
    def of(cls, parts: Sequence[Memory]) -> Memory:
        """The segments of all parts, one at least, in their order."""
        return cls(torch.cat([part.prototypes for part in parts]), torch.cat([part.labels for part in parts]))


def embed(network: PixelEmbedding, images: Tensor, settings: params.SemanticInference) -> Tensor:
    """(B, d, H, W) embeddings of normalised images (B, 3, H, W): enlarged from stride 4, of unit length in
    every window, and averaged where windows overlap."""

    def unit(part: Tensor) -> Tensor:
        enlarged = resize_bilinear(network(part).float(), part.shape[2], part.shape[3])
        return normalise(enlarged.movedim(1, -1)).movedim(-1, 1)

    return over_windows(unit, images, settings)


def image_clusters(
    embeddings: Tensor, images: Tensor, retrieval: params.Retrieval, *, color_features_too: bool
) -> Tensor:
    """(B, H, W) clusters of embeddings (B, d, H, W) by k-means with location, as in training.

    color_features_too: with the colours of the normalised images (B, 3, H, W), too.
    """
    count, _, height, width = embeddings.shape
    parts = [
        normalise(embeddings.movedim(1, -1)),
        location_features(height, width, embeddings.device).expand(count, -1, -1, -1),
    ]
    if color_features_too:
        parts.append(color_features(images, height, width))
    joint = normalise(torch.cat(parts, dim=-1)).flatten(1, 2)
    grid = (retrieval.grid, retrieval.grid)
    start = grid_clusters(height, width, grid, embeddings.device).flatten().expand(count, -1)
    clusters = spherical_kmeans(joint, start, retrieval.grid**2, retrieval.iterations)
    return clusters.view(count, height, width)


class Retriever:
    """Makes memories of labelled images and finds classes in them.  The network is put in evaluation mode."""

    def __init__(
        self,
        network: PixelEmbedding,
        inference: params.SemanticInference,
        retrieval: params.Retrieval,
        classes: int,
        *,
        color_features: bool,
    ) -> None:
        """inference: of its windows alone; the scales and mirrors are those of `retrieval`."""
        self.network = network.eval()
        self.inference, self.retrieval, self.classes = inference, retrieval, classes
        self.color_features = color_features

    @torch.inference_mode()
    def memorise(self, pixels: NDArray[np.uint8], label_map: NDArray[np.uint8]) -> Memory:
        """The segments of an image (H, W, 3) uint8 RGB, each with the majority label of its map (H, W) uint8.

        Segments whose majority is no class are left out.
        """
        image = normalised(self.network, pixels)
        truth = torch.from_numpy(label_map.astype(np.int64))[None].to(image.device)
        found, labels = [], []
        for view in views(image, self.retrieval.memory_scales, mirror=False):
            centres, clusters = self._segments(view)
            cells = nearest_cells(truth, *view.shape[2:]).flatten()
            most = majority(cells, clusters[0].flatten(), centres.shape[1], VOID + 1)
            # An empty cluster has no direction, and the first class as its majority.
            kept = (most < self.classes) & centres[0].any(dim=1)
            found.append(centres[0, kept])
            labels.append(most[kept])
        return Memory(torch.cat(found), torch.cat(labels))

    @torch.inference_mode()
    def scores(self, pixels: NDArray[np.uint8], memory: Memory) -> Tensor:
        """(C, H, W) shares of the classes among the nearest segments, averaged over scales and mirrors.

        memory: of one segment at least.
        """
        image = normalised(self.network, pixels)
        height, width = image.shape[2:]
        found = []
        for view in views(image, self.retrieval.scales, self.retrieval.mirror):
            centres, clusters = self._segments(view)
            nearest = nearest_labels(
                centres.flatten(0, 1), memory.prototypes, memory.labels, self.retrieval.neighbours
            )
            shares = votes(nearest, self.classes).view(len(view), -1, self.classes)
            maps = torch.stack([one[where] for one, where in zip(shares, clusters, strict=True)])
            found.append(resize_bilinear(upright(maps.movedim(-1, 1)), height, width).mean(dim=0))
        return torch.stack(found).mean(dim=0)

    def _segments(self, view: Tensor) -> tuple[Tensor, Tensor]:
        """Prototypes (B, k, d), 0 of empty clusters, and clusters (B, h, w) of normalised images."""
        embeddings = embed(self.network, view, self.inference)
        clusters = image_clusters(embeddings, view, self.retrieval, color_features_too=self.color_features)
        centres = [
            prototypes(normalise(one.flatten(1).T), where.flatten(), self.retrieval.grid**2)
            for one, where in zip(embeddings, clusters, strict=True)
        ]
        return torch.stack(centres), clusters


def emphasised(scores: Tensor, tags: Iterable[int], floor: float) -> Tensor:
    """Scores (C, H, W), those of background and tagged classes divided by their maximum, `floor` at least.

    The other classes stay as they are, as in SPML's release; they are not set to 0.
    """
    largest = scores.amax(dim=(1, 2)).clamp(min=floor)
    counted = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    counted[[0, *tags]] = True
    return scores / largest.where(counted, 1.0)[:, None, None]
