"""Datasets and label files."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.params.base import Percent, Positive, Section, Seed


class Shapes(Section):
    """A procedural dataset: `train` and `val` scenes of `size` x `size` pixels from disjoint seeds."""

    train: Positive
    val: Positive
    size: Annotated[int, Field(ge=32, le=1024)]
    seed: Seed
    hard: bool  # adds rings and crescents, which defeat projection losses
    processes: Positive


class CocoFolder(Section):
    """A dataset in COCO format.  Paths are relative to the repository; `val_*` may repeat `train_*`."""

    train_json: str
    train_images: str
    val_json: str
    val_images: str
    processes: Positive


class CityscapesFolder(Section):
    """Cityscapes in its own layout: `folder` holds leftImg8bit and gtFine, each with train and val."""

    folder: str  # relative to the repository
    processes: Positive

    def images(self, split: str) -> str:
        return f"{self.folder}/leftImg8bit/{split}"

    def annotations(self, split: str) -> str:
        return f"{self.folder}/gtFine/{split}"


class Labels(Section):
    """One label file derived from an annotation file: the only thing a training stage sees of it."""

    kind: Literal["boxes", "masks"]
    split: Literal["train", "val"]


class _Split(Section):
    """Masks of a part of the training images as a label set, and a list of images without labels."""

    pool: Literal["all", "rest"]  # that are unlabelled: all of train, as published, or those without masks


class Split(_Split):
    """The part is drawn: nested for one rule and seed, whatever the percentages."""

    percent: Percent  # of the training images
    rule: Literal["stratified", "uniform"]  # uniform: as published, a class may be missing
    seed: Seed


class SplitList(_Split):
    """The part is what a text file names.

    A table of its own, since DVC has no dependencies that only some rows have: this one's is `path`.
    """

    path: str  # relative to the repository
