"""Reading whole images: scales, mirrors, and windows where an image is larger than the crop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import params
from pipeline.errors import UserError
from pipeline.models.layers import resize_bilinear
from pipeline.models.pixel_embedding import ClassifiedEmbedding, PixelEmbedding, padded_size


def normalised(network: PixelEmbedding, pixels: NDArray[np.uint8]) -> Tensor:
    """(1, 3, H, W) normalised image of (H, W, 3) uint8 RGB, on the network's device."""
    image = torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None]
    image = image.to(network.normalise.mean.device, torch.float32)
    normal: Tensor = network.normalise(image, [(pixels.shape[0], pixels.shape[1])])
    return normal


def views(image: Tensor, scales: Iterable[float], mirror: bool) -> Iterator[Tensor]:
    """For each scale the (1, 3, h, w) image resized, or (2, 3, h, w) with its mirror image second."""
    for scale in scales:
        height, width = (max(1, int(side * scale)) for side in image.shape[2:])
        resized = resize_bilinear(image, height, width)
        yield torch.cat([resized, resized.flip(3)]) if mirror else resized


def upright(maps: Tensor) -> Tensor:
    """(1 or 2, ...) maps of one of the `views`, a mirrored second one turned back."""
    return torch.cat([maps[:1], maps[1:].flip(-1)])


def windows(length: int, crop: int, stride: int) -> list[int]:
    """Starts of windows of `crop` that cover `length` >= crop, `stride` apart, the last one at the end."""
    return [*range(0, length - crop, stride), length - crop]


def over_windows(
    function: Callable[[Tensor], Tensor], images: Tensor, settings: params.SemanticInference
) -> Tensor:
    """What `function` gives for (B, 3, H, W) images, averaged where windows overlap: (B, c, H, W).

    function: (B, 3, crop, crop) to (B, c, crop, crop).  Images are padded with 0, the mean of the training
    images, at the right and the bottom, to the crop at least.
    """
    count, _, height, width = images.shape
    rows, columns = padded_size(height, width, (settings.crop, settings.crop))
    wide = images.new_zeros(count, 3, rows, columns)
    wide[:, :, :height, :width] = images
    total, times = None, images.new_zeros(rows, columns)
    for top in windows(rows, settings.crop, settings.stride):
        for left in windows(columns, settings.crop, settings.stride):
            here = (..., slice(top, top + settings.crop), slice(left, left + settings.crop))
            part = function(wide[here])
            total = part.new_zeros(count, part.shape[1], rows, columns) if total is None else total
            total[here] += part
            times[here] += 1
    assert total is not None
    return (total / times)[:, :, :height, :width]


def view_logits(networks: ClassifiedEmbedding, images: Tensor, settings: params.SemanticInference) -> Tensor:
    """(B, C, H, W) logits of normalised images (B, 3, H, W), enlarged from the network's stride of 4."""

    def logits(part: Tensor) -> Tensor:
        found: Tensor = networks(part)[1].float()
        return resize_bilinear(found, part.shape[2], part.shape[3])

    return over_windows(logits, images, settings)


@torch.inference_mode()
def class_probabilities(
    networks: ClassifiedEmbedding,
    pixels: NDArray[np.uint8],
    settings: params.SemanticInference,
) -> NDArray[np.float32]:
    """(C, H, W) probabilities of an image (H, W, 3) uint8 RGB, averaged over scales and mirrors.

    The networks must be in evaluation mode.
    """
    image = normalised(networks.embedding, pixels)
    height, width = image.shape[2:]
    found = []
    for view in views(image, settings.scales, settings.mirror):
        logits = resize_bilinear(upright(view_logits(networks, view, settings)), height, width)
        found.append(logits.softmax(dim=1).mean(dim=0))
    return np.asarray(torch.stack(found).mean(dim=0).cpu().numpy())


def check_finite(scores: NDArray[np.float32], model: Path, image_id: int) -> None:
    """Raise UserError unless all scores that the network in the folder `model` gives an image are finite."""
    if not np.isfinite(scores).all():
        problem = "this network gives scores that are not finite"
        raise UserError(model, f"image {image_id}", problem, "train it with a lower learning_rate")


def label_map(scores: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H, W) uint8 classes of the largest scores (C, H, W), the first of equal ones."""
    return np.asarray(scores.argmax(axis=0), np.uint8)
