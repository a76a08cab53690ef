"""Guided Distillation (arXiv 2308.02668): a trained network teaches a fresh student from its first step."""

from __future__ import annotations

from pipeline.methods.mean_teacher.method import MeanTeacher


class GuidedDistillation(MeanTeacher):
    """A mean teacher in whose burn-in the teacher is a network that was trained on the same masks.

    Whoever builds it puts that network into `networks.teacher`.  At the end of the burn-in it is thrown away,
    for the teacher becomes a copy of the student, which must have overtaken it by then.
    """

    @property
    def taught_from(self) -> int:
        return 0
