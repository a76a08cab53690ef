"""Geometry of training and test input: resizing, flips, transposition and crops of a sample and its target.

Images, boxes and masks move together and exactly: a flip sends x to W - x for box edges, which is W - 1 - x
for pixels.  Plain tensor operations, several times faster on small images than the dispatch of torchvision's
v2 transforms; only the resampling is torchvision's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import resize_image
from torchvision.tv_tensors import Image, Mask

from pipeline.data.colors import distort, disturb
from pipeline.params import Augmentation, Disturbance
from pipeline.structures import Sample, Target, boxes_xyxy, mask_boxes

Size = tuple[int, int]  # (height, width)


def augment(sample: Sample, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
    """Resize to a drawn size, flip and transpose at random, cut out a crop and distort its colours.

    Always draws the same amount of numbers for a size, so that one choice does not shift the others.
    """
    pick, horizontal, vertical, transposed = rng.random(4)
    scale = rng.uniform(*augmentation.scale_range)
    place = tuple(rng.random(2).tolist())
    short_side = augmentation.short_sides[int(pick * len(augmentation.short_sides))]
    sample = resize_short_side(sample, scale * short_side, scale * augmentation.max_side)
    if horizontal < augmentation.horizontal_flip:
        sample = flip_horizontally(sample)
    if vertical < augmentation.vertical_flip:
        sample = flip_vertically(sample)
    if transposed < augmentation.transpose:
        sample = transpose(sample)
    # Last of what moves pixels, so that padding is never flipped to the left or the top.
    if augmentation.crop:
        sample = crop(sample, augmentation.crop, place, augmentation.pad_value)
    if augmentation.colors == "ssd":
        sample = recolored(sample, lambda pixels: distort(pixels, rng))
    return sample


def recolored(sample: Sample, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> Sample:
    """The sample with other colours; change: of the image as (H, W, 3) uint8 RGB."""
    pixels = np.ascontiguousarray(sample.image.as_subclass(Tensor).permute(1, 2, 0).numpy())
    image = torch.from_numpy(change(pixels).transpose(2, 0, 1).copy())
    return replace(sample, image=Image(image))


def disturbed(sample: Sample, disturbance: Disturbance, rng: np.random.Generator) -> Tensor:
    """What a student sees of an image that its teacher sees as it is: (3, H, W) uint8."""
    image: Tensor = recolored(sample, lambda pixels: disturb(pixels, disturbance, rng)).image
    return image.as_subclass(Tensor)


def resized_size(size: Size, short_side: float, max_side: float) -> Size:
    """(height, width) with the short side at `short_side`, unless the long one would exceed `max_side`."""
    scale = min(short_side / min(size), max_side / max(size))
    height, width = (max(1, int(side * scale + 0.5)) for side in size)
    return height, width


def resize_short_side(sample: Sample, short_side: float, max_side: float) -> Sample:
    """Resize as `resized_size` says; the same object if that is its size already."""
    size = _size(sample)
    wanted = resized_size(size, short_side, max_side)
    return sample if wanted == size else resize(sample, wanted)


def resize(sample: Sample, size: Size) -> Sample:
    """Resize to (height, width): image antialiased bilinear, masks to the nearest pixel centre."""
    height, width = _size(sample)
    factors = torch.tensor([size[1] / width, size[0] / height] * 2)

    def of_image(image: Tensor) -> Tensor:
        resized: Tensor = resize_image(image, list(size), InterpolationMode.BILINEAR, antialias=True)
        return resized

    rows, columns = _nearest(height, size[0]), _nearest(width, size[1])

    def of_masks(masks: Tensor) -> Tensor:
        # Several times faster in numpy than by interpolate; transposed, as decoded masks lie in memory.
        by_column = masks.numpy().transpose(0, 2, 1)
        return torch.from_numpy(by_column.take(columns, axis=1).take(rows, axis=2).transpose(0, 2, 1))

    return _apply(sample, of_image, of_masks, lambda boxes: boxes * factors)


def flip_horizontally(sample: Sample) -> Sample:
    """Exchange left and right."""
    width = _size(sample)[1]
    return _apply(
        sample,
        lambda pixels: pixels.flip(-1),
        lambda pixels: pixels.flip(-1),
        lambda boxes: torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1),
    )


def flip_vertically(sample: Sample) -> Sample:
    """Exchange top and bottom."""
    height = _size(sample)[0]
    return _apply(
        sample,
        lambda pixels: pixels.flip(-2),
        lambda pixels: pixels.flip(-2),
        lambda boxes: torch.stack([boxes[:, 0], height - boxes[:, 3], boxes[:, 2], height - boxes[:, 1]], 1),
    )


def transpose(sample: Sample) -> Sample:
    """Exchange x and y."""
    return _apply(
        sample,
        lambda pixels: pixels.mT.contiguous(),
        lambda pixels: pixels.mT.contiguous(),
        lambda boxes: boxes[:, [1, 0, 3, 2]],
    )


def crop(sample: Sample, size: tuple[int, ...], place: tuple[float, ...], pad_value: int) -> Sample:
    """Cut out (height, width) `size`; a side that is shorter is padded, at the right or the bottom.

    place: where the crop's top and left lie in [0, 1) of the room for them; pad_value: of all channels.
    Boxes are drawn anew round what is left of the masks: what a crop leaves of an object may be smaller
    than what it leaves of its box.  Without masks, they reach beyond the crop.
    """
    room = (old - new + 1 for old, new in zip(_size(sample), size, strict=True))
    top, left = (int(share * max(free, 1)) for share, free in zip(place, room, strict=True))

    def cut(pixels: Tensor, value: int) -> Tensor:
        part = pixels[:, top : top + size[0], left : left + size[1]]
        padded = part.new_full((len(part), *size), value)
        padded[:, : part.shape[1], : part.shape[2]] = part
        return padded

    moved = _apply(
        sample,
        lambda image: cut(image, pad_value),
        lambda masks: cut(masks, False),
        lambda boxes: boxes - torch.tensor([left, top] * 2),
    )
    masks = moved.target.masks
    if masks is not None:
        moved.target.boxes = boxes_xyxy(mask_boxes(masks.as_subclass(Tensor)), (size[0], size[1]))
    return moved


def drop_empty_boxes(sample: Sample) -> Sample:
    """Cut boxes to the image and drop those, with all that belongs to them, that have no area in it."""
    height, width = _size(sample)
    boxes = torch.minimum(
        sample.target.boxes.as_subclass(Tensor).clamp(min=0),
        torch.tensor([width, height, width, height], dtype=torch.float32),
    )
    keep = (boxes[:, 2:] > boxes[:, :2]).all(1)
    masks, ids = sample.target.masks, sample.target.annotation_ids
    if not keep.all():
        masks = None if masks is None else Mask(masks.as_subclass(Tensor)[keep])
        ids = None if ids is None else ids[keep]
        boxes = boxes[keep]
    target = Target(boxes_xyxy(boxes, (height, width)), sample.target.labels[keep], masks, ids)
    return Sample(sample.image, target, sample.image_id, sample.original_size)


def _nearest(old: int, new: int) -> NDArray[np.int64]:
    """(new,) index of the old pixel in which the centre of each new one lies ("nearest-exact")."""
    return ((np.arange(new) + 0.5) * old / new).astype(np.int64)


def _size(sample: Sample) -> Size:
    return int(sample.image.shape[-2]), int(sample.image.shape[-1])


def _apply(
    sample: Sample,
    of_image: Callable[[Tensor], Tensor],
    of_masks: Callable[[Tensor], Tensor],
    of_boxes: Callable[[Tensor], Tensor],
) -> Sample:
    """A new sample from the parts of `sample`, each through its function as a plain tensor."""
    image = of_image(sample.image.as_subclass(Tensor))
    old = sample.target
    masks = None if old.masks is None else Mask(of_masks(old.masks.as_subclass(Tensor)))
    boxes = boxes_xyxy(of_boxes(old.boxes.as_subclass(Tensor)), (int(image.shape[-2]), int(image.shape[-1])))
    target = Target(boxes, old.labels, masks, old.annotation_ids)
    return Sample(Image(image), target, sample.image_id, sample.original_size)
