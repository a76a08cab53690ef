"""Methods: their losses and schedules."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params.base import Count, Momentum, Positive, Rate, Section, Share, Weight
from pipeline.params.box_supervision import BoxInst, BoxTeacher
from pipeline.params.taught import GuidedDistillation, MeanTeacher
from pipeline.params.training import Augmentation, Disturbance, Training


class Supervised(Section):
    """A detector on masks (or on pseudo-masks).  The losses are those of its architecture."""

    kind: Literal["supervised"]
    mask_weight: Weight  # factor on what the architecture's losses of masks weigh
    train: Training
    augmentation: Augmentation


class CropAugmentation(Disturbance):
    """Training crops of MAL: expansion, flip, and how the student's differ."""

    expand_min: Weight  # of each side's margin, in half box sides
    expand_max: Weight
    horizontal_flip: Share

    @model_validator(mode="after")
    def _expansion_rises(self) -> CropAugmentation:
        if self.expand_min > self.expand_max:
            raise ValueError("expand_min must not exceed expand_max")
        return self


class MeanField(Section):
    """The mean field that refines masks (docs/methods/mal.md)."""

    kernel: Annotated[int, Field(ge=3)]  # side of the window, odd
    zeta: Rate  # colour bandwidth, in normalised units
    iterations: Positive
    clamp: tuple[Share, Share]  # least and greatest probability of a message

    @model_validator(mode="after")
    def _is_a_mean_field(self) -> MeanField:
        if self.kernel % 2 == 0:
            raise ValueError("kernel must be odd")
        if not 0 < self.clamp[0] < self.clamp[1] < 1:
            raise ValueError("clamp must rise, strictly between 0 and 1")
        return self


class Mal(Section):
    """MAL, phase 1: multiple-instance and mean-field losses on crops round boxes."""

    kind: Literal["mal"]
    min_area: Weight  # square pixels of the box; smaller ones are not trained on
    max_area: Rate
    min_side: Weight  # boxes must be wider and higher than this; for pseudo-labels too
    test_expand: Weight  # margin of a crop in prediction, in box sides, both ends together
    mil_weight: Weight
    crf_weight: Weight
    mil_warmup: Count  # steps of the first epoch over which the weight grows from 0
    crf_warmup: Count
    mean_field: MeanField
    teacher_momentum: Momentum
    teacher_start: Literal["copy", "own"]  # own: as released, independent random heads
    augmentation: CropAugmentation
    train: Training

    @model_validator(mode="after")
    def _samples_are_crops(self) -> Mal:
        if self.train.group_by_aspect:
            raise ValueError("group_by_aspect must be false: all crops are square")
        if self.train.repeat_threshold:
            raise ValueError("repeat_threshold must be 0: a sample is a box, and a labeler knows no classes")
        return self


Method = Annotated[
    Supervised | BoxInst | BoxTeacher | Mal | MeanTeacher | GuidedDistillation, Field(discriminator="kind")
]

# What each kind of method trains.
ARCHITECTURES: dict[str, tuple[str, ...]] = {
    "supervised": ("condinst", "mask_rcnn", "mask2former", "detectron2"),
    "boxinst": ("condinst", "mask_rcnn"),
    "box_teacher": ("condinst", "mask_rcnn"),
    "mal": ("autolabeler",),
    "mean_teacher": ("mask2former",),
    "guided_distillation": ("mask2former",),
}
