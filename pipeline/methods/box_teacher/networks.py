"""The student and its teacher, which are one module for the engine."""

from __future__ import annotations

from typing import Any, Literal, Self

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.engine.ema import StudentAndTeacher, follow, growing_momentum


class BoxTeacherNetworks(StudentAndTeacher):
    """Both networks; the module itself is called as the student is.

    The teacher is in evaluation mode, but for its batch normalisations while the student trains and
    `statistics` is "batch": they use the statistics of what the teacher sees, and gather them for prediction.
    """

    def __init__(
        self, student: nn.Module, teacher: nn.Module, statistics: Literal["batch", "running"]
    ) -> None:
        super().__init__(student, teacher)
        self.statistics = statistics

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.teacher.train(mode and self.statistics == "batch")
        for part in self.teacher.modules():
            if not isinstance(part, _BatchNorm):
                part.training = False
        return self

    def update_teacher(self, step: int, momentum: float) -> None:
        """Before step `step`, from 0: the teacher's parameters follow the student's, its buffers stay."""
        follow(self.teacher, self.student, growing_momentum(step, momentum))

    def forward(self, *inputs: Any) -> Any:
        return self.student(*inputs)
