"""Scores that pseudo-labels are made of, by kind of annotation (SPML's release); a dense CRF follows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import params
from pipeline.data.label_codes import VOID
from pipeline.data.semantic_samples import nearest_cells
from pipeline.errors import UserError
from pipeline.methods.semantic.inference import normalised, upright, view_logits, views
from pipeline.methods.spml.affinity import neighbour_classes
from pipeline.methods.spml.clustering import normalise
from pipeline.methods.spml.features import color_features, location_features
from pipeline.methods.spml.inference import embed
from pipeline.methods.spml.segments import Clustering, make_segments
from pipeline.methods.spml.walk import MOST_CELLS, random_walk, transitions
from pipeline.models.layers import resize_bilinear
from pipeline.models.pixel_embedding import ClassifiedEmbedding

BACKGROUND_POWER = 6  # of one minus the largest class activation
LEAST_MAXIMUM = 1e-5  # that the scores of a class are divided by
Pixels = NDArray[np.uint8]


class PseudoLabeler:
    """Makes scores (C, H, W) of images (H, W, 3) uint8 RGB with a trained embedding, in evaluation mode.

    Raises UserError for an image of more cells than a walk can have.
    """

    def __init__(
        self,
        networks: ClassifiedEmbedding,
        walk: params.RandomWalk,
        inference: params.SemanticInference,
        classes: int,
    ) -> None:
        """inference: of its windows alone; images are read at scale 1 with their mirror image."""
        self.networks = networks.eval()
        self.walk, self.inference, self.classes = walk, inference, classes

    @torch.inference_mode()
    def from_classifier(self, pixels: Pixels, labels: Pixels) -> Tensor:
        """Of boxes, scribbles and points: what the joint classifier says of the classes in the partial label
        map (H, W), each divided by its largest probability, walked."""
        image = self._views(pixels)
        probabilities = view_logits(self.networks, image, self.inference).softmax(dim=1)
        scores = upright(self._small(probabilities)).mean(dim=0)
        present = np.unique(labels)
        absent = np.setdiff1d(np.arange(self.classes), present)
        scores = by_maximum(scores)
        scores[torch.from_numpy(absent).to(scores.device)] = 0
        return self._walked(scores, image)

    @torch.inference_mode()
    def from_cams(self, pixels: Pixels, cams: NDArray[np.floating], tags: Sequence[int]) -> Tensor:
        """Of tags: class activations (n, h, w) in [0, 1] of the n tagged classes, with background, walked."""
        image = self._views(pixels)
        activations = torch.from_numpy(cams.astype(np.float32))[None].to(image.device)
        rows, columns = self._cells(image)
        activations = resize_bilinear(activations, rows, columns)[0]
        scores = activations.new_zeros(self.classes, rows, columns)
        scores[list(tags)] = activations
        scores[0] = (1 - scores[1:].amax(dim=0)) ** BACKGROUND_POWER
        return self._walked(scores, image)

    @torch.inference_mode()
    def from_segments(
        self, pixels: Pixels, labels: Pixels, regions: NDArray[np.uint16], settings: params.Spml
    ) -> Tensor:
        """Of DensePose's points: the class of the labelled segment nearest to each segment of the image, each
        class divided by its maximum, walked.  settings: of the training, which say what segments are."""
        image = self._views(pixels)
        network = self.networks.embedding
        embeddings = embed(network, image[:1], self.inference)
        height, width = (-(-side // 4) for side in pixels.shape[:2])
        embeddings = resize_bilinear(embeddings, height, width)
        maps = [torch.from_numpy(each.astype(np.int64))[None].to(image.device) for each in (labels, regions)]
        small_labels, small_regions = (nearest_cells(each, height, width) for each in maps)
        segments = make_segments(
            embeddings,
            small_labels,
            small_regions,
            location_features(height, width, image.device),
            Clustering((settings.grid, settings.grid), settings.iterations, settings.joint_weight),
            color_features(image[:1], height, width) if settings.color_features else None,
        )
        spread = neighbour_classes(segments, self.classes, least_similarity=-torch.inf)
        scores = embeddings.new_zeros(height, width, self.classes)
        scores[small_labels[0] != VOID] = spread[segments.own].to(scores.dtype)
        scores = self._small(scores.permute(2, 0, 1)[None], image)[0]
        return self._walked(by_maximum(scores), image)

    def _views(self, pixels: Pixels) -> Tensor:
        (image,) = views(normalised(self.networks.embedding, pixels), (1.0,), mirror=True)
        rows, columns = self._cells(image)
        if rows * columns > MOST_CELLS:
            size = f"{image.shape[3]} x {image.shape[2]} pixels has {rows * columns} cells"
            problem = f"an image of {size}, and a walk takes {MOST_CELLS} at most"
            raise UserError("params.yaml", f"walk.stride {self.walk.stride}", problem, "raise walk.stride")
        return image

    def _cells(self, image: Tensor) -> tuple[int, int]:
        rows, columns = (-(-side // self.walk.stride) for side in image.shape[2:])
        return rows, columns

    def _small(self, maps: Tensor, image: Tensor | None = None) -> Tensor:
        return resize_bilinear(maps, *self._cells(maps if image is None else image))

    def _walked(self, scores: Tensor, image: Tensor) -> Tensor:
        """Scores (C, h, w) after the walk between embeddings of the image and its mirror, at image size."""
        embeddings = upright(self._small(embed(self.networks.embedding, image, self.inference)))
        unit = normalise(embeddings.movedim(1, -1)).movedim(-1, 1)
        matrix = transitions(unit, self.walk.sharpness, self.walk.power)
        walked = random_walk(scores.flatten(1), matrix, self.walk.squarings).view_as(scores)
        return resize_bilinear(walked[None], *image.shape[2:])[0]


def by_maximum(scores: Tensor) -> Tensor:
    """Scores (C, h, w), each class divided by its largest."""
    return scores / scores.amax(dim=(1, 2), keepdim=True).clamp(min=LEAST_MAXIMUM)


def void_kept(label_map: Pixels, labels: Pixels) -> Pixels:
    """A pseudo-label map (H, W) with the void pixels of the partial label map."""
    return np.where(labels == VOID, np.uint8(VOID), label_map)
