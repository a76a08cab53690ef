"""Datasets of the semantic task in their own layouts."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from pipeline.params.base import Positive, Section

Value = Annotated[int, Field(ge=0, le=255)]  # of a pixel in an 8-bit label map


class VocFolder(Section):
    """Pascal VOC 2012 alone: its 1,464 images of train and 1,449 of val."""

    folder: str  # VOCdevkit/VOC2012, relative to the repository
    processes: Positive

    extra: ClassVar[str] = ""
    train: ClassVar[str] = "train"


class VocSbdFolder(Section):
    """Pascal VOC 2012 with label maps of further images, as the literature trains on: train_aug.

    That is the list train_aug.txt (or trainaug.txt) in ImageSets/Segmentation; without such a file, all
    images of SBD and of VOC's train but those of VOC's val, which are the 10,582 of the literature.  A table
    of its own, since DVC has no dependencies that only some rows have: this one's is `extra`.
    """

    folder: str
    extra: str  # SBD's folder `dataset`, or a folder of NAME.png
    processes: Positive

    train: ClassVar[str] = "train_aug"


class MapFolder(Section):
    """Images and label maps that two text files pair, line by line: an image, a blank, its label map."""

    folder: str  # relative to the repository; the names in the lists are relative to it
    train_list: str  # relative to the folder
    val_list: str
    classes: tuple[str, ...]  # by the values in the label maps, from 0
    background: bool  # whether class 0 is what belongs to no class
    ignore: tuple[Value, ...]  # values of pixels that do not count; 255 never does
    processes: Positive


class DensePoseFolder(Section):
    """DensePose's annotations of COCO 2014.  Paths are relative to the repository."""

    train_json: str
    train_images: str
    val_json: str
    val_images: str
    processes: Positive
