"""The four relationships between pixels and segments (SPML, arXiv 2105.00957, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.data.label_codes import UNLABELLED
from pipeline.distributed import mean_over_processes
from pipeline.methods.spml.affinity import neighbour_classes
from pipeline.methods.spml.contrast import contrast
from pipeline.methods.spml.segments import Segments


@dataclass(frozen=True)
class Others:
    """Segments beside those of the batch: of its other processes, and of earlier steps.

    prototypes: (k, c) unit length; labels: (k,) classes or UNLABELLED; tags: (k, C) bool, of their images.
    """

    prototypes: Tensor
    labels: Tensor
    tags: Tensor


def image_similarity(segments: Segments, concentration: float, *, joint: bool) -> Tensor:
    """Low-level image similarity: segments of the pixel's own region of the over-segmentation are positive,
    the other segments of its image negative.  Mean over images of the mean over pixels; 0 without pixels.

    joint: on embeddings with location (VOC), else on plain ones (DensePose).
    """
    pixels = segments.joint if joint else segments.embeddings
    prototypes = segments.joint_prototypes if joint else segments.prototypes
    image = segments.image[segments.own]
    present, counts = torch.unique_consecutive(image, return_counts=True)
    sizes = torch.bincount(segments.image)[present].tolist()
    share = _shares(pixels, len(sizes))
    total = pixels.sum() * 0
    first_pixel = first_segment = 0
    for count, size in zip(counts.tolist(), sizes, strict=True):
        here = slice(first_pixel, first_pixel + count)
        there = slice(first_segment, first_segment + size)
        own, region = segments.own[here] - first_segment, segments.region[there]
        weights = (share / count).expand(count)
        relation = region[:, None] == region
        total = total + contrast(pixels[here], prototypes[there], own, own, relation, concentration, weights)
        first_pixel, first_segment = first_pixel + count, first_segment + size
    return total


def semantic_annotation(segments: Segments, others: Others | None, concentration: float) -> Tensor:
    """Semantic annotation: labelled segments of the pixel's class are positive, other labelled ones negative.

    Mean over labelled pixels; 0 where there is none (the release: not a number).
    """
    prototypes, labels = segments.prototypes, segments.label
    if others is not None:
        prototypes = torch.cat([prototypes, others.prototypes])
        labels = torch.cat([labels, others.labels])
    labelled = labels < UNLABELLED
    places = labelled.cumsum(0) - 1  # of the labelled segments among themselves
    kept = labelled[segments.own]
    own = segments.own[kept]
    classes, labels = torch.unique(labels[labelled], return_inverse=True)
    relation = torch.arange(len(classes), device=labels.device)[:, None] == labels
    own = places[own]
    return _mean(segments.embeddings[kept], prototypes[labelled], own, labels[own], relation, concentration)


def semantic_cooccurrence(
    segments: Segments, tags: Tensor, others: Others | None, concentration: float, *, skip_untagged: bool
) -> Tensor:
    """Semantic co-occurrence: segments of images that share a tag are positive, all others negative.

    tags: (B, C) bool, foreground classes of each image.  Mean over pixels.  A pixel of an image without tags
    has no positive segment, and its own counts above and, twice, below the line, as in the release;
    skip_untagged: such pixels do not count.
    """
    prototypes, of_segments = segments.prototypes, tags[segments.image]
    if others is not None:
        prototypes = torch.cat([prototypes, others.prototypes])
        of_segments = torch.cat([of_segments, others.tags])
    image = segments.image[segments.own]
    pixels, own = segments.embeddings, segments.own
    if skip_untagged:
        kept = tags.any(dim=1)[image]
        pixels, own, image = pixels[kept], own[kept], image[kept]
    return _mean(pixels, prototypes, own, image, _share(tags, of_segments), concentration)


def affinity_sets(segments: Segments, classes: int, least_similarity: float) -> Tensor:
    """(m, classes) bool: the propagated labels of each segment.

    A segment takes the class of the labelled segment of its image that is most like it, where that cosine of
    joint prototypes is least_similarity or more; else it has all classes, and is positive for everybody.
    """
    sets = neighbour_classes(segments, classes, least_similarity)
    return sets | ~sets.any(dim=1, keepdim=True)


def feature_affinity(segments: Segments, sets: Tensor, others: Others | None, concentration: float) -> Tensor:
    """Feature affinity: segments whose propagated labels meet are positive, all others negative.

    sets: (m, classes) of `affinity_sets`; others: of other processes, with their sets as tags.  Mean over
    pixels, within the batch.  The release has this term in its recipes and never computes it.
    """
    prototypes, of_segments = segments.prototypes, sets
    if others is not None:
        prototypes = torch.cat([prototypes, others.prototypes])
        of_segments = torch.cat([sets, others.tags])
    distinct, rows = torch.unique(sets, dim=0, return_inverse=True)
    own, relation = segments.own, _share(distinct, of_segments)
    return _mean(segments.embeddings, prototypes, own, rows[own], relation, concentration)


def _share(some: Tensor, others: Tensor) -> Tensor:
    """(n, m) bool: whether sets (n, C) and (m, C) bool meet."""
    return some.float() @ others.float().T > 0


def _mean(
    pixels: Tensor, prototypes: Tensor, own: Tensor, rows: Tensor, relation: Tensor, concentration: float
) -> Tensor:
    """The mean over the pixels of all processes; 0 where there are none."""
    weights = _shares(pixels, len(pixels)).expand(len(pixels))
    return contrast(pixels, prototypes, own, rows, relation, concentration, weights)


def _shares(like: Tensor, count: int) -> Tensor:
    """One over a count, averaged over processes: with what the engine averages, that is one over all."""
    return 1 / mean_over_processes(torch.tensor(float(count), device=like.device)).clamp(min=1)
