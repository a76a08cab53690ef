"""Datasets of the semantic task in their own layouts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.params.base import Positive, Section

Value = Annotated[int, Field(ge=0, le=255)]  # of a pixel in an 8-bit label map


class VocFolder(Section):
    """Pascal VOC 2012, with SBD where that is there.

    `train_aug` is the list train_aug.txt (or trainaug.txt) in ImageSets/Segmentation; without such a file,
    all images of SBD and of VOC's train but those of VOC's val, which are the 10 582 of the literature.
    """

    folder: str  # VOCdevkit/VOC2012, relative to the repository
    extra: str  # label maps of further images: SBD's folder `dataset`, or a folder of NAME.png; "" for none
    train: Literal["train", "train_aug"]
    processes: Positive


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
