"""The recipe of a training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params.base import Count, Momentum, Positive, Rate, Section, Share, Weight


class Augmentation(Section):
    """Training input: short side drawn from `short_sides`, long side at most `max_side`, flips."""

    short_sides: Annotated[tuple[Positive, ...], Field(min_length=1)]
    max_side: Positive
    horizontal_flip: Share
    vertical_flip: Share
    transpose: Share


class Training(Section):
    """The recipe of one method.

    `duration` is the unit of steps, milestones and warmup_steps: optimiser steps of `batch_size` images in
    total, or passes over the dataset, an image that is repeated counting as often as it is.  All other counts
    are of optimiser steps.
    """

    duration: Literal["steps", "epochs"]
    steps: Count  # 0 = none: what is evaluated is the start as it is
    batch_size: Positive
    optimizer: Literal["sgd", "adamw"]
    learning_rate: Rate
    backbone_rate: Annotated[float, Field(gt=0)]  # factor on the learning rate of the backbone
    momentum: Share  # SGD's; ignored by AdamW
    betas: tuple[Momentum, Momentum]  # AdamW's; ignored by SGD
    weight_decay: Weight
    norm_weight_decay: Weight
    schedule: Literal["step", "cosine", "cosine_after_warmup", "poly", "constant"]
    milestones: tuple[Positive, ...]  # steps at which "step" multiplies the rate by 0.1
    poly_power: Rate
    final_rate: Share  # of the peak: where the cosines end
    warmup_steps: Weight  # of an epoch, a part too
    warmup_start: Share  # first factor of the linear warm-up
    clip_norm: Weight  # 0 = no clipping
    ema: Momentum  # of averaged weights; 0 = off
    group_by_aspect: bool
    repeat_threshold: Share  # images with a class that fewer than this share have are repeated; 0 = none
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
