"""What box supervision makes of boxes and images: box masks and pairs of similar pixels, on the device.

Maps have one entry per `stride` x `stride` pixels of the padded image; masks are those of full
resolution at rows and columns stride/2, stride/2 + stride, ...
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.methods.box_supervision.neighbours import facing, neighbour_offsets
from pipeline.methods.color import rgb_to_lab
from pipeline.params import BoxLosses
from pipeline.structures import PaddedBatch, Sample

SIMILARITY_DECAY = 0.5  # 1 / theta of equation 4 (arXiv 2012.02310), theta = 2


def box_masks(boxes: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """Rasterise boxes at the map's sample points.

    boxes: (G, 4) x1 y1 x2 y2 in pixels; size: (H, W) of the padded image, multiples of `stride`.
    Returns (G, H / stride, W / stride) bool.  A box covers rows int(y1) to int(y2 + 1) - 1 and the like
    columns; what lies outside the image is cut off.  A thin box may miss every sample point.
    """
    left, top, right, bottom = _pixel_limits(boxes)[:, :, None].unbind(dim=1)
    rows, columns = (sample_points(length, stride, boxes.device) for length in size)
    in_rows = (rows >= top) & (rows < bottom)  # (G, H / stride)
    in_columns = (columns >= left) & (columns < right)
    return in_rows[:, :, None] & in_columns[:, None, :]


def box_centroids(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Centroid of each rasterised box: the mean of its first and its last pixel within the padded image.

    boxes: (G, 4); size: (H, W).  Returns (G, 2) float32 (x, y).  It can differ from the box's centre
    by half a pixel and is where BoxInst samples positive locations.
    """
    height, width = size
    limits = _pixel_limits(boxes).float()
    first = limits[:, :2].clamp(min=0)
    end = torch.minimum(limits[:, 2:], limits.new_tensor([width, height]))
    return (first + end - 1) / 2


def box_centers(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Centre (x, y) of each of the (G, 4) boxes, whatever the padded image's size: (G, 2) float32."""
    boxes = boxes.float()
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def valid_masks(
    sizes: Sequence[tuple[int, int]],
    original_heights: Sequence[int],
    size: tuple[int, int],
    stride: int,
    bottom_pixels_removed: int,
    device: torch.device,
) -> Tensor:
    """Which sample points may be a similar neighbour: those on the image but not in its bottom strip.

    sizes: (height, width) of each resized image; original_heights: of its file; size: (H, W) padded.
    bottom_pixels_removed is in pixels of the original image (10 on COCO, whose boxes are unreliable
    there).  The strip is looked for at the bottom of what the network sees: leave it at 0 when training
    flips images upside down.  Returns (B, H / stride, W / stride) bool.
    """
    rows, columns = (sample_points(length, stride, device) for length in size)
    kept = [
        (height - int(bottom_pixels_removed * height / original), width)
        for (height, width), original in zip(sizes, original_heights, strict=True)
    ]
    limits = torch.tensor(kept, device=device).reshape(-1, 2, 1)
    return (rows < limits[:, 0])[:, :, None] & (columns < limits[:, 1])[:, None, :]


def pooled_lab(images: Tensor, stride: int) -> Tensor:
    """Mean colour of each `stride` x `stride` block, cut down to 8 bits, in LAB.

    images: (B, 3, H, W) RGB, 0..255.  Returns (B, 3, H / stride, W / stride) float32.
    """
    return rgb_to_lab(F.avg_pool2d(images.float(), stride).floor())


def color_similarity(lab: Tensor, valid: Tensor, kernel_size: int, dilation: int) -> Tensor:
    """Similarity exp(-|lab_i - lab_k| / 2) of each pixel i to its neighbours k (equation 4).

    lab: (B, 3, H, W); valid: (B, H, W) bool.  Returns (B, kernel_size^2 - 1, H, W) float32 in [0, 1], in the
    order of `neighbour_offsets`; 0 where the neighbour is invalid or outside the map.  The validity of
    the pixel itself plays no part.
    """
    offsets = neighbour_offsets(kernel_size, dilation)
    batch, _, height, width = lab.shape
    similarity = lab.new_zeros(batch, len(offsets), height, width)
    for j, (dy, dx) in enumerate(offsets[: len(offsets) // 2]):
        (rows, far_rows), (columns, far_columns) = facing(height, dy), facing(width, dx)
        difference = lab[:, :, rows, columns] - lab[:, :, far_rows, far_columns]
        distance = difference.square().sum(dim=1).sqrt()  # linalg.vector_norm is 20 times slower here
        closeness = torch.exp(-SIMILARITY_DECAY * distance)
        # The opposite neighbour sees the same difference of colours.
        similarity[:, j, rows, columns] = closeness * valid[:, far_rows, far_columns]
        similarity[:, -1 - j, far_rows, far_columns] = closeness * valid[:, rows, columns]
    return similarity


def valid_pixels(
    batch: Sequence[Sample], padded: PaddedBatch, stride: int, bottom_pixels_removed: int
) -> Tensor:
    """`valid_masks` of a batch: (B, H / stride, W / stride) bool.  padded: its images."""
    height, width = padded.images.shape[-2:]
    return valid_masks(
        padded.sizes,
        [sample.original_size[0] for sample in batch],
        (height, width),
        stride,
        bottom_pixels_removed,
        padded.images.device,
    )


def image_pairs(batch: Sequence[Sample], padded: PaddedBatch, stride: int, settings: BoxLosses) -> Tensor:
    """Similar pairs of a batch's images: (B, pairwise_size^2 - 1, H / stride, W / stride) bool.

    padded: the images, raw, in the colours that are compared.
    """
    valid = valid_pixels(batch, padded, stride, settings.bottom_pixels_removed)
    lab = pooled_lab(padded.images, stride)
    similarity = color_similarity(lab, valid, settings.pairwise_size, settings.pairwise_dilation)
    return similar_pairs(similarity, settings.color_threshold)


def similar_pairs(similarity: Tensor, threshold: float) -> Tensor:
    """Pairs that the pairwise loss holds together: similarity at or above the threshold.  Same shape, bool.

    At threshold 0 every entry is a pair, also those whose neighbour is invalid or outside the map; the
    latter add nothing to the loss but to the number that it is divided by.
    """
    return similarity >= threshold


def sample_points(length: int, stride: int, device: torch.device) -> Tensor:
    """Pixel index of each map entry along an axis of `length` pixels: stride / 2, stride / 2 + stride, ..."""
    return torch.arange(stride // 2, length, stride, device=device)


def _pixel_limits(boxes: Tensor) -> Tensor:
    """First pixel and (exclusive) end of (G, 4) boxes: int(x1), int(y1), int(x2 + 1), int(y2 + 1)."""
    return (boxes.float() + boxes.new_tensor([0, 0, 1, 1])).long()
