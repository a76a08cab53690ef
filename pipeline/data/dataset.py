"""Samples for training and for prediction, from an image store and a label file."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset
from torchvision.tv_tensors import Image, Mask

from pipeline.data.images import ImageCache, ImageStore
from pipeline.data.masks import decode
from pipeline.data.transforms import augment, drop_empty_boxes, resize_short_side
from pipeline.errors import UserError
from pipeline.files import read_json
from pipeline.labels.label_file import ImageLabels, LabelFile
from pipeline.params import Augmentation
from pipeline.structures import Sample, Target, boxes_xyxy


class LabelledImages(Dataset[Sample]):
    """Augmented training samples: the images of a store that have at least one annotation.

    A key is (index, draw): `draw` numbers the uses of an image, and the augmentation depends on seed, draw
    and index alone, so that a resumed or a distributed run sees the same samples.
    """

    def __init__(self, store: ImageStore, labels: LabelFile, augmentation: Augmentation, seed: int) -> None:
        """Raises UserError when no image has an annotation, or a label names an image not in the store."""
        self.labels, self.augmentation, self.seed = labels, augmentation, seed
        self.cache = ImageCache(store)
        check_images(labels, store)
        self.image_ids = [image_id for image_id, image in labels.images.items() if len(image.labels)]
        if not self.image_ids:
            raise nothing_to_train_on(labels)

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def aspect_ratios(self) -> NDArray[np.float64]:
        """(len,) width / height of each image before augmentation."""
        sizes = np.array([self.labels.images[image_id].size for image_id in self.image_ids], dtype=np.float64)
        return sizes[:, 1] / sizes[:, 0]

    @property
    def classes(self) -> list[NDArray[np.int64]]:
        """Of each image, the class (index into the sorted categories) of every object."""
        return [self.labels.images[image_id].labels for image_id in self.image_ids]

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        index, draw = key
        image_id = self.image_ids[index]
        labels = self.labels.images[image_id]
        pixels = self.cache.read(image_id)
        check_size(self.labels, image_id, pixels)
        sample = _sample(pixels, image_id, _target(labels))
        rng = np.random.default_rng((self.seed, draw, index))
        return drop_empty_boxes(augment(sample, self.augmentation, rng))


class PlainImages(Dataset[Sample]):
    """All images of a store in the order of their ids, resized for inference, with empty targets."""

    def __init__(self, store: ImageStore, short_side: int, max_side: int) -> None:
        self.store, self.short_side, self.max_side = store, short_side, max_side

    def __len__(self) -> int:
        return len(self.store.records)

    def __getitem__(self, index: int) -> Sample:
        image_id = self.store.records[index].id
        return resize_short_side(
            plain_sample(self.store.read(image_id), image_id), self.short_side, self.max_side
        )


def plain_sample(pixels: NDArray[np.uint8], image_id: int) -> Sample:
    """An image (H, W, 3) uint8 RGB, of whose objects nothing is known: its target is empty."""
    boxes = boxes_xyxy(torch.zeros(0, 4), (pixels.shape[0], pixels.shape[1]))
    return _sample(pixels, image_id, Target(boxes, torch.zeros(0, dtype=torch.int64)))


def nothing_to_train_on(labels: LabelFile) -> UserError:
    """The mistake of a label file without an instance, which may be a labeler's and not the user's."""
    info = read_json(labels.path).get("info", {})
    if info.get("source") != "pseudo":
        return UserError(
            labels.path,
            "",
            "no image has an annotation, so there is nothing to train on",
            "annotate the train images; crowd regions do not count",
        )
    account, name = info["account"], labels.path.parent.name
    empty, too_small = len(account["empty"]), len(account["too_small"])
    if not empty:
        return UserError(
            labels.path,
            "",
            f"the pseudo-labels {name} have no mask: the labeler had no box that is large enough for one"
            f" ({too_small} are too small)",
            "annotate the train images with boxes, or lower min_side of the labeler's row of methods",
        )
    return UserError(
        labels.path,
        "",
        f"all {empty} masks of the pseudo-labels {name} are empty, so there is nothing to train on: no"
        " probability of the labeler was above its threshold, or the refinement took all pixels away",
        f"change thresholds or refine in pseudo_labels.{name}.labeling, or train the labeler longer",
    )


def check_images(labels: LabelFile, store: ImageStore) -> None:
    """Raise UserError when a label file names an image that is not in the store."""
    known = {record.id for record in store.records}
    if unknown := [image_id for image_id in labels.images if image_id not in known]:
        raise UserError(
            labels.path,
            f"image {unknown[0]}",
            f"is not in {store.folder / 'images.json'}",
            "run `dvc repro` to make both from one dataset",
        )


def check_size(labels: LabelFile, image_id: int, pixels: NDArray[np.uint8]) -> None:
    """Raise UserError when the labels of an image are for another size than its pixels (H, W, 3) have."""
    if labels.images[image_id].size != pixels.shape[:2]:
        raise UserError(
            labels.path,
            f"image {image_id}",
            f"is for [height, width] {list(labels.images[image_id].size)},"
            f" and the image has {list(pixels.shape[:2])}",
        )


def _sample(pixels: NDArray[np.uint8], image_id: int, target: Target) -> Sample:
    # The copy makes the tensor contiguous and its own: Pillow's arrays may be read-only.
    image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    return Sample(Image(image), target, image_id, (pixels.shape[0], pixels.shape[1]))


def _target(labels: ImageLabels) -> Target:
    masks = None if labels.rles is None else Mask(torch.from_numpy(decode(labels.rles, labels.size)))
    return Target(
        boxes_xyxy(torch.from_numpy(labels.boxes.copy()), labels.size),
        torch.from_numpy(labels.labels.copy()),
        masks,
        torch.from_numpy(labels.annotation_ids.copy()),
    )
