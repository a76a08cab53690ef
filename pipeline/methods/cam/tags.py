"""What the stages of class activation maps know of the annotations: which classes each image has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.data.images import ImageStore
from pipeline.errors import UserError


class TaggedRecord(Protocol):
    """One image of a label set; tags: indices of the classes that it has, ascending, none 0."""

    @property
    def id(self) -> int: ...
    @property
    def file_name(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def tags(self) -> tuple[int, ...]: ...


class TagSource(Protocol):
    """A label set of which only the tags are read.

    classes: names by index; background: whether class 0 is a background; images: by id, in their order.
    """

    @property
    def folder(self) -> Path: ...
    @property
    def classes(self) -> Sequence[str]: ...
    @property
    def background(self) -> bool: ...
    @property
    def images(self) -> Mapping[int, TaggedRecord]: ...


def check_background(labels: TagSource) -> None:
    """Raise UserError for full scenes: class 0, which no tag tells, would be where no map is high."""
    if not labels.background:
        problem = "have no background, which class activation maps tell from the classes"
        raise UserError(labels.folder, "classes", problem, "label points or scribbles instead")


def indicator(tags: Sequence[int], classes: int) -> NDArray[np.float32]:
    """(classes - 1,) 1 for each tag, else 0; the background has no place, so class 1 comes first."""
    present = np.zeros(classes - 1, dtype=np.float32)
    present[np.array(tags, dtype=np.int64) - 1] = 1
    return present


def sizes_of(labels: TagSource) -> dict[int, tuple[int, int]]:
    """Image id -> (height, width)."""
    return {image_id: (image.height, image.width) for image_id, image in labels.images.items()}


def check_images(labels: TagSource, store: ImageStore) -> None:
    """Raise UserError when an image of the labels is not in the store, or is of another size there."""
    known = {record.id: (record.height, record.width) for record in store.records}
    for image_id, size in sizes_of(labels).items():
        if known.get(image_id) != size:
            found = f"has {known[image_id]}" if image_id in known else "lacks it"
            raise UserError(
                labels.folder / "labels.json",
                f"image {image_id}",
                f"has (height, width) {size}, and {store.folder / 'images.json'} {found}",
                "run `dvc repro` to make both from one dataset",
            )
