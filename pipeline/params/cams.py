"""Class activation maps: the classifier of tags, its maps, their refinement, and labels made of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params.base import Count, Name, Positive, Rate, Section, Seed, Share
from pipeline.params.comparison import DenseCrf
from pipeline.params.training import Training

Side = Annotated[int, Field(ge=8)]  # pixels


class TagClassifier(Section):
    """A classifier of image tags whose last map shows what it looked at (IRN, arXiv 1904.05044)."""

    backbone: str  # `small`, or a timm network with stages
    frozen_stages: Annotated[int, Field(ge=0, le=5)]
    frozen_batchnorm: bool
    map_stride: Positive  # of the backbone's map that is classified; deeper stages are cut off
    output_stride: Positive  # of that map once later strides are taken out, which needs no new weights
    pixel_mean: tuple[float, float, float]  # RGB, in 0..255
    pixel_std: tuple[Rate, Rate, Rate]

    @model_validator(mode="after")
    def _strides_fit(self) -> TagClassifier:
        if self.output_stride > self.map_stride:
            raise ValueError("output_stride must not exceed map_stride: strides can only be taken out")
        return self


class TagAugmentation(Section):
    """Training images of the classifier: a drawn size, a flip, a random crop."""

    long_side: tuple[Positive, Positive]  # drawn evenly between the two
    horizontal_flip: Share
    crop: Side  # of the square that is cut out at random, or padded to

    @model_validator(mode="after")
    def _sides_rise(self) -> TagAugmentation:
        if self.long_side[0] > self.long_side[1]:
            raise ValueError("long_side must rise")
        return self


class CamInference(Section):
    """How maps are made of a trained classifier."""

    scales: Annotated[tuple[Rate, ...], Field(min_length=1)]  # of the image
    mirror: bool  # adds the maps of the mirrored image
    stride: Positive  # of the stored maps: 1 = of the image's size
    batch_size: Positive  # images of equal size
    threads: Positive


class Cams(Section):
    """A set of class activation maps of the images of a label set of tags."""

    labels: Name  # of kind tags
    backbone: Name
    seed: Seed
    classifier: TagClassifier
    augmentation: TagAugmentation
    train: Training
    inference: CamInference

    @model_validator(mode="after")
    def _samples_are_squares(self) -> Cams:
        _check_training(self.train)
        return self


class BoundaryNetwork(Section):
    """A boundary detector on maps of a frozen backbone (IRN, arXiv 1904.05044, section 4.1)."""

    backbone: str
    output_stride: Positive  # of the coarsest map once later strides are taken out
    stride: Positive  # of the boundary map
    tap_channels: Positive  # that each of the backbone's maps is reduced to
    tap_groups: Positive  # of the group norm behind that
    pixel_mean: tuple[float, float, float]  # RGB, in 0..255
    pixel_std: tuple[Rate, Rate, Rate]

    @model_validator(mode="after")
    def _groups_divide(self) -> BoundaryNetwork:
        if self.tap_channels % self.tap_groups:
            raise ValueError("tap_channels must be a multiple of tap_groups")
        return self


class ConfidentLabels(Section):
    """Where maps are sure: arg max against two constant backgrounds, each smoothed by a dense CRF."""

    foreground: Share  # background score that a class must beat to be sure
    background: Share  # background score that must beat all classes to be sure
    certainty: Annotated[float, Field(gt=0.5, lt=1)]  # of the hard labels that enter the CRF
    dense_crf: DenseCrf
    processes: Positive

    @model_validator(mode="after")
    def _backgrounds_differ(self) -> ConfidentLabels:
        if self.background > self.foreground:
            raise ValueError("background must not exceed foreground")
        return self


class BoundaryAugmentation(Section):
    """Training images of the boundary detector, and their labels: a scale, a flip, a random crop."""

    scale: tuple[Rate, Rate]
    horizontal_flip: Share
    crop: Side

    @model_validator(mode="after")
    def _scales_rise(self) -> BoundaryAugmentation:
        if self.scale[0] > self.scale[1]:
            raise ValueError("scale must rise")
        return self


class Walk(Section):
    """The random walk that spreads maps up to the boundaries."""

    radius: Annotated[float, Field(gt=1)]  # cells of the boundary map, exclusive
    power: Rate  # of the affinities, which sharpens them
    squarings: Count  # of the matrix: 8 are 256 steps
    mirror: bool  # the boundary is that of the mean logit of the image and its mirror image
    batch_size: Positive  # images of equal size
    threads: Positive


class RefinedCams(Section):
    """A set of class activation maps, from those of another set, spread up to learnt boundaries."""

    cams: Name  # a row of `cams`
    labels: Name  # the tags behind them
    backbone: Name
    seed: Seed
    confident: ConfidentLabels
    network: BoundaryNetwork
    augmentation: BoundaryAugmentation
    radius: Annotated[float, Field(gt=1)]  # of the pairs trained on, in cells, exclusive
    train: Training
    walk: Walk
    stride: Positive  # of the stored maps

    @model_validator(mode="after")
    def _samples_are_squares(self) -> RefinedCams:
        _check_training(self.train)
        return self


class PowerBackground(Section):
    """Background where no class is strong: its score is (1 - greatest map) to a power."""

    kind: Literal["power"]
    alpha: Rate  # larger = less background


class ConstantBackground(Section):
    """Background of one score everywhere."""

    kind: Literal["constant"]
    score: Share


CamBackground = Annotated[PowerBackground | ConstantBackground, Field(discriminator="kind")]


class TagCamLabels(Section):
    """Partial labels from maps alone: the best of background and classes, where it is good enough."""

    kind: Literal["cam_tags"]
    cams: Name  # a row of `cams` or `refined_cams`
    labels: Name  # the tags behind them
    background: CamBackground
    least_score: Share  # of the best; below it, pixels are unlabelled
    processes: Positive

    @model_validator(mode="after")
    def _background_is_labelled(self) -> TagCamLabels:
        if isinstance(self.background, ConstantBackground) and self.background.score < self.least_score:
            raise ValueError("background.score must not be below least_score: no pixel would be background")
        return self


class BoxCamLabels(Section):
    """Partial labels from boxes and maps: what a box's class marks in the box; background outside of all."""

    kind: Literal["cam_boxes"]
    cams: Name
    labels: Name
    boxes: Name  # of kind boxes
    threshold: Share  # of the map rescaled in each box; below it, the box is unlabelled
    processes: Positive


CamLabels = Annotated[TagCamLabels | BoxCamLabels, Field(discriminator="kind")]


def _check_training(train: Training) -> None:
    if train.group_by_aspect:
        raise ValueError("train.group_by_aspect must be false: all samples are squares")
    if train.repeat_threshold:
        raise ValueError("train.repeat_threshold must be 0: a sample is an image, whatever its tags")
