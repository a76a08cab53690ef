"""Methods that learn masks from boxes alone, on a detector's own proposals."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.params.base import Count, Momentum, Positive, Section, Share, Weight
from pipeline.params.training import Augmentation, Disturbance, Training


class BoxLosses(Section):
    """The projection and the colour-pairwise loss of boxes (arXiv 2012.02310)."""

    projection_weight: Weight
    pairwise_weight: Weight
    pairwise_size: Annotated[int, Field(ge=3)]
    pairwise_dilation: Positive
    color_threshold: Share
    bottom_pixels_removed: Count
    topk_per_image: Positive
    train: Training
    augmentation: Augmentation

    @model_validator(mode="after")
    def _fits_the_losses(self) -> Self:
        if self.pairwise_size % 2 == 0:
            raise ValueError("pairwise_size must be odd")
        turned = self.augmentation.vertical_flip or self.augmentation.transpose
        if self.bottom_pixels_removed and turned:
            raise ValueError(
                "bottom_pixels_removed needs images that are upright: no vertical_flip, no transpose"
            )
        return self


class BoxInst(BoxLosses):
    """BoxInst (arXiv 2012.02310): projection and colour-pairwise loss on boxes."""

    kind: Literal["boxinst"]
    pairwise_warmup: Positive  # steps over which pairwise_weight grows linearly from 0


class TeacherView(Section):
    """The size at which a teacher looks at training images, whatever that of its student."""

    short_side: Positive
    max_side: Positive


class BoxTeacher(BoxLosses):
    """BoxTeacher (arXiv 2210.05174): BoxInst's losses, and those on a teacher's masks of the same boxes."""

    kind: Literal["box_teacher"]
    warmup: Positive  # steps over which the pairwise loss and those on pseudo masks grow linearly from 0
    teacher_momentum: Momentum
    teacher: TeacherView
    teacher_statistics: Literal["batch", "running"]  # of its batch normalisations while it labels
    teacher_mask: Literal["binary", "float"]  # float: probabilities, not thresholded
    iou_threshold: Share  # least IoU of a detection with the box that it is matched to
    score_threshold: Share  # least confidence of a detection that is matched
    reassign_first: bool  # a box of the first detection is free for later ones: a slip of the release
    pseudo_mask_weight: Weight
    affinity_weight: Weight
    affinity_threshold: Annotated[float, Field(ge=-1, le=1)]  # of a pair; -1: affinities weigh the pairs
    mean_projection_weight: Weight  # of the mean of rows and columns
    normalize_by: Literal["count", "weights"]  # by which number, or sum, of pseudo masks losses are divided
    disturbance: Disturbance  # of what the student alone sees

    @model_validator(mode="after")
    def _has_one_average(self) -> Self:
        if self.train.ema:
            raise ValueError("ema must be 0: the teacher is the average")
        if -1 < self.affinity_threshold < 0:
            raise ValueError("affinity_threshold must be -1 or at least 0")
        return self
