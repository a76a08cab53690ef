"""The recipe of a training."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.params.base import Count, Momentum, Positive, Rate, Section, Share, Weight


class Augmentation(Section):
    """Training input: resizing, flips, a random crop, colours.

    The short side is drawn from `short_sides`, unless the long one would exceed `max_side`; a factor from
    `scale_range` multiplies both.  With a square target, say [1024] and 1024, that is large-scale jitter
    (arXiv 2012.07177) of a factor of the target, which `crop` then cuts or pads to.
    """

    short_sides: Annotated[tuple[Positive, ...], Field(min_length=1)]
    max_side: Positive
    scale_range: tuple[Rate, Rate]
    horizontal_flip: Share
    vertical_flip: Share
    transpose: Share
    crop: tuple[Positive, ...]  # [height, width], cut out at random or padded to; [] = as it comes
    pad_value: Annotated[int, Field(ge=0, le=255)]  # of all channels of what the crop adds
    colors: Literal["as_they_are", "ssd"]  # ssd: the distortion of SSD, arXiv 1512.02325

    @model_validator(mode="after")
    def _is_possible(self) -> Augmentation:
        if self.scale_range[0] > self.scale_range[1]:
            raise ValueError("scale_range must rise")
        if len(self.crop) not in (0, 2):
            raise ValueError("crop must be [height, width], or [] for none")
        return self


class Disturbance(Section):
    """What only a student sees of a picture that a teacher sees as it is: jitter, grey, blur."""

    jitter: tuple[Weight, Weight, Weight, Annotated[float, Field(ge=0, le=0.5)]]  # b, c, s, hue
    jitter_probability: Share
    grey_probability: Share
    blur_probability: Share
    blur_radius: tuple[Weight, Weight]  # standard deviation in pixels of the training input

    @model_validator(mode="after")
    def _radius_rises(self) -> Self:
        if self.blur_radius[0] > self.blur_radius[1]:
            raise ValueError("blur_radius must rise")
        return self


class Training(Section):
    """The recipe of one method.

    `duration` is the unit of steps, milestones and warmup_steps: optimiser steps of `batch_size` images in
    total, or passes over the dataset, an image that is repeated counting as often as it is.  All other counts
    are of optimiser steps.  A `repeat_threshold` above 1 repeats every image, in proportion to 1 over the
    root of the share that has its rarest class.
    """

    duration: Literal["steps", "epochs"]
    steps: Count  # 0 = none: what is evaluated is the start as it is
    batch_size: Positive
    optimizer: Literal["sgd", "caffe_sgd", "adamw"]  # caffe_sgd: pipeline/engine/caffe_sgd.py
    learning_rate: Rate
    backbone_rate: Annotated[float, Field(gt=0)]  # factor on the learning rate of the backbone
    momentum: Share  # of both SGDs; ignored by AdamW
    betas: tuple[Momentum, Momentum]  # AdamW's; ignored by SGD
    weight_decay: Weight
    norm_weight_decay: Weight  # of normalisation layers and of embeddings
    schedule: Literal["step", "cosine", "cosine_after_warmup", "poly", "poly_or_warmup", "constant"]
    milestones: tuple[Positive, ...]  # steps at which "step" multiplies the rate by 0.1
    poly_power: Rate
    final_rate: Share  # of the peak: where the cosines end
    warmup_steps: Weight  # of an epoch, a part too
    warmup_start: Share  # first factor of the linear warm-up
    clip_norm: Weight  # 0 = no clipping
    ema: Momentum  # of averaged weights; 0 = off
    group_by_aspect: bool
    repeat_threshold: (
        Weight  # images of classes that a smaller share has are repeated; above 1, all; 0 = none
    )
    precision: Literal["auto", "fp32", "bf16"]  # auto: bf16 on a GPU that has it, else fp32
    workers: Count
    threads: Positive
    checkpoint_every: Positive
    log_every: Positive

    @model_validator(mode="after")
    def _warmup_ends(self) -> Training:
        if self.duration == "steps" and self.warmup_steps % 1:
            raise ValueError("warmup_steps must be a whole number unless duration is epochs")
        if self.schedule == "cosine_after_warmup" and self.warmup_steps >= self.steps:
            raise ValueError("cosine_after_warmup needs more steps than warmup_steps")
        return self
