"""From the network's logits to masks in the image: MAL's pseudo-labels (section 8 of the specification).

Logits are averaged, become probabilities in the crop, inside the box alone, and are pasted into the image
box by box, where a threshold makes a mask of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.data.masks import MEDIUM_AREA, SMALL_AREA, Rle, encode_window
from pipeline.methods.mal.rois import Region, Size

Network = Callable[[Tensor, Tensor], Tensor]
"""Normalised crops (B, 3, S, S) and box areas (B,) in image pixels to logits (B, o, o)."""
Thresholds = tuple[float] | tuple[float, float, float]
CUT = 0.5  # the threshold of what a refinement returns: it has decided already


def choose(student: Network, teacher: Network, which: Literal["student", "teacher", "mean"]) -> list[Network]:
    """The networks whose logits are averaged."""
    return {"student": [student], "teacher": [teacher], "mean": [student, teacher]}[which]


def mean_logits(networks: Sequence[Network], images: Tensor, areas: Tensor, *, flip: bool) -> Tensor:
    """Mean logits (B, o, o) float32 of all networks, with flip also of the mirrored crops.

    images: (B, 3, S, S), normalised; areas: (B,) of the boxes in image pixels.
    """
    logits = [network(images, areas) for network in networks]
    if flip:
        logits += [network(images.flip(-1), areas).flip(-1) for network in networks]
    return torch.stack(logits).float().mean(dim=0)


def crop_probabilities(logits: Tensor, boxes: Tensor) -> Tensor:
    """(B, S, S) float32 in [0, 1] of logits (B, o, o); boxes: (B, S, S) uint8, 0 where the result is 0."""
    size = [int(side) for side in boxes.shape[-2:]]
    resized = F.interpolate(logits.float()[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    return resized.sigmoid_().mul_(boxes)


def threshold_of(area: float, thresholds: Thresholds) -> float:
    """The threshold for a box of `area` square pixels; three are for small, medium and large boxes.

    A box on a limit belongs to the smaller size.
    """
    if len(thresholds) == 1:
        return thresholds[0]
    return thresholds[sum(area > limit for limit in (SMALL_AREA, MEDIUM_AREA))]


def paste(probability: NDArray[np.float32], region: Region, size: Size, threshold: float) -> Rle:
    """The mask of an image of (height, width) `size` where a crop's probability (S, S) exceeds `threshold`.

    region: of the crop in the image.  What lies outside the image is cut off.
    """
    left, top, right, bottom = region
    # OpenCV's bilinear has torch's half-pixel centres and is many times faster on a single channel.
    whole = cv2.resize(probability, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
    # Both ends are cut at 0: a region wholly outside the image leaves an empty window.
    inside = whole[max(-top, 0) : max(size[0] - top, 0), max(-left, 0) : max(size[1] - left, 0)]
    return encode_window(inside > threshold, max(left, 0), max(top, 0), size)
