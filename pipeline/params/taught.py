"""Methods whose student learns from a teacher's labels of images without any."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from pipeline.params.base import Momentum, Positive, Section, Share, Weight
from pipeline.params.training import Augmentation, Disturbance, Training


class PseudoMasks(Section):
    """Which of a teacher's predictions become labels; both thresholds are exclusive."""

    class_threshold: Share  # probability of the class
    area_threshold: Weight  # sum of a mask's probabilities, in cells of the mask logits
    drop_empty: bool  # masks without a pixel above one half, which the release keeps


class Taught(Section):
    """A Mask2Former on the masks of a part of the images and on images without labels.

    Every step has as many images of the one kind as of the other: `train.batch_size`.
    """

    burn_in: Positive  # steps until the teacher becomes a copy of the student, and then its average
    teacher_momentum: Momentum
    unlabelled_weight: Weight  # of all losses on the teacher's labels, beside their own weights
    pseudo_masks: PseudoMasks
    disturbance: Disturbance  # of the images without labels, for the student
    train: Training
    augmentation: Augmentation  # of both kinds

    @model_validator(mode="after")
    def _fits_pairs(self) -> Self:
        if self.train.group_by_aspect:
            raise ValueError("group_by_aspect must be false: images without labels come in their own order")
        if self.train.ema:
            raise ValueError("ema must be 0: the teacher is the average")
        return self


class MeanTeacher(Taught):
    """Mean teacher: in the burn-in the student learns from the masks alone."""

    kind: Literal["mean_teacher"]

    @model_validator(mode="after")
    def _ends_its_burn_in(self) -> Self:
        if self.train.duration == "steps" and self.burn_in >= self.train.steps:
            raise ValueError(
                f"burn_in {self.burn_in} must be less than the {self.train.steps} steps: until then there is"
                " no teacher"
            )
        return self


class GuidedDistillation(Taught):
    """Guided Distillation (arXiv 2308.02668): in the burn-in a network that is trained already teaches."""

    kind: Literal["guided_distillation"]
