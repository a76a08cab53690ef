"""What passes between data, methods, engine and evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat, Image, Mask


@dataclass
class Target:
    """What a method may see of one image.

    boxes: (N, 4) float32, x1 y1 x2 y2 in pixels of the (resized) image; labels: (N,) int64, contiguous,
    in [0, number of classes); masks: (N, H, W) bool, or None when the supervision has no masks;
    annotation_ids: (N,) int64 of the label file, or None where the target comes from none.
    """

    boxes: BoundingBoxes
    labels: Tensor
    masks: Mask | None = None
    annotation_ids: Tensor | None = None

    def required_masks(self) -> Mask:
        """The masks.  Raises ValueError where the labels are boxes alone."""
        if self.masks is None:
            raise ValueError("a method on masks needs masks, and this sample has none")
        return self.masks

    def to(self, device: torch.device) -> Target:
        masks, ids = (None if part is None else part.to(device) for part in (self.masks, self.annotation_ids))
        return Target(self.boxes.to(device), self.labels.to(device), masks, ids)


@dataclass
class Sample:
    """One image with its target.

    image: (3, H, W) uint8, RGB, 0..255; original_size: (height, width) of the file before resizing.
    """

    image: Image
    target: Target
    image_id: int
    original_size: tuple[int, int]

    def to(self, device: torch.device) -> Sample:
        return Sample(self.image.to(device), self.target.to(device), self.image_id, self.original_size)


@dataclass
class Instances:
    """Detections of one image, in pixels of the original image, best score first.

    boxes: (N, 4) float32 xyxy; labels: (N,) int64; scores: (N,) float32 in [0, 1];
    masks: (N, H, W) bool of the original size.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    masks: Tensor

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass
class PaddedBatch:
    """Images of unequal size in one tensor, padded with zeros at the right and the bottom.

    images: (B, 3, H, W) float32, 0..255, not normalised; sizes: (height, width) of each before padding.
    """

    images: Tensor
    sizes: list[tuple[int, int]] = field(default_factory=list)


def boxes_xyxy(values: Tensor, size: tuple[int, int]) -> BoundingBoxes:
    """Wrap (N, 4) x1 y1 x2 y2 values as tv_tensor boxes of an image of (height, width) `size`."""
    return BoundingBoxes(values.reshape(-1, 4), format=BoundingBoxFormat.XYXY, canvas_size=size)


def pad_images(images: list[Tensor], divisor: int) -> PaddedBatch:
    """Pad (3, H, W) images to the largest height and width, rounded up to a multiple of `divisor`."""
    sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
    height = -(-max(h for h, _ in sizes) // divisor) * divisor
    width = -(-max(w for _, w in sizes) // divisor) * divisor
    batch = torch.zeros(len(images), 3, height, width, dtype=torch.float32, device=images[0].device)
    for slot, image, (h, w) in zip(batch, images, sizes, strict=True):
        slot[:, :h, :w] = image.as_subclass(Tensor)
    return PaddedBatch(batch, sizes)


def mask_boxes(masks: Tensor) -> Tensor:
    """The boxes (N, 4) float32 xyxy that just hold the pixels of masks (N, H, W) bool; 0 of an empty mask."""
    sides = []
    for axis in (1, 2):
        spanned = masks.any(dim=axis)  # over the rows first: which columns
        places = torch.arange(spanned.shape[1], device=masks.device)
        low = torch.where(spanned, places, spanned.shape[1]).amin(dim=1)
        high = torch.where(spanned, places + 1, 0).amax(dim=1)
        sides.append((torch.minimum(low, high), high))
    (left, right), (top, bottom) = sides
    return torch.stack((left, top, right, bottom), dim=1).float()
