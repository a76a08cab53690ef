"""Images with their tags: what the classifier behind class activation maps is trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from pipeline import params
from pipeline.data.images import ImageCache, ImageStore
from pipeline.engine.sampler import Key
from pipeline.errors import UserError
from pipeline.methods.cam.tags import TagSource, check_images, indicator
from pipeline.methods.cam.windows import cut_square


@dataclass(frozen=True)
class TaggedImage:
    """One training image.

    image: (3, S, S) uint8 RGB; tags: (K,) float32, 1 for each class of the foreground that the whole image
    has, crop or not.
    """

    image: Tensor
    tags: Tensor
    image_id: int

    def to(self, device: torch.device) -> Self:
        return replace(self, image=self.image.to(device), tags=self.tags.to(device))


class TaggedImages(Dataset[TaggedImage]):
    """All images of a label set of tags, augmented; those without a tag too, which speak against all classes.

    A key is (index, draw): `draw` numbers the uses of an image, and the augmentation depends on seed, draw
    and index alone, so that a resumed or a distributed run sees the same samples.
    """

    def __init__(
        self,
        store: ImageStore,
        labels: TagSource,
        augmentation: params.TagAugmentation,
        pad: tuple[float, float, float],
        seed: int,
    ) -> None:
        """pad: RGB of what the crop adds, 0..255: the network's mean, which is 0 to it.

        Raises UserError when no image has a tag, or an image is not in the store.
        """
        check_images(labels, store)
        self.tags = [(image_id, image.tags) for image_id, image in labels.images.items()]
        if not any(tags for _, tags in self.tags):
            problem = "no image has a tag, so there is nothing to learn"
            raise UserError(labels.folder / "labels.json", "", problem, "tag the images")
        self.num_classes, self.augmentation, self.pad, self.seed = (
            len(labels.classes),
            augmentation,
            pad,
            seed,
        )
        self._cache = ImageCache(store)

    def __len__(self) -> int:
        return len(self.tags)

    def __getitem__(self, key: Key) -> TaggedImage:
        index, draw = key
        (image_id, tags), settings = self.tags[index], self.augmentation
        rng = np.random.default_rng((self.seed, draw, index))
        side, mirrored = rng.uniform(*settings.long_side), rng.random() < settings.horizontal_flip
        image = resize_long_side(self._cache.read(image_id), round(side))
        image = cut_square(image[:, ::-1] if mirrored else image, settings.crop, self.pad, rng)
        return TaggedImage(
            torch.from_numpy(image.transpose(2, 0, 1).copy()),
            torch.from_numpy(indicator(tags, self.num_classes)),
            image_id,
        )


def resize_long_side(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Resize (H, W, 3) so that the longer side is `side` pixels: means of areas down, cubic up."""
    scale = side / max(pixels.shape[:2])
    return resize(pixels, max(1, round(pixels.shape[0] * scale)), max(1, round(pixels.shape[1] * scale)))


def resize(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize (H, W, 3) to (height, width, 3): means of areas down, cubic up."""
    if pixels.shape[:2] == (height, width):
        return pixels
    shrinks = height * width < pixels.shape[0] * pixels.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=method), dtype=np.uint8)
