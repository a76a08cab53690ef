"""What pixels are contrasted with: clusters, cut along the over-segmentation and the annotation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.data.label_codes import VOID
from pipeline.methods.spml.clustering import normalise, prototypes, spherical_kmeans
from pipeline.methods.spml.features import grid_clusters

_REGIONS = 2**16  # more than any id of an over-segmentation
_LABELS = 2**8


@dataclass(frozen=True)
class Segments:
    """The pixels of a batch that are not void, image after image and row by row, and their m segments.

    embeddings: (n, c) of unit length; joint: (n, c + l) of unit length, with location and colours; own: (n,)
    the segment of each pixel.  Of each segment: image, label (a class, or UNLABELLED), region (m,) int64;
    prototypes (m, c) and joint_prototypes (m, c + l), the sums of unit length.  Segments are in the order of
    image, cluster, label and region.
    """

    embeddings: Tensor
    joint: Tensor
    own: Tensor
    image: Tensor
    label: Tensor
    region: Tensor
    prototypes: Tensor
    joint_prototypes: Tensor


@dataclass(frozen=True)
class Clustering:
    """How segments are made: a grid of (rows, columns) initial clusters, the iterations of k-means, and the
    weight of the embedding in the joint one that losses see (1 = that of the clustering)."""

    grid: tuple[int, int]
    iterations: int
    joint_weight: float = 1.0


def make_segments(
    embeddings: Tensor,
    labels: Tensor,
    regions: Tensor,
    location: Tensor,
    clustering: Clustering,
    colors: Tensor | None = None,
) -> Segments:
    """Cluster each image's embeddings and cut the clusters (SPML, arXiv 2105.00957, section 3).

    embeddings: (B, c, H, W), of any length; labels, regions: (B, H, W) integers, VOID in `labels` takes a
    pixel out; location: (H, W, 2).  colors: (B, H, W, 3), which with the location join the clustering and the
    joint embedding.  Clusters have no gradient; all else has.
    """
    images, _, height, width = embeddings.shape
    unit = normalise(embeddings.permute(0, 2, 3, 1))
    places = location.to(unit.dtype).expand(images, -1, -1, -1)
    if colors is not None:
        places = torch.cat([places, colors.to(unit.dtype)], dim=-1)
    joint = normalise(torch.cat([unit, places], dim=-1))
    valid = labels != VOID
    start = grid_clusters(height, width, clustering.grid, embeddings.device).expand(images, -1, -1)
    count = clustering.grid[0] * clustering.grid[1]
    clusters = spherical_kmeans(
        joint.flatten(1, 2), start.flatten(1), count, clustering.iterations, valid.flatten(1)
    ).view_as(labels)
    image = torch.arange(images, device=labels.device)[:, None, None]
    keys = ((image * count + clusters) * _LABELS + labels.long()) * _REGIONS + regions.long()
    distinct, own = torch.unique(keys[valid], return_inverse=True)
    if clustering.joint_weight != 1:  # the clusters are not made anew
        joint = normalise(torch.cat([clustering.joint_weight * unit, places], dim=-1))
    unit, joint = unit[valid], joint[valid]
    return Segments(
        embeddings=unit,
        joint=joint,
        own=own,
        image=distinct // (_REGIONS * _LABELS * count),
        label=distinct // _REGIONS % _LABELS,
        region=distinct % _REGIONS,
        prototypes=prototypes(unit, own, len(distinct)),
        joint_prototypes=prototypes(joint, own, len(distinct)),
    )
