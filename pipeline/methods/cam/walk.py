"""Class activation maps spread up to the boundaries that a trained detector sees."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline import params
from pipeline.engine.devices import half_precision
from pipeline.models.boundary import BoundaryNetwork
from pipeline.models.layers import resize_bilinear
from pipeline.priors.affinity import random_walk


def boundary_maps(network: BoundaryNetwork, images: Tensor, mirror: bool) -> Tensor:
    """(B, 3, H, W) uint8 RGB to (B, h, w) in [0, 1], of the network's stride.

    mirror: of the mean of the logits of the image and of its mirror image, mirrored back.
    """
    with half_precision(images.device):
        logits: Tensor = network(images).float()
        if mirror:
            logits = (logits + network(images.flip(-1)).float().flip(-1)) / 2
    return logits.sigmoid()


def spread(
    maps: Sequence[Tensor], boundaries: Tensor, walk: params.Walk, size: tuple[int, int]
) -> list[Tensor]:
    """The maps of a batch of images after the walk, of (height, width) `size`, in [0, 1].

    maps: of each image (n, H', W') in [0, 1], n as many as it has classes; boundaries: (B, h, w).  The maps
    are brought to the boundary's size and multiplied by 1 - boundary; after the walk they are enlarged and
    divided by the greatest value of the image, of all its classes together (IRN, arXiv 1904.05044, section
    5.1 and release).
    """
    images, height, width = boundaries.shape
    most = max((len(own) for own in maps), default=0)
    if not most:
        return [own.new_zeros(0, *size) for own in maps]
    scores = boundaries.new_zeros(images, most, height, width)
    for slot, own in zip(scores, maps, strict=True):
        slot[: len(own)] = _reduced(own, height, width)
    scores = scores * (1 - boundaries[:, None])
    walked = random_walk(scores, boundaries, walk.radius, walk.power, walk.squarings)
    enlarged = resize_bilinear(walked, *size)
    greatest = enlarged.amax(dim=(1, 2, 3), keepdim=True)
    enlarged = enlarged / greatest.clamp(min=torch.finfo(enlarged.dtype).tiny)
    return [image[: len(own)] for image, own in zip(enlarged, maps, strict=True)]


def _reduced(maps: Tensor, height: int, width: int) -> Tensor:
    """(n, H', W') to (n, height, width); means of areas where that is smaller."""
    if not len(maps):
        return maps.new_zeros(0, height, width)
    if maps.shape[-2:] == (height, width):
        return maps
    resized: Tensor = F.interpolate(
        maps[None], (height, width), mode="bilinear", antialias=True, align_corners=False
    )[0]
    return resized
