"""Training the boundary detector, and the samples it is trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from pipeline import params
from pipeline.data.images import ImageCache, ImageStore
from pipeline.data.label_codes import UNLABELLED, VOID
from pipeline.data.packs import Pack
from pipeline.engine.sampler import Key
from pipeline.errors import UserError
from pipeline.methods.cam.pair_losses import pair_losses
from pipeline.methods.cam.tagged_images import resize
from pipeline.methods.cam.windows import cut_square
from pipeline.models.boundary import BoundaryNetwork


@dataclass(frozen=True)
class ConfidentImage:
    """One training image: (3, S, S) uint8 RGB, and (S, S) uint8 labels with the codes of label_codes.py."""

    image: Tensor
    labels: Tensor
    image_id: int

    def to(self, device: torch.device) -> Self:
        return replace(self, image=self.image.to(device), labels=self.labels.to(device))


class ConfidentImages(Dataset[ConfidentImage]):
    """Augmented images with their confident labels.  A key is (index, draw), as for `TaggedImages`."""

    def __init__(
        self,
        store: ImageStore,
        labels: Pack,
        augmentation: params.BoundaryAugmentation,
        pad: tuple[float, float, float],
        seed: int,
    ) -> None:
        """labels: one map per image, of its size; pad: RGB of what the crop adds, 0..255.

        Images without a confident pixel are left out.  Raises UserError when that leaves none.
        """
        self.labels, self.augmentation, self.pad, self.seed = labels, augmentation, pad, seed
        self.image_ids = [key for key in labels.ids if (labels.read(key) < UNLABELLED).any()]
        if not self.image_ids:
            raise UserError(
                labels.folder, "", "no image has a confident pixel", "lower confident.foreground of the row"
            )
        self._cache = ImageCache(store)

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def announcement(self) -> str:
        """How many images are not trained on; "" when all are."""
        left_out = len(self.labels.ids) - len(self)
        return f"{left_out} of {len(self.labels.ids)} images have no confident pixel" if left_out else ""

    def __getitem__(self, key: Key) -> ConfidentImage:
        index, draw = key
        image_id, settings = self.image_ids[index], self.augmentation
        rng = np.random.default_rng((self.seed, draw, index))
        image, labels = self._cache.read(image_id), self.labels.read(image_id)
        scale, mirrored = rng.uniform(*settings.scale), rng.random() < settings.horizontal_flip
        height, width = (max(1, round(side * scale)) for side in labels.shape)
        image = resize(image, height, width)
        labels = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        # One crop of both: the labels as a fourth channel.
        both = np.concatenate([image, labels[:, :, None]], axis=2)
        both = cut_square(both[:, ::-1] if mirrored else both, settings.crop, (*self.pad, VOID), rng)
        channels = torch.from_numpy(both.transpose(2, 0, 1).copy())
        return ConfidentImage(channels[:3], channels[3], image_id)


class BoundaryDetection:
    """What the engine needs to train a `BoundaryNetwork` on pairs of confident labels."""

    def __init__(self, module: BoundaryNetwork, radius: float) -> None:
        """radius: of the pairs, in cells of the boundary map."""
        self.module: nn.Module = module
        self.radius, self.stride = radius, module.stride

    def losses(self, batch: list[ConfidentImage], step: int) -> dict[str, Tensor]:
        """The three means of `pair_losses`, with the weights that they have in its total."""
        boundaries = self.module(torch.stack([sample.image for sample in batch])).sigmoid()
        labels = torch.stack([sample.labels for sample in batch])
        centre = self.stride // 2
        cells = labels[:, centre :: self.stride, centre :: self.stride]
        rest = (boundaries.shape[1] - cells.shape[1], boundaries.shape[2] - cells.shape[2])
        if any(rest):  # a last cell without a centre in the crop
            cells = nn.functional.pad(cells, (0, rest[1], 0, rest[0]), value=VOID)
        losses = pair_losses(boundaries, cells, self.radius)
        return {
            "background": losses.background / 4,
            "foreground": losses.foreground / 4,
            "different": losses.different / 2,
        }

    def after_step(self, step: int) -> None:
        """Nothing follows a step."""
