"""Class activation maps of a trained classifier."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline import params
from pipeline.engine.devices import half_precision
from pipeline.models.classifier import TagClassifier
from pipeline.models.layers import resize_bilinear

LEAST_MAXIMUM = 1e-5  # added to the maximum that a map is divided by: IRN's


def activation_maps(classifier: TagClassifier, images: Tensor, settings: params.CamInference) -> Tensor:
    """(B, 3, H, W) uint8 RGB to (B, K, ceil(H / stride), ceil(W / stride)), 0 or more, not normalised.

    Sums of the class maps over all scales and, if `mirror`, over the mirror image, which is mirrored back
    first (IRN, arXiv 1904.05044, as released).
    """
    height, width = images.shape[-2:]
    size = stored_size((height, width), settings.stride)
    total = images.new_zeros(len(images), classifier.classes.out_channels, *size, dtype=torch.float32)
    pixels = images.float()
    for scale in settings.scales:
        scaled = _rescale(pixels, max(1, round(scale * height)), max(1, round(scale * width)))
        with half_precision(images.device):
            maps = classifier.class_maps(scaled).float()
            if settings.mirror:
                maps = maps + classifier.class_maps(scaled.flip(-1)).float().flip(-1)
        total += resize_bilinear(maps, *size)
    return total


def normalised(maps: Tensor, tags: Sequence[int]) -> Tensor:
    """Of (K, h, w), the maps of `tags` (classes 1..K), each divided by its maximum: (n, h, w) in [0, 1]."""
    chosen = maps[torch.tensor(tags, dtype=torch.int64, device=maps.device) - 1]
    return chosen / (chosen.amax(dim=(1, 2), keepdim=True) + LEAST_MAXIMUM)


def stored_size(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """(height, width) of the maps that are kept of an image of `size`."""
    return -(-size[0] // stride), -(-size[1] // stride)


def _rescale(images: Tensor, height: int, width: int) -> Tensor:
    """Cubic, antialiased, back in 0..255."""
    if images.shape[-2:] == (height, width):
        return images
    scaled = F.interpolate(images, (height, width), mode="bicubic", antialias=True, align_corners=False)
    return scaled.clamp(0, 255)
