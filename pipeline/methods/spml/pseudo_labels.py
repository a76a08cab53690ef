"""Scores that pseudo-labels are made of, by kind of annotation (SPML's release); a dense CRF follows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import params
from pipeline.data.label_codes import UNLABELLED, VOID
from pipeline.data.semantic_samples import nearest_cells
from pipeline.errors import UserError
from pipeline.methods.semantic.inference import normalised, upright, view_logits, views
from pipeline.methods.spml.clustering import normalise
from pipeline.methods.spml.features import location_features
from pipeline.methods.spml.inference import embed
from pipeline.methods.spml.retrieval import nearest_labels
from pipeline.methods.spml.segments import Clustering, Segments, make_segments
from pipeline.methods.spml.walk import MOST_CELLS, random_walk, transitions
from pipeline.models.layers import resize_bilinear
from pipeline.models.pixel_embedding import ClassifiedEmbedding

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
        """inference: of its windows alone but for the second classifier; images are read at scale 1."""
        self.networks = networks.eval()
        self.walk, self.inference, self.classes = walk, inference, classes

    @torch.inference_mode()
    def from_classifier(self, pixels: Pixels, labels: Pixels) -> Tensor:
        """Of boxes, scribbles and points: what the joint classifier says of the classes in the partial label
        map (H, W), each divided by its largest probability, walked."""
        image = self._views(pixels)
        probabilities = view_logits(self.networks, image, self.inference).softmax(dim=1)
        scores = upright(self._small(probabilities, image)).mean(dim=0)
        present = np.unique(labels)
        absent = np.setdiff1d(np.arange(self.classes), present)
        scores = by_maximum(scores)
        scores[torch.from_numpy(absent).to(scores.device)] = 0
        return self._walked(scores, image, [image])

    @torch.inference_mode()
    def from_cams(
        self, pixels: Pixels, cams: NDArray[np.floating], tags: Sequence[int], alpha: float
    ) -> Tensor:
        """Of tags: class activations (n, h, w) in [0, 1] of the n tagged classes, with background, walked.

        alpha: the background's score is one minus the greatest activation, to this power.
        """
        image = self._views(pixels)
        activations = torch.from_numpy(cams.astype(np.float32))[None].to(image.device)
        rows, columns = self._cells(image)
        activations = resize_bilinear(activations, rows, columns)[0]
        scores = activations.new_zeros(self.classes, rows, columns)
        scores[list(tags)] = activations
        scores[0] = (1 - scores[1:].amax(dim=0)) ** alpha
        return self._walked(scores, image, [image])

    @torch.inference_mode()
    def from_second_classifier(self, pixels: Pixels, tags: Sequence[int]) -> Tensor:
        """Of tags, in their second round: what a classifier on the first round's labels says of background
        and tagged classes, each divided by its largest probability, walked.

        Logits are averaged over the scales and mirrors of `inference`, which the walk sees, too.
        """
        image = self._image(pixels)
        pictures = list(views(image, self.inference.scales, self.inference.mirror))
        of_views = [view_logits(self.networks, each, self.inference) for each in pictures]
        logits = torch.cat([upright(self._small(each, image)) for each in of_views])
        scores = by_maximum(logits.mean(dim=0).softmax(dim=0))
        seen = torch.zeros(self.classes, dtype=torch.bool, device=scores.device)
        seen[[0, *tags]] = True
        return self._walked(scores * seen[:, None, None], image, pictures)

    @torch.inference_mode()
    def from_segments(
        self, pixels: Pixels, labels: Pixels, regions: NDArray[np.uint16], clustering: Clustering
    ) -> Tensor:
        """Of DensePose's points: the classes of the labelled segments nearest to the pixels, averaged over
        each segment of the image, divided by their maximum, walked.

        labels, regions: (H, W).  Segments are those of all pixels, void ones too, at half the image's size;
        neither they nor the walk see colours or the mirror image.
        """
        image = self._image(pixels)
        height, width = (-(-side // 2) for side in pixels.shape[:2])
        embeddings = resize_bilinear(embed(self.networks.embedding, image, self.inference), height, width)
        given = np.where(labels == VOID, UNLABELLED, labels)
        maps = [torch.from_numpy(each.astype(np.int64))[None].to(image.device) for each in (given, regions)]
        small_labels, small_regions = (nearest_cells(each, height, width) for each in maps)
        place = location_features(height, width, image.device)
        segments = make_segments(embeddings, small_labels, small_regions, place, clustering)
        shares = neighbour_shares(segments, self.classes)
        scores = shares[segments.own].T.reshape(1, self.classes, height, width)
        return self._walked(by_maximum(self._small(scores, image)[0]), image, [image])

    def _views(self, pixels: Pixels) -> Tensor:
        (image,) = views(self._image(pixels), (1.0,), mirror=True)
        return image

    def _image(self, pixels: Pixels) -> Tensor:
        """(1, 3, H, W) normalised image.  Raises UserError for one of more cells than a walk can have."""
        image = normalised(self.networks.embedding, pixels)
        rows, columns = self._cells(image)
        if rows * columns > MOST_CELLS:
            size = f"{image.shape[3]} x {image.shape[2]} pixels has {rows * columns} cells"
            problem = f"an image of {size}, and a walk takes {MOST_CELLS} at most"
            raise UserError("params.yaml", f"walk.stride {self.walk.stride}", problem, "raise walk.stride")
        return image

    def _cells(self, image: Tensor) -> tuple[int, int]:
        rows, columns = (-(-side // self.walk.stride) for side in image.shape[2:])
        return rows, columns

    def _small(self, maps: Tensor, image: Tensor) -> Tensor:
        return resize_bilinear(maps, *self._cells(image))

    def _walked(self, scores: Tensor, image: Tensor, pictures: Sequence[Tensor]) -> Tensor:
        """Scores (C, h, w) after the walk between embeddings of `pictures`, at the size of `image`.

        pictures: views of the image, (1 or 2, 3, ...), the mirror image second.
        """
        of_views = [embed(self.networks.embedding, each, self.inference) for each in pictures]
        embeddings = torch.cat([upright(self._small(each, image)) for each in of_views])
        unit = normalise(embeddings.movedim(1, -1)).movedim(-1, 1)
        matrix = transitions(unit, self.walk.sharpness, self.walk.power)
        walked = random_walk(scores.flatten(1), matrix, self.walk.squarings).view_as(scores)
        return resize_bilinear(walked[None], *image.shape[2:])[0]


def neighbour_shares(segments: Segments, classes: int) -> Tensor:
    """(m, classes) float32: of each segment, the shares of its pixels whose nearest labelled segment has the
    class, by the cosine of plain embeddings.  All are 0 where no segment has a label.

    segments: of one image.
    """
    labelled = segments.label < classes
    count = len(segments.label)
    if not labelled.any():
        return segments.embeddings.new_zeros(count, classes)
    nearest = nearest_labels(segments.embeddings, segments.prototypes[labelled], segments.label[labelled], 1)
    found = torch.bincount(segments.own * classes + nearest[:, 0], minlength=count * classes)
    votes = found.view(count, classes).float()
    return votes / votes.sum(dim=1, keepdim=True)


def by_maximum(scores: Tensor) -> Tensor:
    """Scores (C, h, w), each class divided by its largest."""
    return scores / scores.amax(dim=(1, 2), keepdim=True).clamp(min=LEAST_MAXIMUM)


def void_kept(label_map: Pixels, labels: Pixels) -> Pixels:
    """A pseudo-label map (H, W) with the void pixels of the partial label map."""
    return np.where(labels == VOID, np.uint8(VOID), label_map)
