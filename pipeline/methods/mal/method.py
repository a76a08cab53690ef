"""MAL, phase 1: a student learns masks from boxes, and from what a teacher and it make of them together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline import params
from pipeline.engine.ema import StudentAndTeacher, follow
from pipeline.methods.mal.crops import CropSample
from pipeline.methods.mal.losses import mal_losses
from pipeline.models.autolabeler.network import AutoLabeler


class AutoLabelers(StudentAndTeacher):
    """The student, which sees disturbed crops, and the teacher, which sees them as they are."""

    student: AutoLabeler
    teacher: AutoLabeler

    def forward(self, crops: Tensor, undisturbed: Tensor, areas: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) normalised crops for the student and the teacher, (B,) box areas in image pixels.

        Returns the (B, o, o) logits of both.
        """
        with torch.no_grad():
            guidance: Tensor = self.teacher(undisturbed, areas)
        logits: Tensor = self.student(crops, areas)
        return logits, guidance


class Mal:
    """Mask Auto-Labeler (arXiv 2301.03992, section 3): the trainable of phase 1."""

    module: nn.Module

    def __init__(self, settings: params.Mal, networks: AutoLabelers, epoch_steps: int) -> None:
        """epoch_steps: of the first epoch, in which the weights of the losses grow."""
        self.module, self.networks = networks, networks
        self.settings = settings
        self.epoch_steps = epoch_steps

    def losses(self, batch: list[CropSample], step: int) -> dict[str, Tensor]:
        """The multiple-instance loss and the mean-field loss of a batch of crops."""
        student = self.networks.student
        crops = student.normalise(torch.stack([sample.student for sample in batch]))
        undisturbed = student.normalise(torch.stack([sample.teacher for sample in batch]))
        boxes = torch.stack([sample.box for sample in batch]).float()
        areas = torch.tensor([sample.area for sample in batch], device=boxes.device)
        logits, guidance = self.module(crops, undisturbed, areas)
        first_epoch = step < self.epoch_steps
        return mal_losses(logits, guidance, crops, boxes, self.settings, step=step, first_epoch=first_epoch)

    def after_step(self, step: int) -> None:
        """The teacher follows the student: arXiv 2301.03992, section 3.4."""
        follow(self.networks.teacher, self.networks.student, self.settings.teacher_momentum)
