"""Training samples of semantic segmentation: crops of pictures with their label maps and regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from pipeline.data.images import ImageCache, ImageStore
from pipeline.data.label_codes import VOID
from pipeline.data.packs import Pack
from pipeline.errors import UserError
from pipeline.params import SemanticAugmentation

_GREY = np.array([0.3, 0.59, 0.11], dtype=np.float32)  # weights of R, G and B, as in SPML's release
_BLUR = 5  # side of the blur's window

Pixels = NDArray[np.uint8]
Regions = NDArray[np.uint16]


@dataclass(frozen=True)
class SemanticSample:
    """One crop.

    image: (3, H, W) uint8 RGB; size: (height, width) of the picture in it, the rest being padding; labels:
    (H, W) uint8 classes and codes, VOID in the padding; regions: (H, W) int32 ids of an over-segmentation, 0
    without one; tags: (C,) bool, classes of the whole image as its annotation says.
    """

    image: Tensor
    size: tuple[int, int]
    labels: Tensor
    regions: Tensor
    tags: Tensor
    image_id: int

    def to(self, device: torch.device) -> Self:
        return replace(
            self,
            image=self.image.to(device),
            labels=self.labels.to(device),
            regions=self.regions.to(device),
            tags=self.tags.to(device),
        )


class SemanticImages(Dataset[SemanticSample]):
    """Augmented crops of all images that have a label map.

    A key is (index, draw): `draw` numbers the uses of an image, and the augmentation depends on seed, draw
    and index alone, so that a resumed or a distributed run sees the same samples.
    """

    def __init__(
        self,
        store: ImageStore,
        labels: Pack,
        tags: Mapping[int, Sequence[int]],
        regions: Pack | None,
        augmentation: SemanticAugmentation,
        classes: int,
        seed: int,
    ) -> None:
        """labels: (partial) label maps; tags: image id -> classes; regions: an over-segmentation, if needed.

        Raises UserError when a map is of an image not in the store, has no tags or no regions, when there is
        no map, and when the augmentation swaps a class that is none of `classes`.
        """
        self.labels, self.tags, self.regions = labels, tags, regions
        self.augmentation, self.classes, self.seed = augmentation, classes, seed
        self.image_ids = labels.ids
        self._cache = ImageCache(store)
        known = {record.id for record in store.records}
        for image_id in self.image_ids:
            if image_id not in known:
                raise _unfit(labels, image_id, f"is not in {store.folder / 'images.json'}")
            if image_id not in tags:
                raise _unfit(labels, image_id, "has a label map and no tags")
            if regions is not None and image_id not in regions:
                raise _unfit(regions, image_id, "has no map of regions")
        if unknown := [index for pair in augmentation.swapped_classes for index in pair if index >= classes]:
            problem = f"names class {unknown[0]}, and the {classes} classes end with {classes - 1}"
            raise UserError("params.yaml", "swapped_classes", problem, "count classes from 0")
        if not self.image_ids:
            raise UserError(
                labels.folder, "", "holds no label map, so there is nothing to train on", "label the images"
            )

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, key: tuple[int, int]) -> SemanticSample:
        index, draw = key
        image_id = self.image_ids[index]
        pixels, labels = self._cache.read(image_id), self.labels.read(image_id)
        regions = np.zeros_like(labels, np.uint16) if self.regions is None else self.regions.read(image_id)
        for pack, values in ((self.labels, labels), (self.regions, regions)):
            if pack is not None and values.shape != pixels.shape[:2]:
                size = f"[height, width] {list(values.shape)}, and the image has {list(pixels.shape[:2])}"
                raise _unfit(pack, image_id, f"is a map of {size}")
        rng = np.random.default_rng((self.seed, draw, index))
        pixels, labels, regions = augment_maps(pixels, labels, regions, self.augmentation, rng)
        image, padded_labels, padded_regions = (
            padded(values, self.augmentation.crop, code)
            for values, code in ((pixels, 0), (labels, VOID), (regions, 0))
        )
        tags = torch.zeros(self.classes, dtype=torch.bool)
        tags[list(self.tags[image_id])] = True
        return SemanticSample(
            image=torch.from_numpy(image.transpose(2, 0, 1).copy()),
            size=(labels.shape[0], labels.shape[1]),
            labels=torch.from_numpy(padded_labels),
            regions=torch.from_numpy(padded_regions.astype(np.int32)),
            tags=tags,
            image_id=image_id,
        )


def _unfit(pack: Pack, image_id: int, problem: str) -> UserError:
    return UserError(
        pack.folder, f"image {image_id}", problem, "run `dvc repro` to make both from one dataset"
    )


def augment_maps(
    pixels: Pixels, labels: Pixels, regions: Regions, settings: SemanticAugmentation, rng: np.random.Generator
) -> tuple[Pixels, Pixels, Regions]:
    """Mirror, scale, crop, then grey and blur, of a picture (H, W, 3) uint8 RGB and its maps (H, W).

    The result is as large as the crop, or as the scaled picture where that is smaller.  The crop's first row
    is floor(U(0, room)) of the `room` that the picture has beyond the crop, so that the last place is never
    drawn, as in SPML's release; columns alike.  Always draws the same amount of numbers.
    """
    mirrored, top, left, grey, blurred = rng.random(5).tolist()
    scale, sigma = rng.uniform(*settings.scale_range), rng.uniform(*settings.blur_sigma)
    if mirrored < settings.horizontal_flip:
        pixels, labels, regions = pixels[:, ::-1], swap(labels, settings)[:, ::-1], regions[:, ::-1]
    height, width = (max(1, int(side * scale)) for side in labels.shape)
    rows, columns = (
        slice(start, start + side)
        for side, start in (
            (side, int(share * max(whole - side, 0)))
            for side, whole, share in zip(settings.crop, (height, width), (top, left), strict=True)
        )
    )
    if (height, width) != labels.shape:
        size = width, height
        pixels = np.asarray(cv2.resize(np.ascontiguousarray(pixels), size), np.uint8)
        labels = np.asarray(_nearest(labels, size), np.uint8)
        regions = np.asarray(_nearest(regions, size), np.uint16)
    pixels, labels, regions = pixels[rows, columns], labels[rows, columns], regions[rows, columns]
    if grey < settings.grey_probability:
        pixels = _rounded(np.repeat((pixels @ _GREY)[..., None], 3, axis=2))
    if blurred < settings.blur_probability:
        pixels = _rounded(cv2.filter2D(pixels.astype(np.float32), -1, blur_kernel(sigma)))
    return pixels, labels, regions


def swap(labels: Pixels, settings: SemanticAugmentation) -> Pixels:
    """The label map with the classes exchanged that a mirror exchanges."""
    table = np.arange(256, dtype=np.uint8)
    for one, other in settings.swapped_classes:
        table[[one, other]] = other, one
    return table[labels]


def blur_kernel(sigma: float) -> NDArray[np.float32]:
    """(5, 5) weights exp(-(x^2 + y^2) / sigma^2), adding up to 1; SPML's release has no factor of 2 there."""
    steps = np.arange(_BLUR) - _BLUR // 2
    weights = np.exp(-(steps[:, None] ** 2 + steps**2) / sigma**2)
    return np.asarray(weights / weights.sum(), dtype=np.float32)


def padded(values: NDArray[np.uint8] | Regions, size: tuple[int, int], code: int) -> NDArray[np.generic]:
    """The map, or picture, with `code` at the right and the bottom up to (height, width) `size`."""
    result = np.full((*size, *values.shape[2:]), code, dtype=values.dtype)
    result[: values.shape[0], : values.shape[1]] = values
    return result


def _nearest(values: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    return np.asarray(cv2.resize(np.ascontiguousarray(values), size, interpolation=cv2.INTER_NEAREST))


def _rounded(values: NDArray[Any]) -> Pixels:
    return np.asarray(np.rint(values), np.uint8)


def nearest_cells(maps: Tensor, height: int, width: int) -> Tensor:
    """(B, H, W) maps of whole numbers to (B, height, width): of each cell the pixel at its first corner.

    Pixel floor(i * H / height) of row i: PyTorch's "nearest".
    """
    rows, columns = (
        torch.arange(cells, device=maps.device) * side // cells
        for cells, side in ((height, maps.shape[1]), (width, maps.shape[2]))
    )
    return maps[:, rows[:, None], columns]
