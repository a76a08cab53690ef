"""The student and its teacher, two Mask2Formers that are one module for the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from pipeline.engine.ema import StudentAndTeacher, follow
from pipeline.models.mask2former.network import Mask2Former
from pipeline.models.mask2former.predictions import QueryPredictions

Size = tuple[int, int]  # (height, width)


@dataclass(frozen=True)
class TaughtPredictions:
    """The student's predictions for both kinds of images, the final layer's first, and the teacher's final
    ones for those without labels; None where the step looks at no image without labels."""

    labelled: list[QueryPredictions]
    unlabelled: list[QueryPredictions] | None = None
    taught: QueryPredictions | None = None


class TaughtMask2Former(StudentAndTeacher):
    """Both networks; the teacher is always in evaluation mode and computes in float32."""

    student: Mask2Former
    teacher: Mask2Former

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.teacher.eval()
        return self

    def update_teacher(self, step: int, burn_in: int, momentum: float) -> None:
        """At step `burn_in` a copy of the student, later its average, and nothing before.

        Running statistics are averaged with the parameters; counters of batches stay (as in the release).
        """
        if step >= burn_in:
            follow(self.teacher, self.student, momentum if step > burn_in else 0.0, buffers=True)

    def forward(
        self,
        images: Tensor,
        sizes: Sequence[Size],
        weak: Tensor | None = None,
        strong: Tensor | None = None,
        unlabelled_sizes: Sequence[Size] = (),
    ) -> TaughtPredictions:
        """Padded images (B, 3, H, W), 0..255, with the sizes of each before padding.

        images: labelled ones; weak, strong: of the unlabelled ones what the teacher and the student see.
        The student runs on each kind by itself: statistics of a batch normalisation are of one kind.
        """
        labelled = self.student(images, sizes)
        if weak is None or strong is None:
            return TaughtPredictions(labelled)
        with torch.no_grad(), torch.autocast(weak.device.type, enabled=False):
            taught: QueryPredictions = self.teacher(weak, unlabelled_sizes)[0]
        return TaughtPredictions(labelled, self.student(strong, unlabelled_sizes), taught)
