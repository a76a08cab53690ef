"""What a step sees of each image: as it is for the teacher, disturbed for the student."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from pipeline.data.dataset import LabelledImages
from pipeline.data.images import ImageStore
from pipeline.data.transforms import disturbed
from pipeline.engine.sampler import Key
from pipeline.labels.label_file import LabelFile
from pipeline.params import BoxTeacher
from pipeline.structures import Sample

_STRONG = 4  # parts the stream of the colours from that of the geometry


@dataclass(frozen=True)
class LabelledViews:
    """Two views of a labelled image, which have one geometry.

    weak: with the target, in the image's own colours; strong: (3, H, W) uint8 RGB, the same disturbed; key:
    (index, draw), of which all chance in them is a function.
    """

    weak: Sample
    strong: Tensor
    key: Key

    @property
    def image_id(self) -> int:
        return self.weak.image_id

    def to(self, device: torch.device) -> LabelledViews:
        return replace(self, weak=self.weak.to(device), strong=self.strong.to(device))


class TwoViews(Dataset[LabelledViews]):
    """The samples of `LabelledImages`, each with a disturbed copy, of which the same holds."""

    def __init__(self, store: ImageStore, labels: LabelFile, settings: BoxTeacher, seed: int) -> None:
        """Raises UserError as `LabelledImages` does."""
        self.labelled = LabelledImages(store, labels, settings.augmentation, seed)
        self.disturbance, self.seed = settings.disturbance, seed

    def __len__(self) -> int:
        return len(self.labelled)

    @property
    def aspect_ratios(self) -> NDArray[np.float64]:
        """(len,) width / height of each image before augmentation."""
        return self.labelled.aspect_ratios

    @property
    def classes(self) -> list[NDArray[np.int64]]:
        """Of each image, the class of every object."""
        return self.labelled.classes

    def __getitem__(self, key: Key) -> LabelledViews:
        weak, (index, draw) = self.labelled[key], key
        rng = np.random.default_rng((self.seed, draw, index, _STRONG))
        return LabelledViews(weak, disturbed(weak, self.disturbance, rng), key)
