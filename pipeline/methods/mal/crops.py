"""Box crops: the samples that MAL trains on, and those that it predicts a mask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from pipeline import params
from pipeline.data.colors import disturb
from pipeline.data.dataset import check_images, check_size, nothing_to_train_on
from pipeline.data.images import ImageCache, ImageStore
from pipeline.engine.loader import load_batches
from pipeline.engine.sampler import Key
from pipeline.errors import UserError
from pipeline.labels.label_file import LabelFile
from pipeline.methods.mal.rois import Region, Size, crop_image, crop_mask, expand_test, expand_train
from pipeline.methods.mal.selection import BoxCounts, BoxRule, select

TEST_AREAS = (0.0, 1e9)  # square pixels, both exclusive: every real box, as in the release


@dataclass(frozen=True)
class CropSample:
    """One box, cropped for training.

    student: (3, S, S) uint8 RGB, disturbed; teacher: the same crop undisturbed; box: (S, S) uint8, 1 in the
    box; area: w * h of the box in pixels of the image.
    """

    student: Tensor
    teacher: Tensor
    box: Tensor
    area: float
    image_id: int
    annotation_id: int

    def to(self, device: torch.device) -> Self:
        return replace(
            self,
            student=self.student.to(device),
            teacher=self.teacher.to(device),
            box=self.box.to(device),
        )


@dataclass(frozen=True)
class PlacedCrop:
    """One box, cropped for prediction, and where the crop lies.

    image: (3, S, S) uint8 RGB; box: (S, S) uint8, 1 in the box, 0 outside the image; region: of the crop,
    in pixels of the image of (height, width) `size`; area: w * h of the box in pixels of the image.
    """

    image: Tensor
    box: Tensor
    region: Region
    size: Size
    area: float
    image_id: int
    annotation_id: int


class BoxCrops(Dataset[CropSample]):
    """Training crops of all boxes that are large enough; a sample is a box, not an image.

    A key is (index, draw): `draw` numbers the uses of a box, and all chance in a sample depends on seed,
    draw and index alone, so that a resumed or a distributed run sees the same samples.
    """

    def __init__(
        self, store: ImageStore, labels: LabelFile, settings: params.Mal, crop_size: int, seed: int
    ) -> None:
        """Raises UserError when no box can be trained on, or a label names an image not in the store."""
        check_images(labels, store)
        self.labels, self.augmentation = labels, settings.augmentation
        self.crop_size, self.seed = crop_size, seed
        rule = BoxRule(settings.min_area, settings.max_area, settings.min_side)
        selection = select(labels, rule)
        if not selection.counts.used:
            raise _nothing_left(labels, rule, selection.counts)
        self.counts: BoxCounts = selection.counts
        self._reasons = rule.reasons(selection.counts)
        self._places = selection.places
        self._cache = ImageCache(store)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def announcement(self) -> str:
        """How many boxes are not trained on, and why; "" when all are."""
        total = self.counts.used + self.counts.dropped
        return (
            f"{self.counts.dropped} of {total} boxes are left out: {self._reasons}" if self._reasons else ""
        )

    def __getitem__(self, key: Key) -> CropSample:
        index, draw = key
        image_id, row = self._places[index].tolist()
        labels, pixels = self.labels.images[image_id], self._cache.read(image_id)
        check_size(self.labels, image_id, pixels)
        settings, box = self.augmentation, labels.boxes[row]
        rng = np.random.default_rng((self.seed, draw, index))
        region = _region(expand_train(box[None], rng, (settings.expand_min, settings.expand_max)))
        image = crop_image(pixels, region, self.crop_size)
        mask = crop_mask(box, region, labels.size, self.crop_size, wrap=True)
        if rng.random() < settings.horizontal_flip:
            image, mask = image[:, ::-1], mask[:, ::-1]
        return CropSample(
            student=_channels_first(disturb(image, settings, rng)),
            teacher=_channels_first(image),
            box=torch.from_numpy(mask.copy()),
            area=_area(box),
            image_id=image_id,
            annotation_id=int(labels.annotation_ids[row]),
        )


class LabelingCrops(Dataset[PlacedCrop]):
    """Prediction crops of all boxes of a label file that are wide and high enough, image after image.

    The last image alone is kept decoded, so memory does not grow with the number of boxes or images; read
    the samples in order.  A key is an index.
    """

    def __init__(self, store: ImageStore, labels: LabelFile, settings: params.Mal, crop_size: int) -> None:
        """Raises UserError when a label names an image that is not in the store."""
        check_images(labels, store)
        selection = select(labels, BoxRule(*TEST_AREAS, settings.min_side))
        self.store, self.labels, self.crop_size = store, labels, crop_size
        self.expand = settings.test_expand
        self._places = selection.places
        self.annotation_ids = np.array(
            [self._annotation_id(*place) for place in self._places.tolist()], dtype=np.int64
        )
        self._last: tuple[int, NDArray[np.uint8]] | None = None

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> PlacedCrop:
        image_id, row = self._places[index].tolist()
        box, annotation_id = self.labels.images[image_id].boxes[row], int(self.annotation_ids[index])
        return placed_crop(self._read(image_id), box, self.crop_size, self.expand, image_id, annotation_id)

    def _annotation_id(self, image_id: int, row: int) -> int:
        return int(self.labels.images[image_id].annotation_ids[row])

    def _read(self, image_id: int) -> NDArray[np.uint8]:
        if self._last is None or self._last[0] != image_id:
            pixels = self.store.read(image_id)
            check_size(self.labels, image_id, pixels)
            self._last = image_id, pixels
        return self._last[1]


def read_crops(
    crops: LabelingCrops, indices: Sequence[int], labeling: params.Labeling, description: str
) -> Iterator[list[PlacedCrop]]:
    """The crops of `indices` in their order, a batch at a time, while a progress bar runs.

    As many processes as labeling.workers read and crop ahead, two batches each.
    """
    size = labeling.batch_size
    batches = [list(indices[start : start + size]) for start in range(0, len(indices), size)]
    loaded = load_batches(crops, batches, labeling.workers)
    yield from tqdm(loaded, description, len(batches), unit="batch", mininterval=1)


def placed_crop(
    pixels: NDArray[np.uint8],
    box: NDArray[np.float32],
    crop_size: int,
    expand: float,
    image_id: int,
    annotation_id: int,
) -> PlacedCrop:
    """The prediction crop of one box (4,) x0 y0 x1 y1 of an image (H, W, 3) uint8 RGB.

    expand: what the crop has more than the box, in box sides, both ends together.
    """
    region = _region(expand_test(box[None], expand))
    size = (pixels.shape[0], pixels.shape[1])
    return PlacedCrop(
        image=_channels_first(crop_image(pixels, region, crop_size)),
        box=torch.from_numpy(crop_mask(box, region, size, crop_size, wrap=False)),
        region=region,
        size=size,
        area=_area(box),
        image_id=image_id,
        annotation_id=annotation_id,
    )


def _region(regions: NDArray[np.int64]) -> Region:
    left, top, right, bottom = regions[0].tolist()
    return left, top, right, bottom


def _area(box: NDArray[np.float32]) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def _channels_first(pixels: NDArray[np.uint8]) -> Tensor:
    # The copy makes the tensor contiguous and its own: Pillow's arrays may be read-only.
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def _nothing_left(labels: LabelFile, rule: BoxRule, counts: BoxCounts) -> UserError:
    if not counts.dropped:
        return nothing_to_train_on(labels)
    return UserError(
        labels.path,
        "",
        f"none of its {counts.dropped} boxes can be trained on: {rule.reasons(counts)}",
        "change these limits in the run's row of methods in params.yaml",
    )
