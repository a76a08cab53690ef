"""What a step sees of each labelled image and, beside it, of an image without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from pipeline.data.dataset import LabelledImages, plain_sample
from pipeline.data.images import ImageStore
from pipeline.data.transforms import augment, disturbed
from pipeline.engine.sampler import Key, step_of
from pipeline.errors import UserError
from pipeline.labels.label_file import LabelFile
from pipeline.labels.unlabelled import read_unlabelled
from pipeline.params import Taught
from pipeline.structures import Sample

# They part the streams of the unlabelled images from those of the labelled ones (four words each).
_ORDER = (0, 2)
_VIEWS = 3


@dataclass(frozen=True)
class Views:
    """Two views of an image without labels, which have one geometry.

    weak: (3, H, W) uint8 RGB, for the teacher; strong: the same disturbed, for the student.
    """

    weak: Tensor
    strong: Tensor
    image_id: int

    def to(self, device: torch.device) -> Views:
        return Views(self.weak.to(device), self.strong.to(device), self.image_id)


@dataclass(frozen=True)
class Pair:
    """A labelled sample, and an image without labels; None where the step learns from no such image."""

    labelled: Sample
    unlabelled: Views | None

    @property
    def image_id(self) -> int:
        return self.labelled.image_id

    @property
    def origin(self) -> str:
        """The images of both kinds, for messages."""
        beside = "" if self.unlabelled is None else f" with unlabelled {self.unlabelled.image_id}"
        return f"{self.image_id}{beside}"

    def to(self, device: torch.device) -> Self:
        unlabelled = None if self.unlabelled is None else self.unlabelled.to(device)
        return replace(self, labelled=self.labelled.to(device), unlabelled=unlabelled)


class Pairs(Dataset[Pair]):
    """The labelled images of a label file, each with the next image of a list without labels.

    A key is (index, draw), of the labelled image and of the pair.  The draw alone decides which unlabelled
    image it is: they come in epochs of their own, each a permutation of the list.  All chance in a pair
    depends on seed, draw and indices, so that a resumed or a distributed run sees the same pairs.
    """

    def __init__(
        self,
        store: ImageStore,
        labels: LabelFile,
        unlabelled: Path,
        settings: Taught,
        seed: int,
        taught_from: int = 0,
    ) -> None:
        """unlabelled: a list of image ids, as `write_unlabelled` writes; taught_from: the first step that
        learns from images without labels: pairs of earlier ones lack them, and nobody reads them for nothing.

        Raises UserError when either kind of images is missing, or one is not in the store.
        """
        self.labelled = LabelledImages(store, labels, settings.augmentation, seed)
        self.image_ids = _known_images(unlabelled, store)
        self.settings, self.seed, self.taught_from = settings, seed, taught_from
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.labelled)

    @property
    def classes(self) -> list[NDArray[np.int64]]:
        """Of each labelled image, the class of every object."""
        return self.labelled.classes

    @property
    def announcement(self) -> str:
        """How many images there are of each kind."""
        return f"masks of {len(self)} images, and {len(self.image_ids)} images without labels"

    def __getitem__(self, key: Key) -> Pair:
        _, draw = key
        taught = step_of(draw, self.settings.train.batch_size) >= self.taught_from
        return Pair(self.labelled[key], self._views(draw) if taught else None)

    def _views(self, draw: int) -> Views:
        """The image without labels that comes with a draw."""
        index = self._unlabelled(draw)
        image_id = self.image_ids[index]
        rng = np.random.default_rng((self.seed, draw, index, _VIEWS))
        plain = plain_sample(self.labelled.cache.read(image_id), image_id)
        weak = augment(plain, self.settings.augmentation, rng)
        strong = disturbed(weak, self.settings.disturbance, rng)
        return Views(weak.image.as_subclass(Tensor), strong, image_id)

    def _unlabelled(self, draw: int) -> int:
        """The index in the list of the image that comes with a draw."""
        epoch, place = divmod(draw, len(self.image_ids))
        if self._order[0] != epoch:
            rng = np.random.default_rng((self.seed, epoch, *_ORDER))
            self._order = epoch, rng.permutation(len(self.image_ids))
        return int(self._order[1][place])


def _known_images(path: Path, store: ImageStore) -> Sequence[int]:
    """The image ids of a list.  Raises UserError when it is empty or names an image not in the store."""
    image_ids = read_unlabelled(path)
    if not image_ids:
        raise UserError(
            path,
            "",
            "there is no image without labels to learn from",
            "set pool: all in the split, or label fewer images",
        )
    known = {record.id for record in store.records}
    if unknown := [image_id for image_id in image_ids if image_id not in known]:
        raise UserError(
            path,
            f"image {unknown[0]}",
            f"is not in {store.folder / 'images.json'}",
            "run `dvc repro` to make both from one dataset",
        )
    return image_ids
